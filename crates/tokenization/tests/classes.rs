//! The tokenizer classes against the reference (`tests/oracle/golden_classes.py`).
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, HashMap};

use common::{golden, ids, read, text};
use serde_json::{Value, json};
use transformers_tokenization::{
    AutoTokenizer, BertTokenizer, LlamaTokenizer, T5Tokenizer, TokenizationError, Tokenizer,
    TokenizerClass, Vocabulary, generate_merges,
};

/// The pipeline as `tokenizer.json` holds it.
fn state(tokenizer: &Tokenizer) -> Value {
    let folder = tempfile::tempdir().unwrap();
    tokenizer.save_pretrained(folder.path()).unwrap();
    let file = std::fs::read_to_string(folder.path().join("tokenizer.json")).unwrap();
    let mut state: Value = serde_json::from_str(&file).unwrap();
    let map = state.as_object_mut().unwrap();
    for key in ["version", "truncation", "padding"] {
        map.remove(key);
    }
    map.insert("normalizer".to_owned(), without_map(&map["normalizer"]));
    state
}

fn without_map(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| *key != "precompiled_charsmap")
            .map(|(key, value)| (key.clone(), without_map(value)))
            .collect(),
        Value::Array(values) => values.iter().map(without_map).collect(),
        other => other.clone(),
    }
}

fn check(found: &Value, expected: &Value, context: &str) {
    for (key, expected) in expected.as_object().unwrap() {
        assert_eq!(found[key], *expected, "{context}: {key}");
    }
}

fn cases() -> BTreeMap<String, Value> {
    let cases: BTreeMap<String, Value> = read("classes/classes.json");
    assert!(cases.len() > 40);
    cases
}

#[test]
fn blank_instances_are_those_of_the_reference() {
    for (name, case) in cases() {
        let class = TokenizerClass::named(&name).unwrap();
        check(&state(&class.blank().unwrap()), &case["blank"], &name);
    }
}

#[test]
fn vocabularies_are_taken_as_in_the_reference() {
    for (name, case) in cases() {
        if case.get("given").is_none() {
            continue; // the class takes none in the reference
        }
        let arguments = &case["arguments"];
        let vocab: Vocabulary = match &arguments["vocab"] {
            Value::Array(_) => {
                let scores: Vec<(String, f64)> =
                    serde_json::from_value(arguments["vocab"].clone()).unwrap();
                scores.into()
            }
            ids => serde_json::from_value::<HashMap<String, u32>>(ids.clone())
                .unwrap()
                .into(),
        };
        let merges = serde_json::from_value(arguments["merges"].clone()).unwrap_or_default();
        let class = TokenizerClass::named(&name).unwrap();
        let tokenizer = class.with_vocab(vocab, merges).unwrap();
        check(&state(&tokenizer), &case["given"], &name);
    }
}

#[test]
fn sentencepiece_models_are_converted_as_in_the_reference() {
    let texts: Vec<[Value; 5]> = read("byte_level/texts.json");
    let texts: Vec<&str> = texts[9..90]
        .iter()
        .step_by(6)
        .map(|row| text(&row[0]))
        .collect();
    let mut converted = 0;
    for (name, case) in cases() {
        let Some(expected) = case.get("spm") else {
            continue;
        };
        converted += 1;
        let path = golden("sentencepiece").join(text(&expected["source"]));
        let class = TokenizerClass::named(&name).unwrap();
        let tokenizer = class.with_files(&path, None).unwrap();
        let mut found = state(&tokenizer);
        let model = found["model"].as_object_mut().unwrap();
        let vocab = model.remove("vocab").unwrap();
        let merges = model.remove("merges");
        match &vocab {
            Value::Array(pieces) => {
                let tokens: Value = pieces.iter().map(|piece| piece[0].clone()).collect();
                assert_eq!(tokens, expected["vocab"], "{name}");
                for (piece, score) in pieces.iter().zip(expected["scores"].as_array().unwrap()) {
                    let difference = piece[1].as_f64().unwrap() - score.as_f64().unwrap();
                    assert!(difference.abs() < 1e-6, "{name}: {piece}");
                }
            }
            ids => {
                let mut tokens: Vec<(&String, u64)> = ids
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(|(token, id)| (token, id.as_u64().unwrap()))
                    .collect();
                tokens.sort_by_key(|(_, id)| *id);
                let tokens: Value = tokens.iter().map(|(token, _)| json!(token)).collect();
                assert_eq!(tokens, expected["vocab"], "{name}");
            }
        }
        if let Some(Value::Array(merges)) = merges {
            let join = |merge: &Value| format!("{} {}", text(&merge[0]), text(&merge[1]));
            let merges: Vec<String> = merges.iter().map(join).collect();
            assert_eq!(json!(merges), expected["merges"], "{name}");
        }
        let added: Value = found["added_tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|token| {
                json!([
                    token["id"],
                    token["content"],
                    token["special"],
                    token["normalized"]
                ])
            })
            .collect();
        assert_eq!(added, expected["added_tokens"], "{name}");
        for key in [
            "normalizer",
            "pre_tokenizer",
            "post_processor",
            "decoder",
            "model",
        ] {
            assert_eq!(found[key], expected[key], "{name}: {key}");
        }
        for (text, row) in texts.iter().zip(expected["ids"].as_array().unwrap()) {
            assert_eq!(
                tokenizer.encode(*text, true).unwrap(),
                ids(row),
                "{name}: {text:?}"
            );
        }
    }
    assert!(converted > 15);
}

