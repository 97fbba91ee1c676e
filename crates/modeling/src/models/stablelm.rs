//! StableLM (Bellagente et al. 2024): Llama with layer norms and heads that rotate in part; some models run attention and
//! feed-forward layer side by side, and norm every head with a weight of its own.

use transformers_config::StableLmConfig;

use crate::nn::{
    AttentionOptions, Block, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions,
    NormOptions, ParallelBlock, ParallelNorms, PreNormBlock, QkNorm, activation,
};
use crate::{ModelError, Names};

/// The family.
#[derive(Debug)]
pub(crate) struct StableLm;

impl DecoderFamily for StableLm {
    type Config = StableLmConfig;
    type Layer = Block;

    const NAMES: Names = &[("q_norm", "q_layernorm"), ("k_norm", "k_layernorm")];

    fn options(config: &StableLmConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::layer(config.layer_norm_eps)),
        })
    }

    fn layer(config: &StableLmConfig, _: usize, init: &Init) -> Result<Block, ModelError> {
        let eps = config.layer_norm_eps;
        let heads_normed = config.qk_layernorm;
        let attention = AttentionOptions {
            qkv_bias: config.use_qkv_bias,
            qk_norm: heads_normed.then_some(QkNorm::LayersPerHead { eps }),
            ..attention_options!(config)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions::gated(config.intermediate_size, activation);
        let block = BlockOptions::new(attention, mlp, NormOptions::layer(eps));
        Ok(match config.use_parallel_residual {
            true => Block::Parallel(ParallelBlock::new(&block, ParallelNorms::Shared, init)),
            false => Block::Sequential(PreNormBlock::new(&block, init)),
        })
    }
}
