//! EXAONE 4 (LG AI Research 2025): OLMo 2's norms after attention and feed-forward layer, a norm of every head, and with a
//! window, three sliding layers to one full one without positions.

use transformers_config::{Exaone4Config, LayerType};

use crate::ModelError;
use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions,
    PostNormBlock, QkNorm, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Exaone4;

impl DecoderFamily for Exaone4 {
    type Config = Exaone4Config;
    type Layer = PostNormBlock;

    const QUESTION_ANSWERING_PREFIX: &'static str = "transformer";

    fn options(config: &Exaone4Config) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            sliding_window: config.sliding_window,
        })
    }

    fn layer(
        config: &Exaone4Config,
        index: usize,
        init: &Init,
    ) -> Result<PostNormBlock, ModelError> {
        let norm = NormOptions::rms(config.rms_norm_eps);
        let slides = config.layer_types()[index] == LayerType::SlidingAttention;
        let attention = AttentionOptions {
            qk_norm: Some(QkNorm::PerHead(norm)),
            rotary: slides || config.sliding_window.is_none(),
            ..attention_options!(config)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions::gated(config.intermediate_size, activation);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PostNormBlock::new(&block, init))
    }
}
