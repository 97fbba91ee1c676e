//! Rotary position embeddings: their parameters, in the one form that v5 has, and the older forms that become it.

mod frequencies;

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::layer_types::LayerType;
use crate::{ConfigError, Result};

pub use frequencies::RopeFrequencies;

/// The base of the frequencies where nothing states one.
pub const DEFAULT_THETA: f64 = 10_000.0;

/// Which formula makes the frequencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RopeType {
    /// The original one.
    #[default]
    Default,
    /// Positions divided by a factor.
    Linear,
    /// A base that grows with the length.
    Dynamic,
    /// Low frequencies interpolated, high ones kept, a ramp between.
    Yarn,
    /// One divisor per frequency, of two lists: for short and for long texts.
    Longrope,
    /// Like yarn, with bounds on the wavelength.
    Llama3,
    /// Only the first part of the frequencies rotates, with exponents over the whole head.
    Proportional,
}

impl RopeType {
    /// Whether the formula needs the length of the text that the model was first trained on.
    fn has_original_length(self) -> bool {
        matches!(self, Self::Llama3 | Self::Yarn | Self::Longrope)
    }
}

/// The parameters of one rotary embedding. Which of the optional ones are required depends on the type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RopeConfig {
    /// The formula.
    pub rope_type: RopeType,
    /// The base of the frequencies.
    pub rope_theta: f64,
    /// The part of the head that rotates, 1 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<f64>,
    /// How much longer texts may be than those of the first training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// llama3, yarn, longrope: the context length of the first training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_max_position_embeddings: Option<usize>,
    /// yarn, longrope: multiplies cosine and sine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_factor: Option<f64>,
    /// yarn: rotations from which a frequency is kept, 32 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta_fast: Option<f64>,
    /// yarn: rotations up to which a frequency is interpolated, 1 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta_slow: Option<f64>,
    /// yarn: numerator of the attention factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mscale: Option<f64>,
    /// yarn: denominator of the attention factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mscale_all_dim: Option<f64>,
    /// yarn: whether the ramp's bounds are rounded outwards, true if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncate: Option<bool>,
    /// longrope: divisors up to the original length, one per frequency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short_factor: Option<Vec<f64>>,
    /// longrope: divisors beyond it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_factor: Option<Vec<f64>>,
    /// llama3: original length over the longest wavelength that is not divided by the whole factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_freq_factor: Option<f64>,
    /// llama3: original length over the longest wavelength that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_freq_factor: Option<f64>,
    /// Multimodal rotation: how many frequencies turn by a token's time, by its height and by its width.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mrope_section: Option<Vec<usize>>,
    /// Keys that this library does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Default for RopeConfig {
    fn default() -> Self {
        Self {
            rope_type: RopeType::Default,
            rope_theta: DEFAULT_THETA,
            partial_rotary_factor: None,
            factor: None,
            original_max_position_embeddings: None,
            attention_factor: None,
            beta_fast: None,
            beta_slow: None,
            mscale: None,
            mscale_all_dim: None,
            truncate: None,
            short_factor: None,
            long_factor: None,
            low_freq_factor: None,
            high_freq_factor: None,
            mrope_section: None,
            extra: Map::new(),
        }
    }
}

impl RopeConfig {
    /// The default formula with base `rope_theta`.
    pub fn with_theta(rope_theta: f64) -> Self {
        Self {
            rope_theta,
            ..Self::default()
        }
    }
}

/// `rope_parameters`: one rotary embedding, or one for each type of layer.
#[expect(
    clippy::large_enum_variant,
    reason = "a model has one or two of them, and a box would be in every match"
)]
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RopeParameters {
    /// The same for all layers.
    Flat(RopeConfig),
    /// By type of layer; `None` where positions are not embedded.
    PerLayer(BTreeMap<LayerType, Option<RopeConfig>>),
}

impl Default for RopeParameters {
    fn default() -> Self {
        Self::Flat(RopeConfig::default())
    }
}

