//! `model.safetensors.index.json`: which shard of a checkpoint holds which tensor.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Component, Path};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use crate::{DType, Result, WeightsError};

/// As many as the header of a file may have.
const MAX_INDEX_BYTES: u64 = 100_000_000;

/// A parsed index, of which every file name stays inside the folder.
#[derive(Debug)]
pub(crate) struct ShardIndex {
    /// Tensor to file.
    pub(crate) weight_map: BTreeMap<String, String>,
    /// The dtype that it says the model has.
    pub(crate) dtype: Option<DType>,
}

#[derive(serde::Deserialize)]
struct RawIndex {
    weight_map: WeightMap,
    #[serde(default)]
    metadata: Value,
}

struct WeightMap(BTreeMap<String, String>);

impl ShardIndex {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let io = |source| WeightsError::io("reading", path, source);
        let len = fs::metadata(path).map_err(io)?.len();
        if len > MAX_INDEX_BYTES {
            let reason = format!("it has {len} bytes, of which {MAX_INDEX_BYTES} are allowed");
            return Err(index_error(path, "index", reason));
        }
        let text = fs::read(path).map_err(io)?;
        let index: RawIndex = serde_json::from_slice(&text)
            .map_err(|error| index_error(path, "index", error.to_string()))?;
        let weight_map = index.weight_map.0;
        if weight_map.is_empty() {
            return Err(index_error(path, "`weight_map`", "it is empty".into()));
        }
        for (tensor, file) in &weight_map {
            if !stays_inside(file) {
                return Err(index_error(
                    path,
                    &format!("tensor `{tensor}`"),
                    format!("its file `{file}` is not a file inside the model's folder"),
                ));
            }
        }
        let dtype = index.metadata.get("dtype").and_then(Value::as_str);
        let dtype =
            dtype.and_then(|name| DType::from_name(name.strip_prefix("torch.").unwrap_or(name)));
        Ok(Self { weight_map, dtype })
    }

    /// The files, each once, in the order of their names.
    pub(crate) fn files(&self) -> Vec<&str> {
        let mut files: Vec<&str> = self.weight_map.values().map(String::as_str).collect();
        files.sort_unstable();
        files.dedup();
        files
    }
}

/// Only plain components, in any system's notation: the same index is refused everywhere.
fn stays_inside(file: &str) -> bool {
    let path = Path::new(file);
    !file.is_empty()
        && !file.contains(['\\', ':', '\0'])
        && path
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

/// A [`WeightsError::Index`].
pub(crate) fn index_error(path: &Path, what: &str, reason: String) -> WeightsError {
    WeightsError::Index {
        path: path.to_owned(),
        what: what.to_owned(),
        reason,
    }
}

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapVisitor;
        impl<'de> Visitor<'de> for MapVisitor {
            type Value = WeightMap;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of file names")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut files = BTreeMap::new();
                while let Some((tensor, file)) = map.next_entry::<String, String>()? {
                    if files.contains_key(&tensor) {
                        return Err(A::Error::custom(format!(
                            "tensor `{tensor}` is there twice"
                        )));
                    }
                    files.insert(tensor, file);
                }
                Ok(WeightMap(files))
            }
        }
        deserializer.deserialize_map(MapVisitor)
    }
}
