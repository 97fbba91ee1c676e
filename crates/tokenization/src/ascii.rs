//! The short way of a text of ASCII.
//!
//! There one byte is one character, normal forms change nothing, and a lower-case text is as long as it was. So the pieces
//! of the text are ranges of it, while the pipeline of the `tokenizers` crate keeps for each of its steps where every byte
//! came from, which takes longer than finding the tokens. What is not this simple goes the crate's way: other texts, other
//! steps, and texts that hold an added token.

use std::borrow::Cow;

use regex_automata::meta::Regex;
use tokenizers::{Encoding, Model as _, Result};

use crate::backend::{Backend, Model};
use crate::byte_alphabet::BYTE_ALPHABET;
use crate::normalizer::AsciiChanges;
use crate::pre_tokenizer::AsciiSplits;

/// A pipeline as far as texts of ASCII need it.
pub(crate) struct AsciiPath {
    changes: AsciiChanges,
    splits: AsciiSplits,
    added_tokens: Option<Regex>,
}

impl AsciiPath {
    /// `None` where the pipeline has steps that are not simple.
    pub fn new(backend: &Backend) -> Option<Self> {
        let Model::Tokenizers(_) = backend.get_model() else {
            return None;
        };
        let changes = match backend.get_normalizer() {
            Some(normalizer) => normalizer.on_ascii()?,
            None => AsciiChanges::default(),
        };
        let added = backend.get_added_tokens_decoder();
        let added = added.values().map(|token| token.content.as_str());
        Some(Self {
            added_tokens: any_of(added, changes)?,
            splits: backend.get_pre_tokenizer()?.on_ascii()?,
            changes,
        })
    }

    /// The tokens of a text; `None` where it has to go the crate's way.
    pub fn encode(&self, backend: &Backend, text: &str) -> Option<Result<Encoding>> {
        let text = self.changes.apply(text)?;
        let added = self.added_tokens.as_ref();
        if text.is_empty() || added.is_some_and(|added| added.is_match(&*text)) {
            return None;
        }
        self.tokens(backend.get_model(), &text).transpose()
    }

    fn tokens(&self, model: &Model, text: &str) -> Result<Option<Encoding>> {
        let mut tokens = Vec::with_capacity(text.len() / 3);
        for (word, piece) in (0..).zip(self.splits.pieces(text)?) {
            let written = &text[piece.clone()];
            let spelled = match self.splits.bytes_are_spelled {
                true => spelled(written),
                false => Cow::Borrowed(written),
            };
            let mut characters = Characters::new(&spelled);
            for token in model.tokenize(&spelled)? {
                let places = token.offsets;
                let places = (characters.before(places.0), characters.before(places.1));
                // A model that leaves out what it does not know loses its place.
                let (Some(start), Some(end)) = places else {
                    return Ok(None);
                };
                let place = (piece.start + start, piece.start + end);
                tokens.push((token.id, token.value, place, Some(word), 0));
            }
        }
        Ok(Some(tokens.into_iter().collect()))
    }
}

/// Finds any of the added tokens in a changed text; the inner `None` where there are none.
fn any_of<'a>(
    tokens: impl Iterator<Item = &'a str>,
    changes: AsciiChanges,
) -> Option<Option<Regex>> {
    // One that is not ASCII stands in no such text.
    let tokens = tokens.filter(|token| !token.is_empty() && token.is_ascii());
    let tokens = tokens.map(|token| Some(regex::escape(&changes.apply(token)?)));
    let tokens: Vec<String> = tokens.collect::<Option<_>>()?;
    if tokens.is_empty() {
        return Some(None);
    }
    Regex::new(&tokens.join("|")).ok().map(Some)
}

/// Each byte as the character that stands for it in byte-level vocabularies.
fn spelled(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(text);
    }
    let characters = text.bytes().map(|byte| BYTE_ALPHABET[usize::from(byte)]);
    Cow::Owned(characters.collect())
}