#[test]
fn classes_build_a_tokenizer_file_anew_as_in_the_reference() {
    let cases: Vec<Value> = read("classes/rebuilt.json");
    let mut differ = 0;
    for case in &cases {
        let folder = golden(text(&case["folder"]));
        let class = TokenizerClass::named(text(&case["class"])).unwrap();
        let rebuilt = class.from_pretrained(folder.clone()).unwrap();
        let as_written = AutoTokenizer::from_pretrained(folder).unwrap();
        assert_eq!(json!(rebuilt.vocab_size()), case["size"]);
        for row in case["rows"].as_array().unwrap() {
            let context = format!("{} of {}: {}", case["class"], case["folder"], row[0]);
            let found = rebuilt.encode(text(&row[0]), true).unwrap();
            assert_eq!(found, ids(&row[1]), "{context}");
            assert_eq!(
                rebuilt.decode(&found, false).unwrap(),
                text(&row[2]),
                "{context}"
            );
            differ += usize::from(as_written.encode(text(&row[0]), true).unwrap() != found);
        }
    }
    assert!(differ > 10); // the reason why it is no default
}

#[test]
fn merges_are_found_as_in_the_reference() {
    let cases: Vec<Value> = read("classes/merges.json");
    for case in &cases {
        let vocab = serde_json::from_value(case["vocab"].clone()).unwrap();
        let scores: Option<HashMap<String, f64>> =
            serde_json::from_value(case["scores"].clone()).unwrap();
        let skip: Vec<String> = serde_json::from_value(case["skip"].clone()).unwrap();
        let skip: Vec<&str> = skip.iter().map(String::as_str).collect();
        let merges = generate_merges(&vocab, scores.as_ref(), &skip);
        assert_eq!(json!(merges), case["merges"], "{case}");
    }
}

#[test]
fn classes_have_types_and_other_names() {
    assert_eq!(LlamaTokenizer::default().bos_token(), Some("<s>"));
    assert_eq!(
        BertTokenizer::default().encode("[CLS]", false).unwrap(),
        [2]
    );
    assert_eq!(T5Tokenizer::default().extra_special_tokens().len(), 100);
    for name in TokenizerClass::names() {
        assert_eq!(
            TokenizerClass::named(&format!("{name}Fast"))
                .unwrap()
                .name(),
            name
        );
    }
    for (alias, name) in [
        ("DistilBertTokenizer", "BertTokenizer"),
        ("BartTokenizerFast", "RobertaTokenizer"),
        ("MT5Tokenizer", "T5Tokenizer"),
    ] {
        assert_eq!(TokenizerClass::named(alias).unwrap().name(), name);
    }
    assert!(TokenizerClass::named("NoSuchTokenizer").is_none());
    let result = T5Tokenizer::new(HashMap::from([("a".to_owned(), 0)]), Vec::new());
    assert!(matches!(
        result,
        Err(TokenizationError::InvalidVocabulary(_))
    ));
}

#[test]
fn a_model_may_have_a_version_in_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (path, model) = (
        folder.path().join("tokenizer.model.v3"),
        golden("sentencepiece/bpe_bytes.model"),
    );
    std::fs::copy(&model, &path).unwrap();
    let ids = |path| {
        let tokenizer = LlamaTokenizer::from_files(path, None).unwrap();
        tokenizer.encode("the sea", true).unwrap()
    };
    assert_eq!(ids(&path), ids(&model));
}
