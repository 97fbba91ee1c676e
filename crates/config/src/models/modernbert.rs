//! `modernbert` and `modernbert-decoder`: two rotary embeddings, for sliding and for full layers, which alternate 2 to 1.

use serde_json::{Map, Value, json};

use crate::declare::config;
use crate::rope::{self, RopeConfig};
use crate::{ConfigError, LayerType, ModelConfig, Result, RopeParameters, checks, layer_types};

/// The base of the frequencies in full layers.
const GLOBAL_THETA: f64 = 160_000.0;
/// The base of the frequencies in sliding layers.
const LOCAL_THETA: f64 = 10_000.0;
/// Every so many layers, one is full.
const PATTERN: usize = 3;

config! {
    /// The configuration of a modernbert model.
    ModernBertConfig {
        vocab_size: usize = 50_368,
        hidden_size: usize = 768,
        intermediate_size: usize = 1152,
        num_hidden_layers: usize = 22,
        num_attention_heads: usize = 12,
        /// The MLP's activation.
        hidden_activation: String = "gelu".into(),
        max_position_embeddings: usize = 8192,
        initializer_range: f64 = 0.02,
        /// So many standard deviations fresh weights are at most away from 0.
        initializer_cutoff_factor: f64 = 2.0,
        /// Added to the variance in norms.
        norm_eps: f64 = 1e-5,
        /// Whether norms have biases.
        norm_bias: bool = false,
        /// The token that begins a text.
        cls_token_id: Option<u32> = Some(50_281),
        /// The token that ends a text.
        sep_token_id: Option<u32> = Some(50_282),
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        layer_types: Option<Vec<LayerType>> = None,
        rope_parameters: RopeParameters = rope_by_layer_type(),
        /// The positions that a sliding layer attends to, on both sides together.
        local_attention: usize = 128,
        /// Dropout on embeddings while training.
        embedding_dropout: f64 = 0.0,
        mlp_bias: bool = false,
        /// Dropout in the MLP while training.
        mlp_dropout: f64 = 0.0,
        /// Whether the output layer has a bias.
        decoder_bias: bool = true,
        /// What a classifier sees of a row: `cls` or `mean`.
        classifier_pooling: String = "cls".into(),
        /// Dropout before the classifier while training.
        classifier_dropout: f64 = 0.0,
        /// Whether the layer before the output has a bias.
        classifier_bias: bool = false,
        /// The activation after that layer.
        classifier_activation: String = "gelu".into(),
        /// Kept for Python.
        deterministic_flash_attn: bool = false,
        /// Whether Python gives logits of labelled tokens only.
        sparse_prediction: bool = false,
        /// The label that does not count there.
        sparse_pred_ignore_index: i64 = -100,
        tie_word_embeddings: bool = true,
    }
    tokens { pad: Some(50_283), bos: Some(50_281), eos: Some(50_282) }
}

config! {
    /// The configuration of a modernbert-decoder model.
    ModernBertDecoderConfig {
        vocab_size: usize = 50_368,
        hidden_size: usize = 768,
        intermediate_size: usize = 1152,
        num_hidden_layers: usize = 22,
        num_attention_heads: usize = 12,
        /// The MLP's activation.
        hidden_activation: String = "gelu".into(),
        max_position_embeddings: usize = 8192,
        initializer_range: f64 = 0.02,
        /// So many standard deviations fresh weights are at most away from 0.
        initializer_cutoff_factor: f64 = 2.0,
        /// Added to the variance in norms.
        norm_eps: f64 = 1e-5,
        /// Whether norms have biases.
        norm_bias: bool = false,
        /// The token that begins a text.
        cls_token_id: Option<u32> = Some(50_281),
        /// The token that ends a text.
        sep_token_id: Option<u32> = Some(50_282),
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        /// Dropout on embeddings while training.
        embedding_dropout: f64 = 0.0,
        mlp_bias: bool = false,
        /// Dropout in the MLP while training.
        mlp_dropout: f64 = 0.0,
        /// Whether the output layer has a bias.
        decoder_bias: bool = true,
        /// Dropout before the classifier while training.
        classifier_dropout: f64 = 0.0,
        /// Whether the layers of heads have biases.
        classifier_bias: bool = false,
        /// The activation after the head's first layer.
        classifier_activation: String = "gelu".into(),
        use_cache: bool = true,
        /// Twice the positions that a sliding layer attends to.
        local_attention: Option<usize> = Some(128),
        /// Half of that, -1 where there is none: as the reference writes it.
        sliding_window: Option<i64> = None,
        layer_types: Option<Vec<LayerType>> = None,
        rope_parameters: RopeParameters = rope_by_layer_type(),
        tie_word_embeddings: bool = true,
    }
    tokens { pad: Some(50_283), bos: Some(50_281), eos: Some(50_282) }
}

fn rope_by_layer_type() -> RopeParameters {
    let rope = [
        (LayerType::SlidingAttention, LOCAL_THETA),
        (LayerType::FullAttention, GLOBAL_THETA),
    ];
    let rope = rope.map(|(layer_type, theta)| (layer_type, Some(RopeConfig::with_theta(theta))));
    RopeParameters::PerLayer(rope.into())
}

