//! `electra`: bert with embeddings of their own width, trained to tell replaced tokens.

use crate::declare::config;
use crate::{ModelConfig, Result, checks};

config! {
    /// The configuration of an electra model.
    ElectraConfig {
        vocab_size: usize = 30_522,
        embedding_size: usize = 128,
        hidden_size: usize = 256,
        num_hidden_layers: usize = 12,
        num_attention_heads: usize = 4,
        intermediate_size: usize = 1024,
        hidden_act: String = "gelu".into(),
        hidden_dropout_prob: f64 = 0.1,
        attention_probs_dropout_prob: f64 = 0.1,
        max_position_embeddings: usize = 512,
        type_vocab_size: usize = 2,
        initializer_range: f64 = 0.02,
        layer_norm_eps: f64 = 1e-12,
        /// Which state stands for a choice: `first`, `last`, `cls_index` (the last) or `mean`.
        summary_type: String = "first".into(),
        /// Whether that state goes through a layer.
        summary_use_proj: bool = true,
        /// The activation after it.
        summary_activation: Option<String> = Some("gelu".into()),
        /// Dropout after that while training.
        summary_last_dropout: f64 = 0.1,
        use_cache: bool = true,
        classifier_dropout: Option<f64> = None,
        is_decoder: bool = false,
        add_cross_attention: bool = false,
        tie_word_embeddings: bool = true,
    }
    tokens { pad: Some(0), bos: None, eos: None }
}

impl ModelConfig for ElectraConfig {
    const MODEL_TYPE: &'static str = "electra";

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("embedding_size", self.embedding_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ])?;
        checks::self_attention(self.hidden_size, self.num_attention_heads)?;
        checks::not_negative("layer_norm_eps", self.layer_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)
    }
}
