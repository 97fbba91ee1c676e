//! GPT-Neo (Black et al. 2021): GPT-2 with separate projections, scores that are not scaled, and a sliding window on every
//! second layer.

use transformers_config::GptNeoConfig;

use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Hiding, Init, MlpOptions,
    NormOptions, PreNormBlock, activation,
};
use crate::{ModelError, Names};

/// The family.
#[derive(Debug)]
pub(crate) struct GptNeo;

impl DecoderFamily for GptNeo {
    type Config = GptNeoConfig;
    type Layer = PreNormBlock;

    const NAMES: Names = &[
        ("model", "transformer"),
        ("embed_tokens", "wte"),
        ("embed_positions", "wpe"),
        ("layers", "h"),
        ("norm", "ln_f"),
        ("input_layernorm", "ln_1"),
        ("self_attn", "attn.attention"),
        ("o_proj", "out_proj"),
        ("post_attention_layernorm", "ln_2"),
        ("up_proj", "c_fc"),
        ("down_proj", "c_proj"),
    ];
    const TIED: &'static [(&'static str, &'static str)] =
        &[("lm_head.weight", "transformer.wte.weight")];
    const CLASSIFIES_TOKENS_AS_ENCODERS: bool = true;

    fn options(config: &GptNeoConfig) -> DecoderOptions {
        DecoderOptions {
            norm: Some(NormOptions::layer(config.layer_norm_epsilon)),
            max_position_embeddings: Some(config.max_position_embeddings),
            position_offset: Some(0),
            hiding: Hiding::ReplacedAndAdded,
            sliding_window: Some(config.window_size),
            tie_word_embeddings: config.tie_word_embeddings,
            initializer_range: config.initializer_range,
            ..DecoderOptions::new(config.vocab_size, config.hidden_size, config.layer_types())
        }
    }

    fn layer(config: &GptNeoConfig, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let (hidden, heads) = (config.hidden_size, config.num_heads);
        let attention = AttentionOptions {
            output_bias: true,
            scale: 1.0,
            ..AttentionOptions::new(hidden, heads, heads, hidden / heads)
        };
        let activation = activation("activation_function", &config.activation_function)?;
        let mlp = MlpOptions::plain(config.intermediate_size(), activation);
        let norm = NormOptions::layer(config.layer_norm_epsilon);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}
