//! The corpus of the fuzz targets, replayed: as it is, and with each of its values in turn replaced by strange ones.

#[path = "../../../../fuzz/src/requests.rs"]
mod requests;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// No request of the corpus may take so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// What no field expects, or what lies at the end of what it does.
fn strange() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("\u{0}</s><|end|>🙂"),
        json!("x".repeat(3000)),
        json!([]),
        json!([[1]]),
        json!({}),
        json!({"type": "object", "$ref": "#", "a": [{}]}),
    ]
}

/// The values of a JSON text, by their pointers.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(value, &format!("{at}/{name}"), all);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
}

fn check(target: &str, send: fn(&[u8]), body: &[u8]) {
    let begin = Instant::now();
    let sent = catch_unwind(|| send(body));
    let took = begin.elapsed();
    let body = String::from_utf8_lossy(body);
    assert!(sent.is_ok(), "{target}: {body}");
    assert!(took < PATIENCE, "{target}, {took:?}: {body}");
}

/// `send` gets the files of `target` and their variants.
fn replay(target: &str, send: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut files = 0;
    for entry in fs::read_dir(folder.join(target)).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        check(target, send, text.as_bytes());
        files += 1;
        let value: Value = serde_json::from_str(&text).unwrap();
        let mut all = Vec::new();
        pointers(&value, "", &mut all);
        for pointer in all {
            for other in strange() {
                let mut changed = value.clone();
                *changed.pointer_mut(&pointer).unwrap() = other;
                check(target, send, changed.to_string().as_bytes());
            }
        }
        // And cut off where it was not to end.
        for end in (0..text.len()).step_by(29) {
            check(target, send, &text.as_bytes()[..end]);
        }
    }
    assert!(files >= 4, "{target}");
}

#[test]
fn chat_completions() {
    replay("chat_completions", requests::chat_completions);
}

#[test]
fn completions() {
    replay("completions", requests::completions);
}

#[test]
fn responses() {
    replay("responses", requests::responses);
}

#[test]
fn messages() {
    replay("messages", requests::messages);
}

#[test]
fn embeddings() {
    replay("embeddings", requests::embeddings);
}

#[test]
fn other_routes() {
    replay("load_model", requests::load_model);
    replay("tokenize", requests::tokenize);
    replay("detokenize", requests::detokenize);
}
