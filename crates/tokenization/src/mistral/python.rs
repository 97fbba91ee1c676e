//! JSON as Python's `json` module reads and writes it.

use serde_json::Value;

use crate::chat::python_float;

/// `json.dumps(value, ensure_ascii=False)`.
pub(super) fn dumps(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

/// The text as JSON writes its value, if it is JSON; else the text.
pub(super) fn normalized(text: &str) -> String {
    if text.is_empty() {
        return "{}".to_owned();
    }
    serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |value| dumps(&value))
}

/// The value of the text, if it is JSON; else the text itself.
pub(super) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Number(number) if number.is_f64() => {
            text.push_str(&python_float(number.as_f64().unwrap_or(f64::NAN)));
        }
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                write(value, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            text.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                write(&Value::from(key.as_str()), text);
                text.push_str(": ");
                write(value, text);
            }
            text.push('}');
        }
        // Numbers that are whole, and texts with their escapes, are the same in both.
        other => text.push_str(&other.to_string()),
    }
}
