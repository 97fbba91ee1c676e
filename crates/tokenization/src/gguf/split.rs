//! How texts are split before merging, by the name that `tokenizer.ggml.pre` gives it.

use serde_json::Value;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, Result, SplitDelimiterBehavior};

const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const QWEN35: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}",
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const GPT_4O: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The pattern of each name, from the reference's table.
fn pattern(name: &str) -> Option<&'static str> {
    Some(match name {
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0"
        | "lfm2" | "jina-v5-nano" | "dbrx" | "smaug-bpe" => LLAMA3,
        "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "megrez" => QWEN2,
        "qwen35" => QWEN35,
        "tekken" => TEKKEN,
        "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" => GPT_4O,
        _ => return None,
    })
}

/// The names whose vocabularies were trained with each digit on its own. The reference leaves them at GPT-2's split, which
/// differs where several spaces stand before a digit; their `tokenizer.json` and llama.cpp agree on this one.
fn has_single_digits(name: &str) -> bool {
    matches!(name, "smollm" | "starcoder" | "refact" | "command-r")
}

/// Whether the name has a split of its own.
pub(super) fn is_known(name: &str) -> bool {
    pattern(name).is_some() || has_single_digits(name)
}

/// The split of this name. Any other name, and none, stands for GPT-2's, as in the reference.
pub(super) fn pre_tokenizer(name: Option<&str>) -> Result<PreTokenizerWrapper> {
    let name = name.unwrap_or_default();
    let byte_level = |use_regex| PreTokenizerWrapper::from(ByteLevel::new(false, true, use_regex));
    Ok(if let Some(pattern) = pattern(name) {
        let pattern = SplitPattern::Regex(pattern.to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
        Sequence::new(vec![split.into(), byte_level(false)]).into()
    } else if has_single_digits(name) {
        Sequence::new(vec![Digits::new(true).into(), byte_level(true)]).into()
    } else {
        byte_level(true)
    })
}

/// The names that are written, one of each split.
const WRITTEN: [&str; 7] = [
    "gpt-2",
    "llama-bpe",
    "qwen2",
    "qwen35",
    "tekken",
    "gpt-4o",
    "smollm",
];

/// The name of a split, given as `tokenizer.json` has it.
pub(super) fn name(split: &Value) -> Option<&'static str> {
    let wanted = without_trimming(split);
    WRITTEN.into_iter().find(|name| {
        let split = pre_tokenizer(Some(name)).map(serde_json::to_value);
        matches!(split, Ok(Ok(split)) if without_trimming(&split) == wanted)
    })
}

/// Without what matters to offsets alone.
fn without_trimming(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, _)| *key != "trim_offsets");
            let kept = kept.map(|(key, value)| (key.clone(), without_trimming(value)));
            Value::Object(kept.collect())
        }
        Value::Array(values) => values.iter().map(without_trimming).collect(),
        other => other.clone(),
    }
}
