//! A budget of memory that threads share: a thread waits until its share is free, first come first served.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a waiting thread looks at `stop`.
const NOTICE: Duration = Duration::from_millis(50);

/// A budget of bytes, taken and given back as [`Share`]s. A thread that holds a share must not ask for another one: it
/// might wait for itself.
#[derive(Debug)]
pub struct Budget {
    total: u64,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    holders: usize,
    /// The tickets of the waiting threads, the first in line first.
    waiting: VecDeque<u64>,
    tickets: u64,
}

/// Some bytes of a budget, given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    /// A budget of `total` bytes.
    pub fn new(total: u64) -> Arc<Self> {
        Arc::new(Self { total, state: Mutex::default(), freed: Condvar::new() })
    }

    /// Waits for `bytes`. More than the whole budget is granted when no other share is held. None if `stop` was set
    /// meanwhile.
    pub fn take(self: &Arc<Self>, bytes: u64, stop: &AtomicBool) -> Option<Share> {
        let mut state = self.lock();
        let ticket = state.tickets;
        state.tickets += 1;
        state.waiting.push_back(ticket);
        loop {
            // no thread overtakes another, or large requests might wait for ever
            let first = state.waiting.front() == Some(&ticket);
            let fits = state.holders == 0 || state.used.saturating_add(bytes) <= self.total;
            let stopped = stop.load(Ordering::Relaxed);
            if stopped || first && fits {
                state.waiting.retain(|&other| other != ticket);
                if !stopped {
                    state.used += bytes;
                    state.holders += 1;
                }
                // the next in line may fit as well
                self.freed.notify_all();
                return (!stopped).then(|| Share { budget: self.clone(), bytes });
            }
            state = self.freed.wait_timeout(state, NOTICE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        state.used -= self.bytes;
        state.holders -= 1;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, AtomicUsize};
    use std::time::Instant;

    #[test]
    fn threads_never_hold_more_than_the_budget_and_the_large_run_alone() {
        const TOTAL: u64 = 100;
        let budget = Budget::new(TOTAL);
        let (held, most, holders, done) =
            (AtomicU64::new(0), AtomicU64::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let never = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (budget, never) = (budget.clone(), &never);
                let (held, most, holders, done) = (&held, &most, &holders, &done);
                scope.spawn(move || {
                    for i in 0..200u64 {
                        let bytes = (thread * 131 + i * 37) % 140;
                        let share = budget.take(bytes, never).expect("nobody stops it");
                        let now = held.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        let beside = holders.fetch_add(1, Ordering::SeqCst);
                        assert!(now <= TOTAL || beside == 0, "{now} bytes, {beside} others");
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                        held.fetch_sub(bytes, Ordering::SeqCst);
                        drop(share);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(done.load(Ordering::SeqCst), 1600);
        assert!(most.load(Ordering::SeqCst) > TOTAL, "none of the large ones ran");
        let state = budget.lock();
        assert_eq!((state.used, state.holders, state.waiting.len()), (0, 0, 0));
    }

    #[test]
    fn who_waits_can_be_stopped_and_leaves_the_line() {
        let budget = Budget::new(10);
        let (never, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        let all = budget.take(10, &never).expect("free");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.take(5, &stop).is_none());
            while budget.lock().waiting.is_empty() {
                std::thread::yield_now();
            }
            let begin = Instant::now();
            stop.store(true, Ordering::Relaxed);
            assert!(waiting.join().expect("no panic"), "it was handed out");
            assert!(begin.elapsed() < Duration::from_secs(5));
        });
        assert_eq!(budget.lock().waiting.len(), 0);
        drop(all);
        assert!(budget.take(10, &never).is_some());
        assert!(budget.take(1, &stop).is_none(), "it was stopped before");
    }

    #[test]
    fn a_large_one_is_not_overtaken() {
        let budget = Budget::new(10);
        let never = AtomicBool::new(false);
        let small = budget.take(1, &never).expect("free");
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for (bytes, before) in [(10, 0), (1, 1)] {
                while budget.lock().waiting.len() < before {
                    std::thread::yield_now();
                }
                let (budget, never, order) = (&budget, &never, &order);
                scope.spawn(move || {
                    let share = budget.take(bytes, never).expect("nobody stops it");
                    order.lock().expect("no panic").push(bytes);
                    drop(share);
                });
            }
            while budget.lock().waiting.len() < 2 {
                std::thread::yield_now();
            }
            drop(small);
        });
        assert_eq!(order.into_inner().expect("no panic"), [10, 1]);
    }
}
