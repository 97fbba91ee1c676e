//! `olmo3`: three sliding layers to one full one, whose rotation alone is scaled.

use serde_json::{Map, Value, json};

use crate::declare::{config, rotary_decoder};
use crate::rope::{self, RopeConfig};
use crate::{LayerType, Result, RopeParameters, checks, layer_types};

/// The base of the frequencies, where nothing is stated.
const THETA: f64 = 500_000.0;
/// Every so many layers, one is full.
const PATTERN: usize = 4;

config! {
    /// The configuration of an OLMo 3 model.
    Olmo3Config {
        vocab_size: usize = 50_304,
        hidden_size: usize = 4096,
        intermediate_size: usize = 11_008,
        num_hidden_layers: usize = 32,
        num_attention_heads: usize = 32,
        num_key_value_heads: Option<usize> = None,
        /// The size of a head, where it is stated.
        #[serde(skip_serializing_if = "Option::is_none")]
        head_dim: Option<usize> = None,
        hidden_act: String = "silu".into(),
        max_position_embeddings: usize = 2048,
        initializer_range: f64 = 0.02,
        use_cache: bool = true,
        tie_word_embeddings: bool = false,
        rope_parameters: RopeParameters = default_rope(),
        attention_bias: bool = false,
        attention_dropout: f64 = 0.0,
        rms_norm_eps: f64 = 1e-5,
        sliding_window: Option<usize> = Some(4096),
        layer_types: Option<Vec<LayerType>> = None,
    }
    tokens { pad: Some(1), bos: None, eos: Some(50_279) }
}

fn default_rope() -> RopeParameters {
    let kinds = [LayerType::SlidingAttention, LayerType::FullAttention];
    let rope = kinds.map(|kind| (kind, Some(RopeConfig::with_theta(THETA))));
    RopeParameters::PerLayer(rope.into())
}

rotary_decoder! {
    Olmo3Config: "olmo3" {
        kv_heads: num_key_value_heads,
        unstated_head_dim: head_dim,
        layer_types: |config| layer_types::every_nth_full(config.num_hidden_layers, PATTERN),
        sizes: [intermediate_size, sliding_window],
        eps: rms_norm_eps,
        standardize: standardize,
        check: |config| checks::window(config.sliding_window, &config.layer_types()),
    }
}

/// `rope_scaling` and `rope_theta` are those of the full layers; the others have the default base.
fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
    let theta = rope::take(raw, "rope_theta").unwrap_or_else(|| json!(THETA));
    let scaling = rope::take_object(raw, "rope_scaling")?.unwrap_or_default();
    let mut parameters = rope::take_object(raw, "rope_parameters")?.unwrap_or_default();
    let mut of = |kind: LayerType, scaling, theta: &Value| -> Result<Value> {
        let mut rope = rope::take_object(&mut parameters, kind.name())?.unwrap_or_default();
        rope.extend(scaling);
        rope::set_defaults(&mut rope, theta, None);
        Ok(rope.into())
    };
    let parameters = json!({
        LayerType::FullAttention.name(): of(LayerType::FullAttention, scaling, &theta)?,
        LayerType::SlidingAttention.name(): of(LayerType::SlidingAttention, Map::new(), &json!(THETA))?,
    });
    raw.insert("rope_parameters".into(), parameters);
    Ok(())
}