/// Full attention in every third layer, the first one first.
fn alternating(layers: usize) -> Vec<LayerType> {
    (0..layers)
        .map(|layer| match layer % PATTERN {
            0 => LayerType::FullAttention,
            _ => LayerType::SlidingAttention,
        })
        .collect()
}

/// `rope_scaling` is that of all layers; `global_rope_theta` and `local_rope_theta` are the two bases. An older pattern of
/// layers becomes their list.
fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
    let scaling = rope::take_object(raw, "rope_scaling")?.unwrap_or_default();
    let mut parameters = rope::take_object(raw, "rope_parameters")?.unwrap_or_default();
    let mut standard = Map::new();
    for (layer_type, key, theta) in [
        (LayerType::FullAttention, "global_rope_theta", GLOBAL_THETA),
        (LayerType::SlidingAttention, "local_rope_theta", LOCAL_THETA),
    ] {
        let theta = rope::take(raw, key).unwrap_or_else(|| json!(theta));
        let own = rope::take_object(&mut parameters, layer_type.name())?;
        let mut own = own.unwrap_or_default();
        own.extend(scaling.clone());
        rope::set_defaults(&mut own, &theta, None);
        standard.insert(layer_type.name().into(), own.into());
    }
    raw.insert("rope_parameters".into(), standard.into());

    // Not written back by the reference.
    raw.remove("reference_compile");
    let number = |key| raw.get(key).and_then(Value::as_u64);
    let layers = number("num_hidden_layers");
    if let (Some(pattern), Some(layers)) = (number("global_attn_every_n_layers"), layers)
        && pattern > 0
        && layers <= checks::MAX_LAYERS as u64
        && raw.get("layer_types").is_none_or(Value::is_null)
    {
        let types = (0..layers).map(|layer| match layer % pattern {
            0 => LayerType::FullAttention.name(),
            _ => LayerType::SlidingAttention.name(),
        });
        raw.insert("layer_types".into(), types.collect());
    }
    Ok(())
}

macro_rules! modernbert {
    ($name:ident, $model_type:literal) => {
        impl $name {
            /// The size of a head.
            pub fn head_dim(&self) -> usize {
                let divided = self.hidden_size.checked_div(self.num_attention_heads);
                divided.unwrap_or(0)
            }

            /// What each layer attends to.
            pub fn layer_types(&self) -> Vec<LayerType> {
                let types = self.layer_types.clone();
                types.unwrap_or_else(|| alternating(self.num_hidden_layers))
            }
        }

        impl ModelConfig for $name {
            const MODEL_TYPE: &'static str = $model_type;

            fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
                standardize(raw)
            }

            fn validate(&self) -> Result<()> {
                checks::layers(self.num_hidden_layers)?;
                checks::sizes(&[
                    ("vocab_size", self.vocab_size),
                    ("intermediate_size", self.intermediate_size),
                    ("max_position_embeddings", self.max_position_embeddings),
                ])?;
                checks::self_attention(self.hidden_size, self.num_attention_heads)?;
                checks::not_negative("norm_eps", self.norm_eps)?;
                checks::not_negative("initializer_range", self.initializer_range)?;
                layer_types::validate(self.layer_types.as_deref(), self.num_hidden_layers)?;
                self.check()?;
                self.rope_parameters
                    .validate(self.head_dim(), self.max_position_embeddings)
            }

            fn complete(&mut self) {
                self.complete_window();
                self.layer_types = Some(self.layer_types());
                self.rope_parameters.complete(self.max_position_embeddings);
            }
        }
    };
}

modernbert!(ModernBertConfig, "modernbert");
modernbert!(ModernBertDecoderConfig, "modernbert-decoder");

impl ModernBertConfig {
    /// The positions on each side that a sliding layer attends to, the own one included.
    pub fn window(&self) -> usize {
        self.local_attention / 2 + 1
    }

    /// Its half is not written.
    fn complete_window(&mut self) {}

    fn check(&self) -> Result<()> {
        checks::sizes(&[("local_attention", self.local_attention.max(1))])?;
        if ["cls", "mean"].contains(&self.classifier_pooling.as_str()) {
            return Ok(());
        }
        Err(ConfigError::invalid(
            "classifier_pooling",
            format!("`{}` is not cls or mean", self.classifier_pooling),
        ))
    }
}

impl ModernBertDecoderConfig {
    /// The positions that a sliding layer attends to, the own one included.
    pub fn window(&self) -> Option<usize> {
        self.local_attention.map(|both| both / 2)
    }

    fn complete_window(&mut self) {
        let half = self.window().map(|window| window as i64);
        self.sliding_window = Some(half.unwrap_or(-1));
    }

    fn check(&self) -> Result<()> {
        let sliding = self.layer_types().contains(&LayerType::SlidingAttention);
        match self.window() {
            Some(window) => checks::sizes(&[("local_attention", window)]),
            None if sliding => Err(ConfigError::invalid(
                "local_attention",
                "it is null, but `layer_types` has sliding layers",
            )),
            None => Ok(()),
        }
    }
}
