//! GPT-OSS: experts with biases and a clamped gate, attention with sinks, and a window in every other layer.

use transformers_config::GptOssConfig;

use crate::nn::{
    Attention, AttentionOptions, DecoderFamily, DecoderOptions, Experts, ExpertsOptions, Gate,
    Init, NormOptions, PreNormLayer, Router, RouterOptions, RouterOutputs, Score, SparseMoe,
};
use crate::{ModelError, Names};

/// The family.
#[derive(Debug)]
pub(crate) struct GptOss;

impl DecoderFamily for GptOss {
    type Config = GptOssConfig;
    type Layer = PreNormLayer<Attention, SparseMoe>;

    const NAMES: Names = &[("gate", "router")];

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
        let gate = Router::new(&experts, router, init).with_bias(init);
        let mlp = SparseMoe::of(gate, Experts::new(&experts, init));
        let attention = Attention::new(&attention, init);
        let norm = NormOptions::rms(config.rms_norm_eps);
        Ok(PreNormLayer::around(attention, mlp, hidden, norm, init))
    }
}
