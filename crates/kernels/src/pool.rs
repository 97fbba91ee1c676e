//! The thread pool: threads stay hot between the operations of a decoding step, and park when work stops coming.
//!
//! A decoding step forks and joins some hundred times, microseconds apart. Waking a parked thread costs more than such a
//! piece of work, so an idle worker first spins for a bounded time. Every thread has a share of neighbouring tasks, which
//! it takes in order, for that is how memory is read fastest; who is done takes over from the end of another's share. A
//! worker that the system has taken off its core so holds up one task.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Condvar, Mutex, OnceLock, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// The variable that sets the number of threads.
pub const THREADS_VARIABLE: &str = "TRANSFORMERS_NUM_THREADS";

/// How long an idle worker spins before it parks: longer than the pause between two operations, and than the sampling
/// of a token.
const SPIN: Duration = Duration::from_micros(300);

/// More threads than this are never started.
const MAX_THREADS: usize = 512;

/// What a piece of work is: generating token by token, where memory is the limit, or many rows at once, where
/// arithmetic is. The two may use different numbers of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// One row, or a few.
    Decode,
    /// Many rows.
    Prefill,
}

impl Phase {
    /// The phase that a matrix product with this many rows belongs to.
    pub fn of_rows(rows: usize) -> Self {
        if rows <= 8 {
            Self::Decode
        } else {
            Self::Prefill
        }
    }
}

static DECODE_THREADS: AtomicUsize = AtomicUsize::new(0);
static PREFILL_THREADS: AtomicUsize = AtomicUsize::new(0);

/// The number of threads, the caller's included, that work of this phase uses: what [`set_threads`] said, else
/// [`THREADS_VARIABLE`], else the number of cores.
pub fn threads(phase: Phase) -> usize {
    let chosen = match phase {
        Phase::Decode => &DECODE_THREADS,
        Phase::Prefill => &PREFILL_THREADS,
    };
    match chosen.load(Ordering::Relaxed) {
        0 => default_threads(),
        threads => threads,
    }
}

/// Sets the number of threads for a phase; zero gives back the default.
pub fn set_threads(phase: Phase, threads: usize) {
    let threads = threads.min(MAX_THREADS);
    match phase {
        Phase::Decode => DECODE_THREADS.store(threads, Ordering::Relaxed),
        Phase::Prefill => PREFILL_THREADS.store(threads, Ordering::Relaxed),
    }
}

fn default_threads() -> usize {
    static DEFAULT: OnceLock<usize> = OnceLock::new();
    *DEFAULT.get_or_init(|| {
        let asked = std::env::var(THREADS_VARIABLE).ok();
        asked
            .and_then(|value| value.parse().ok())
            .filter(|&threads| threads > 0)
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
            .min(MAX_THREADS)
    })
}

/// Runs `task(0)` to `task(tasks - 1)` on the phase's threads, the caller's among them, and returns when all are done.
///
/// Within a task, and while another thread's work holds the pool, the tasks run one after the other on the caller.
///
/// # Panics
/// When a task panics; the other tasks may or may not have run.
pub fn run(phase: Phase, tasks: usize, task: impl Fn(usize) + Sync) {
    let threads = threads(phase).min(tasks);
    if threads <= 1 || IN_TASK.get() || cfg!(target_family = "wasm") {
        return (0..tasks).for_each(task);
    }
    static POOL: Pool = Pool::new();
    POOL.run(threads, tasks, &task);
}

/// Splits `0..len` into ranges of `grain` (the last may be shorter) and runs `task` on each.
pub fn run_ranges(
    phase: Phase,
    len: usize,
    grain: usize,
    task: impl Fn(std::ops::Range<usize>) + Sync,
) {
    let grain = grain.max(1);
    run(phase, len.div_ceil(grain), |i| {
        task(i * grain..((i + 1) * grain).min(len))
    });
}

thread_local! {
    /// Whether this thread is inside a task. Work that a task forks runs on the spot.
    static IN_TASK: Cell<bool> = const { Cell::new(false) };
}

/// A task's closure, its lifetime erased. [`Pool::run`] returns only when no worker can call it any more.
type Task = *const (dyn Fn(usize) + Sync);

