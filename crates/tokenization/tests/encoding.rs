//! Ids, texts, batches and attributes against the reference (`tests/oracle/golden_tokenization.py`).
#![allow(clippy::unwrap_used)]

mod common;

use common::{FOLDERS, ids, read, text, tokenizer};
use serde_json::Value;
use transformers_tokenization::{
    AutoTokenizer, EncodeOptions, Padding, Side, Tokenizer, Truncation,
};

#[test]
fn texts_have_the_ids_of_the_reference_and_decode_alike() {
    for folder in FOLDERS {
        let tokenizer = tokenizer(folder);
        let rows: Vec<[Value; 5]> = read(&format!("{folder}/texts.json"));
        assert!(rows.len() > 100);
        for [input, with_special, without_special, decoded, skipped] in &rows {
            let expected = ids(with_special);
            let context = format!("{folder}: {input}");
            assert_eq!(
                tokenizer.encode(text(input), true).unwrap(),
                expected,
                "{context}"
            );
            assert_eq!(
                tokenizer.encode(text(input), false).unwrap(),
                ids(without_special),
                "{context}"
            );
            assert_eq!(
                tokenizer.decode(&expected, false).unwrap(),
                text(decoded),
                "{context}"
            );
            assert_eq!(
                tokenizer.decode(&expected, true).unwrap(),
                text(skipped),
                "{context}"
            );
        }
    }
}

/// The options of one recorded call, from the keyword arguments of the reference's `__call__`.
fn options(arguments: &Value) -> EncodeOptions {
    let number = |key: &str| arguments[key].as_u64().map(|number| number as usize);
    let truncation = match &arguments["truncation"] {
        Value::Bool(true) => Truncation::LongestFirst,
        Value::String(strategy) => match strategy.as_str() {
            "longest_first" => Truncation::LongestFirst,
            "only_first" => Truncation::OnlyFirst,
            "only_second" => Truncation::OnlySecond,
            other => panic!("{other}"),
        },
        _ => Truncation::None,
    };
    let padding = match &arguments["padding"] {
        Value::Bool(true) => Padding::Longest,
        Value::String(strategy) if strategy == "max_length" => Padding::MaxLength,
        _ => Padding::None,
    };
    EncodeOptions {
        add_special_tokens: arguments["add_special_tokens"].as_bool().unwrap_or(true),
        padding,
        padding_side: (arguments["padding_side"] == "left").then_some(Side::Left),
        pad_to_multiple_of: number("pad_to_multiple_of"),
        truncation,
        max_length: number("max_length"),
        stride: number("stride").unwrap_or(0),
        return_overflowing_tokens: arguments["return_overflowing_tokens"] == true,
    }
}

#[test]
fn batches_are_padded_and_truncated_as_in_the_reference() {
    let rows = |value: &Value| -> Vec<Vec<u32>> { serde_json::from_value(value.clone()).unwrap() };
    for folder in FOLDERS {
        let tokenizer = tokenizer(folder);
        let golden: Value = read(&format!("{folder}/calls.json"));
        let texts: Vec<String> = serde_json::from_value(golden["texts"].clone()).unwrap();
        let pairs: Vec<(String, String)> = serde_json::from_value(golden["pairs"].clone()).unwrap();
        for (key, is_pair) in [("calls", false), ("pair_calls", true)] {
            for call in golden[key].as_array().unwrap() {
                let options = options(&call["options"]);
                let result = if is_pair {
                    tokenizer.encode_pairs(&pairs, &options)
                } else {
                    tokenizer.encode_batch(&texts, &options)
                };
                let context = format!("{folder}, {key}: {}", call["options"]);
                if call["error"].is_string() {
                    assert!(result.is_err(), "{context}");
                    continue;
                }
                let batch = result.unwrap();
                assert_eq!(batch.input_ids, rows(&call["input_ids"]), "{context}");
                assert_eq!(
                    batch.attention_mask,
                    rows(&call["attention_mask"]),
                    "{context}"
                );
                assert_eq!(
                    batch.token_type_ids,
                    rows(&call["token_type_ids"]),
                    "{context}"
                );
            }
        }
    }
}

