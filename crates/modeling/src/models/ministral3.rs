//! Ministral 3 (Mistral AI 2025): Mistral with queries that grow with their position.

use serde_json::Value;
use transformers_config::{LayerType, Ministral3Config};

use crate::ModelError;
use crate::nn::{
    BlockOptions, DecoderFamily, DecoderOptions, Init, MlpOptions, NormOptions, PreNormBlock,
    QueryScale, activation,
};

/// The family.
#[derive(Debug)]
pub(crate) struct Ministral3;

impl DecoderFamily for Ministral3 {
    type Config = Ministral3Config;
    type Layer = PreNormBlock;

    fn options(config: &Ministral3Config) -> DecoderOptions {
        let rope = config.rope_parameters.for_layer(LayerType::FullAttention);
        let query_scale = || {
            let beta = rope?
                .extra
                .get("llama_4_scaling_beta")
                .and_then(Value::as_f64)?;
            let length = rope?.original_max_position_embeddings?;
            Some(QueryScale { beta, length })
        };
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            query_scale: query_scale(),
            sliding_window: config.sliding_window,
        })
    }

    fn layer(config: &Ministral3Config, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions::gated(config.intermediate_size, activation);
        let norm = NormOptions::rms(config.rms_norm_eps);
        let block = BlockOptions::new(attention_options!(config), mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}
