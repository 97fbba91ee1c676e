//! `mistral`: llama with a sliding window on every layer, where one is set.

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};
use crate::{LayerType, RopeParameters};

config! {
    /// The configuration of a mistral model.
    MistralConfig {
        vocab_size: usize = 32_000,
        hidden_size: usize = 4096,
        intermediate_size: usize = 14_336,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 32,
        num_key_value_heads: usize = 8,
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 4096 * 32,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        sliding_window: Option<usize> = Some(4096),
        attention_dropout: f64 = 0.0,
    }
    tokens { pad: None, bos: Some(1), eos: Some(2) }
}

rotary_decoder! {
    MistralConfig: "mistral" {
        kv_heads: num_key_value_heads,
        head_dim: head_dim,
        every_layer: |config: &MistralConfig| match config.sliding_window {
            Some(_) => LayerType::SlidingAttention,
            None => LayerType::FullAttention,
        },
        sizes: [intermediate_size, sliding_window],
        eps: rms_norm_eps,
        standardize: |raw| rope::standardize(raw, DEFAULT_THETA),
    }
}
