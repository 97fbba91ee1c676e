//! The engine: requests in, one step after the other, outputs out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::time::Instant;

use transformers_modeling::PreTrainedModel;
use transformers_tokenization::Tokenizer;

use super::ContinuousBatchingConfig;
use super::blocks::BlockPool;
use super::intake::{Accepted, Intake};
use super::request::{
    EventSink, GeneratedSequence, GenerationEvent, GenerationOutput, Request, RequestId,
    RequestStatus, RequestTiming,
};
use super::setup::Setup;
use super::store::{Store, contained};
use super::task::{Chosen, Order, Task};
use crate::{FinishReason, GenerateError};

/// Serves many requests of one model at once, on the thread that calls [`step`](Self::step).
///
/// See the [module's documentation](super); [`super::ContinuousBatchingManager`] runs one on a thread of its own.
pub struct Engine<'m> {
    model: &'m dyn PreTrainedModel,
    pub(super) config: ContinuousBatchingConfig,
    pub(super) setup: Setup,
    intake: Intake,
    pub(super) store: Store,
    pub(super) pool: BlockPool,
    /// Whether prefixes are shared.
    pub(super) shares: bool,
    pub(super) waiting: BTreeMap<Order, Task<'m>>,
    /// In their order.
    pub(super) running: Vec<Task<'m>>,
    requests: HashMap<RequestId, Open>,
    /// Those in whose common step something went wrong, until each has had a step alone.
    pub(super) suspects: BTreeSet<Order>,
    finished: Vec<GenerationOutput>,
    arrivals: u64,
    pub(super) stats: EngineStats,
}

/// What an engine has done and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Forward passes.
    pub steps: u64,
    /// Tokens computed, those of prompts among them.
    pub computed_tokens: u64,
    /// Tokens that were found computed.
    pub cached_tokens: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// How often a sequence had to give its blocks back before its end.
    pub preemptions: u64,
    /// Sequences that wait.
    pub waiting: usize,
    /// Sequences that run.
    pub running: usize,
    /// Blocks that sequences hold.
    pub used_blocks: usize,
    /// All blocks.
    pub blocks: usize,
}

/// A request that has not ended.
struct Open {
    prompt: Vec<u32>,
    /// Of its sequences.
    orders: Vec<Order>,
    sequences: Vec<Option<GeneratedSequence>>,
    sink: Option<EventSink>,
    created: Instant,
    timing: RequestTiming,
    cached_tokens: usize,
}

/// How a sequence ends.
type End = Result<FinishReason, GenerateError>;

impl<'m> Engine<'m> {
    /// An engine for `model`. The tokenizer is needed by requests with stop strings only.
    ///
    /// # Errors
    /// A config with a count of zero, a model that does not decode or has an encoder.
    pub fn new(
        model: &'m dyn PreTrainedModel,
        tokenizer: Option<Tokenizer>,
        config: ContinuousBatchingConfig,
    ) -> Result<Self, GenerateError> {
        let setup = Setup::new(model, &config)?;
        Ok(Self::with_setup(model, tokenizer, config, setup))
    }

    pub(super) fn with_setup(
        model: &'m dyn PreTrainedModel,
        tokenizer: Option<Tokenizer>,
        config: ContinuousBatchingConfig,
        setup: Setup,
    ) -> Self {
        let layout = setup.layout.as_ref();
        Self {
            shares: config.allow_block_sharing
                && layout.is_some_and(|layout| !layout.rotation_stretches),
            intake: Intake::new(model, tokenizer, &setup),
            store: Store::new(&setup),
            pool: BlockPool::new(setup.blocks),
            model,
            config,
            setup,
            waiting: BTreeMap::new(),
            running: Vec::new(),
            requests: HashMap::new(),
            suspects: BTreeSet::new(),
            finished: Vec::new(),
            arrivals: 0,
            stats: EngineStats::default(),
        }
    }

    /// Takes in a request.
    ///
    /// # Errors
    /// What [`Generate::generate_with`](crate::Generate::generate_with) says of it; a prompt longer than all blocks
    /// together, and a full queue.
    pub fn add_request(&mut self, request: Request) -> Result<RequestId, GenerateError> {
        let accepted = self.intake.accept(request)?;
        let queued = self.waiting.len() + accepted.rows.len();
        if queued > self.config.max_queue_size {
            let max = self.config.max_queue_size;
            return Err(GenerateError::QueueFull { max });
        }
        Ok(self.enqueue(accepted))
    }

