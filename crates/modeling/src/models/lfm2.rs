//! LFM2 (Liquid AI 2025): gated short convolutions, and attention in some of the layers.

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_config::{LayerType, Lfm2Config};

use crate::nn::{
    Activation, Attention, AttentionOptions, CausalConv1d, DecoderFamily, DecoderLayer,
    DecoderOptions, GatedMlp, Init, LayerContext, Linear, NormForm, NormOptions, QkNorm, RmsNorm,
};
use crate::{ModelError, Names};

/// A convolution over the last few tokens between two gates.
#[derive(Module, Debug)]
pub struct ShortConv {
    in_proj: Linear,
    conv: CausalConv1d,
    out_proj: Linear,
}

impl ShortConv {
    fn new(hidden: usize, width: usize, bias: bool, init: &Init) -> Self {
        Self {
            in_proj: Linear::new(hidden, 3 * hidden, bias, init),
            conv: CausalConv1d::new(hidden, width, bias, init),
            out_proj: Linear::new(hidden, hidden, bias, init),
        }
    }

    /// `[batch, seq, hidden]` to the same shape.
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let hidden = x.dims()[2];
        let projected = self.in_proj.forward(context.mask.clear_padding(x));
        let part = |index| projected.clone().narrow(2, index * hidden, hidden);
        let (before, after, x) = (part(0), part(1), part(2));
        let x = self.conv.forward(before * x, context.recurrent());
        self.out_proj.forward(after * x)
    }
}

/// A convolution or attention, and a feed-forward layer.
#[derive(Module, Debug)]
pub struct Lfm2Layer {
    input_layernorm: RmsNorm,
    /// One of the two is there.
    self_attn: Option<Attention>,
    conv: Option<ShortConv>,
    post_attention_layernorm: RmsNorm,
    mlp: GatedMlp,
}

impl DecoderLayer for Lfm2Layer {
    fn forward(&self, hidden: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let normed = self.input_layernorm.forward(hidden.clone());
        let mixed = match (&self.self_attn, &self.conv) {
            (Some(attention), _) => attention.forward(normed, context),
            (None, Some(conv)) => conv.forward(normed, context),
            (None, None) => normed.zeros_like(),
        };
        let (hidden, normed) = self.post_attention_layernorm.add(mixed, hidden);
        hidden + self.mlp.forward(normed)
    }
}

/// The family.
#[derive(Debug)]
pub(crate) struct Lfm2;

impl DecoderFamily for Lfm2 {
    type Config = Lfm2Config;
    type Layer = Lfm2Layer;

    const NAMES: Names = &[
        ("norm", "embedding_norm"),
        ("input_layernorm", "operator_norm"),
        ("o_proj", "out_proj"),
        ("q_norm", "q_layernorm"),
        ("k_norm", "k_layernorm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp", "feed_forward"),
        ("gate_proj", "w1"),
        ("up_proj", "w3"),
        ("down_proj", "w2"),
    ];

    fn options(config: &Lfm2Config) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.norm_eps)),
        })
    }

    fn layer(config: &Lfm2Config, index: usize, init: &Init) -> Result<Lfm2Layer, ModelError> {
        let hidden = config.hidden_size;
        let norm = || RmsNorm::new(hidden, config.norm_eps, NormForm::Plain, init);
        let convolves = config.layer_types()[index] == LayerType::Conv;
        let attention = || AttentionOptions {
            qk_norm: Some(QkNorm::PerHead(NormOptions::rms(config.norm_eps))),
            ..attention_options!(config)
        };
        let inner = config.feed_forward_size();
        Ok(Lfm2Layer {
            input_layernorm: norm(),
            self_attn: (!convolves).then(|| Attention::new(&attention(), init)),
            conv: convolves
                .then(|| ShortConv::new(hidden, config.conv_l_cache, config.conv_bias, init)),
            post_attention_layernorm: norm(),
            mlp: GatedMlp::new(hidden, inner, false, Activation::Silu, init),
        })
    }
}
