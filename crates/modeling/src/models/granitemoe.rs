//! Granite MoE (IBM 2024): Granite's factors, and a mixture of experts in every layer.

use transformers_config::GraniteMoeConfig;

use crate::nn::{
    Attention, AttentionOptions, DecoderFamily, DecoderOptions, ExpertsOptions, Init, NormOptions,
    PreNormLayer, RouterOptions, RouterOutputs, Score, SparseMoe, activation,
};
use crate::{ModelError, Names};

/// The family.
#[derive(Debug)]
pub(crate) struct GraniteMoe;

impl DecoderFamily for GraniteMoe {
    type Config = GraniteMoeConfig;
    type Layer = PreNormLayer<Attention, SparseMoe>;

    const NAMES: Names = &[("mlp", "block_sparse_moe"), ("gate", "router")];

    fn options(config: &GraniteMoeConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            embedding_scale: Some(config.embedding_multiplier),
            logit_scale: Some(1.0 / config.logits_scaling),
            router: Some(RouterOutputs::balanced(
                config.output_router_logits,
                config.num_local_experts,
                config.num_experts_per_tok,
                config.router_aux_loss_coef,
            )),
        })
    }

    fn layer(config: &GraniteMoeConfig, _: usize, init: &Init) -> Result<Self::Layer, ModelError> {
        let hidden = config.hidden_size;
        let attention = AttentionOptions {
            scale: config.attention_multiplier,
            ..attention_options!(config).with_bias(config.attention_bias)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let (count, inner) = (config.num_local_experts, config.intermediate_size);
        let experts = ExpertsOptions::new(count, hidden, inner, activation);
        let router = RouterOptions::new(config.num_experts_per_tok, Score::SoftmaxOfChosen);
        let attention = Attention::new(&attention, init);
        let moe = SparseMoe::new(&experts, router, init);
        let norm = NormOptions::rms(config.rms_norm_eps);
        let layer = PreNormLayer::around(attention, moe, hidden, norm, init);
        Ok(layer.with_residual_scale(config.residual_multiplier))
    }
}