impl RopeParameters {
    /// The parameters for layers of this type; `None` where positions are not embedded.
    pub fn for_layer(&self, layer_type: LayerType) -> Option<&RopeConfig> {
        match self {
            Self::Flat(config) => Some(config),
            Self::PerLayer(configs) => configs.get(&layer_type)?.as_ref(),
        }
    }

    /// The default formula for the first `partial` of a head's values, in all layers.
    pub fn partial(rope_theta: f64, partial: f64) -> Self {
        Self::Flat(RopeConfig {
            partial_rotary_factor: Some(partial),
            ..RopeConfig::with_theta(rope_theta)
        })
    }

    /// Refuses parameters that do not give a frequency to each pair of a head's `head_dim` values.
    ///
    /// # Errors
    /// The parameter at fault, by its key.
    pub fn validate(&self, head_dim: usize, max_position_embeddings: usize) -> Result<()> {
        self.each(|config| config.validate(head_dim, max_position_embeddings))
    }

    /// The same for families whose heads may rotate in part.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn validate_partial(&self, head_dim: usize, max_position_embeddings: usize) -> Result<()> {
        let frequencies = |config: &RopeConfig| {
            let frequencies = config.frequencies(head_dim, max_position_embeddings, 0)?;
            match 2 * frequencies.inv_freq.len() <= head_dim {
                true => Ok(()),
                false => config.validate(head_dim, max_position_embeddings),
            }
        };
        self.each(frequencies)
    }

    fn each(&self, check: impl Fn(&RopeConfig) -> Result<()>) -> Result<()> {
        match self {
            Self::Flat(config) => check(config),
            Self::PerLayer(configs) => configs.iter().try_for_each(|(layer_type, config)| {
                let checked = config.iter().try_for_each(&check);
                checked.map_err(|error| within_layer_type(error, *layer_type))
            }),
        }
    }

    /// Fills in the original context length where the formula needs it.
    pub fn complete(&mut self, max_position_embeddings: usize) {
        let complete = |config: &mut RopeConfig| {
            if config.rope_type.has_original_length() {
                config
                    .original_max_position_embeddings
                    .get_or_insert(max_position_embeddings);
            }
        };
        match self {
            Self::Flat(config) => complete(config),
            Self::PerLayer(configs) => configs.values_mut().flatten().for_each(complete),
        }
    }
}

impl RopeConfig {
    fn validate(&self, head_dim: usize, max_position_embeddings: usize) -> Result<()> {
        // The formulas check what they use.
        let pairs = self
            .frequencies(head_dim, max_position_embeddings, 0)?
            .inv_freq
            .len();
        if 2 * pairs == head_dim {
            return Ok(());
        }
        let (key, reason) = match self.partial_rotary_factor {
            Some(factor) => (
                "rope_parameters.partial_rotary_factor",
                format!("{factor} of the head rotates; this family rotates all of it"),
            ),
            None => (
                "head_dim",
                format!("{head_dim} is odd, but values rotate in pairs"),
            ),
        };
        Err(ConfigError::invalid(key, reason))
    }
}

/// Turns `rope_parameters.factor` into `rope_parameters.full_attention.factor`.
fn within_layer_type(error: ConfigError, layer_type: LayerType) -> ConfigError {
    match error {
        ConfigError::Invalid { key, reason } => {
            let key = match key.strip_prefix("rope_parameters.") {
                Some(key) => format!("rope_parameters.{layer_type}.{key}"),
                None => key,
            };
            ConfigError::Invalid { key, reason }
        }
        other => other,
    }
}

impl<'de> Deserialize<'de> for RopeParameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = Map::deserialize(deserializer)?;
        let parsed = if is_per_layer(&map) {
            map.retain(|key, value| is_layer_entry(key, value));
            crate::json::typed(Value::Object(map)).map(Self::PerLayer)
        } else {
            crate::json::typed(Value::Object(map)).map(Self::Flat)
        };
        parsed.map_err(D::Error::custom)
    }
}

