//! Mixtral (Jiang et al. 2024): Mistral with a mixture of experts in every layer.

use transformers_config::MixtralConfig;

use crate::ModelError;
use crate::nn::{
    Attention, DecoderFamily, DecoderOptions, ExpertsOptions, Init, NormOptions, PreNormLayer,
    RouterOptions, RouterOutputs, Score, SparseMoe, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Mixtral;

impl DecoderFamily for Mixtral {
    type Config = MixtralConfig;
    type Layer = PreNormLayer<Attention, SparseMoe>;

    fn options(config: &MixtralConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            sliding_window: config.sliding_window,
            router: Some(RouterOutputs::balanced(
                config.output_router_logits,
                config.num_local_experts,
                config.num_experts_per_tok,
                config.router_aux_loss_coef,
            )),
        })
    }

    fn layer(
        config: &MixtralConfig,
        _index: usize,
        init: &Init,
    ) -> Result<Self::Layer, ModelError> {
        let hidden = config.hidden_size;
        let attention = attention_options!(config);
        let activation = activation("hidden_act", &config.hidden_act)?;
        let (count, inner) = (config.num_local_experts, config.intermediate_size);
        let experts = ExpertsOptions::new(count, hidden, inner, activation);
        let router = RouterOptions {
            normalise: Some(0.0),
            ..RouterOptions::new(config.num_experts_per_tok, Score::Softmax)
        };
        let moe = SparseMoe::new(&experts, router, init);
        let attention = Attention::new(&attention, init);
        let norm = NormOptions::rms(config.rms_norm_eps);
        Ok(PreNormLayer::around(attention, moe, hidden, norm, init))
    }
}
