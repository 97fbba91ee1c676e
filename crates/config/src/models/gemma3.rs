//! `gemma3_text`: two rotary embeddings, for sliding and for full layers, which alternate 5 to 1.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::base::{token_id, token_ids};
use crate::rope::{self, RopeConfig};
use crate::{
    BaseConfig, ConfigError, LayerType, ModelConfig, Result, RopeParameters, TokenIds, checks,
    layer_types,
};

/// The base of the frequencies in full layers.
const GLOBAL_THETA: f64 = 1_000_000.0;
/// The base of the frequencies in sliding layers.
const LOCAL_THETA: f64 = 10_000.0;
/// Every so many layers, one is full.
const PATTERN: usize = 6;

/// The configuration of gemma3's text model, alone or within `gemma3`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gemma3TextConfig {
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
    /// The size of a head.
    pub head_dim: usize,
    /// The MLP's activation.
    pub hidden_activation: String,
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
    /// The tokens that end a text.
    #[serde(deserialize_with = "token_ids")]
    pub eos_token_id: Option<TokenIds>,
    /// The token that begins a text.
    #[serde(deserialize_with = "token_id")]
    pub bos_token_id: Option<u32>,
    /// Whether the output layer shares the embedding's weight.
    pub tie_word_embeddings: bool,
    /// The rotary embeddings by type of layer.
    pub rope_parameters: RopeParameters,
    /// Whether the attention's projections have biases.
    pub attention_bias: bool,
    /// Dropout on attention weights while training.
    pub attention_dropout: f64,
    /// Scores are divided by its square root.
    pub query_pre_attn_scalar: usize,
    /// The window as written; see [`Self::sliding_window`].
    pub sliding_window: Option<usize>,
    /// What each layer attends to; see [`Self::layer_types`].
    pub layer_types: Option<Vec<LayerType>>,
    /// Every so many layers one is full, in files without `layer_types`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sliding_window_pattern: Option<usize>,
    /// Bounds the logits by a hyperbolic tangent.
    pub final_logit_softcapping: Option<f64>,
    /// Bounds the attention scores by a hyperbolic tangent.
    pub attn_logit_softcapping: Option<f64>,
    /// Whether positions attend to later ones, too.
    pub use_bidirectional_attention: Option<bool>,
    /// What every configuration has.
    #[serde(flatten)]
    pub base: BaseConfig,
}

impl Default for Gemma3TextConfig {
    fn default() -> Self {
        let rope = [
            (LayerType::SlidingAttention, LOCAL_THETA),
            (LayerType::FullAttention, GLOBAL_THETA),
        ];
        let rope =
            rope.map(|(layer_type, theta)| (layer_type, Some(RopeConfig::with_theta(theta))));
        Self {
            vocab_size: 262_208,
            hidden_size: 2304,
            intermediate_size: 9216,
            num_hidden_layers: 26,
            num_attention_heads: 8,
            num_key_value_heads: 4,
            head_dim: 256,
            hidden_activation: "gelu_pytorch_tanh".into(),
            max_position_embeddings: 131_072,
            initializer_range: 0.02,
            rms_norm_eps: 1e-6,
            use_cache: true,
            pad_token_id: Some(0),
            eos_token_id: Some(TokenIds::One(1)),
            bos_token_id: Some(2),
            tie_word_embeddings: true,
            rope_parameters: RopeParameters::PerLayer(rope.into()),
            attention_bias: false,
            attention_dropout: 0.0,
            query_pre_attn_scalar: 256,
            sliding_window: Some(4096),
            layer_types: None,
            sliding_window_pattern: None,
            final_logit_softcapping: None,
            attn_logit_softcapping: None,
            use_bidirectional_attention: Some(false),
            base: BaseConfig::default(),
        }
    }
}

impl Gemma3TextConfig {
    /// The positions that a sliding layer attends to, the own one included. With attention in both directions the
    /// window is written for both sides together.
    pub fn sliding_window(&self) -> Option<usize> {
        match self.use_bidirectional_attention {
            Some(true) => self.sliding_window.map(|window| window / 2 + 1),
            _ => self.sliding_window,
        }
    }

    /// What each layer attends to.
    pub fn layer_types(&self) -> Vec<LayerType> {
        let pattern = self.sliding_window_pattern.unwrap_or(PATTERN);
        let by_default = || layer_types::every_nth_full(self.num_hidden_layers, pattern);
        self.layer_types.clone().unwrap_or_else(by_default)
    }
}

impl ModelConfig for Gemma3TextConfig {
    const MODEL_TYPE: &'static str = "gemma3_text";

    const WRAPPERS: &'static [&'static str] = &["gemma3"];

    /// `rope_scaling` and `rope_theta` are those of the full layers, `rope_local_base_freq` is the base of the others.
    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        let theta = rope::take(raw, "rope_theta").unwrap_or_else(|| json!(GLOBAL_THETA));
        let local_theta =
            rope::take(raw, "rope_local_base_freq").unwrap_or_else(|| json!(LOCAL_THETA));
        let scaling = rope::take_object(raw, "rope_scaling")?.unwrap_or_default();
        let mut parameters = rope::take_object(raw, "rope_parameters")?.unwrap_or_default();

        let mut full = rope::take_object(&mut parameters, LayerType::FullAttention.name())?
            .unwrap_or_default();
        full.extend(scaling);
        rope::set_defaults(&mut full, &theta, None);
        let mut sliding = rope::take_object(&mut parameters, LayerType::SlidingAttention.name())?
            .unwrap_or_default();
        rope::set_defaults(&mut sliding, &local_theta, None);

        let parameters = json!({
            LayerType::FullAttention.name(): full,
            LayerType::SlidingAttention.name(): sliding,
        });
        raw.insert("rope_parameters".into(), parameters);
        Ok(())
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("query_pre_attn_scalar", self.query_pre_attn_scalar),
            ("sliding_window", self.sliding_window.unwrap_or(1)),
            (
                "sliding_window_pattern",
                self.sliding_window_pattern.unwrap_or(1),
            ),
        ])?;
        checks::attention(
            self.hidden_size,
            self.num_attention_heads,
            self.num_key_value_heads,
            Some(self.head_dim),
        )?;
        checks::heads_divide(self.hidden_size, self.num_attention_heads)?;
        checks::not_negative("rms_norm_eps", self.rms_norm_eps)?;
        checks::not_negative("initializer_range", self.initializer_range)?;
        for (key, divisor) in [
            ("final_logit_softcapping", self.final_logit_softcapping),
            ("attn_logit_softcapping", self.attn_logit_softcapping),
        ] {
            if divisor.is_some_and(|divisor| !divisor.is_finite() || divisor <= 0.0) {
                return Err(ConfigError::invalid(
                    key,
                    "it is a divisor and must be a positive number",
                ));
            }
        }
        layer_types::validate(self.layer_types.as_deref(), self.num_hidden_layers)?;
        if self.sliding_window.is_none()
            && self.layer_types().contains(&LayerType::SlidingAttention)
        {
            return Err(ConfigError::invalid(
                "sliding_window",
                "it is null, but `layer_types` has sliding layers",
            ));
        }
        self.rope_parameters
            .validate(self.head_dim, self.max_position_embeddings)
    }

    fn complete(&mut self) {
        self.layer_types = Some(self.layer_types());
        self.rope_parameters.complete(self.max_position_embeddings);
    }
}
