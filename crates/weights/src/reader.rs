//! Reading and converting ahead of the model that is being filled.
//!
//! A few threads prepare what the model will ask for next, in the order in which it will, and stop where what they hold
//! reaches a bound in bytes. What the model asks for before a thread came to it, it prepares itself, whatever the bound.
//! Tensors that are used where they lie in a mapped file are no work and not prepared.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::conversion::operation;
use crate::tensor::element_count;
use crate::{Checkpoint, Conversion, HostTensor, LoadPlan, Result, WeightsError};

/// More threads than this compete for the disk and make reading slower.
const MAX_READERS: usize = 4;

/// How much is read ahead, who is told, and who may stop it.
#[derive(Clone, Copy)]
pub struct ReadOptions<'a> {
    /// Threads that read ahead, at most four; with none, tensors are read when they are asked for.
    pub readers: usize,
    /// Bytes that tensors read ahead may take, while they are converted and until they are taken.
    pub bytes_in_flight: usize,
    /// Is told after each parameter.
    pub progress: Option<&'a dyn Fn(ReadProgress)>,
    /// Ends reading with [`WeightsError::Cancelled`] once it is set.
    pub cancel: Option<&'a AtomicBool>,
}

/// How far reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadProgress {
    /// Parameters taken.
    pub done: usize,
    /// Parameters that the checkpoint fills.
    pub total: usize,
}

impl Default for ReadOptions<'_> {
    fn default() -> Self {
        Self {
            readers: thread::available_parallelism()
                .map_or(1, NonZero::get)
                .min(MAX_READERS),
            bytes_in_flight: 1 << 30,
            progress: None,
            cancel: None,
        }
    }
}

impl fmt::Debug for ReadOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOptions")
            .field("readers", &self.readers)
            .field("bytes_in_flight", &self.bytes_in_flight)
            .finish_non_exhaustive()
    }
}

impl LoadPlan {
    /// Gives `fill` a reader of the parameters' tensors. It reads ahead in the order in which the parameters were given to
    /// [`plan`](crate::plan()), which is best that in which `fill` asks for them.
    ///
    /// ```
    /// use transformers_weights::{Checkpoint, HostTensor, LoadRules, ReadOptions, WeightsError, plan};
    ///
    /// # fn main() -> transformers_weights::Result<()> {
    /// # let checkpoint = Checkpoint::from_tensors([("w".to_owned(), HostTensor::from_vec(vec![1.0_f32], vec![1])?)]);
    /// # let parameters = [("w".to_owned(), vec![1])];
    /// let plan = plan(&parameters, &checkpoint, &LoadRules::default())?;
    /// plan.read(&checkpoint, &ReadOptions::default(), |reader| {
    ///     for (name, _) in &parameters {
    ///         if let Some(tensor) = reader.tensor(name)? {
    ///             println!("{name}: {:?}", tensor.shape());
    ///         }
    ///     }
    ///     Ok::<_, WeightsError>(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn read<R, E>(
        &self,
        checkpoint: &Checkpoint,
        options: &ReadOptions<'_>,
        fill: impl FnOnce(&mut TensorReader<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        let jobs = self.jobs(checkpoint);
        let work = Work {
            plan: self,
            checkpoint,
            limit: options.bytes_in_flight,
            cancel: options.cancel,
            state: Mutex::new(State {
                waiting: (0..jobs.len()).collect(),
                ..State::default()
            }),
            changed: Condvar::new(),
            jobs,
        };
        thread::scope(|scope| {
            for _ in 0..options.readers.min(MAX_READERS).min(work.jobs.len()) {
                // What no thread reads ahead is read when it is asked for.
                let started = thread::Builder::new().spawn_scoped(scope, || work.run());
                if started.is_err() {
                    break;
                }
            }
            // Also when `fill` panics: the scope waits for the threads.
            let _closing = Closing(&work);
            let mut reader = TensorReader::new(&work, options.progress);
            fill(&mut reader)
        })
    }

    /// What takes memory or time to prepare, in the order in which parameters are asked for.
    fn jobs<'a>(&'a self, checkpoint: &Checkpoint) -> Vec<Job<'a>> {
        let size = |tensor: &str| {
            let shape = checkpoint.shape(tensor).ok().and_then(element_count);
            let dtype = checkpoint.dtype(tensor).ok();
            shape
                .zip(dtype)
                .map_or(0, |(count, dtype)| count.saturating_mul(dtype.size()))
        };
        let mut jobs: Vec<Job<'a>> = Vec::new();
        for conversion in &self.conversions {
            let values: usize = conversion.tensors().map(size).sum();
            let copied: usize = conversion
                .tensors()
                .filter(|tensor| checkpoint.copies(tensor))
                .map(size)
                .sum();
            jobs.push(Job {
                task: Task::Convert(conversion),
                // Between two operations both their results are there.
                cost: copied + 2 * values,
                result: values,
            });
        }
        for (parameter, tensor) in &self.sources {
            if checkpoint.copies(tensor) {
                let size = size(tensor);
                jobs.push(Job {
                    task: Task::Read(parameter, tensor),
                    cost: size,
                    result: size,
                });
            }
        }
        let mut positions = HashMap::new();
        for (position, name) in self.order.iter().enumerate() {
            positions.entry(name.as_str()).or_insert(position);
        }
        let position = |job: &Job<'_>| {
            let known = job
                .parameters()
                .filter_map(|name| positions.get(name).copied());
            known.min().unwrap_or(usize::MAX)
        };
        jobs.sort_by_cached_key(position);
        jobs
    }
}

/// Something to prepare.
struct Job<'a> {
    task: Task<'a>,
    /// Bytes while it is worked on.
    cost: usize,
    /// Bytes of its result.
    result: usize,
}

