//! `gte`: nomic_bert with biases.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::rope::{self, RopeConfig};
use crate::{ModelConfig, Result, RopeParameters, checks};

/// The base of the frequencies where nothing states one.
const THETA: f64 = 160_000.0;

config! {
    /// The configuration of a gte model.
    GteConfig {
        vocab_size: usize = 250_048,
        hidden_size: usize = 768,
        num_hidden_layers: usize = 12,
        num_attention_heads: usize = 12,
        intermediate_size: usize = 3072,
        hidden_act: String = "gelu".into(),
        hidden_dropout_prob: f64 = 0.1,
        attention_probs_dropout_prob: f64 = 0.0,
        max_position_embeddings: usize = 8192,
        /// Rows of the segment embedding; 0 if there is none.
        type_vocab_size: usize = 1,
        initializer_range: f64 = 0.02,
        layer_norm_eps: f64 = 1e-12,
        classifier_dropout: Option<f64> = None,
        rope_parameters: RopeParameters = RopeParameters::Flat(RopeConfig::with_theta(THETA)),
        tie_word_embeddings: bool = true,
    }
    tokens { pad: Some(1), bos: None, eos: None }
}

impl GteConfig {
    /// The size of a head.
    pub fn head_dim(&self) -> usize {
        let divided = self.hidden_size.checked_div(self.num_attention_heads);
        divided.unwrap_or(0)
    }
}

impl ModelConfig for GteConfig {
    const MODEL_TYPE: &'static str = "gte";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        rope::standardize(raw, THETA)
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size.max(1)),
        ])?;
        checks::self_attention(self.hidden_size, self.num_attention_heads)?;
        checks::not_negative("layer_norm_eps", self.layer_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)?;
        self.rope_parameters
            .validate(self.head_dim(), self.max_position_embeddings)
    }

    fn complete(&mut self) {
        self.rope_parameters.complete(self.max_position_embeddings);
    }
}
