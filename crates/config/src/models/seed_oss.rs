//! `seed_oss`.

use crate::RopeParameters;
use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};

config! {
    /// The configuration of a Seed-OSS model.
    SeedOssConfig {
        vocab_size: usize = 155_136,
        hidden_size: usize = 4096,
        intermediate_size: usize = 27_648,
        num_hidden_layers: usize = 64,
        num_attention_heads: usize = 80,
        num_key_value_heads: Option<usize> = Some(8),
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 524_288,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        /// Kept for other readers.
        pretraining_tp: usize = 1,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        /// Whether the query, key and value projections have biases.
        attention_bias: bool = true,
        /// Whether the output projection has a bias.
        attention_out_bias: bool = false,
        attention_dropout: f64 = 0.1,
        /// Dropout on what is added to the residual stream while training.
        residual_dropout: f64 = 0.1,
        mlp_bias: bool = false,
        head_dim: Option<usize> = Some(128),
    }
    tokens { pad: Some(1), bos: Some(0), eos: Some(2) }
}

rotary_decoder! {
    SeedOssConfig: "seed_oss" {
        kv_heads: num_key_value_heads,
        head_dim: head_dim,
        sizes: [intermediate_size],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, DEFAULT_THETA),
    }
}
