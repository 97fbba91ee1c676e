//! `ernie4_5_moe`: ernie4_5 with a mixture of experts in some layers.

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, RopeConfig};
use crate::{RopeParameters, checks};

/// The base of the frequencies, where nothing is stated.
const THETA: f64 = 500_000.0;

config! {
    /// The configuration of an ERNIE 4.5 model with experts.
    Ernie4_5MoeConfig {
        vocab_size: usize = 103_424,
        hidden_size: usize = 2560,
        /// The width inside of the MLP of dense layers.
        intermediate_size: usize = 12_288,
        num_hidden_layers: usize = 28,
        num_attention_heads: usize = 20,
        num_key_value_heads: Option<usize> = Some(4),
        /// The size of a head, where it is stated.
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 131_072,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = true,
        rope_parameters: RopeParameters = RopeParameters::Flat(RopeConfig::with_theta(THETA)),
        /// Whether projections have biases, but for those of experts.
        use_bias: Option<bool> = Some(false),
        moe_intermediate_size: usize = 1536,
        /// The experts that a token passes.
        #[serde(alias = "num_experts_per_tok")]
        moe_k: usize = 6,
        /// The experts of a layer.
        #[serde(alias = "num_experts")]
        moe_num_experts: usize = 64,
        /// As many experts' widths has the block that every token passes; 0: there is none.
        moe_num_shared_experts: usize = 2,
        /// The first layer that may have experts.
        moe_layer_start_index: usize = 1,
        /// The last layer that may have experts; -1: the last of all.
        moe_layer_end_index: i64 = -1,
        /// Every so manieth layer has experts.
        moe_layer_interval: usize = 1,
        /// The weights of a token's experts are divided by their sum, or by this where the sum is smaller.
        moe_norm_min: f64 = 1e-12,
        output_router_logits: bool = false,
        router_aux_loss_coef: f64 = 0.001,
    }
    tokens { pad: Some(0), bos: Some(1), eos: Some(2) }
}

impl Ernie4_5MoeConfig {
    /// The last layer that may have experts.
    fn last_sparse(&self) -> i64 {
        match self.moe_layer_end_index {
            -1 => self.num_hidden_layers as i64 - 1,
            index => index,
        }
    }

    /// Whether layer `index` has experts.
    pub fn is_sparse(&self, index: usize) -> bool {
        (index + 1).is_multiple_of(self.moe_layer_interval)
            && index >= self.moe_layer_start_index
            && index as i64 <= self.last_sparse()
    }
}

rotary_decoder! {
    Ernie4_5MoeConfig: "ernie4_5_moe" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        sizes: [intermediate_size, moe_intermediate_size, moe_layer_interval],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, THETA),
        check: |config| {
            checks::divisor("moe_norm_min", Some(config.moe_norm_min))?;
            let inner = config.moe_intermediate_size.saturating_mul(config.moe_num_shared_experts);
            checks::sizes(&[("moe_num_shared_experts", inner.max(1))])?;
            checks::experts(config.moe_num_experts, config.moe_k)
        },
        complete: |config| config.moe_layer_end_index = config.last_sparse(),
    }
}
