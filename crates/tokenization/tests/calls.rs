//! Calls with pairs, words, targets and overflow, and the ways between characters, words and tokens, against the
//! reference (`tests/oracle/golden_calls.py`).
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;

use common::{FOLDERS, read, text, tokenizer};
use serde_json::{Value, json};
use transformers_tokenization::{
    AddedToken, BatchEncoding, EncodeOptions, Inputs, Padding, PlainTokenizer, PlainVocabulary,
    Result, Side, SpecialTokensPattern, TokenizationError, Tokenizer, Truncation,
};

fn options(arguments: &Value) -> EncodeOptions {
    let number = |key: &str| arguments[key].as_u64().map(|number| number as usize);
    EncodeOptions {
        add_special_tokens: arguments["add_special_tokens"] != false,
        padding: match &arguments["padding"] {
            Value::Bool(true) => Padding::Longest,
            Value::String(strategy) if strategy == "max_length" => Padding::MaxLength,
            _ => Padding::None,
        },
        padding_side: (arguments["padding_side"] == "left").then_some(Side::Left),
        pad_to_multiple_of: number("pad_to_multiple_of"),
        truncation: match arguments["truncation"].as_str() {
            Some("only_first") => Truncation::OnlyFirst,
            Some("only_second") => Truncation::OnlySecond,
            _ if arguments["truncation"] == true => Truncation::LongestFirst,
            _ => Truncation::None,
        },
        max_length: number("max_length"),
        stride: number("stride").unwrap_or(0),
        return_overflowing_tokens: arguments["return_overflowing_tokens"] == true,
    }
}

/// The inputs of all calls.
struct Given {
    texts: Vec<String>,
    pairs: Vec<String>,
    words: Vec<Vec<String>>,
    word_pairs: Vec<Vec<String>>,
}

impl Given {
    fn read() -> Self {
        let inputs: Value = read("more_inputs.json");
        let list = |key: &str| serde_json::from_value(inputs[key].clone()).unwrap();
        let words = |key: &str| serde_json::from_value(inputs[key].clone()).unwrap();
        Self {
            texts: list("texts"),
            pairs: list("pairs"),
            words: words("words"),
            word_pairs: words("word pairs"),
        }
    }

    fn call(
        &self,
        tokenizer: &Tokenizer,
        kind: &str,
        options: &EncodeOptions,
    ) -> Result<BatchEncoding> {
        let inputs = match kind {
            "texts" => Inputs::texts(&self.texts),
            "pairs" => Inputs::texts(&self.texts).with_pairs(&self.pairs),
            "targets" => Inputs::texts(&self.texts).with_targets(&self.pairs),
            "words" => Inputs::words(&self.words),
            _ => Inputs::words(&self.words).with_word_pairs(&self.word_pairs),
        };
        tokenizer.call(inputs, options)
    }
}

#[test]
fn calls_return_what_the_reference_returns() {
    let given = Given::read();
    for folder in FOLDERS {
        let tokenizer = tokenizer(folder);
        let calls: Vec<Value> = read(&format!("{folder}/more_calls.json"));
        let mut errors = 0;
        for call in &calls {
            let context = format!("{folder}, {}: {}", call["inputs"], call["options"]);
            let result = given.call(
                &tokenizer,
                text(&call["inputs"]),
                &options(&call["options"]),
            );
            if call["error"].is_string() {
                errors += 1;
                assert!(result.is_err(), "{context}: {}", call["error"]);
                continue;
            }
            check(&result.unwrap(), call, &context);
        }
        assert!(errors > 0 && errors < calls.len() / 2);
    }
}