    pub(super) fn enqueue(&mut self, accepted: Accepted) -> RequestId {
        let id = accepted.id;
        let first = self.arrivals;
        self.arrivals += accepted.rows.len() as u64;
        let order = |arrival| (Reverse(accepted.priority), arrival);
        let open = Open {
            orders: (first..self.arrivals).map(order).collect(),
            prompt: accepted.prompt,
            sequences: accepted.rows.iter().map(|_| None).collect(),
            sink: accepted.sink,
            created: accepted.created,
            timing: RequestTiming::default(),
            cached_tokens: 0,
        };
        self.requests.insert(id, open);
        for (index, row) in accepted.rows.into_iter().enumerate() {
            let order = order(first + index as u64);
            let task = Task {
                order,
                request: id,
                index,
                row,
                settings: accepted.settings.clone(),
                logprobs: accepted.logprobs,
                record: Vec::new(),
                computed: 0,
                planned: 0,
                blocks: Vec::new(),
                links: Vec::new(),
                slot: None,
            };
            self.waiting.insert(order, task);
        }
        id
    }

    /// Ends a request now, with what it has generated, and gives back its blocks. `false`: it has ended already.
    pub fn cancel_request(&mut self, id: RequestId) -> bool {
        let open = self.requests.contains_key(&id);
        self.end_request(id, Ok(FinishReason::Cancelled));
        open
    }

    /// Ends all requests as [`cancel_request`](Self::cancel_request) does.
    pub fn cancel_all(&mut self) {
        let ids: Vec<RequestId> = self.requests.keys().copied().collect();
        for id in ids {
            self.cancel_request(id);
        }
    }

    /// Whether requests are left.
    pub fn has_work(&self) -> bool {
        !self.requests.is_empty()
    }

