//! A tokenizer from the metadata of a GGUF file.
//!
//! The file names the kind of vocabulary (`tokenizer.ggml.model`) and how texts are split before merging
//! (`tokenizer.ggml.pre`), and lists tokens, merges or scores, and special tokens. The rest of the pipeline is not in the
//! file: it is that of the tokenizer class which the reference takes for this kind.

mod pipeline;
mod split;
mod write;

use std::path::Path;

use serde_json::Value;
use tokenizers::models::bpe::Merges;
use tokenizers::{AddedToken, PostProcessorWrapper};
use transformers_config::gguf::{GgufHeader, GgufValue};

use crate::backend;
use crate::chat::ChatTemplates;
use crate::settings::Settings;
use crate::{Result, TokenizationError, Tokenizer, merges, surround};

/// The named special tokens, and the keys that hold their ids.
const SPECIAL_TOKENS: [(&str, &str); 4] = [
    ("bos_token", "tokenizer.ggml.bos_token_id"),
    ("eos_token", "tokenizer.ggml.eos_token_id"),
    ("unk_token", "tokenizer.ggml.unknown_token_id"),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
];

/// A token that is never part of a text, by `tokenizer.ggml.token_type`.
const CONTROL: i64 = 3;
/// A token that is always matched whole.
const USER_DEFINED: i64 = 4;

/// Builds the tokenizer of the file at `path`, whose header was read.
pub(crate) fn tokenizer(header: &GgufHeader, path: &Path) -> Result<Tokenizer> {
    let source = Source { header, path };
    let vocabulary = source.vocabulary()?;
    let mut backend = vocabulary.pipeline().map_err(|reason| {
        source.invalid(
            "tokenizer.ggml.tokens",
            format!("the vocabulary cannot be used: {reason}"),
        )
    })?;
    let added = vocabulary.added_tokens(&backend);
    let settings = source.settings(&vocabulary.tokens, &backend)?;
    let template = source.template(&settings, &backend)?;
    backend
        .add_tokens(added)
        .map(drop)
        .and_then(|()| {
            backend.with_post_processor(Some(template));
            Tokenizer::new(backend::from_tokenizers(backend)?, settings)
        })
        .map_err(|reason| {
            source.invalid(
                "tokenizer.ggml.token_type",
                format!("the added tokens: {reason}"),
            )
        })
}

/// What the file says of its vocabulary, checked.
struct Vocabulary {
    kind: Kind,
    /// By id, as the file spells them.
    tokens: Vec<String>,
    merges: Merges,
    token_types: Vec<i64>,
    /// `tokenizer.ggml.pre`.
    split: Option<String>,
    /// Whether a text begins with a space that is not in it.
    space_prefix: bool,
}

/// The kinds of vocabulary, named by the pipelines around them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Byte-pair encoding on bytes, spelled in the alphabet of GPT-2.
    ByteLevel,
    /// SentencePiece with a space before the text.
    Llama,
    /// As Llama; a text that begins with a space keeps it.
    Phi3,
    /// SentencePiece without a space before the text.
    Gemma,
}

/// A header and the file it is of, for errors.
struct Source<'a> {
    header: &'a GgufHeader,
    path: &'a Path,
}

impl<'a> Source<'a> {
    fn invalid(&self, key: &str, reason: impl Into<String>) -> TokenizationError {
        TokenizationError::InvalidKey {
            path: self.path.to_owned(),
            key: key.to_owned(),
            reason: reason.into(),
        }
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.header.get(key).and_then(GgufValue::as_str)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.header.get(key).and_then(GgufValue::as_bool)
    }

