//! The feed is shared by the threads of a stream: it gives them the places of the pictures, in order, and delivers
//! their results to the consumer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Sender;

use super::StreamError;
use crate::exec::ExecError;

/// A place in the order of the pictures with its result, or the error that ends the stream.
pub(super) type Message<T> = Result<(usize, T), StreamError>;

/// Gives the places of pictures to threads, in order and at most a window ahead of the consumer, and delivers their
/// results.
pub(super) struct Feed<T> {
    pub(super) count: usize,
    window: usize,
    at: Mutex<At>,
    moved: Condvar,
    /// Raised when no more results are wanted.
    pub(super) over: Arc<AtomicBool>,
    results: Sender<Message<T>>,
}

struct At {
    taken: usize,
    handed: usize,
}

/// Tells the threads, when it is dropped, that no more results are wanted.
pub(super) struct Ending<'a, T>(pub(super) &'a Feed<T>);

impl<T> Drop for Ending<'_, T> {
    fn drop(&mut self) {
        let _at = self.0.lock();
        self.0.over.store(true, Ordering::Relaxed);
        self.0.moved.notify_all();
    }
}

impl<T> Feed<T> {
    pub(super) fn new(count: usize, window: usize, results: Sender<Message<T>>) -> Self {
        let at = Mutex::new(At { taken: 0, handed: 0 });
        Self { count, window, at, moved: Condvar::new(), over: Arc::default(), results }
    }

    /// Runs the work of a thread; if it panics, the consumer gets an error at once.
    pub(super) fn run(&self, work: &dyn Fn(&Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            self.fail(ExecError::Worker);
        }
    }

    /// The place of the next picture; none if all are taken, if the work is over, or if the window is full and `wait`
    /// is false.
    pub(super) fn next(&self, wait: bool) -> Option<usize> {
        let mut at = self.lock();
        while at.taken < self.count && !self.is_over() {
            if at.taken < at.handed + self.window {
                at.taken += 1;
                if at.taken == self.count {
                    self.moved.notify_all();
                }
                return Some(at.taken - 1);
            }
            if !wait {
                break;
            }
            at = self.moved.wait(at).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    // the receiver exists as long as the feed

    pub(super) fn send(&self, place: usize, value: T) {
        self.results.send(Ok((place, value))).ok();
    }

    pub(super) fn fail(&self, error: impl Into<StreamError>) {
        self.results.send(Err(error.into())).ok();
    }

    /// Counts a result that was delivered to the consumer.
    pub(super) fn hand_over(&self) {
        self.lock().handed += 1;
        self.moved.notify_one();
    }

    /// True if no picture can be taken before another result is delivered.
    pub(super) fn is_full(&self) -> bool {
        let at = self.lock();
        at.taken >= at.handed + self.window
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, At> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
