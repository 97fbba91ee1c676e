//! `gptj`.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::{LayerType, ModelConfig, Result, checks, json};

config! {
    /// The configuration of a GPT-J model.
    GptJConfig {
        vocab_size: usize = 50_400,
        /// The longest text in tokens.
        n_positions: usize = 2048,
        /// The width of the residual stream.
        n_embd: usize = 4096,
        /// The number of layers.
        n_layer: usize = 28,
        /// The number of heads.
        n_head: usize = 16,
        /// How many of a head's values rotate.
        rotary_dim: usize = 64,
        /// The width inside of the MLP; four times that of the residual stream if null.
        n_inner: Option<usize> = None,
        /// The MLP's activation.
        activation_function: String = "gelu_new".into(),
        /// Dropout on what is added to the residual stream while training.
        resid_pdrop: f64 = 0.0,
        /// Dropout on the embeddings while training.
        embd_pdrop: f64 = 0.0,
        /// Dropout on attention weights while training.
        attn_pdrop: f64 = 0.0,
        /// Added to the variance in norms.
        layer_norm_epsilon: f64 = 1e-5,
        initializer_range: f64 = 0.02,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
    }
    tokens { pad: None, bos: Some(50_256), eos: Some(50_256) }
}

impl GptJConfig {
    /// The width inside of the MLP.
    pub fn intermediate_size(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    /// Every layer attends to all earlier positions.
    pub fn layer_types(&self) -> Vec<LayerType> {
        vec![LayerType::FullAttention; self.n_layer]
    }
}

impl ModelConfig for GptJConfig {
    const MODEL_TYPE: &'static str = "gptj";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        json::rename(raw, &super::gpt2::ALIASES);
        Ok(())
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.n_layer)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("n_positions", self.n_positions),
            ("n_embd", self.n_embd),
            ("n_inner", self.n_inner.unwrap_or(1)),
        ])?;
        checks::attention(self.n_embd, self.n_head, self.n_head, None)?;
        checks::heads_divide(self.n_embd, self.n_head)?;
        checks::rotating("rotary_dim", self.rotary_dim, self.n_embd / self.n_head)?;
        checks::not_negative("layer_norm_epsilon", self.layer_norm_epsilon)?;
        checks::not_negative("initializer_range", self.initializer_range)
    }
}
