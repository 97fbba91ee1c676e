//! `llama`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::{token_id, token_ids};
use crate::rope::{self, DEFAULT_THETA};
use crate::{BaseConfig, LayerType, ModelConfig, Result, RopeParameters, TokenIds, checks};

/// The configuration of a llama model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LlamaConfig {
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
    /// As many as query heads if absent; see [`Self::num_key_value_heads`].
    pub num_key_value_heads: Option<usize>,
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
    /// Kept for older readers.
    pub pretraining_tp: Option<usize>,
    /// Whether the output layer shares the embedding's weight.
    pub tie_word_embeddings: bool,
    /// The rotary embedding.
    pub rope_parameters: RopeParameters,
    /// Whether the attention's projections have biases.
    pub attention_bias: bool,
    /// Dropout on attention weights while training.
    pub attention_dropout: f64,
    /// Whether the MLP's projections have biases.
    pub mlp_bias: bool,
    /// `hidden_size / num_attention_heads` if absent; see [`Self::head_dim`].
    pub head_dim: Option<usize>,
    /// What every configuration has.
    #[serde(flatten)]
    pub base: BaseConfig,
}

impl Default for LlamaConfig {
    fn default() -> Self {
        Self {
            vocab_size: 32_000,
            hidden_size: 4096,
            intermediate_size: 11_008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            hidden_act: "silu".into(),
            max_position_embeddings: 2048,
            initializer_range: 0.02,
            rms_norm_eps: 1e-6,
            use_cache: true,
            pad_token_id: None,
            bos_token_id: Some(1),
            eos_token_id: Some(TokenIds::One(2)),
            pretraining_tp: Some(1),
            tie_word_embeddings: false,
            rope_parameters: RopeParameters::default(),
            attention_bias: false,
            attention_dropout: 0.0,
            mlp_bias: false,
            head_dim: None,
            base: BaseConfig::default(),
        }
    }
}

impl LlamaConfig {
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

    /// Every layer attends to all earlier positions.
    pub fn layer_types(&self) -> Vec<LayerType> {
        vec![LayerType::FullAttention; self.num_hidden_layers]
    }
}

impl ModelConfig for LlamaConfig {
    const MODEL_TYPE: &'static str = "llama";

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
        self.rope_parameters
            .validate(self.head_dim(), self.max_position_embeddings)
    }

    fn complete(&mut self) {
        self.num_key_value_heads = Some(self.num_key_value_heads());
        self.head_dim = Some(self.head_dim());
        self.rope_parameters.complete(self.max_position_embeddings);
    }
}
