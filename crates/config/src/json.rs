//! JSON as the reference reads and writes it.
//!
//! Python's `json` accepts the bare words `NaN` and `Infinity`, which configurations on the Hub contain; the reference
//! writes them as `{"__float__": "Infinity"}`. It writes sorted keys, two spaces, ASCII only, floats as Python prints
//! them, and a newline at the end; files written here are the same byte for byte.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{ConfigError, Result};

/// Gives values that are under other names their own: `(other, own)`. Where both are there, the other one counts, as in the
/// reference.
pub(crate) fn rename(raw: &mut Map<String, Value>, names: &[(&str, &str)]) {
    for (other, own) in names {
        if let Some(value) = raw.remove(*other) {
            raw.insert((*own).to_owned(), value);
        }
    }
}

/// The key that marks a number that JSON cannot express.
const FLOAT_TAG: &str = "__float__";

/// A number as JSON has it: tagged where it is not finite.
pub(crate) fn float(number: f64) -> Value {
    let word = match number {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        number if number.is_nan() => "NaN",
        number => return number.into(),
    };
    Map::from_iter([(FLOAT_TAG.to_owned(), word.into())]).into()
}

/// The number that [`float`] makes `value` of.
pub(crate) fn to_float(value: &Value) -> Option<f64> {
    match value.get(FLOAT_TAG).and_then(Value::as_str) {
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some("NaN") => Some(f64::NAN),
        _ => value.as_f64(),
    }
}

/// Reads the object in the file at `path`; errors name the file.
pub(crate) fn read_object(path: &Path) -> Result<Map<String, Value>> {
    let read = || {
        let text = fs::read_to_string(path).map_err(ConfigError::reading)?;
        object(parse(&text)?)
    };
    read().map_err(|error| error.in_file(path))
}

/// Parses `text`; the bare words `NaN`, `Infinity` and `-Infinity` become tagged floats.
pub(crate) fn parse(text: &str) -> Result<Value> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(text).or_else(|error| match tag_special_floats(text) {
        Some(tagged) => Ok(serde_json::from_str(&tagged)?),
        None => Err(error.into()),
    })
}

/// The object that `value` is.
pub(crate) fn object(value: Value) -> Result<Map<String, Value>> {
    let found = match value {
        Value::Object(map) => return Ok(map),
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
    };
    Err(ConfigError::NotAnObject { found })
}

/// Makes a `T` of `value`; errors name the key.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let key = error.path().to_string();
        ConfigError::Invalid {
            key: if key == "." { "config".into() } else { key },
            reason: error.into_inner().to_string(),
        }
    })
}

/// The object that `value` serializes to.
pub(crate) fn to_object(value: &impl Serialize) -> Result<Map<String, Value>> {
    object(serde_json::to_value(value)?)
}

/// The text of `map` as the reference writes it.
pub(crate) fn to_string(map: &Map<String, Value>) -> String {
    let mut text = String::new();
    write_object(&mut text, map, 0, false);
    text.push('\n');
    text
}

/// Writes `text` to `folder/name`, whole or not at all; the folder is created if it is not there.
pub(crate) fn write_file(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    let write = || {
        fs::create_dir_all(folder)?;
        let unfinished = folder.join(format!(".{name}.{}.tmp", std::process::id()));
        fs::write(&unfinished, text)
            .and_then(|()| fs::rename(&unfinished, &path))
            .inspect_err(|_| drop(fs::remove_file(&unfinished)))
    };
    write().map_err(|source| {
        ConfigError::Io {
            operation: "writing",
            source,
        }
        .in_file(&path)
    })
}

/// `text` with the bare words outside of strings tagged; `None` if there are none.
fn tag_special_floats(text: &str) -> Option<String> {
    let mut tagged = String::new();
    let mut rest = text;
    let mut found = false;
    while let Some(start) = rest.find(['"', 'N', 'I', '-']) {
        let (before, at) = rest.split_at(start);
        tagged.push_str(before);
        if let Some(word) = ["NaN", "Infinity", "-Infinity"]
            .into_iter()
            .find(|word| at.starts_with(word))
        {
            found = true;
            // Writing to a string cannot fail.
            let _ = write!(tagged, "{{\"{FLOAT_TAG}\": \"{word}\"}}");
            rest = &at[word.len()..];
        } else {
            let length = if at.starts_with('"') {
                string_length(at)
            } else {
                1
            };
            tagged.push_str(&at[..length]);
            rest = &at[length..];
        }
    }
    tagged.push_str(rest);
    found.then_some(tagged)
}

