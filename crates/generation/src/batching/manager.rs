//! An engine on a thread of its own.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use transformers_modeling::PreTrainedModel;
use transformers_tokenization::Tokenizer;

use super::ContinuousBatchingConfig;
use super::engine::{Engine, EngineStats};
use super::intake::{Accepted, Intake};
use super::request::{GenerationEvent, GenerationOutput, Request, RequestId};
use super::setup::Setup;
use crate::GenerateError;

/// Serves requests from any thread; the reference's class of this name.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use transformers_generation::{ContinuousBatchingConfig, ContinuousBatchingManager, Request};
/// use transformers_modeling::AutoModelForCausalLM;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = AutoModelForCausalLM::from_pretrained("HuggingFaceTB/SmolLM2-135M")?.into_inner();
/// let config = ContinuousBatchingConfig::default();
/// let mut manager = ContinuousBatchingManager::new(Arc::from(model), None, config)?;
/// manager.start();
/// let id = manager.add_request(Request::new([1, 2, 3]))?;
/// let output = manager.get_result(Some(id), Duration::from_secs(60));
/// println!("{:?}", output.map(|output| output.generated_tokens().to_vec()));
/// # Ok(())
/// # }
/// ```
pub struct ContinuousBatchingManager {
    model: Arc<dyn PreTrainedModel>,
    tokenizer: Option<Tokenizer>,
    config: ContinuousBatchingConfig,
    setup: Setup,
    intake: Intake,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// The events of one request, to its end.
#[derive(Debug)]
pub struct RequestIter(Receiver<GenerationEvent>);

impl Iterator for RequestIter {
    type Item = GenerationEvent;

    fn next(&mut self) -> Option<GenerationEvent> {
        self.0.recv().ok()
    }
}

/// What the threads share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to do for the engine.
    work: Condvar,
    /// There is a result, or none will come any more.
    done: Condvar,
}

#[derive(Default)]
struct State {
    incoming: Vec<Accepted>,
    cancelled: Vec<RequestId>,
    results: BTreeMap<RequestId, GenerationOutput>,
    streams: HashMap<RequestId, Receiver<GenerationEvent>>,
    stats: EngineStats,
    /// Sequences that came and do not run yet.
    queued: usize,
    phase: Phase,
}

/// Of the manager's life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// Requests are taken in; they are served once the thread runs.
    #[default]
    Open,
    /// What is there is finished, and nothing more is taken in.
    Draining,
    /// What is there is cancelled.
    Stopping,
    /// The thread has ended.
    Stopped,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, phase: Phase) {
        self.lock().phase = phase;
        self.work.notify_all();
        self.done.notify_all();
    }
}

