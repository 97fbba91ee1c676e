//! `starcoder2`.

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};
use crate::{LayerType, RopeParameters};

config! {
    /// The configuration of a StarCoder2 model.
    Starcoder2Config {
        vocab_size: usize = 49_152,
        hidden_size: usize = 3072,
        intermediate_size: usize = 12_288,
        num_hidden_layers: usize = 30,
        num_attention_heads: usize = 24,
        num_key_value_heads: usize = 2,
        /// The size of a head, where it is stated.
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        hidden_act: String = "gelu_pytorch_tanh".into(),
        max_position_embeddings: usize = 4096,
        initializer_range: f64 = 0.018042,
        /// Added to the variance in norms.
        norm_epsilon: f64 = 1e-5,
        use_cache: bool = true,
        rope_parameters: RopeParameters = RopeParameters::default(),
        sliding_window: Option<usize> = None,
        attention_dropout: f64 = 0.0,
        /// Dropout on what is added to the residual stream while training.
        residual_dropout: f64 = 0.0,
        /// Dropout on the embeddings while training.
        embedding_dropout: f64 = 0.0,
        /// Whether projections have biases.
        use_bias: bool = true,
        tie_word_embeddings: bool = true,
    }
    tokens { pad: None, bos: Some(50_256), eos: Some(50_256) }
}

rotary_decoder! {
    Starcoder2Config: "starcoder2" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        every_layer: |config| match config.sliding_window {
            Some(_) => LayerType::SlidingAttention,
            None => LayerType::FullAttention,
        },
        sizes: [intermediate_size, sliding_window],
        eps: norm_epsilon,
        standardize: |raw| rope::standardize(raw, DEFAULT_THETA),
    }
}
