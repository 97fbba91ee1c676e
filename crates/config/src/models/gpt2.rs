//! `gpt2`.

use serde_json::{Map, Value};

use crate::declare::config;
use crate::{LayerType, ModelConfig, Result, checks, json};

config! {
    /// The configuration of a GPT-2 model.
    Gpt2Config {
        vocab_size: usize = 50_257,
        /// The longest text in tokens.
        n_positions: usize = 1024,
        /// The width of the residual stream.
        n_embd: usize = 768,
        /// The number of layers.
        n_layer: usize = 12,
        /// The number of heads.
        n_head: usize = 12,
        /// The width inside of the MLP; four times that of the residual stream if null.
        n_inner: Option<usize> = None,
        /// The MLP's activation.
        activation_function: String = "gelu_new".into(),
        /// Dropout on what is added to the residual stream while training.
        resid_pdrop: f64 = 0.1,
        /// Dropout on the embeddings while training.
        embd_pdrop: f64 = 0.1,
        /// Dropout on attention weights while training.
        attn_pdrop: f64 = 0.1,
        /// Added to the variance in norms.
        layer_norm_epsilon: f64 = 1e-5,
        initializer_range: f64 = 0.02,
        /// Where the summary of the double-headed model comes from.
        summary_type: String = "cls_index".into(),
        /// Whether it is projected.
        summary_use_proj: bool = true,
        /// Its activation.
        summary_activation: Option<String> = None,
        /// Whether it is projected to the labels.
        summary_proj_to_labels: bool = true,
        /// Dropout before it while training.
        summary_first_dropout: f64 = 0.1,
        /// Whether scores are divided by the square root of the size of a head.
        scale_attn_weights: bool = true,
        use_cache: bool = true,
        /// Whether scores are also divided by the number of the layer.
        scale_attn_by_inverse_layer_idx: bool = false,
        /// Whether scores are computed in f32, which they are in any case.
        reorder_and_upcast_attn: bool = false,
        add_cross_attention: bool = false,
        tie_word_embeddings: bool = true,
    }
    tokens { pad: None, bos: Some(50_256), eos: Some(50_256) }
}

impl Gpt2Config {
    /// The width inside of the MLP.
    pub fn intermediate_size(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    /// Every layer attends to all earlier positions.
    pub fn layer_types(&self) -> Vec<LayerType> {
        vec![LayerType::FullAttention; self.n_layer]
    }
}

/// Names that these fields have in other families, and in some files of this one.
pub(super) const ALIASES: [(&str, &str); 4] = [
    ("hidden_size", "n_embd"),
    ("max_position_embeddings", "n_positions"),
    ("num_attention_heads", "n_head"),
    ("num_hidden_layers", "n_layer"),
];

impl ModelConfig for Gpt2Config {
    const MODEL_TYPE: &'static str = "gpt2";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        json::rename(raw, &ALIASES);
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
        checks::not_negative("layer_norm_epsilon", self.layer_norm_epsilon)?;
        checks::not_negative("initializer_range", self.initializer_range)
    }
}
