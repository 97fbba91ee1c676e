//! Phi-3 (Abdin et al. 2024): Llama with one weight for queries, keys and values, and one for gate and up. Where a long
//! context has a rotation of its own, all keys are computed anew once a sequence reaches it.

use transformers_config::{LayerType, Phi3Config, RopeType};

use crate::ModelError;
use crate::nn::{
    AttentionOptions, BlockOptions, DecoderFamily, DecoderOptions, Init, MlpForm, MlpOptions,
    NormOptions, PreNormBlock, QkvOrder, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Phi3;

impl DecoderFamily for Phi3 {
    type Config = Phi3Config;
    type Layer = PreNormBlock;

    fn options(config: &Phi3Config) -> DecoderOptions {
        let rope = config.rope_parameters.for_layer(LayerType::FullAttention);
        let changes = rope.is_some_and(|rope| rope.rope_type == RopeType::Longrope);
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            sliding_window: config.sliding_window,
            rotation_changes_beyond: changes.then_some(config.original_max_position_embeddings),
        })
    }

    fn layer(config: &Phi3Config, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let attention = AttentionOptions {
            fused: Some(QkvOrder::Blocks),
            ..attention_options!(config)
        };
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions {
            form: MlpForm::FusedGated,
            ..MlpOptions::gated(config.intermediate_size, activation)
        };
        let norm = NormOptions::rms(config.rms_norm_eps);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}
