//! SmolLM3 (Bakouch et al. 2025): Llama with every fourth layer free of positions.

use transformers_config::SmolLm3Config;

use crate::ModelError;
use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions,
    PreNormBlock, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct SmolLm3;

impl DecoderFamily for SmolLm3 {
    type Config = SmolLm3Config;
    type Layer = PreNormBlock;

    const QUESTION_ANSWERING_PREFIX: &'static str = "transformer";

    fn options(config: &SmolLm3Config) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            sliding_window: config.sliding_window,
        })
    }

    fn layer(
        config: &SmolLm3Config,
        index: usize,
        init: &Init,
    ) -> Result<PreNormBlock, ModelError> {
        let attention = AttentionOptions {
            rotary: config.rotates(index),
            ..attention_options!(config).with_bias(config.attention_bias)
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
