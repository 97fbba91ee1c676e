//! GPT-J (Wang & Komatsuzaki 2021): parallel blocks on one layer norm, and a rotation of neighbouring values in the first
//! part of every head.

use transformers_config::{GptJConfig, RopeParameters};

use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions,
    ParallelBlock, ParallelNorms, RotaryLayout, activation,
};
use crate::{ModelError, Names};

/// The family.
#[derive(Debug)]
pub(crate) struct GptJ;

impl DecoderFamily for GptJ {
    type Config = GptJConfig;
    type Layer = ParallelBlock;

    const NAMES: Names = &[
        ("model", "transformer"),
        ("embed_tokens", "wte"),
        ("layers", "h"),
        ("norm", "ln_f"),
        ("input_layernorm", "ln_1"),
        ("self_attn", "attn"),
        ("o_proj", "out_proj"),
        ("up_proj", "fc_in"),
        ("down_proj", "fc_out"),
    ];
    const TIED: &'static [(&'static str, &'static str)] =
        &[("lm_head.weight", "transformer.wte.weight")];

    fn options(config: &GptJConfig) -> DecoderOptions {
        DecoderOptions {
            norm: Some(NormOptions::layer(config.layer_norm_epsilon)),
            head_dim: config.rotary_dim,
            rope_parameters: Some(RopeParameters::default()),
            rotary_layout: RotaryLayout::Interleaved,
            max_position_embeddings: Some(config.n_positions),
            head_bias: true,
            tie_word_embeddings: config.tie_word_embeddings,
            initializer_range: config.initializer_range,
            ..DecoderOptions::new(config.vocab_size, config.n_embd, config.layer_types())
        }
    }

    fn layer(config: &GptJConfig, _: usize, init: &Init) -> Result<ParallelBlock, ModelError> {
        let (hidden, heads) = (config.n_embd, config.n_head);
        let attention = AttentionOptions::new(hidden, heads, heads, hidden / heads);
        let activation = activation("activation_function", &config.activation_function)?;
        let mlp = MlpOptions::plain(config.intermediate_size(), activation);
        let norm = NormOptions::layer(config.layer_norm_epsilon);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(ParallelBlock::new(&block, ParallelNorms::Shared, init))
    }
}
