//! Text to ids and back, with chat templates.
//!
//! [`AutoTokenizer`] reads a tokenizer from a model's files: `tokenizer.json` exactly as it is written, or one of the
//! older forms, with the settings of `tokenizer_config.json` and the chat templates beside it. [`Tokenizer`] does the
//! rest:
//!
//! ```no_run
//! use transformers_tokenization::{AutoTokenizer, ChatMessage, ChatTemplateOptions};
//!
//! let tokenizer = AutoTokenizer::from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")?;
//! let prompt = tokenizer.apply_chat_template(
//!     &[ChatMessage::user("What is the capital of France?")],
//!     &ChatTemplateOptions { add_generation_prompt: true, ..Default::default() },
//! )?;
//! let ids: &[u32] = &prompt.input_ids[0];
//! # Ok::<(), transformers_tokenization::TokenizationError>(())
//! ```
//!
//! There is one [`Tokenizer`] over four backends: pipelines of the `tokenizers` crate, SentencePiece models
//! ([`SentencePieceProcessor`]; with the feature `sentencepiece` there is the C++ library as well, as a [`Tokenize`]), any
//! function that splits texts ([`PlainTokenizer`]), and Mistral's own files. The reference's classes are definitions
//! ([`TokenizerClass`], [`LlamaTokenizer`], [`BertTokenizer`], …), blank to be trained or with a vocabulary. [`migration`]
//! says where each name of the reference is.
//!
//! A model's files are untrusted: a chat template is a program, and runs with a budget (see [`chat_templates`]).
#![forbid(unsafe_code)]

mod added_tokens;
mod ascii;
mod auto;
mod backend;
mod batch;
mod byte_alphabet;
mod chat;
mod chat_encoding;
mod checks;
mod classes;
mod cleanup;
mod decode_stream;
mod encoding;
mod error;
mod files;
mod gguf;
mod merges;
mod merging;
mod mistral;
mod model_file;
mod normalizer;
mod one_or_many;
mod padding;
mod plain;
mod post_processor;
mod pre_tokenizer;
mod response;
mod save;
mod sentencepiece;
mod settings;
mod special_tokens;
mod splitter;
mod surround;
mod tiktoken;
mod token_bytes;
mod tokenizer;
mod training;

pub mod chat_templates {
    #![doc = include_str!("chat_templates.md")]
}

pub mod migration {
    #![doc = include_str!("migration.md")]
}

pub use auto::AutoTokenizer;
pub use batch::BatchEncoding;
pub use chat::{ChatMessage, ChatTemplateOptions, function_schema};
pub use classes::*;
pub use decode_stream::DecodeStream;
pub use encoding::{EncodeOptions, Inputs, Padding, Side, Truncation};
pub use error::{Result, TokenizationError};
pub use merges::generate_merges;
pub use one_or_many::{Ids, Texts};
pub use plain::{PlainTokenizer, PlainVocabulary, SpecialTokensPattern, Tokenize};
pub use response::{AnswerForm, ResponseEvent, ResponseParser, ResponseTemplate, parse_response};
#[cfg(feature = "sentencepiece")]
pub use sentencepiece::SentencePieceLibrary;
pub use sentencepiece::{SentencePieceProcessor, TextPiece};
pub use tokenizer::Tokenizer;
pub use tokenizers::AddedToken;
pub use training::TrainOptions;
