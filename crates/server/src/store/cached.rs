//! Models in the hub's cache.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde_json::Value;
use transformers_hub::cache_folder;
use transformers_modeling::{Head, supported};

/// A model that may be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedModel {
    /// Its name in requests.
    pub id: String,
    /// When it came, in seconds since 1970.
    pub created: u64,
}

/// The models in the cache that can write or embed, and each GGUF file as `org/name:file.gguf`.
pub fn list(folder: Option<&Path>) -> Vec<CachedModel> {
    let folder = folder.map(Path::to_path_buf);
    let Some(folder) = folder.or_else(|| cache_folder().ok()) else {
        return Vec::new();
    };
    let mut models = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.strip_prefix("models--"));
        if let Some(name) = name {
            add(&entry.path(), &name.replace("--", "/"), &mut models);
        }
    }
    models.sort_by(|a, b| a.id.cmp(&b.id));
    models
}

fn add(folder: &Path, repo: &str, models: &mut Vec<CachedModel>) {
    let references = fs::read_dir(folder.join("refs"));
    for reference in references.into_iter().flatten().flatten() {
        let Ok(commit) = fs::read_to_string(reference.path()) else {
            continue;
        };
        let snapshot = folder.join("snapshots").join(commit.trim());
        let revision = reference.file_name();
        let id = match revision.to_str() {
            Some("main") => repo.to_owned(),
            Some(revision) => format!("{repo}@{revision}"),
            None => continue,
        };
        let modified = snapshot.metadata().and_then(|metadata| metadata.modified());
        let since = modified
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let created = since.map_or(0, |since| since.as_secs());
        if is_usable(&snapshot) {
            let id = id.clone();
            models.push(CachedModel { id, created });
        }
        for file in fs::read_dir(&snapshot).into_iter().flatten().flatten() {
            let file = file.file_name();
            if let Some(file) = file.to_str().filter(|file| file.ends_with(".gguf")) {
                let id = format!("{id}:{file}");
                models.push(CachedModel { id, created });
            }
        }
    }
}

/// Whether the config names a family that can write or embed, and there are weights.
fn is_usable(snapshot: &Path) -> bool {
    let config = fs::read(snapshot.join("config.json")).ok();
    let config: Option<Value> = config.and_then(|text| serde_json::from_slice(&text).ok());
    let Some(model_type) = config
        .as_ref()
        .and_then(|config| config["model_type"].as_str())
    else {
        return false;
    };
    let heads = supported()
        .into_iter()
        .find(|(name, _)| *name == model_type);
    let useful =
        |head: &Head| matches!(head, Head::CausalLM | Head::Seq2SeqLM | Head::TextEncoding);
    let is_weights = |name: &str| name.ends_with(".safetensors") || name.ends_with(".bin");
    let mut files = fs::read_dir(snapshot).into_iter().flatten().flatten();
    heads.is_some_and(|(_, heads)| heads.iter().any(useful))
        && files.any(|file| file.file_name().to_str().is_some_and(is_weights))
}
