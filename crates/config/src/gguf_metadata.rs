//! A configuration as the metadata of a GGUF file: what [`gguf_config`] reads, and llama.cpp.
//!
//! What is written is read back and compared: a file that would make another model is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::gguf::{GgufHeader, GgufTensorInfo, GgufValue};
use crate::gguf_config::set_rope_divisors;
use crate::rope::{RopeConfig, RopeParameters, RopeType};
use crate::{
    AutoConfig, ConfigError, Gemma3TextConfig, LayerType, LlamaConfig, MistralConfig, ModelConfig,
    Qwen2Config, Qwen3Config, Result,
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

/// The model types that can be written.
const SUPPORTED: [&str; 5] = ["gemma3_text", "llama", "mistral", "qwen2", "qwen3"];

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
        match self.model_type() {
            "llama" => write::<LlamaConfig>(self, "llama"),
            "mistral" => write::<MistralConfig>(self, "llama"),
            "qwen2" => write::<Qwen2Config>(self, "qwen2"),
            "qwen3" => write::<Qwen3Config>(self, "qwen3"),
            "gemma3_text" => write::<Gemma3TextConfig>(self, "gemma3"),
            other => Err(ConfigError::invalid(
                "model_type",
                format!(
                    "\"{other}\" is not written as GGUF ({} are); write safetensors",
                    SUPPORTED.join(", ")
                ),
            )),
        }
    }
}

fn write<C: ModelConfig>(config: &AutoConfig, architecture: &'static str) -> Result<GgufConfig> {
    let source = Source::new(AutoConfig::from_typed(&config.typed::<C>()?)?)?;
    let mut writer = Writer {
        source: &source,
        architecture,
        metadata: vec![(
            "general.architecture".to_owned(),
            GgufValue::String(architecture.into()),
        )],
        rope_divisors: None,
    };
    writer.decoder()?;
    let mut written = GgufConfig {
        architecture,
        metadata: writer.metadata,
        rope_divisors: writer.rope_divisors,
        lost: Vec::new(),
    };
    written.lost = lost(&source, &Source::new(read_back(&written, &source)?)?)?;
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

    fn is_set(&self, key: &str) -> bool {
        self.config.get(key) == Some(&Value::Bool(true))
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
    fn decoder(&mut self) -> Result<()> {
        for (name, key) in [
            ("vocab_size", "vocab_size"),
            ("context_length", "max_position_embeddings"),
            ("embedding_length", "hidden_size"),
            ("block_count", "num_hidden_layers"),
            ("feed_forward_length", "intermediate_size"),
            ("attention.head_count", "num_attention_heads"),
            ("attention.head_count_kv", "num_key_value_heads"),
        ] {
            self.count(name, self.source.count(key)?)?;
        }
        for name in [
            "attention.key_length",
            "attention.value_length",
            "rope.dimension_count",
        ] {
            self.count(name, self.source.head_dim)?;
        }
        self.number("attention.layer_norm_rms_epsilon", "rms_norm_eps");
        if self.architecture == "gemma3" {
            self.count(
                "attention.sliding_window",
                self.source.count("sliding_window")?,
            )?;
            self.number("final_logit_softcapping", "final_logit_softcapping");
            let local = self.source.rope(LayerType::SlidingAttention)?.rope_theta;
            self.push("rope.freq_base_swa", GgufValue::F32(local as f32));
        }
        self.rope()
    }

    fn rope(&mut self) -> Result<()> {
        let rope = self.source.rope(LayerType::FullAttention)?;
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
fn read_back(written: &GgufConfig, source: &Source) -> Result<AutoConfig> {
    let tensor = |name: &str| GgufTensorInfo {
        name: name.to_owned(),
        shape: Vec::new(),
        ggml_type: 0,
        offset: 0,
    };
    let tensors = [
        ("output.weight", !source.config.tie_word_embeddings()),
        ("blk.0.attn_q.bias", source.is_set("attention_bias")),
        ("blk.0.ffn_gate.bias", source.is_set("mlp_bias")),
    ];
    let there = tensors.iter().filter(|(_, there)| *there);
    let header = GgufHeader {
        version: 3,
        metadata: written.metadata.iter().cloned().collect::<BTreeMap<_, _>>(),
        tensors: there.map(|(name, _)| tensor(name)).collect(),
        data_offset: 0,
    };
    let mut object = crate::gguf_config::to_object(&header)?;
    if let Some(divisors) = &written.rope_divisors {
        set_rope_divisors(&mut object, divisors);
    }
    let read = AutoConfig::from_value(object.into())?;
    match read.model_type() {
        "llama" => AutoConfig::from_typed(&read.typed::<LlamaConfig>()?),
        "qwen2" => AutoConfig::from_typed(&read.typed::<Qwen2Config>()?),
        "qwen3" => AutoConfig::from_typed(&read.typed::<Qwen3Config>()?),
        _ => AutoConfig::from_typed(&read.typed::<Gemma3TextConfig>()?),
    }
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
    let of = |keys: &AutoConfig| keys.tree().clone();
    let defaults = match config.model_type() {
        "llama" => AutoConfig::from_typed(&LlamaConfig::default()),
        "mistral" => AutoConfig::from_typed(&MistralConfig::default()),
        "qwen2" => AutoConfig::from_typed(&Qwen2Config::default()),
        "qwen3" => AutoConfig::from_typed(&Qwen3Config::default()),
        _ => AutoConfig::from_typed(&Gemma3TextConfig::default()),
    };
    let defaults = defaults.as_ref().map(of).unwrap_or_default();
    let mut known = of(config);
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