enum Task<'a> {
    Convert(&'a Conversion),
    /// A parameter, and its tensor in the checkpoint.
    Read(&'a str, &'a str),
}

type Prepared = Vec<(String, HostTensor)>;

impl<'a> Job<'a> {
    fn parameters(&self) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        match self.task {
            Task::Convert(conversion) => Box::new(conversion.parameters()),
            Task::Read(parameter, _) => Box::new(std::iter::once(parameter)),
        }
    }
}

/// What the threads share.
struct Work<'a> {
    plan: &'a LoadPlan,
    checkpoint: &'a Checkpoint,
    jobs: Vec<Job<'a>>,
    limit: usize,
    cancel: Option<&'a AtomicBool>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Jobs that nobody has begun.
    waiting: VecDeque<usize>,
    done: HashMap<usize, Result<Prepared>>,
    in_flight: usize,
    closed: bool,
}

impl Work<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cancelled(&self) -> bool {
        self.cancel
            .is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }

    /// A reader's thread: job after job while they fit.
    fn run(&self) {
        let mut state = self.lock();
        while !state.closed && !self.is_cancelled() {
            let Some(&job) = state.waiting.front() else {
                break;
            };
            let needed = state.in_flight.saturating_add(self.jobs[job].cost);
            if needed > self.limit {
                state = self.wait(state);
                continue;
            }
            state.waiting.pop_front();
            state.in_flight = needed;
            drop(state);
            let prepared = self.prepare(job);
            state = self.lock();
            state.in_flight -= self.jobs[job].cost - self.jobs[job].result;
            state.done.insert(job, prepared);
            self.changed.notify_all();
        }
    }

    /// The result of `job`, prepared here unless a thread has begun it.
    fn take(&self, job: usize) -> Result<Prepared> {
        let mut state = self.lock();
        if let Some(position) = state.waiting.iter().position(|&waiting| waiting == job) {
            state.waiting.remove(position);
            state.in_flight = state.in_flight.saturating_add(self.jobs[job].result);
            drop(state);
            return self.prepare(job);
        }
        loop {
            if let Some(prepared) = state.done.remove(&job) {
                return prepared;
            }
            state = self.wait(state);
        }
    }

    /// Everything of `job` was taken.
    fn release(&self, job: usize) {
        let mut state = self.lock();
        state.in_flight = state.in_flight.saturating_sub(self.jobs[job].result);
        self.changed.notify_all();
    }

    fn prepare(&self, job: usize) -> Result<Prepared> {
        let read = |tensor: &str| self.checkpoint.tensor(tensor);
        // An operation of a user's that panics must not leave the model waiting.
        let prepared = catch_unwind(AssertUnwindSafe(|| match self.jobs[job].task {
            Task::Convert(conversion) => conversion.run(&self.plan.model, read),
            Task::Read(parameter, tensor) => Ok(vec![(parameter.to_owned(), read(tensor)?)]),
        }));
        prepared.unwrap_or_else(|_| Err(operation("an operation panicked".into())))
    }
}

/// Ends the readers' threads when it goes.
struct Closing<'a>(&'a Work<'a>);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

/// Gives the tensors of parameters, see [`LoadPlan::read`].
pub struct TensorReader<'a> {
    work: &'a Work<'a>,
    /// By parameter.
    jobs: HashMap<&'a str, usize>,
    /// Tensors of jobs whose other tensors were asked for first.
    ready: HashMap<String, HostTensor>,
    /// How many tensors of a job are still to be taken.
    left: HashMap<usize, usize>,
    progress: Option<&'a dyn Fn(ReadProgress)>,
    taken: usize,
    total: usize,
}

impl fmt::Debug for TensorReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorReader({} of {})", self.taken, self.total)
    }
}

impl<'a> TensorReader<'a> {
    fn new(work: &'a Work<'a>, progress: Option<&'a dyn Fn(ReadProgress)>) -> Self {
        let jobs = work.jobs.iter().enumerate();
        let jobs = jobs.flat_map(|(index, job)| job.parameters().map(move |name| (name, index)));
        let converted: usize = work
            .plan
            .conversions
            .iter()
            .map(|one| one.parameters().len())
            .sum();
        Self {
            work,
            jobs: jobs.collect(),
            ready: HashMap::new(),
            left: HashMap::new(),
            progress,
            taken: 0,
            total: work.plan.sources.len() + converted,
        }
    }

    /// The tensor for `parameter`, or `None` if the checkpoint does not fill it. A converted tensor is given once.
    ///
    /// # Errors
    /// If it cannot be read or converted, or reading was cancelled.
    pub fn tensor(&mut self, parameter: &str) -> Result<Option<HostTensor>> {
        if self.work.is_cancelled() {
            return Err(WeightsError::Cancelled);
        }
        let tensor = match self.jobs.get(parameter) {
            Some(&job) => self.prepared(parameter, job)?,
            None => {
                let source = self.work.plan.sources.get(parameter);
                source
                    .map(|tensor| self.work.checkpoint.tensor(tensor))
                    .transpose()?
            }
        };
        if tensor.is_some() {
            self.taken += 1;
            if let Some(progress) = self.progress {
                progress(ReadProgress {
                    done: self.taken,
                    total: self.total,
                });
            }
        }
        Ok(tensor)
    }

    fn prepared(&mut self, parameter: &str, job: usize) -> Result<Option<HostTensor>> {
        if !self.left.contains_key(&job) {
            let prepared = self.work.take(job)?;
            self.left.insert(job, prepared.len());
            self.ready.extend(prepared);
        }
        let tensor = self.ready.remove(parameter);
        if let Some(left) = self.left.get_mut(&job)
            && tensor.is_some()
        {
            *left -= 1;
            if *left == 0 {
                self.work.release(job);
            }
        }
        Ok(tensor)
    }
}
