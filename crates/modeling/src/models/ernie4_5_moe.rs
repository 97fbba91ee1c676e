//! ERNIE 4.5 (Baidu 2025), the models with experts: chosen by a softmax that is corrected for the choice, beside a block
//! that every token passes.

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_config::Ernie4_5MoeConfig;

use crate::ModelError;
use crate::nn::{
    Attention, Buffer, DecoderFamily, DecoderOptions, DenseOrSparse, Experts, ExpertsOptions,
    FeedForward, GatedMlp, Init, LayerContext, NormOptions, PreNormLayer, RotaryLayout, Router,
    RouterOptions, RouterOutputs, Score, activation, tokens,
};

/// A router with its correction in a module of its own.
#[derive(Module, Debug)]
pub struct ErnieRouter {
    __: Router,
    moe_statics: MoeStatics,
}

/// What the router has learned of how the experts are used.
#[derive(Module, Debug)]
struct MoeStatics {
    /// `[1, experts]`.
    e_score_correction_bias: Buffer<2>,
}

/// Routed experts, and perhaps a block that every token passes.
#[derive(Module, Debug)]
pub struct ErnieMoe {
    gate: ErnieRouter,
    experts: Experts,
    shared_experts: Option<GatedMlp>,
}

impl FeedForward for ErnieMoe {
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let shape = x.dims();
        let statics = &self.gate.moe_statics;
        let correction = statics.e_score_correction_bias.val().squeeze_dim(0);
        let router = &self.gate.__;
        let routing = router.forward_with(tokens(x.clone()), Some(correction), context);
        let routed = self.experts.forward(tokens(x.clone()), routing);
        let routed = routed.reshape(shape);
        match &self.shared_experts {
            Some(shared) => routed + GatedMlp::forward(shared, x),
            None => routed,
        }
    }
}

/// The family.
#[derive(Debug)]
pub(crate) struct Ernie4_5Moe;

impl DecoderFamily for Ernie4_5Moe {
    type Config = Ernie4_5MoeConfig;
    type Layer = PreNormLayer<Attention, DenseOrSparse<ErnieMoe>>;

    fn options(config: &Ernie4_5MoeConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            rotary_layout: RotaryLayout::Interleaved,
            head_bias: config.use_bias == Some(true),
            router: Some(RouterOutputs::balanced(
                config.output_router_logits,
                config.moe_num_experts,
                config.moe_k,
                config.router_aux_loss_coef,
            )),
        })
    }

    fn layer(
        config: &Ernie4_5MoeConfig,
        index: usize,
        init: &Init,
    ) -> Result<Self::Layer, ModelError> {
        let hidden = config.hidden_size;
        let bias = config.use_bias == Some(true);
        let activation = activation("hidden_act", &config.hidden_act)?;
        let dense = |inner| GatedMlp::new(hidden, inner, bias, activation, init);
        let mlp = match config.is_sparse(index) {
            true => {
                let (count, inner) = (config.moe_num_experts, config.moe_intermediate_size);
                let experts = ExpertsOptions::new(count, hidden, inner, activation);
                let router = RouterOptions {
                    normalise: Some(config.moe_norm_min),
                    ..RouterOptions::new(config.moe_k, Score::Softmax)
                };
                let shared = config.moe_num_shared_experts;
                DenseOrSparse::Sparse(ErnieMoe {
                    gate: ErnieRouter {
                        __: Router::new(&experts, router, init),
                        moe_statics: MoeStatics {
                            e_score_correction_bias: Buffer::zeros([1, count], init),
                        },
                    },
                    experts: Experts::new(&experts, init),
                    shared_experts: (shared > 0).then(|| dense(inner * shared)),
                })
            }
            false => DenseOrSparse::Dense(dense(config.intermediate_size)),
        };
        let attention = Attention::new(&attention_options!(config).with_bias(bias), init);
        let norm = NormOptions::rms(config.rms_norm_eps);
        Ok(PreNormLayer::around(attention, mlp, hidden, norm, init))
    }
}
