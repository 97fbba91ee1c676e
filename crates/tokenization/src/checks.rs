//! What the `tokenizers` crate takes for granted in its files, and breaks on.

use std::sync::LazyLock;

use regex::bytes::Regex;
use serde::Deserialize;
use serde_json::Value;
use tokenizers::ModelWrapper;
use tokenizers::utils::SysRegex;

use crate::backend::Model;

#[derive(Deserialize)]
struct Parts {
    #[serde(rename = "normalizer")]
    _normalizer: Option<Value>,
    #[serde(rename = "decoder")]
    _decoder: Option<Value>,
}

#[derive(Deserialize)]
struct File {
    model: FileModel,
}

#[derive(Deserialize)]
struct FileModel {
    continuing_subword_prefix: Option<String>,
    merges: Option<Vec<Merge>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair((String, String)),
    Text(String),
}

/// Checks a `tokenizer.json` before it is read: it has to be JSON to its end, and the right half of a merge has to begin with the prefix of continued words,
/// which is cut off without looking.
pub(crate) fn before_reading(bytes: &[u8]) -> Result<(), String> {
    static PREFIX: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#""continuing_subword_prefix"\s*:\s*"[^"]"#).expect("the pattern is valid")
    });
    // The library takes for granted that these are JSON.
    serde_json::from_slice::<Parts>(bytes).map_err(|error| error.to_string())?;
    if !PREFIX.is_match(bytes) {
        return Ok(());
    }
    let Ok(file) = serde_json::from_slice::<File>(bytes) else {
        return Ok(()); // reading it says what is wrong
    };
    let prefix = file.model.continuing_subword_prefix.unwrap_or_default();
    for merge in file.model.merges.iter().flatten() {
        let right = match merge {
            Merge::Pair((_, right)) => right,
            Merge::Text(text) => text.split_once(' ').map_or("", |(_, right)| right),
        };
        if !right.starts_with(&prefix) {
            return Err(format!(
                "the merge with `{right}` does not fit the `continuing_subword_prefix`, `{prefix}`"
            ));
        }
    }
    Ok(())
}

/// How many times longer a text may become by what replaces parts of it.
const MAX_GROWTH: usize = 1_024;

/// Checks the model: the time that words take grows with the square of the longest that is looked up, and beyond.
pub(crate) fn model(model: &Model) -> Result<(), String> {
    const MAX_CHARS: usize = 1_000;
    match model {
        Model::Tokenizers(ModelWrapper::WordPiece(model))
            if model.max_input_chars_per_word > MAX_CHARS =>
        {
            Err(format!(
                "`max_input_chars_per_word` is {}, but no word of more than {MAX_CHARS} characters is looked up",
                model.max_input_chars_per_word
            ))
        }
        _ => Ok(()),
    }
}

/// Checks what replaces parts of texts, in a normaliser or a decoder: each replacement makes the text of the one before
/// longer.
pub(crate) fn growth(replaces: &Value) -> Result<(), String> {
    fn factor(part: &Value) -> usize {
        let parts = ["normalizers", "decoders"]
            .into_iter()
            .flat_map(|key| part[key].as_array())
            .flatten();
        let own = part["content"]
            .as_str()
            .filter(|_| part["type"] == "Replace");
        let own = own.map_or(1, |content| content.chars().count().max(1));
        parts.map(factor).fold(own, usize::saturating_mul)
    }
    match factor(replaces) {
        factor if factor > MAX_GROWTH => Err(format!(
            "what replaces parts of a text may make it {factor} times longer; {MAX_GROWTH} times is the limit"
        )),
        _ => Ok(()),
    }
}

/// Checks a normaliser: what it replaces may not be nothing, since there is nothing at the end of a text to replace.
pub(crate) fn normalizer(normalizer: &Value) -> Result<(), String> {
    for part in normalizer["normalizers"].as_array().into_iter().flatten() {
        self::normalizer(part)?;
    }
    let pattern = &normalizer["pattern"];
    let empty = match (pattern["String"].as_str(), pattern["Regex"].as_str()) {
        (Some(text), _) => text.is_empty(),
        (None, Some(regex)) => SysRegex::new(regex)
            .map_err(|error| format!("the pattern `{regex}` cannot be used: {error}"))?
            .find_iter("")
            .next()
            .is_some(),
        (None, None) => false,
    };
    if empty {
        return Err(format!(
            "the normaliser replaces what may be empty: {pattern}"
        ));
    }
    Ok(())
}

/// Checks what is put around texts: a template names only special tokens that it defines.
pub(crate) fn post_processor(processor: &Value) -> Result<(), String> {
    for part in processor["processors"].as_array().into_iter().flatten() {
        post_processor(part)?;
    }
    let pieces = ["single", "pair"]
        .into_iter()
        .flat_map(|key| processor[key].as_array());
    for piece in pieces.flatten() {
        if let Some(token) = piece["SpecialToken"]["id"].as_str()
            && processor["special_tokens"].get(token).is_none()
        {
            return Err(format!(
                "the post-processor's template names `{token}`, which is not among its special tokens"
            ));
        }
    }
    Ok(())
}
