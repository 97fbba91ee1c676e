//! Decoding loops, logits processors, stopping criteria and streamers.
//!
//! [`Generate::generate`] takes any model that decodes, with an encoder or without, and a
//! [`GenerationConfig`](transformers_config::GenerationConfig). The loop knows no architecture: it calls the model's
//! forward pass with the cache that the model chose.
#![forbid(unsafe_code)]

mod decoding;
mod encoder;
mod error;
mod output;
mod processors;
mod prompt;
mod sampler;
mod settings;
mod stopping;
mod streamers;

pub use decoding::{Generate, GenerateOptions};
pub use error::GenerateError;
pub use output::{FinishReason, Generated, Timing};
pub use processors::{
    ForcedTokens, LogitsProcessor, MinNewTokens, MinP, RepetitionPenalty, Temperature, TopK, TopP,
};
pub use prompt::Prompt;
pub use streamers::{Streamer, TextStreamer};
pub use transformers_modeling::CancelToken;
