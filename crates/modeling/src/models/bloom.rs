//! BLOOM (Scao et al. 2022): GPT-2 with linear biases in the place of positions, and a norm of the embeddings.

use transformers_config::BloomConfig;

use crate::nn::{
    Activation, Alibi, AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init,
    MlpOptions, NormOptions, PreNormBlock, QkvOrder,
};
use crate::{ModelError, Names};

/// The family.
#[derive(Debug)]
pub(crate) struct Bloom;

impl DecoderFamily for Bloom {
    type Config = BloomConfig;
    type Layer = PreNormBlock;

    const NAMES: Names = &[
        ("model", "transformer"),
        ("embed_tokens", "word_embeddings"),
        ("embed_norm", "word_embeddings_layernorm"),
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

    fn options(config: &BloomConfig) -> DecoderOptions {
        let norm = NormOptions::layer(config.layer_norm_epsilon);
        DecoderOptions {
            embedding_norm: Some(norm),
            norm: Some(norm),
            alibi: Some(Alibi::new(config.n_head)),
            tie_word_embeddings: config.tie_word_embeddings,
            initializer_range: config.initializer_range,
            ..DecoderOptions::new(config.vocab_size, config.hidden_size, config.layer_types())
        }
    }

    fn layer(config: &BloomConfig, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let (hidden, heads) = (config.hidden_size, config.n_head);
        let attention = AttentionOptions {
            fused: Some(QkvOrder::Groups),
            ..AttentionOptions::new(hidden, heads, heads, hidden / heads).with_bias(true)
        };
        let mlp = MlpOptions::plain(4 * hidden, Activation::GeluTanh);
        let norm = NormOptions::layer(config.layer_norm_epsilon);
        let block = BlockOptions {
            residual_after_norm: config.apply_residual_connection_post_layernorm,
            ..BlockOptions::new(attention, mlp, norm)
        };
        Ok(PreNormBlock::new(&block, init))
    }
}
