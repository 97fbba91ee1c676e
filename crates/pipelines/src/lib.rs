//! Tasks over a model and its processors: text in, a result in the task's own terms out.
//!
//! [`SentenceTransformer`] turns texts into vectors.
#![forbid(unsafe_code)]

mod error;
mod sentence_transformer;

pub use error::PipelineError;
pub use sentence_transformer::{EmbedOptions, SentenceTransformer, Similarity};
