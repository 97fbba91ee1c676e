//! A configuration as the metadata of a GGUF file: what [`gguf_config`] reads, and llama.cpp.
//!
//! What is written is read back and compared: a file that would make another model is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::gguf::{GgufHeader, GgufTensorInfo, GgufValue};
use crate::gguf_config::architectures::{ARCHITECTURES, Architecture, Key, TIED};
use crate::gguf_config::set_rope_divisors;
use crate::rope::{RopeConfig, RopeParameters, RopeType};
use crate::{
    AutoConfig, ConfigError, Gemma2Config, Gemma3TextConfig, LayerType, LlamaConfig, MistralConfig,
    NemotronConfig, Phi3Config, Qwen2Config, Qwen2MoeConfig, Qwen3Config, Qwen3MoeConfig, Result,
    StableLmConfig, Starcoder2Config,
};

/// What a GGUF file says of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufConfig {
    /// `general.architecture`: mistral's is `llama`.
    pub architecture: &'static str,
    /// The key-value pairs, the architecture first.
    pub metadata: Vec<(String, GgufValue)>,
    /// The tensor `rope_freqs.weight`, where frequencies are divided one by one.
    pub rope_divisors: Option<Vec<f32>>,
    /// Keys of the configuration that such a file has no place for: those of attention within a window, without which
    /// texts longer than the window give other results.
    pub lost: Vec<String>,
}

/// Keys that say nothing of what a model computes, or that the tokenizer's part of the metadata says.
const NOT_COMPARED: [&str; 15] = [
    "architectures",
    "attention_dropout",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "head_dim",
    "id2label",
    "initializer_range",
    "label2id",
    "model_type",
    "pad_token_id",
    "pretraining_tp",
    "rope_parameters",
    "sliding_window_pattern",
    "use_cache",
];

/// Keys of attention within a window.
const WINDOW: [&str; 4] = [
    "layer_types",
    "max_window_layers",
    "sliding_window",
    "use_sliding_window",
];

impl AutoConfig {
    /// The metadata of a GGUF file of this model.
    ///
    /// ```
    /// use transformers_config::AutoConfig;
    ///
    /// let config = AutoConfig::from_json_str(r#"{"model_type": "qwen3", "hidden_size": 64, "head_dim": 32}"#)?;
    /// let gguf = config.to_gguf()?;
    /// assert_eq!(gguf.architecture, "qwen3");
    /// assert!(gguf.metadata.iter().any(|(key, _)| key == "qwen3.embedding_length"));
    /// # Ok::<(), transformers_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// If the family has no GGUF architecture here, or the configuration has a value that such a file cannot say.
    pub fn to_gguf(&self) -> Result<GgufConfig> {
        let source = typed(self)?;
        let name = match self.model_type() {
            "mistral" => "llama",
            other => other,
        };
        let mut known = ARCHITECTURES.iter();
        let known = known.find(|known| known.name == name || known.model_type == name);
        write(source, known.ok_or_else(|| not_written(name))?)
    }
}

macro_rules! written {
    ($($model_type:literal: $config:ident),* $(,)?) => {
        /// The model types that can be written.
        const SUPPORTED: &[&str] = &[$($model_type),*];

        /// The configuration with every field of its family.
        fn typed(config: &AutoConfig) -> Result<AutoConfig> {
            match config.model_type() {
                $($model_type => AutoConfig::from_typed(&config.typed::<$config>()?)?.completed(),)*
                other => Err(not_written(other)),
            }
        }
    };
}

written! {
    "gemma2": Gemma2Config, "gemma3_text": Gemma3TextConfig, "llama": LlamaConfig, "mistral": MistralConfig,
    "nemotron": NemotronConfig, "phi3": Phi3Config, "qwen2": Qwen2Config, "qwen2_moe": Qwen2MoeConfig,
    "qwen3": Qwen3Config, "qwen3_moe": Qwen3MoeConfig, "stablelm": StableLmConfig, "starcoder2": Starcoder2Config,
}

