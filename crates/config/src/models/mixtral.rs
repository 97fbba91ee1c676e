//! `mixtral`: mistral with a mixture of experts in every layer.

use crate::declare::{config, rotary_decoder};
use crate::rope;
use crate::{LayerType, RopeParameters, checks};

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

rotary_decoder! {
    MixtralConfig: "mixtral" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        every_layer: |config| match config.sliding_window {
            Some(_) => LayerType::SlidingAttention,
            None => LayerType::FullAttention,
        },
        sizes: [intermediate_size, sliding_window],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, THETA),
        check: |config| checks::experts(config.num_local_experts, config.num_experts_per_tok),
    }
}
