//! Reading on several threads ahead of the one that puts a model together, in its order.

use std::any::Any;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};

/// More of them compete for memory and files.
const READERS: usize = 4;
/// Bytes that may be read and not yet taken; an item that is larger is read alone.
const IN_FLIGHT: usize = 256 << 20;
/// Fewer bytes than that are read sooner than threads are started.
const WORTH_THREADS: usize = 8 << 20;

/// Runs `consume` with a function that gives item `i` as `read` reads it. Every item may be taken once, and best in
/// order. `costs` are the bytes that reading each produces; where they are many, threads read ahead.
pub(crate) fn read_ahead<T: Send, R>(
    costs: &[usize],
    read: impl Fn(usize) -> T + Sync,
    consume: impl FnOnce(&mut dyn FnMut(usize) -> T) -> R,
) -> R {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let total = costs.iter().copied().fold(0, usize::saturating_add);
    match total < WORTH_THREADS || cores == 1 {
        true => consume(&mut |item| read(item)),
        false => on_threads(costs, READERS.min(cores), IN_FLIGHT, read, consume),
    }
}

fn on_threads<T: Send, R>(
    costs: &[usize],
    readers: usize,
    in_flight: usize,
    read: impl Fn(usize) -> T + Sync,
    consume: impl FnOnce(&mut dyn FnMut(usize) -> T) -> R,
) -> R {
    let queue = Queue::new(costs, in_flight);
    let work = || {
        while let Some(item) = queue.claim() {
            queue.put(item, catch_unwind(AssertUnwindSafe(|| read(item))));
        }
    };
    thread::scope(|scope| {
        let started = (0..readers)
            .map(|_| Builder::new().spawn_scoped(scope, work))
            .filter(Result::is_ok)
            .count();
        let _stop = Stop(&queue);
        consume(&mut |item| match started {
            0 => read(item),
            _ => queue.take(item),
        })
    })
}

/// Items on their way from the readers to the one that takes them.
struct Queue<'a, T> {
    costs: &'a [usize],
    limit: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// The first item that nobody has claimed.
    next: usize,
    /// Everything up to here is claimed whatever is in flight: someone waits for it.
    wanted: usize,
    in_flight: usize,
    /// What was read and not taken.
    ready: Vec<Option<Outcome<T>>>,
    stopped: bool,
}

/// An item, or the panic that reading it ended in.
type Outcome<T> = Result<T, Box<dyn Any + Send>>;

impl<'a, T> Queue<'a, T> {
    fn new(costs: &'a [usize], limit: usize) -> Self {
        let state = State {
            next: 0,
            wanted: 0,
            in_flight: 0,
            ready: costs.iter().map(|_| None).collect(),
            stopped: false,
        };
        Self {
            costs,
            limit,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(
        &self,
        state: MutexGuard<'s, State<T>>,
        while_: impl FnMut(&mut State<T>) -> bool,
    ) -> MutexGuard<'s, State<T>> {
        let state = self.changed.wait_while(state, while_);
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item to read, once there is room for it; `None` when nothing is left to do.
    fn claim(&self) -> Option<usize> {
        let mut state = self.wait(self.lock(), |state| {
            let room = |cost: &usize| state.in_flight.saturating_add(*cost) <= self.limit;
            let may = state.in_flight == 0 || state.next < state.wanted;
            let cost = self.costs.get(state.next);
            !state.stopped && cost.is_some_and(|cost| !may && !room(cost))
        });
        let item = state.next;
        let cost = self.costs.get(item).filter(|_| !state.stopped)?;
        state.next += 1;
        state.in_flight = state.in_flight.saturating_add(*cost);
        Some(item)
    }

    fn put(&self, item: usize, outcome: Outcome<T>) {
        self.lock().ready[item] = Some(outcome);
        self.changed.notify_all();
    }

    fn take(&self, item: usize) -> T {
        let mut state = self.lock();
        state.wanted = state.wanted.max(item + 1);
        self.changed.notify_all();
        let mut state = self.wait(state, |state| state.ready[item].is_none());
        let outcome = state.ready[item].take();
        state.in_flight = state.in_flight.saturating_sub(self.costs[item]);
        drop(state);
        self.changed.notify_all();
        match outcome.expect("it was waited for") {
            Ok(value) => value,
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Ends the readers when nobody takes any more.
struct Stop<'a, T>(&'a Queue<'a, T>);

impl<T> Drop for Stop<'_, T> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn items_come_in_order_from_several_threads() {
        let costs = vec![1; 200];
        let threads = Mutex::new(std::collections::HashSet::new());
        let read = |item: usize| {
            threads.lock().unwrap().insert(thread::current().id());
            thread::sleep(std::time::Duration::from_micros(200));
            item * 3
        };
        let taken: Vec<usize> =
            on_threads(&costs, 4, 50, read, |take| (0..200).map(take).collect());
        assert_eq!(taken, (0..200).map(|item| item * 3).collect::<Vec<_>>());
        let threads = threads.into_inner().unwrap();
        assert!(threads.len() > 1 && threads.len() <= 4);
        assert!(!threads.contains(&thread::current().id()));
    }

    #[test]
    fn no_more_is_read_than_may_be_in_flight() {
        let count = AtomicUsize::new(0);
        let read = |_| count.fetch_add(1, Ordering::SeqCst);
        on_threads(&[3; 20], 4, 10, read, |take| {
            for item in 0..20 {
                thread::sleep(std::time::Duration::from_millis(1));
                assert!(
                    count.load(Ordering::SeqCst) <= item + 3,
                    "three of three fit"
                );
                take(item);
            }
        });
        assert_eq!(count.load(Ordering::SeqCst), 20);
    }

    #[test]
    fn what_is_larger_than_all_that_may_be_in_flight_is_read_too() {
        let taken = on_threads(
            &[3, 50, 50, 3],
            4,
            10,
            |item| item,
            |take| (0..4).map(take).sum::<usize>(),
        );
        assert_eq!(taken, 6);
    }

    #[test]
    fn items_that_nobody_takes_hold_nothing_up() {
        let costs = vec![10; 100];
        on_threads(
            &costs,
            2,
            20,
            |item| item,
            |take| {
                assert_eq!((take(50), take(99), take(7)), (50, 99, 7));
            },
        );
        on_threads(&costs, 2, 20, |item| item, |_| ());
    }

    #[test]
    fn a_panic_while_reading_reaches_the_one_who_takes() {
        let read = |item: usize| assert!(item != 3, "item three");
        let run = || on_threads(&[1; 9], 2, 4, read, |take| (0..9).for_each(take));
        let panic = catch_unwind(run).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"item three"));
    }

    #[test]
    fn little_is_read_by_the_one_who_takes() {
        let here = thread::current().id();
        let read = |_| assert_eq!(thread::current().id(), here);
        read_ahead(&[1; 5], read, |take| (0..5).for_each(take));
    }
}
