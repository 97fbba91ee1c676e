//! `minimax_m2`: heads that rotate in part, norms over whole queries and keys, and experts chosen by sigmoids.

use serde_json::{Map, Value, json};

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, RopeConfig};
use crate::{Result, RopeParameters, checks};

/// The base of the frequencies, where nothing is stated.
const THETA: f64 = 5_000_000.0;
/// The size of a head, where nothing is stated.
const HEAD_DIM: usize = 128;

config! {
    /// The configuration of a MiniMax-M2 model.
    MiniMaxM2Config {
        vocab_size: usize = 200_064,
        hidden_size: usize = 3072,
        /// The width inside of an expert.
        intermediate_size: usize = 1536,
        num_hidden_layers: usize = 62,
        num_attention_heads: usize = 48,
        num_key_value_heads: usize = 8,
        head_dim: usize = HEAD_DIM,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 196_608,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        attention_dropout: f64 = 0.0,
        num_experts_per_tok: usize = 8,
        #[serde(alias = "num_experts")]
        num_local_experts: usize = 256,
        output_router_logits: bool = false,
        router_aux_loss_coef: f64 = 0.001,
        router_jitter_noise: f64 = 0.0,
        rope_parameters: RopeParameters = RopeParameters::Flat(RopeConfig::with_theta(THETA)),
    }
    tokens { pad: None, bos: Some(200_034), eos: Some(200_020) }
}

rotary_decoder! {
    MiniMaxM2Config: "minimax_m2" {
        kv_heads: num_key_value_heads,
        head_dim: head_dim,
        sizes: [intermediate_size],
        eps: rms_norm_eps,
        rope: validate_partial,
        standardize: standardize,
        check: |config| checks::experts(config.num_local_experts, config.num_experts_per_tok),
    }
}

/// Published files say how many of a head's values rotate.
fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
    if let Some(rotating) = raw.get("rotary_dim").and_then(Value::as_f64) {
        let head_dim = raw.get("head_dim").and_then(Value::as_f64);
        let head_dim = head_dim.unwrap_or(HEAD_DIM as f64);
        raw.entry("partial_rotary_factor")
            .or_insert_with(|| json!(rotating / head_dim));
    }
    rope::standardize(raw, THETA)
}
