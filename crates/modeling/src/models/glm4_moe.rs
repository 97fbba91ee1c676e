//! GLM-4.5 (2025): heads that rotate in part, DeepSeek-V3's router, and shared experts.

use transformers_config::Glm4MoeConfig;

use super::deepseek::dense_or_grouped;
use crate::ModelError;
use crate::nn::{
    Attention, AttentionOptions, DecoderFamily, DecoderOptions, DenseOrSparse, Init, NormOptions,
    PreNormLayer, QkNorm, RouterOutputs, SparseMoe,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Glm4Moe;

impl DecoderFamily for Glm4Moe {
    type Config = Glm4MoeConfig;
    type Layer = PreNormLayer<Attention, DenseOrSparse<SparseMoe>>;

    fn options(config: &Glm4MoeConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            router: Some(RouterOutputs {
                by_default: config.output_router_logits,
                loss: None,
            }),
        })
    }

    fn layer(config: &Glm4MoeConfig, index: usize, init: &Init) -> Result<Self::Layer, ModelError> {
        let hidden = config.hidden_size;
        let norm = QkNorm::PerHead(NormOptions::rms(config.rms_norm_eps));
        let attention = AttentionOptions {
            qkv_bias: config.attention_bias,
            qk_norm: config.use_qk_norm.then_some(norm),
            ..AttentionOptions::new(
                hidden,
                config.num_attention_heads,
                config.num_key_value_heads,
                config.head_dim(),
            )
        };
        let mlp = dense_or_grouped!(config, index, init);
        let attention = Attention::new(&attention, init);
        let norm = NormOptions::rms(config.rms_norm_eps);
        Ok(PreNormLayer::around(attention, mlp, hidden, norm, init))
    }
}
