//! MiniMax-M2 (2025): heads that may rotate in part, norms over whole queries and keys, and experts chosen by sigmoids.

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_config::MiniMaxM2Config;

use crate::ModelError;
use crate::nn::{
    Attention, AttentionOptions, Buffer, DecoderFamily, DecoderOptions, Experts, ExpertsOptions,
    FeedForward, Init, LayerContext, NormOptions, PreNormLayer, QkNorm, Router, RouterOptions,
    RouterOutputs, Score, activation, tokens,
};

/// A router and its experts; the correction of the scores is beside the router.
#[derive(Module, Debug)]
pub struct MiniMaxM2Moe {
    gate: Router,
    experts: Experts,
    /// `[experts]`.
    e_score_correction_bias: Buffer<1>,
}

impl FeedForward for MiniMaxM2Moe {
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let shape = x.dims();
        let x = tokens(x);
        let correction = self.e_score_correction_bias.val();
        let routing = self.gate.forward_with(x.clone(), Some(correction), context);
        self.experts.forward(x, routing).reshape(shape)
    }
}

/// The family.
#[derive(Debug)]
pub(crate) struct MiniMaxM2;

impl DecoderFamily for MiniMaxM2 {
    type Config = MiniMaxM2Config;
    type Layer = PreNormLayer<Attention, MiniMaxM2Moe>;

    fn options(config: &MiniMaxM2Config) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            router: Some(RouterOutputs::balanced(
                config.output_router_logits,
                config.num_local_experts,
                config.num_experts_per_tok,
                config.router_aux_loss_coef,
            )),
        })
    }

    fn layer(config: &MiniMaxM2Config, _: usize, init: &Init) -> Result<Self::Layer, ModelError> {
        let hidden = config.hidden_size;
        let norm = NormOptions::rms(config.rms_norm_eps);
        let attention = AttentionOptions {
            qk_norm: Some(QkNorm::Whole(norm)),
            ..attention_options!(config)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let (count, inner) = (config.num_local_experts, config.intermediate_size);
        let experts = ExpertsOptions::new(count, hidden, inner, activation);
        let router = RouterOptions {
            normalise: Some(0.0),
            ..RouterOptions::new(config.num_experts_per_tok, Score::Sigmoid)
        };
        let attention = Attention::new(&attention, init);
        let moe = MiniMaxM2Moe {
            gate: Router::new(&experts, router, init),
            experts: Experts::new(&experts, init),
            e_score_correction_bias: Buffer::zeros([count], init),
        };
        Ok(PreNormLayer::around(attention, moe, hidden, norm, init))
    }
}
