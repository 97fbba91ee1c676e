//! Plain `generate`, one sequence after the other.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use transformers_generation::{
    CancelToken, Generate, GenerateError, GenerateOptions, Generated, Streamer, TokenLogprob,
};
use transformers_modeling::PreTrainedModel;

use super::worker::{Busy, Worker};
use super::{Engine, Event, Failure, Job, Ticket, panic_message};

/// One sequence after the other, on a thread of its own: for models that cannot be batched.
#[derive(Debug)]
pub struct Sequential(Worker<Box<dyn PreTrainedModel>>);

impl Sequential {
    /// An engine before which `capacity` jobs may wait.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn new(model: Box<dyn PreTrainedModel>, capacity: usize) -> std::io::Result<Self> {
        Worker::new("generate", model, capacity).map(Self)
    }
}

impl Engine for Sequential {
    fn submit(&self, job: Job) -> Result<Ticket, Failure> {
        let submitted = self.0.submit(move |model| run(&**model, job));
        let taken = submitted.map(|()| Ticket::default());
        taken.map_err(|Busy| Failure::Busy)
    }

    fn waiting(&self) -> usize {
        self.0.waiting()
    }
}

fn run(model: &dyn PreTrainedModel, job: Job) {
    if job.events.is_closed() {
        return;
    }
    let events = job.events.clone();
    let done = catch_unwind(AssertUnwindSafe(|| generate(model, job)));
    let last = match done {
        Ok(Ok(generated)) => Event::Finished {
            reason: generated.finish_reasons[0],
            cached_tokens: 0,
        },
        Ok(Err(error)) => Event::Failed(Failure::Generate(error)),
        Err(panic) => Event::Failed(Failure::Panic(panic_message(&*panic))),
    };
    // Whoever is gone does not care.
    let _ = events.send(last);
}

fn generate(model: &dyn PreTrainedModel, job: Job) -> Result<Generated, GenerateError> {
    let cancel = CancelToken::default();
    let mut sender = Sender {
        job: &job.events,
        cancel: &cancel,
        logprob: None,
    };
    let options = GenerateOptions {
        streamer: Some(&mut sender),
        cancel: Some(cancel.clone()),
        seed: Some(job.seed),
        processors: job.processors,
        logprobs: job.logprobs,
        ..GenerateOptions::default()
    };
    model.generate_with(job.prompt, &job.config, options)
}

/// Hands tokens on, and ends the generation where nobody takes them.
struct Sender<'a> {
    job: &'a tokio::sync::mpsc::UnboundedSender<Event>,
    cancel: &'a CancelToken,
    logprob: Option<TokenLogprob>,
}

impl Streamer for Sender<'_> {
    fn put_logprob(&mut self, logprob: &TokenLogprob) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.logprob = Some(logprob.clone());
        Ok(())
    }

    fn put(&mut self, id: u32) -> Result<(), Box<dyn Error + Send + Sync>> {
        let logprob = self.logprob.take();
        if self.job.send(Event::Token { id, logprob }).is_err() {
            self.cancel.cancel();
        }
        Ok(())
    }
}
