//! `gpt_neo`: global and local layers, as `attention_types` repeats them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::declare::config;
use crate::{ConfigError, LayerType, ModelConfig, Result, checks, json};

config! {
    /// The configuration of a GPT-Neo model.
    GptNeoConfig {
        vocab_size: usize = 50_257,
        max_position_embeddings: usize = 2048,
        hidden_size: usize = 2048,
        /// The number of layers.
        num_layers: usize = 24,
        /// What layers attend to: kinds that follow each other, and how often they are repeated.
        attention_types: Vec<(Vec<GptNeoAttention>, usize)> =
            vec![(vec![GptNeoAttention::Global, GptNeoAttention::Local], 12)],
        /// The same, written out.
        attention_layers: Option<Vec<GptNeoAttention>> = None,
        /// The number of heads.
        num_heads: usize = 16,
        /// The width inside of the MLP; four times that of the residual stream if null.
        intermediate_size: Option<usize> = None,
        /// The positions that a local layer attends to.
        window_size: usize = 256,
        /// The MLP's activation.
        activation_function: String = "gelu_new".into(),
        /// Dropout on what is added to the residual stream while training.
        resid_dropout: f64 = 0.0,
        /// Dropout on the embeddings while training.
        embed_dropout: f64 = 0.0,
        attention_dropout: f64 = 0.0,
        /// Dropout before the classifier while training.
        classifier_dropout: f64 = 0.1,
        /// Added to the variance in norms.
        layer_norm_epsilon: f64 = 1e-5,
        initializer_range: f64 = 0.02,
        use_cache: bool = true,
        tie_word_embeddings: bool = true,
    }
    tokens { pad: None, bos: Some(50_256), eos: Some(50_256) }
}

/// What a layer of GPT-Neo attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GptNeoAttention {
    /// All earlier positions.
    Global,
    /// Those of a window.
    Local,
}

impl GptNeoConfig {
    /// The width inside of the MLP.
    pub fn intermediate_size(&self) -> usize {
        self.intermediate_size.unwrap_or(4 * self.hidden_size)
    }

    /// What each layer attends to.
    pub fn layer_types(&self) -> Vec<LayerType> {
        let kind = |kind: &GptNeoAttention| match kind {
            GptNeoAttention::Global => LayerType::FullAttention,
            GptNeoAttention::Local => LayerType::SlidingAttention,
        };
        self.written_out().iter().map(kind).collect()
    }

    /// `attention_types`, one by one, and no more of them than a model may have layers.
    fn written_out(&self) -> Vec<GptNeoAttention> {
        let repeated = |(kinds, times): &(Vec<GptNeoAttention>, usize)| {
            let all = kinds.len().saturating_mul(*times);
            kinds.clone().into_iter().cycle().take(all)
        };
        let all = self.attention_types.iter().flat_map(repeated);
        all.take(checks::MAX_LAYERS + 1).collect()
    }
}

impl ModelConfig for GptNeoConfig {
    const MODEL_TYPE: &'static str = "gpt_neo";

    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        let names = [
            ("num_attention_heads", "num_heads"),
            ("num_hidden_layers", "num_layers"),
        ];
        json::rename(raw, &names);
        Ok(())
    }

    fn validate(&self) -> Result<()> {
        checks::layers(self.num_layers)?;
        checks::sizes(&[
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("intermediate_size", self.intermediate_size.unwrap_or(1)),
            ("window_size", self.window_size),
        ])?;
        checks::attention(self.hidden_size, self.num_heads, self.num_heads, None)?;
        let types = self.written_out().len();
        if types != self.num_layers {
            return Err(ConfigError::invalid(
                "attention_types",
                format!("they are those of {types} layers, but `num_layers` is {}", self.num_layers),
            ));
        }
        checks::not_negative("layer_norm_epsilon", self.layer_norm_epsilon)?;
        checks::not_negative("initializer_range", self.initializer_range)
    }

    fn complete(&mut self) {
        self.attention_layers = Some(self.written_out());
    }
}