fn not_written(model_type: &str) -> ConfigError {
    let supported = SUPPORTED.join(", ");
    ConfigError::invalid(
        "model_type",
        format!("\"{model_type}\" is not written as GGUF ({supported} are); write safetensors"),
    )
}

fn write(config: AutoConfig, architecture: &'static Architecture) -> Result<GgufConfig> {
    let source = Source::new(config)?;
    let mut writer = Writer {
        source: &source,
        architecture: architecture.name,
        metadata: vec![(
            "general.architecture".to_owned(),
            GgufValue::String(architecture.name.into()),
        )],
        rope_divisors: None,
    };
    writer.decoder(architecture)?;
    let mut written = GgufConfig {
        architecture: architecture.name,
        metadata: writer.metadata,
        rope_divisors: writer.rope_divisors,
        lost: Vec::new(),
    };
    let read = read_back(&written, architecture, &source)?;
    written.lost = lost(&source, &Source::new(read)?)?;
    Ok(written)
}

/// A complete configuration, and what is asked of it often.
struct Source {
    config: AutoConfig,
    head_dim: usize,
    max_length: usize,
    rope: RopeParameters,
}

impl Source {
    fn new(config: AutoConfig) -> Result<Self> {
        let rope = config.get("rope_parameters").cloned().unwrap_or_default();
        let (heads, width) = (
            count(&config, "num_attention_heads")?,
            count(&config, "hidden_size")?,
        );
        let head_dim = match config.get("head_dim") {
            None | Some(Value::Null) => width.checked_div(heads).unwrap_or(0),
            Some(_) => count(&config, "head_dim")?,
        };
        Ok(Self {
            head_dim,
            max_length: count(&config, "max_position_embeddings")?,
            rope: crate::json::typed(rope)?,
            config,
        })
    }

    fn count(&self, key: &str) -> Result<usize> {
        count(&self.config, key)
    }

    fn optional_count(&self, key: &str) -> Option<usize> {
        count(&self.config, key).ok()
    }

    /// The rope of layers with full attention, or else of all.
    fn rope(&self, layer_type: LayerType) -> Result<&RopeConfig> {
        let rope = self.rope.for_layer(layer_type);
        rope.ok_or_else(|| ConfigError::invalid("rope_parameters", unsayable(layer_type.name())))
    }

    /// The frequencies of each type of layer, and what multiplies them.
    fn frequencies(&self) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for layer_type in [LayerType::FullAttention, LayerType::SlidingAttention] {
            let rope = self.rope(layer_type)?;
            let frequencies = rope.frequencies(self.head_dim, self.max_length, 0)?;
            all.extend(frequencies.inv_freq);
            all.push(frequencies.attention_factor);
        }
        Ok(all)
    }
}

fn count(config: &AutoConfig, key: &str) -> Result<usize> {
    let value = config.get(key).and_then(Value::as_u64);
    let value = value.and_then(|value| usize::try_from(value).ok());
    value.ok_or_else(|| ConfigError::invalid(key, "it is not a count"))
}

fn unsayable(value: &str) -> String {
    format!("{value} cannot be said in a GGUF file; write safetensors")
}

struct Writer<'a> {
    source: &'a Source,
    architecture: &'static str,
    metadata: Vec<(String, GgufValue)>,
    rope_divisors: Option<Vec<f32>>,
}

