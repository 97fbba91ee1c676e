//! Qwen3 MoE: Qwen3's attention, and a mixture of experts in all layers or in some.

use transformers_config::Qwen3MoeConfig;

use super::qwen3::MULTIMODAL;
use crate::ModelError;
use crate::nn::{
    Attention, AttentionOptions, DecoderFamily, DecoderOptions, DenseOrSparse, ExpertsOptions,
    GatedMlp, Init, NormOptions, PreNormLayer, QkNorm, RouterOptions, RouterOutputs, Score,
    SparseMoe, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Qwen3Moe;

impl DecoderFamily for Qwen3Moe {
    type Config = Qwen3MoeConfig;
    type Layer = PreNormLayer<Attention, DenseOrSparse<SparseMoe>>;

    const QUESTION_ANSWERING_PREFIX: &'static str = "transformer";

    fn options(config: &Qwen3MoeConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            sliding_window: config.sliding_window(),
            multimodal_rotary: MULTIMODAL,
            router: Some(RouterOutputs::balanced(
                config.output_router_logits,
                config.num_local_experts,
                config.num_experts_per_tok,
                config.router_aux_loss_coef,
            )),
        })
    }

    fn layer(
        config: &Qwen3MoeConfig,
        index: usize,
        init: &Init,
    ) -> Result<Self::Layer, ModelError> {
        let hidden = config.hidden_size;
        let attention = AttentionOptions {
            qkv_bias: config.attention_bias,
            output_bias: config.attention_bias,
            qk_norm: Some(QkNorm::PerHead(NormOptions::rms(config.rms_norm_eps))),
            ..attention_options!(config)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = match config.is_sparse(index) {
            true => {
                let (count, inner) = (config.num_local_experts, config.moe_intermediate_size);
                let experts = ExpertsOptions::new(count, hidden, inner, activation);
                let router = RouterOptions {
                    normalise: config.norm_topk_prob.then_some(0.0),
                    ..RouterOptions::new(config.num_experts_per_tok, Score::Softmax)
                };
                DenseOrSparse::Sparse(SparseMoe::new(&experts, router, init))
            }
            false => {
                let inner = config.intermediate_size;
                DenseOrSparse::Dense(GatedMlp::new(hidden, inner, false, activation, init))
            }
        };
        let attention = Attention::new(&attention, init);
        let norm = NormOptions::rms(config.rms_norm_eps);
        Ok(PreNormLayer::around(attention, mlp, hidden, norm, init))
    }
}
