//! `glm4`.

use serde_json::json;

use crate::RopeParameters;
use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};

/// The part of a head that rotates, where nothing is stated.
const PARTIAL: f64 = 0.5;

config! {
    /// The configuration of a GLM-4 model.
    Glm4Config {
        vocab_size: usize = 151_552,
        hidden_size: usize = 4096,
        intermediate_size: usize = 13_696,
        num_hidden_layers: usize = 40,
        num_attention_heads: usize = 32,
        num_key_value_heads: usize = 2,
        head_dim: usize = 128,
        hidden_act: String = "silu".into(),
        attention_dropout: f64 = 0.0,
        max_position_embeddings: usize = 131_072,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 0.000_000_156_25,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::partial(DEFAULT_THETA, PARTIAL),
        attention_bias: bool = true,
    }
    tokens { pad: Some(151_329), bos: None, eos: None }
}

rotary_decoder! {
    Glm4Config: "glm4" {
        kv_heads: num_key_value_heads,
        head_dim: head_dim,
        sizes: [intermediate_size],
        eps: rms_norm_eps,
        rope: validate_partial,
        standardize: |raw| {
            if raw.get("eos_token_id").is_none_or(serde_json::Value::is_null) {
                raw.insert("eos_token_id".into(), json!([151_329, 151_336, 151_338]));
            }
            rope::standardize_partial(raw, DEFAULT_THETA, PARTIAL)
        },
    }
}
