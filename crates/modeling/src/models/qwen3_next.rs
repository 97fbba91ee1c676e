//! Qwen3-Next and Qwen3.5 (2025): gated delta nets, with a layer of gated attention now and then.

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_config::{LayerType, Qwen3_5MoeTextConfig, Qwen3_5TextConfig, Qwen3NextConfig};

use super::qwen2_moe::{Qwen2MoeBlock, experts_beside_shared};
use crate::nn::{
    Attention, AttentionOptions, DecoderFamily, DecoderOptions, DeltaProjections, DenseOrSparse,
    ExpertsOptions, GatedDeltaNet, GatedDeltaOptions, GatedMlp, Init, LayerContext,
    MultimodalRotary, NormOptions, PreNormLayer, QkNorm, RouterOptions, RouterOutputs, Score,
    SelfAttention, activation,
};
use crate::{ModelError, Names};

/// The one or the other.
#[derive(Module, Debug)]
pub struct Mixer {
    linear: Option<GatedDeltaNet>,
    full: Option<Attention>,
}

/// The mixers are named without the level that holds them.
const NAMES: Names = &[
    ("self_attn", ""),
    ("linear", "linear_attn"),
    ("full", "self_attn"),
    ("a_log", "A_log"),
];

impl SelfAttention for Mixer {
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        match (&self.linear, &self.full) {
            (Some(linear), _) => linear.forward(x, context),
            (None, Some(full)) => Attention::forward(full, x, context),
            (None, None) => unreachable!("a layer has a mixer"),
        }
    }
}

/// The layer of all three.
type Layer<F> = PreNormLayer<Mixer, F>;

/// A layer around `mlp`; the configs call everything else alike.
macro_rules! layer {
    ($config:ident, $index:ident, $projections:ident, $mlp:expr, $init:ident) => {{
        let hidden = $config.hidden_size;
        let norm = NormOptions::rms_one_plus($config.rms_norm_eps);
        let linear = GatedDeltaOptions {
            hidden_size: hidden,
            key_heads: $config.linear_num_key_heads,
            heads: $config.linear_num_value_heads,
            key_dim: $config.linear_key_head_dim,
            value_dim: $config.linear_value_head_dim,
            conv_width: $config.linear_conv_kernel_dim,
            activation: activation("hidden_act", &$config.hidden_act)?,
            norm_eps: $config.rms_norm_eps,
            projections: DeltaProjections::$projections,
        };
        let full = AttentionOptions {
            qk_norm: Some(QkNorm::PerHead(norm)),
            output_gate: true,
            ..attention_options!($config).with_bias($config.attention_bias)
        };
        let is_linear = $config.layer_types()[$index] == LayerType::LinearAttention;
        let mixer = Mixer {
            linear: is_linear.then(|| GatedDeltaNet::new(&linear, $init)),
            full: (!is_linear).then(|| Attention::new(&full, $init)),
        };
        Ok(PreNormLayer::around(mixer, $mlp, hidden, norm, $init))
    }};
}

/// The routers' outputs of those with experts.
macro_rules! router {
    ($config:ident) => {
        Some(RouterOutputs::balanced(
            $config.output_router_logits,
            $config.num_experts,
            $config.num_experts_per_tok,
            $config.router_aux_loss_coef,
        ))
    };
}

/// Of Qwen3.5.
const MULTIMODAL: Option<MultimodalRotary> = Some(MultimodalRotary {
    interleaved: true,
    sections: [11, 11, 10],
});

/// Qwen3-Next.
#[derive(Debug)]
pub(crate) struct Qwen3Next;

impl DecoderFamily for Qwen3Next {
    type Config = Qwen3NextConfig;
    type Layer = Layer<DenseOrSparse<Qwen2MoeBlock>>;

    const NAMES: Names = NAMES;
    const QUESTION_ANSWERING_PREFIX: &'static str = "transformer";

    fn options(config: &Qwen3NextConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms_one_plus(config.rms_norm_eps)),
            router: router!(config),
        })
    }

    fn layer(
        config: &Qwen3NextConfig,
        index: usize,
        init: &Init,
    ) -> Result<Self::Layer, ModelError> {
        let mlp = match config.is_sparse(index) {
            true => {
                DenseOrSparse::Sparse(experts_beside_shared!(config, config.norm_topk_prob, init))
            }
            false => {
                let activation = activation("hidden_act", &config.hidden_act)?;
                let (hidden, inner) = (config.hidden_size, config.intermediate_size);
                DenseOrSparse::Dense(GatedMlp::new(hidden, inner, false, activation, init))
            }
        };
        layer!(config, index, Grouped, mlp, init)
    }
}

/// The text model of Qwen3.5.
#[derive(Debug)]
pub(crate) struct Qwen3_5Text;

impl DecoderFamily for Qwen3_5Text {
    type Config = Qwen3_5TextConfig;
    type Layer = Layer<GatedMlp>;

    const NAMES: Names = NAMES;

    fn options(config: &Qwen3_5TextConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms_one_plus(config.rms_norm_eps)),
            multimodal_rotary: MULTIMODAL,
        })
    }

    fn layer(
        config: &Qwen3_5TextConfig,
        index: usize,
        init: &Init,
    ) -> Result<Self::Layer, ModelError> {
        let activation = activation("hidden_act", &config.hidden_act)?;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let mlp = GatedMlp::new(hidden, inner, false, activation, init);
        layer!(config, index, Separate, mlp, init)
    }
}

/// The text model of Qwen3.5 with experts.
#[derive(Debug)]
pub(crate) struct Qwen3_5MoeText;

impl DecoderFamily for Qwen3_5MoeText {
    type Config = Qwen3_5MoeTextConfig;
    type Layer = Layer<Qwen2MoeBlock>;

    const NAMES: Names = NAMES;

    fn options(config: &Qwen3_5MoeTextConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms_one_plus(config.rms_norm_eps)),
            multimodal_rotary: MULTIMODAL,
            router: router!(config),
        })
    }

    fn layer(
        config: &Qwen3_5MoeTextConfig,
        index: usize,
        init: &Init,
    ) -> Result<Self::Layer, ModelError> {
        let moe = experts_beside_shared!(config, true, init);
        layer!(config, index, Separate, moe, init)
    }
}
