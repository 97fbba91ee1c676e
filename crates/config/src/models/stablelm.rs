//! `stablelm`.

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};
use crate::{RopeParameters, checks};

/// The part of a head that rotates, where nothing is stated.
const PARTIAL: f64 = 0.25;

config! {
    /// The configuration of a StableLM model.
    StableLmConfig {
        vocab_size: usize = 50_304,
        intermediate_size: usize = 6912,
        hidden_size: usize = 2560,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 32,
        num_key_value_heads: usize = 32,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 4096,
        initializer_range: f64 = 0.02,
        layer_norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::partial(DEFAULT_THETA, PARTIAL),
        /// Whether the query, key and value projections have biases.
        use_qkv_bias: bool = false,
        /// Whether queries and keys are normed, each head with a weight of its own.
        qk_layernorm: bool = false,
        /// Whether attention and MLP see the same input.
        use_parallel_residual: bool = false,
        /// Dropout on hidden states while training.
        hidden_dropout: f64 = 0.0,
        attention_dropout: f64 = 0.0,
    }
    tokens { pad: None, bos: Some(0), eos: Some(0) }
}

rotary_decoder! {
    StableLmConfig: "stablelm" {
        kv_heads: num_key_value_heads,
        sizes: [intermediate_size],
        eps: layer_norm_eps,
        rope: validate_partial,
        standardize: |raw| rope::standardize_partial(raw, DEFAULT_THETA, PARTIAL),
        check: |config| checks::heads_divide(config.hidden_size, config.num_attention_heads),
    }
}