struct Pool {
    /// Held while work is under way; counts the workers that were started.
    workers: Mutex<usize>,
    /// The number of the job, whether workers may still join it, and how many are in it: see [`State`].
    state: AtomicU64,
    /// Threads that work on this job, the caller's and those of the first workers.
    threads: AtomicUsize,
    /// Their tasks.
    shares: [Share; MAX_THREADS],
    panicked: AtomicBool,
    task: Mutex<Option<TaskPointer>>,
    /// Workers that are parked, or about to be.
    parked: AtomicU32,
    park: Mutex<()>,
    wake: Condvar,
}

#[derive(Clone, Copy)]
struct TaskPointer(Task);
// SAFETY: the closure behind it is `Sync`, and `Pool::run` keeps it alive while workers are in the job.
unsafe impl Send for TaskPointer {}

/// A range of tasks that nobody has taken yet: `start << 32 | end`.
#[repr(align(64))]
struct Share(AtomicU64);

impl Share {
    fn set(&self, range: std::ops::Range<usize>) {
        let range = (range.start as u64) << 32 | range.end as u64;
        self.0.store(range, Ordering::Relaxed);
    }

    /// Takes the first task, or the last one.
    fn take(&self, last: bool) -> Option<usize> {
        let mut range = self.0.load(Ordering::Relaxed);
        loop {
            let (start, end) = (range >> 32, range & u64::from(u32::MAX));
            if start >= end {
                return None;
            }
            let (task, rest) = match last {
                true => (end - 1, start << 32 | (end - 1)),
                false => (start, (start + 1) << 32 | end),
            };
            match self
                .0
                .compare_exchange_weak(range, rest, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(task as usize),
                Err(now) => range = now,
            }
        }
    }
}

/// [`Pool::state`]: `job << 32 | open << 31 | workers inside`.
struct State;

impl State {
    const OPEN: u64 = 1 << 31;
    const INSIDE: u64 = Self::OPEN - 1;

    fn job(state: u64) -> u64 {
        state >> 32
    }
}

