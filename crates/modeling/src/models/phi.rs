//! Phi (Li et al. 2023): parallel blocks on one layer norm, heads that rotate in part, and biases everywhere.

use transformers_config::PhiConfig;

use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions,
    ParallelBlock, ParallelNorms, QkNorm, activation,
};
use crate::{ModelError, Names};

/// The family.
#[derive(Debug)]
pub(crate) struct Phi;

impl DecoderFamily for Phi {
    type Config = PhiConfig;
    type Layer = ParallelBlock;

    const NAMES: Names = &[
        ("norm", "final_layernorm"),
        ("q_norm", "q_layernorm"),
        ("k_norm", "k_layernorm"),
        ("o_proj", "dense"),
        ("up_proj", "fc1"),
        ("down_proj", "fc2"),
    ];

    fn options(config: &PhiConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::layer(config.layer_norm_eps)),
            head_bias: true,
        })
    }

    fn layer(config: &PhiConfig, _: usize, init: &Init) -> Result<ParallelBlock, ModelError> {
        let norm = NormOptions::layer(config.layer_norm_eps);
        let attention = AttentionOptions {
            qk_norm: config.qk_layernorm.then_some(QkNorm::PerHead(norm)),
            ..attention_options!(config).with_bias(true)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions::plain(config.intermediate_size, activation);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(ParallelBlock::new(&block, ParallelNorms::Shared, init))
    }
}
