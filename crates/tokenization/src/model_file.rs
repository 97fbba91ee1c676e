//! The model in a `tokenizer.json`, read field by field.
//!
//! The `tokenizers` crate first makes a tree of the whole model, and reads that, which takes several times as long; and it
//! takes for granted that merges fit their vocabulary.

use std::fmt;

use ahash::AHashMap;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokenizers::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;

use crate::{Vocabulary, checks};

/// The fields of every kind of model.
#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "type")]
    kind: Option<Kind>,
    vocab: Vocab,
    merges: Option<Vec<Merge>>,
    dropout: Option<f32>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    unk_id: Option<usize>,
    max_input_chars_per_word: Option<usize>,
}

/// The vocabulary and the merges alone.
#[derive(Deserialize)]
pub(crate) struct Words {
    vocab: Vocab,
    merges: Option<Vec<Merge>>,
}

impl Words {
    pub fn vocabulary(self) -> (Vocabulary, Vec<(String, String)>) {
        let vocabulary = match self.vocab {
            Vocab::Ids(ids) => Vocabulary::Ids(ids.into_iter().collect()),
            Vocab::Scores(pieces) => Vocabulary::Scores(pieces),
        };
        (vocabulary, pairs(self.merges.unwrap_or_default()))
    }
}

fn pairs(merges: Vec<Merge>) -> Vec<(String, String)> {
    merges.into_iter().filter_map(|merge| merge.0).collect()
}

#[derive(Clone, Copy, Deserialize)]
enum Kind {
    #[serde(rename = "BPE")]
    Bpe,
    WordPiece,
    WordLevel,
    Unigram,
}

/// The model that a file holds.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ModelWrapper, D::Error> {
    let fields = Fields::deserialize(deserializer)?;
    fields.model().map_err(D::Error::custom)
}

impl Fields {
    /// Files of before there was a type are told apart by what they have.
    fn kind(&self) -> Kind {
        let is_word_piece =
            self.max_input_chars_per_word.is_some() && self.continuing_subword_prefix.is_some();
        match (self.kind, &self.merges, &self.vocab) {
            (Some(kind), ..) => kind,
            (None, Some(_), _) => Kind::Bpe,
            (None, None, Vocab::Scores(_)) => Kind::Unigram,
            (None, None, Vocab::Ids(_)) if is_word_piece => Kind::WordPiece,
            (None, None, Vocab::Ids(_)) => Kind::WordLevel,
        }
    }

    fn model(self) -> tokenizers::Result<ModelWrapper> {
        let kind = self.kind();
        let missing = |field: &str| format!("the model has no `{field}`");
        let ids = match (kind, self.vocab) {
            (Kind::Unigram, Vocab::Scores(pieces)) => {
                let bytes = self.byte_fallback.unwrap_or(false);
                return Ok(Unigram::from(pieces, self.unk_id, bytes)?.into());
            }
            (Kind::Unigram, Vocab::Ids(_)) => {
                return Err(
                    "the vocabulary of a Unigram model is a list of pieces with scores".into(),
                );
            }
            (_, Vocab::Ids(ids)) => ids,
            (_, Vocab::Scores(_)) => {
                return Err("the vocabulary is no object from token to id".into());
            }
        };
        if let Kind::Bpe = kind {
            let merges = pairs(self.merges.ok_or_else(|| missing("merges"))?);
            let prefix = self.continuing_subword_prefix;
            let begins = prefix.as_deref().unwrap_or_default();
            checks::merges(ids.keys().map(String::as_str), &merges, begins)?;
            let mut model = BPE::builder()
                .vocab_and_merges(ids, merges)
                .fuse_unk(self.fuse_unk.unwrap_or(false))
                .byte_fallback(self.byte_fallback.unwrap_or(false))
                .ignore_merges(self.ignore_merges.unwrap_or(false));
            if let Some(dropout) = self.dropout {
                model = model.dropout(dropout);
            }
            if let Some(token) = self.unk_token {
                model = model.unk_token(token);
            }
            if let Some(prefix) = prefix {
                model = model.continuing_subword_prefix(prefix);
            }
            if let Some(suffix) = self.end_of_word_suffix {
                model = model.end_of_word_suffix(suffix);
            }
            return Ok(model.build()?.into());
        }
        let unknown = self.unk_token.ok_or_else(|| missing("unk_token"))?;
        if let Kind::WordLevel = kind {
            let model = WordLevel::builder().vocab(ids).unk_token(unknown);
            return Ok(model.build()?.into());
        }
        let prefix = self.continuing_subword_prefix;
        let length = self.max_input_chars_per_word;
        let model = WordPiece::builder()
            .vocab(ids)
            .unk_token(unknown)
            .continuing_subword_prefix(prefix.ok_or_else(|| missing("continuing_subword_prefix"))?)
            .max_input_chars_per_word(length.ok_or_else(|| missing("max_input_chars_per_word"))?);
        Ok(model.build()?.into())
    }
}

enum Vocab {
    Ids(AHashMap<String, u32>),
    Scores(Vec<(String, f64)>),
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl<'de> Visitor<'de> for Visit {
            type Value = Vocab;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from token to id, or a list of pieces with scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
                let mut ids = AHashMap::new();
                while let Some((token, id)) = map.next_entry()? {
                    ids.insert(token, id);
                }
                Ok(Vocab::Ids(ids))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocab, A::Error> {
                let mut pieces = Vec::new();
                while let Some(piece) = list.next_element()? {
                    pieces.push(piece);
                }
                Ok(Vocab::Scores(pieces))
            }
        }

        deserializer.deserialize_any(Visit)
    }
}

/// A pair of tokens: a list, or, in older files, a text with a space between; nothing where that is the line of a version.
struct Merge(Option<(String, String)>);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl<'de> Visitor<'de> for Visit {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge: two tokens")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Merge, E> {
                if text.starts_with("#version") {
                    return Ok(Merge(None));
                }
                match text.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => {
                        Ok(Merge(Some((left.to_owned(), right.to_owned()))))
                    }
                    _ => Err(E::custom(format!(
                        "the merge `{text}` is not two tokens with a space between"
                    ))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merge, A::Error> {
                let mut next = || {
                    list.next_element()?
                        .ok_or_else(|| A::Error::custom("a merge is two tokens"))
                };
                let pair = (next()?, next()?);
                match list.next_element::<String>()? {
                    None => Ok(Merge(Some(pair))),
                    Some(_) => Err(A::Error::custom("a merge is two tokens")),
                }
            }
        }

        deserializer.deserialize_any(Visit)
    }
}
