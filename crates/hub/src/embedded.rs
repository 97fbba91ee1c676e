//! The small model that is part of the library, so that a first try needs neither a download nor a network.
//!
//! It is a folder in Hugging Face layout, written by the project's own trainer; `docs/examples/embedded` says how it is
//! made. Readers want paths, so it is unpacked once, beside the cache.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::replace;
use crate::settings::Settings;
use crate::{HubError, HubOptions};

/// What names the model on a command line. A hub repository of this name would be `embedded@main`.
pub const EMBEDDED: &str = "embedded";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../model/", $name)).as_slice())),*]
    };
}

const FILES: [(&str, &[u8]); 5] = files![
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// The folder that holds the model, unpacked if need be.
pub(crate) fn folder(options: &HubOptions) -> Result<PathBuf, HubError> {
    let beside_cache = Settings::new(options).map(|settings| settings.cache);
    beside_cache
        .and_then(|cache| unpack(&cache.join("embedded")))
        .or_else(|_| unpack(&std::env::temp_dir().join("transformers-embedded")))
}

/// Writes what is not there, or not as it should be.
fn unpack(folder: &Path) -> Result<PathBuf, HubError> {
    fs::create_dir_all(folder).map_err(HubError::io(folder))?;
    for (name, bytes) in FILES {
        let path = folder.join(name);
        if !fs::read(&path).is_ok_and(|found| found == bytes) {
            replace(&path, |path| fs::write(path, bytes)).map_err(HubError::io(&path))?;
        }
    }
    Ok(folder.to_owned())
}
