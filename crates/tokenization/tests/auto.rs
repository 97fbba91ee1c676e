//! Older vocabulary files against the reference's `AutoTokenizer` (`tests/oracle/golden_auto.py`).
#![allow(clippy::unwrap_used)]

mod common;

use common::{golden, ids, read, text};
use serde_json::{Value, json};
use transformers_tokenization::{AutoTokenizer, Side, TokenizationError};

#[test]
fn folders_give_what_they_give_in_the_reference() {
    let mut folders = 0;
    for entry in std::fs::read_dir(golden("auto")).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        folders += 1;
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let golden: Value = read(&format!("auto/{name}.json"));
        let tokenizer = AutoTokenizer::from_pretrained(path).unwrap();
        for row in golden["texts"].as_array().unwrap() {
            let context = format!("{name}: {}", row[0]);
            let expected = ids(&row[1]);
            assert_eq!(
                tokenizer.encode(text(&row[0]), true).unwrap(),
                expected,
                "{context}"
            );
            assert_eq!(
                tokenizer.decode(&expected, false).unwrap(),
                text(&row[2]),
                "{context}"
            );
            assert_eq!(
                tokenizer.decode(&expected, true).unwrap(),
                text(&row[3]),
                "{context}"
            );
        }
        let pair = tokenizer
            .encode_pairs(&[("a b", "c")], &Default::default())
            .unwrap();
        assert_eq!(json!(pair.input_ids[0]), golden["pair"], "{name}");
        assert_eq!(json!(tokenizer.vocab_size()), golden["size"], "{name}");
        let special: Value = tokenizer
            .special_tokens_map()
            .iter()
            .map(|(name, token)| (name.clone(), json!([token, tokenizer.token_to_id(token)])))
            .collect();
        assert_eq!(special, golden["special"], "{name}");
        // The reference also lists user-defined pieces of SentencePiece there, which it does not take for special.
        let mut extra: Vec<String> = serde_json::from_value(golden["extra"].clone()).unwrap();
        extra.retain(|token| tokenizer.is_special_id(tokenizer.token_to_id(token).unwrap()));
        assert_eq!(tokenizer.extra_special_tokens(), extra, "{name}");
        let side = if golden["padding_side"] == "left" {
            Side::Left
        } else {
            Side::Right
        };
        assert_eq!(tokenizer.padding_side(), side, "{name}");
    }
    assert!(folders > 8);
}

#[test]
fn a_model_of_no_class_is_taken_as_it_is() {
    let rows: Value = read("sentencepiece/unigram.json");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spiece.model");
    std::fs::copy(golden("sentencepiece/unigram.model"), file).unwrap();
    let tokenizer = AutoTokenizer::from_pretrained(folder.path()).unwrap();
    assert_eq!(tokenizer.bos_token(), Some("<s>"));
    // Control tokens in a text are theirs, as the reference's SentencePieceBackend has it.
    for row in rows
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| !text(&row[0]).contains('<'))
    {
        let pieces = row[1].as_array().unwrap();
        let expected: Vec<&Value> = pieces.iter().map(|piece| &piece[0]).collect();
        let found = tokenizer.encode(text(&row[0]), true).unwrap();
        assert_eq!(json!(found), json!(expected), "{}", row[0]);
        assert_eq!(tokenizer.decode(&found, false).unwrap(), text(&row[2]));
    }
}

/// Their ids would be others than Python's.
#[test]
fn classes_that_are_programs_are_refused() {
    for (name, content) in [
        (
            "tokenizer_config.json",
            json!({"tokenizer_class": "MarianTokenizer"}),
        ),
        ("config.json", json!({"model_type": "wav2vec2"})),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("vocab.json"), "{\"a\": 0, \"b\": 1}").unwrap();
        std::fs::write(folder.path().join(name), content.to_string()).unwrap();
        let error = AutoTokenizer::from_pretrained(folder.path()).unwrap_err();
        assert!(
            matches!(error, TokenizationError::CodedClass { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn broken_files_are_named() {
    for (name, content) in [
        ("vocab.json", "{\"a\": -1}"),
        ("vocab.json", "[]"),
        ("config.json", "{"),
        ("merges.txt", "#version\nab\n"),
        ("x.tiktoken", "YQ== 0\nYg==\n"),
        ("x.tiktoken", "!!! 0\n"),
        ("spiece.model", "\u{1}\u{2}\u{3}"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("vocab.json"), "{\"a\": 0, \"b\": 1}").unwrap();
        std::fs::write(folder.path().join(name), content).unwrap();
        let error = AutoTokenizer::from_pretrained(folder.path()).unwrap_err();
        assert!(
            matches!(error, TokenizationError::InvalidFile { .. }),
            "{name}: {error}"
        );
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn an_older_template_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        golden("byte_level/tokenizer.json"),
        folder.path().join("tokenizer.json"),
    )
    .unwrap();
    let file = json!({"chat_template": "{{ messages[0].content }}!"}).to_string();
    std::fs::write(folder.path().join("chat_template.json"), file).unwrap();
    let tokenizer = AutoTokenizer::from_pretrained(folder.path()).unwrap();
    let messages = [transformers_tokenization::ChatMessage::user("Hi")];
    let text = tokenizer
        .render_chat_template(&messages, &Default::default())
        .unwrap();
    assert_eq!(text, "Hi!");
}