/// Moves the keys of older releases (`rope_scaling`, `rope_theta`, `partial_rotary_factor`, `type`) into
/// `rope_parameters`. A base that nothing states is `default_theta`.
pub fn standardize(raw: &mut Map<String, Value>, default_theta: f64) -> Result<()> {
    let mut parameters = take_parameters(raw)?;
    let theta = take(raw, "rope_theta").unwrap_or_else(|| json!(default_theta));
    let partial = take(raw, "partial_rotary_factor");
    if is_per_layer(&parameters) {
        for (_, value) in parameters
            .iter_mut()
            .filter(|(key, value)| is_layer_entry(key, value))
        {
            if let Value::Object(entry) = value {
                set_defaults(entry, &theta, partial.as_ref());
            }
        }
    } else {
        set_defaults(&mut parameters, &theta, partial.as_ref());
        take_outer_original_length(raw, &mut parameters);
    }
    raw.insert("rope_parameters".into(), parameters.into());
    Ok(())
}

/// As [`standardize`], for a family that rotates the first `default_partial` of a head's values where nothing is stated.
pub fn standardize_partial(
    raw: &mut Map<String, Value>,
    default_theta: f64,
    default_partial: f64,
) -> Result<()> {
    raw.entry("partial_rotary_factor")
        .or_insert_with(|| json!(default_partial));
    standardize(raw, default_theta)
}

/// `rope_scaling` if it says anything, else `rope_parameters`, else nothing.
fn take_parameters(raw: &mut Map<String, Value>) -> Result<Map<String, Value>> {
    let scaling = take_object(raw, "rope_scaling")?.filter(|scaling| !scaling.is_empty());
    let parameters = take_object(raw, "rope_parameters")?;
    Ok(scaling.or(parameters).unwrap_or_default())
}

/// Removes the object under `key`; null is absent.
pub(crate) fn take_object(
    raw: &mut Map<String, Value>,
    key: &str,
) -> Result<Option<Map<String, Value>>> {
    match take(raw, key) {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(other) => Err(ConfigError::invalid(
            key,
            format!("expected an object, found {other}"),
        )),
    }
}

/// Removes the value under `key`; null is absent.
pub(crate) fn take(raw: &mut Map<String, Value>, key: &str) -> Option<Value> {
    raw.remove(key).filter(|value| !value.is_null())
}

/// Fills what one rotary embedding's parameters leave open.
pub(crate) fn set_defaults(
    parameters: &mut Map<String, Value>,
    theta: &Value,
    partial: Option<&Value>,
) {
    let rope_type = parameters
        .get("type")
        .cloned()
        .unwrap_or_else(|| "default".into());
    set_default(parameters, "rope_type", &rope_type);
    set_default(parameters, "rope_theta", theta);
    if let Some(partial) = partial {
        set_default(parameters, "partial_rotary_factor", partial);
    }
}

fn set_default(parameters: &mut Map<String, Value>, key: &str, default: &Value) {
    let value = parameters.entry(key).or_insert(Value::Null);
    if value.is_null() {
        value.clone_from(default);
    }
}

/// phi3 states the original length beside the parameters, and it wins there.
fn take_outer_original_length(raw: &Map<String, Value>, parameters: &mut Map<String, Value>) {
    const KEY: &str = "original_max_position_embeddings";
    let rope_type: Option<RopeType> = parameters
        .get("rope_type")
        .and_then(|name| RopeType::deserialize(name).ok());
    if rope_type.is_some_and(RopeType::has_original_length)
        && let Some(length) = raw.get(KEY).filter(|length| length.is_number())
    {
        parameters.insert(KEY.into(), length.clone());
    }
}

fn is_per_layer(parameters: &Map<String, Value>) -> bool {
    parameters
        .iter()
        .any(|(key, value)| is_layer_entry(key, value))
}

fn is_layer_entry(key: &str, value: &Value) -> bool {
    (value.is_object() || value.is_null()) && LayerType::from_name(key).is_some()
}
