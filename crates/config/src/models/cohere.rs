//! `cohere` and `cohere2`, which has a sliding window on three layers of four and no positions on the others.

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA, RopeConfig};
use crate::{LayerType, RopeParameters, checks, layer_types};

/// The base of the frequencies in `cohere`, where nothing is stated.
const THETA: f64 = 500_000.0;
/// Every so many layers of `cohere2`, one is full.
const PATTERN: usize = 4;

config! {
    /// The configuration of a cohere model.
    CohereConfig {
        vocab_size: usize = 256_000,
        hidden_size: usize = 8192,
        intermediate_size: usize = 22_528,
        /// Factor on the logits.
        logit_scale: f64 = 0.0625,
        num_hidden_layers: usize = 40,
        num_attention_heads: usize = 64,
        num_key_value_heads: Option<usize> = None,
        /// The size of a head, where it is stated.
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 8192,
        initializer_range: f64 = 0.02,
        layer_norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = true,
        rope_parameters: RopeParameters = RopeParameters::Flat(RopeConfig::with_theta(THETA)),
        attention_bias: bool = false,
        attention_dropout: Option<f64> = Some(0.0),
        /// Whether queries and keys are normed.
        use_qk_norm: bool = false,
    }
    tokens { pad: Some(0), bos: Some(5), eos: Some(255_001) }
}

rotary_decoder! {
    CohereConfig: "cohere" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        sizes: [intermediate_size],
        eps: layer_norm_eps,
        standardize: |raw| rope::standardize(raw, THETA),
    }
}

config! {
    /// The configuration of a cohere2 model.
    Cohere2Config {
        vocab_size: usize = 256_000,
        hidden_size: usize = 8192,
        intermediate_size: usize = 22_528,
        /// Factor on the logits.
        logit_scale: f64 = 0.0625,
        num_hidden_layers: usize = 40,
        num_attention_heads: usize = 64,
        num_key_value_heads: Option<usize> = None,
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 8192,
        initializer_range: f64 = 0.02,
        layer_norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = true,
        rope_parameters: RopeParameters = RopeParameters::default(),
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        sliding_window: Option<usize> = Some(4096),
        layer_types: Option<Vec<LayerType>> = None,
        /// Every so many layers one is full, in files without `layer_types`.
        #[serde(skip_serializing)]
        sliding_window_pattern: Option<usize> = None,
    }
    tokens { pad: Some(0), bos: Some(5), eos: Some(255_001) }
}

rotary_decoder! {
    Cohere2Config: "cohere2" {
        kv_heads: num_key_value_heads,
        head_dim: head_dim,
        layer_types: |config| {
            let pattern = config.sliding_window_pattern.unwrap_or(PATTERN);
            layer_types::every_nth_full(config.num_hidden_layers, pattern)
        },
        sizes: [intermediate_size, sliding_window, sliding_window_pattern],
        eps: layer_norm_eps,
        standardize: |raw| rope::standardize(raw, DEFAULT_THETA),
        check: |config| checks::window(config.sliding_window, &config.layer_types()),
    }
}
