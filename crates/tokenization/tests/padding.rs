//! Padding what was encoded before, and smaller parts of the interface.
#![allow(clippy::unwrap_used)]

mod common;

use common::tokenizer;
use transformers_tokenization::{
    BatchEncoding, EncodeOptions, Inputs, Padding, Side, TokenizationError,
};

const TEXTS: [&str; 3] = ["What is the sea?", "It", "The quick brown fox jumps."];

#[test]
fn rows_are_padded_as_if_they_were_encoded_together() {
    let tokenizer = tokenizer("word_piece");
    let plain = EncodeOptions::default();
    for options in [
        plain,
        EncodeOptions {
            padding: Padding::Longest,
            ..plain
        },
        EncodeOptions {
            padding: Padding::Longest,
            padding_side: Some(Side::Left),
            ..plain
        },
        EncodeOptions {
            padding: Padding::Longest,
            pad_to_multiple_of: Some(16),
            ..plain
        },
        EncodeOptions {
            padding: Padding::MaxLength,
            max_length: Some(40),
            ..plain
        },
    ] {
        let rows = TEXTS.map(|text| tokenizer.encode_batch(&[text], &plain).unwrap());
        let padded = tokenizer.pad(rows, &options).unwrap();
        assert_eq!(padded, tokenizer.encode_batch(&TEXTS, &options).unwrap());
    }
}

#[test]
fn ids_of_elsewhere_are_padded() {
    let tokenizer = tokenizer("word_piece");
    let pad = tokenizer.pad_token_id().unwrap();
    let batch = BatchEncoding::from_ids(vec![vec![5, 6, 7], vec![8], vec![]]);
    let options = EncodeOptions {
        padding: Padding::Longest,
        padding_side: Some(Side::Right),
        ..Default::default()
    };
    let padded = tokenizer.pad([batch], &options).unwrap();
    assert_eq!(
        padded.input_ids,
        [[5, 6, 7], [8, pad, pad], [pad, pad, pad]]
    );
    assert_eq!(padded.attention_mask, [[1, 1, 1], [1, 0, 0], [0, 0, 0]]);
    assert_eq!(
        padded.special_tokens_mask,
        [[0, 0, 0], [0, 1, 1], [1, 1, 1]]
    );
    assert_eq!(padded.overflow_to_sample_mapping, [0, 1, 2]);

    // What was changed since counts.
    let mut changed = tokenizer
        .encode_batch(&["It"], &EncodeOptions::default())
        .unwrap();
    changed.input_ids[0].truncate(2);
    changed.attention_mask[0].truncate(2);
    let padded = tokenizer
        .pad(
            [changed, BatchEncoding::from_ids(vec![vec![1; 4]])],
            &options,
        )
        .unwrap();
    assert_eq!(
        (padded.input_ids[0].len(), &padded.attention_mask[0][..]),
        (4, &[1, 1, 0, 0][..])
    );
}

#[test]
fn labels_stay_as_they_are() {
    let tokenizer = tokenizer("word_piece");
    let options = EncodeOptions {
        padding: Padding::Longest,
        ..Default::default()
    };
    let row = |text, target| {
        let inputs =
            Inputs::texts(std::slice::from_ref(text)).with_targets(std::slice::from_ref(target));
        tokenizer.call(inputs, &EncodeOptions::default()).unwrap()
    };
    let (first, second) = (row(&TEXTS[0], &"a"), row(&TEXTS[1], &"a b"));
    let labels = [
        first.labels.clone().unwrap(),
        second.labels.clone().unwrap(),
    ]
    .concat();
    let padded = tokenizer.pad([first.clone(), second], &options).unwrap();
    assert_eq!(padded.labels, Some(labels));
    let without = BatchEncoding::from_ids(vec![vec![1]]);
    assert_eq!(
        tokenizer.pad([first, without], &options).unwrap().labels,
        None
    );
    assert!(tokenizer.pad([], &options).unwrap().is_empty());
}

#[test]
fn padding_needs_its_token_and_a_sensible_length() {
    let rows = || [BatchEncoding::from_ids(vec![vec![1]])];
    let options = EncodeOptions {
        padding: Padding::MaxLength,
        max_length: Some(usize::MAX),
        ..Default::default()
    };
    let error = tokenizer("word_piece").pad(rows(), &options).unwrap_err();
    assert!(error.to_string().contains("is more than"), "{error}");
    let bare = transformers_tokenization::AutoTokenizer::from_file(&common::golden(
        "byte_level/tokenizer.json",
    ))
    .unwrap();
    let options = EncodeOptions {
        padding: Padding::Longest,
        ..Default::default()
    };
    assert!(matches!(
        bare.pad(rows(), &options),
        Err(TokenizationError::NoPadToken)
    ));
}

#[test]
fn tokens_become_text() {
    let tokenizer = tokenizer("byte_level");
    let tokens = tokenizer.tokenize("Hello, é world", false).unwrap();
    assert_eq!(
        tokenizer.convert_tokens_to_string(&tokens).unwrap(),
        "Hello, é world"
    );
    assert_eq!(
        tokenizer
            .convert_tokens_to_string(&["Ġunheard", "Ġof"])
            .unwrap(),
        " unheard of"
    );
    assert_eq!(tokenizer.convert_tokens_to_string(&[""; 0]).unwrap(), "");
}

#[test]
fn special_tokens_are_counted_and_marked() {
    let tokenizer = tokenizer("word_piece");
    let ids = tokenizer.encode("the", true).unwrap();
    let mut mask = vec![0; ids.len()];
    mask[0] = 1;
    *mask.last_mut().unwrap() = 1;
    assert_eq!(tokenizer.get_special_tokens_mask(&ids), mask);
    assert_eq!(tokenizer.max_len_single_sentence(), Some(14));
    assert_eq!(tokenizer.max_len_sentences_pair(), Some(13));
    let added = tokenizer.get_added_vocab();
    assert_eq!(added.get("[CLS]"), tokenizer.cls_token_id().as_ref());
    assert_eq!(added.len(), tokenizer.added_tokens_decoder().len());
}

#[test]
fn texts_begin_and_end_as_asked() {
    let tokenizer = tokenizer("byte_level");
    let (bos, eos) = (
        tokenizer.bos_token_id().unwrap(),
        tokenizer.eos_token_id().unwrap(),
    );
    let bare = tokenizer.encode("Hello", false).unwrap();
    for (begins, ends) in [(true, true), (true, false), (false, true), (false, false)] {
        let around = tokenizer.clone().with_bos_eos(begins, ends).unwrap();
        let mut expected = if begins { vec![bos] } else { vec![] };
        expected.extend(&bare);
        expected.extend(ends.then_some(eos));
        assert_eq!(around.encode("Hello", true).unwrap(), expected);
    }
    let error = common::tokenizer("word_piece")
        .with_bos_eos(true, false)
        .unwrap_err();
    assert!(error.to_string().contains("`bos_token`"), "{error}");
}