    fn strings(&self, key: &str) -> Option<&'a [String]> {
        self.header.get(key)?.as_array()?.as_strings()
    }

    fn kind(&self) -> Result<Kind> {
        match self.text("tokenizer.ggml.model") {
            Some("gpt2") => Ok(Kind::ByteLevel),
            Some("llama") => Ok(match self.header.architecture() {
                Some("phi3") => Kind::Phi3,
                Some("gemma" | "gemma2" | "gemma3") => Kind::Gemma,
                _ => Kind::Llama,
            }),
            found => Err(self.invalid(
                "tokenizer.ggml.model",
                format!(
                    "{} is not a kind of vocabulary that can be read from a GGUF file; \"gpt2\" and \"llama\" are. Use \
                     the tokenizer.json of the original model",
                    found.map_or("nothing".to_owned(), |found| format!("\"{found}\""))
                ),
            )),
        }
    }

    fn vocabulary(&self) -> Result<Vocabulary> {
        let kind = self.kind()?;
        let tokens = self
            .strings("tokenizer.ggml.tokens")
            .filter(|tokens| !tokens.is_empty() && u32::try_from(tokens.len()).is_ok())
            .ok_or_else(|| {
                self.invalid(
                    "tokenizer.ggml.tokens",
                    "the list of the tokens is missing or empty",
                )
            })?;
        let mut tokens = tokens.to_vec();
        if kind == Kind::Gemma {
            // Runs of spaces are listed as such, and looked up by the sign that stands for a space.
            for token in &mut tokens {
                if token.contains(' ') && token.trim().is_empty() {
                    *token = "▁".repeat(token.chars().count());
                }
            }
        }
        let token_types = self.per_token("tokenizer.ggml.token_type", tokens.len(), |value| {
            value.as_array()?.to_i64s()
        })?;
        Ok(Vocabulary {
            kind,
            merges: self.merges(kind, &tokens)?,
            tokens,
            token_types: token_types.unwrap_or_default(),
            split: self.text("tokenizer.ggml.pre").map(str::to_owned),
            space_prefix: self.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true),
        })
    }

    /// A list with one entry per token; `None` if it is not there.
    fn per_token<T>(
        &self,
        key: &str,
        tokens: usize,
        read: impl Fn(&GgufValue) -> Option<Vec<T>>,
    ) -> Result<Option<Vec<T>>> {
        let Some(value) = self.header.get(key) else {
            return Ok(None);
        };
        match read(value) {
            Some(values) if values.len() == tokens => Ok(Some(values)),
            _ => Err(self.invalid(
                key,
                format!("not a list of {tokens} numbers, one per token"),
            )),
        }
    }

    fn merges(&self, kind: Kind, tokens: &[String]) -> Result<Merges> {
        const KEY: &str = "tokenizer.ggml.merges";
        if let Some(merges) = self.strings(KEY) {
            return merges
                .iter()
                .map(|merge| {
                    let (left, right) = merge.split_once(' ')?;
                    (!right.contains(' ')).then(|| (left.to_owned(), right.to_owned()))
                })
                .collect::<Option<_>>()
                .ok_or_else(|| {
                    self.invalid(KEY, "a merge is not two tokens with a space between")
                });
        }
        if kind == Kind::Gemma {
            // Its scores do not follow the order of its merges; the order of its tokens does.
            let scores: Vec<f64> = (0..tokens.len()).map(|id| -(id as f64)).collect();
            return Ok(merges::from_scores(tokens, &scores));
        }
        let scores = self.per_token("tokenizer.ggml.scores", tokens.len(), |value| {
            value.as_array()?.to_f64s()
        })?;
        let scores = scores.ok_or_else(|| {
            self.invalid(
                KEY,
                "there are neither merges nor `tokenizer.ggml.scores` to find them by",
            )
        })?;
        Ok(merges::from_scores(tokens, &scores))
    }

    fn settings(&self, tokens: &[String], backend: &tokenizers::Tokenizer) -> Result<Settings> {
        let mut settings = Settings::default();
        for (name, key) in SPECIAL_TOKENS {
            let Some(value) = self.header.get(key) else {
                continue;
            };
            let id = value.as_u64().and_then(|id| usize::try_from(id).ok());
            let token = id.and_then(|id| tokens.get(id)).ok_or_else(|| {
                self.invalid(
                    key,
                    format!(
                        "{value:?} is not the id of one of the {} tokens",
                        tokens.len()
                    ),
                )
            })?;
            if backend.token_to_id(token).is_some() {
                settings.name_token(name, AddedToken::from(token.clone(), true));
            }
            settings
                .values
                .insert(name.to_owned(), token.clone().into());
        }
        settings.values.insert(
            "tokenizer_class".to_owned(),
            Value::from("TokenizersBackend"),
        );
        if let Some(template) = self.text("tokenizer.chat_template") {
            settings.chat_templates = ChatTemplates::single(template.to_owned());
        }
        Ok(settings)
    }

    /// What is put around a text: nothing, or the tokens that begin and end one.
    fn template(
        &self,
        settings: &Settings,
        backend: &tokenizers::Tokenizer,
    ) -> Result<PostProcessorWrapper> {
        // SentencePiece vocabularies of before there was this flag begin a text with their token.
        let sentencepiece = self.kind()? != Kind::ByteLevel;
        let flag = |key, default| self.flag(key).unwrap_or(default);
        let token = |name, wanted: bool| {
            let token = settings.special_tokens.get(name).filter(|_| wanted)?;
            Some((token.clone(), backend.token_to_id(token)?))
        };
        let bos = token(
            "bos_token",
            flag("tokenizer.ggml.add_bos_token", sentencepiece),
        );
        let eos = token("eos_token", flag("tokenizer.ggml.add_eos_token", false));
        surround::bos_eos(bos, eos)
            .map_err(|reason| self.invalid("tokenizer.ggml.add_bos_token", reason.to_string()))
    }
}
