//! `llama`.

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};
use crate::{RopeParameters, checks};

config! {
    /// The configuration of a llama model.
    LlamaConfig {
        vocab_size: usize = 32_000,
        hidden_size: usize = 4096,
        intermediate_size: usize = 11_008,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 32,
        num_key_value_heads: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 2048,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        /// Kept for older readers.
        pretraining_tp: Option<usize> = Some(1),
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        mlp_bias: bool = false,
        head_dim: Option<usize> = None,
    }
    tokens { pad: None, bos: Some(1), eos: Some(2) }
}

rotary_decoder! {
    LlamaConfig: "llama" {
        kv_heads: num_key_value_heads,
        head_dim: head_dim,
        sizes: [intermediate_size],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, DEFAULT_THETA),
        check: |config| checks::heads_divide(config.hidden_size, config.num_attention_heads),
    }
}
