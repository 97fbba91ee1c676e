//! `gemma`.

use serde_json::{Value, json};

use crate::RopeParameters;
use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};

config! {
    /// The configuration of a gemma model.
    GemmaConfig {
        vocab_size: usize = 256_000,
        hidden_size: usize = 3072,
        intermediate_size: usize = 24_576,
        num_hidden_layers: usize = 28,
        num_attention_heads: usize = 16,
        num_key_value_heads: usize = 16,
        head_dim: usize = 256,
        hidden_act: String = "gelu_pytorch_tanh".into(),
        max_position_embeddings: usize = 8192,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        tie_word_embeddings: bool = true,
        rope_parameters: RopeParameters = RopeParameters::default(),
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        /// Kept for other readers: with eager attention, the reference's masks are causal whatever it says.
        use_bidirectional_attention: Option<bool> = None,
    }
    tokens { pad: Some(0), bos: Some(2), eos: Some(1) }
}

rotary_decoder! {
    GemmaConfig: "gemma" {
        kv_heads: num_key_value_heads,
        head_dim: head_dim,
        sizes: [intermediate_size],
        eps: rms_norm_eps,
        standardize: |raw| {
            // The first files say "gelu" and mean its approximation.
            if raw.get("hidden_act").and_then(Value::as_str) == Some("gelu") {
                raw.insert("hidden_act".into(), json!("gelu_pytorch_tanh"));
            }
            rope::standardize(raw, DEFAULT_THETA)
        },
    }
}
