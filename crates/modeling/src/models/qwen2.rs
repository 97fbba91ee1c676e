//! Qwen2: Llama with biases on the query, key and value projections, and a sliding window on some layers.

use transformers_config::Qwen2Config;

use super::llama::{LlamaBlock, LlamaDecoderLayer};
use crate::ModelError;
use crate::nn::{AttentionOptions, DecoderFamily, DecoderOptions, Init, NormForm, RmsNorm};

/// The family.
#[derive(Debug)]
pub(crate) struct Qwen2;

impl DecoderFamily for Qwen2 {
    type Config = Qwen2Config;
    type Layer = LlamaDecoderLayer;

    const QUESTION_ANSWERING_PREFIX: &'static str = "transformer";

    fn options(config: &Qwen2Config) -> DecoderOptions {
        decoder_options!(config {
            head_dim: config.head_dim(),
            sliding_window: config.sliding_window(),
        })
    }

    fn layer(
        config: &Qwen2Config,
        _index: usize,
        init: &Init,
    ) -> Result<LlamaDecoderLayer, ModelError> {
        let block = LlamaBlock {
            attention: AttentionOptions {
                qkv_bias: true,
                ..AttentionOptions::new(
                    config.hidden_size,
                    config.num_attention_heads,
                    config.num_key_value_heads(),
                    config.head_dim(),
                )
            },
            intermediate_size: config.intermediate_size,
            mlp_bias: false,
            hidden_act: &config.hidden_act,
            rms_norm_eps: config.rms_norm_eps,
        };
        LlamaDecoderLayer::new(&block, init)
    }

    fn norm(config: &Qwen2Config, init: &Init) -> RmsNorm {
        RmsNorm::new(
            config.hidden_size,
            config.rms_norm_eps,
            NormForm::Plain,
            init,
        )
    }
}
