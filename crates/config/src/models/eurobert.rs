//! `eurobert`: llama's layers, which see both ways.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::rope::{self, DEFAULT_THETA};
use crate::{ConfigError, LayerType, ModelConfig, Result, RopeParameters, checks};

config! {
    /// The configuration of a eurobert model.
    EuroBertConfig {
        vocab_size: usize = 128_256,
        hidden_size: usize = 768,
        intermediate_size: usize = 3072,
        num_hidden_layers: usize = 12,
        num_attention_heads: usize = 12,
        num_key_value_heads: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 8192,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-5,
        use_cache: bool = true,
        /// Kept for older readers.
        pretraining_tp: usize = 1,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        mlp_bias: bool = false,
        /// `hidden_size / num_attention_heads` if absent; see [`Self::head_dim`].
        head_dim: Option<usize> = None,
        /// The token that is to be guessed.
        mask_token_id: i64 = 128_002,
        /// What a classifier sees of a row: `bos`, `mean`, or with `late` the mean of all tokens' scores.
        classifier_pooling: String = "late".into(),
    }
    tokens { pad: Some(128_001), bos: Some(128_000), eos: Some(128_001) }
}

impl EuroBertConfig {
    /// The size of a head.
    pub fn head_dim(&self) -> usize {
        let divided = || self.hidden_size.checked_div(self.num_attention_heads);
        self.head_dim.or_else(divided).unwrap_or(0)
    }

    /// The number of key and value heads.
    pub fn num_key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Every layer attends to everything.
    pub fn layer_types(&self) -> Vec<LayerType> {
        vec![LayerType::FullAttention; self.num_hidden_layers]
    }
}

impl ModelConfig for EuroBertConfig {
    const MODEL_TYPE: &'static str = "eurobert";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        rope::standardize(raw, DEFAULT_THETA)
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        checks::attention(
            self.hidden_size,
            self.num_attention_heads,
            self.num_key_value_heads(),
            self.head_dim,
        )?;
        checks::heads_divide(self.hidden_size, self.num_attention_heads)?;
        checks::not_negative("rms_norm_eps", self.rms_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)?;
        if !["bos", "mean", "late"].contains(&self.classifier_pooling.as_str()) {
            return Err(ConfigError::invalid(
                "classifier_pooling",
                format!("`{}` is not bos, mean or late", self.classifier_pooling),
            ));
        }
        self.rope_parameters
            .validate(self.head_dim(), self.max_position_embeddings)
    }

    fn complete(&mut self) {
        self.num_key_value_heads = Some(self.num_key_value_heads());
        self.head_dim = Some(self.head_dim());
        self.rope_parameters.complete(self.max_position_embeddings);
    }
}
