//! `albert`: groups of layers that are used again and again, and narrow embeddings.

use crate::declare::config;
use crate::{ConfigError, ModelConfig, Result, checks};

config! {
    /// The configuration of an albert model.
    AlbertConfig {
        vocab_size: usize = 30_000,
        embedding_size: usize = 128,
        hidden_size: usize = 4096,
        num_hidden_layers: usize = 12,
        /// The groups that share the layers among them, each as its own parameters.
        num_hidden_groups: usize = 1,
        num_attention_heads: usize = 64,
        intermediate_size: usize = 16_384,
        /// The layers within a group.
        inner_group_num: usize = 1,
        hidden_act: String = "gelu_new".into(),
        hidden_dropout_prob: f64 = 0.0,
        attention_probs_dropout_prob: f64 = 0.0,
        max_position_embeddings: usize = 512,
        type_vocab_size: usize = 2,
        initializer_range: f64 = 0.02,
        layer_norm_eps: f64 = 1e-12,
        /// Dropout before the classifier while training.
        classifier_dropout_prob: f64 = 0.1,
        tie_word_embeddings: bool = true,
    }
    tokens { pad: Some(0), bos: Some(2), eos: Some(3) }
}

impl ModelConfig for AlbertConfig {
    const MODEL_TYPE: &'static str = "albert";

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::layers(self.inner_group_num)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("embedding_size", self.embedding_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ])?;
        if !(1..=self.num_hidden_layers).contains(&self.num_hidden_groups) {
            return Err(ConfigError::invalid(
                "num_hidden_groups",
                format!(
                    "{} groups cannot share {} layers",
                    self.num_hidden_groups, self.num_hidden_layers
                ),
            ));
        }
        checks::self_attention(self.hidden_size, self.num_attention_heads)?;
        checks::not_negative("layer_norm_eps", self.layer_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)
    }
}
