//! `ernie4_5`.

use crate::RopeParameters;
use crate::declare::{config, rotary_decoder};
use crate::rope::{self, RopeConfig};

/// The base of the frequencies, where nothing is stated.
const THETA: f64 = 500_000.0;

config! {
    /// The configuration of an ERNIE 4.5 model.
    Ernie4_5Config {
        vocab_size: usize = 103_424,
        hidden_size: usize = 1024,
        intermediate_size: usize = 3072,
        num_hidden_layers: usize = 18,
        num_attention_heads: usize = 16,
        num_key_value_heads: Option<usize> = Some(2),
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 131_072,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-5,
        use_cache: Option<bool> = Some(true),
        tie_word_embeddings: bool = true,
        rope_parameters: RopeParameters = RopeParameters::Flat(RopeConfig::with_theta(THETA)),
        /// Whether projections have biases.
        use_bias: Option<bool> = Some(false),
        head_dim: Option<usize> = Some(128),
    }
    tokens { pad: Some(0), bos: Some(1), eos: Some(2) }
}

rotary_decoder! {
    Ernie4_5Config: "ernie4_5" {
        kv_heads: num_key_value_heads,
        head_dim: head_dim,
        sizes: [intermediate_size],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, THETA),
    }
}
