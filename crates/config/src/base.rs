//! What every configuration has, whatever the family.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::generation::GENERATION_KEYS;
use crate::{Result, json};

/// A family's typed configuration: v5 names, the reference's defaults (by `#[serde(default)]` on the struct and its
/// `Default`), and a [`BaseConfig`] flattened into it, which keeps unknown keys.
///
/// What depends on other fields (a head's size, the layers' types) is an `Option` with an accessor that answers in any
/// case, so that a configuration written as a struct literal works like one from a file.
pub trait ModelConfig:
    Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
    /// `model_type` in `config.json`.
    const MODEL_TYPE: &'static str;

    /// Model types whose `text_config` is a configuration of this family.
    const WRAPPERS: &'static [&'static str] = &[];

    /// Fields that are named like generation parameters and stay in `config.json` all the same.
    const GENERATION_FIELDS: &'static [&'static str] = &[];

    /// Brings the keys that older releases wrote into today's form, before parsing. Must be idempotent.
    fn standardize(raw: &mut Map<String, Value>) -> Result<()> {
        let _ = raw;
        Ok(())
    }

    /// Refuses what cannot be a model: sizes of zero, heads that do not divide, a list of the wrong length.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Fills the fields that depend on others, as the reference does before it saves. Called after [`Self::validate`].
    fn complete(&mut self) {}

    /// Reads a configuration: [`standardize`](Self::standardize), parse, [`validate`](Self::validate),
    /// [`complete`](Self::complete).
    fn from_object(mut raw: Map<String, Value>) -> Result<Self> {
        Self::standardize(&mut raw)?;
        let mut config: Self = json::typed(Value::Object(raw))?;
        config.validate()?;
        config.complete();
        Ok(config)
    }
}

/// The fields that the reference's base class has, to be flattened into each family's struct.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BaseConfig {
    /// The classes that the weights were saved from, for instance `LlamaForCausalLM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architectures: Option<Vec<String>>,
    /// The dtype of the weights, for instance `bfloat16`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "dtype")]
    pub dtype: Option<String>,
    /// The labels of a classifier by their number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id2label: Option<BTreeMap<String, String>>,
    /// The numbers of a classifier's labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label2id: Option<BTreeMap<String, usize>>,
    /// What a classifier's labels are; if null, the labels say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem_type: Option<ProblemType>,
    /// Keys that this library does not know, kept as they are and written back.
    #[serde(flatten, deserialize_with = "unknown_keys")]
    pub extra: Map<String, Value>,
}

/// What a classifier's labels are, and so its loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemType {
    /// Numbers: mean squared error.
    Regression,
    /// One of several classes: cross-entropy.
    SingleLabelClassification,
    /// Several of several classes: binary cross-entropy for each.
    MultiLabelClassification,
}

impl BaseConfig {
    /// The number of a classifier's labels, 2 if nothing says otherwise.
    pub fn num_labels(&self) -> usize {
        let stated = || self.extra.get("num_labels")?.as_u64()?.try_into().ok();
        self.id2label
            .as_ref()
            .map(BTreeMap::len)
            .or_else(stated)
            .unwrap_or(2)
    }

    /// The name of the label with number `id`.
    pub fn label(&self, id: usize) -> String {
        let name = self
            .id2label
            .as_ref()
            .and_then(|labels| labels.get(&id.to_string()));
        name.cloned().unwrap_or_else(|| format!("LABEL_{id}"))
    }
}

/// One token id or a list of them, as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum TokenIds {
    /// A plain number.
    One(u32),
    /// A list.
    Many(Vec<u32>),
}

impl TokenIds {
    /// The ids.
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

impl From<u32> for TokenIds {
    fn from(id: u32) -> Self {
        Self::One(id)
    }
}

impl From<Vec<u32>> for TokenIds {
    fn from(ids: Vec<u32>) -> Self {
        Self::Many(ids)
    }
}

/// Reads a token id; configurations on the Hub say -1 for "there is none". For `#[serde(deserialize_with)]`.
pub fn token_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let id = Option::<i64>::deserialize(deserializer)?;
    id.filter(|&id| id >= 0).map(to_id).transpose()
}

/// Reads one token id or a list; negative ones are dropped. For `#[serde(deserialize_with)]`.
pub fn token_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TokenIds>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a token id or a list of token ids")]
    enum Ids {
        One(i64),
        Many(Vec<i64>),
    }
    Ok(match Option::<Ids>::deserialize(deserializer)? {
        Some(Ids::One(id)) if id >= 0 => Some(TokenIds::One(to_id(id)?)),
        Some(Ids::Many(ids)) => {
            let ids = ids.into_iter().filter(|&id| id >= 0).map(to_id);
            Some(TokenIds::Many(ids.collect::<Result<_, _>>()?))
        }
        _ => None,
    })
}

fn to_id<E: serde::de::Error>(id: i64) -> Result<u32, E> {
    id.try_into()
        .map_err(|_| E::custom(format_args!("{id} is too large for a token id")))
}

/// The name of a dtype; where parts of a model differ, that of the rest.
pub(crate) fn dtype_name(dtype: &Value) -> Option<&str> {
    match dtype {
        Value::String(name) => Some(name),
        Value::Object(parts) => parts.get("")?.as_str(),
        _ => None,
    }
}

fn dtype<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    match (&value, dtype_name(&value)) {
        (_, Some(name)) => Ok(Some(name.to_owned())),
        (Value::Null | Value::Object(_), None) => Ok(None),
        _ => Err(D::Error::custom(format_args!(
            "expected the name of a dtype, found {value}"
        ))),
    }
}

/// Keys that say how an object was made, and are not written back.
pub(crate) const PRIVATE_KEYS: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_attn_implementation_internal",
    "_auto_class",
    "_commit_hash",
    "_experts_implementation",
    "_experts_implementation_internal",
    "_is_quantized",
    "_name_or_path",
    "attn_implementation",
    "experts_implementation",
    "name_or_path",
    "transformers_version",
];

/// What no field took, without generation parameters: those belong to the generation configuration.
fn unknown_keys<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Map<String, Value>, D::Error> {
    let mut keys = Map::deserialize(deserializer)?;
    keys.retain(|key, _| {
        let key = key.as_str();
        key != "model_type" && !GENERATION_KEYS.contains(&key) && !PRIVATE_KEYS.contains(&key)
    });
    Ok(keys)
}
