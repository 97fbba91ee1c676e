//! What the fuzz targets and the replayed corpus do with the bytes of a tokenizer: read them, and encode and decode with
//! what they give. Errors are fine; a panic, a hang or memory without end is not.
#![allow(dead_code)] // each target calls one of them

use transformers_tokenization::{
    AutoTokenizer, EncodeOptions, Inputs, Padding, SentencePieceProcessor, Tokenizer, Truncation,
};

const TEXTS: [&str; 7] = [
    "",
    "the quick  brown fox's",
    " é🙂 日本語\u{301}\n\t\r\n  x",
    "<s>[CLS] a</s> ▁b ##c<x>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "12345 ab ba aba  \u{0}\u{ad}\u{feff}ﬁ",
    "x",
];

/// As `tokenizer.json`.
pub fn tokenizer(bytes: &[u8]) {
    if let Ok(tokenizer) = AutoTokenizer::from_bytes(bytes) {
        use_tokenizer(&tokenizer);
    }
}

fn use_tokenizer(tokenizer: &Tokenizer) {
    let options = EncodeOptions {
        truncation: Truncation::LongestFirst,
        max_length: Some(9),
        stride: 1,
        return_overflowing_tokens: true,
        padding: Padding::Longest,
        ..EncodeOptions::default()
    };
    let words = vec![TEXTS.to_vec()];
    for inputs in [
        Inputs::texts(&TEXTS),
        Inputs::texts(&TEXTS).with_pairs(&TEXTS),
        Inputs::words(&words),
    ] {
        tokenizer.call(inputs.clone(), &options).ok();
        let Ok(batch) = tokenizer.call(inputs, &EncodeOptions::default()) else {
            continue;
        };
        for (row, ids) in batch.input_ids.iter().enumerate() {
            decode(tokenizer, ids);
            for position in 0..ids.len() {
                batch.token_to_chars(row, position);
                batch.char_to_token(row, position, 0);
            }
        }
    }
    decode(tokenizer, &[0, 1, 2, 3, 4, 5, 6, 7, 300, u32::MAX]);
}

/// What comes piece by piece is what comes at once.
fn decode(tokenizer: &Tokenizer, ids: &[u32]) {
    for skip in [false, true] {
        let whole = tokenizer.decode(ids, skip);
        let mut stream = tokenizer.decode_stream(skip);
        let pieces = ids.iter().map(|id| stream.push(*id));
        let pieces = pieces.collect::<Result<Vec<_>, _>>();
        let rest = stream.finish();
        if let (Ok(_), Ok(pieces), Ok(rest)) = (whole, pieces, rest) {
            let _: String = pieces.into_iter().chain([rest]).flatten().collect();
        }
    }
}

/// As each of the older files of a vocabulary, alone in its folder.
pub fn vocabulary(bytes: &[u8]) {
    for name in ["tekken.json", "x.tiktoken", "vocab.json", "vocab.txt"] {
        let folder = tempfile::tempdir().expect("a folder for the file");
        std::fs::write(folder.path().join(name), bytes).expect("the file can be written");
        if let Ok(tokenizer) = AutoTokenizer::from_pretrained(folder.path()) {
            use_tokenizer(&tokenizer);
        }
    }
}

/// As a SentencePiece model.
pub fn sentencepiece(bytes: &[u8]) {
    let Ok(model) = SentencePieceProcessor::from_bytes(bytes) else {
        return;
    };
    for text in TEXTS {
        let pieces = model.pieces(text);
        for piece in &pieces {
            assert!(text.get(piece.range.clone()).is_some(), "{piece:?}");
        }
        let ids: Vec<u32> = pieces.iter().map(|piece| piece.id).collect();
        assert_eq!(model.encode(text), ids);
        assert!(model.decode(&ids).is_ok());
        model.normalize(text);
    }
    model.decode(&[0, 1, 2, u32::MAX]).ok();
}
