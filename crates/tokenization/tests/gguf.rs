//! Tokenizers from GGUF metadata against the reference, and metadata that is wrong.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{gguf, golden, ids, read, text};
use serde_json::Value;
use transformers_config::gguf::{GgufArray, GgufHeader, GgufValue};
use transformers_tokenization::{AutoTokenizer, ChatMessage, ChatTemplateOptions, Tokenizer};

fn value(json: &Value) -> GgufValue {
    match json {
        Value::Bool(value) => GgufValue::Bool(*value),
        Value::String(value) => GgufValue::String(value.clone()),
        other => panic!("{other}"),
    }
}

#[test]
fn texts_have_the_ids_of_the_reference() {
    let cases: Vec<_> = std::fs::read_dir(golden("gguf")).unwrap().collect();
    assert!(cases.len() >= 13);
    for case in cases {
        let case: Value = read(&format!(
            "gguf/{}",
            case.unwrap().file_name().to_str().unwrap()
        ));
        let file = text(&case["file"]);
        let mut header = gguf(file);
        for (key, changed) in case["metadata"].as_object().unwrap() {
            header.metadata.insert(key.clone(), value(changed));
        }
        let tokenizer = AutoTokenizer::from_gguf(&header, &golden(file)).unwrap();
        for row in case["texts"].as_array().unwrap() {
            let context = format!("{file}, {}: {}", case["metadata"], row[0]);
            let encoded = tokenizer.encode(text(&row[0]), true).unwrap();
            assert_eq!(encoded, ids(&row[1]), "{context}");
            assert_eq!(
                tokenizer.decode(&encoded, false).unwrap(),
                text(&row[2]),
                "{context}"
            );
        }
    }
}

#[test]
fn a_file_is_a_source() {
    let tokenizer = AutoTokenizer::from_pretrained(golden("byte_level.gguf")).unwrap();
    assert_eq!(tokenizer.bos_token(), Some("<|im_start|>"));
    assert_eq!(tokenizer.eos_token_id(), Some(2));
    assert_eq!(tokenizer.special_token_id("unk_token"), Some(0));
    assert_eq!(tokenizer.model_max_length(), None);
    let rendered = tokenizer
        .render_chat_template(&[ChatMessage::user("Hi")], &ChatTemplateOptions::default())
        .unwrap();
    assert_eq!(rendered, "<|im_start|>user\nHi<|im_end|>\n");
    assert_eq!(tokenizer.encode(&rendered, false).unwrap()[0], 1);
    // Neither a control token nor a user-defined one is cut into pieces.
    assert_eq!(
        tokenizer.encode("<tool><|im_end|>", false).unwrap(),
        [tokenizer.token_to_id("<tool>").unwrap(), 2]
    );
}

#[test]
fn a_saved_one_reads_back_alike() {
    for file in ["byte_level.gguf", "sentence_piece.gguf"] {
        let original = AutoTokenizer::from_pretrained(golden(file)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        original.save_pretrained(folder.path()).unwrap();
        let saved = AutoTokenizer::from_pretrained(folder.path()).unwrap();
        assert!(saved.has_chat_template());
        assert_eq!(saved.eos_token(), original.eos_token());
        for text in [
            "Hello, world! 🙂",
            "<|im_start|>user\nHi",
            "<s>  two  spaces",
        ] {
            assert_eq!(
                saved.encode(text, true).unwrap(),
                original.encode(text, true).unwrap(),
                "{file}: {text}"
            );
        }
    }
}

#[test]
fn the_space_before_a_text_can_be_absent() {
    let mut header = gguf("sentence_piece.gguf");
    let key = "tokenizer.ggml.add_space_prefix";
    header.metadata.insert(key.into(), GgufValue::Bool(false));
    let tokenizer = AutoTokenizer::from_gguf(&header, Path::new("x.gguf")).unwrap();
    let ids = tokenizer.encode("the sea", false).unwrap();
    assert!(!tokenizer.id_to_token(ids[0]).unwrap().starts_with('▁'));
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), "the sea");
}

