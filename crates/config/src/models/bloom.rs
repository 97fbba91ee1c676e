//! `bloom`.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::{LayerType, ModelConfig, Result, checks, json};

config! {
    /// The configuration of a BLOOM model.
    BloomConfig {
        vocab_size: usize = 250_880,
        hidden_size: usize = 64,
        /// The number of layers.
        n_layer: usize = 2,
        /// The number of heads.
        n_head: usize = 8,
        /// Added to the variance in norms.
        layer_norm_epsilon: f64 = 1e-5,
        initializer_range: f64 = 0.02,
        use_cache: bool = true,
        /// Whether what attention and MLP give is added to their normed input.
        apply_residual_connection_post_layernorm: bool = false,
        /// Dropout on hidden states while training.
        hidden_dropout: f64 = 0.0,
        attention_dropout: f64 = 0.0,
        /// The parts that the model was split into for its training.
        pretraining_tp: usize = 1,
        /// Whether to add up these parts in the order of the training.
        slow_but_exact: bool = false,
        tie_word_embeddings: bool = true,
    }
    tokens { pad: None, bos: Some(1), eos: Some(2) }
}

impl BloomConfig {
    /// Every layer attends to all earlier positions.
    pub fn layer_types(&self) -> Vec<LayerType> {
        vec![LayerType::FullAttention; self.n_layer]
    }
}

impl ModelConfig for BloomConfig {
    const MODEL_TYPE: &'static str = "bloom";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        let names = [
            ("n_embed", "hidden_size"),
            ("num_hidden_layers", "n_layer"),
            ("num_attention_heads", "n_head"),
        ];
        json::rename(raw, &names);
        Ok(())
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.n_layer)?;
        checks::sizes(&[("vocab_size", self.vocab_size)])?;
        checks::attention(self.hidden_size, self.n_head, self.n_head, None)?;
        checks::not_negative("layer_norm_epsilon", self.layer_norm_epsilon)?;
        checks::not_negative("initializer_range", self.initializer_range)
    }
}
