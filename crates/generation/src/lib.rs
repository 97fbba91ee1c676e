//! Decoding loops, logits processors, stopping criteria, structured output and streamers.
//!
#![doc = include_str!("generation.md")]
#![forbid(unsafe_code)]

mod assisted;
pub mod batching;
mod beam_search;
mod cache;
mod candidates;
mod decoding;
mod encoder;
mod error;
mod generate;
mod grammar;
mod guidance;
mod healing;
mod output;
mod output_classes;
mod processor_list;
mod processors;
mod prompt;
mod prompt_cache;
mod record;
mod sampler;
mod sequence;
mod settings;
mod steps;
mod stopping;
mod streamers;
mod synth_id_detector;
mod typed;

pub use batching::{
    ContinuousBatchingConfig, ContinuousBatchingManager, Engine, GenerationEvent, GenerationOutput,
    Request, RequestId, generate_batch,
};
pub use error::GenerateError;
pub use generate::{Generate, GenerateOptions};
pub use grammar::{Constraint, Grammar, GrammarCompiler};
pub use output::{FinishReason, Generated, Timing, TokenLogprob};
pub use output_classes::{
    GenerateBeamDecoderOnlyOutput, GenerateBeamEncoderDecoderOutput, GenerateDecoderOnlyOutput,
    GenerateEncoderDecoderOutput, GenerateOutput,
};
pub use processors::{
    AlternatingCodebooks, BarkEosPrioritizer, Dry, EncoderNoRepeatNGram, EncoderRepetitionPenalty,
    Epsilon, Eta, ExponentialDecayLengthPenalty, ForcedBos, ForcedEos, FrequencyPresencePenalty,
    InfNanRemove, LogitNormalization, LogitsProcessor, MinNewTokens, MinP, Mirostat, NoBadWords,
    NoRepeatNGram, PrefixConstrained, RepetitionPenalty, SequenceBias, Step, SuppressTokens,
    SuppressTokensAtBegin, SynthIDTextWatermark, Temperature, TopH, TopK, TopP, Typical, Watermark,
    WatermarkDetection, WatermarkDetector, WhisperNoSpeechDetection, WhisperTimeStamp, Xtc,
};
pub use prompt::Prompt;
pub use prompt_cache::PromptCache;
pub use stopping::{ConfidenceCriteria, StoppingCriteria};
pub use streamers::{Streamer, TextIteratorStreamer, TextPieces, TextStreamer};
pub use synth_id_detector::SynthIDTextWatermarkDetector;
pub use transformers_modeling::CancelToken;
pub use typed::GenerateAs;
