//! `gpt_oss`: experts with biases and a clamped gate, sinks in the attention, and a window in every other layer.

use serde_json::{Map, Value, json};

use crate::declare::config;
use crate::rope;
use crate::{LayerType, ModelConfig, Result, RopeParameters, checks, layer_types};

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

impl GptOssConfig {
    /// The size of a head.
    pub fn head_dim(&self) -> usize {
        let divided = || self.hidden_size.checked_div(self.num_attention_heads);
        self.head_dim.or_else(divided).unwrap_or(0)
    }

    /// The number of key and value heads.
    pub fn num_key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// What each layer attends to.
    pub fn layer_types(&self) -> Vec<LayerType> {
        let by_default = || layer_types::every_nth_full(self.num_hidden_layers, 2);
        self.layer_types.clone().unwrap_or_else(by_default)
    }
}

impl ModelConfig for GptOssConfig {
    const MODEL_TYPE: &'static str = "gpt_oss";

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

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("sliding_window", self.sliding_window.unwrap_or(1)),
        ])?;
        checks::attention(
            self.hidden_size,
            self.num_attention_heads,
            self.num_key_value_heads(),
            self.head_dim,
        )?;
        checks::experts(self.num_local_experts, self.num_experts_per_tok)?;
        checks::not_negative("rms_norm_eps", self.rms_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)?;
        checks::not_negative("swiglu_limit", self.swiglu_limit)?;
        layer_types::validate(self.layer_types.as_deref(), self.num_hidden_layers)?;
        self.rope_parameters
            .validate(self.head_dim(), self.max_position_embeddings)
    }

    fn complete(&mut self) {
        self.head_dim = Some(self.head_dim());
        self.num_key_value_heads = Some(self.num_key_value_heads());
        self.layer_types = Some(self.layer_types());
        self.rope_parameters.complete(self.max_position_embeddings);
    }
}
