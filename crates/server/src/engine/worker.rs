//! A thread that owns something and works on it, one task after the other.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use super::panic_message;

type Task<T> = Box<dyn FnOnce(&T) + Send>;

/// As many tasks are waiting as the worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// A thread that owns a `T`. It ends, and drops it, when the last task before the worker's own end is done.
pub struct Worker<T> {
    tasks: SyncSender<Task<T>>,
    waiting: Arc<AtomicUsize>,
}

impl<T: Send + 'static> Worker<T> {
    /// A worker on `value`, before which `capacity` tasks may wait.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn new(name: &str, value: T, capacity: usize) -> std::io::Result<Self> {
        let (tasks, queue) = sync_channel::<Task<T>>(capacity);
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = waiting.clone();
        let work = move || {
            for task in queue {
                left.fetch_sub(1, Ordering::Relaxed);
                // One that panics ends alone. A model is not changed by using it, so nothing is left half done.
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| task(&value))) {
                    log::error!("a task panicked: {}", panic_message(&*panic));
                }
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { tasks, waiting })
    }

    /// Lets the thread do `task` after those that wait.
    ///
    /// # Errors
    /// [`Busy`], where too many wait.
    pub fn submit(&self, task: impl FnOnce(&T) + Send + 'static) -> Result<(), Busy> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        match self.tasks.try_send(Box::new(task)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                Err(Busy)
            }
        }
    }

    /// How many tasks wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl<T> fmt::Debug for Worker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiting.load(Ordering::Relaxed);
        f.debug_struct("Worker").field("waiting", &waiting).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_panic_ends_its_task_alone() {
        let worker = Worker::new("test", 7, 4).unwrap();
        worker.submit(|_| panic!("on purpose")).unwrap();
        let (sender, receiver) = channel();
        worker
            .submit(move |value| sender.send(*value).unwrap())
            .unwrap();
        assert_eq!(receiver.recv().unwrap(), 7);
    }

    #[test]
    fn too_many_tasks_are_refused() {
        let worker = Worker::new("test", (), 1).unwrap();
        let (go, wait) = channel::<()>();
        let (began, begun) = channel();
        worker
            .submit(move |()| {
                began.send(()).unwrap();
                wait.recv().unwrap();
            })
            .unwrap();
        begun.recv().unwrap();
        worker.submit(|()| ()).unwrap();
        assert_eq!(worker.submit(|()| ()), Err(Busy));
        assert_eq!(worker.waiting(), 1);
        go.send(()).unwrap();
    }
}
