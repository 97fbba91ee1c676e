//! `qwen2`: llama with biases on query, key and value, and sliding windows in the upper layers where they are switched
//! on.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::rope::{self, DEFAULT_THETA};
use crate::{LayerType, ModelConfig, Result, RopeParameters, checks, layer_types};

config! {
    /// The configuration of a qwen2 model.
    Qwen2Config {
        vocab_size: usize = 151_936,
        hidden_size: usize = 4096,
        intermediate_size: usize = 22_016,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 32,
        num_key_value_heads: Option<usize> = Some(32),
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 32_768,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        /// Whether any layer slides.
        use_sliding_window: bool = false,
        sliding_window: Option<usize> = Some(4096),
        /// The first layer that slides.
        max_window_layers: usize = 28,
        layer_types: Option<Vec<LayerType>> = None,
        attention_dropout: f64 = 0.0,
    }
    tokens { pad: None, bos: None, eos: None }
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
