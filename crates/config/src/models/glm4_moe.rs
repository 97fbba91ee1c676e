//! `glm4_moe`: heads that rotate in part, DeepSeek-V3's router, and shared experts.

use serde_json::{Map, Value, json};

use crate::declare::config;
use crate::rope::{self, DEFAULT_THETA};
use crate::{ConfigError, LayerType, ModelConfig, Result, RopeParameters, checks};

/// The part of a head that rotates where nothing is stated.
const PARTIAL: f64 = 0.5;

config! {
    /// The configuration of a glm4_moe model.
    Glm4MoeConfig {
        vocab_size: usize = 151_552,
        hidden_size: usize = 4096,
        /// The width inside of the MLP of dense layers.
        intermediate_size: usize = 10_944,
        num_hidden_layers: usize = 46,
        num_attention_heads: usize = 96,
        num_key_value_heads: usize = 8,
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 131_072,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        /// Whether the query, key and value projections have biases.
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        moe_intermediate_size: usize = 1408,
        num_experts_per_tok: usize = 8,
        output_router_logits: bool = false,
        n_shared_experts: usize = 1,
        #[serde(alias = "num_local_experts")]
        n_routed_experts: usize = 128,
        routed_scaling_factor: f64 = 1.0,
        n_group: usize = 1,
        topk_group: usize = 1,
        first_k_dense_replace: usize = 1,
        norm_topk_prob: bool = true,
        /// Whether every query and key head is normed.
        use_qk_norm: bool = false,
        /// Layers after the last one that predict further tokens; they are not loaded.
        #[serde(alias = "num_mtp_layers")]
        num_nextn_predict_layers: usize = 1,
    }
    tokens { pad: None, bos: None, eos: None }
}

impl Glm4MoeConfig {
    /// The size of a head.
    pub fn head_dim(&self) -> usize {
        let divided = || self.hidden_size.checked_div(self.num_attention_heads);
        self.head_dim.or_else(divided).unwrap_or(0)
    }

    /// Every layer attends to all earlier positions.
    pub fn layer_types(&self) -> Vec<LayerType> {
        LayerType::all_alike(self.num_hidden_layers, None)
    }
}

impl ModelConfig for Glm4MoeConfig {
    const MODEL_TYPE: &'static str = "glm4_moe";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        raw.entry("partial_rotary_factor")
            .or_insert_with(|| json!(PARTIAL));
        rope::standardize(raw, DEFAULT_THETA)
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("moe_intermediate_size", self.moe_intermediate_size),
            ("n_shared_experts", self.n_shared_experts),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        checks::attention(
            self.hidden_size,
            self.num_attention_heads,
            self.num_key_value_heads,
            Some(self.head_dim()),
        )?;
        let groups = (self.n_group, self.topk_group);
        checks::expert_groups(self.n_routed_experts, groups, self.num_experts_per_tok)?;
        checks::not_negative("rms_norm_eps", self.rms_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)?;
        if let Some(rope) = self.rope_parameters.for_layer(LayerType::FullAttention) {
            let (head_dim, length) = (self.head_dim(), self.max_position_embeddings);
            let rotating = 2 * rope.frequencies(head_dim, length, 0)?.inv_freq.len();
            if rotating > head_dim {
                let reason = format!("{rotating} values of a head of {head_dim} would rotate");
                return Err(ConfigError::invalid("rope_parameters.partial_rotary_factor", reason));
            }
        }
        Ok(())
    }

    fn complete(&mut self) {
        self.rope_parameters.complete(self.max_position_embeddings);
    }
}