fn check_attributes(tokenizer: &Tokenizer, folder: &str) {
    let golden: Value = read(&format!("{folder}/attributes.json"));
    let side = |name: &str| match text(&golden[name]) {
        "left" => Side::Left,
        _ => Side::Right,
    };
    assert_eq!(
        tokenizer.vocab_size() as u64,
        golden["vocab_size"].as_u64().unwrap(),
        "{folder}"
    );
    assert_eq!(tokenizer.padding_side(), side("padding_side"), "{folder}");
    assert_eq!(
        tokenizer.truncation_side(),
        side("truncation_side"),
        "{folder}"
    );
    let max_length = golden["model_max_length"]
        .as_u64()
        .map(|length| length as usize);
    assert_eq!(tokenizer.model_max_length(), max_length, "{folder}");
    for (name, pair) in golden["special_tokens"].as_object().unwrap() {
        assert_eq!(
            tokenizer.special_token(name),
            pair[0].as_str(),
            "{folder}: {name}"
        );
        let id = pair[1].as_u64().map(|id| id as u32);
        assert_eq!(tokenizer.special_token_id(name), id, "{folder}: {name}");
    }
    for pair in golden["added_tokens"].as_array().unwrap() {
        let id = pair[1].as_u64().map(|id| id as u32);
        assert_eq!(
            tokenizer.token_to_id(text(&pair[0])),
            id,
            "{folder}: {pair}"
        );
    }
}

#[test]
fn attributes_are_those_of_the_reference() {
    for folder in FOLDERS {
        check_attributes(&tokenizer(folder), folder);
    }
    let tokenizer = tokenizer("byte_level");
    assert_eq!(tokenizer.bos_token(), Some("<|im_start|>"));
    assert_eq!(tokenizer.eos_token_id(), Some(2));
    assert_eq!(tokenizer.pad_token_id(), Some(2));
    assert_eq!(tokenizer.id_to_token(400).as_deref(), Some("<tool>"));
    assert!(tokenizer.is_special_id(2) && !tokenizer.is_special_id(400));
}

#[test]
fn what_is_saved_reads_back_alike() {
    for folder in FOLDERS {
        let original = tokenizer(folder);
        let saved = tempfile::tempdir().unwrap();
        original.save_pretrained(saved.path()).unwrap();
        let read_back = AutoTokenizer::from_pretrained(saved.path()).unwrap();
        check_attributes(&read_back, folder);

        let rows: Vec<[Value; 5]> = read(&format!("{folder}/texts.json"));
        for [input, with_special, ..] in &rows {
            assert_eq!(
                read_back.encode(text(input), true).unwrap(),
                ids(with_special),
                "{folder}: {input}"
            );
        }
        assert_eq!(read_back.has_chat_template(), original.has_chat_template());

        let again = tempfile::tempdir().unwrap();
        read_back.save_pretrained(again.path()).unwrap();
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            let content = |folder: &tempfile::TempDir| {
                std::fs::read_to_string(folder.path().join(file)).unwrap()
            };
            assert_eq!(content(&saved), content(&again), "{folder}: {file}");
        }
    }
}

#[test]
fn a_padding_token_can_be_chosen() {
    let tokenizer = tokenizer("byte_level")
        .with_pad_token("<|endoftext|>")
        .unwrap()
        .with_padding_side(Side::Right);
    let options = EncodeOptions {
        padding: Padding::Longest,
        ..Default::default()
    };
    let batch = tokenizer.encode_batch(&["a", "aa bb"], &options).unwrap();
    assert_eq!(batch.input_ids[0].last(), Some(&0));
    assert_eq!(batch.attention_mask[0][0], 1);
    assert!(tokenizer.with_pad_token("no such token").is_err());
}
