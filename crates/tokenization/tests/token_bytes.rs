//! The bytes of tokens are those of the text that they make.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use transformers_tokenization::AutoTokenizer;

fn check(name: &str, text: &str, expect: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let tokenizer = AutoTokenizer::from_pretrained(folder.as_path()).unwrap();
    let bytes = tokenizer.token_bytes();
    let ids = tokenizer.encode(text, false).unwrap();
    let parts = ids
        .iter()
        .flat_map(|id| bytes[*id as usize].clone().unwrap());
    let joined = String::from_utf8(parts.collect()).unwrap();
    assert_eq!(joined, expect, "{name}");
}

#[test]
fn tokens_add_up_to_the_text() {
    let text = "Ünïcode, 😀 and\ttabs:  two spaces\n";
    check("byte_level", text, text);
    // a space before the first word is this vocabulary's way
    check(
        "sentence_piece",
        "Ünïcode, 😀 and two",
        " Ünïcode, 😀 and two",
    );
    check("word_piece", "two words", " two words");
}

#[test]
fn special_tokens_have_none() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/byte_level");
    let tokenizer = AutoTokenizer::from_pretrained(folder.as_path()).unwrap();
    let bytes = tokenizer.token_bytes();
    let special = tokenizer.all_special_ids();
    assert!(!special.is_empty());
    for id in special {
        assert_eq!(bytes[id as usize], None);
    }
}
