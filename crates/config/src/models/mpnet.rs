//! `mpnet`: bert without segments, with a learned bias for every distance.

use crate::declare::config;
use crate::{ConfigError, ModelConfig, Result, checks};

config! {
    /// The configuration of an mpnet model.
    MPNetConfig {
        vocab_size: usize = 30_527,
        hidden_size: usize = 768,
        num_hidden_layers: usize = 12,
        num_attention_heads: usize = 12,
        intermediate_size: usize = 3072,
        hidden_act: String = "gelu".into(),
        hidden_dropout_prob: f64 = 0.1,
        attention_probs_dropout_prob: f64 = 0.1,
        /// Rows of the position embedding; the first two stand for no position.
        max_position_embeddings: usize = 512,
        initializer_range: f64 = 0.02,
        layer_norm_eps: f64 = 1e-12,
        /// Rows of the table of distances, of which the first 32 are used.
        relative_attention_num_buckets: usize = 32,
        tie_word_embeddings: bool = true,
    }
    tokens { pad: Some(1), bos: Some(0), eos: Some(2) }
}

impl MPNetConfig {
    /// How many groups of distances are told apart.
    pub const BUCKETS: usize = 32;
}

impl ModelConfig for MPNetConfig {
    const MODEL_TYPE: &'static str = "mpnet";

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            (
                "relative_attention_num_buckets",
                self.relative_attention_num_buckets,
            ),
        ])?;
        if self.relative_attention_num_buckets < Self::BUCKETS {
            return Err(ConfigError::invalid(
                "relative_attention_num_buckets",
                format!("distances fall into {} buckets", Self::BUCKETS),
            ));
        }
        checks::self_attention(self.hidden_size, self.num_attention_heads)?;
        checks::not_negative("layer_norm_eps", self.layer_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)
    }
}