impl Writer<'_> {
    fn decoder(&mut self, architecture: &Architecture) -> Result<()> {
        self.count("vocab_size", self.source.count("vocab_size")?)?;
        for name in ["attention.key_length", "attention.value_length"] {
            self.count(name, self.source.head_dim)?;
        }
        for key in architecture.keys.iter().copied().flatten() {
            match *key {
                // Said by the tensors, or written already.
                Key::OptionalCount("attention.key_length", _)
                | Key::Count("attention.key_length", _)
                | Key::Has(..)
                | Key::Lacks(..) => {}
                Key::Switch(name, of) => {
                    let set = self.source.config.get(of).and_then(Value::as_bool);
                    self.push(name, GgufValue::Bool(set.unwrap_or(false)));
                }
                Key::Count(name, of) | Key::EachLayer(name, of) => {
                    self.count(name, self.source.count(of)?)?;
                }
                Key::HeadsOfKeys(of) => {
                    let heads = self.source.optional_count(of);
                    let heads = heads.map_or_else(|| self.source.count("num_attention_heads"), Ok);
                    self.count("attention.head_count_kv", heads?)?;
                }
                Key::OptionalCount(name, of) => {
                    if let Some(value) = self.source.optional_count(of) {
                        self.count(name, value)?;
                    }
                }
                Key::Number(name, of) | Key::OptionalNumber(name, of) => self.number(name, of),
            }
        }
        if architecture.name == "gemma3" {
            let local = self.source.rope(LayerType::SlidingAttention)?.rope_theta;
            self.push("rope.freq_base_swa", GgufValue::F32(local as f32));
        }
        self.rope()
    }

    fn rope(&mut self) -> Result<()> {
        let rope = self.source.rope(LayerType::FullAttention)?;
        let rotating = rope.partial_rotary_factor.unwrap_or(1.0) * self.source.head_dim as f64;
        self.count("rope.dimension_count", rotating as usize)?;
        self.push("rope.freq_base", GgufValue::F32(rope.rope_theta as f32));
        let factor = rope.factor.unwrap_or(1.0);
        match rope.rope_type {
            RopeType::Default => {}
            RopeType::Linear => self.scaling("linear", factor),
            RopeType::Yarn => {
                self.scaling("yarn", factor);
                if let Some(length) = rope.original_max_position_embeddings {
                    self.count("rope.scaling.original_context_length", length)?;
                }
                // ggml multiplies yarn's own factor by this one.
                let attention = rope.attention_factor;
                let attention = attention.map(|by| by / (1.0 + 0.1 * factor.max(1.0).ln()));
                for (name, value) in [
                    ("rope.scaling.attn_factor", attention),
                    ("rope.scaling.yarn_beta_fast", rope.beta_fast),
                    ("rope.scaling.yarn_beta_slow", rope.beta_slow),
                ] {
                    if let Some(value) = value {
                        self.push(name, GgufValue::F32(value as f32));
                    }
                }
            }
            RopeType::Llama3 | RopeType::Longrope => {
                self.rope_divisors = Some(self.divisors(rope)?)
            }
            RopeType::Dynamic | RopeType::Proportional => {
                let reason = unsayable("this rope_type");
                return Err(ConfigError::invalid("rope_parameters", reason));
            }
        }
        Ok(())
    }

    /// What the plain frequencies are divided by, whatever the length of the text.
    fn divisors(&self, rope: &RopeConfig) -> Result<Vec<f32>> {
        if rope.short_factor != rope.long_factor {
            let reason = unsayable("another factor for long texts than for short ones");
            return Err(ConfigError::invalid("rope_parameters", reason));
        }
        let Source {
            head_dim,
            max_length,
            ..
        } = self.source;
        let of = |rope: &RopeConfig| rope.frequencies(*head_dim, *max_length, 0);
        let (scaled, plain) = (of(rope)?, of(&RopeConfig::with_theta(rope.rope_theta))?);
        let pairs = plain.inv_freq.iter().zip(scaled.inv_freq);
        Ok(pairs.map(|(plain, scaled)| plain / scaled).collect())
    }

    fn scaling(&mut self, kind: &str, factor: f64) {
        self.push("rope.scaling.type", GgufValue::String(kind.into()));
        self.push("rope.scaling.factor", GgufValue::F32(factor as f32));
    }

    fn count(&mut self, name: &str, value: usize) -> Result<()> {
        let value = u32::try_from(value)
            .map_err(|_| ConfigError::invalid(name, format!("{value} is too large for a file")))?;
        self.push(name, GgufValue::U32(value));
        Ok(())
    }

    /// The number under `key` of the configuration, if it is set.
    fn number(&mut self, name: &str, key: &str) {
        if let Some(value) = self.source.config.get(key).and_then(Value::as_f64) {
            self.push(name, GgufValue::F32(value as f32));
        }
    }

    fn push(&mut self, name: &str, value: GgufValue) {
        let key = format!("{}.{name}", self.architecture);
        self.metadata.push((key, value));
    }
}

