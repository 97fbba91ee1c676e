//! GPT-NeoX (Black et al. 2022): parallel blocks with a layer norm for attention and one for the feed-forward layer, and
//! heads that rotate in part. Pythia's small models run one after the other.

use transformers_config::GptNeoXConfig;

use crate::nn::{
    AttentionOptions, Block, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions,
    NormOptions, ParallelBlock, ParallelNorms, PreNormBlock, QkvOrder, activation,
};
use crate::{ModelError, Names};

/// The family.
#[derive(Debug)]
pub(crate) struct GptNeoX;

impl DecoderFamily for GptNeoX {
    type Config = GptNeoXConfig;
    type Layer = Block;

    const NAMES: Names = &[
        ("model", "gpt_neox"),
        ("embed_tokens", "embed_in"),
        ("norm", "final_layer_norm"),
        ("ln_attn", "input_layernorm"),
        ("ln_mlp", "post_attention_layernorm"),
        ("self_attn", "attention"),
        ("qkv_proj", "query_key_value"),
        ("o_proj", "dense"),
        ("up_proj", "dense_h_to_4h"),
        ("down_proj", "dense_4h_to_h"),
    ];
    const TIED: &'static [(&'static str, &'static str)] =
        &[("lm_head.weight", "gpt_neox.embed_in.weight")];
    const CLASSIFIES_TOKENS_AS_ENCODERS: bool = true;

    fn options(config: &GptNeoXConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::layer(config.layer_norm_eps)),
            pad_token_id: None,
        })
    }

    fn layer(config: &GptNeoXConfig, _: usize, init: &Init) -> Result<Block, ModelError> {
        let attention = AttentionOptions {
            fused: Some(QkvOrder::Groups),
            ..attention_options!(config).with_bias(config.attention_bias)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions::plain(config.intermediate_size, activation);
        let norm = NormOptions::layer(config.layer_norm_eps);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(match config.use_parallel_residual {
            true => Block::Parallel(ParallelBlock::new(&block, ParallelNorms::Own, init)),
            false => Block::Sequential(PreNormBlock::new(&block, init)),
        })
    }
}
