//! The metadata of a GGUF file as the `config.json` that the model had before it was converted.
//!
//! Keys: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. What a converter leaves out (gemma3's pattern of
//! layers and local rope base, for instance) is the family's default, as it is in llama.cpp.

pub(crate) mod architectures;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::checks::{self, MAX_HEAD_DIM};
use crate::gguf::{GgufArray, GgufHeader, GgufValue};
use crate::{ConfigError, Result};
use architectures::{ARCHITECTURES, Architecture, Key, TIED};

/// Divisors of the rope frequencies, one per pair of values.
const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// The same for short and for long texts.
const LONGROPE_FACTORS: [(&str, &str); 2] = [
    ("short_factor", "rope_factors_short.weight"),
    ("long_factor", "rope_factors_long.weight"),
];

/// The tree of the `config.json`.
pub(crate) fn to_object(header: &GgufHeader) -> Result<Map<String, Value>> {
    let name = header
        .architecture()
        .ok_or_else(|| missing("general.architecture"))?;
    let source = Source {
        header,
        architecture: name,
    };
    let known = ARCHITECTURES.iter().find(|known| known.name == name);
    source.config(known.ok_or_else(|| source.unsupported(name))?)
}

/// Puts what the rope frequencies are divided by into `config`, if the file at `path` says so by tensors: the factors of
/// `longrope`, or divisors that a converter computed from the `llama3` parameters, which cannot be recovered; one divisor
/// per frequency is what `longrope` does.
pub(crate) fn read_rope_divisors(
    path: &Path,
    header: &GgufHeader,
    config: &mut Map<String, Value>,
) -> Result<()> {
    if let Some(divisors) = floats(path, header, ROPE_DIVISORS)? {
        set_rope_divisors(config, &divisors);
    }
    let original = config.get("original_max_position_embeddings").cloned();
    for (key, tensor) in LONGROPE_FACTORS {
        if let Some(factors) = floats(path, header, tensor)?
            && let Some(rope) = rope_parameters(config)
        {
            rope.insert("rope_type".into(), "longrope".into());
            rope.insert(key.into(), json!(factors));
            rope.extend(
                original
                    .clone()
                    .map(|length| ("original_max_position_embeddings".to_owned(), length)),
            );
        }
    }
    Ok(())
}

/// The values of a tensor that is a short list of f32.
fn floats(path: &Path, header: &GgufHeader, name: &str) -> Result<Option<Vec<f32>>> {
    const F32: u32 = 0;
    let Some(tensor) = header.tensor(name) else {
        return Ok(None);
    };
    let invalid = |reason: &str| ConfigError::GgufInvalid {
        what: format!("tensor `{name}`"),
        reason: reason.into(),
    };
    let (&[count], F32) = (tensor.shape.as_slice(), tensor.ggml_type) else {
        return Err(invalid("it is not a list of f32"));
    };
    if count > MAX_HEAD_DIM / 2 {
        return Err(invalid("it is longer than half of any head"));
    }
    let start = header
        .data_offset
        .checked_add(tensor.offset)
        .ok_or_else(|| invalid("its offset overflows"))?;
    let mut bytes = vec![0; count * size_of::<f32>()];
    let mut file = File::open(path).map_err(ConfigError::reading)?;
    file.seek(SeekFrom::Start(start))
        .map_err(ConfigError::reading)?;
    file.read_exact(&mut bytes).map_err(ConfigError::reading)?;
    let (values, _) = bytes.as_chunks();
    Ok(Some(
        values
            .iter()
            .map(|&value| f32::from_le_bytes(value))
            .collect(),
    ))
}

/// Puts the divisors into `config` that `rope_freqs.weight` holds.
pub(crate) fn set_rope_divisors(config: &mut Map<String, Value>, divisors: &[f32]) {
    if let Some(rope) = rope_parameters(config) {
        rope.insert("rope_type".into(), "longrope".into());
        rope.insert("attention_factor".into(), json!(1.0));
        rope.insert("short_factor".into(), json!(divisors));
        rope.insert("long_factor".into(), json!(divisors));
    }
}