fn check(batch: &BatchEncoding, call: &Value, context: &str) {
    let rows = 0..batch.len();
    for (key, found) in [
        ("input_ids", json!(batch.input_ids)),
        ("attention_mask", json!(batch.attention_mask)),
        ("token_type_ids", json!(batch.token_type_ids)),
        ("special_tokens_mask", json!(batch.special_tokens_mask)),
        ("labels", json!(batch.labels)),
        (
            "tokens",
            rows.clone().map(|row| json!(batch.tokens(row))).collect(),
        ),
        (
            "offset_mapping",
            rows.clone()
                .map(|row| json!(batch.offset_mapping(row)))
                .collect(),
        ),
        (
            "word_ids",
            rows.clone().map(|row| json!(batch.word_ids(row))).collect(),
        ),
        (
            "sequence_ids",
            rows.clone()
                .map(|row| json!(batch.sequence_ids(row)))
                .collect(),
        ),
    ] {
        assert_eq!(found, call[key], "{context}: {key}");
    }
    if !call["overflow_to_sample_mapping"].is_null() {
        assert_eq!(
            json!(batch.overflow_to_sample_mapping),
            call["overflow_to_sample_mapping"]
        );
    }
    for (row, expected) in call["lookups"].as_array().into_iter().flatten().enumerate() {
        check_lookups(batch, row, expected, &format!("{context}, row {row}"));
    }
}

