//! A model family of one's own: a config, a block, and one call of `register`. From then on the auto classes load it,
//! `generate` decodes with it and burn trains it, as they do with the families that are built in.
//!
//! The block runs attention and feed-forward side by side on one norm: `x + attention(norm(x)) + mlp(norm(x))`.
#![forbid(unsafe_code)]

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use transformers::config::{BaseConfig, LayerType, ModelConfig, RopeParameters};
use transformers::modeling::nn::{
    Activation, Attention, AttentionOptions, DecoderFamily, DecoderLayer, DecoderOptions, GatedMlp,
    Init, LayerContext, NormForm, NormOptions, RmsNorm,
};
use transformers::modeling::{Family, ModelError, register};

/// `config.json` of the family; keys that are not here are kept in `base`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ParallelConfig {
    /// Ids are below this.
    pub vocab_size: usize,
    /// Features of the residual stream.
    pub hidden_size: usize,
    /// Features inside the feed-forward layer.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// The longest sequence.
    pub max_position_embeddings: usize,
    /// Rotary settings.
    pub rope_parameters: RopeParameters,
    /// The fields that every config has.
    #[serde(flatten)]
    pub base: BaseConfig,
}

impl Default for ParallelConfig {
    fn default() -> Self {
        Self {
            vocab_size: 128,
            hidden_size: 32,
            intermediate_size: 64,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            max_position_embeddings: 64,
            rope_parameters: RopeParameters::default(),
            base: BaseConfig::default(),
        }
    }
}

impl ModelConfig for ParallelConfig {
    const MODEL_TYPE: &'static str = "parallel";
}

/// One block; its fields give the parameters their names on disk.
#[derive(Module, Debug)]
pub struct ParallelLayer {
    norm: RmsNorm,
    self_attn: Attention,
    mlp: GatedMlp,
}

impl DecoderLayer for ParallelLayer {
    fn forward(&self, hidden: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let normed = self.norm.forward(hidden.clone());
        hidden + self.self_attn.forward(normed.clone(), context) + self.mlp.forward(normed)
    }
}

/// The family.
#[derive(Debug)]
pub struct Parallel;

impl DecoderFamily for Parallel {
    type Config = ParallelConfig;
    type Layer = ParallelLayer;

    fn options(config: &ParallelConfig) -> DecoderOptions {
        let layer_types = vec![LayerType::FullAttention; config.num_hidden_layers];
        DecoderOptions {
            norm: Some(NormOptions::rms(1e-6)),
            head_dim: config.hidden_size / config.num_attention_heads,
            rope_parameters: Some(config.rope_parameters.clone()),
            max_position_embeddings: Some(config.max_position_embeddings),
            tie_word_embeddings: true,
            ..DecoderOptions::new(config.vocab_size, config.hidden_size, layer_types)
        }
    }

    fn layer(
        config: &ParallelConfig,
        _index: usize,
        init: &Init,
    ) -> Result<ParallelLayer, ModelError> {
        let attention = AttentionOptions::new(
            config.hidden_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.hidden_size / config.num_attention_heads,
        );
        Ok(ParallelLayer {
            norm: RmsNorm::new(config.hidden_size, 1e-6, NormForm::Plain, init),
            self_attn: Attention::new(&attention, init),
            mlp: GatedMlp::new(
                config.hidden_size,
                config.intermediate_size,
                false,
                Activation::Silu,
                init,
            ),
        })
    }
}

/// Makes `model_type: "parallel"` known to the auto classes; call it once, before loading.
///
/// # Errors
/// [`ModelError::AlreadyRegistered`] on a second call.
pub fn register_family() -> Result<(), ModelError> {
    register(Family::decoder::<Parallel>())
}
