//! `nomic_bert`: bert's order of norms, with rotary positions and a gated MLP.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::rope::{self, RopeConfig};
use crate::{ModelConfig, Result, RopeParameters, checks};

/// The base of the frequencies where nothing states one.
const THETA: f64 = 1000.0;

config! {
    /// The configuration of a nomic_bert model.
    NomicBertConfig {
        vocab_size: usize = 30_528,
        hidden_size: usize = 768,
        num_hidden_layers: usize = 12,
        num_attention_heads: usize = 12,
        intermediate_size: usize = 3072,
        hidden_act: String = "silu".into(),
        hidden_dropout_prob: f64 = 0.0,
        attention_probs_dropout_prob: f64 = 0.0,
        max_position_embeddings: usize = 2048,
        type_vocab_size: usize = 2,
        initializer_range: f64 = 0.02,
        layer_norm_eps: f64 = 1e-12,
        classifier_dropout: Option<f64> = None,
        rope_parameters: RopeParameters = RopeParameters::Flat(RopeConfig::with_theta(THETA)),
        /// `hidden_size / num_attention_heads` if absent; see [`Self::head_dim`].
        head_dim: Option<usize> = None,
        /// Whether the output layer shares the embedding's weight: unless it says false.
        #[serde(skip_serializing_if = "Option::is_none")]
        tie_word_embeddings: Option<bool> = None,
    }
    tokens { pad: Some(0), bos: None, eos: None }
}

impl NomicBertConfig {
    /// The size of a head.
    pub fn head_dim(&self) -> usize {
        let divided = || self.hidden_size.checked_div(self.num_attention_heads);
        self.head_dim.or_else(divided).unwrap_or(0)
    }
}

impl ModelConfig for NomicBertConfig {
    const MODEL_TYPE: &'static str = "nomic_bert";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        rope::standardize(raw, THETA)
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ])?;
        checks::attention(
            self.hidden_size,
            self.num_attention_heads,
            self.num_attention_heads,
            self.head_dim,
        )?;
        checks::not_negative("layer_norm_eps", self.layer_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)?;
        self.rope_parameters
            .validate(self.head_dim(), self.max_position_embeddings)
    }

    fn complete(&mut self) {
        self.head_dim = Some(self.head_dim());
        self.rope_parameters.complete(self.max_position_embeddings);
    }
}
