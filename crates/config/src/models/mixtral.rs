//! `mixtral`: mistral with a mixture of experts in every layer.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::rope;
use crate::{LayerType, ModelConfig, Result, RopeParameters, checks};

/// The rotary base where none is stated.
const THETA: f64 = 1_000_000.0;

config! {
    /// The configuration of a mixtral model.
    MixtralConfig {
        vocab_size: usize = 32_000,
        hidden_size: usize = 4096,
        /// The width inside of an expert.
        intermediate_size: usize = 14_336,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 32,
        num_key_value_heads: Option<usize> = Some(8),
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 4096 * 32,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        sliding_window: Option<usize> = None,
        attention_dropout: f64 = 0.0,
        num_experts_per_tok: usize = 2,
        #[serde(alias = "num_experts")]
        num_local_experts: usize = 8,
        output_router_logits: bool = false,
        router_aux_loss_coef: f64 = 0.001,
        router_jitter_noise: f64 = 0.0,
        rope_parameters: RopeParameters = RopeParameters::default(),
    }
    tokens { pad: None, bos: Some(1), eos: Some(2) }
}

impl MixtralConfig {
    /// The size of a head.
    pub fn head_dim(&self) -> usize {
        let divided = || self.hidden_size.checked_div(self.num_attention_heads);
        self.head_dim.or_else(divided).unwrap_or(0)
    }

    /// The number of key and value heads.
    pub fn num_key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Every layer slides if there is a window.
    pub fn layer_types(&self) -> Vec<LayerType> {
        LayerType::all_alike(self.num_hidden_layers, self.sliding_window)
    }
}

impl ModelConfig for MixtralConfig {
    const MODEL_TYPE: &'static str = "mixtral";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
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
        self.rope_parameters
            .validate(self.head_dim(), self.max_position_embeddings)
    }

    fn complete(&mut self) {
        self.num_key_value_heads = Some(self.num_key_value_heads());
        self.rope_parameters.complete(self.max_position_embeddings);
    }
}
