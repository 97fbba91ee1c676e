//! Files that would take endless time or memory, or ids that do not fit: errors, or linear time.
#![allow(clippy::unwrap_used)]

mod common;

use common::golden;
use serde_json::{Value, json};
use transformers_tokenization::{
    AddedToken, AutoTokenizer, SentencePieceProcessor, TokenizationError, Tokenizer,
};

fn read(file: &Value) -> Result<Tokenizer, TokenizationError> {
    AutoTokenizer::from_bytes(file.to_string().as_bytes())
}

#[track_caller]
fn check_error(file: &Value, expected: &str) {
    let error = read(file).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

fn words(more: &Value) -> Value {
    let mut file = json!({"version": "1.0", "model": {"type": "WordPiece", "unk_token": "[UNK]",
        "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "a": 1, "##a": 2}}});
    for (key, value) in more.as_object().unwrap() {
        *file.pointer_mut(key).unwrap() = value.clone();
    }
    file
}

fn letters(more: &Value) -> Value {
    let mut file = json!({"version": "1.0",
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "aa": 2, "ba": 3, "aab": 4}, "merges": [["a", "a"], ["b", "a"]]}});
    let map = file.as_object_mut().unwrap();
    map.extend(more.as_object().unwrap().clone());
    file
}

#[test]
fn lengths_have_to_be_sensible() {
    let length = "/model/max_input_chars_per_word";
    assert!(read(&words(&json!({}))).is_ok());
    for wrong in [json!(-1), json!(1e30), json!("x")] {
        check_error(
            &words(&json!({length: wrong})),
            "not a tokenizer that can be read",
        );
    }
    check_error(
        &words(&json!({length: 1_000_000})),
        "`max_input_chars_per_word` is 1000000",
    );
}

#[test]
fn replacements_may_not_blow_a_text_up() {
    let replace = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    let times = |count: usize| vec![replace.clone(); count];
    let normalizer =
        |count| letters(&json!({"normalizer": {"type": "Sequence", "normalizers": times(count)}}));
    assert_eq!(
        read(&normalizer(3))
            .unwrap()
            .encode("a", false)
            .unwrap()
            .len(),
        4
    );
    check_error(&normalizer(30), "1073741824 times longer");
    check_error(
        &letters(&json!({"decoder": {"type": "Sequence", "decoders": times(30)}})),
        "times longer",
    );
    let long = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "b".repeat(5000)});
    check_error(&letters(&json!({"normalizer": long})), "5000 times longer");
}

#[test]
fn patterns_that_try_too_many_ways_are_an_error() {
    let split = |pattern: &str| {
        let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        read(&letters(&json!({"pre_tokenizer": split}))).unwrap()
    };
    let text = "a".repeat(5000);
    // An automaton does not mind.
    assert!(split("(a+)+b|(a|aa)+b|a").encode(&text, false).is_ok());
    let tokenizer = split("(?:(?!x)a|(?!y)a)*b|a");
    assert_eq!(tokenizer.encode("aaa", false).unwrap(), [0, 0, 0]);
    let error = tokenizer.encode(&text, false).unwrap_err();
    assert!(
        matches!(&error, TokenizationError::PatternLimit { pattern } if pattern.contains("(?!x)"))
    );
    assert!(tokenizer.tokenize(&text, false).is_err());
}

#[test]
fn what_is_replaced_is_found_in_linear_time_or_not_at_all() {
    let replace = |pattern: &str| {
        let replace = json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": "b"});
        letters(&json!({"normalizer": replace}))
    };
    let text = "a".repeat(5000) + "!";
    let linear = read(&replace("(a+)+b|(a|aa)+!")).unwrap();
    assert_eq!(linear.encode(&text, false).unwrap(), [1]);
    let error = read(&replace("(?:(?!x)a|(?!y)a)*b|a"))
        .unwrap()
        .encode(&text, false)
        .unwrap_err();
    assert!(matches!(error, TokenizationError::PatternLimit { .. }));
    let looks_around = json!({"type": "Replace", "pattern": {"Regex": "a(?!b)"}, "content": ""});
    check_error(&letters(&json!({"decoder": looks_around})), "looks around");
}

#[test]
fn what_is_replaced_may_be_nothing() {
    for pattern in ["(?<!\\n)^", "x*", "(?<=c)", "$", "^", "b*", "", "a?$"] {
        for content in ["", "b", "bb"] {
            let replace =
                json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": content});
            let tokenizer = read(&letters(&json!({"normalizer": replace}))).unwrap();
            for text in ["", "a", "abc", "c\nc", "é\u{301}a"] {
                let batch = tokenizer
                    .encode_batch(&[text], &Default::default())
                    .unwrap();
                assert!(
                    batch
                        .offset_mapping(0)
                        .iter()
                        .all(|(start, end)| start <= end && *end <= text.len())
                );
            }
        }
    }
    let begin = json!({"type": "Replace", "pattern": {"Regex": "(?<!\\n)^"}, "content": "b"});
    let tokenizer = read(&letters(&json!({"normalizer": begin}))).unwrap();
    assert_eq!(tokenizer.encode("a", false).unwrap(), [3]); // as in Python
}