fn check_lookups(batch: &BatchEncoding, row: usize, expected: &Value, context: &str) {
    type Lookup<'a> = Box<dyn Fn(usize, usize) -> Value + 'a>;
    let lookups: [(&str, Lookup<'_>); 4] = [
        (
            "char_to_token",
            Box::new(|n, s| json!(batch.char_to_token(row, n, s))),
        ),
        (
            "char_to_word",
            Box::new(|n, s| json!(batch.char_to_word(row, n, s))),
        ),
        (
            "word_to_tokens",
            Box::new(|n, s| json!(batch.word_to_tokens(row, n as u32, s))),
        ),
        (
            "word_to_chars",
            Box::new(|n, s| json!(batch.word_to_chars(row, n as u32, s))),
        ),
    ];
    for (key, lookup) in lookups {
        let sequences = expected[key].as_array().unwrap();
        for (sequence, values) in sequences.iter().enumerate() {
            for (index, value) in values.as_array().unwrap().iter().enumerate() {
                assert_eq!(
                    lookup(index, sequence),
                    *value,
                    "{context}: {key}({index}, {sequence})"
                );
            }
        }
        assert_eq!(
            lookup(0, sequences.len()),
            Value::Null,
            "{context}: {key} of no text"
        );
    }
    let tokens = batch.tokens(row).len();
    assert_eq!(batch.token_to_chars(row, tokens), None);
    assert_eq!(batch.token_to_sequence(row, tokens), None);
    assert_eq!(batch.token_to_word(row + 1000, 0), None);
}

#[test]
fn inputs_have_to_fit_together() {
    let tokenizer = tokenizer("byte_level");
    let defaults = EncodeOptions::default();
    for inputs in [
        Inputs::texts(&["a", "b"]).with_pairs(&["c"]),
        Inputs::texts(&["a", "b"]).with_targets(&["c"]),
    ] {
        let error = tokenizer.call(inputs, &defaults).unwrap_err();
        assert!(error.to_string().contains("give one for each"), "{error}");
    }
    let endless = EncodeOptions {
        truncation: Truncation::LongestFirst,
        max_length: Some(50_000),
        stride: 49_999,
        return_overflowing_tokens: true,
        ..defaults
    };
    let long = "a b c ".repeat(30_000);
    let error = tokenizer
        .call(Inputs::texts(&[long]), &endless)
        .unwrap_err();
    assert!(
        matches!(error, TokenizationError::InvalidOptions(_)),
        "{error}"
    );
}

#[test]
fn one_text_and_many_come_back_as_they_went_in() {
    let tokenizer = tokenizer("byte_level");
    let one = tokenizer.encode("Hello world", true).unwrap();
    let many = tokenizer.encode(&["Hello world", "x"], true).unwrap();
    assert_eq!(many[0], one);
    assert_eq!(tokenizer.decode(&one, true).unwrap(), "Hello world");
    assert_eq!(tokenizer.decode(&many, true).unwrap(), ["Hello world", "x"]);
    assert_eq!(tokenizer.decode(many[1][0], true).unwrap(), "x");
}

fn plain(case: &Value) -> Tokenizer {
    let words = ["<unk>", "hello", "world", "x", "[cls]", "</s>"];
    let ids: HashMap<String, u32> = words.into_iter().map(str::to_owned).zip(0..).collect();
    let split = |text: &str| {
        text.to_lowercase()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let mask = AddedToken::from("[MASK]", true)
        .lstrip(true)
        .normalized(false);
    let mut tokenizer = PlainTokenizer::new(PlainVocabulary::new(ids, split))
        .special_token("unk_token", "<unk>")
        .special_token("eos_token", "</s>")
        .special_token("bos_token", "<s>")
        .special_token("pad_token", "<pad>")
        .special_token("cls_token", "[CLS]")
        .special_token("sep_token", "[SEP]")
        .special_added_token("mask_token", mask)
        .pattern(match text(&case["pattern"]) {
            "cls_sep" => SpecialTokensPattern::ClsSep,
            "eos" => SpecialTokensPattern::Eos,
            "bos" => SpecialTokensPattern::Bos,
            "bos_eos" => SpecialTokensPattern::BosEos,
            "cls_double_sep" => SpecialTokensPattern::ClsDoubleSep,
            _ => SpecialTokensPattern::None,
        })
        .token_types(case["types"] == "bert_style")
        .build()
        .unwrap();
    let added = tokenizer.add_tokens([
        AddedToken::from("<tool>", false)
            .normalized(false)
            .lstrip(true)
            .rstrip(true),
        AddedToken::from("<b>", false).normalized(false),
    ]);
    assert_eq!(added.unwrap(), 2);
    tokenizer
}

#[test]
fn a_plain_function_gives_what_the_python_backend_gives() {
    let golden: Value = read("plain.json");
    let texts: Vec<String> = serde_json::from_value(golden["texts"].clone()).unwrap();
    let reversed: Vec<String> = texts.iter().rev().cloned().collect();
    for case in golden["cases"].as_array().unwrap() {
        let tokenizer = plain(case);
        let context = text(&case["pattern"]);
        assert_eq!(
            json!(tokenizer.get_vocab()),
            case["vocabulary"],
            "{context}"
        );
        for call in case["calls"].as_array().unwrap() {
            let mut inputs = Inputs::texts(&texts);
            if call["pairs"] == true {
                inputs = inputs.with_pairs(&reversed);
            }
            let context = format!("{context}, pairs: {}, {}", call["pairs"], call["options"]);
            let batch = tokenizer.call(inputs, &options(&call["options"])).unwrap();
            for (row, found) in batch.input_ids.iter().enumerate() {
                assert_eq!(
                    json!(found),
                    call["input_ids"][row],
                    "{context}: {:?}",
                    texts[row]
                );
            }
            assert_eq!(
                json!(batch.attention_mask),
                call["attention_mask"],
                "{context}"
            );
            assert_eq!(
                json!(batch.token_type_ids),
                call["token_type_ids"],
                "{context}"
            );
        }
        for row in case["decoded"].as_array().unwrap() {
            let ids = common::ids(&row[0]);
            assert_eq!(
                tokenizer.decode(&ids, false).unwrap(),
                text(&row[1]),
                "{context}"
            );
            assert_eq!(
                tokenizer.decode(&ids, true).unwrap(),
                text(&row[2]),
                "{context}"
            );
        }
    }
}

#[test]
fn a_plain_tokenizer_needs_the_tokens_of_its_pattern() {
    let words =
        || PlainVocabulary::new([("a".to_owned(), 0)].into(), |_: &str| vec!["b".to_owned()]);
    let result = PlainTokenizer::new(words())
        .pattern(SpecialTokensPattern::Eos)
        .build();
    assert!(matches!(result, Err(TokenizationError::InvalidOptions(_))));
    let tokenizer = PlainTokenizer::new(words()).build().unwrap();
    assert!(
        tokenizer
            .encode("x", true)
            .unwrap_err()
            .to_string()
            .contains("no unknown token")
    );
}
