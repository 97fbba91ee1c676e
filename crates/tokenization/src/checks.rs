//! What the `tokenizers` crate takes for granted in its files, and breaks on.

use serde_json::Value;
use tokenizers::ModelWrapper;

use crate::backend::Model;
use crate::sentencepiece::CharacterMap;
use crate::splitter::Splitter;
use crate::tiktoken::from_base64;

/// Checks the merges of byte pairs: the right half of each begins with the prefix of continued words, which is cut off
/// without looking, and no two halves are together longer than every token.
pub(crate) fn merges<'a>(
    tokens: impl Iterator<Item = &'a str>,
    merges: &[(String, String)],
    prefix: &str,
) -> Result<(), String> {
    let longest = tokens.map(str::len).max().unwrap_or(0);
    for (left, right) in merges {
        let rest = right.strip_prefix(prefix).ok_or_else(|| {
            format!(
                "the merge with `{right}` does not fit the `continuing_subword_prefix`, `{prefix}`"
            )
        })?;
        if left.len() + rest.len() > longest {
            return Err(format!(
                "the merge of `{left}` and `{right}` gives no token of the vocabulary"
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

/// Checks a normaliser: its patterns, and that its character map leads nowhere else.
pub(crate) fn normalizer(normalizer: &Value) -> Result<(), String> {
    growth(normalizer)?;
    every_part(normalizer, &|part| {
        let pattern = &part["pattern"];
        if pattern.is_object() && Splitter::of_pattern(pattern).is_none() {
            return Err(format!("the pattern {pattern} cannot be used"));
        }
        if let Some(map) = part["precompiled_charsmap"].as_str() {
            let map = from_base64(map).ok_or("`precompiled_charsmap` is not base64")?;
            CharacterMap::check(&map)?;
        }
        Ok(())
    })
}

/// Checks a decoder: what it replaces has to be found in linear time.
pub(crate) fn decoder(decoder: &Value) -> Result<(), String> {
    growth(decoder)?;
    every_part(decoder, &|part| match part["pattern"]["Regex"].as_str() {
        Some(regex) if !matches!(Splitter::new(regex), Some(Splitter::Linear(_))) => Err(format!(
            "the decoder replaces `{regex}`, which looks around or refers back, or may be empty"
        )),
        _ => Ok(()),
    })
}

/// Checks what replaces parts of texts: each replacement makes the text of the one before longer.
fn growth(replaces: &Value) -> Result<(), String> {
    fn factor(part: &Value) -> usize {
        let own = part["content"]
            .as_str()
            .filter(|_| part["type"] == "Replace");
        let own = own.map_or(1, |content| content.chars().count().max(1));
        parts(part).map(factor).fold(own, usize::saturating_mul)
    }
    match factor(replaces) {
        factor if factor > MAX_GROWTH => Err(format!(
            "what replaces parts of a text may make it {factor} times longer; {MAX_GROWTH} times is the limit"
        )),
        _ => Ok(()),
    }
}

/// What a sequence consists of.
fn parts(sequence: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["normalizers", "decoders"].map(|key| sequence[key].as_array());
    lists.into_iter().flatten().flatten()
}

fn every_part(whole: &Value, check: &dyn Fn(&Value) -> Result<(), String>) -> Result<(), String> {
    check(whole)?;
    parts(whole).try_for_each(|part| every_part(part, check))
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
