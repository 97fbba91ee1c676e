//! Gemma 3, the text model: sandwich norms, normed queries and keys, five sliding layers to one full one, and a
//! rotation of its own for each of the two kinds.

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_config::Gemma3TextConfig;

use crate::ModelError;
use crate::nn::{
    Attention, AttentionOptions, DecoderFamily, DecoderLayer, DecoderOptions, GatedMlp, Init,
    LayerContext, NormForm, RmsNorm, activation,
};

/// `x + norm(attention(norm(x)))`, then `x + norm(mlp(norm(x)))`.
#[derive(Module, Debug)]
pub struct Gemma3DecoderLayer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    pre_feedforward_layernorm: RmsNorm,
    mlp: GatedMlp,
    post_feedforward_layernorm: RmsNorm,
}

impl DecoderLayer for Gemma3DecoderLayer {
    fn forward(&self, hidden: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let attended = self
            .self_attn
            .forward(self.input_layernorm.forward(hidden.clone()), context);
        let attended = self.post_attention_layernorm.forward(attended);
        let (hidden, normed) = self.pre_feedforward_layernorm.add(attended, hidden);
        hidden
            + self
                .post_feedforward_layernorm
                .forward(self.mlp.forward(normed))
    }
}

/// The family.
#[derive(Debug)]
pub(crate) struct Gemma3Text;

impl DecoderFamily for Gemma3Text {
    type Config = Gemma3TextConfig;
    type Layer = Gemma3DecoderLayer;

    fn options(config: &Gemma3TextConfig) -> DecoderOptions {
        decoder_options!(config {
            head_dim: config.head_dim,
            sliding_window: config.sliding_window(),
            bidirectional: config.use_bidirectional_attention == Some(true),
            embedding_scale: Some((config.hidden_size as f64).sqrt()),
            final_logit_softcapping: config.final_logit_softcapping,
        })
    }

    fn layer(
        config: &Gemma3TextConfig,
        _index: usize,
        init: &Init,
    ) -> Result<Gemma3DecoderLayer, ModelError> {
        let attention = AttentionOptions {
            qkv_bias: config.attention_bias,
            output_bias: config.attention_bias,
            qk_norm: Some((config.rms_norm_eps, NormForm::OnePlus)),
            scale: (config.query_pre_attn_scalar as f64).powf(-0.5),
            ..AttentionOptions::new(
                config.hidden_size,
                config.num_attention_heads,
                config.num_key_value_heads,
                config.head_dim,
            )
        };
        let norm = || Self::norm(config, init);
        Ok(Gemma3DecoderLayer {
            input_layernorm: norm(),
            self_attn: Attention::new(&attention, init),
            post_attention_layernorm: norm(),
            pre_feedforward_layernorm: norm(),
            mlp: GatedMlp::new(
                config.hidden_size,
                config.intermediate_size,
                false,
                activation("hidden_activation", &config.hidden_activation)?,
                init,
            ),
            post_feedforward_layernorm: norm(),
        })
    }

    fn norm(config: &Gemma3TextConfig, init: &Init) -> RmsNorm {
        RmsNorm::new(
            config.hidden_size,
            config.rms_norm_eps,
            NormForm::OnePlus,
            init,
        )
    }
}
