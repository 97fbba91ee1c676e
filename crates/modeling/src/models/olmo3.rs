//! OLMo 3 (OLMo et al. 2025): OLMo 2 with a sliding window on three layers of four, and scaled rotations on the fourth.

use transformers_config::Olmo3Config;

use super::olmo2::layer;
use crate::ModelError;
use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions,
    PostNormBlock, QkNorm, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Olmo3;

impl DecoderFamily for Olmo3 {
    type Config = Olmo3Config;
    type Layer = PostNormBlock;

    fn options(config: &Olmo3Config) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            sliding_window: config.sliding_window,
        })
    }

    fn layer(config: &Olmo3Config, _: usize, init: &Init) -> Result<PostNormBlock, ModelError> {
        layer!(config, init)
    }
}
