//! `gemma3_text`: two rotary embeddings, for sliding and for full layers, which alternate 5 to 1.

use serde_json::{Map, Value, json};

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, RopeConfig};
use crate::{LayerType, Result, RopeParameters, checks, layer_types};

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
}

rotary_decoder! {
    Gemma3TextConfig: "gemma3_text" {
        wrappers: &["gemma3"],
        kv_heads: num_key_value_heads,
        head_dim: head_dim,
        layer_types: |config| {
            let pattern = config.sliding_window_pattern.unwrap_or(PATTERN);
            layer_types::every_nth_full(config.num_hidden_layers, pattern)
        },
        sizes: [intermediate_size, query_pre_attn_scalar, sliding_window, sliding_window_pattern],
        eps: rms_norm_eps,
        standardize: standardize,
        check: |config| {
            checks::heads_divide(config.hidden_size, config.num_attention_heads)?;
            checks::divisor("final_logit_softcapping", config.final_logit_softcapping)?;
            checks::divisor("attn_logit_softcapping", config.attn_logit_softcapping)?;
            checks::window(config.sliding_window, &config.layer_types())
        },
    }
}

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
