//! MPT (MosaicML 2023): linear biases in the place of positions, and no biases elsewhere.

use transformers_config::MptConfig;

use crate::nn::{
    Activation, Alibi, AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Hiding, Init,
    MlpOptions, NormOptions, PreNormBlock, QkvOrder,
};
use crate::{ModelError, Names};

/// The family.
#[derive(Debug)]
pub(crate) struct Mpt;

impl DecoderFamily for Mpt {
    type Config = MptConfig;
    type Layer = PreNormBlock;

    const NAMES: Names = &[
        ("model", "transformer"),
        ("embed_tokens", "wte"),
        ("layers", "blocks"),
        ("norm", "norm_f"),
        ("input_layernorm", "norm_1"),
        ("self_attn", "attn"),
        ("qkv_proj", "Wqkv"),
        ("o_proj", "out_proj"),
        ("post_attention_layernorm", "norm_2"),
        ("mlp", "ffn"),
    ];
    const TIED: &'static [(&'static str, &'static str)] =
        &[("lm_head.weight", "transformer.wte.weight")];
    const CLASSIFIES_TOKENS_AS_ENCODERS: bool = true;

    fn options(config: &MptConfig) -> DecoderOptions {
        DecoderOptions {
            norm: Some(NormOptions::layer_without_bias(config.layer_norm_epsilon)),
            alibi: Some(Alibi {
                by_columns: true,
                ..Alibi::new(config.n_heads)
            }),
            hiding: Hiding::Replaced,
            max_position_embeddings: Some(config.max_seq_len),
            tie_word_embeddings: config.tie_word_embeddings,
            initializer_range: config.initializer_range,
            ..DecoderOptions::new(config.vocab_size, config.d_model, config.layer_types())
        }
    }

    fn layer(config: &MptConfig, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let (hidden, heads) = (config.d_model, config.n_heads);
        let plain = AttentionOptions::new(hidden, heads, heads, hidden / heads);
        let attention = AttentionOptions {
            fused: Some(QkvOrder::Blocks),
            clip: config.attn_config.clip_qkv.filter(|limit| *limit != 0.0),
            scale: config.attn_config.softmax_scale.unwrap_or(plain.scale),
            ..plain
        };
        let mlp = MlpOptions {
            bias: false,
            ..MlpOptions::plain(4 * hidden, Activation::Gelu)
        };
        let norm = NormOptions::layer_without_bias(config.layer_norm_epsilon);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}
