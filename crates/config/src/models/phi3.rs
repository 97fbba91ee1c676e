//! `phi3`.

use serde_json::{Map, Value, json};

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};
use crate::{LayerType, Result, RopeParameters};

config! {
    /// The configuration of a phi3 model.
    Phi3Config {
        vocab_size: usize = 32_064,
        hidden_size: usize = 3072,
        intermediate_size: usize = 8192,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 32,
        num_key_value_heads: Option<usize> = None,
        /// The size of a head, where it is stated.
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        /// Dropout on what is added to the residual stream while training.
        resid_pdrop: f64 = 0.0,
        /// Dropout on the embeddings while training.
        embd_pdrop: f64 = 0.0,
        attention_dropout: f64 = 0.0,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 4096,
        /// The longest text of the first training; from then on, other divisors of the frequencies hold.
        original_max_position_embeddings: usize = 4096,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::partial(DEFAULT_THETA, 1.0),
        sliding_window: Option<usize> = None,
    }
    tokens { pad: Some(32_000), bos: Some(1), eos: Some(32_000) }
}

rotary_decoder! {
    Phi3Config: "phi3" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        every_layer: |config| match config.sliding_window {
            Some(_) => LayerType::SlidingAttention,
            None => LayerType::FullAttention,
        },
        sizes: [intermediate_size, sliding_window],
        eps: rms_norm_eps,
        rope: validate_partial,
        standardize: standardize,
    }
}

/// The first files call longrope "su" or "yarn".
fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
    let partial = raw.get("partial_rotary_factor").cloned();
    rope::standardize_partial(raw, DEFAULT_THETA, 1.0)?;
    // It stays where it was, too.
    if let Some(partial) = partial {
        raw.insert("partial_rotary_factor".into(), partial);
    }
    let rope = raw.get_mut("rope_parameters").and_then(Value::as_object_mut);
    if let Some(rope) = rope
        && matches!(rope.get("rope_type").and_then(Value::as_str), Some("su" | "yarn"))
    {
        rope.insert("rope_type".into(), json!("longrope"));
    }
    Ok(())
}
