//! Gemma 3, the text model: sandwich norms, normed queries and keys, five sliding layers to one full one, and a
//! rotation of its own for each of the two kinds.

use transformers_config::Gemma3TextConfig;

use crate::ModelError;
use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions,
    QkNorm, SandwichBlock, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Gemma3Text;

impl DecoderFamily for Gemma3Text {
    type Config = Gemma3TextConfig;
    type Layer = SandwichBlock;

    fn options(config: &Gemma3TextConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms_one_plus(config.rms_norm_eps)),
            sliding_window: config.sliding_window(),
            bidirectional: config.use_bidirectional_attention == Some(true),
            embedding_scale: Some((config.hidden_size as f64).sqrt()),
            final_logit_softcapping: config.final_logit_softcapping,
        })
    }

    fn layer(
        config: &Gemma3TextConfig,
        _: usize,
        init: &Init,
    ) -> Result<SandwichBlock, ModelError> {
        let norm = NormOptions::rms_one_plus(config.rms_norm_eps);
        let attention = AttentionOptions {
            qk_norm: Some(QkNorm::PerHead(norm)),
            scale: (config.query_pre_attn_scalar as f64).powf(-0.5),
            ..attention_options!(config).with_bias(config.attention_bias)
        };
        let activation = activation("hidden_activation", &config.hidden_activation)?;
        let mlp = MlpOptions::gated(config.intermediate_size, activation);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(SandwichBlock::new(&block, init))
    }
}