#[test]
fn merges_are_no_longer_than_the_longest_token() {
    let file = json!({"version": "1.0", "model": {"type": "BPE", "vocab": {"aa": 0, "bb": 1}, "merges": [["aa", "bb"]]}});
    check_error(&file, "gives no token");
}

#[test]
fn merges_in_circles_end() {
    let file = json!({"version": "1.0", "model": {"type": "BPE",
        "vocab": {"a": 0, "b": 1, "ab": 2, "ba": 3, "aba": 4, "bab": 5},
        "merges": [["a", "b"], ["b", "a"], ["ab", "a"], ["a", "ba"], ["b", "ab"], ["ba", "b"], ["a", "b"], ["ab", "a"]]}});
    let tokenizer = read(&file).unwrap();
    for text in ["ab", "aba", "bab", &"ab".repeat(100_000)] {
        let ids = tokenizer.encode(text, false).unwrap();
        assert_eq!(
            tokenizer.decode(&ids, false).unwrap().replace(' ', ""),
            text
        );
    }
    // A merge whose parts are empty never happens.
    let file = json!({"version": "1.0", "model": {"type": "BPE", "vocab": {"": 0, "a": 1, "aa": 2},
        "merges": [["", "a"], ["a", ""], ["a", "a"]]}});
    if let Ok(tokenizer) = read(&file) {
        assert_eq!(tokenizer.encode("aaa", false).unwrap(), [2, 1]);
    }
    check_error(
        &json!({"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}}),
        "not a tokenizer",
    );
}

#[test]
fn ids_at_the_end_of_their_range_leave_no_room() {
    let last = json!({"id": u32::MAX, "content": "aab", "special": true, "normalized": false, "single_word": false,
        "lstrip": false, "rstrip": false});
    let mut file = letters(&json!({"added_tokens": [last]}));
    file["model"]["vocab"]["aab"] = u32::MAX.into();
    let mut tokenizer = read(&file).unwrap();
    assert_eq!(tokenizer.encode("aabaa", false).unwrap(), [u32::MAX, 2]);
    let error = tokenizer
        .add_tokens([AddedToken::from("<new>", true)])
        .unwrap_err();
    assert!(
        error.to_string().contains("leaves no ids for new tokens"),
        "{error}"
    );
    assert_eq!(tokenizer.encode("aa", false).unwrap(), [2]);
}

#[test]
fn every_beginning_of_a_model_is_an_error_or_a_model() {
    for name in ["unigram", "bpe_bytes"] {
        let whole = std::fs::read(golden(&format!("sentencepiece/{name}.model"))).unwrap();
        let steps = (0..whole.len()).step_by(7);
        for length in steps {
            if let Ok(model) = SentencePieceProcessor::from_bytes(&whole[..length]) {
                model.encode("the sea 日本");
            }
        }
    }
    // A field that says it is longer than everything; pieces without end.
    let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert!(SentencePieceProcessor::from_bytes(&huge).is_err());
    assert!(SentencePieceProcessor::from_bytes(&[0x0a, 0x00].repeat(100_000)).is_err());
}

#[test]
fn every_beginning_of_a_tokenizer_file_is_an_error() {
    for name in common::FOLDERS {
        let whole = std::fs::read(golden(name).join("tokenizer.json")).unwrap();
        let whole = whole.trim_ascii_end();
        for length in (0..whole.len()).step_by(97) {
            assert!(AutoTokenizer::from_bytes(&whole[..length]).is_err());
        }
        assert!(AutoTokenizer::from_bytes(whole).is_ok());
    }
}

#[test]
fn long_words_take_linear_time() {
    let text = "a".repeat(1 << 20);
    let tokenizer = read(&words(&json!({}))).unwrap();
    assert_eq!(tokenizer.encode(&text, false).unwrap(), [0]);
    let ids = read(&letters(&json!({})))
        .unwrap()
        .encode(&text, false)
        .unwrap();
    assert_eq!(ids, vec![2; 1 << 19]);
    let pieces: Vec<(String, f64)> = (1..200)
        .map(|length| ("a".repeat(length), -(length as f64).sqrt()))
        .collect();
    let unigram =
        json!({"version": "1.0", "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces}});
    let ids = read(&unigram)
        .unwrap()
        .encode(&text[..100_000], false)
        .unwrap();
    assert_eq!(ids.len(), 100_000usize.div_ceil(199));
}
