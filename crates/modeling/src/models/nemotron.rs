//! Nemotron (Parmar et al. 2024): layer norms that store `weight - 1`, a squared ReLU, and heads that rotate in part.

use transformers_config::NemotronConfig;

use crate::ModelError;
use crate::nn::{
    BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions, PreNormBlock,
    activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Nemotron;

impl DecoderFamily for Nemotron {
    type Config = NemotronConfig;
    type Layer = PreNormBlock;

    const QUESTION_ANSWERING_PREFIX: &'static str = "transformer";

    fn options(config: &NemotronConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::layer_one_plus(config.norm_eps)),
        })
    }

    fn layer(config: &NemotronConfig, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let attention = attention_options!(config).with_bias(config.attention_bias);
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions {
            bias: config.mlp_bias,
            ..MlpOptions::plain(config.intermediate_size, activation)
        };
        let norm = NormOptions::layer_one_plus(config.norm_eps);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}
