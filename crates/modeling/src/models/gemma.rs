//! Gemma (Gemma Team 2024): Llama with norms that store `weight - 1`, a gated GELU and scaled embeddings.

use transformers_config::GemmaConfig;

use crate::ModelError;
use crate::nn::{
    BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions, PreNormBlock,
    activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Gemma;

impl DecoderFamily for Gemma {
    type Config = GemmaConfig;
    type Layer = PreNormBlock;

    fn options(config: &GemmaConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms_one_plus(config.rms_norm_eps)),
            embedding_scale: Some((config.hidden_size as f64).sqrt()),
        })
    }

    fn layer(config: &GemmaConfig, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let attention = attention_options!(config).with_bias(config.attention_bias);
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions::gated(config.intermediate_size, activation);
        let norm = NormOptions::rms_one_plus(config.rms_norm_eps);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}
