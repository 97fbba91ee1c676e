//! `llama`.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::rope::{self, DEFAULT_THETA};
use crate::{LayerType, ModelConfig, Result, RopeParameters, checks};

config! {
    /// The configuration of a llama model.
    LlamaConfig {
        vocab_size: usize = 32_000,
        hidden_size: usize = 4096,
        intermediate_size: usize = 11_008,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 32,
        num_key_value_heads: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 2048,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        /// Kept for older readers.
        pretraining_tp: Option<usize> = Some(1),
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = RopeParameters::default(),
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        mlp_bias: bool = false,
        head_dim: Option<usize> = None,
    }
    tokens { pad: None, bos: Some(1), eos: Some(2) }
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
