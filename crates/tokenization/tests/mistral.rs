//! Texts and conversations against mistral-common (`tests/oracle/golden_mistral.py`).
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;

use common::{golden, ids, text};
use serde_json::Value;
use transformers_tokenization::{
    AutoTokenizer, ChatMessage, ChatTemplateOptions, TokenizationError, Tokenizer,
};

/// The committed folders, and those that the golden script was run on by hand.
fn folders() -> Vec<PathBuf> {
    let more = std::env::var_os("MISTRAL_GOLDEN").map(PathBuf::from);
    let parents = [Some(golden("mistral")), more];
    let entries = parents
        .iter()
        .flatten()
        .flat_map(|parent| std::fs::read_dir(parent).unwrap());
    let mut folders: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() >= 11);
    folders
}

fn each(check: impl Fn(&Tokenizer, &Value, &str)) {
    for folder in folders() {
        let tokenizer = AutoTokenizer::from_pretrained(folder.clone()).unwrap();
        let golden = std::fs::read_to_string(folder.with_extension("json")).unwrap();
        let name = folder.file_name().unwrap().to_str().unwrap();
        check(&tokenizer, &serde_json::from_str(&golden).unwrap(), name);
    }
}

#[test]
fn texts_have_the_ids_of_the_library() {
    each(|tokenizer, golden, name| {
        for row in golden["texts"].as_array().unwrap() {
            let context = format!("{name}: {}", row[0]);
            let expected = ids(&row[1]);
            assert_eq!(
                tokenizer.encode(text(&row[0]), true).unwrap(),
                expected,
                "{context}"
            );
            assert_eq!(
                tokenizer.decode(&expected, true).unwrap(),
                text(&row[2]),
                "{context}"
            );
        }
        for row in golden["decoded"].as_array().unwrap() {
            let ids = ids(&row[0]);
            assert_eq!(
                tokenizer.decode(&ids, true).unwrap(),
                text(&row[1]),
                "{name}: {ids:?}"
            );
        }
    });
}

#[test]
fn conversations_have_the_ids_of_the_library() {
    let conversations: Value = common::read("mistral/conversations.json");
    each(|tokenizer, golden, name| {
        let cases = golden["chats"].as_array().unwrap();
        assert!(cases.len() > 30);
        for case in cases {
            let conversation = &conversations[text(&case["name"])];
            let messages: Vec<ChatMessage> =
                serde_json::from_value(conversation["messages"].clone()).unwrap();
            let options = ChatTemplateOptions {
                continue_final_message: conversation["continue_final_message"] == true,
                tools: serde_json::from_value(conversation["tools"].clone()).unwrap(),
                extra: ["reasoning_effort", "response_format"]
                    .into_iter()
                    .map(|name| (name.to_owned(), conversation[name].clone()))
                    .collect(),
                ..Default::default()
            };
            let context = format!("{name}: {}", case["name"]);
            let result = tokenizer.apply_chat_template(&messages, &options);
            if case["error"].is_string() {
                assert!(
                    matches!(result, Err(TokenizationError::InvalidConversation(_))),
                    "{context}: {} {result:?}",
                    case["message"]
                );
            } else {
                assert_eq!(result.unwrap().input_ids[0], ids(&case["ids"]), "{context}");
            }
        }
    });
}

#[test]
fn holes_are_encoded_as_in_the_library() {
    each(|tokenizer, golden, name| {
        for row in golden["fim"].as_array().unwrap() {
            let result = tokenizer.encode_fim(text(&row[0]), row[1].as_str());
            if row[2].is_null() {
                assert!(result.is_err(), "{name}: {row}");
            } else {
                assert_eq!(result.unwrap(), ids(&row[2]), "{name}: {row}");
            }
        }
    });
}
