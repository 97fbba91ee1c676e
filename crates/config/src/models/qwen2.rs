//! `qwen2`: llama with biases on query, key and value, and sliding windows in the upper layers where they are switched
//! on.

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};
use crate::{LayerType, RopeParameters, checks, layer_types};

config! {
    /// The configuration of a qwen2 model.
    Qwen2Config {
        vocab_size: usize = 151_936,
        hidden_size: usize = 4096,
        intermediate_size: usize = 22_016,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 32,
        num_key_value_heads: Option<usize> = Some(32),
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 32_768,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        /// Whether any layer slides.
        use_sliding_window: bool = false,
        sliding_window: Option<usize> = Some(4096),
        /// The first layer that slides.
        max_window_layers: usize = 28,
        layer_types: Option<Vec<LayerType>> = None,
        attention_dropout: f64 = 0.0,
    }
    tokens { pad: None, bos: None, eos: None }
}

impl Qwen2Config {
    /// The positions that a sliding layer attends to, the own one included, if any layer slides.
    pub fn sliding_window(&self) -> Option<usize> {
        self.sliding_window.filter(|_| self.use_sliding_window)
    }
}

rotary_decoder! {
    Qwen2Config: "qwen2" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        layer_types: |config| {
            let (layers, first) = (config.num_hidden_layers, config.max_window_layers);
            layer_types::sliding_from(layers, first, config.sliding_window())
        },
        sizes: [intermediate_size],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, DEFAULT_THETA),
        check: |config| checks::sizes(&[("sliding_window", config.sliding_window().unwrap_or(1))]),
        complete: |config| config.sliding_window = config.sliding_window(),
    }
}
