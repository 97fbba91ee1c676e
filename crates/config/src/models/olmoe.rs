//! `olmoe`: llama with a mixture of experts in every layer, and norms over whole queries and keys.

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};
use crate::{RopeParameters, checks};

config! {
    /// The configuration of an OLMoE model.
    OlmoeConfig {
        vocab_size: usize = 50_304,
        hidden_size: usize = 2048,
        /// The width inside of an expert.
        intermediate_size: usize = 2048,
        num_hidden_layers: usize = 16,
        num_attention_heads: usize = 16,
        num_key_value_heads: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 4096,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        /// What queries, keys and values are clamped to, on both sides of zero.
        clip_qkv: Option<f64> = None,
        num_experts_per_tok: usize = 8,
        #[serde(alias = "num_local_experts")]
        num_experts: usize = 64,
        output_router_logits: bool = false,
        router_aux_loss_coef: f64 = 0.01,
        norm_topk_prob: bool = false,
    }
    tokens { pad: Some(1), bos: None, eos: Some(50_279) }
}

rotary_decoder! {
    OlmoeConfig: "olmoe" {
        kv_heads: num_key_value_heads,
        sizes: [intermediate_size],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, DEFAULT_THETA),
        check: |config| {
            checks::not_negative("clip_qkv", config.clip_qkv.unwrap_or(0.0))?;
            checks::experts(config.num_experts, config.num_experts_per_tok)
        },
    }
}
