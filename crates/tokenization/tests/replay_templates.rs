//! What fuzzing of chat templates began with and what it found, once more.
#![allow(clippy::unwrap_used)]

#[path = "../../../fuzz/src/conversations.rs"]
mod conversations;

use std::path::Path;

#[test]
fn the_corpus_of_chat_templates_does_no_harm() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = |path: &str| std::fs::read_dir(root.join(path)).unwrap();
    let files: Vec<_> = entries("../../fuzz/corpus/chat_template")
        .chain(entries("tests/golden/templates"))
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() >= 50);
    for file in files {
        conversations::chat_template(&std::fs::read(file).unwrap());
    }
}
