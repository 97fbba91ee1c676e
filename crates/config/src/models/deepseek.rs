//! `deepseek_v2` and `deepseek_v3`: attention through a latent vector, experts in groups, and shared experts.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::rope::{self, DEFAULT_THETA};
use crate::{
    ConfigError, LayerType, ModelConfig, Result, RopeConfig, RopeParameters, RopeType, checks,
};

config! {
    /// The configuration of a deepseek_v2 model.
    DeepseekV2Config {
        vocab_size: usize = 102_400,
        hidden_size: usize = 4096,
        /// The width inside of the MLP of dense layers.
        intermediate_size: usize = 11_008,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 32,
        num_key_value_heads: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 2048,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        /// Kept for older readers.
        pretraining_tp: Option<usize> = Some(1),
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        mlp_bias: bool = false,
        head_dim: Option<usize> = None,
        first_k_dense_replace: usize = 0,
        /// Features of the vector that keys and values come from.
        kv_lora_rank: usize = 512,
        /// Features of the vector that queries come from; null: they come from the residual stream.
        q_lora_rank: Option<usize> = Some(1536),
        n_group: Option<usize> = None,
        #[serde(alias = "num_experts")]
        n_routed_experts: usize = 64,
        output_router_logits: bool = false,
        n_shared_experts: usize = 2,
        /// Features of a query or key without position.
        qk_nope_head_dim: usize = 128,
        /// Features of a query or key that rotate.
        qk_rope_head_dim: usize = 64,
        routed_scaling_factor: f64 = 1.0,
        topk_group: Option<usize> = None,
        /// `greedy`, or `group_limited_greedy` with groups.
        topk_method: String = "greedy".into(),
        norm_topk_prob: bool = false,
        /// Features of a value.
        v_head_dim: usize = 128,
        num_experts_per_tok: Option<usize> = None,
        moe_intermediate_size: usize = 1407,
        /// Features of a query or key.
        qk_head_dim: Option<usize> = None,
    }
    tokens { pad: None, bos: Some(1), eos: Some(2) }
}

config! {
    /// The configuration of a deepseek_v3 model.
    DeepseekV3Config {
        vocab_size: usize = 129_280,
        hidden_size: usize = 7168,
        /// The width inside of the MLP of dense layers.
        intermediate_size: usize = 18_432,
        moe_intermediate_size: usize = 2048,
        num_hidden_layers: usize = 61,
        num_attention_heads: usize = 128,
        num_key_value_heads: Option<usize> = Some(128),
        n_shared_experts: usize = 1,
        #[serde(alias = "num_local_experts")]
        n_routed_experts: usize = 256,
        output_router_logits: bool = false,
        routed_scaling_factor: f64 = 2.5,
        /// Features of the vector that keys and values come from.
        kv_lora_rank: usize = 512,
        /// Features of the vector that queries come from; null: they come from the residual stream.
        q_lora_rank: Option<usize> = Some(1536),
        /// Features of a query or key that rotate.
        qk_rope_head_dim: usize = 64,
        /// Features of a value.
        v_head_dim: usize = 128,
        /// Features of a query or key without position.
        qk_nope_head_dim: usize = 128,
        n_group: usize = 8,
        topk_group: usize = 4,
        num_experts_per_tok: usize = 8,
        first_k_dense_replace: usize = 3,
        norm_topk_prob: bool = true,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 4096,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        /// Kept for older readers.
        pretraining_tp: Option<usize> = Some(1),
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        /// Whether features `2 i` and `2 i + 1` rotate together, and not `i` and `i + half`.
        rope_interleave: bool = true,
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        /// Layers after the last one that predict further tokens; they are not loaded.
        #[serde(alias = "num_mtp_layers")]
        num_nextn_predict_layers: usize = 1,
        /// Features of a query or key.
        qk_head_dim: Option<usize> = None,
        head_dim: Option<usize> = None,
    }
    tokens { pad: None, bos: Some(0), eos: Some(1) }
}

