//! Finds the tokenizer among a model's files.

use std::path::Path;

use transformers_config::gguf::GgufHeader;
use transformers_hub::{HubOptions, ModelFiles, ModelSource};

use crate::settings::Settings;
use crate::{Result, TokenizationError, Tokenizer, gguf};

/// Forms of tokenizers that are recognised, so that the error can name them, and not read.
const OTHER_FORMS: [&str; 7] = [
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "tiktoken.model",
    "vocab.json",
    "vocab.txt",
];

/// Reads tokenizers from model files.
#[derive(Debug)]
pub struct AutoTokenizer;

impl AutoTokenizer {
    /// Reads the tokenizer of a folder, a `.gguf` file or a hub repository.
    pub fn from_pretrained(source: impl Into<ModelSource>) -> Result<Tokenizer> {
        Self::from_pretrained_with(source, &HubOptions::default())
    }

    /// As [`AutoTokenizer::from_pretrained`], with options for where files come from.
    pub fn from_pretrained_with(
        source: impl Into<ModelSource>,
        options: &HubOptions,
    ) -> Result<Tokenizer> {
        Self::from_files(&ModelFiles::resolve(source, options)?)
    }

    /// Reads the tokenizer among these files: `tokenizer.json` exactly as it is written, with the settings beside it, or
    /// the metadata of a GGUF file.
    pub fn from_files(files: &ModelFiles) -> Result<Tokenizer> {
        if let Some(path) = files.find("tokenizer.json")? {
            return from_json(&path, files);
        }
        if let Some(path) = files.gguf()? {
            return Self::from_gguf(&GgufHeader::open(&path)?, &path);
        }
        let mut found = None;
        for name in OTHER_FORMS {
            if files.find(name)?.is_some() {
                found = Some(name);
                break;
            }
        }
        Err(TokenizationError::NoTokenizer {
            source_name: files.source().to_string(),
            found,
        })
    }

    /// Builds the tokenizer of the GGUF file at `path`, whose header was read.
    pub fn from_gguf(header: &GgufHeader, path: &Path) -> Result<Tokenizer> {
        gguf::tokenizer(header, path)
    }
}

fn from_json(path: &Path, files: &ModelFiles) -> Result<Tokenizer> {
    let bytes = std::fs::read(path).map_err(|source| TokenizationError::Io {
        operation: "reading",
        path: path.to_owned(),
        source,
    })?;
    let settings = Settings::from_files(files)?;
    tokenizers::Tokenizer::from_bytes(bytes)
        .and_then(|backend| Tokenizer::new(backend, settings))
        .map_err(|error| TokenizationError::InvalidFile {
            path: path.to_owned(),
            reason: format!("not a tokenizer that can be read: {error}; fetch the file again"),
        })
}
