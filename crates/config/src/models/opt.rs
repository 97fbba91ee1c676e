//! `opt`.

use crate::declare::config;
use crate::{LayerType, ModelConfig, Result, checks};

config! {
    /// The configuration of an OPT model.
    OptConfig {
        vocab_size: usize = 50_272,
        hidden_size: usize = 768,
        num_hidden_layers: usize = 12,
        /// The width inside of the MLP.
        ffn_dim: usize = 3072,
        max_position_embeddings: usize = 2048,
        /// Whether norms stand before attention and MLP, and not after.
        do_layer_norm_before: bool = true,
        /// Whether there is no norm after the last layer, in spite of that.
        #[serde(rename = "_remove_final_layer_norm")]
        remove_final_layer_norm: bool = false,
        /// The width of the embedding; that of the residual stream if null.
        word_embed_proj_dim: Option<usize> = None,
        /// Dropout on hidden states while training.
        dropout: f64 = 0.1,
        attention_dropout: f64 = 0.0,
        num_attention_heads: usize = 12,
        /// The MLP's activation.
        activation_function: String = "relu".into(),
        /// How likely a layer is left out while training.
        layerdrop: f64 = 0.0,
        /// The standard deviation of fresh weights.
        init_std: f64 = 0.02,
        use_cache: bool = true,
        /// Whether projections have biases.
        enable_bias: bool = true,
        /// Whether norms have weights and biases.
        layer_norm_elementwise_affine: bool = true,
        tie_word_embeddings: bool = true,
    }
    tokens { pad: Some(1), bos: Some(2), eos: Some(2) }
}

impl OptConfig {
    /// The width of the embedding.
    pub fn embedding_size(&self) -> usize {
        self.word_embed_proj_dim.unwrap_or(self.hidden_size)
    }

    /// Every layer attends to all earlier positions.
    pub fn layer_types(&self) -> Vec<LayerType> {
        vec![LayerType::FullAttention; self.num_hidden_layers]
    }
}

impl ModelConfig for OptConfig {
    const MODEL_TYPE: &'static str = "opt";

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_hidden_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("ffn_dim", self.ffn_dim),
            ("max_position_embeddings", self.max_position_embeddings),
            ("word_embed_proj_dim", self.embedding_size()),
        ])?;
        let heads = self.num_attention_heads;
        checks::attention(self.hidden_size, heads, heads, None)?;
        checks::not_negative("init_std", self.init_std)
    }

    fn complete(&mut self) {
        self.word_embed_proj_dim = Some(self.embedding_size());
    }
}