/// Counts the characters before places in a text that come from left to right.
struct Characters<'a> {
    rest: &'a str,
    bytes: usize,
    count: usize,
}

impl<'a> Characters<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            bytes: 0,
            count: 0,
        }
    }

    /// `None` where the place is within a character, or left of the last one.
    fn before(&mut self, byte: usize) -> Option<usize> {
        let (passed, rest) = self.rest.split_at_checked(byte.checked_sub(self.bytes)?)?;
        self.bytes += passed.len();
        self.count += passed.chars().count();
        self.rest = rest;
        Some(self.count)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The file of a committed tokenizer, without what is done to its tokens.
    fn file(name: &str) -> Value {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let file = std::fs::read(folder.join(name).join("tokenizer.json"));
        let mut json: Value = serde_json::from_slice(&file.expect("the file")).expect("JSON");
        for key in ["padding", "truncation", "post_processor"] {
            json[key] = Value::Null;
        }
        json
    }

    /// The same with some parts replaced.
    fn backend(name: &str, parts: Value) -> Backend {
        let mut json = file(name);
        for (key, part) in parts.as_object().expect("an object") {
            json[key] = part.clone();
        }
        Backend::from_bytes(json.to_string()).expect("a tokenizer")
    }

    /// One whose vocabulary has no token for some bytes, which it leaves out.
    fn with_gaps() -> Backend {
        let mut json = file("byte_level");
        let vocabulary = json["model"]["vocab"].as_object_mut();
        let vocabulary = vocabulary.expect("a vocabulary");
        for byte in [6, 7, b'~'] {
            let token = BYTE_ALPHABET[usize::from(byte)].to_string();
            assert!(vocabulary.remove(&token).is_some());
        }
        Backend::from_bytes(json.to_string()).expect("a tokenizer")
    }

    fn backends() -> Vec<Backend> {
        let split = |pattern: &str, behavior: &str, invert: bool| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert});
        let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
        let digits = |individual_digits: bool| json!({"type": "Digits", "individual_digits": individual_digits});
        let sequence = |steps: &[Value]| json!({"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}});
        let mut lower = sequence(&[digits(false), byte_level(true)]);
        lower["normalizer"] =
            json!({"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]});
        vec![
            with_gaps(),
            backend("word_piece", json!({})),
            backend("byte_level", json!({})),
            backend("byte_level", lower),
            backend("byte_level", sequence(&[digits(true), byte_level(false)])),
            backend(
                "byte_level",
                sequence(&[split(r"\s", "Removed", false), byte_level(true)]),
            ),
            backend(
                "byte_level",
                sequence(&[split(r"[a-z]+", "Isolated", true), byte_level(false)]),
            ),
        ]
    }

    fn check(backend: &Backend, text: &str) {
        let path = AsciiPath::new(backend).expect("a simple pipeline");
        let Some(ours) = path.encode(backend, text) else {
            return;
        };
        let crates = backend.encode_char_offsets(text, false);
        assert_eq!(ours.expect("tokens"), crates.expect("tokens"), "{text:?}");
    }

    #[test]
    fn simple_texts_go_the_short_way() {
        for backend in backends() {
            let path = AsciiPath::new(&backend).expect("a simple pipeline");
            let ours = path.encode(&backend, "Hello, 12 worlds!");
            assert!(!ours.expect("the short way").expect("tokens").is_empty());
            assert!(path.encode(&backend, "").is_none());
            assert!(path.encode(&backend, "wörld").is_none());
        }
    }

    #[test]
    fn added_tokens_go_the_crates_way() {
        let backend = backend("word_piece", json!({}));
        let path = AsciiPath::new(&backend).expect("a simple pipeline");
        for text in ["a [SEP] b", "a [sep] b", "a\u{1}b"] {
            assert!(path.encode(&backend, text).is_none(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn tokens_are_those_of_the_crate(text in "([ -~]|[a-z ]{4}|[\\x00-\\x7f]){1,40}") {
            for backend in backends() {
                check(&backend, &text);
            }
        }
    }
}
