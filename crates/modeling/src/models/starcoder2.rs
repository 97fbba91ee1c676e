//! StarCoder 2 (Lozhkov et al. 2024): grouped keys and rotary positions with the layer norms, biases and plain
//! feed-forward layer of GPT-2.

use transformers_config::Starcoder2Config;

use crate::nn::{
    BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions, PreNormBlock,
    activation,
};
use crate::{ModelError, Names};

/// The family.
#[derive(Debug)]
pub(crate) struct Starcoder2;

impl DecoderFamily for Starcoder2 {
    type Config = Starcoder2Config;
    type Layer = PreNormBlock;

    const NAMES: Names = &[("up_proj", "c_fc"), ("down_proj", "c_proj")];

    fn options(config: &Starcoder2Config) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::layer(config.norm_epsilon)),
            sliding_window: config.sliding_window,
        })
    }

    fn layer(config: &Starcoder2Config, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let attention = attention_options!(config).with_bias(config.use_bias);
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions {
            bias: config.use_bias,
            ..MlpOptions::plain(config.intermediate_size, activation)
        };
        let norm = NormOptions::layer(config.norm_epsilon);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}
