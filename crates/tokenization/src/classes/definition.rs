//! What a class is, read from the data.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::TokenizerClass;

/// A class.
#[derive(Debug, Deserialize)]
pub(super) struct Definition {
    /// Other names of it.
    pub aliases: Vec<String>,
    /// The usual name of the vocabulary's file.
    pub file: Option<String>,
    /// The model without its vocabulary and merges.
    pub model: Map<String, Value>,
    /// The vocabulary of a blank instance: tokens, or pieces with their scores.
    pub vocab: Vec<Value>,
    /// The ids of these tokens, where they are not simply counted.
    pub ids: Option<Vec<u32>>,
    pub normalizer: Value,
    /// The normaliser of a vocabulary that comes with a character map.
    pub normalizer_with_map: Option<Value>,
    pub pre_tokenizer: Value,
    pub post_processor: Value,
    pub decoder: Value,
    pub special_tokens: BTreeMap<String, String>,
    pub extra_special_tokens: Vec<String>,
    /// In the order in which they are added.
    pub added_tokens: Vec<Added>,
    pub padding_side: String,
    /// Whether the id of the unknown piece follows its name, and is not always the same.
    #[serde(default)]
    pub unk_by_name: bool,
    /// Whether the ids around texts are those of the blank instance, whatever the vocabulary.
    #[serde(default)]
    pub fixed_post_processor: bool,
    /// Whether the special tokens of a SentencePiece model replace the class's own without a name.
    #[serde(default)]
    pub spm_drops_extra: bool,
    /// Whether the user-defined tokens of a SentencePiece model become special ones.
    #[serde(default)]
    pub spm_all_special: bool,
}

/// An added token.
#[derive(Debug, Deserialize)]
pub(super) struct Added {
    pub content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: bool,
    special: bool,
}

impl Added {
    pub fn token(&self) -> AddedToken {
        AddedToken::from(self.content.clone(), self.special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            .normalized(self.normalized)
    }
}

impl Definition {
    /// `BPE`, `Unigram`, `WordPiece` or `WordLevel`.
    pub fn model_type(&self) -> &str {
        self.model["type"].as_str().unwrap_or_default()
    }
}

impl TokenizerClass {
    /// Whether the class builds the pipeline of this `tokenizer.json`, apart from its vocabulary and what is around texts.
    pub(crate) fn builds(&self, file: &str) -> bool {
        let Ok(mut state) = serde_json::from_str::<Value>(file) else {
            return false;
        };
        let definition = self.definition;
        let same_model = definition.model.iter().all(|(key, value)| {
            let by_name = key == "unk_id" && definition.unk_by_name;
            by_name || state["model"][key] == *value
        });
        let mut normalizer = state["normalizer"].take();
        remove_maps(&mut normalizer);
        let same_normalizer = normalizer == definition.normalizer
            || definition.normalizer_with_map.as_ref() == Some(&normalizer);
        same_model
            && same_normalizer
            && state["pre_tokenizer"] == definition.pre_tokenizer
            && state["decoder"] == definition.decoder
    }
}

fn remove_maps(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("precompiled_charsmap");
            map.values_mut().for_each(remove_maps);
        }
        Value::Array(values) => values.iter_mut().for_each(remove_maps),
        _ => {}
    }
}

/// All classes, by name.
pub(super) fn all() -> &'static BTreeMap<String, Definition> {
    static ALL: LazyLock<BTreeMap<String, Definition>> = LazyLock::new(|| {
        serde_json::from_str(include_str!("definitions.json")).expect("the definitions are valid")
    });
    &ALL
}
