//! OLMo 2 (OLMo et al. 2024): norms after attention and feed-forward layer instead of before, and over all queries and all
//! keys.

use transformers_config::Olmo2Config;

use crate::ModelError;
use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions,
    PostNormBlock, QkNorm, activation,
};

/// A layer of this family and the next: their configs call alike what it is made of.
macro_rules! layer {
    ($config:ident, $init:ident) => {{
        let norm = NormOptions::rms($config.rms_norm_eps);
        let attention = AttentionOptions {
            qk_norm: Some(QkNorm::Whole(norm)),
            ..attention_options!($config).with_bias($config.attention_bias)
        };
        let activation = activation("hidden_act", &$config.hidden_act)?;
        let mlp = MlpOptions::gated($config.intermediate_size, activation);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PostNormBlock::new(&block, $init))
    }};
}
pub(super) use layer;

/// The family.
#[derive(Debug)]
pub(crate) struct Olmo2;

impl DecoderFamily for Olmo2 {
    type Config = Olmo2Config;
    type Layer = PostNormBlock;

    fn options(config: &Olmo2Config) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
        })
    }

    fn layer(config: &Olmo2Config, _: usize, init: &Init) -> Result<PostNormBlock, ModelError> {
        layer!(config, init)
    }
}
