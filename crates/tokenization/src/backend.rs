//! What tokenises: a pipeline of the `tokenizers` crate, whose model and decoder may also be another backend's.
//!
//! Added tokens, normalisation, offsets, pairs and decoding are the pipeline's in each case.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::BpeTrainer;
use tokenizers::{
    DecoderWrapper, ModelWrapper, PostProcessorWrapper, Token, TokenizerBuilder, TokenizerImpl,
};

use crate::mistral::Ranks;
use crate::normalizer::Normalizer;
use crate::plain::Plain;
use crate::pre_tokenizer::PreTokenizer;
use crate::{SentencePieceProcessor, checks, model_file};

/// The pipeline of every backend.
pub(crate) type Backend =
    TokenizerImpl<Model, Normalizer, PreTokenizer, PostProcessorWrapper, Decoder>;

/// What finds the tokens of a normalised piece of text.
#[derive(Clone)]
#[allow(clippy::large_enum_variant)] // there is one per tokenizer
pub(crate) enum Model {
    Tokenizers(ModelWrapper),
    SentencePiece(SentencePieceProcessor),
    Ranks(Arc<Ranks>),
    Plain(Arc<Plain>),
}

/// What makes a text of tokens.
#[derive(Clone)]
pub(crate) enum Decoder {
    Tokenizers(DecoderWrapper),
    SentencePiece(SentencePieceProcessor),
    Plain(Arc<Plain>),
}

/// A pipeline of the `tokenizers` crate as a backend.
pub(crate) fn from_tokenizers(tokenizer: tokenizers::Tokenizer) -> tokenizers::Result<Backend> {
    let inner = tokenizer.into_inner();
    TokenizerBuilder::new()
        .with_model(Model::Tokenizers(inner.get_model().clone()))
        .with_normalizer(inner.get_normalizer().cloned().map(Normalizer::from))
        .with_pre_tokenizer(inner.get_pre_tokenizer().cloned().map(PreTokenizer::from))
        .with_post_processor(inner.get_post_processor().cloned())
        .with_decoder(inner.get_decoder().cloned().map(Decoder::Tokenizers))
        .with_added_vocabulary(inner.get_added_vocabulary().clone())
        .with_truncation(inner.get_truncation().cloned())
        .with_padding(inner.get_padding().cloned())
        .build()
}

/// A model alone: no normaliser and no split.
pub(crate) fn from_model(model: Model, decoder: Decoder) -> tokenizers::Result<Backend> {
    TokenizerBuilder::new()
        .with_model(model)
        .with_normalizer(None)
        .with_pre_tokenizer(None)
        .with_post_processor(None)
        .with_decoder(Some(decoder))
        .build()
}

impl tokenizers::Model for Model {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, text: &str) -> tokenizers::Result<Vec<Token>> {
        match self {
            Self::Tokenizers(model) => model.tokenize(text),
            Self::SentencePiece(model) => {
                let pieces = model.pieces(text).into_iter();
                let token = |piece: crate::TextPiece| {
                    Token::new(piece.id, piece.piece, (piece.range.start, piece.range.end))
                };
                Ok(pieces.map(token).collect())
            }
            Self::Ranks(model) => Ok(model.tokenize(text)),
            Self::Plain(model) => model.tokens(text),
        }
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        match self {
            Self::Tokenizers(model) => model.token_to_id(token),
            Self::SentencePiece(model) => model.piece_to_id(token),
            Self::Ranks(model) => model.token_to_id(token),
            Self::Plain(model) => model.tokenize.token_to_id(token),
        }
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        match self {
            Self::Tokenizers(model) => model.id_to_token(id),
            Self::SentencePiece(model) => model.id_to_piece(id).map(str::to_owned),
            Self::Ranks(model) => model.id_to_token(id),
            Self::Plain(model) => model.tokenize.id_to_token(id),
        }
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        if let Self::Tokenizers(model) = self {
            return model.get_vocab();
        }
        let ids = 0..u32::try_from(self.get_vocab_size()).unwrap_or(u32::MAX);
        ids.filter_map(|id| Some((self.id_to_token(id)?, id)))
            .collect()
    }

    fn get_vocab_size(&self) -> usize {
        match self {
            Self::Tokenizers(model) => model.get_vocab_size(),
            Self::SentencePiece(model) => model.vocab_size(),
            Self::Ranks(model) => model.vocab_size(),
            Self::Plain(model) => model.tokenize.vocab_size(),
        }
    }

    fn save(&self, folder: &Path, prefix: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        match self {
            Self::Tokenizers(model) => model.save(folder, prefix),
            _ => Err("only the models of the `tokenizers` crate are written one by one".into()),
        }
    }

    fn get_trainer(&self) -> TrainerWrapper {
        match self {
            Self::Tokenizers(model) => model.get_trainer(),
            _ => BpeTrainer::default().into(), // never asked for: only pipelines of the crate are trained
        }
    }
}

impl tokenizers::Decoder for Decoder {
    fn decode_chain(&self, tokens: Vec<String>) -> tokenizers::Result<Vec<String>> {
        match self {
            Self::Tokenizers(decoder) => decoder.decode_chain(tokens),
            Self::SentencePiece(model) => Ok(vec![model.show(tokens.iter().map(String::as_str))]),
            Self::Plain(model) => Ok(vec![model.tokenize.join(tokens)]),
        }
    }
}

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Tokenizers(model) => model.serialize(serializer),
            _ => Err(S::Error::custom(
                "this backend is not written as tokenizer.json",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        model_file::read(deserializer).map(Self::Tokenizers)
    }
}

impl Serialize for Decoder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Tokenizers(decoder) => decoder.serialize(serializer),
            _ => Err(S::Error::custom(
                "this backend is not written as tokenizer.json",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Decoder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?;
        checks::decoder(&json).map_err(D::Error::custom)?;
        let decoder = serde_json::from_value(json).map_err(D::Error::custom)?;
        Ok(Self::Tokenizers(decoder))
    }
}
