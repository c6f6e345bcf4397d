//! What the threads of a stream share: the places of the pictures, in order, and the way to the consumer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Sender;

use super::StreamError;
use crate::exec::ExecError;

/// A place in the order of the pictures and its result, or the error that ends everything.
pub(super) type Message<T> = Result<(usize, T), StreamError>;

/// A thread's ends of the stream: where pictures come from, and where results go.
pub(super) struct Worker<'a, T> {
    pub(super) feed: &'a Feed,
    pub(super) results: Sender<Message<T>>,
}

impl<T> Worker<'_, T> {
    /// The place of the next picture; none where all are taken, the work is over, or none may be taken now and the thread would not `wait`.
    pub(super) fn next(&self, wait: bool) -> Option<usize> {
        self.feed.next(wait)
    }

    pub(super) fn send(&self, place: usize, value: T) {
        // the other end is gone when the work is over
        self.results.send(Ok((place, value))).ok();
    }

    pub(super) fn fail(&self, error: impl Into<StreamError>) {
        self.results.send(Err(error.into())).ok();
    }
}

/// A thread that dies is told of at once.
impl<T> Drop for Worker<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fail(ExecError::Worker);
        }
    }
}

/// Gives the places of pictures to threads, in order, and no further ahead of the consumer than a window.
pub(super) struct Feed {
    pub(super) count: usize,
    window: usize,
    at: Mutex<At>,
    moved: Condvar,
    /// Raised when nobody wants more.
    pub(super) over: AtomicBool,
}

struct At {
    taken: usize,
    handed: usize,
}

impl Feed {
    pub(super) fn new(count: usize, window: usize) -> Self {
        let at = Mutex::new(At { taken: 0, handed: 0 });
        Self { count, window, at, moved: Condvar::new(), over: AtomicBool::new(false) }
    }

    pub(super) fn next(&self, wait: bool) -> Option<usize> {
        let mut at = self.lock();
        loop {
            if at.taken == self.count || self.is_over() {
                return None;
            }
            if at.taken < at.handed + self.window {
                at.taken += 1;
                if at.taken == self.count {
                    self.moved.notify_all();
                }
                return Some(at.taken - 1);
            }
            if !wait {
                return None;
            }
            at = self.moved.wait(at).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Another result is with the consumer.
    pub(super) fn hand_over(&self) {
        self.lock().handed += 1;
        self.moved.notify_one();
    }

    /// True when no picture can be taken before another result is with the consumer.
    pub(super) fn is_full(&self) -> bool {
        let at = self.lock();
        at.taken >= at.handed + self.window
    }

    pub(super) fn abort(&self) {
        let _at = self.lock();
        self.over.store(true, Ordering::Relaxed);
        self.moved.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, At> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
