//! The files that describe a sentence-transformers model: `modules.json`, and what lies in the folders it names.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use transformers_hub::ModelFiles;

use crate::PipelineError;

/// Where the settings of the Transformer module are; former releases named the file by the model's type.
const TRANSFORMER_CONFIGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Reads the JSON file at `path`.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, PipelineError> {
    let path = || path.to_path_buf();
    let text = fs::read_to_string(path()).map_err(|source| PipelineError::Io {
        path: path(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|source| PipelineError::Json {
        path: path(),
        source,
    })
}

/// Reads the file `name` of the model, if it is there.
pub(crate) fn find_json<T: DeserializeOwned>(
    files: &ModelFiles,
    name: &str,
) -> Result<Option<T>, PipelineError> {
    files.find(name)?.map(|path| read_json(&path)).transpose()
}

/// What one entry of `modules.json` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Transformer,
    Pooling,
    Dense,
    Normalize,
}

#[derive(Debug, Deserialize)]
struct Entry {
    path: String,
    /// A Python class; where it lives changes between releases, its name does not.
    r#type: String,
}

/// The modules of a model: a Transformer, a Pooling, and what follows them.
#[derive(Debug)]
pub(crate) struct Modules {
    /// The folder of the model itself, empty for the model's own.
    pub transformer: String,
    pub pooling: String,
    /// Dense and Normalize modules with their folders, in order.
    pub rest: Vec<(Kind, String)>,
}

impl Modules {
    /// Reads `modules.json`; `None` where the model has none.
    pub fn find(files: &ModelFiles) -> Result<Option<Self>, PipelineError> {
        let Some(path) = files.find("modules.json")? else {
            return Ok(None);
        };
        let entries: Vec<Entry> = read_json(&path)?;
        let mut modules = Self {
            transformer: String::new(),
            pooling: String::new(),
            rest: Vec::new(),
        };
        for (index, entry) in entries.iter().enumerate() {
            let (kind, folder) = (entry.kind(&path)?, entry.path.clone());
            match (index, kind) {
                (0, Kind::Transformer) => modules.transformer = folder,
                (1, Kind::Pooling) => modules.pooling = folder,
                (2.., Kind::Dense | Kind::Normalize) => modules.rest.push((kind, folder)),
                _ => return Err(entry.error(&path, "is not in its place")),
            }
        }
        match entries.len() {
            0 | 1 => Err(PipelineError::Modules {
                path,
                module: "Pooling".to_owned(),
                problem: "is missing",
            }),
            _ => Ok(Some(modules)),
        }
    }
}

impl Entry {
    fn kind(&self, path: &Path) -> Result<Kind, PipelineError> {
        match self.r#type.rsplit('.').next().unwrap_or_default() {
            "Transformer" => Ok(Kind::Transformer),
            "Pooling" => Ok(Kind::Pooling),
            "Dense" => Ok(Kind::Dense),
            "Normalize" => Ok(Kind::Normalize),
            _ => Err(self.error(path, "is not known")),
        }
    }

    fn error(&self, path: &Path, problem: &'static str) -> PipelineError {
        PipelineError::Modules {
            path: path.to_path_buf(),
            module: self.r#type.clone(),
            problem,
        }
    }
}

/// Settings of the Transformer module.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct TransformerConfig {
    /// Longer texts are truncated, special tokens included in the count.
    pub max_seq_length: Option<usize>,
    #[serde(default)]
    pub do_lower_case: bool,
}

impl TransformerConfig {
    /// Reads the file in `folder`, under whichever name it is there.
    pub fn find(files: &ModelFiles, folder: &str) -> Result<Self, PipelineError> {
        for name in TRANSFORMER_CONFIGS {
            if let Some(config) = find_json(files, &inside(folder, name))? {
                return Ok(config);
            }
        }
        Ok(Self::default())
    }
}

/// Settings of the whole model.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ModelConfig {
    #[serde(default)]
    pub prompts: Map<String, Value>,
    pub default_prompt_name: Option<String>,
    pub similarity_fn_name: Option<String>,
}

impl ModelConfig {
    pub const FILE: &str = "config_sentence_transformers.json";
}

/// The name of the file `name` in a module's `folder`.
pub(crate) fn inside(folder: &str, name: &str) -> String {
    match folder.trim_end_matches('/') {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    }
}