impl Pool {
    const fn new() -> Self {
        Self {
            workers: Mutex::new(0),
            state: AtomicU64::new(0),
            threads: AtomicUsize::new(0),
            shares: [const { Share(AtomicU64::new(0)) }; MAX_THREADS],
            panicked: AtomicBool::new(false),
            task: Mutex::new(None),
            parked: AtomicU32::new(0),
            park: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    fn run(&'static self, threads: usize, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let mut workers = match self.workers.try_lock() {
            Ok(workers) => workers,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return (0..tasks).for_each(task),
        };
        while *workers < threads - 1 && self.start_worker(*workers) {
            *workers += 1;
        }
        self.open(threads, tasks, task);
        // The job is closed however this ends: workers hold a pointer into the caller's stack.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.work(0, task)));
        self.close();
        drop(workers);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        assert!(
            !self.panicked.load(Ordering::Relaxed),
            "a task of the thread pool panicked"
        );
    }

    fn start_worker(&'static self, index: usize) -> bool {
        std::thread::Builder::new()
            .name(format!("transformers-{index}"))
            .spawn(move || self.worker(index + 1))
            .is_ok()
    }

    fn open(&self, threads: usize, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes; `close` waits until no worker is left that could use the pointer.
        let erased = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Task>(task) };
        *lock(&self.task) = Some(TaskPointer(erased));
        self.panicked.store(false, Ordering::Relaxed);
        self.threads.store(threads, Ordering::Relaxed);
        for (i, share) in self.shares[..threads].iter().enumerate() {
            share.set(tasks * i / threads..tasks * (i + 1) / threads);
        }
        let job = State::job(self.state.load(Ordering::Relaxed)).wrapping_add(1);
        // SeqCst here and in `wait_for_job`: either a worker that parks sees the job, or this sees that it parks.
        self.state.store(job << 32 | State::OPEN, Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.park));
            self.wake.notify_all();
        }
    }

    /// Lets no further worker in and waits for those inside.
    fn close(&self) {
        self.state.fetch_and(!State::OPEN, Ordering::AcqRel);
        let mut spins = 0u32;
        while self.state.load(Ordering::Acquire) & State::INSIDE != 0 {
            spins += 1;
            // Cores may be shared: a worker that lost its core needs ours to finish.
            if spins.is_multiple_of(1 << 12) {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// Runs the tasks of a thread's own share, then those that others have not come to.
    fn work(&self, thread: usize, task: &(dyn Fn(usize) + Sync)) {
        struct Inside;
        impl Drop for Inside {
            fn drop(&mut self) {
                IN_TASK.set(false);
            }
        }
        IN_TASK.set(true);
        let _inside = Inside;
        let threads = self.threads.load(Ordering::Relaxed);
        for i in 0..threads {
            let share = &self.shares[(thread + i) % threads];
            while let Some(index) = share.take(i > 0) {
                task(index);
            }
        }
    }

    /// The life of a worker, which is the pool's thread number `thread`; the caller of a job is number 0.
    fn worker(&self, thread: usize) {
        let mut seen = 0;
        loop {
            seen = self.wait_for_job(seen);
            if self.enter(seen, thread) {
                if let Some(TaskPointer(task)) = *lock(&self.task) {
                    // SAFETY: this worker is counted as inside, so the caller of `run` has not returned.
                    let task = unsafe { &*task };
                    if catch_unwind(AssertUnwindSafe(|| self.work(thread, task))).is_err() {
                        self.panicked.store(true, Ordering::Relaxed);
                    }
                }
                self.state.fetch_sub(1, Ordering::Release);
            }
        }
    }

    /// Counts this worker as inside the job, if that is still open and takes so many threads.
    fn enter(&self, job: u64, thread: usize) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let open = State::job(state) == job && state & State::OPEN != 0;
            if !open || thread >= self.threads.load(Ordering::Relaxed) {
                return false;
            }
            match self.state.compare_exchange_weak(
                state,
                state + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
    }

    /// Spins, then parks, until the job's number is not `seen`.
    fn wait_for_job(&self, seen: u64) -> u64 {
        let job = || State::job(self.state.load(Ordering::SeqCst));
        let start = Instant::now();
        loop {
            for _ in 0..64 {
                let now = job();
                if now != seen {
                    return now;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() > SPIN {
                break;
            }
        }
        self.parked.fetch_add(1, Ordering::SeqCst);
        let mut guard = lock(&self.park);
        while job() == seen {
            guard = self
                .wake
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(guard);
        self.parked.fetch_sub(1, Ordering::SeqCst);
        job()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of_squares(tasks: usize) -> usize {
        let sum = AtomicUsize::new(0);
        run(Phase::Prefill, tasks, |i| {
            sum.fetch_add(i * i, Ordering::Relaxed);
        });
        sum.into_inner()
    }

    fn expected(tasks: usize) -> usize {
        (0..tasks).map(|i| i * i).sum()
    }

    #[test]
    fn every_task_runs_once() {
        set_threads(Phase::Prefill, 4);
        for tasks in (0..40).chain([1000]) {
            assert_eq!(sum_of_squares(tasks), expected(tasks));
        }
    }

    #[test]
    fn work_within_work_and_beside_work() {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let sum = AtomicUsize::new(0);
                        run(Phase::Prefill, 5, |_| {
                            sum.fetch_add(sum_of_squares(7), Ordering::Relaxed);
                        });
                        assert_eq!(sum.into_inner(), 5 * expected(7));
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        set_threads(Phase::Prefill, 4);
        for bad in [0, 3, 63] {
            let outcome = catch_unwind(|| run(Phase::Prefill, 64, |i| assert_ne!(i, bad)));
            assert!(outcome.is_err());
            assert_eq!(sum_of_squares(64), expected(64));
        }
    }

    #[test]
    fn workers_wake_after_they_parked() {
        set_threads(Phase::Prefill, 4);
        for _ in 0..3 {
            assert_eq!(sum_of_squares(16), expected(16));
            std::thread::sleep(3 * SPIN);
        }
    }

    #[test]
    fn ranges_cover_the_length() {
        let seen = Mutex::new(Vec::new());
        run_ranges(Phase::Decode, 10, 4, |range| lock(&seen).push(range));
        let mut seen = lock(&seen).clone();
        seen.sort_by_key(|range| range.start);
        assert_eq!(seen, [0..4, 4..8, 8..10]);
    }
}
