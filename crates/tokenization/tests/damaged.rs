//! Damaged tokenizer files: an error or a tokenizer, never a panic.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Random, golden};
use serde_json::{Value, json};
use transformers_tokenization::{AutoTokenizer, TokenizerClass};

/// The values of a JSON tree, by their place.
fn places(value: &Value, here: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let few = map.iter().take(12);
            few.for_each(|(key, value)| {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(value, format!("{here}/{key}"), found);
            });
        }
        Value::Array(values) => {
            let few = values.iter().take(6).enumerate();
            few.for_each(|(index, value)| places(value, format!("{here}/{index}"), found));
        }
        _ => {}
    }
    found.push(here);
}

fn sources() -> Vec<(String, Value)> {
    let mut sources = Vec::new();
    for name in common::FOLDERS {
        let file = std::fs::read_to_string(golden(name).join("tokenizer.json")).unwrap();
        sources.push((name.to_owned(), serde_json::from_str(&file).unwrap()));
    }
    for name in [
        "T5Tokenizer",
        "AlbertTokenizer",
        "CLIPTokenizer",
        "XLNetTokenizer",
        "HerbertTokenizer",
        "RobertaTokenizer",
    ] {
        let class = TokenizerClass::named(name).unwrap();
        let folder = tempfile::tempdir().unwrap();
        class
            .blank()
            .unwrap()
            .save_pretrained(folder.path())
            .unwrap();
        let file = std::fs::read_to_string(folder.path().join("tokenizer.json")).unwrap();
        sources.push((name.to_owned(), serde_json::from_str(&file).unwrap()));
    }
    sources
}

#[test]
fn any_value_anywhere_is_an_error_or_a_tokenizer() {
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(3),
        json!(4294967295u32),
        json!(1e300),
        json!(""),
        json!("é"),
        json!("##"),
        json!("(a|b"),
        json!("(?=(a+)+$)b"),
        json!([]),
        json!({}),
        json!([["a", "b"]]),
        json!({"a": 0, "b": 0}),
    ];
    let texts = [
        "",
        "the quick brown fox é🙂",
        "[CLS] <s> </s> a ▁ ##b",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ];
    let mut random = Random(11);
    let rounds = std::env::var("DAMAGE_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokenizer.json");
    let (mut read, mut refused) = (0, 0);
    for (name, source) in sources() {
        let mut all = Vec::new();
        places(&source, String::new(), &mut all);
        for place in (0..rounds).flat_map(|_| &all) {
            let value = &values[random.below(values.len())];
            let mut damaged = source.clone();
            *damaged.pointer_mut(place).unwrap() = value.clone();
            std::fs::write(&file, damaged.to_string()).unwrap();
            println!("{name}: {place} = {value}"); // shown where it panics
            let Ok(tokenizer) = AutoTokenizer::from_pretrained(folder.path()) else {
                refused += 1;
                continue;
            };
            read += 1;
            for text in texts {
                if let Ok(ids) = tokenizer.encode(text, true) {
                    tokenizer.decode(&ids, false).ok();
                }
            }
            tokenizer.decode(&[0, 1, 5, 299, 100_000], true).ok();
        }
    }
    assert!(read > 100 && refused > 100, "{read} {refused}");
}

/// The character map of a SentencePiece model leads to places by numbers, each of which may be wrong.
#[test]
fn damaged_character_maps_are_an_error_or_do_no_harm() {
    let class = TokenizerClass::named("XLMRobertaTokenizer").unwrap();
    let tokenizer = class
        .with_files(&golden("sentencepiece/unigram.model"), None)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    tokenizer.save_pretrained(folder.path()).unwrap();
    let file = std::fs::read(folder.path().join("tokenizer.json")).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    let place = [
        "/normalizer/precompiled_charsmap",
        "/normalizer/normalizers/0/precompiled_charsmap",
    ]
    .into_iter()
    .find(|place| file.pointer(place).is_some())
    .unwrap();
    let map = file.pointer(place).unwrap().as_str().unwrap();
    let mut random = Random(3);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..400 {
        // A character of base64 is six bits.
        let mut damaged = map.as_bytes().to_vec();
        let at = random.below(damaged.len() - 4);
        damaged[at] = b"AQgw59+/zZ"[random.below(10)];
        if random.below(8) == 0 {
            damaged.truncate(at / 4 * 4);
        }
        let mut other = file.clone();
        *other.pointer_mut(place).unwrap() = String::from_utf8(damaged).unwrap().into();
        match AutoTokenizer::from_bytes(other.to_string().as_bytes()) {
            Ok(tokenizer) => {
                read += 1;
                for text in ["ﬁ ①\u{301} é㍿ カ゛", "\u{ad}\u{200b}\t\u{1f1eb} Ⅷ½"] {
                    tokenizer.encode(text, true).ok();
                }
            }
            Err(_) => refused += 1,
        }
    }
    assert!(read > 20 && refused > 20, "{read} {refused}");
}

#[test]
fn merges_have_to_fit_the_prefix_of_their_model() {
    for (prefix, right) in [("##", "b"), ("é", "ab"), ("##", "é")] {
        let file = json!({"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0, right: 1, "ab": 2},
            "merges": [["a", right]], "continuing_subword_prefix": prefix}});
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
        let error = AutoTokenizer::from_pretrained(folder.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("continuing_subword_prefix"), "{error}");
    }
}

#[test]
fn gaps_and_repeated_ids_do_no_harm() {
    let file = json!({"version": "1.0", "added_tokens": [{"id": 900, "content": "<x>", "special": true, "normalized": false,
        "single_word": false, "lstrip": false, "rstrip": false}],
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 7, "c": 7, "ab": 4000000000u32}, "merges": [["a", "b"]]}});
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
    let tokenizer = AutoTokenizer::from_pretrained(folder.path()).unwrap();
    assert_eq!(tokenizer.encode("ab", true).unwrap(), [4_000_000_000]);
    assert_eq!(
        tokenizer
            .decode(&[4_000_000_000, 5, u32::MAX], true)
            .unwrap(),
        "ab"
    );
    assert!(tokenizer.decode(&[7], true).is_ok());
}
