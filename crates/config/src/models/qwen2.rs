//! `qwen2`: llama with biases on query, key and value, and sliding windows in the upper layers where they are switched
//! on.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::{token_id, token_ids};
use crate::rope::{self, DEFAULT_THETA};
use crate::{
    BaseConfig, LayerType, ModelConfig, Result, RopeParameters, TokenIds, checks, layer_types,
};

/// The configuration of a qwen2 model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Qwen2Config {
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
    /// As many as query heads if null; see [`Self::num_key_value_heads`].
    pub num_key_value_heads: Option<usize>,
    /// `hidden_size / num_attention_heads` if absent; see [`Self::head_dim`].
    #[serde(skip_serializing_if = "Option::is_none")]
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
    /// Whether the output layer shares the embedding's weight.
    pub tie_word_embeddings: bool,
    /// The rotary embedding.
    pub rope_parameters: RopeParameters,
    /// Whether any layer slides.
    pub use_sliding_window: bool,
    /// The positions that a sliding layer attends to; see [`Self::sliding_window`].
    pub sliding_window: Option<usize>,
    /// The first layer that slides.
    pub max_window_layers: usize,
    /// What each layer attends to; see [`Self::layer_types`].
    pub layer_types: Option<Vec<LayerType>>,
    /// Dropout on attention weights while training.
    pub attention_dropout: f64,
    /// The token that fills shorter sequences.
    #[serde(deserialize_with = "token_id")]
    pub pad_token_id: Option<u32>,
    /// The token that begins a text.
    #[serde(deserialize_with = "token_id")]
    pub bos_token_id: Option<u32>,
    /// The tokens that end a text.
    #[serde(deserialize_with = "token_ids")]
    pub eos_token_id: Option<TokenIds>,
    /// What every configuration has.
    #[serde(flatten)]
    pub base: BaseConfig,
}

impl Default for Qwen2Config {
    fn default() -> Self {
        Self {
            vocab_size: 151_936,
            hidden_size: 4096,
            intermediate_size: 22_016,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: Some(32),
            head_dim: None,
            hidden_act: "silu".into(),
            max_position_embeddings: 32_768,
            initializer_range: 0.02,
            rms_norm_eps: 1e-6,
            use_cache: true,
            tie_word_embeddings: false,
            rope_parameters: RopeParameters::default(),
            use_sliding_window: false,
            sliding_window: Some(4096),
            max_window_layers: 28,
            layer_types: None,
            attention_dropout: 0.0,
            pad_token_id: None,
            bos_token_id: None,
            eos_token_id: None,
            base: BaseConfig::default(),
        }
    }
}

impl Qwen2Config {
    /// The size of a head.
    pub fn head_dim(&self) -> usize {
        let divided = || {
            self.hidden_size
                .checked_div(self.num_attention_heads)
                .unwrap_or(0)
        };
        self.head_dim.unwrap_or_else(divided)
    }

    /// The number of key and value heads.
    pub fn num_key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// The positions that a sliding layer attends to, the own one included, if any layer slides.
    pub fn sliding_window(&self) -> Option<usize> {
        self.sliding_window.filter(|_| self.use_sliding_window)
    }

    /// What each layer attends to.
    pub fn layer_types(&self) -> Vec<LayerType> {
        let by_default = || {
            layer_types::sliding_from(
                self.num_hidden_layers,
                self.max_window_layers,
                self.sliding_window(),
            )
        };
        self.layer_types.clone().unwrap_or_else(by_default)
    }
}

impl ModelConfig for Qwen2Config {
    const MODEL_TYPE: &'static str = "qwen2";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        rope::standardize(raw, DEFAULT_THETA)
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("sliding_window", self.sliding_window().unwrap_or(1)),
        ])?;
        checks::attention(
            self.hidden_size,
            self.num_attention_heads,
            self.num_key_value_heads(),
            self.head_dim,
        )?;
        checks::not_negative("rms_norm_eps", self.rms_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)?;
        layer_types::validate(self.layer_types.as_deref(), self.num_hidden_layers)?;
        self.rope_parameters
            .validate(self.head_dim(), self.max_position_embeddings)
    }

    fn complete(&mut self) {
        self.num_key_value_heads = Some(self.num_key_value_heads());
        self.sliding_window = self.sliding_window();
        self.layer_types = Some(self.layer_types());
        self.rope_parameters.complete(self.max_position_embeddings);
    }
}
