//! GPT-2 (Radford et al. 2019): pre-norm blocks with layer norms, learned positions and a plain feed-forward layer.
//!
//! Its checkpoints store the projections of the blocks as `[in, out]`; they are turned when they are read.

use transformers_config::Gpt2Config;

use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions,
    PreNormBlock, QkvOrder, activation,
};
use crate::{ModelError, Names};

/// The family.
#[derive(Debug)]
pub(crate) struct Gpt2;

impl DecoderFamily for Gpt2 {
    type Config = Gpt2Config;
    type Layer = PreNormBlock;

    const NAMES: Names = &[
        ("model", "transformer"),
        ("embed_tokens", "wte"),
        ("embed_positions", "wpe"),
        ("layers", "h"),
        ("norm", "ln_f"),
        ("input_layernorm", "ln_1"),
        ("self_attn", "attn"),
        ("qkv_proj", "c_attn"),
        ("o_proj", "c_proj"),
        ("post_attention_layernorm", "ln_2"),
        ("up_proj", "c_fc"),
        ("down_proj", "c_proj"),
    ];

    const TIED: &'static [(&'static str, &'static str)] =
        &[("lm_head.weight", "transformer.wte.weight")];
    const CLASSIFIES_TOKENS_AS_ENCODERS: bool = true;

    fn options(config: &Gpt2Config) -> DecoderOptions {
        DecoderOptions {
            norm: Some(NormOptions::layer(config.layer_norm_epsilon)),
            max_position_embeddings: Some(config.n_positions),
            position_offset: Some(0),
            tie_word_embeddings: config.tie_word_embeddings,
            initializer_range: config.initializer_range,
            ..DecoderOptions::new(config.vocab_size, config.n_embd, config.layer_types())
        }
    }

    fn layer(config: &Gpt2Config, index: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let (heads, head_dim) = (config.n_head, config.n_embd / config.n_head);
        let by_head = match config.scale_attn_weights {
            true => (head_dim as f64).powf(-0.5),
            false => 1.0,
        };
        let by_layer = match config.scale_attn_by_inverse_layer_idx {
            true => 1.0 / (index + 1) as f64,
            false => 1.0,
        };
        let output_std = Some(config.initializer_range * (2.0 * config.n_layer as f64).powf(-0.5));
        let attention = AttentionOptions {
            output_std,
            fused: Some(QkvOrder::Blocks),
            scale: by_head * by_layer,
            ..AttentionOptions::new(config.n_embd, heads, heads, head_dim).with_bias(true)
        };
        let activation = activation("activation_function", &config.activation_function)?;
        let mlp = MlpOptions {
            output_std,
            ..MlpOptions::plain(config.intermediate_size(), activation)
        };
        let norm = NormOptions::layer(config.layer_norm_epsilon);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}
