//! Command R (Cohere 2024): parallel blocks on one layer norm without bias, a rotation of neighbouring values, and scaled
//! logits; and its successor, in which three layers of four have a sliding window and the fourth has no positions.

use transformers_config::{Cohere2Config, CohereConfig, LayerType};

use crate::ModelError;
use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions,
    ParallelBlock, ParallelNorms, QkNorm, RotaryLayout, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Cohere;

impl DecoderFamily for Cohere {
    type Config = CohereConfig;
    type Layer = ParallelBlock;

    fn options(config: &CohereConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::layer_without_bias(config.layer_norm_eps)),
            rotary_layout: RotaryLayout::Interleaved,
            logit_scale: Some(config.logit_scale),
        })
    }

    fn layer(config: &CohereConfig, _: usize, init: &Init) -> Result<ParallelBlock, ModelError> {
        let eps = config.layer_norm_eps;
        let heads_normed = config.use_qk_norm;
        let attention = AttentionOptions {
            qk_norm: heads_normed.then_some(QkNorm::LayerPerHead { eps }),
            ..attention_options!(config).with_bias(config.attention_bias)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions::gated(config.intermediate_size, activation);
        let block = BlockOptions::new(attention, mlp, NormOptions::layer_without_bias(eps));
        Ok(ParallelBlock::new(&block, ParallelNorms::Shared, init))
    }
}

/// Its successor.
#[derive(Debug)]
pub(crate) struct Cohere2;

impl DecoderFamily for Cohere2 {
    type Config = Cohere2Config;
    type Layer = ParallelBlock;

    fn options(config: &Cohere2Config) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::layer_without_bias(config.layer_norm_eps)),
            rotary_layout: RotaryLayout::Interleaved,
            sliding_window: config.sliding_window,
            logit_scale: Some(config.logit_scale),
        })
    }

    fn layer(
        config: &Cohere2Config,
        index: usize,
        init: &Init,
    ) -> Result<ParallelBlock, ModelError> {
        let attention = AttentionOptions {
            rotary: config.layer_types()[index] == LayerType::SlidingAttention,
            ..attention_options!(config).with_bias(config.attention_bias)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions::gated(config.intermediate_size, activation);
        let norm = NormOptions::layer_without_bias(config.layer_norm_eps);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(ParallelBlock::new(&block, ParallelNorms::Shared, init))
    }
}
