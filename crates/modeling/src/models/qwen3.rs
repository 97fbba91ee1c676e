//! Qwen3: Llama with a norm of every query and key head before the rotation, and a sliding window on some layers.

use transformers_config::Qwen3Config;

use super::llama::{LlamaBlock, LlamaDecoderLayer};
use crate::ModelError;
use crate::nn::{AttentionOptions, DecoderFamily, DecoderOptions, Init, NormForm, RmsNorm};

/// The family.
#[derive(Debug)]
pub(crate) struct Qwen3;

impl DecoderFamily for Qwen3 {
    type Config = Qwen3Config;
    type Layer = LlamaDecoderLayer;

    const QUESTION_ANSWERING_PREFIX: &'static str = "transformer";

    fn options(config: &Qwen3Config) -> DecoderOptions {
        decoder_options!(config {
            head_dim: config.head_dim,
            sliding_window: config.sliding_window(),
        })
    }

    fn layer(
        config: &Qwen3Config,
        _index: usize,
        init: &Init,
    ) -> Result<LlamaDecoderLayer, ModelError> {
        let block = LlamaBlock {
            attention: AttentionOptions {
                qkv_bias: config.attention_bias,
                output_bias: config.attention_bias,
                qk_norm: Some((config.rms_norm_eps, NormForm::Plain)),
                ..AttentionOptions::new(
                    config.hidden_size,
                    config.num_attention_heads,
                    config.num_key_value_heads(),
                    config.head_dim,
                )
            },
            intermediate_size: config.intermediate_size,
            mlp_bias: false,
            hidden_act: &config.hidden_act,
            rms_norm_eps: config.rms_norm_eps,
        };
        LlamaDecoderLayer::new(&block, init)
    }

    fn norm(config: &Qwen3Config, init: &Init) -> RmsNorm {
        RmsNorm::new(
            config.hidden_size,
            config.rms_norm_eps,
            NormForm::Plain,
            init,
        )
    }
}
