//! Decoding loops, logits processors, stopping criteria, structured output and streamers.
//!
#![doc = include_str!("generation.md")]
#![forbid(unsafe_code)]

mod assisted;
mod beam_search;
mod cache;
mod candidates;
mod decoding;
mod encoder;
mod error;
mod generate;
mod grammar;
mod output;
mod processor_list;
mod processors;
mod prompt;
mod sampler;
mod sequence;
mod settings;
mod stopping;
mod streamers;
mod typed;

pub use error::GenerateError;
pub use generate::{Generate, GenerateOptions};
pub use grammar::{Constraint, Grammar, GrammarCompiler};
pub use output::{FinishReason, Generated, Timing, TokenLogprob};
pub use processors::{
    Dry, EncoderNoRepeatNGram, EncoderRepetitionPenalty, Epsilon, Eta,
    ExponentialDecayLengthPenalty, ForcedBos, ForcedEos, FrequencyPresencePenalty, InfNanRemove,
    LogitNormalization, LogitsProcessor, MinNewTokens, MinP, Mirostat, NoBadWords, NoRepeatNGram,
    PrefixConstrained, RepetitionPenalty, SequenceBias, Step, SuppressTokens,
    SuppressTokensAtBegin, Temperature, TopH, TopK, TopP, Typical, Xtc,
};
pub use prompt::Prompt;
pub use streamers::{Streamer, TextStreamer};
pub use transformers_modeling::CancelToken;
pub use typed::GenerateAs;
