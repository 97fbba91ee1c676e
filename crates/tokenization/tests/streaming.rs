//! Streaming gives the same text as decoding at once, whatever the ids, and whole characters.
#![allow(clippy::unwrap_used)]

mod common;

use common::{FOLDERS, Random, gguf, golden, ids, read, tokenizer};
use serde_json::Value;
use transformers_tokenization::{AutoTokenizer, Tokenizer};

fn check(tokenizer: &Tokenizer, ids: &[u32], skip_special_tokens: bool) {
    let mut stream = tokenizer.decode_stream(skip_special_tokens);
    let mut pieces = Vec::new();
    for &id in ids {
        pieces.extend(stream.push(id).unwrap());
    }
    pieces.extend(stream.finish().unwrap());
    assert!(pieces.iter().all(|piece| !piece.is_empty()));
    assert_eq!(
        pieces.concat(),
        tokenizer.decode(ids, skip_special_tokens).unwrap(),
        "{ids:?}: {pieces:?}"
    );
}

#[test]
fn the_pieces_of_real_texts_make_the_text() {
    for folder in FOLDERS {
        let tokenizer = tokenizer(folder);
        for [_, with_special, ..] in read::<Vec<[Value; 5]>>(&format!("{folder}/texts.json")) {
            check(&tokenizer, &ids(&with_special), true);
            check(&tokenizer, &ids(&with_special), false);
        }
    }
}

#[test]
fn the_pieces_of_any_ids_make_the_text() {
    let mut tokenizers: Vec<Tokenizer> = FOLDERS.map(tokenizer).into();
    for name in ["byte_level.gguf", "sentence_piece.gguf"] {
        tokenizers.push(AutoTokenizer::from_gguf(&gguf(name), &golden(name)).unwrap());
    }
    let mut random = Random(0x5eed);
    for tokenizer in &tokenizers {
        for _ in 0..1_000 {
            // Few different ids at a time, so that broken characters and runs of bytes and of signs are common.
            let pool: Vec<u32> = (0..1 + random.below(12))
                .map(|_| random.below(tokenizer.vocab_size()) as u32)
                .collect();
            let ids: Vec<u32> = (0..random.below(40))
                .map(|_| pool[random.below(pool.len())])
                .collect();
            check(tokenizer, &ids, random.below(2) == 0);
        }
    }
}

#[test]
fn the_pieces_of_punctuated_word_pieces_make_the_text() {
    let tokenizer = tokenizer("word_piece");
    let pool: Vec<u32> = [
        ".", ",", "!", "?", "'", "n", "t", "s", "m", "re", "ve", "a", "the", "##s", "[SEP]",
    ]
    .iter()
    .filter_map(|token| tokenizer.token_to_id(token))
    .collect();
    assert!(pool.len() > 8);
    let mut random = Random(7);
    for _ in 0..3_000 {
        let ids: Vec<u32> = (0..random.below(12))
            .map(|_| pool[random.below(pool.len())])
            .collect();
        check(&tokenizer, &ids, true);
    }
}

#[test]
fn a_character_is_held_until_it_is_whole() {
    for folder in ["byte_level", "sentence_piece"] {
        let tokenizer = tokenizer(folder);
        let ids = tokenizer.encode("a🙂b", false).unwrap();
        let mut stream = tokenizer.decode_stream(true);
        let pieces: Vec<String> = ids
            .iter()
            .filter_map(|&id| stream.push(id).unwrap())
            .collect();
        assert!(
            ids.len() >= 6,
            "the test needs a character of several tokens"
        );
        assert!(
            pieces.iter().all(|piece| !piece.contains('\u{fffd}')),
            "{folder}: {pieces:?}"
        );
        assert_eq!(pieces.concat(), "a🙂b", "{folder}");
    }
}

#[test]
fn words_come_out_as_they_are_complete() {
    let tokenizer = tokenizer("byte_level");
    let ids = tokenizer.encode("the sea", false).unwrap();
    let mut stream = tokenizer.decode_stream(true);
    let pieces: Vec<Option<String>> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    assert!(pieces.iter().all(Option::is_some), "{pieces:?}");
}

#[test]
fn a_stream_that_is_dropped_or_empty_gives_nothing() {
    let tokenizer = tokenizer("byte_level");
    assert_eq!(tokenizer.decode_stream(true).finish().unwrap(), None);
    let mut stream = tokenizer.decode_stream(true);
    assert_eq!(
        stream.push(tokenizer.eos_token_id().unwrap()).unwrap(),
        None
    );
    assert_eq!(stream.finish().unwrap(), None);
}

#[test]
fn the_pieces_of_other_backends_make_the_text() {
    let texts: Vec<[serde_json::Value; 5]> = common::read("byte_level/texts.json");
    let mut folders: Vec<_> = [
        "mistral/model_v3",
        "mistral/tekken_v7",
        "auto/llama",
        "auto/t5",
    ]
    .map(common::golden)
    .into();
    let folder = tempfile::tempdir().unwrap();
    let model = common::golden("sentencepiece/unigram_bytes.model");
    std::fs::copy(model, folder.path().join("spiece.model")).unwrap();
    folders.push(folder.path().to_owned());
    for folder in folders {
        let tokenizer = transformers_tokenization::AutoTokenizer::from_pretrained(folder).unwrap();
        let mut random = common::Random(3);
        let odd = (0..200).map(|_| {
            let length = random.below(12);
            (0..length)
                .map(|_| random.below(tokenizer.vocab_size()) as u32)
                .collect()
        });
        let of_texts = texts
            .iter()
            .map(|row| tokenizer.encode(common::text(&row[0]), true).unwrap());
        for ids in of_texts.chain(odd.collect::<Vec<Vec<u32>>>()) {
            for skip in [false, true] {
                let mut stream = tokenizer.decode_stream(skip);
                let mut text = String::new();
                for id in &ids {
                    text.extend(stream.push(*id).unwrap());
                }
                text.extend(stream.finish().unwrap());
                assert_eq!(
                    text,
                    tokenizer.decode(&ids, skip).unwrap(),
                    "{tokenizer:?}: {ids:?}"
                );
            }
        }
    }
}
