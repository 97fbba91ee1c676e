//! The model that is part of the library.

use std::fs;

use tempfile::TempDir;
use transformers_hub::{EMBEDDED, HubOptions, ModelFiles};

cases![unpacked_whole, mended];

const NAMES: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
];

fn resolve(cache: &TempDir) -> ModelFiles {
    let options = HubOptions {
        cache_dir: Some(cache.path().into()),
        local_files_only: true,
        ..HubOptions::default()
    };
    ModelFiles::resolve(EMBEDDED, &options).unwrap()
}

fn unpacked_whole() {
    let cache = TempDir::new().unwrap();
    let files = resolve(&cache);
    assert_eq!(files.list().unwrap(), NAMES);
    let config = files.require("config.json").unwrap();
    assert!(config.starts_with(cache.path()));
    let size: u64 = (NAMES.iter())
        .map(|name| fs::metadata(files.require(name).unwrap()).unwrap().len())
        .sum();
    assert!(
        size <= 4_000_000,
        "{size} bytes are carried by every program"
    );
}

fn mended() {
    let cache = TempDir::new().unwrap();
    let weights = resolve(&cache).require("model.safetensors").unwrap();
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, &whole[..1000]).unwrap();
    let again = resolve(&cache).require("model.safetensors").unwrap();
    assert!(fs::read(again).unwrap() == whole);
}
