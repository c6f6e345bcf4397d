//! The threads of GPUs. Each GPU has two: one gathers prepared pictures into batches and queues them, the other waits
//! for the results of a batch and sends them. So a GPU has the next batch while the results of the last one are read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::Done;
use super::feed::Feed;
use super::road::{Ready, Road};
use crate::exec::{ExecError, Pending};
use crate::extractor::Prepared;
use crate::threads;

/// The time after which an idle GPU checks whether another picture can arrive before its batch is computed.
const IDLE: Duration = Duration::from_millis(10);

/// A picture with its pixels for the network, or its failure.
type Arrived<S> = (usize, Done<S, Prepared>);

/// The way of prepared pictures from the threads that decode to those of the GPUs.
pub(super) struct Batches<S> {
    size: usize,
    sender: Sender<Arrived<S>>,
    inputs: Receiver<Arrived<S>>,
    /// The number of pictures that the GPUs have taken.
    come: AtomicUsize,
}

/// A batch that a GPU computes.
struct Queued<S> {
    batch: Vec<Ready<S>>,
    /// The pixels of the pictures that could be read, and their number.
    prepared: Prepared,
    sound: usize,
    /// None if there is nothing to compute.
    pending: Option<Result<Pending, ExecError>>,
}

/// Measures the time in which a GPU has something to compute.
struct Gauge(Mutex<Busy>);

struct Busy {
    batches: usize,
    since: Instant,
    busy: Duration,
    idle: Duration,
}

impl Gauge {
    fn new() -> Self {
        Self(Mutex::new(Busy { batches: 0, since: Instant::now(), busy: Duration::ZERO, idle: Duration::ZERO }))
    }

    /// Notes that the number of batches of the GPU becomes larger or smaller by one.
    fn change(&self, more: bool) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = std::mem::replace(&mut now.since, Instant::now()).elapsed();
        if now.batches == 0 {
            now.idle += elapsed;
        } else {
            now.busy += elapsed;
        }
        now.batches = if more { now.batches + 1 } else { now.batches.saturating_sub(1) };
    }

    /// Seconds with a batch and without one.
    fn read(&self) -> (Duration, Duration) {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (now.busy, now.idle)
    }
}

impl<S> Batches<S> {
    /// For batches of `size` pictures.
    pub(super) fn new(size: usize) -> Self {
        let (sender, inputs) = unbounded();
        Self { size, sender, inputs, come: AtomicUsize::new(0) }
    }
}

impl<S: Send, See: Fn(&[u8]) -> S + Sync> Road<'_, '_, See> {
    /// A thread beside the GPUs: prepares pictures one by one.
    pub(super) fn inputs<T>(&self, feed: &Feed<T>, batches: &Batches<S>) {
        while let Some(place) = self.next(feed, true) {
            let done = self.prepare(feed, place, |picture| self.through.extractor.prepare_for_device(picture));
            // the receiver is dropped only when the work is over
            if batches.sender.send((place, done)).is_err() {
                return;
            }
        }
    }

    /// The threads of the GPU of that number.
    pub(super) fn gpu(&self, feed: &Feed<Done<S, Vec<f32>>>, batches: &Batches<S>, unit: usize) {
        let (sender, queued) = bounded(1);
        let gauge = &Gauge::new();
        std::thread::scope(|scope| {
            let mut queued = Some(queued);
            let reader = |_| {
                let queued = queued.take();
                move || feed.run(&|feed| queued.iter().for_each(|queued| self.results(feed, queued, unit, gauge)))
            };
            match threads::start(scope, 1, reader) {
                Ok(_) => self.queue(feed, batches, (sender, unit), gauge),
                Err(error) => feed.fail(ExecError::from(error)),
            }
        });
        let (busy, idle) = gauge.read();
        self.clock.add(|times| &mut times.forward, busy);
        self.clock.add(|times| &mut times.waited.device, idle);
    }

    /// Gathers batches and queues them: each once it is full, or once no other picture can arrive before it is
    /// computed.
    fn queue<T>(
        &self,
        feed: &Feed<T>,
        batches: &Batches<S>,
        (sender, unit): (Sender<Queued<S>>, usize),
        gauge: &Gauge,
    ) {
        let (extractor, size) = (self.through.extractor, batches.size);
        let (mut session, mut told) = (extractor.session_on(unit), size);
        let empty = || Queued { batch: Vec::new(), prepared: Prepared::default(), sound: 0, pending: None };
        let mut next = empty();
        while !feed.is_over() {
            let arrived = batches.inputs.recv_timeout(IDLE);
            let is_stuck = arrived.is_err() && feed.is_full();
            let all = if let Ok((place, done)) = arrived {
                let picture = |_, prepared| {
                    next.prepared.append(prepared);
                    next.sound += 1;
                    Ok(())
                };
                next.batch.push((place, done.then(picture)));
                batches.come.fetch_add(1, Ordering::SeqCst) + 1 == feed.count
            } else {
                batches.come.load(Ordering::SeqCst) == feed.count
            };
            let is_due = is_stuck || all || next.sound >= size || next.batch.len() >= 2 * size;
            if is_due && !next.batch.is_empty() {
                let mut queued = std::mem::replace(&mut next, empty());
                gauge.change(true);
                queued.pending =
                    (queued.sound > 0).then(|| extractor.start(&mut session, &queued.prepared, 0, queued.sound));
                // the receiver is dropped only when the other thread has failed
                if sender.send(queued).is_err() {
                    return;
                }
            }
            if let Some(largest) = extractor.largest_batch(&session).filter(|&largest| largest < told) {
                let text = format!("too small for batches of {size} pictures: {largest} are computed at once");
                self.stream.ui.warn(&format!("the memory of the device is {text}"));
                told = largest;
            }
            if all {
                return;
            }
        }
    }

    /// Waits for the results of each batch and sends them.
    fn results(&self, feed: &Feed<Done<S, Vec<f32>>>, queued: &Receiver<Queued<S>>, unit: usize, gauge: &Gauge) {
        let extractor = self.through.extractor;
        for Queued { batch, prepared, sound, pending } in queued {
            let rows = pending.map_or(Ok(Vec::new()), |pending| extractor.read(pending?, sound));
            gauge.change(false);
            let alone = |i| extractor.read(extractor.start(&mut extractor.session_on(unit), &prepared, i, 1)?, 1);
            self.settle(feed, batch, rows, alone, &|_, features| Ok(features));
        }
    }
}
