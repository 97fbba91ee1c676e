//! Granite (IBM 2024): Llama with factors on the embeddings, the scores, the residual stream and the logits.

use transformers_config::GraniteConfig;

use crate::ModelError;
use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions,
    PreNormBlock, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Granite;

impl DecoderFamily for Granite {
    type Config = GraniteConfig;
    type Layer = PreNormBlock;

    fn options(config: &GraniteConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            embedding_scale: Some(config.embedding_multiplier),
            logit_scale: Some(1.0 / config.logits_scaling),
        })
    }

    fn layer(config: &GraniteConfig, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let attention = AttentionOptions {
            scale: config.attention_multiplier,
            ..attention_options!(config).with_bias(config.attention_bias)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions {
            bias: config.mlp_bias,
            ..MlpOptions::gated(config.intermediate_size, activation)
        };
        let block = BlockOptions {
            residual_scale: Some(config.residual_multiplier),
            ..BlockOptions::new(attention, mlp, NormOptions::rms(config.rms_norm_eps))
        };
        Ok(PreNormBlock::new(&block, init))
    }
}
