//! GPT-OSS: experts with biases and a clamped gate, attention with sinks, and a window in every other layer.

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_config::GptOssConfig;

use crate::ModelError;
use crate::nn::{
    Attention, AttentionOptions, DecoderFamily, DecoderOptions, Experts, ExpertsOptions,
    FeedForward, Gate, Init, LayerContext, NormOptions, Router, RouterOptions, RouterOutputs,
    Score, SparseDecoderLayer, tokens,
};

/// A router and its experts.
#[derive(Module, Debug)]
pub struct GptOssMlp {
    router: Router,
    experts: Experts,
}

impl FeedForward for GptOssMlp {
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let shape = x.dims();
        let x = tokens(x);
        let routing = self.router.forward(x.clone(), context);
        self.experts.forward(x, routing).reshape(shape)
    }
}

/// The family.
#[derive(Debug)]
pub(crate) struct GptOss;

impl DecoderFamily for GptOss {
    type Config = GptOssConfig;
    type Layer = SparseDecoderLayer<Attention, GptOssMlp>;

    fn options(config: &GptOssConfig) -> DecoderOptions {
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

    fn layer(config: &GptOssConfig, _: usize, init: &Init) -> Result<Self::Layer, ModelError> {
        let hidden = config.hidden_size;
        let attention = AttentionOptions {
            qkv_bias: config.attention_bias,
            output_bias: config.attention_bias,
            sinks: true,
            ..attention_options!(config)
        };
        let experts = ExpertsOptions {
            count: config.num_local_experts,
            hidden_size: hidden,
            inner_size: config.intermediate_size,
            gate: Gate::Clamped {
                alpha: config.swiglu_alpha as f32,
                limit: config.swiglu_limit as f32,
            },
            bias: true,
        };
        let router = RouterOptions::new(config.num_experts_per_tok, Score::SoftmaxOfChosen);
        let mlp = GptOssMlp {
            router: Router::new(&experts, router, init).with_bias(init),
            experts: Experts::new(&experts, init),
        };
        let attention = Attention::new(&attention, init);
        Ok(SparseDecoderLayer::new(
            hidden,
            config.rms_norm_eps,
            attention,
            mlp,
            init,
        ))
    }
}
