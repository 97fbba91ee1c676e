//! Llama (Touvron et al. 2023): pre-norm attention and gated feed-forward around a residual stream.

use transformers_config::LlamaConfig;

use crate::ModelError;
use crate::nn::{
    BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions, PreNormBlock,
    activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Llama;

impl DecoderFamily for Llama {
    type Config = LlamaConfig;
    type Layer = PreNormBlock;

    const QUESTION_ANSWERING_PREFIX: &'static str = "transformer";

    fn options(config: &LlamaConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
        })
    }

    fn layer(config: &LlamaConfig, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let attention = attention_options!(config);
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions {
            bias: config.mlp_bias,
            ..MlpOptions::gated(config.intermediate_size, activation)
        };
        let block = BlockOptions::new(
            attention.with_bias(config.attention_bias),
            mlp,
            NormOptions::rms(config.rms_norm_eps),
        );
        Ok(PreNormBlock::new(&block, init))
    }
}
