//! `distilbert`: half of bert, without segments.

use crate::declare::config;
use crate::{ModelConfig, Result, checks};

config! {
    /// The configuration of a distilbert model.
    DistilBertConfig {
        vocab_size: usize = 30_522,
        max_position_embeddings: usize = 512,
        /// Whether fresh position embeddings are sines.
        sinusoidal_pos_embds: bool = false,
        /// The number of layers.
        n_layers: usize = 6,
        /// The number of heads.
        n_heads: usize = 12,
        /// The width of the residual stream.
        dim: usize = 768,
        /// The width inside of the MLP.
        hidden_dim: usize = 3072,
        /// Dropout on hidden states while training.
        dropout: f64 = 0.1,
        attention_dropout: f64 = 0.1,
        /// The MLP's activation.
        activation: String = "gelu".into(),
        initializer_range: f64 = 0.02,
        /// Dropout before the head for question answering while training.
        qa_dropout: f64 = 0.1,
        /// Dropout before the classifier while training.
        seq_classif_dropout: f64 = 0.2,
        tie_word_embeddings: bool = true,
    }
    tokens { pad: Some(0), bos: None, eos: None }
}

impl ModelConfig for DistilBertConfig {
    const MODEL_TYPE: &'static str = "distilbert";

    /// Files may use the names of other families.
    fn standardize(raw: &mut serde_json::Map<String, serde_json::Value>) -> Result<()> {
        for (other, own) in [
            ("hidden_size", "dim"),
            ("num_attention_heads", "n_heads"),
            ("num_hidden_layers", "n_layers"),
        ] {
            if let Some(value) = raw.remove(other) {
                raw.entry(own).or_insert(value);
            }
        }
        Ok(())
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.n_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("hidden_dim", self.hidden_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        checks::self_attention(self.dim, self.n_heads)?;
        checks::not_negative("initializer_range", self.initializer_range)
    }
}
