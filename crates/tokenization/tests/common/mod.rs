//! What the test files share: golden files and random ids.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use transformers_config::gguf::GgufHeader;
use transformers_tokenization::{AutoTokenizer, Tokenizer};

pub const FOLDERS: [&str; 3] = ["byte_level", "word_piece", "sentence_piece"];

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

pub fn read<T: DeserializeOwned>(name: &str) -> T {
    let text = std::fs::read_to_string(golden(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub fn tokenizer(folder: &str) -> Tokenizer {
    AutoTokenizer::from_pretrained(golden(folder)).unwrap()
}

pub fn gguf(name: &str) -> GgufHeader {
    GgufHeader::open(&golden(name)).unwrap()
}

/// The committed SentencePiece models, and those of a folder that is named by hand.
pub fn sentencepiece_models() -> Vec<PathBuf> {
    let more = std::env::var_os("SENTENCEPIECE_GOLDEN").map(PathBuf::from);
    let folders = [Some(golden("sentencepiece")), more];
    let entries = folders
        .iter()
        .flatten()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut models: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "model")
        })
        .collect();
    models.sort();
    assert!(models.len() >= 10);
    models
}

pub fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A small generator, so that the random cases are the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
