//! `bert`: an encoder with learned positions.

use serde::{Deserialize, Serialize};

use crate::base::{token_id, token_ids};
use crate::{BaseConfig, ModelConfig, Result, TokenIds, checks};

/// The configuration of a bert model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BertConfig {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// The width of the residual stream.
    pub hidden_size: usize,
    /// The number of encoder layers.
    pub num_hidden_layers: usize,
    /// The number of heads.
    pub num_attention_heads: usize,
    /// The width inside of the MLP.
    pub intermediate_size: usize,
    /// The MLP's activation.
    pub hidden_act: String,
    /// Dropout on hidden states while training.
    pub hidden_dropout_prob: f64,
    /// Dropout on attention weights while training.
    pub attention_probs_dropout_prob: f64,
    /// Rows of the position embedding: the longest text in tokens.
    pub max_position_embeddings: usize,
    /// Rows of the segment embedding.
    pub type_vocab_size: usize,
    /// The standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Added to the variance in norms.
    pub layer_norm_eps: f64,
    /// The token that fills shorter sequences.
    #[serde(deserialize_with = "token_id")]
    pub pad_token_id: Option<u32>,
    /// Whether to keep keys and values while generating.
    pub use_cache: bool,
    /// Dropout before the classifier while training; `hidden_dropout_prob` if absent.
    pub classifier_dropout: Option<f64>,
    /// Whether positions attend only to earlier ones.
    pub is_decoder: bool,
    /// Whether there is attention to an encoder's output.
    pub add_cross_attention: bool,
    /// The token that begins a text.
    #[serde(deserialize_with = "token_id")]
    pub bos_token_id: Option<u32>,
    /// The tokens that end a text.
    #[serde(deserialize_with = "token_ids")]
    pub eos_token_id: Option<TokenIds>,
    /// Whether the output layer shares the embedding's weight.
    pub tie_word_embeddings: bool,
    /// What every configuration has.
    #[serde(flatten)]
    pub base: BaseConfig,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            pad_token_id: Some(0),
            use_cache: true,
            classifier_dropout: None,
            is_decoder: false,
            add_cross_attention: false,
            bos_token_id: None,
            eos_token_id: None,
            tie_word_embeddings: true,
            base: BaseConfig::default(),
        }
    }
}

impl BertConfig {
    /// The size of a head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size
            .checked_div(self.num_attention_heads)
            .unwrap_or(0)
    }
}

impl ModelConfig for BertConfig {
    const MODEL_TYPE: &'static str = "bert";

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
            None,
        )?;
        checks::not_negative("layer_norm_eps", self.layer_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)
    }
}
