//! Logits processors: each changes the scores of the next token, in place (the reference's `logits_process`).
//!
//! A row has its own processors, so one may keep state between steps. [`crate::GenerateOptions::processors`] takes
//! yours, and one of a type that the config asks for too replaces that one:
//!
//! ```
//! use transformers_generation::{LogitsProcessor, Step};
//!
//! /// Never token 13.
//! #[derive(Debug, Clone)]
//! struct Not13;
//!
//! impl LogitsProcessor for Not13 {
//!     fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
//!         scores[13] = f32::NEG_INFINITY;
//!     }
//! }
//! ```

mod bias;
mod filters;
mod length;
mod mirostat;
mod numbers;
mod repetition;
mod synth_id;
mod watermark;
mod whisper;

use std::fmt::Debug;

use dyn_clone::DynClone;

pub use bias::{
    NoBadWords, PrefixConstrained, SequenceBias, SuppressTokens, SuppressTokensAtBegin,
};
pub use filters::{Epsilon, Eta, MinP, Temperature, TopH, TopK, TopP, Typical, Xtc};
pub use length::{ExponentialDecayLengthPenalty, ForcedBos, ForcedEos, MinNewTokens};
pub use mirostat::Mirostat;
pub use numbers::{InfNanRemove, LogitNormalization};
pub use repetition::{
    Dry, EncoderNoRepeatNGram, EncoderRepetitionPenalty, FrequencyPresencePenalty, NoRepeatNGram,
    RepetitionPenalty,
};
pub use synth_id::SynthIDTextWatermark;
pub use watermark::{Watermark, WatermarkDetection, WatermarkDetector};
pub use whisper::{
    AlternatingCodebooks, BarkEosPrioritizer, WhisperNoSpeechDetection, WhisperTimeStamp,
};

pub(crate) use numbers::{largest, log_softmax, softmax, sum};

/// Where a row stands.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The row so far, prompt included and left padding not.
    pub ids: &'a [u32],
    /// How many of them are the prompt.
    pub prompt_len: usize,
    /// Which prompt of the batch this is.
    pub prompt: usize,
}

impl<'a> Step<'a> {
    /// The tokens after the prompt.
    pub fn new_ids(&self) -> &'a [u32] {
        &self.ids[self.prompt_len..]
    }
}

/// A change of the scores of one row.
pub trait LogitsProcessor: DynClone + Debug + Send + Sync {
    /// Changes `scores`, `[vocab]`; minus infinity removes a token.
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]);

    /// Of two processors with one name, the caller's replaces the config's.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
}

dyn_clone::clone_trait_object!(LogitsProcessor);

/// Removes the tokens of `ids`; those beyond the vocabulary are not there to be removed.
fn remove(scores: &mut [f32], ids: &[u32]) {
    for &id in ids {
        if let Some(score) = scores.get_mut(id as usize) {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// Leaves only the tokens of `ids`, with a score of 0.
fn force(scores: &mut [f32], ids: &[u32]) {
    scores.fill(f32::NEG_INFINITY);
    for &id in ids {
        if let Some(score) = scores.get_mut(id as usize) {
            *score = 0.0;
        }
    }
}
