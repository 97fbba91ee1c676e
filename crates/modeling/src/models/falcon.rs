//! Falcon (Almazrouei et al. 2023): parallel blocks in which query heads share keys and values, all of them (7B) or in
//! groups (40B), with rotary positions; and an older form with linear biases (RW).

use transformers_config::FalconConfig;

use crate::nn::{
    Alibi, AttentionOptions, Block, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions,
    NormOptions, ParallelBlock, ParallelNorms, PreNormBlock, QkvOrder, activation,
};
use crate::{ModelError, Names};

/// The family.
#[derive(Debug)]
pub(crate) struct Falcon;

impl DecoderFamily for Falcon {
    type Config = FalconConfig;
    type Layer = Block;

    const NAMES: Names = &[
        ("model", "transformer"),
        ("embed_tokens", "word_embeddings"),
        ("layers", "h"),
        ("norm", "ln_f"),
        ("self_attn", "self_attention"),
        ("qkv_proj", "query_key_value"),
        ("o_proj", "dense"),
        ("up_proj", "dense_h_to_4h"),
        ("down_proj", "dense_4h_to_h"),
    ];
    const TIED: &'static [(&'static str, &'static str)] =
        &[("lm_head.weight", "transformer.word_embeddings.weight")];
    const CLASSIFIES_TOKENS_AS_ENCODERS: bool = true;

    fn options(config: &FalconConfig) -> DecoderOptions {
        let rotary = decoder_options!(config {
            norm: Some(NormOptions::layer(config.layer_norm_epsilon)),
            pad_token_id: None,
        });
        match config.alibi {
            true => DecoderOptions {
                rope_parameters: None,
                alibi: Some(Alibi {
                    // The reference's eager attention adds the scaled biases twice: in the mask, and to the scores.
                    scale: 2.0 * (config.head_dim() as f32).powf(-0.5),
                    in_bf16: true,
                    ..Alibi::new(config.num_attention_heads)
                }),
                ..rotary
            },
            false => rotary,
        }
    }

    fn layer(config: &FalconConfig, _: usize, init: &Init) -> Result<Block, ModelError> {
        let attention = AttentionOptions {
            num_kv_heads: config.key_heads(),
            fused: Some(QkvOrder::Groups),
            ..attention_options!(config).with_bias(config.bias)
        };
        let activation = activation("activation", &config.activation)?;
        let mlp = MlpOptions {
            bias: config.bias,
            ..MlpOptions::plain(config.intermediate_size(), activation)
        };
        let norm = NormOptions::layer(config.layer_norm_epsilon);
        let block = BlockOptions::new(attention, mlp, norm);
        let norms = match config.two_norms() {
            true => ParallelNorms::Own,
            false => ParallelNorms::Shared,
        };
        Ok(match config.parallel_attn {
            true => Block::Parallel(ParallelBlock::new(&block, norms, init)),
            false => Block::Sequential(PreNormBlock::new(&block, init)),
        })
    }
}
