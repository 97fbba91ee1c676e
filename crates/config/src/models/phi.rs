//! `phi`.

use crate::RopeParameters;
use crate::declare::{config, rotary_decoder};
use crate::rope::{self, DEFAULT_THETA};

/// The part of a head that rotates, where nothing is stated.
const PARTIAL: f64 = 0.5;

config! {
    /// The configuration of a phi model.
    PhiConfig {
        vocab_size: usize = 51_200,
        hidden_size: usize = 2048,
        intermediate_size: usize = 8192,
        num_hidden_layers: usize = 24,
        num_attention_heads: usize = 32,
        num_key_value_heads: Option<usize> = None,
        /// The size of a head, where it is stated.
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        /// Dropout on what is added to the residual stream while training.
        resid_pdrop: f64 = 0.0,
        /// Dropout on the embeddings while training.
        embd_pdrop: f64 = 0.0,
        attention_dropout: Option<f64> = Some(0.0),
        hidden_act: String = "gelu_new".into(),
        max_position_embeddings: usize = 2048,
        initializer_range: f64 = 0.02,
        layer_norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::partial(DEFAULT_THETA, PARTIAL),
        /// Whether queries and keys are normed.
        qk_layernorm: bool = false,
    }
    tokens { pad: None, bos: Some(1), eos: Some(2) }
}

rotary_decoder! {
    PhiConfig: "phi" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        sizes: [intermediate_size],
        eps: layer_norm_eps,
        rope: validate_partial,
        standardize: |raw| rope::standardize_partial(raw, DEFAULT_THETA, PARTIAL),
    }
}
