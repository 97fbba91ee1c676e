//! Pieces against the C++ library (`tests/oracle/golden_sentencepiece.py`).
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;

use common::{golden, sentencepiece_models as models, text};
use serde_json::Value;
use transformers_tokenization::{SentencePieceProcessor, TokenizationError};

fn read(path: PathBuf) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn pieces_ids_and_ranges_are_those_of_the_library() {
    for path in models() {
        let model = SentencePieceProcessor::open(&path).unwrap();
        let rows = read(path.with_extension("json"));
        for row in rows.as_array().unwrap() {
            let input = text(&row[0]);
            let found: Vec<_> = model
                .pieces(input)
                .into_iter()
                .map(|piece| (piece.id, piece.piece, piece.range.start, piece.range.end))
                .collect();
            let context = format!("{}: {input:?}", path.display());
            assert_eq!(serde_json::to_value(&found).unwrap(), row[1], "{context}");
            let ids: Vec<u32> = found.iter().map(|piece| piece.0).collect();
            assert_eq!(model.encode(input), ids, "{context}");
            assert_eq!(model.decode(&ids).unwrap(), text(&row[2]), "{context}");
        }
    }
}

#[test]
fn any_ids_decode_as_in_the_library() {
    for path in models() {
        let model = SentencePieceProcessor::open(&path).unwrap();
        let golden = read(path.with_extension("decoded.json"));
        let special = [
            model.bos_id(),
            model.eos_id(),
            model.unk_id(),
            model.pad_id(),
        ]
        .map(|id| id.map_or(-1, i64::from));
        assert_eq!(serde_json::to_value(special).unwrap(), golden["special"]);
        for row in golden["decoded"].as_array().unwrap() {
            let ids = common::ids(&row[0]);
            let context = format!("{}: {ids:?}", path.display());
            assert_eq!(model.decode(&ids).unwrap(), text(&row[1]), "{context}");
        }
        let size = model.vocab_size() as u32;
        assert!(matches!(
            model.decode(&[size]),
            Err(TokenizationError::UnknownId { .. })
        ));
    }
}

#[test]
fn damaged_models_are_refused_and_never_panic() {
    let whole = std::fs::read(golden("sentencepiece/unigram.model")).unwrap();
    let mut random = common::Random(7);
    for length in 0..whole.len() {
        if let Ok(model) = SentencePieceProcessor::from_bytes(&whole[..length]) {
            model.encode("ﬁne e\u{301}  the"); // cut between two fields
        }
    }
    for _ in 0..3000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(4) {
            let position = random.below(bytes.len());
            bytes[position] = random.below(256) as u8;
        }
        if let Ok(model) = SentencePieceProcessor::from_bytes(&bytes) {
            let ids = model.encode("ﬁne e\u{301} ½  <tool> the \u{3000} end");
            model.decode(&ids).unwrap();
        }
    }
}

#[test]
fn long_texts_take_linear_time() {
    for name in ["unigram", "bpe", "bpe_bytes", "unigram_bytes"] {
        let path = golden(&format!("sentencepiece/{name}.model"));
        let model = SentencePieceProcessor::open(&path).unwrap();
        let long = "aaaa the 日 ".repeat(40_000);
        assert!(model.encode(&long).len() > 100_000);
    }
}
