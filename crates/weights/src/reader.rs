//! Reading and converting ahead of the model that is being filled.
//!
//! A few threads prepare what the model will ask for next, in the order in which it will, and stop where what they hold
//! reaches a bound in bytes. What the model asks for before a thread came to it, it prepares itself, whatever the bound.
//! Tensors that are used where they lie in a mapped file are no work and not prepared.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use transformers_hub::CancelToken;

use crate::conversion::operation;
use crate::{Conversion, LoadPlan, Prepare, Result, WeightsError};

/// More threads than this compete for the disk and make reading slower.
const MAX_READERS: usize = 4;
/// Fewer bytes than that are prepared sooner than threads are started.
const WORTH_THREADS: usize = 8 << 20;

/// How much is read ahead, and who may stop it.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions<'a> {
    /// Threads that read ahead, at most four; with none, tensors are read when they are asked for. By default as many as
    /// there are cores, and none where there is one, or little to do.
    pub readers: Option<usize>,
    /// Bytes that tensors read ahead may take, while they are converted and until they are taken.
    pub bytes_in_flight: usize,
    /// Ends reading with [`WeightsError::Cancelled`] once it is set.
    pub cancel: Option<&'a CancelToken>,
}

impl Default for ReadOptions<'_> {
    fn default() -> Self {
        Self {
            readers: None,
            bytes_in_flight: 256 << 20,
            cancel: None,
        }
    }
}

impl ReadOptions<'_> {
    fn readers(&self, jobs: &[Job<'_>]) -> usize {
        let worth = || {
            let cores = thread::available_parallelism().map_or(1, NonZero::get);
            let costs = jobs.iter().map(|job| job.cost);
            let total = costs.fold(0, usize::saturating_add);
            match total < WORTH_THREADS || cores == 1 {
                true => 0,
                false => cores,
            }
        };
        let readers = self.readers.unwrap_or_else(worth);
        readers.min(MAX_READERS).min(jobs.len())
    }
}

impl LoadPlan {
    /// Gives `fill` a reader of the parameters' values, which `prepare` makes of the checkpoint's tensors. It reads ahead in
    /// the order in which the parameters were given to [`plan`](crate::plan()), which is best that in which `fill` asks for
    /// them.
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
    ///         if let Some(tensor) = reader.take(name)? {
    ///             println!("{name}: {:?}", tensor.shape());
    ///         }
    ///     }
    ///     Ok::<_, WeightsError>(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `fill`, and if the checkpoint is not the one that was planned with.
    pub fn read<P: Prepare, R, E: From<WeightsError>>(
        &self,
        prepare: &P,
        options: &ReadOptions<'_>,
        fill: impl FnOnce(&mut TensorReader<'_, P>) -> Result<R, E>,
    ) -> Result<R, E> {
        let jobs = self.jobs(prepare)?;
        let readers = options.readers(&jobs);
        let work = Work {
            plan: self,
            prepare,
            limit: options.bytes_in_flight,
            cancel: options.cancel,
            state: Mutex::new(State {
                waiting: (0..jobs.len()).collect(),
                done: HashMap::new(),
                in_flight: 0,
                closed: false,
            }),
            changed: Condvar::new(),
            jobs,
        };
        thread::scope(|scope| {
            for _ in 0..readers {
                // What no thread reads ahead is read when it is asked for.
                let started = thread::Builder::new().spawn_scoped(scope, || work.run());
                if started.is_err() {
                    break;
                }
            }
            // Also when `fill` panics: the scope waits for the threads.
            let _closing = Closing(&work);
            fill(&mut TensorReader::new(&work))
        })
    }

    /// What takes memory or time to prepare, in the order in which parameters are asked for.
    fn jobs(&self, prepare: &impl Prepare) -> Result<Vec<Job<'_>>> {
        let mut jobs = Vec::new();
        for conversion in &self.conversions {
            jobs.push(conversion_job(conversion, prepare)?);
        }
        for (parameter, tensor) in &self.sources {
            let cost = prepare.cost(parameter, tensor)?;
            if cost > 0 {
                jobs.push(Job {
                    task: Task::Read(parameter, tensor),
                    cost,
                    result: cost,
                });
            }
        }
        let mut positions = HashMap::new();
        for (position, name) in self.order.iter().enumerate() {
            positions.entry(name.as_str()).or_insert(position);
        }
        let position = |job: &Job<'_>| {
            let known = job.parameters();
            let known = known.filter_map(|name| positions.get(name).copied());
            known.min().unwrap_or(usize::MAX)
        };
        jobs.sort_by_cached_key(position);
        Ok(jobs)
    }
}

fn conversion_job<'a>(conversion: &'a Conversion, prepare: &impl Prepare) -> Result<Job<'a>> {
    let checkpoint = prepare.checkpoint();
    let (mut values, mut copied) = (0_usize, 0_usize);
    for tensor in conversion.tensors() {
        let size = checkpoint.size(tensor)?;
        values = values.saturating_add(size);
        if checkpoint.copies(tensor) {
            copied = copied.saturating_add(size);
        }
    }
    let found = conversion
        .tensors()
        .next()
        .map(|first| checkpoint.dtype(first));
    let finished = match found.transpose()? {
        Some(found) => conversion
            .parameters()
            .map(|parameter| prepare.converted_cost(parameter, found))
            .fold(0, usize::saturating_add),
        None => 0,
    };
    let result = values.max(finished);
    Ok(Job {
        task: Task::Convert(conversion),
        // Between two operations both their results are there, and so are the last's and what is made of it.
        cost: copied.saturating_add(values).saturating_add(result),
        result,
    })
}

