//! `smollm3`: layers without positions between those with rotary ones.

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, RopeConfig};
use crate::{ConfigError, LayerType, RopeParameters};

/// The base of the frequencies, where nothing is stated.
const THETA: f64 = 2_000_000.0;

config! {
    /// The configuration of a SmolLM3 model.
    SmolLm3Config {
        vocab_size: usize = 128_256,
        hidden_size: usize = 2048,
        intermediate_size: usize = 11_008,
        num_hidden_layers: usize = 36,
        num_attention_heads: usize = 16,
        num_key_value_heads: Option<usize> = Some(4),
        /// The size of a head, where it is stated.
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 32_768,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        rope_parameters: RopeParameters = RopeParameters::Flat(RopeConfig::with_theta(THETA)),
        /// Whether layers without positions slide.
        use_sliding_window: bool = false,
        sliding_window: Option<usize> = None,
        /// For each layer 1 where it has rotary positions, and 0 where it has none.
        no_rope_layers: Option<Vec<usize>> = None,
        /// Every so many layers one has no positions, in files without `no_rope_layers`.
        no_rope_layer_interval: usize = 4,
        layer_types: Option<Vec<LayerType>> = None,
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        mlp_bias: bool = false,
        tie_word_embeddings: bool = true,
    }
    tokens { pad: Some(128_004), bos: Some(128_000), eos: Some(128_001) }
}

impl SmolLm3Config {
    /// Whether a layer has rotary positions.
    pub fn rotates(&self, layer: usize) -> bool {
        let by_default = || usize::from(!(layer + 1).is_multiple_of(self.no_rope_layer_interval));
        let stated = self.no_rope_layers.as_ref().and_then(|layers| layers.get(layer).copied());
        stated.unwrap_or_else(by_default) != 0
    }
}

rotary_decoder! {
    SmolLm3Config: "smollm3" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        layer_types: |config| {
            let window = config.sliding_window.filter(|_| config.use_sliding_window);
            let kind = |layer| match window {
                Some(_) if !config.rotates(layer) => LayerType::SlidingAttention,
                _ => LayerType::FullAttention,
            };
            (0..config.num_hidden_layers).map(kind).collect()
        },
        sizes: [intermediate_size, sliding_window, no_rope_layer_interval],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, THETA),
        check: |config| match &config.no_rope_layers {
            Some(layers) if layers.len() != config.num_hidden_layers => {
                let reason = format!("{} entries for {} layers", layers.len(), config.num_hidden_layers);
                Err(ConfigError::invalid("no_rope_layers", reason))
            }
            _ => Ok(()),
        },
        complete: |config| {
            let layers = (0..config.num_hidden_layers).map(|layer| config.rotates(layer).into());
            config.no_rope_layers = Some(layers.collect());
        },
    }
}
