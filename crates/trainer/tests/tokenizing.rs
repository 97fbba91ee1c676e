//! Columns of text as ids.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use transformers_tokenization::{AutoTokenizer, Tokenizer};
use transformers_trainer::data::{Example, ExampleTokenizer, Value, pack};

fn tokenizer(path: &str) -> Tokenizer {
    AutoTokenizer::from_pretrained(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path))
        .unwrap()
}

fn words() -> ExampleTokenizer {
    ExampleTokenizer::new(tokenizer("tokenization/tests/golden/word_piece")).with_max_length(16)
}

fn chat() -> ExampleTokenizer {
    ExampleTokenizer::new(tokenizer("transformers/tests/tiny"))
}

fn texts(texts: &[&str]) -> Value {
    Value::List(texts.iter().map(|text| (*text).into()).collect())
}

#[test]
fn texts_pairs_and_answers() {
    let encode = words();
    let example = Example::new()
        .with("a", "The capital of France is Paris.")
        .with("b", "Yes");
    let row = encode.text(&example, "a").unwrap();
    let ids = encode
        .tokenizer()
        .encode("The capital of France is Paris.", true)
        .unwrap();
    let first: Vec<i64> = ids.iter().take(16).map(|id| i64::from(*id)).collect();
    assert_eq!(row.integers("input_ids").unwrap().len(), first.len());
    assert_eq!(
        row.integers("input_ids").unwrap()[..first.len() - 1],
        first[..first.len() - 1]
    );
    assert_eq!(
        row.names().collect::<Vec<_>>(),
        ["input_ids", "attention_mask"]
    );
    let pair = encode.pair(&example, "b", "a").unwrap();
    assert!(pair.integers("token_type_ids").unwrap().contains(&1));
    let answer = encode.answer(&example, "a", "b").unwrap();
    let yes: Vec<i64> = encode
        .tokenizer()
        .encode("Yes", true)
        .unwrap()
        .into_iter()
        .map(i64::from)
        .collect();
    assert_eq!(answer.integers("labels").unwrap(), yes);
    let masked = encode
        .clone()
        .for_masking(true)
        .text(&example, "b")
        .unwrap();
    assert_eq!(
        masked.names().collect::<Vec<_>>(),
        [
            "input_ids",
            "attention_mask",
            "special_tokens_mask",
            "offset_mapping"
        ]
    );
    assert!(
        encode
            .text(&example, "c")
            .unwrap_err()
            .to_string()
            .contains("there are: a, b")
    );
}

#[test]
fn the_first_token_of_a_word_has_its_class() {
    let encode = words();
    let example = Example::new()
        .with("words", texts(&["Paris", "precisely"]))
        .with("tags", vec![3_i64, 5]);
    let row = encode.words(&example, "words", "tags").unwrap();
    let labels = row.integers("labels").unwrap();
    let classes: Vec<i64> = labels
        .iter()
        .copied()
        .filter(|label| *label != -100)
        .collect();
    assert_eq!(classes, [3, 5]);
    assert_eq!(
        (labels[0], labels[labels.len() - 1]),
        (-100, -100),
        "special tokens have none"
    );
    assert_eq!(labels.len(), row.integers("input_ids").unwrap().len());
    assert!(labels.len() > 4, "a word has several tokens");
    let short = example.with("tags", vec![3_i64]);
    let error = encode
        .words(&short, "words", "tags")
        .unwrap_err()
        .to_string();
    assert_eq!(error, "column `tags`: 1 classes for 2 words");
}

fn conversation() -> Example {
    let messages = serde_json::json!([
        {"role": "user", "content": "Who wrote Emma?"}, {"role": "assistant", "content": "Jane Austen."},
        {"role": "user", "content": "When?"}, {"role": "assistant", "content": "In 1815."},
    ]);
    Example::new().with("messages", messages)
}

#[test]
fn only_what_the_assistant_wrote_is_a_target() {
    let encode = chat();
    let row = encode.chat(&conversation(), "messages", true).unwrap();
    let (ids, labels) = (
        row.integers("input_ids").unwrap(),
        row.integers("labels").unwrap(),
    );
    assert_eq!(ids.len(), labels.len());
    let targets: Vec<u32> = labels
        .iter()
        .filter(|label| **label != -100)
        .map(|label| *label as u32)
        .collect();
    let text = encode.tokenizer().decode(&targets, true).unwrap();
    assert!(
        text.contains("Jane Austen.") && text.contains("In 1815."),
        "{text}"
    );
    assert!(!text.contains("Emma") && !text.contains("When"), "{text}");
    let kept = ids
        .iter()
        .zip(labels)
        .all(|(id, label)| *label == -100 || id == label);
    assert!(kept, "targets are the tokens");
    let whole = encode.chat(&conversation(), "messages", false).unwrap();
    assert_eq!(
        (whole.integers("input_ids").unwrap(), whole.get("labels")),
        (ids, None)
    );
    let cut = encode
        .with_max_length(5)
        .chat(&conversation(), "messages", true)
        .unwrap();
    assert_eq!(
        (
            cut.integers("input_ids").unwrap().len(),
            cut.integers("labels").unwrap().len()
        ),
        (5, 5)
    );
    let error = chat()
        .chat(&Example::new().with("messages", "Hello"), "messages", true)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "column `messages`: a text instead of a list of messages"
    );
}

#[test]
fn rows_are_packed_into_blocks() {
    let row = |ids: &[i64]| Ok(Example::new().with("input_ids", ids.to_vec()));
    let blocks = pack([row(&[1, 2, 3]), row(&[]), row(&[4, 5, 6, 7, 8])], 3).unwrap();
    let ids: Vec<_> = blocks
        .iter()
        .map(|block| block.integers("input_ids").unwrap())
        .collect();
    assert_eq!(ids, [[1, 2, 3], [4, 5, 6]]);
    let labelled = |ids: &[i64]| {
        row(ids).map(|row| row.with("labels", ids.iter().map(|id| -id).collect::<Vec<_>>()))
    };
    let blocks = pack([labelled(&[1, 2, 3, 4, 5]), labelled(&[6])], 2).unwrap();
    let labels: Vec<_> = blocks
        .iter()
        .map(|block| block.integers("labels").unwrap())
        .collect();
    assert_eq!(labels, [[-1, -2], [-3, -4], [-5, -6]]);
    assert!(pack([labelled(&[1]), row(&[2])], 2).is_err());
    assert_eq!(
        pack([row(&[1])], 2).unwrap_err().to_string(),
        "`block_size`: 1 tokens fill no block of 2"
    );
    assert!(pack([row(&[1])], 0).is_err());
}