/// The configuration that a reader makes of the file, complete.
fn read_back(
    written: &GgufConfig,
    architecture: &Architecture,
    source: &Source,
) -> Result<AutoConfig> {
    let is = |key: &str, value: bool| source.config.get(key) == Some(&Value::Bool(value));
    let switches = architecture.keys.iter().copied().flatten();
    let switches = switches.chain(&[TIED]);
    let tensors = switches.filter_map(|switch| match *switch {
        Key::Has(tensor, of) if is(of, true) => Some(tensor),
        Key::Lacks(tensor, of) if is(of, false) => Some(tensor),
        _ => None,
    });
    let tensors = tensors.map(|name| GgufTensorInfo {
        name: name.to_owned(),
        shape: Vec::new(),
        ggml_type: 0,
        offset: 0,
    });
    let header = GgufHeader {
        version: 3,
        metadata: written.metadata.iter().cloned().collect::<BTreeMap<_, _>>(),
        tensors: tensors.collect(),
        data_offset: 0,
    };
    let mut object = crate::gguf_config::to_object(&header)?;
    if let Some(divisors) = &written.rope_divisors {
        set_rope_divisors(&mut object, divisors);
    }
    typed(&AutoConfig::from_value(object.into())?)
}

/// The keys of attention windows that `read` has not as `source` has them; an error if it differs in another one.
fn lost(source: &Source, read: &Source) -> Result<Vec<String>> {
    let differs = |key: &str, value: &Value| {
        let other = read.config.get(key).unwrap_or(&Value::Null);
        !(NOT_COMPARED.contains(&key) || is_same(value, other) || is_unset(value, other))
    };
    let known = known_keys(&source.config);
    let mut lost = Vec::new();
    for (key, value) in known.iter().filter(|(key, value)| differs(key, value)) {
        if !WINDOW.contains(&key.as_str()) {
            return Err(ConfigError::invalid(key, unsayable(&value.to_string())));
        }
        lost.push(key.clone());
    }
    let (wanted, found) = (source.frequencies()?, read.frequencies()?);
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * a.abs();
    let same_rope = wanted.len() == found.len() && wanted.iter().zip(&found).all(close);
    if source.head_dim != read.head_dim || !same_rope {
        let reason = unsayable("this rope");
        return Err(ConfigError::invalid("rope_parameters", reason));
    }
    Ok(lost)
}

/// Without the keys that this library does not know, which no file could say.
fn known_keys(config: &AutoConfig) -> Map<String, Value> {
    let defaults = json!({"model_type": config.model_type()});
    let defaults = AutoConfig::from_value(defaults).and_then(|config| typed(&config));
    let defaults = defaults
        .map(|config| config.tree().clone())
        .unwrap_or_default();
    let mut known = config.tree().clone();
    known.retain(|key, _| defaults.contains_key(key));
    known
}

/// Numbers are in f32 in the file.
fn is_same(value: &Value, other: &Value) -> bool {
    match (value.as_f64(), other.as_f64()) {
        (Some(value), Some(other)) => value as f32 == other as f32,
        _ => value == other,
    }
}

/// A switch that is off, of which the file says nothing.
fn is_unset(value: &Value, other: &Value) -> bool {
    other.is_null() && *value == Value::Bool(false)
}
