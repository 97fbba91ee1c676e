//! `exaone4`: with a window, three sliding layers to one full one without positions.

use serde_json::Value;

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};
use crate::{LayerType, RopeParameters, checks, layer_types};

config! {
    /// The configuration of an EXAONE 4 model.
    Exaone4Config {
        vocab_size: usize = 102_400,
        hidden_size: usize = 4096,
        intermediate_size: usize = 16_384,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 32,
        num_key_value_heads: usize = 32,
        /// The size of a head, where it is stated.
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 2048,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        attention_dropout: f64 = 0.0,
        sliding_window: Option<usize> = Some(4096),
        /// Every so many layers one is full, in files without `layer_types`; some files have a word here.
        sliding_window_pattern: Value = Value::from(4),
        layer_types: Option<Vec<LayerType>> = None,
    }
    tokens { pad: None, bos: Some(0), eos: Some(2) }
}

rotary_decoder! {
    Exaone4Config: "exaone4" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        layer_types: |config| match config.sliding_window {
            None => vec![LayerType::FullAttention; config.num_hidden_layers],
            Some(_) => {
                let pattern = config.sliding_window_pattern.as_u64().unwrap_or_default();
                layer_types::every_nth_full(config.num_hidden_layers, pattern as usize)
            }
        },
        sizes: [intermediate_size, sliding_window],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, DEFAULT_THETA),
        check: |config| checks::window(config.sliding_window, &config.layer_types()),
        complete: |config| {
            if config.sliding_window.is_none() {
                config.sliding_window_pattern = Value::from(0);
            }
        },
    }
}