/// Something to prepare.
struct Job<'a> {
    task: Task<'a>,
    /// Bytes while it is worked on.
    cost: usize,
    /// Bytes of its result.
    result: usize,
}

#[derive(Clone, Copy)]
enum Task<'a> {
    Convert(&'a Conversion),
    /// A parameter, and its tensor in the checkpoint.
    Read(&'a str, &'a str),
}

impl<'a> Job<'a> {
    fn parameters(&self) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        match self.task {
            Task::Convert(conversion) => Box::new(conversion.parameters()),
            Task::Read(parameter, _) => Box::new(std::iter::once(parameter)),
        }
    }
}

/// Parameters with their values.
type Prepared<V> = Vec<(String, V)>;

/// What the threads share.
struct Work<'a, P: Prepare> {
    plan: &'a LoadPlan,
    prepare: &'a P,
    jobs: Vec<Job<'a>>,
    limit: usize,
    cancel: Option<&'a CancelToken>,
    state: Mutex<State<P::Value>>,
    changed: Condvar,
}

struct State<V> {
    /// Jobs that nobody has begun.
    waiting: VecDeque<usize>,
    done: HashMap<usize, Result<Prepared<V>>>,
    in_flight: usize,
    closed: bool,
}

impl<P: Prepare> Work<'_, P> {
    fn lock(&self) -> MutexGuard<'_, State<P::Value>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State<P::Value>>) -> MutexGuard<'s, State<P::Value>> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(CancelToken::is_cancelled)
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

    /// The result of `job`, prepared here unless a thread has begun it. To be asked for once.
    fn take(&self, job: usize) -> Result<Prepared<P::Value>> {
        let mut state = self.lock();
        if let Some(position) = state.waiting.iter().position(|&waiting| waiting == job) {
            state.waiting.remove(position);
            state.in_flight = state.in_flight.saturating_add(self.jobs[job].result);
            drop(state);
            // Another job is the next.
            self.changed.notify_all();
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

    fn prepare(&self, job: usize) -> Result<Prepared<P::Value>> {
        let task = self.jobs[job].task;
        // An operation of a user's that panics must not leave the model waiting.
        let prepared = catch_unwind(AssertUnwindSafe(|| match task {
            Task::Convert(conversion) => self.convert(conversion),
            Task::Read(parameter, tensor) => {
                let value = self.prepare.read(parameter, tensor)?;
                Ok(vec![(parameter.to_owned(), value)])
            }
        }));
        prepared.unwrap_or_else(|_| {
            let parameter = self.jobs[job].parameters().next().unwrap_or_default();
            Err(operation(format!("preparing `{parameter}` panicked")))
        })
    }

    fn convert(&self, conversion: &Conversion) -> Result<Prepared<P::Value>> {
        let converted = conversion.run(&self.plan.model, self.prepare.checkpoint())?;
        let finish = |(parameter, tensor): (String, _)| {
            let value = self.prepare.finish(&parameter, tensor)?;
            Ok((parameter, value))
        };
        converted.into_iter().map(finish).collect()
    }
}

/// Ends the readers' threads when it goes.
struct Closing<'a, 'w, P: Prepare>(&'a Work<'w, P>);

impl<P: Prepare> Drop for Closing<'_, '_, P> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

/// Gives the values of parameters, see [`LoadPlan::read`].
pub struct TensorReader<'a, P: Prepare> {
    work: &'a Work<'a, P>,
    /// By parameter.
    jobs: HashMap<&'a str, usize>,
    /// Values of jobs whose other values were asked for first.
    ready: HashMap<String, P::Value>,
    /// How many values of a job are still to be taken.
    left: HashMap<usize, usize>,
}

impl<P: Prepare> fmt::Debug for TensorReader<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorReader({} jobs)", self.work.jobs.len())
    }
}

impl<'a, P: Prepare> TensorReader<'a, P> {
    fn new(work: &'a Work<'a, P>) -> Self {
        let jobs = work.jobs.iter().enumerate();
        let jobs = jobs.flat_map(|(index, job)| job.parameters().map(move |name| (name, index)));
        Self {
            work,
            jobs: jobs.collect(),
            ready: HashMap::new(),
            left: HashMap::new(),
        }
    }

    /// The value for `parameter`, or `None` if the checkpoint does not fill it. To be asked for once: what was prepared is
    /// then gone.
    ///
    /// # Errors
    /// If it cannot be read or converted, or reading was cancelled.
    pub fn take(&mut self, parameter: &str) -> Result<Option<P::Value>> {
        if self.work.is_cancelled() {
            return Err(WeightsError::Cancelled);
        }
        if let Some(&job) = self.jobs.get(parameter) {
            return self.prepared(parameter, job);
        }
        let source = self.work.plan.sources.get(parameter);
        let read = |tensor: &String| self.work.prepare.read(parameter, tensor);
        source.map(read).transpose()
    }

    fn prepared(&mut self, parameter: &str, job: usize) -> Result<Option<P::Value>> {
        if !self.left.contains_key(&job) {
            // Also where it fails: nobody will prepare it again.
            self.left.insert(job, 0);
            let prepared = self.work.take(job)?;
            self.left.insert(job, prepared.len());
            self.ready.extend(prepared);
        }
        let value = self.ready.remove(parameter);
        if let Some(left) = self.left.get_mut(&job)
            && value.is_some()
        {
            *left -= 1;
            if *left == 0 {
                self.work.release(job);
            }
        }
        Ok(value)
    }
}
