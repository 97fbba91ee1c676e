//! What generates: prompts go in, tokens come out as they are made.
//!
//! The server knows nothing else of a model that writes. [`Batching`] generates all sequences at once; [`Sequential`] is
//! for models with an encoder, which it does not take.

mod batching;
mod sequential;
mod worker;

use std::fmt::Debug;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use transformers_config::GenerationConfig;
use transformers_generation::{FinishReason, GenerateError, LogitsProcessor, TokenLogprob};

pub use batching::Batching;
pub use sequential::Sequential;
pub(crate) use worker::{Busy, Worker};

/// One sequence to generate.
#[derive(Debug)]
pub struct Job {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// How to generate; what it leaves out is the model's.
    pub config: GenerationConfig,
    /// Penalties and constraints beside it.
    pub processors: Vec<Box<dyn LogitsProcessor>>,
    /// Log-probabilities of the chosen tokens, and of so many of the likeliest.
    pub logprobs: Option<usize>,
    /// Of the draws.
    pub seed: u64,
    /// Where the events go. When the other end is gone, the work is given up.
    pub events: UnboundedSender<Event>,
}

/// The receiving end of a job. Dropping it cancels the job.
pub type Events = UnboundedReceiver<Event>;

/// The two ends of a job's events. There are no more of them than the job has tokens, so that a slow reader holds up
/// nobody and costs little.
pub fn events() -> (UnboundedSender<Event>, Events) {
    unbounded_channel()
}

/// What happens to a job; the last one is [`Finished`](Self::Finished) or [`Failed`](Self::Failed).
#[derive(Debug)]
pub enum Event {
    /// A token.
    Token {
        /// It.
        id: u32,
        /// Its log-probability, where the job asked for it.
        logprob: Option<TokenLogprob>,
    },
    /// The end.
    Finished {
        /// Why.
        reason: FinishReason,
        /// So many tokens of the prompt needed no work, because an earlier one began with them.
        cached_tokens: usize,
    },
    /// There is no end.
    Failed(Failure),
}

/// Why a job is not done.
#[derive(Debug)]
pub enum Failure {
    /// As many jobs are waiting as the engine takes.
    Busy,
    /// What was asked for cannot be generated.
    Generate(GenerateError),
    /// A defect of ours; the message of the panic.
    Panic(String),
}

/// A job that was taken. Dropping it ends the work on it, also where no token has come yet.
#[derive(Default)]
pub struct Ticket(Option<Box<dyn FnOnce() + Send>>);

impl Ticket {
    /// A ticket that calls `end` when it is dropped; one without ([`Ticket::default`]) leaves it to the closed channel.
    pub fn new(end: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(end)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

/// A model that generates for many callers.
pub trait Engine: Debug + Send + Sync {
    /// Takes a job; never blocks.
    ///
    /// # Errors
    /// Too many are waiting, or the job is not possible.
    fn submit(&self, job: Job) -> Result<Ticket, Failure>;

    /// How many jobs are waiting.
    fn waiting(&self) -> usize;

    /// Whether jobs are done.
    fn is_running(&self) -> bool {
        true
    }
}

/// The text of a panic.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}
