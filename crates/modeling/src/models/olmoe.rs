//! OLMoE (Muennighoff et al. 2024): a mixture of experts in every layer, and norms over whole queries and keys.

use transformers_config::OlmoeConfig;

use crate::ModelError;
use crate::nn::{
    Attention, AttentionOptions, DecoderFamily, DecoderOptions, ExpertsOptions, Init, NormOptions,
    PreNormLayer, QkNorm, RouterOptions, RouterOutputs, Score, SparseMoe, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Olmoe;

impl DecoderFamily for Olmoe {
    type Config = OlmoeConfig;
    type Layer = PreNormLayer<Attention, SparseMoe>;

    fn options(config: &OlmoeConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            router: Some(RouterOutputs::balanced(
                config.output_router_logits,
                config.num_experts,
                config.num_experts_per_tok,
                config.router_aux_loss_coef,
            )),
        })
    }

    fn layer(config: &OlmoeConfig, _: usize, init: &Init) -> Result<Self::Layer, ModelError> {
        let hidden = config.hidden_size;
        let norm = NormOptions::rms(config.rms_norm_eps);
        let attention = AttentionOptions {
            clip: config.clip_qkv,
            qk_norm: Some(QkNorm::Whole(norm)),
            ..attention_options!(config).with_bias(config.attention_bias)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let (count, inner) = (config.num_experts, config.intermediate_size);
        let experts = ExpertsOptions::new(count, hidden, inner, activation);
        let router = RouterOptions {
            normalise: config.norm_topk_prob.then_some(0.0),
            ..RouterOptions::new(config.num_experts_per_tok, Score::Softmax)
        };
        let attention = Attention::new(&attention, init);
        let moe = SparseMoe::new(&experts, router, init);
        Ok(PreNormLayer::around(attention, moe, hidden, norm, init))
    }
}
