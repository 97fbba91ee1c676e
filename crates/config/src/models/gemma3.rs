//! `gemma3_text`: two rotary embeddings, for sliding and for full layers, which alternate 5 to 1.

use serde_json::{Map, Value, json};

use crate::declare::config;
use crate::rope::{self, RopeConfig};
use crate::{ConfigError, LayerType, ModelConfig, Result, RopeParameters, checks, layer_types};

/// The base of the frequencies in full layers.
const GLOBAL_THETA: f64 = 1_000_000.0;
/// The base of the frequencies in sliding layers.
const LOCAL_THETA: f64 = 10_000.0;
/// Every so many layers, one is full.
const PATTERN: usize = 6;

config! {
    /// The configuration of gemma3's text model, alone or within `gemma3`.
    Gemma3TextConfig {
        vocab_size: usize = 262_208,
        hidden_size: usize = 2304,
        intermediate_size: usize = 9216,
        num_hidden_layers: usize = 26,
        num_attention_heads: usize = 8,
        num_key_value_heads: usize = 4,
        head_dim: usize = 256,
        /// The MLP's activation.
        hidden_activation: String = "gelu_pytorch_tanh".into(),
        max_position_embeddings: usize = 131_072,
        initializer_range: f64 = 0.02,
        rms_norm_eps: f64 = 1e-6,
        use_cache: bool = true,
        tie_word_embeddings: bool = true,
        rope_parameters: RopeParameters = rope_by_layer_type(),
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        /// Scores are divided by its square root.
        query_pre_attn_scalar: usize = 256,
        sliding_window: Option<usize> = Some(4096),
        layer_types: Option<Vec<LayerType>> = None,
        /// Every so many layers one is full, in files without `layer_types`.
        #[serde(skip_serializing_if = "Option::is_none")]
        sliding_window_pattern: Option<usize> = None,
        /// Bounds the logits by a hyperbolic tangent.
        final_logit_softcapping: Option<f64> = None,
        /// Bounds the attention scores by a hyperbolic tangent.
        attn_logit_softcapping: Option<f64> = None,
        /// Whether positions attend to later ones, too.
        use_bidirectional_attention: Option<bool> = Some(false),
    }
    tokens { pad: Some(0), bos: Some(2), eos: Some(1) }
}

fn rope_by_layer_type() -> RopeParameters {
    let rope = [
        (LayerType::SlidingAttention, LOCAL_THETA),
        (LayerType::FullAttention, GLOBAL_THETA),
    ];
    let rope = rope.map(|(layer_type, theta)| (layer_type, Some(RopeConfig::with_theta(theta))));
    RopeParameters::PerLayer(rope.into())
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