impl ContinuousBatchingManager {
    /// A manager that takes in requests, and serves them from [`start`](Self::start) on.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn new(
        model: Arc<dyn PreTrainedModel>,
        tokenizer: Option<Tokenizer>,
        config: ContinuousBatchingConfig,
    ) -> Result<Self, GenerateError> {
        let setup = Setup::new(&*model, &config)?;
        Ok(Self {
            intake: Intake::new(&*model, tokenizer.clone(), &setup),
            model,
            tokenizer,
            config,
            setup,
            shared: Arc::default(),
            thread: None,
        })
    }

    /// Starts the engine's thread; nothing if it runs, or has been stopped.
    pub fn start(&mut self) {
        if self.thread.is_some() || self.shared.lock().phase == Phase::Stopped {
            return;
        }
        let (model, shared) = (self.model.clone(), self.shared.clone());
        let (tokenizer, config) = (self.tokenizer.clone(), self.config.clone());
        let setup = self.setup.clone();
        self.thread = Some(thread::spawn(move || {
            let _stopped = Stopped(&shared);
            serve(
                &shared,
                Engine::with_setup(&*model, tokenizer, config, setup),
            );
        }));
    }

    /// Whether the engine's thread serves.
    pub fn is_running(&self) -> bool {
        self.thread.is_some() && self.shared.lock().phase != Phase::Stopped
    }

    /// Takes in a request.
    ///
    /// # Errors
    /// As [`Engine::add_request`], and a manager that was stopped.
    pub fn add_request(&self, mut request: Request) -> Result<RequestId, GenerateError> {
        let stream = match (request.streaming, &request.sink) {
            (true, None) => {
                let (sender, receiver) = mpsc::channel();
                request.sink = Some(Box::new(move |event| match sender.send(event) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }));
                Some(receiver)
            }
            _ => None,
        };
        let accepted = self.intake.accept(request)?;
        let (id, rows) = (accepted.id, accepted.rows.len());
        let mut state = self.shared.lock();
        if state.phase != Phase::Open {
            return Err(GenerateError::EngineStopped);
        }
        let max = self.config.max_queue_size;
        if state.queued + rows > max {
            return Err(GenerateError::QueueFull { max });
        }
        state.queued += rows;
        state.incoming.push(accepted);
        if let Some(stream) = stream {
            state.streams.insert(id, stream);
        }
        drop(state);
        self.shared.work.notify_all();
        Ok(id)
    }

    /// Takes in several requests, in order.
    ///
    /// # Errors
    /// That of the first one that is refused; those before it are taken in.
    pub fn add_requests(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Result<Vec<RequestId>, GenerateError> {
        let requests = requests.into_iter();
        requests.map(|request| self.add_request(request)).collect()
    }

    /// Ends a request between two steps, with what it has generated, and gives back its blocks.
    pub fn cancel_request(&self, id: RequestId) {
        self.shared.lock().cancelled.push(id);
        self.shared.work.notify_all();
    }

    /// The output of a request without a sink, once it has ended: of `id`, or of any. `None`: not within `timeout`, or the
    /// engine has stopped.
    pub fn get_result(&self, id: Option<RequestId>, timeout: Duration) -> Option<GenerationOutput> {
        let until = Instant::now().checked_add(timeout);
        let mut state = self.shared.lock();
        loop {
            let found = match id {
                Some(id) => state.results.remove(&id),
                None => state.results.pop_first().map(|(_, output)| output),
            };
            if found.is_some() || state.phase == Phase::Stopped {
                return found;
            }
            let left = until.map_or(timeout, |until| {
                until.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return None;
            }
            let waited = self.shared.done.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The events of a request that was added with [`streaming`](Request::streaming), as they come; once. Whoever drops
    /// them cancels the request.
    pub fn request_id_iter(&self, id: RequestId) -> Option<RequestIter> {
        self.shared.lock().streams.remove(&id).map(RequestIter)
    }

    /// What the engine has done and holds.
    pub fn stats(&self) -> EngineStats {
        let state = self.shared.lock();
        EngineStats {
            waiting: state.queued,
            ..state.stats
        }
    }

    /// Ends all requests, with what they have generated, and the thread.
    pub fn stop(&mut self) {
        self.end(Phase::Stopping);
    }

    /// Takes in nothing more, finishes what is there, and ends the thread.
    pub fn join(&mut self) {
        self.end(Phase::Draining);
    }

    fn end(&mut self, phase: Phase) {
        match self.thread.take() {
            Some(thread) => {
                self.shared.change(phase);
                // Its panic is known: it has stopped.
                let _ = thread.join();
            }
            None => self.shared.change(Phase::Stopped),
        }
    }
}

impl Drop for ContinuousBatchingManager {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for ContinuousBatchingManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContinuousBatchingManager")
            .field("config", &self.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Says that no result will come any more, however the thread ends.
struct Stopped<'a>(&'a Shared);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        // Their sinks go with them: who listens hears the end.
        state.incoming.clear();
        drop(state);
        self.0.change(Phase::Stopped);
    }
}

/// The engine's thread.
fn serve(shared: &Shared, mut engine: Engine<'_>) {
    loop {
        let mut state = shared.lock();
        while state.incoming.is_empty()
            && state.cancelled.is_empty()
            && state.phase == Phase::Open
            && !engine.has_work()
        {
            let woken = shared.work.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        let incoming = std::mem::take(&mut state.incoming);
        let cancelled = std::mem::take(&mut state.cancelled);
        let phase = state.phase;
        drop(state);
        for accepted in incoming {
            engine.enqueue(accepted);
        }
        for id in cancelled {
            engine.cancel_request(id);
        }
        if phase == Phase::Stopping {
            engine.cancel_all();
        }
        engine.step();
        let finished = engine.take_finished();
        let stats = engine.stats();
        let mut state = shared.lock();
        let incoming = state.incoming.iter().map(|accepted| accepted.rows.len());
        state.queued = stats.waiting + incoming.sum::<usize>();
        state.stats = stats;
        let finished = finished.into_iter();
        state
            .results
            .extend(finished.map(|output| (output.request_id, output)));
        let over = phase != Phase::Open && state.incoming.is_empty() && !engine.has_work();
        drop(state);
        shared.done.notify_all();
        if over {
            return;
        }
    }
}
