//! A class with the vocabulary of files.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use super::build::Builder;
use super::{TokenizerClass, Vocabulary};
use crate::sentencepiece::proto::read_model;
use crate::settings::Settings;
use crate::{Result, TokenizationError, Tokenizer, files, generate_merges};

/// Reads `vocab` by its name: a JSON object of ids, a SentencePiece model, or a token per line.
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
    /// The class of this type of model.
    pub(crate) fn of_model_type(model_type: &str) -> Option<Self> {
        static CLASSES: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
            serde_json::from_str(include_str!("model_types.json")).expect("the table is valid")
        });
        Self::named(CLASSES.get(model_type)?)
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