/// The bytes of the JSON string that `text` begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

fn write_value(text: &mut String, value: &Value, depth: usize, numeric_keys: bool) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => write_float(text, float),
            _ => text.push_str(&number.to_string()),
        },
        Value::String(string) => write_string(text, string),
        Value::Array(items) => write_array(text, items, depth),
        Value::Object(map) => write_object(text, map, depth, numeric_keys),
    }
}

fn write_array(text: &mut String, items: &[Value], depth: usize) {
    if items.is_empty() {
        return text.push_str("[]");
    }
    for (index, item) in items.iter().enumerate() {
        text.push_str(if index == 0 { "[" } else { "," });
        new_line(text, depth + 1);
        write_value(text, item, depth + 1, false);
    }
    new_line(text, depth);
    text.push(']');
}

/// `numeric_keys`: the reference holds these keys as integers while it sorts.
fn write_object(text: &mut String, map: &Map<String, Value>, depth: usize, numeric_keys: bool) {
    if map.is_empty() {
        return text.push_str("{}");
    }
    let mut entries: Vec<_> = map.iter().collect();
    if numeric_keys {
        entries.sort_by_cached_key(|(key, _)| (key.parse::<i64>().ok(), key.as_str()));
    } else {
        entries.sort_by_key(|(key, _)| key.as_str());
    }
    for (index, (key, value)) in entries.into_iter().enumerate() {
        text.push_str(if index == 0 { "{" } else { "," });
        new_line(text, depth + 1);
        write_string(text, key);
        text.push_str(": ");
        write_value(text, value, depth + 1, key == "id2label");
    }
    new_line(text, depth);
    text.push('}');
}

fn new_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

/// As Python's `repr`: `1e-05`, `0.0001`, `10000.0`, `1e+16`.
fn write_float(text: &mut String, float: f64) {
    let scientific = format!("{float:e}");
    let exponent = scientific
        .split_once('e')
        .and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?)));
    // Writing to a string cannot fail.
    let _ = match exponent {
        Some((digits, exponent)) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            write!(text, "{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => write!(text, "{float:?}"),
    };
}

fn write_string(text: &mut String, string: &str) {
    // Serializing a string cannot fail.
    for character in Value::from(string).to_string().chars() {
        if character <= '~' {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn writes_as_python_does() {
        // json.dumps({...}, indent=2, sort_keys=True)
        let value = json!({
            "b": [1e-5, 0.0001, 1e4, 1e15, 1e16, 1.5e30, -2.5e-7, 3, -0.0, 9.999999747378752e-06],
            "a": {"é\u{7f}": "naïve 😀\n\"", "empty": {}, "none": []},
            "id2label": {"10": "x", "2": "y"},
            "label2id": {"10": 1, "2": 0},
        });
        let expect = r#"{
  "a": {
    "empty": {},
    "none": [],
    "\u00e9\u007f": "na\u00efve \ud83d\ude00\n\""
  },
  "b": [
    1e-05,
    0.0001,
    10000.0,
    1000000000000000.0,
    1e+16,
    1.5e+30,
    -2.5e-07,
    3,
    -0.0,
    9.999999747378752e-06
  ],
  "id2label": {
    "2": "y",
    "10": "x"
  },
  "label2id": {
    "10": 1,
    "2": 0
  }
}
"#;
        assert_eq!(to_string(value.as_object().unwrap()), expect);
    }

    #[test]
    fn reads_what_python_reads() {
        let check = |text: &str, expect: Value| assert_eq!(parse(text).unwrap(), expect, "{text}");
        check("{\"a\": 1e30}", json!({"a": 1e30}));
        check("\u{feff}{}", json!({}));
        check(
            r#"{"limit": [0.0, Infinity], "x": NaN, "y": -Infinity, "z": -1}"#,
            json!({
                "limit": [0.0, {"__float__": "Infinity"}],
                "x": {"__float__": "NaN"},
                "y": {"__float__": "-Infinity"},
                "z": -1,
            }),
        );
        check(
            r#"{"a": "NaN \" Infinity", "b": NaN}"#,
            json!({"a": "NaN \" Infinity", "b": {"__float__": "NaN"}}),
        );
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "",
            "{",
            "{\"a\": nope}",
            "{\"a\": \"NaN",
            "[1, Infinity",
            "\"\\",
        ] {
            assert!(
                matches!(parse(text), Err(ConfigError::Json { .. })),
                "{text}"
            );
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(&deep), Err(ConfigError::Json { .. })));
    }
}
