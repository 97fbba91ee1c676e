//! Ids in what is put around texts, which follow the vocabulary.

use std::collections::HashMap;

use serde_json::{Value, json};

/// Writes the ids that `id` gives for its tokens into a post-processor. Names the first token that has none.
pub(crate) fn resolve(processor: &mut Value, id: &dyn Fn(&str) -> Option<u32>) -> Option<String> {
    let mut missing = None;
    let mut find = |token: &str| {
        let found = id(token);
        if found.is_none() {
            missing.get_or_insert_with(|| token.to_owned());
        }
        found.unwrap_or(0)
    };
    if let Some(Value::Object(tokens)) = processor.get_mut("special_tokens") {
        for entry in tokens.values_mut() {
            let names = entry["tokens"].as_array().cloned().unwrap_or_default();
            let ids = names.iter().filter_map(Value::as_str).map(&mut find);
            entry["ids"] = ids.collect();
        }
    }
    for key in ["cls", "sep"] {
        if let Some(Value::Array(pair)) = processor.get_mut(key)
            && let [token, id] = pair.as_mut_slice()
            && let Some(token) = token.as_str()
        {
            *id = json!(find(token));
        }
    }
    if let Some(Value::Array(parts)) = processor.get_mut("processors") {
        for part in parts {
            let other = resolve(part, id);
            missing = missing.or(other);
        }
    }
    missing
}

/// Puts the new names of tokens in place of the old ones.
pub(crate) fn rename(value: &mut Value, renamed: &HashMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(new) = renamed.get(text) {
                text.clone_from(new);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, renamed)),
        Value::Object(map) => {
            let renamed_entry = |(key, mut value): (String, Value)| {
                rename(&mut value, renamed);
                (renamed.get(&key).cloned().unwrap_or(key), value)
            };
            *map = std::mem::take(map).into_iter().map(renamed_entry).collect();
        }
        _ => {}
    }
}
