//! What is asked of an engine, and what it answers.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use transformers_config::GenerationConfig;

use crate::processors::LogitsProcessor;
use crate::{FinishReason, GenerateError, StoppingCriteria, TokenLogprob};

/// Which request. Numbers are given once for each engine or manager, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "req_{}", self.0)
    }
}

/// Receives what happens to a request; [`ControlFlow::Break`] cancels it. It is called between two steps, so it must not
/// block.
pub type EventSink = Box<dyn FnMut(GenerationEvent) -> ControlFlow<()> + Send>;

/// A prompt with its settings.
#[derive(Default)]
pub struct Request {
    /// Token ids, none of which is padding.
    pub prompt: Vec<u32>,
    /// What it leaves out comes from the model's `generation_config.json`, then from the reference's defaults. Beams and
    /// quantised caches are refused; prompt lookup and other caches change no token and are left out.
    pub config: GenerationConfig,
    /// Seeds the draws of sampling. `None`: 0.
    pub seed: Option<u64>,
    /// Requests of a higher priority are served first, whatever waits; those of the same in the order of their coming.
    pub priority: i32,
    /// As [`crate::GenerateOptions::processors`]; a [`crate::Constraint`] is one.
    pub processors: Vec<Box<dyn LogitsProcessor>>,
    /// As [`crate::GenerateOptions::filters`].
    pub filters: Vec<Box<dyn LogitsProcessor>>,
    /// As [`crate::GenerateOptions::stopping_criteria`].
    pub stopping_criteria: Vec<Box<dyn StoppingCriteria>>,
    /// As [`crate::GenerateOptions::logprobs`].
    pub logprobs: Option<usize>,
    /// Where the tokens go as they come, and the output; without one, only the output is kept.
    pub sink: Option<EventSink>,
    /// A manager keeps the tokens for
    /// [`request_id_iter`](super::ContinuousBatchingManager::request_id_iter).
    pub streaming: bool,
}

impl Request {
    /// A prompt with the model's settings.
    pub fn new(prompt: impl Into<Vec<u32>>) -> Self {
        Self {
            prompt: prompt.into(),
            ..Self::default()
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("prompt", &self.prompt.len())
            .field("config", &self.config)
            .field("seed", &self.seed)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

/// What happens to a request.
#[derive(Debug)]
pub enum GenerationEvent {
    /// A new token.
    Token {
        /// Of which of the request's sequences.
        index: usize,
        /// The token.
        token: u32,
        /// If it was asked for.
        logprob: Option<TokenLogprob>,
    },
    /// The end; nothing follows.
    Done(GenerationOutput),
}

/// How a request has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestStatus {
    /// Every sequence has its end.
    Finished,
    /// There is an error.
    Failed,
}

/// One of the sequences of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GeneratedSequence {
    /// The new tokens.
    pub generated_tokens: Vec<u32>,
    /// Why it ended; `None` where an error ended it.
    pub finish_reason: Option<FinishReason>,
    /// If they were asked for, one for each token.
    pub logprobs: Vec<TokenLogprob>,
}

/// When things happened, counted from the coming of the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestTiming {
    /// To the first step that read some of it.
    pub queued: Option<Duration>,
    /// To its first token.
    pub first_token: Option<Duration>,
    /// To the end.
    pub total: Duration,
}

/// A request's end.
#[derive(Debug)]
pub struct GenerationOutput {
    /// Which.
    pub request_id: RequestId,
    /// As given.
    pub prompt_ids: Vec<u32>,
    /// One for each of `num_return_sequences`.
    pub sequences: Vec<GeneratedSequence>,
    /// Prompt tokens of the first sequence whose keys and values were there already.
    pub cached_tokens: usize,
    /// See [`RequestStatus`].
    pub status: RequestStatus,
    /// What went wrong.
    pub error: Option<GenerateError>,
    /// See [`RequestTiming`].
    pub timing: RequestTiming,
}

impl GenerationOutput {
    pub(super) fn refused(
        request_id: RequestId,
        prompt_ids: Vec<u32>,
        error: GenerateError,
    ) -> Self {
        Self {
            request_id,
            prompt_ids,
            sequences: Vec::new(),
            cached_tokens: 0,
            status: RequestStatus::Failed,
            error: Some(error),
            timing: RequestTiming::default(),
        }
    }

    /// The new tokens of the first sequence.
    pub fn generated_tokens(&self) -> &[u32] {
        let first = self.sequences.first();
        first.map_or(&[], |sequence| &sequence.generated_tokens)
    }
}