/// What each change to a good file's metadata is refused for.
#[test]
fn wrong_metadata_is_refused_with_file_and_key() {
    let strings = |texts: &[&str]| {
        GgufValue::Array(GgufArray::String(
            texts.iter().map(|text| text.to_string()).collect(),
        ))
    };
    let cases: [(&str, &str, Option<GgufValue>); 11] = [
        ("tokenizer.ggml.model", "tokenizer.ggml.model", None),
        (
            "tokenizer.ggml.model",
            "\"rwkv\" is not a kind of vocabulary",
            Some(GgufValue::String("rwkv".into())),
        ),
        ("tokenizer.ggml.tokens", "missing or empty", None),
        (
            "tokenizer.ggml.tokens",
            "missing or empty",
            Some(strings(&[])),
        ),
        (
            "tokenizer.ggml.tokens",
            "missing or empty",
            Some(GgufValue::U32(3)),
        ),
        (
            "tokenizer.ggml.token_type",
            "one per token",
            Some(GgufValue::Array(GgufArray::I32(vec![1]))),
        ),
        (
            "tokenizer.ggml.merges",
            "neither merges nor `tokenizer.ggml.scores`",
            None,
        ),
        (
            "tokenizer.ggml.merges",
            "not two tokens",
            Some(strings(&["a b c"])),
        ),
        (
            "tokenizer.ggml.merges",
            "cannot be used",
            Some(strings(&["nosuch token"])),
        ),
        (
            "tokenizer.ggml.bos_token_id",
            "not the id of one",
            Some(GgufValue::U32(1 << 30)),
        ),
        (
            "tokenizer.ggml.eos_token_id",
            "not the id of one",
            Some(GgufValue::String("2".into())),
        ),
    ];
    for (key, expected, changed) in cases {
        let mut header = gguf("byte_level.gguf");
        match changed {
            Some(value) => header.metadata.insert(key.into(), value),
            None => header.metadata.remove(key),
        };
        let error = AutoTokenizer::from_gguf(&header, Path::new("model.gguf"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{key}: {error}");
        assert!(
            error.contains("model.gguf: `tokenizer.ggml."),
            "{key}: {error}"
        );
    }
}

#[test]
fn scores_that_are_no_numbers_do_no_harm() {
    let mut header: GgufHeader = gguf("sentence_piece.gguf");
    let tokens = header
        .get("tokenizer.ggml.tokens")
        .unwrap()
        .as_array()
        .unwrap()
        .len();
    let scores = GgufArray::F32(
        (0..tokens)
            .map(|id| if id % 2 == 0 { f32::NAN } else { f32::INFINITY })
            .collect(),
    );
    header
        .metadata
        .insert("tokenizer.ggml.scores".into(), GgufValue::Array(scores));
    let tokenizer = AutoTokenizer::from_gguf(&header, Path::new("x.gguf")).unwrap();
    assert_eq!(
        tokenizer
            .decode(&tokenizer.encode("the sea", false).unwrap(), true)
            .unwrap(),
        "the sea"
    );
}

/// What a tokenizer writes, as a file has it.
fn written(tokenizer: &Tokenizer, architecture: &str, rows: usize) -> GgufHeader {
    let metadata = tokenizer.to_gguf(architecture, rows).unwrap();
    let architecture = GgufValue::String(architecture.into());
    let named = ("general.architecture".to_owned(), architecture);
    GgufHeader {
        version: 3,
        metadata: metadata.into_iter().chain([named]).collect(),
        tensors: Vec::new(),
        data_offset: 0,
    }
}

#[test]
fn what_is_written_is_read_back() {
    for (source, architecture) in [
        ("byte_level", "qwen2"),
        ("sentence_piece", "llama"),
        ("byte_level.gguf", "llama"),
        ("sentence_piece.gguf", "llama"),
    ] {
        let original = AutoTokenizer::from_pretrained(golden(source)).unwrap();
        let rows = original.vocab_size() + 3;
        let header = written(&original, architecture, rows);
        let read = AutoTokenizer::from_gguf(&header, Path::new("x.gguf")).unwrap();
        assert_eq!(read.vocab_size(), rows, "{source}");
        assert_eq!(read.bos_token_id(), original.bos_token_id(), "{source}");
        assert_eq!(read.eos_token_id(), original.eos_token_id(), "{source}");
        assert_eq!(read.pad_token_id(), original.pad_token_id(), "{source}");
        assert_eq!(read.has_chat_template(), original.has_chat_template());
        let inputs: Value = common::read("more_inputs.json");
        for text in inputs["texts"].as_array().unwrap().iter().map(common::text) {
            let ids = original.encode(text, true).unwrap();
            assert_eq!(read.encode(text, true).unwrap(), ids, "{source}: {text:?}");
            let decoded = original.decode(&ids, true).unwrap();
            assert_eq!(
                read.decode(&ids, true).unwrap(),
                decoded,
                "{source}: {text:?}"
            );
        }
        for token in original.all_special_tokens() {
            if Some(token) != original.unk_token() {
                let ids = original.encode(token, false).unwrap();
                assert_eq!(read.encode(token, false).unwrap(), ids, "{source}: {token}");
            }
        }
    }
}

#[test]
fn what_a_file_cannot_hold_is_refused() {
    let refused = |folder: &str, rows: usize, expected: &str| {
        let error = common::tokenizer(folder)
            .to_gguf("llama", rows)
            .unwrap_err();
        let error = error.to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused("word_piece", 1 << 16, "byte pairs");
    refused("byte_level", 10, "10 rows");
}
