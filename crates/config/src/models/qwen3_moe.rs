//! `qwen3_moe`: qwen3 with a mixture of experts in all layers or in some.

use crate::declare::{config, rotary_decoder, sparse_layers};
use crate::rope::{self, DEFAULT_THETA};
use crate::{LayerType, RopeParameters, checks};

config! {
    /// The configuration of a qwen3_moe model.
    Qwen3MoeConfig {
        vocab_size: usize = 151_936,
        hidden_size: usize = 2048,
        /// The width inside of the MLP of dense layers.
        intermediate_size: usize = 6144,
        num_hidden_layers: usize = 24,
        num_attention_heads: usize = 32,
        num_key_value_heads: usize = 4,
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 32_768,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        attention_bias: bool = false,
        /// Whether every layer slides.
        use_sliding_window: bool = false,
        sliding_window: Option<usize> = Some(4096),
        attention_dropout: f64 = 0.0,
        decoder_sparse_step: usize = 1,
        moe_intermediate_size: usize = 768,
        num_experts_per_tok: usize = 8,
        #[serde(alias = "num_experts")]
        num_local_experts: usize = 128,
        norm_topk_prob: bool = false,
        output_router_logits: bool = false,
        router_aux_loss_coef: f64 = 0.001,
        mlp_only_layers: Option<Vec<usize>> = None,
    }
    tokens { pad: None, bos: None, eos: None }
}

impl Qwen3MoeConfig {
    /// The positions that layers attend to, the own one included, if they slide.
    pub fn sliding_window(&self) -> Option<usize> {
        self.sliding_window.filter(|_| self.use_sliding_window)
    }
}

sparse_layers!(Qwen3MoeConfig: num_local_experts);

rotary_decoder! {
    Qwen3MoeConfig: "qwen3_moe" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        every_layer: |config| match config.sliding_window() {
            Some(_) => LayerType::SlidingAttention,
            None => LayerType::FullAttention,
        },
        sizes: [intermediate_size, moe_intermediate_size],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, DEFAULT_THETA),
        check: |config| {
            checks::sizes(&[("sliding_window", config.sliding_window().unwrap_or(1))])?;
            config.check_experts()
        },
        complete: |config| {
            config.sliding_window = config.sliding_window();
            config.mlp_only_layers.get_or_insert_default();
        },
    }
}
