//! OPT (Zhang et al. 2022): learned positions and ReLU. The 350M model has its norms after the residual, as the first
//! Transformer, and an embedding narrower than its layers.

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_config::OptConfig;

use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderLayer, DecoderOptions, Init,
    LayerContext, MlpOptions, NormOptions, OriginalBlock, PreNormBlock, activation,
};
use crate::{ModelError, Names};

/// Norms before or after.
#[derive(Module, Debug)]
pub enum OptDecoderLayer {
    /// Before attention and feed-forward layer.
    Before(PreNormBlock),
    /// After the sum.
    After(OriginalBlock),
}

impl DecoderLayer for OptDecoderLayer {
    fn forward(&self, hidden: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        match self {
            Self::Before(block) => block.forward(hidden, context),
            Self::After(block) => block.forward(hidden, context),
        }
    }
}

/// The family.
#[derive(Debug)]
pub(crate) struct Opt;

impl Opt {
    fn norm(config: &OptConfig) -> NormOptions {
        match config.layer_norm_elementwise_affine {
            true => NormOptions::layer(1e-5),
            false => NormOptions::Plain { eps: 1e-5 },
        }
    }
}

impl DecoderFamily for Opt {
    type Config = OptConfig;
    type Layer = OptDecoderLayer;

    const NAMES: Names = &[
        ("embed_tokens", "decoder.embed_tokens"),
        ("embed_positions", "decoder.embed_positions"),
        ("project_in", "decoder.project_in"),
        ("layers", "decoder.layers"),
        ("norm", "decoder.final_layer_norm"),
        ("project_out", "decoder.project_out"),
        ("input_layernorm", "self_attn_layer_norm"),
        ("o_proj", "out_proj"),
        ("post_attention_layernorm", "final_layer_norm"),
        ("mlp", ""),
        ("up_proj", "fc1"),
        ("down_proj", "fc2"),
    ];
    const TIED: &'static [(&'static str, &'static str)] =
        &[("lm_head.weight", "model.decoder.embed_tokens.weight")];

    fn options(config: &OptConfig) -> DecoderOptions {
        let last = config.do_layer_norm_before && !config.remove_final_layer_norm;
        DecoderOptions {
            norm: last.then(|| Self::norm(config)),
            max_position_embeddings: Some(config.max_position_embeddings),
            pad_token_id: config.pad_token_id,
            position_offset: Some(2),
            embedding_size: Some(config.embedding_size()),
            tie_word_embeddings: config.tie_word_embeddings,
            initializer_range: config.init_std,
            ..DecoderOptions::new(config.vocab_size, config.hidden_size, config.layer_types())
        }
    }

    fn layer(config: &OptConfig, _: usize, init: &Init) -> Result<OptDecoderLayer, ModelError> {
        let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
        let attention = AttentionOptions::new(hidden, heads, heads, hidden / heads);
        let activation = activation("activation_function", &config.activation_function)?;
        let mlp = MlpOptions {
            bias: config.enable_bias,
            ..MlpOptions::plain(config.ffn_dim, activation)
        };
        let attention = attention.with_bias(config.enable_bias);
        let block = BlockOptions::new(attention, mlp, Self::norm(config));
        Ok(match config.do_layer_norm_before {
            true => OptDecoderLayer::Before(PreNormBlock::new(&block, init)),
            false => OptDecoderLayer::After(OriginalBlock::new(&block, init)),
        })
    }
}
