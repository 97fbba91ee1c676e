//! `gpt_oss`: experts with biases and a clamped gate, sinks in the attention, and a window in every other layer.

use serde_json::{Map, Value, json};

use crate::declare::{config, rotary_decoder};
use crate::rope;
use crate::{LayerType, Result, RopeParameters, checks, layer_types};

/// The rotary base where none is stated.
const THETA: f64 = 150_000.0;

config! {
    /// The configuration of a gpt_oss model.
    GptOssConfig {
        num_hidden_layers: usize = 36,
        #[serde(alias = "num_experts")]
        num_local_experts: usize = 128,
        vocab_size: usize = 201_088,
        hidden_size: usize = 2880,
        /// The width inside of an expert.
        intermediate_size: usize = 2880,
        head_dim: Option<usize> = Some(64),
        num_attention_heads: usize = 64,
        num_key_value_heads: Option<usize> = Some(8),
        sliding_window: Option<usize> = Some(128),
        tie_word_embeddings: bool = false,
        hidden_act: String = "silu".into(),
        initializer_range: f64 = 0.02,
        max_position_embeddings: usize = 131_072,
        rms_norm_eps: f64 = 1e-5,
        rope_parameters: RopeParameters = RopeParameters::default(),
        attention_dropout: f64 = 0.0,
        num_experts_per_tok: usize = 4,
        /// Steepness of the experts' gate.
        swiglu_alpha: f64 = 1.702,
        /// What the two halves of an expert are cut to.
        swiglu_limit: f64 = 7.0,
        router_aux_loss_coef: f64 = 0.001,
        output_router_logits: bool = false,
        use_cache: bool = true,
        layer_types: Option<Vec<LayerType>> = None,
        attention_bias: bool = true,
    }
    tokens { pad: None, bos: None, eos: None }
}

rotary_decoder! {
    GptOssConfig: "gpt_oss" {
        kv_heads: num_key_value_heads,
        head_dim: head_dim,
        layer_types: |config| layer_types::every_nth_full(config.num_hidden_layers, 2),
        sizes: [intermediate_size, sliding_window],
        eps: rms_norm_eps,
        standardize: standardize,
        check: |config| {
            checks::not_negative("swiglu_limit", config.swiglu_limit)?;
            checks::experts(config.num_local_experts, config.num_experts_per_tok)
        },
    }
}

/// Without a rotation stated, that of the published models is meant.
fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
    let stated = |key: &str| raw.get(key).is_some_and(|value| !value.is_null());
    if !stated("rope_parameters") && !stated("rope_scaling") {
        let yarn = json!({
            "rope_type": "yarn",
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": false,
            "original_max_position_embeddings": 4096,
        });
        raw.insert("rope_parameters".into(), yarn);
    }
    rope::standardize(raw, THETA)
}
