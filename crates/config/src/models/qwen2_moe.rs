//! `qwen2_moe`: qwen2 with a mixture of experts in all layers or in some, and one expert that every token passes.

use crate::declare::{config, rotary_decoder, sparse_layers};
use crate::rope::{self, DEFAULT_THETA};
use crate::{LayerType, RopeParameters, checks};

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
    /// The positions that a sliding layer attends to, the own one included, if any layer slides.
    pub fn sliding_window(&self) -> Option<usize> {
        self.sliding_window.filter(|_| self.use_sliding_window)
    }

    /// Whether layer `index` slides where nothing is stated.
    fn slides(&self, index: usize) -> bool {
        self.use_sliding_window && index.is_multiple_of(2) && index < self.max_window_layers
    }
}

sparse_layers!(Qwen2MoeConfig: num_experts);

rotary_decoder! {
    Qwen2MoeConfig: "qwen2_moe" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        layer_types: |config| {
            let kind = |layer| match config.slides(layer) {
                true => LayerType::SlidingAttention,
                false => LayerType::FullAttention,
            };
            (0..config.num_hidden_layers).map(kind).collect()
        },
        sizes: [intermediate_size, moe_intermediate_size, shared_expert_intermediate_size],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, DEFAULT_THETA),
        check: |config| {
            checks::sizes(&[("sliding_window", config.sliding_window().unwrap_or(1))])?;
            config.check_experts()
        },
        complete: |config| {
            // The reference writes 0 where nothing slides.
            config.sliding_window = Some(config.sliding_window().unwrap_or(0));
            config.mlp_only_layers.get_or_insert_default();
        },
    }
}
