//! `nemotron`.

use crate::RopeParameters;
use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};

/// The part of a head that rotates, where nothing is stated.
const PARTIAL: f64 = 0.5;

config! {
    /// The configuration of a nemotron model.
    NemotronConfig {
        vocab_size: usize = 256_000,
        hidden_size: usize = 6144,
        intermediate_size: usize = 24_576,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 48,
        head_dim: Option<usize> = None,
        num_key_value_heads: Option<usize> = None,
        hidden_act: String = "relu2".into(),
        max_position_embeddings: usize = 4096,
        initializer_range: f64 = 0.0134,
        /// Added to the variance in norms.
        norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::partial(DEFAULT_THETA, PARTIAL),
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        mlp_bias: bool = false,
    }
    tokens { pad: None, bos: Some(2), eos: Some(3) }
}

rotary_decoder! {
    NemotronConfig: "nemotron" {
        kv_heads: num_key_value_heads,
        head_dim: head_dim,
        sizes: [intermediate_size],
        eps: norm_eps,
        rope: validate_partial,
        standardize: |raw| rope::standardize_partial(raw, DEFAULT_THETA, PARTIAL),
    }
}
