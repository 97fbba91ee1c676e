//! `mistral`: llama with a sliding window on every layer, where one is set.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::{token_id, token_ids};
use crate::rope::{self, DEFAULT_THETA};
use crate::{BaseConfig, LayerType, ModelConfig, Result, RopeParameters, TokenIds, checks};

/// The configuration of a mistral model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MistralConfig {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// The width of the residual stream.
    pub hidden_size: usize,
    /// The width inside of the MLP.
    pub intermediate_size: usize,
    /// The number of decoder layers.
    pub num_hidden_layers: usize,
    /// The number of query heads.
    pub num_attention_heads: usize,
    /// The number of key and value heads.
    pub num_key_value_heads: usize,
    /// `hidden_size / num_attention_heads` if absent; see [`Self::head_dim`].
    pub head_dim: Option<usize>,
    /// The MLP's activation.
    pub hidden_act: String,
    /// The longest text in tokens.
    pub max_position_embeddings: usize,
    /// The standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Added to the mean square in norms.
    pub rms_norm_eps: f64,
    /// Whether to keep keys and values while generating.
    pub use_cache: bool,
    /// The token that fills shorter sequences.
    #[serde(deserialize_with = "token_id")]
    pub pad_token_id: Option<u32>,
    /// The token that begins a text.
    #[serde(deserialize_with = "token_id")]
    pub bos_token_id: Option<u32>,
    /// The tokens that end a text.
    #[serde(deserialize_with = "token_ids")]
    pub eos_token_id: Option<TokenIds>,
    /// Whether the output layer shares the embedding's weight.
    pub tie_word_embeddings: bool,
    /// The rotary embedding.
    pub rope_parameters: RopeParameters,
    /// The positions that a layer attends to, the own one included; all if null.
    pub sliding_window: Option<usize>,
    /// Dropout on attention weights while training.
    pub attention_dropout: f64,
    /// What every configuration has.
    #[serde(flatten)]
    pub base: BaseConfig,
}

impl Default for MistralConfig {
    fn default() -> Self {
        Self {
            vocab_size: 32_000,
            hidden_size: 4096,
            intermediate_size: 14_336,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 8,
            head_dim: None,
            hidden_act: "silu".into(),
            max_position_embeddings: 4096 * 32,
            initializer_range: 0.02,
            rms_norm_eps: 1e-6,
            use_cache: true,
            pad_token_id: None,
            bos_token_id: Some(1),
            eos_token_id: Some(TokenIds::One(2)),
            tie_word_embeddings: false,
            rope_parameters: RopeParameters::default(),
            sliding_window: Some(4096),
            attention_dropout: 0.0,
            base: BaseConfig::default(),
        }
    }
}

impl MistralConfig {
    /// The size of a head.
    pub fn head_dim(&self) -> usize {
        let divided = || {
            self.hidden_size
                .checked_div(self.num_attention_heads)
                .unwrap_or(0)
        };
        self.head_dim.unwrap_or_else(divided)
    }

    /// Every layer slides if there is a window.
    pub fn layer_types(&self) -> Vec<LayerType> {
        let layer_type = match self.sliding_window {
            Some(_) => LayerType::SlidingAttention,
            None => LayerType::FullAttention,
        };
        vec![layer_type; self.num_hidden_layers]
    }
}

impl ModelConfig for MistralConfig {
    const MODEL_TYPE: &'static str = "mistral";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        rope::standardize(raw, DEFAULT_THETA)
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("sliding_window", self.sliding_window.unwrap_or(1)),
        ])?;
        checks::attention(
            self.hidden_size,
            self.num_attention_heads,
            self.num_key_value_heads,
            self.head_dim,
        )?;
        checks::not_negative("rms_norm_eps", self.rms_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)?;
        self.rope_parameters
            .validate(self.head_dim(), self.max_position_embeddings)
    }

    fn complete(&mut self) {
        self.head_dim = Some(self.head_dim());
        self.rope_parameters.complete(self.max_position_embeddings);
    }
}