fn rope_parameters(config: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    config.get_mut("rope_parameters")?.as_object_mut()
}

pub(crate) struct Source<'a> {
    header: &'a GgufHeader,
    architecture: &'a str,
}

impl Source<'_> {
    fn config(&self, architecture: &Architecture) -> Result<Map<String, Value>> {
        let mut config = Map::from_iter([
            ("model_type".to_owned(), architecture.model_type.into()),
            ("architectures".to_owned(), json!([architecture.class])),
            ("vocab_size".to_owned(), self.vocab_size()?.into()),
            ("bos_token_id".to_owned(), self.token("bos_token_id").into()),
            ("eos_token_id".to_owned(), self.end_tokens()),
            (
                "pad_token_id".to_owned(),
                self.token("padding_token_id").into(),
            ),
        ]);
        for key in architecture.keys.iter().copied().flatten().chain(&[TIED]) {
            if let Some((name, value)) = self.read(*key)? {
                config.insert(name.to_owned(), value);
            }
        }
        (architecture.rest)(self, &mut config)?;
        Ok(config)
    }

    /// The key of the configuration, and its value if the file says one.
    fn read(&self, key: Key) -> Result<Option<(&'static str, Value)>> {
        Ok(match key {
            Key::Count(name, of) => Some((of, self.u64(name)?.into())),
            Key::EachLayer(name, of) => Some((of, self.count(name)?.into())),
            Key::HeadsOfKeys(of) => {
                let stated = self.header.get(&self.key("attention.head_count_kv"));
                let name = match stated {
                    Some(_) => "attention.head_count_kv",
                    None => "attention.head_count",
                };
                Some((of, self.count(name)?.into()))
            }
            Key::Number(name, of) => Some((of, self.f64(name)?.into())),
            Key::OptionalCount(name, of) => {
                self.optional_u64(name)?.map(|value| (of, value.into()))
            }
            Key::OptionalNumber(name, of) => {
                self.optional_f64(name)?.map(|value| (of, value.into()))
            }
            Key::Switch(name, of) => Some((of, self.is_set(name).into())),
            Key::Has(tensor, of) => Some((of, self.has_tensor(tensor).into())),
            Key::Lacks(tensor, of) => Some((of, (!self.has_tensor(tensor)).into())),
        })
    }

    fn rope(&self, default_theta: f64) -> Result<Value> {
        let theta = self
            .optional_f64("rope.freq_base")?
            .unwrap_or(default_theta);
        let mut rope = Map::from_iter([("rope_theta".to_owned(), json!(theta))]);
        let key = self.key("rope.scaling.type");
        let scaling = match self.header.get(&key) {
            Some(value) => value
                .as_str()
                .ok_or_else(|| unexpected(&key, value, "a name"))?,
            // Before there were types, there was one number for linear scaling.
            None if self
                .optional_f64("rope.scale_linear")?
                .is_some_and(|factor| factor != 1.0) =>
            {
                "linear"
            }
            None => "none",
        };
        let rope_type = match scaling {
            "none" => "default",
            "linear" => {
                let factor = match self.optional_f64("rope.scaling.factor")? {
                    Some(factor) => factor,
                    None => self.f64("rope.scale_linear")?,
                };
                rope.insert("factor".into(), json!(factor));
                "linear"
            }
            "yarn" => {
                self.yarn(&mut rope)?;
                "yarn"
            }
            _ => {
                let reason = format!(
                    "\"{scaling}\" is not supported for this architecture (none, linear and yarn are)"
                );
                return Err(ConfigError::invalid(key, reason));
            }
        };
        rope.insert("rope_type".into(), rope_type.into());
        Ok(rope.into())
    }

    fn yarn(&self, rope: &mut Map<String, Value>) -> Result<()> {
        let factor = self.f64("rope.scaling.factor")?;
        rope.insert("factor".into(), json!(factor));
        if let Some(length) = self.optional_u64("rope.scaling.original_context_length")? {
            rope.insert("original_max_position_embeddings".into(), length.into());
        }
        // ggml multiplies yarn's own factor by this one.
        if let Some(attention) = self.optional_f64("rope.scaling.attn_factor")? {
            rope.insert(
                "attention_factor".into(),
                json!(attention * (1.0 + 0.1 * factor.max(1.0).ln())),
            );
        }
        for (key, name) in [
            ("rope.scaling.yarn_beta_fast", "beta_fast"),
            ("rope.scaling.yarn_beta_slow", "beta_slow"),
        ] {
            if let Some(value) = self.optional_f64(key)? {
                rope.insert(name.into(), json!(value));
            }
        }
        Ok(())
    }

    /// The rows of the embedding, which a padded vocabulary exceeds; without the tensor, what the metadata says.
    fn vocab_size(&self) -> Result<u64> {
        if let Some(&[rows, _]) = self
            .header
            .tensor("token_embd.weight")
            .map(|tensor| tensor.shape.as_slice())
        {
            return Ok(rows as u64);
        }
        if let Some(size) = self.optional_u64("vocab_size")? {
            return Ok(size);
        }
        let key = "tokenizer.ggml.tokens";
        let tokens = self.header.get(key).and_then(GgufValue::as_array);
        tokens
            .map(|tokens| tokens.len() as u64)
            .ok_or_else(|| missing(key))
    }

    /// The end of a text, and the end of a chat's turn where that is another token.
    fn end_tokens(&self) -> Value {
        match (self.token("eos_token_id"), self.token("eot_token_id")) {
            (Some(text), Some(turn)) if text != turn => json!([text, turn]),
            (text, turn) => text.or(turn).into(),
        }
    }

    fn token(&self, name: &str) -> Option<u64> {
        self.header.get(&format!("tokenizer.ggml.{name}"))?.as_u64()
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.header.tensor(name).is_some()
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn u64(&self, name: &str) -> Result<u64> {
        self.optional_u64(name)?
            .ok_or_else(|| missing(&self.key(name)))
    }

    fn optional_u64(&self, name: &str) -> Result<Option<u64>> {
        let key = self.key(name);
        let number = |value: &GgufValue| {
            value
                .as_u64()
                .ok_or_else(|| unexpected(&key, value, "a count"))
        };
        self.header.get(&key).map(number).transpose()
    }

    fn f64(&self, name: &str) -> Result<f64> {
        self.optional_f64(name)?
            .ok_or_else(|| missing(&self.key(name)))
    }

    fn optional_f64(&self, name: &str) -> Result<Option<f64>> {
        let key = self.key(name);
        let number = |value: &GgufValue| {
            value
                .as_f64()
                .ok_or_else(|| unexpected(&key, value, "a number"))
        };
        self.header.get(&key).map(number).transpose()
    }

    /// A number for each layer, given so or as one for all.
    fn per_layer(&self, name: &str) -> Result<Vec<u64>> {
        let key = self.key(name);
        let value = self.header.get(&key).ok_or_else(|| missing(&key))?;
        let layers = self.u64("block_count")?;
        let Some(array) = value.as_array() else {
            checks::layers(usize::try_from(layers).unwrap_or(usize::MAX))?;
            return Ok(vec![self.u64(name)?; layers as usize]);
        };
        let counts = array.to_i64s().unwrap_or_default().into_iter();
        let counts: Vec<u64> = counts
            .map_while(|count| u64::try_from(count).ok())
            .collect();
        match counts.len() as u64 == layers {
            true => Ok(counts),
            false => Err(unexpected(&key, value, "a count for each layer")),
        }
    }

    /// Whether the metadata has a switch, and it is on.
    fn is_set(&self, name: &str) -> bool {
        matches!(
            self.header.get(&self.key(name)),
            Some(GgufValue::Bool(true))
        )
    }

    /// A number that may be given for each layer, if it is the same for all.
    fn count(&self, name: &str) -> Result<u64> {
        let key = self.key(name);
        let value = self.header.get(&key).ok_or_else(|| missing(&key))?;
        let Some(array) = value.as_array() else {
            return self.u64(name);
        };
        match array.to_i64s().as_deref() {
            Some([first, rest @ ..]) if *first >= 0 && rest.iter().all(|other| other == first) => {
                Ok(first.unsigned_abs())
            }
            _ => Err(ConfigError::invalid(
                key,
                "it differs between layers, which this architecture does not support",
            )),
        }
    }

    /// The size of a head: what is stated, or its share of the residual stream.
    fn head_dim(&self) -> Result<u64> {
        let size = match self.optional_u64("attention.key_length")? {
            Some(length) => Some(length),
            None => self
                .u64("embedding_length")?
                .checked_div(self.count("attention.head_count")?),
        };
        size.filter(|&size| size > 0).ok_or_else(|| {
            let key = self.key("attention.head_count");
            ConfigError::invalid(key, "it gives no size of heads")
        })
    }

    fn unsupported(&self, architecture: &str) -> ConfigError {
        let supported: Vec<_> = ARCHITECTURES.iter().map(|known| known.name).collect();
        ConfigError::GgufArchitecture {
            architecture: architecture.into(),
            supported: supported.join(", "),
        }
    }
}

