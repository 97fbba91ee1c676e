//! Gemma 2 (Gemma Team 2024): Gemma with norms after attention and feed-forward too, soft caps of scores and logits, and
//! a sliding window on every second layer.

use transformers_config::Gemma2Config;

use crate::ModelError;
use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions,
    SandwichBlock, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Gemma2;

impl DecoderFamily for Gemma2 {
    type Config = Gemma2Config;
    type Layer = SandwichBlock;

    fn options(config: &Gemma2Config) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms_one_plus(config.rms_norm_eps)),
            sliding_window: config.sliding_window,
            embedding_scale: Some((config.hidden_size as f64).sqrt()),
            final_logit_softcapping: config.final_logit_softcapping,
        })
    }

    fn layer(config: &Gemma2Config, _: usize, init: &Init) -> Result<SandwichBlock, ModelError> {
        let attention = AttentionOptions {
            scale: (config.query_pre_attn_scalar as f64).powf(-0.5),
            softcap: config.attn_logit_softcapping,
            ..attention_options!(config).with_bias(config.attention_bias)
        };
        let activation = activation("hidden_activation", &config.hidden_activation)?;
        let mlp = MlpOptions::gated(config.intermediate_size, activation);
        let norm = NormOptions::rms_one_plus(config.rms_norm_eps);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(SandwichBlock::new(&block, init))
    }
}
