//! Our SentencePiece against the C++ library itself; with the feature `sentencepiece`.
#![cfg(feature = "sentencepiece")]
#![allow(clippy::unwrap_used)]

mod common;

use common::{read, sentencepiece_models, text};
use serde_json::Value;
use transformers_tokenization::{
    PlainTokenizer, SentencePieceLibrary, SentencePieceProcessor, TokenizationError, Tokenize,
};

#[test]
fn ids_and_texts_are_those_of_the_library() {
    let texts: Vec<[Value; 5]> = read("byte_level/texts.json");
    let texts: Vec<&str> = texts.iter().map(|row| text(&row[0])).collect();
    for path in sentencepiece_models() {
        let ours = SentencePieceProcessor::open(&path).unwrap();
        let library = SentencePieceLibrary::open(&path).unwrap();
        for &text in &texts {
            let context = format!("{}: {text:?}", path.display());
            let found = ours.pieces(text).into_iter();
            let (ids, pieces): (Vec<_>, Vec<_>) =
                found.map(|piece| (piece.id, piece.piece)).unzip();
            assert_eq!(ids, library.encode(text), "{context}");
            assert_eq!(pieces, library.tokenize(text), "{context}");
            let pieces = ids.iter().map(|&id| library.id_to_token(id).unwrap());
            let decoded = library.join(pieces.collect());
            assert_eq!(ours.decode(&ids).unwrap(), decoded, "{context}");
        }
    }
}

#[test]
fn the_library_is_a_tokenizer() {
    let path = common::golden("sentencepiece/bpe_bytes.model");
    let ours = SentencePieceProcessor::open(&path).unwrap();
    let theirs = PlainTokenizer::new(SentencePieceLibrary::open(&path).unwrap())
        .special_token("unk_token", "<unk>")
        .build()
        .unwrap();
    assert_eq!(theirs.vocab_size(), ours.vocab_size());
    let text = "The café of 日本 \u{1f600}";
    let ids = theirs.encode(text, false).unwrap();
    assert_eq!(ids, ours.encode(text));
    assert_eq!(theirs.decode(&ids, true).unwrap(), text);
}

#[test]
fn damaged_models_are_refused() {
    let whole = std::fs::read(common::golden("sentencepiece/bpe.model")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short.model");
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(
        SentencePieceLibrary::open(&path),
        Err(TokenizationError::InvalidFile { .. })
    ));
}
