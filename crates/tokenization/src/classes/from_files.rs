//! A class with the vocabulary of files.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{AddedToken, PostProcessorWrapper};
use transformers_hub::{HubOptions, ModelFiles, ModelSource};

use super::build::Builder;
use super::{TokenizerClass, Vocabulary};
use crate::model_file::Words;
use crate::sentencepiece::proto::read_model;
use crate::settings::Settings;
use crate::{Result, TokenizationError, Tokenizer, files, generate_merges};

/// What a class takes of a `tokenizer.json`; how texts are changed, split and decoded it says itself.
#[derive(Deserialize)]
struct Pipeline {
    model: Words,
    #[serde(default)]
    normalizer: Value,
    post_processor: Option<PostProcessorWrapper>,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

/// The character map of a normaliser, in base64.
fn map_of(normalizer: &Value) -> Option<String> {
    let parts = normalizer["normalizers"].as_array().into_iter().flatten();
    let maps = std::iter::once(normalizer)
        .chain(parts)
        .filter_map(|part| part["precompiled_charsmap"].as_str());
    maps.map(str::to_owned).next()
}

/// Reads `vocab` by its name: a `tokenizer.json`, a JSON object of ids, a SentencePiece model, or a token per line.
pub(super) fn tokenizer(
    class: TokenizerClass,
    vocab: &Path,
    merges: Option<&Path>,
    settings: Settings,
) -> Result<Tokenizer> {
    let invalid = |path: &Path, reason: String| TokenizationError::InvalidFile {
        path: path.to_owned(),
        reason,
    };
    let mut builder = Builder::new(class).settings(settings);
    let name = vocab.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    builder = match vocab.extension().and_then(|extension| extension.to_str()) {
        // `tokenizer.model`, or `tokenizer.model.v3`
        _ if name.ends_with(".model") || name.contains(".model.") => {
            let proto =
                read_model(&files::read(vocab)?).map_err(|reason| invalid(vocab, reason))?;
            builder.sentencepiece(class, &proto)
        }
        _ if name == "tokenizer.json" => {
            let read = serde_json::from_slice(&files::read(vocab)?);
            let file: Pipeline = read.map_err(|error| invalid(vocab, error.to_string()))?;
            let (words, merges) = file.model.vocabulary();
            builder
                .vocab(words, merges)
                .map(map_of(&file.normalizer))
                .pipeline(file.post_processor, file.added_tokens)
        }
        Some("json") => {
            let ids: HashMap<String, u32> =
                serde_json::from_slice(&files::read(vocab)?).map_err(|error| {
                    invalid(vocab, format!("not an object from token to id: {error}"))
                })?;
            let merges = match merges {
                Some(path) => read_merges(path)?,
                None if class.definition.model_type() == "BPE" => {
                    let special = class.definition.special_tokens.values();
                    let special: Vec<&str> = special.map(String::as_str).collect();
                    generate_merges(&ids, None, &special)
                }
                None => Vec::new(),
            };
            builder.vocab(Vocabulary::Ids(ids), merges)
        }
        _ => {
            let text = files::read_text(vocab)?;
            // A token that is listed twice counts where it stands last, as in the reference.
            let ids = text.lines().map(str::to_owned).zip(0..).collect();
            builder.vocab(Vocabulary::Ids(ids), Vec::new())
        }
    };
    builder.build().map_err(|error| match error {
        TokenizationError::InvalidVocabulary(reason) => invalid(vocab, reason),
        other => other,
    })
}

/// A merge per line; a first line may name the version.
fn read_merges(path: &Path) -> Result<Vec<(String, String)>> {
    let text = files::read_text(path)?;
    let lines = (1usize..).zip(text.lines());
    let lines = lines.filter(|(_, line)| !line.starts_with("#version") && !line.is_empty());
    lines
        .map(|(number, line)| {
            let (left, right) = line.split_once(' ').ok_or(number)?;
            Ok((left.to_owned(), right.to_owned()))
        })
        .collect::<Result<_, usize>>()
        .map_err(|number| TokenizationError::InvalidFile {
            path: path.to_owned(),
            reason: format!("line {number} is not two tokens with a space between"),
        })
}

impl TokenizerClass {
    /// The tokenizer of a model as Python's class builds it, for ids like Python's where that does not follow the files: of
    /// `tokenizer.json` the vocabulary, the merges, the character map, the added tokens and what is put around texts are
    /// taken; how texts are changed, split and decoded is the class's own. Without that file it is
    /// [`AutoTokenizer`](crate::AutoTokenizer)'s.
    ///
    /// ```no_run
    /// use transformers_tokenization::LlamaTokenizer;
    ///
    /// let tokenizer = LlamaTokenizer::class().from_pretrained("meta-llama/Llama-2-7b-hf")?;
    /// # Ok::<(), transformers_tokenization::TokenizationError>(())
    /// ```
    pub fn from_pretrained(&self, source: impl Into<ModelSource>) -> Result<Tokenizer> {
        let files = ModelFiles::resolve(source, &HubOptions::default())?;
        match files.find("tokenizer.json")? {
            Some(path) => self.with_settings(&path, None, Settings::from_files(&files)?),
            None => crate::AutoTokenizer::from_files(&files),
        }
    }

    /// The name of the reference's class for this type of model.
    pub(crate) fn name_of_model_type(model_type: &str) -> Option<&'static str> {
        static CLASSES: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
            serde_json::from_str(include_str!("model_types.json")).expect("the table is valid")
        });
        CLASSES.get(model_type).map(String::as_str)
    }

    /// Whether the class of this name is a program in the reference, which no definition here stands for.
    pub(crate) fn is_coded(name: &str) -> bool {
        static CODED: LazyLock<Vec<String>> = LazyLock::new(|| {
            serde_json::from_str(include_str!("coded.json")).expect("the list is valid")
        });
        CODED.iter().any(|coded| coded == name)
    }

    /// Whether the vocabulary may come from a SentencePiece model.
    pub(crate) fn reads_sentencepiece(&self) -> bool {
        matches!(self.definition.model_type(), "BPE" | "Unigram")
            && self.file().is_none_or(|file| file.ends_with(".model"))
    }

    /// The usual name of its vocabulary's file.
    pub(crate) fn file(&self) -> Option<&'static str> {
        self.definition.file.as_deref()
    }

    pub(crate) fn with_settings(
        &self,
        vocab: &Path,
        merges: Option<&Path>,
        settings: Settings,
    ) -> Result<Tokenizer> {
        tokenizer(*self, vocab, merges, settings)
    }
}
