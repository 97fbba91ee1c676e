//! Seed-OSS (ByteDance 2025): Llama with a bias of its own on each side of the attention.

use transformers_config::SeedOssConfig;

use crate::ModelError;
use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions,
    PreNormBlock, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct SeedOss;

impl DecoderFamily for SeedOss {
    type Config = SeedOssConfig;
    type Layer = PreNormBlock;

    const QUESTION_ANSWERING_PREFIX: &'static str = "transformer";

    fn options(config: &SeedOssConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
        })
    }

    fn layer(config: &SeedOssConfig, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let attention = AttentionOptions {
            qkv_bias: config.attention_bias,
            output_bias: config.attention_out_bias,
            ..attention_options!(config)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions {
            bias: config.mlp_bias,
            ..MlpOptions::gated(config.intermediate_size, activation)
        };
        let norm = NormOptions::rms(config.rms_norm_eps);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}
