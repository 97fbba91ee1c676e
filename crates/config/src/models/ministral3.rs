//! `ministral3`: mistral with queries that grow with their position.

use serde_json::{Map, Value, json};

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};
use crate::{LayerType, Result, RopeParameters};

config! {
    /// The configuration of a Ministral 3 model.
    Ministral3Config {
        vocab_size: usize = 131_072,
        hidden_size: usize = 4096,
        intermediate_size: usize = 14_336,
        num_hidden_layers: usize = 34,
        num_attention_heads: usize = 32,
        num_key_value_heads: Option<usize> = Some(8),
        head_dim: Option<usize> = Some(128),
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 262_144,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = default_rope(),
        sliding_window: Option<usize> = None,
        attention_dropout: f64 = 0.0,
    }
    tokens { pad: Some(11), bos: Some(1), eos: Some(2) }
}

fn default_rope() -> RopeParameters {
    serde_json::from_value(yarn(262_144)).expect("these are rope parameters")
}

fn yarn(max_position_embeddings: u64) -> Value {
    json!({
        "type": "yarn",
        "rope_type": "yarn",
        "rope_theta": 1_000_000.0,
        "factor": 16.0,
        "original_max_position_embeddings": 16_384,
        "max_position_embeddings": max_position_embeddings,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale_all_dim": 1.0,
        "mscale": 1.0,
        "llama_4_scaling_beta": 0.1,
    })
}

rotary_decoder! {
    Ministral3Config: "ministral3" {
        kv_heads: num_key_value_heads,
        head_dim: head_dim,
        every_layer: |config| match config.sliding_window {
            Some(_) => LayerType::SlidingAttention,
            None => LayerType::FullAttention,
        },
        sizes: [intermediate_size, sliding_window],
        eps: rms_norm_eps,
        standardize: standardize,
    }
}

fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
    let stated = |key| raw.get(key).is_some_and(|value: &Value| !value.is_null());
    if !stated("rope_parameters") && !stated("rope_scaling") {
        let length = raw.get("max_position_embeddings").and_then(Value::as_u64);
        raw.insert("rope_parameters".into(), yarn(length.unwrap_or(262_144)));
    }
    rope::standardize(raw, DEFAULT_THETA)
}
