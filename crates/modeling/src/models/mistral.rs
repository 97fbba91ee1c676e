//! Mistral (Jiang et al. 2023): Llama with a sliding window on every layer, where the config sets one.

use transformers_config::MistralConfig;

use crate::ModelError;
use crate::nn::{
    BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions, PreNormBlock,
    activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Mistral;

impl DecoderFamily for Mistral {
    type Config = MistralConfig;
    type Layer = PreNormBlock;

    fn options(config: &MistralConfig) -> DecoderOptions {
        decoder_options!(config {
            sliding_window: config.sliding_window,
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
        })
    }

    fn layer(config: &MistralConfig, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let norm = NormOptions::rms(config.rms_norm_eps);
        let attention = attention_options!(config);
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions::gated(config.intermediate_size, activation);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}
