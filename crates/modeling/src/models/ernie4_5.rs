//! ERNIE 4.5 (Baidu 2025), the dense models: Llama with a rotation of neighbouring values.

use transformers_config::Ernie4_5Config;

use crate::ModelError;
use crate::nn::{
    BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions, PreNormBlock,
    RotaryLayout, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Ernie4_5;

impl DecoderFamily for Ernie4_5 {
    type Config = Ernie4_5Config;
    type Layer = PreNormBlock;

    fn options(config: &Ernie4_5Config) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            rotary_layout: RotaryLayout::Interleaved,
        })
    }

    fn layer(config: &Ernie4_5Config, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let bias = config.use_bias == Some(true);
        let attention = attention_options!(config).with_bias(bias);
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions {
            bias,
            ..MlpOptions::gated(config.intermediate_size, activation)
        };
        let norm = NormOptions::rms(config.rms_norm_eps);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}