/// What both have in common, by the names of their fields; `check` is of the experts.
macro_rules! latent_decoder {
    ($name:ident: $model_type:literal { check: $check:expr }) => {
        impl $name {
            /// The values of a head that rotate.
            pub fn head_dim(&self) -> usize {
                self.qk_rope_head_dim
            }

            /// Every layer attends to all earlier positions.
            pub fn layer_types(&self) -> Vec<LayerType> {
                LayerType::all_alike(self.num_hidden_layers, None)
            }

            /// Factor on the scores.
            pub fn attention_scale(&self) -> f64 {
                attention_scale(&self.rope_parameters, self.query_dim())
            }

            /// The values of a query or a key.
            fn query_dim(&self) -> usize {
                self.qk_nope_head_dim.saturating_add(self.qk_rope_head_dim)
            }
        }

        impl ModelConfig for $name {
            const MODEL_TYPE: &'static str = $model_type;

            fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
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
                    ("kv_lora_rank", self.kv_lora_rank),
                    ("q_lora_rank", self.q_lora_rank.unwrap_or(1)),
                    ("qk_nope_head_dim", self.qk_nope_head_dim),
                    ("v_head_dim", self.v_head_dim),
                ])?;
                let heads = self.num_attention_heads;
                checks::attention(self.hidden_size, heads, heads, Some(self.query_dim()))?;
                let check: fn(&Self) -> Result<()> = $check;
                check(self)?;
                checks::not_negative("rms_norm_eps", self.rms_norm_eps)?;
                checks::not_negative("initializer_range", self.initializer_range)?;
                self.rope_parameters
                    .validate(self.qk_rope_head_dim, self.max_position_embeddings)
            }

            fn complete(&mut self) {
                self.num_key_value_heads.get_or_insert(self.num_attention_heads);
                self.qk_head_dim = Some(self.query_dim());
                self.head_dim = Some(self.qk_rope_head_dim);
                self.rope_parameters.complete(self.max_position_embeddings);
            }
        }
    };
}

latent_decoder!(DeepseekV2Config: "deepseek_v2" {
    check: |config| {
        let top_k = config.num_experts_per_tok.unwrap_or(0);
        checks::experts(config.n_routed_experts, top_k)?;
        match (config.topk_method.as_str(), config.groups()) {
            ("greedy", _) => Ok(()),
            ("group_limited_greedy", Some(groups)) => {
                checks::expert_groups(config.n_routed_experts, groups, top_k)
            }
            (method, _) => {
                let reason = format!(
                    "\"{method}\" is not `greedy`, or `group_limited_greedy` with `n_group` and `topk_group`"
                );
                Err(ConfigError::invalid("topk_method", reason))
            }
        }
    }
});

latent_decoder!(DeepseekV3Config: "deepseek_v3" {
    check: |config| {
        let groups = (config.n_group, config.topk_group);
        checks::expert_groups(config.n_routed_experts, groups, config.num_experts_per_tok)
    }
});

impl DeepseekV2Config {
    /// The groups of experts and how many of them take part, if the choice is limited to some.
    pub fn groups(&self) -> Option<(usize, usize)> {
        let limited = self.topk_method == "group_limited_greedy";
        self.n_group.zip(self.topk_group).filter(|_| limited)
    }
}

/// `head_dim^-0.5`, and for stretched rotations the square of yarn's factor for `mscale_all_dim`.
fn attention_scale(rope: &RopeParameters, head_dim: usize) -> f64 {
    let rope = rope.for_layer(LayerType::FullAttention);
    let factor = |rope: &RopeConfig| {
        let stretched = rope.rope_type != RopeType::Default;
        let all = rope.mscale_all_dim.filter(|all| *all != 0.0 && stretched)?;
        let factor = rope.factor.filter(|factor| *factor > 1.0)?;
        Some(0.1 * all * factor.ln() + 1.0)
    };
    let factor = rope.and_then(factor).unwrap_or(1.0);
    (head_dim as f64).powf(-0.5) * factor * factor
}
