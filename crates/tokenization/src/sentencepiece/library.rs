//! The C++ library of SentencePiece, with the feature `sentencepiece`: the original, to hold against
//! [`SentencePieceProcessor`](crate::SentencePieceProcessor), which needs no C++.
//!
//! The binding brings version 0.2.1. It adds scores of Unigram models in f64 and keeps them in f32, so that of two equally
//! good spellings it may take another one than 0.2.3, whose sums are in f32 throughout as ours are.

use std::path::Path;

use sentencepiece::{PieceWithId, SentencePieceProcessor as Library};

use super::proto::read_model;
use crate::{Result, TokenizationError, Tokenize, files};

/// A SentencePiece model in the C++ library, for a [`PlainTokenizer`](crate::PlainTokenizer).
pub struct SentencePieceLibrary {
    library: Library,
    /// By id: the library finds ids of pieces, and not the other way.
    pieces: Vec<String>,
}

impl SentencePieceLibrary {
    /// Reads a `.model` file.
    pub fn open(path: &Path) -> Result<Self> {
        let invalid = |reason: String| TokenizationError::InvalidFile {
            path: path.to_owned(),
            reason,
        };
        let bytes = files::read(path)?;
        let model = read_model(&bytes).map_err(invalid)?;
        let pieces = model.pieces.iter().map(|piece| piece.piece().to_owned());
        Ok(Self {
            pieces: pieces.collect(),
            library: Library::from_serialized_proto(&bytes)
                .map_err(|error| invalid(error.to_string()))?,
        })
    }

    /// The ids of a text; nothing is put around it.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let pieces = self.pieces_of(text);
        pieces.into_iter().map(|piece| piece.id).collect()
    }

    fn pieces_of(&self, text: &str) -> Vec<PieceWithId> {
        // A model that was read encodes every text; to the binding, the nothing of an empty one is a failure.
        self.library.encode(text).unwrap_or_default()
    }
}

impl Tokenize for SentencePieceLibrary {
    fn tokenize(&self, text: &str) -> Vec<String> {
        let pieces = self.pieces_of(text).into_iter();
        pieces.map(|piece| piece.piece).collect()
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        let known = self.library.piece_to_id(token).ok().flatten();
        // To the library, the unknown piece is as unknown as what has no piece.
        known.or_else(|| {
            let unknown = self.library.unk_id();
            (self.id_to_token(unknown)? == token).then_some(unknown)
        })
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.pieces.get(id as usize).cloned()
    }

    fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    fn join(&self, tokens: Vec<String>) -> String {
        self.library.decode_pieces(&tokens).unwrap_or_default()
    }
}
