//! Qwen3: Llama with a norm of every query and key head before the rotation, and a sliding window on some layers.

use transformers_config::Qwen3Config;

use crate::ModelError;
use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions,
    MultimodalRotary, NormOptions, PreNormBlock, QkNorm, activation,
};

/// Within Qwen3-VL, tokens among images have three positions.
pub(super) const MULTIMODAL: Option<MultimodalRotary> = Some(MultimodalRotary {
    interleaved: true,
    sections: [24, 20, 20],
});

/// The family.
#[derive(Debug)]
pub(crate) struct Qwen3;

impl DecoderFamily for Qwen3 {
    type Config = Qwen3Config;
    type Layer = PreNormBlock;

    const QUESTION_ANSWERING_PREFIX: &'static str = "transformer";

    fn options(config: &Qwen3Config) -> DecoderOptions {
        decoder_options!(config {
            sliding_window: config.sliding_window(),
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            multimodal_rotary: MULTIMODAL,
        })
    }

    fn layer(config: &Qwen3Config, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let norm = NormOptions::rms(config.rms_norm_eps);
        let attention = AttentionOptions {
            qk_norm: Some(QkNorm::PerHead(norm)),
            ..attention_options!(config).with_bias(config.attention_bias)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions::gated(config.intermediate_size, activation);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}
