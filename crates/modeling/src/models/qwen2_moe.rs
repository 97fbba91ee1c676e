//! Qwen2 MoE: Qwen2's attention, and a mixture of experts beside one expert that every token passes.

use burn::module::Module;
use burn::tensor::{Tensor, activation::sigmoid};
use transformers_config::Qwen2MoeConfig;

use crate::ModelError;
use crate::nn::{
    Activation, Attention, AttentionOptions, DecoderFamily, DecoderOptions, DenseOrSparse, Experts,
    ExpertsOptions, FeedForward, GatedMlp, Init, LayerContext, Linear, NormOptions, PreNormLayer,
    Router, RouterOptions, RouterOutputs, Score, activation, tokens,
};

/// Routed experts, and a shared one that counts as much as a gate says.
#[derive(Module, Debug)]
pub struct Qwen2MoeBlock {
    gate: Router,
    experts: Experts,
    shared_expert: GatedMlp,
    shared_expert_gate: Linear,
}

impl Qwen2MoeBlock {
    /// Experts, and a shared one of another width.
    pub(super) fn new(
        experts: &ExpertsOptions,
        router: RouterOptions,
        shared_size: usize,
        activation: Activation,
        init: &Init,
    ) -> Self {
        let hidden = experts.hidden_size;
        Self {
            gate: Router::new(experts, router, init),
            experts: Experts::new(experts, init),
            shared_expert: GatedMlp::new(hidden, shared_size, false, activation, init),
            shared_expert_gate: Linear::new(hidden, 1, false, init),
        }
    }
}

impl FeedForward for Qwen2MoeBlock {
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let shape = x.dims();
        let routing = self.gate.forward(tokens(x.clone()), context);
        let routed = self.experts.forward(tokens(x.clone()), routing);
        let share = sigmoid(self.shared_expert_gate.forward(x.clone()));
        routed.reshape(shape) + self.shared_expert.forward(x) * share
    }
}

/// The experts that a config names: `$normalise` where the weights of a token's experts are to add up to one.
macro_rules! experts_beside_shared {
    ($config:ident, $normalise:expr, $init:ident) => {{
        let activation = activation("hidden_act", &$config.hidden_act)?;
        let (count, inner) = ($config.num_experts, $config.moe_intermediate_size);
        let experts = ExpertsOptions::new(count, $config.hidden_size, inner, activation);
        let router = RouterOptions {
            normalise: $normalise.then_some(0.0),
            ..RouterOptions::new($config.num_experts_per_tok, Score::Softmax)
        };
        let shared = $config.shared_expert_intermediate_size;
        Qwen2MoeBlock::new(&experts, router, shared, activation, $init)
    }};
}
pub(super) use experts_beside_shared;

/// The family.
#[derive(Debug)]
pub(crate) struct Qwen2Moe;

impl DecoderFamily for Qwen2Moe {
    type Config = Qwen2MoeConfig;
    type Layer = PreNormLayer<Attention, DenseOrSparse<Qwen2MoeBlock>>;

    fn options(config: &Qwen2MoeConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            sliding_window: config.sliding_window(),
            router: Some(RouterOutputs::balanced(
                config.output_router_logits,
                config.num_experts,
                config.num_experts_per_tok,
                config.router_aux_loss_coef,
            )),
        })
    }

    fn layer(
        config: &Qwen2MoeConfig,
        index: usize,
        init: &Init,
    ) -> Result<Self::Layer, ModelError> {
        let hidden = config.hidden_size;
        let attention = AttentionOptions {
            qkv_bias: config.qkv_bias,
            ..attention_options!(config)
        };
        let mlp = match config.is_sparse(index) {
            true => {
                DenseOrSparse::Sparse(experts_beside_shared!(config, config.norm_topk_prob, init))
            }
            false => {
                let activation = activation("hidden_act", &config.hidden_act)?;
                let inner = config.intermediate_size;
                DenseOrSparse::Dense(GatedMlp::new(hidden, inner, false, activation, init))
            }
        };
        let attention = Attention::new(&attention, init);
        let norm = NormOptions::rms(config.rms_norm_eps);
        Ok(PreNormLayer::around(attention, mlp, hidden, norm, init))
    }
}