    /// What it has done and holds.
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            waiting: self.waiting.len(),
            running: self.running.len(),
            used_blocks: self.pool.len() - self.pool.available(),
            blocks: self.pool.len(),
            ..self.stats
        }
    }

    /// The outputs of requests without a sink that have ended since the last call.
    pub fn take_finished(&mut self) -> Vec<GenerationOutput> {
        mem::take(&mut self.finished)
    }

    /// One forward pass over as many tokens as there is work and room for, and the next token of every sequence that is
    /// then computed as a whole. What goes wrong with a request ends that request.
    pub fn step(&mut self) {
        self.plan();
        let planned = |task: &&mut Task<'m>| task.planned > 0;
        let mut tasks: Vec<_> = self.running.iter_mut().filter(planned).collect();
        if tasks.is_empty() {
            return;
        }
        // Those with as many new tokens are computed together.
        tasks.sort_by_key(|task| task.planned);
        self.stats.steps += 1;
        match self.store.run(self.model, &mut tasks) {
            Ok(mut scores) => {
                let orders: Vec<Order> = tasks.iter().map(|task| task.order).collect();
                let mut rows = scores.rows();
                let mut chosen = Vec::new();
                for task in tasks {
                    self.stats.computed_tokens += task.planned as u64;
                    task.computed += mem::take(&mut task.planned);
                    if task.left() > 0 {
                        continue;
                    }
                    let row = rows.next().expect("one for each computed sequence");
                    let next = contained(|| task.choose(row));
                    chosen.push((task.order, task.request, task.index, next));
                }
                self.clear_suspects(&orders);
                for (order, request, index, next) in chosen {
                    self.hand_out(order, request, index, next);
                }
            }
            Err(error) => {
                let orders: Vec<Order> = tasks.iter().map(|task| task.order).collect();
                self.recover(&orders, error);
            }
        }
    }

    /// Steps until all requests have ended, and gives the outputs of those without a sink.
    pub fn run(&mut self) -> Vec<GenerationOutput> {
        while self.has_work() {
            self.step();
        }
        self.take_finished()
    }

    /// A suspect that has its token is none any more, and makes room for the next one.
    fn clear_suspects(&mut self, orders: &[Order]) {
        if self.suspects.is_empty() {
            return;
        }
        for order in orders {
            let position = self.running.iter().position(|task| task.order == *order);
            let Some(position) = position.filter(|at| self.running[*at].left() == 0) else {
                continue;
            };
            self.suspects.remove(order);
            self.preempt(position);
        }
    }

    /// After a pass that failed: nothing that it wrote is right. If it was of one sequence, that one ends; else each is
    /// tried alone.
    fn recover(&mut self, orders: &[Order], error: GenerateError) {
        while !self.running.is_empty() {
            self.preempt(self.running.len() - 1);
        }
        self.pool.forget();
        self.store = Store::new(&self.setup);
        match orders {
            [order] => {
                self.suspects.remove(order);
                let request = self.waiting.get(order).map(|task| task.request);
                if let Some(request) = request {
                    self.fail(request, error);
                }
            }
            several => self.suspects.extend(several),
        }
    }

    /// Hands on what a sequence got.
    fn hand_out(
        &mut self,
        order: Order,
        request: RequestId,
        index: usize,
        next: Result<Chosen, GenerateError>,
    ) {
        let Some(open) = self.requests.get_mut(&request) else {
            // A sibling has ended the request in this step.
            return;
        };
        let Chosen {
            token,
            logprob,
            end,
        } = match next {
            Ok(chosen) => chosen,
            Err(error) => return self.fail(request, error),
        };
        self.stats.generated_tokens += 1;
        let since = open.created.elapsed();
        open.timing.first_token.get_or_insert(since);
        let event = GenerationEvent::Token {
            index,
            token,
            logprob,
        };
        let goes_on = match &mut open.sink {
            Some(sink) => contained(|| Ok(sink(event))),
            None => Ok(std::ops::ControlFlow::Continue(())),
        };
        match goes_on {
            Err(error) => return self.fail(request, error),
            Ok(flow) if flow.is_break() => {
                self.cancel_request(request);
                return;
            }
            Ok(_) => {}
        }
        let late = || {
            let task = self.task(order)?;
            let late = task.settings.is_late(self.requests.get(&request)?.created);
            late.then_some(FinishReason::Time)
        };
        if let Some(reason) = end.or_else(late) {
            self.end_task(order, Ok(reason));
        }
    }

    fn task(&self, order: Order) -> Option<&Task<'m>> {
        let mut running = self.running.iter();
        let running = running.find(|task| task.order == order);
        running.or_else(|| self.waiting.get(&order))
    }

    fn take_task(&mut self, order: Order) -> Option<Task<'m>> {
        self.suspects.remove(&order);
        let mut running = self.running.iter();
        match running.position(|task| task.order == order) {
            Some(index) => Some(self.running.remove(index)),
            None => self.waiting.remove(&order),
        }
    }

    /// The first step of a task, perhaps after it had to give way.
    pub(super) fn note_begin(&mut self, task: &Task<'m>) {
        self.stats.cached_tokens += task.computed as u64;
        if let Some(open) = self.requests.get_mut(&task.request)
            && open.timing.queued.is_none()
        {
            open.timing.queued = Some(open.created.elapsed());
            open.cached_tokens = task.computed;
        }
    }

    /// Ends one sequence, and with the last one its request.
    fn end_task(&mut self, order: Order, end: End) {
        let Some(mut task) = self.take_task(order) else {
            return;
        };
        task.release(&mut self.pool);
        let (request, index) = (task.request, task.index);
        let (reason, error) = match end {
            Ok(reason) => (Some(reason), None),
            Err(error) => (None, Some(error)),
        };
        let Some(open) = self.requests.get_mut(&request) else {
            return;
        };
        open.sequences[index] = Some(task.into_sequence(reason));
        if open.sequences.iter().all(Option::is_some) || error.is_some() {
            self.close(request, error);
        }
    }

    fn fail(&mut self, request: RequestId, error: GenerateError) {
        self.end_request(request, Err(error));
    }

    /// Ends all sequences of a request that have not ended; the first of them with `end`, the others as cancelled.
    fn end_request(&mut self, id: RequestId, end: End) {
        let Some(open) = self.requests.get(&id) else {
            return;
        };
        let ended = open.sequences.iter().map(Option::is_some);
        let orders = open.orders.iter().zip(ended);
        let orders = orders.filter(|(_, ended)| !ended).map(|(order, _)| *order);
        let mut orders: Vec<Order> = orders.collect();
        let first = orders.remove(0);
        for order in orders {
            self.end_task(order, Ok(FinishReason::Cancelled));
        }
        // An error closes the request: it comes last.
        self.end_task(first, end);
    }

    /// Hands out the output of a request.
    fn close(&mut self, id: RequestId, error: Option<GenerateError>) {
        let Some(mut open) = self.requests.remove(&id) else {
            return;
        };
        open.timing.total = open.created.elapsed();
        let output = GenerationOutput {
            request_id: id,
            prompt_ids: open.prompt,
            sequences: open
                .sequences
                .into_iter()
                .map(Option::unwrap_or_default)
                .collect(),
            cached_tokens: open.cached_tokens,
            status: match &error {
                None => RequestStatus::Finished,
                Some(_) => RequestStatus::Failed,
            },
            error,
            timing: open.timing,
        };
        match &mut open.sink {
            // There is nobody left to tell of a sink that panics.
            Some(sink) => drop(contained(|| Ok(sink(GenerationEvent::Done(output))))),
            None => self.finished.push(output),
        }
    }
}

/// Generates for all `requests` at once, and gives their outputs in the same order; the reference's `generate_batch`.
///
/// # Errors
/// As [`Engine::new`]. What is wrong with a request is in its output.
pub fn generate_batch(
    model: &dyn PreTrainedModel,
    tokenizer: Option<&Tokenizer>,
    requests: Vec<Request>,
    config: &ContinuousBatchingConfig,
) -> Result<Vec<GenerationOutput>, GenerateError> {
    let config = ContinuousBatchingConfig {
        max_queue_size: usize::MAX,
        ..config.clone()
    };
    let mut engine = Engine::new(model, tokenizer.cloned(), config)?;
    let mut outputs = Vec::with_capacity(requests.len());
    for request in requests {
        let prompt_ids = request.prompt.clone();
        if let Err(error) = engine.add_request(request) {
            let request_id = engine.intake.number();
            outputs.push(GenerationOutput::refused(request_id, prompt_ids, error));
        }
    }
    outputs.extend(engine.run());
    outputs.sort_by_key(|output| output.request_id);
    Ok(outputs)
}
