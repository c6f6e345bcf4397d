//! Counts and starts threads. The system may refuse to start them when a limit of processes or of memory is reached.

use std::io;
use std::sync::OnceLock;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use thiserror::Error;

/// The most threads that may be asked for.
pub const MOST: usize = 1024;

/// The system refuses to start threads that are needed.
#[derive(Debug, Error)]
#[error(
    "the system lets this process start {started} of the {wanted} threads that it needs at least ({source}): raise the \
     limit of processes (`ulimit -u`, `pids.max` of its control group), or give it fewer cores (`taskset -c 0-3 \
     featurize …`)"
)]
pub struct ThreadError {
    wanted: usize,
    started: usize,
    source: io::Error,
}

/// The number of processors that this process may use, by its affinity and its control group.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Starts `wanted` threads that run `work(0)`, `work(1)` and so on, or fewer where the system refuses more; an error if
/// it refuses the first.
pub fn start<'scope, F, T>(
    scope: &'scope Scope<'scope, '_>,
    wanted: usize,
    mut work: impl FnMut(usize) -> F,
) -> Result<Vec<ScopedJoinHandle<'scope, T>>, ThreadError>
where
    F: FnOnce() -> T + Send + 'scope,
    T: Send + 'scope,
{
    let mut all = Vec::new();
    for i in 0..wanted.max(1) {
        // boxed, so that the compiler makes one copy of the standard library's code for all kinds of work
        let work: Box<dyn FnOnce() -> T + Send + 'scope> = Box::new(work(i));
        match Builder::new().spawn_scoped(scope, work) {
            Ok(thread) => all.push(thread),
            Err(source) if all.is_empty() => return Err(ThreadError { wanted: 1, started: 0, source }),
            Err(_) => break,
        }
    }
    Ok(all)
}

/// Starts the global rayon pool for learning and tables, after a test that the system allows so many threads: a pool
/// that cannot start its threads would end the process. An existing global pool of the program is kept.
pub fn prepare() -> Result<(), ThreadError> {
    // one for each processor in this pool, as many for tables, one that waits for Ctrl-C, and one that works
    let wanted = 2 * available() + 2;
    let end = OnceLock::new();
    let started = std::thread::scope(|scope| {
        let mut started = 0;
        let refused = (0..wanted).find_map(|_| {
            let waits = Builder::new().spawn_scoped(scope, || {
                end.wait();
            });
            started += usize::from(waits.is_ok());
            waits.err()
        });
        // ends the waiting threads
        end.get_or_init(|| ());
        refused.map_or(Ok(()), |source| Err(ThreadError { wanted, started, source }))
    });
    started?;
    rayon::ThreadPoolBuilder::new().build_global().ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn as_many_threads_start_as_are_wanted() {
        let sum = AtomicUsize::new(0);
        let ends = std::thread::scope(|scope| {
            let sum = &sum;
            let all = start(scope, 5, |i| move || sum.fetch_add(i + 1, Ordering::Relaxed)).expect("five threads");
            all.into_iter().map(|thread| thread.join().is_ok()).collect::<Vec<_>>()
        });
        assert_eq!((ends, sum.into_inner()), (vec![true; 5], 15));
    }

    #[test]
    fn a_pool_is_prepared_once_and_again() {
        prepare().expect("threads");
        prepare().expect("threads");
        assert!(rayon::current_num_threads() >= 1);
    }
}
