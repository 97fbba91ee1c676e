//! Mistral (Jiang et al. 2023): Llama with a sliding window on every layer, where the config sets one.

use transformers_config::MistralConfig;

use super::llama::{LlamaBlock, LlamaDecoderLayer};
use crate::ModelError;
use crate::nn::{AttentionOptions, DecoderFamily, DecoderOptions, Init, NormForm, RmsNorm};

/// The family.
#[derive(Debug)]
pub(crate) struct Mistral;

impl DecoderFamily for Mistral {
    type Config = MistralConfig;
    type Layer = LlamaDecoderLayer;

    fn options(config: &MistralConfig) -> DecoderOptions {
        decoder_options!(config {
            head_dim: config.head_dim(),
            sliding_window: config.sliding_window,
        })
    }

    fn layer(
        config: &MistralConfig,
        _index: usize,
        init: &Init,
    ) -> Result<LlamaDecoderLayer, ModelError> {
        let block = LlamaBlock {
            attention: AttentionOptions::new(
                config.hidden_size,
                config.num_attention_heads,
                config.num_key_value_heads,
                config.head_dim(),
            ),
            intermediate_size: config.intermediate_size,
            mlp_bias: false,
            hidden_act: &config.hidden_act,
            rms_norm_eps: config.rms_norm_eps,
        };
        LlamaDecoderLayer::new(&block, init)
    }

    fn norm(config: &MistralConfig, init: &Init) -> RmsNorm {
        RmsNorm::new(
            config.hidden_size,
            config.rms_norm_eps,
            NormForm::Plain,
            init,
        )
    }
}
