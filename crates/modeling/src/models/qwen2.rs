//! Qwen2: Llama with biases on the query, key and value projections, and a sliding window on some layers.

use transformers_config::Qwen2Config;

use crate::ModelError;
use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions,
    MultimodalRotary, NormOptions, PreNormBlock, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Qwen2;

impl DecoderFamily for Qwen2 {
    type Config = Qwen2Config;
    type Layer = PreNormBlock;

    const QUESTION_ANSWERING_PREFIX: &'static str = "transformer";

    fn options(config: &Qwen2Config) -> DecoderOptions {
        decoder_options!(config {
            sliding_window: config.sliding_window(),
            // of its namesakes that see
            multimodal_rotary: Some(MultimodalRotary {
                interleaved: false,
                sections: [16, 24, 24],
            }),
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
        })
    }

    fn layer(config: &Qwen2Config, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let norm = NormOptions::rms(config.rms_norm_eps);
        let attention = AttentionOptions {
            qkv_bias: true,
            ..attention_options!(config)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions::gated(config.intermediate_size, activation);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}
