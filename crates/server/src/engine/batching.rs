//! The batching engine of `generation`: all sequences at once.

use std::ops::ControlFlow;
use std::sync::Arc;

use transformers_generation::{
    ContinuousBatchingConfig, ContinuousBatchingManager, FinishReason, GenerateError,
    GenerationEvent, GenerationOutput, Request,
};
use transformers_modeling::PreTrainedModel;

use super::{Engine, Event, Failure, Job, Ticket};

/// All sequences at once, in steps, on a thread of its own.
#[derive(Debug)]
pub struct Batching(Arc<ContinuousBatchingManager>);

impl Batching {
    /// An engine of these settings.
    ///
    /// # Errors
    /// A model that is none for batches, or settings that it does not fit.
    pub fn new(
        model: Box<dyn PreTrainedModel>,
        config: ContinuousBatchingConfig,
    ) -> Result<Self, GenerateError> {
        let mut manager = ContinuousBatchingManager::new(Arc::from(model), None, config)?;
        manager.start();
        Ok(Self(Arc::new(manager)))
    }
}

impl Engine for Batching {
    fn submit(&self, job: Job) -> Result<Ticket, Failure> {
        let events = job.events;
        let sink = move |event| {
            let event = match event {
                GenerationEvent::Token { token, logprob, .. } => {
                    Event::Token { id: token, logprob }
                }
                GenerationEvent::Done(output) => last(output),
            };
            match events.send(event) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        };
        let request = Request {
            config: job.config,
            seed: Some(job.seed),
            processors: job.processors,
            logprobs: job.logprobs,
            sink: Some(Box::new(sink)),
            ..Request::new(job.prompt)
        };
        match self.0.add_request(request) {
            Ok(id) => {
                let manager = Arc::downgrade(&self.0);
                Ok(Ticket::new(move || {
                    if let Some(manager) = manager.upgrade() {
                        manager.cancel_request(id);
                    }
                }))
            }
            Err(GenerateError::QueueFull { .. }) => Err(Failure::Busy),
            Err(error) => Err(Failure::Generate(error)),
        }
    }

    fn waiting(&self) -> usize {
        self.0.stats().waiting
    }

    fn is_running(&self) -> bool {
        self.0.is_running()
    }
}

fn last(output: GenerationOutput) -> Event {
    if let Some(error) = output.error {
        return Event::Failed(Failure::Generate(error));
    }
    let first = output.sequences.first();
    Event::Finished {
        reason: first
            .and_then(|first| first.finish_reason)
            .unwrap_or(FinishReason::Cancelled),
        cached_tokens: output.cached_tokens,
    }
}
