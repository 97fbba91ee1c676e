//! Llama (Touvron et al. 2023): pre-norm attention and gated feed-forward around a residual stream.
//!
//! Its block is also that of Mistral, Qwen2 and Qwen3, which change options of the attention only.

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_config::LlamaConfig;

use crate::ModelError;
use crate::nn::{
    Attention, AttentionOptions, DecoderFamily, DecoderLayer, DecoderOptions, GatedMlp, Init,
    LayerContext, NormForm, RmsNorm, activation,
};

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
#[derive(Module, Debug)]
pub struct LlamaDecoderLayer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: GatedMlp,
}

/// What a [`LlamaDecoderLayer`] is made of.
#[derive(Debug)]
pub struct LlamaBlock<'a> {
    /// The attention.
    pub attention: AttentionOptions,
    /// Features inside the feed-forward layer.
    pub intermediate_size: usize,
    /// Biases of the feed-forward layer.
    pub mlp_bias: bool,
    /// Its activation.
    pub hidden_act: &'a str,
    /// Added to the mean square in both norms.
    pub rms_norm_eps: f64,
}

impl LlamaDecoderLayer {
    /// # Errors
    /// An activation that is not known.
    pub fn new(block: &LlamaBlock<'_>, init: &Init) -> Result<Self, ModelError> {
        let hidden = block.attention.hidden_size;
        let norm = || RmsNorm::new(hidden, block.rms_norm_eps, NormForm::Plain, init);
        let activation = activation("hidden_act", block.hidden_act)?;
        let inner = block.intermediate_size;
        Ok(Self {
            input_layernorm: norm(),
            self_attn: Attention::new(&block.attention, init),
            post_attention_layernorm: norm(),
            mlp: GatedMlp::new(hidden, inner, block.mlp_bias, activation, init),
        })
    }
}

impl DecoderLayer for LlamaDecoderLayer {
    fn forward(&self, hidden: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let attended = self
            .self_attn
            .forward(self.input_layernorm.forward(hidden.clone()), context);
        let (hidden, normed) = self.post_attention_layernorm.add(attended, hidden);
        hidden + self.mlp.forward(normed)
    }
}

/// The family.
#[derive(Debug)]
pub(crate) struct Llama;

impl DecoderFamily for Llama {
    type Config = LlamaConfig;
    type Layer = LlamaDecoderLayer;

    const QUESTION_ANSWERING_PREFIX: &'static str = "transformer";

    fn options(config: &LlamaConfig) -> DecoderOptions {
        decoder_options!(config {
            head_dim: config.head_dim(),
        })
    }

    fn layer(
        config: &LlamaConfig,
        _index: usize,
        init: &Init,
    ) -> Result<LlamaDecoderLayer, ModelError> {
        let block = LlamaBlock {
            attention: AttentionOptions {
                qkv_bias: config.attention_bias,
                output_bias: config.attention_bias,
                ..AttentionOptions::new(
                    config.hidden_size,
                    config.num_attention_heads,
                    config.num_key_value_heads(),
                    config.head_dim(),
                )
            },
            intermediate_size: config.intermediate_size,
            mlp_bias: config.mlp_bias,
            hidden_act: &config.hidden_act,
            rms_norm_eps: config.rms_norm_eps,
        };
        LlamaDecoderLayer::new(&block, init)
    }

    fn norm(config: &LlamaConfig, init: &Init) -> RmsNorm {
        RmsNorm::new(
            config.hidden_size,
            config.rms_norm_eps,
            NormForm::Plain,
            init,
        )
    }
}
