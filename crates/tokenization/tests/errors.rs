//! Files and options that are wrong: each gives an error that says what and where.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{golden, tokenizer};
use transformers_tokenization::{
    AutoTokenizer, EncodeOptions, Padding, TokenizationError, Truncation,
};

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn load_error(path: &Path) -> String {
    AutoTokenizer::from_pretrained(path)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_folder_without_a_tokenizer_is_named_with_a_remedy() {
    let empty = folder(&[]);
    let error = load_error(empty.path());
    assert!(
        error.contains("has no tokenizer.json;") && error.contains("save_pretrained"),
        "{error}"
    );
    assert!(error.contains(empty.path().to_str().unwrap()), "{error}");
    for broken in [
        "tokenizer.model",
        "tekken.json",
        "tokenizer.model.v3",
        "tokenizer.model.v99",
        "tiktoken.model",
    ] {
        let error = load_error(folder(&[(broken, "x")]).path());
        assert!(error.contains(&format!("{broken}: ")), "{error}");
    }
    assert!(load_error(Path::new("/no/such/folder/")).contains("/no/such/folder"));
}

#[test]
fn files_that_are_no_tokenizer_are_named() {
    for (file, content) in [
        ("tokenizer.json", ""),
        ("tokenizer.json", "{"),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "[1, 2]"),
        ("tokenizer.json", "\u{0}\u{1}"),
        (
            "tokenizer.json",
            r#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}"#,
        ),
        (
            "tokenizer.json",
            r#"{"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}"#,
        ),
        (
            "tokenizer.json",
            r#"{"model": {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 7}}"#,
        ),
    ] {
        let error = load_error(folder(&[(file, content)]).path());
        assert!(
            error.contains("tokenizer.json: not a tokenizer"),
            "{content}: {error}"
        );
    }
    let error = load_error(&{
        let good = std::fs::read_to_string(golden("byte_level/tokenizer.json")).unwrap();
        folder(&[("tokenizer.json", &good[..good.len() / 2])]).keep()
    });
    assert!(error.contains("tokenizer.json: not a tokenizer"), "{error}");
}

#[test]
fn settings_of_the_wrong_kind_are_named_with_their_key() {
    let good = std::fs::read_to_string(golden("byte_level/tokenizer.json")).unwrap();
    for (config, expected) in [
        ("[]", "tokenizer_config.json: not a JSON object"),
        (
            "{\"eos_token\": ",
            "tokenizer_config.json: not a JSON object",
        ),
        (
            r#"{"padding_side": "up"}"#,
            "`padding_side`: \"up\" is neither",
        ),
        (
            r#"{"truncation_side": 1}"#,
            "`truncation_side`: 1 is neither",
        ),
        (
            r#"{"model_max_length": "long"}"#,
            "`model_max_length`: \"long\" is not a length",
        ),
        (
            r#"{"model_max_length": -5}"#,
            "`model_max_length`: -5 is not a length",
        ),
        (
            r#"{"eos_token": 3}"#,
            "`eos_token`: 3 is neither a token's text",
        ),
        (r#"{"eos_token": {"text": "x"}}"#, "`eos_token`:"),
        (
            r#"{"added_tokens_decoder": {"x": "y"}}"#,
            "`added_tokens_decoder`: `x` is not an id",
        ),
        (
            r#"{"added_tokens_decoder": []}"#,
            "`added_tokens_decoder`: not an object",
        ),
        (
            r#"{"chat_template": 1}"#,
            "`chat_template`: neither a template nor",
        ),
        (
            r#"{"chat_template": [{"name": "x"}]}"#,
            "`chat_template`: an entry",
        ),
        (
            r#"{"clean_up_tokenization_spaces": "yes"}"#,
            "`clean_up_tokenization_spaces`:",
        ),
    ] {
        let folder = folder(&[("tokenizer.json", &good), ("tokenizer_config.json", config)]);
        let error = load_error(folder.path());
        assert!(
            error.contains(expected) && error.contains("tokenizer_config.json"),
            "{config}: {error}"
        );
    }
}

#[test]
fn ids_without_a_token_are_left_out() {
    let tokenizer = tokenizer("byte_level");
    let a = tokenizer.token_to_id("a").unwrap();
    for id in [403, u32::MAX] {
        assert_eq!(tokenizer.decode(&[a, id, a], false).unwrap(), "aa");
        let mut stream = tokenizer.decode_stream(false);
        assert_eq!(stream.push(id).unwrap(), None);
        assert_eq!(stream.push(a).unwrap().as_deref(), Some("a"));
    }
}

#[test]
fn options_that_contradict_are_refused() {
    let refused = |folder: &str, options: EncodeOptions, expected: &str| {
        let error = tokenizer(folder)
            .encode_batch(&["the sea and the river"], &options)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    let truncated = EncodeOptions {
        truncation: Truncation::LongestFirst,
        ..Default::default()
    };
    refused(
        "word_piece",
        EncodeOptions {
            max_length: Some(1),
            ..truncated
        },
        "2 special tokens are added",
    );
    refused(
        "word_piece",
        EncodeOptions {
            max_length: Some(10),
            padding: Padding::Longest,
            pad_to_multiple_of: Some(8),
            ..truncated
        },
        "not a multiple of `pad_to_multiple_of`, 8",
    );
    let huge = EncodeOptions {
        padding: Padding::MaxLength,
        max_length: Some(usize::MAX),
        ..Default::default()
    };
    refused("word_piece", huge, "is more than");

    let good = std::fs::read_to_string(golden("sentence_piece/tokenizer.json")).unwrap();
    let bare = folder(&[("tokenizer.json", &good)]);
    let bare = AutoTokenizer::from_pretrained(bare.path()).unwrap();
    let padded = EncodeOptions {
        padding: Padding::Longest,
        ..Default::default()
    };
    assert!(matches!(
        bare.encode_batch(&["a"], &padded),
        Err(TokenizationError::NoPadToken)
    ));
}

#[test]
fn long_texts_of_one_character_are_encoded() {
    for text in [
        " ".repeat(200_000),
        "a".repeat(200_000),
        "\n".repeat(200_000),
        "🙂".repeat(20_000),
    ] {
        for folder in ["byte_level", "sentence_piece"] {
            let text = format!("x{text}");
            let tokenizer = tokenizer(folder);
            let ids = tokenizer.encode(&text, false).unwrap();
            assert!(
                tokenizer.decode(&ids, false).unwrap() == text,
                "{folder}: {:?}",
                text.chars().last()
            );
        }
    }
}

#[test]
fn no_files_leave_the_folder_when_saving() {
    let tokenizer_json = std::fs::read_to_string(golden("byte_level/tokenizer.json")).unwrap();
    let config = r#"{"chat_template": [{"name": "../../escape", "template": "x"}]}"#;
    let source = folder(&[
        ("tokenizer.json", &tokenizer_json),
        ("tokenizer_config.json", config),
    ]);
    let tokenizer = AutoTokenizer::from_pretrained(source.path()).unwrap();
    let target = tempfile::tempdir().unwrap();
    let error = tokenizer
        .save_pretrained(target.path())
        .unwrap_err()
        .to_string();
    assert!(error.contains("../../escape"), "{error}");
}
