//! `qwen2_moe`: qwen2 with a mixture of experts in all layers or in some, and one expert that every token passes.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::rope::{self, DEFAULT_THETA};
use crate::{LayerType, ModelConfig, Result, RopeParameters, checks, layer_types};

config! {
    /// The configuration of a qwen2_moe model.
    Qwen2MoeConfig {
        vocab_size: usize = 151_936,
        hidden_size: usize = 2048,
        /// The width inside of the MLP of dense layers.
        intermediate_size: usize = 5632,
        num_hidden_layers: usize = 24,
        num_attention_heads: usize = 16,
        num_key_value_heads: Option<usize> = Some(16),
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 32_768,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        /// Whether any layer slides.
        use_sliding_window: bool = false,
        sliding_window: Option<usize> = Some(4096),
        /// Every other layer before this one slides.
        max_window_layers: usize = 28,
        attention_dropout: f64 = 0.0,
        decoder_sparse_step: usize = 1,
        moe_intermediate_size: usize = 1408,
        shared_expert_intermediate_size: usize = 5632,
        num_experts_per_tok: usize = 4,
        num_experts: usize = 60,
        norm_topk_prob: bool = false,
        output_router_logits: bool = false,
        router_aux_loss_coef: f64 = 0.001,
        mlp_only_layers: Option<Vec<usize>> = None,
        /// Whether the query, key and value projections have biases.
        qkv_bias: bool = true,
        layer_types: Option<Vec<LayerType>> = None,
    }
    tokens { pad: None, bos: None, eos: None }
}

impl Qwen2MoeConfig {
    /// The size of a head.
    pub fn head_dim(&self) -> usize {
        let divided = || self.hidden_size.checked_div(self.num_attention_heads);
        self.head_dim.or_else(divided).unwrap_or(0)
    }

    /// The number of key and value heads.
    pub fn num_key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// The positions that a sliding layer attends to, the own one included, if any layer slides.
    pub fn sliding_window(&self) -> Option<usize> {
        self.sliding_window.filter(|_| self.use_sliding_window)
    }

    /// What each layer attends to.
    pub fn layer_types(&self) -> Vec<LayerType> {
        let slides = |layer: usize| {
            self.use_sliding_window && layer.is_multiple_of(2) && layer < self.max_window_layers
        };
        let by_default = || {
            let layers = 0..self.num_hidden_layers;
            layers
                .map(|layer| match slides(layer) {
                    true => LayerType::SlidingAttention,
                    false => LayerType::FullAttention,
                })
                .collect()
        };
        self.layer_types.clone().unwrap_or_else(by_default)
    }

    /// Whether layer `index` has experts.
    pub fn is_sparse(&self, index: usize) -> bool {
        let dense = self.mlp_only_layers.as_deref().unwrap_or_default();
        !dense.contains(&index)
            && self.num_experts > 0
            && (index + 1).is_multiple_of(self.decoder_sparse_step)
    }
}

impl ModelConfig for Qwen2MoeConfig {
    const MODEL_TYPE: &'static str = "qwen2_moe";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        rope::standardize(raw, DEFAULT_THETA)
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("moe_intermediate_size", self.moe_intermediate_size),
            (
                "shared_expert_intermediate_size",
                self.shared_expert_intermediate_size,
            ),
            ("max_position_embeddings", self.max_position_embeddings),
            ("sliding_window", self.sliding_window().unwrap_or(1)),
        ])?;
        checks::attention(
            self.hidden_size,
            self.num_attention_heads,
            self.num_key_value_heads(),
            self.head_dim,
        )?;
        if (0..self.num_hidden_layers).any(|layer| self.is_sparse(layer)) {
            checks::experts(self.num_experts, self.num_experts_per_tok)?;
        }
        checks::not_negative("rms_norm_eps", self.rms_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)?;
        layer_types::validate(self.layer_types.as_deref(), self.num_hidden_layers)?;
        self.rope_parameters
            .validate(self.head_dim(), self.max_position_embeddings)
    }

    fn complete(&mut self) {
        self.num_key_value_heads = Some(self.num_key_value_heads());
        self.layer_types = Some(self.layer_types());
        // The reference writes 0 where nothing slides.
        self.sliding_window = Some(self.sliding_window().unwrap_or(0));
        self.mlp_only_layers.get_or_insert_default();
        self.rope_parameters.complete(self.max_position_embeddings);
    }
}