fn missing(key: &str) -> ConfigError {
    ConfigError::invalid(
        key,
        "it is missing in the metadata; convert the model again with a current tool",
    )
}

fn unexpected(key: &str, value: &GgufValue, expected: &str) -> ConfigError {
    let found = match value.as_array().map(GgufArray::len) {
        Some(length) => format!("an array of {length}"),
        None => format!("{value:?}"),
    };
    ConfigError::invalid(key, format!("expected {expected}, found {found}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gguf::GgufTensorInfo;

    fn granite(extra: Option<(&str, GgufValue)>, tensors: &[&str]) -> Result<Map<String, Value>> {
        let counts = [
            ("context_length", 64),
            ("block_count", 2),
            ("embedding_length", 64),
            ("feed_forward_length", 32),
            ("attention.head_count", 4),
            ("vocab_size", 3),
        ];
        let counts = counts.map(|(key, count)| (key, GgufValue::U32(count)));
        let eps = ("attention.layer_norm_rms_epsilon", GgufValue::F32(1e-5));
        let keys = counts.into_iter().chain([eps]).chain(extra);
        let mut metadata: std::collections::BTreeMap<_, _> = keys
            .map(|(key, value)| (format!("granite.{key}"), value))
            .collect();
        let name = GgufValue::String("granite".into());
        metadata.insert("general.architecture".into(), name);
        let tensor = |name: &&str| GgufTensorInfo {
            name: (*name).to_owned(),
            shape: Vec::new(),
            ggml_type: 0,
            offset: 0,
        };
        to_object(&GgufHeader {
            version: 3,
            metadata,
            tensors: tensors.iter().map(tensor).collect(),
            data_offset: 0,
        })
    }

    #[test]
    fn granite_without_a_scale_of_scores_has_the_usual_one() {
        let scale =
            |extra| granite(extra, &[]).map(|config| config["attention_multiplier"].clone());
        assert_eq!(scale(None).ok(), Some(json!(0.25)));
        let stated = ("attention.scale", GgufValue::F32(0.5));
        assert_eq!(scale(Some(stated)).ok(), Some(json!(0.5)));
    }

    #[test]
    fn kin_of_granite_are_refused() {
        let unrotated = ("rope.scaling.finetuned", GgufValue::Bool(false));
        for (extra, tensors, reason) in [
            (Some(unrotated), &[][..], "without rotary positions"),
            (None, &["blk.0.ffn_up_shexp.weight"], "shared expert"),
        ] {
            let error = granite(extra, tensors).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
