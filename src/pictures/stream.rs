//! The only driver of threads and devices: takes pictures from a source, and hands the results to one consumer.
//!
//! ```text
//! Way::Workers  thread: read ▸ decode ▸ prepare ▸ network ▸ finish ────────────────────> consumer: take
//! Way::Batches  thread: read ▸ decode ▸ prepare ──> a GPU's threads: network, by batch ──> consumer: finish, take
//! ```
//!
//! On the CPU every thread takes a micro-batch through all steps by itself: there is no barrier between layers, and the
//! bits of a result do not depend on other pictures. A GPU computes whole batches while the threads prepare the next
//! ones; several GPUs share the pictures. Threads get the pictures in order, and never further ahead of the consumer
//! than a window, so that memory does not grow with the number of pictures, in whichever order results are delivered.
//!
//! The consumer is the calling thread. It gets the first error at once, and an interruption by the user within
//! `NOTICE`; then each thread ends after its current picture.

mod ahead;
mod device;
mod feed;
mod road;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::reader::DecodeMemory;
use super::source::{Failure, Source, most_bytes};
use crate::config::Runtime;
use crate::exec::{Device, ExecError};
use crate::extractor::{Extractor, Needs};
use crate::memory::{self, NoRoom};
use crate::progress::{Interrupted, Ui};
use crate::threads;
use ahead::Ahead;
use device::Batches;
use feed::{Ending, Feed, Message};
use road::{Clock, Road};

/// The time between checks for an interruption by the user while no picture becomes ready.
const NOTICE: Duration = Duration::from_millis(100);
/// The number of pictures that a thread may be ahead of the consumer, if results are delivered in order.
const AHEAD: usize = 16;

/// Which threads run the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Every thread runs it, a micro-batch at a time: on the CPU.
    Workers,
    /// Threads of the device run batches of this size on it: a GPU, or several.
    Batches(usize),
}

impl Way {
    /// The way for a device; `batch` is the batch size of a GPU.
    pub fn of(device: &Device, batch: usize) -> Self {
        if device.is_cpu() { Self::Workers } else { Self::Batches(batch.max(1)) }
    }

    /// The way for a device, with the default batch size.
    pub fn on(device: &Device) -> Self {
        Self::of(device, Runtime::default().batch_size)
    }

    /// The memory that the network needs when it is run this way.
    pub fn needs(self, extractor: &Extractor) -> Needs {
        let own = extractor.needs();
        // two batches are prepared for each GPU while it computes two
        let pictures = if let Self::Batches(size) = self { 4 * size * extractor.units() } else { 0 };
        Needs { fixed: own.fixed + (pictures * extractor.prepared_bytes()) as u64, ..own }
    }

    /// Returns the number of threads, at most `wanted`, that fit into memory.
    fn fitting(self, extractor: &Extractor, wanted: usize) -> Result<usize, NoRoom> {
        let Some(limit) = memory::limit() else { return Ok(wanted) };
        let needs = self.needs(extractor);
        match needs.most(limit.bytes) {
            0 => Err(extractor.no_room(needs, limit)),
            most => Ok(wanted.min(most)),
        }
    }
}

/// The order in which results are delivered to the consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The order of the pictures.
    Asked,
    /// The order in which they become ready.
    Any,
}

/// The stream ended early.
#[derive(Debug, Error)]
pub enum StreamError {
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The service that provides the pictures does not respond.
    #[error("{0}\nwhat was computed is kept: the same command goes on when the service is back")]
    Down(String),
    /// The network cannot compute this picture.
    #[error("{key}: {error}")]
    Picture { key: String, error: Box<ExecError> },
}

/// Seconds of each step, summed over the threads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    pub read: f64,
    pub decode: f64,
    pub prepare: f64,
    /// The network: seconds of the CPU's threads, or those in which a GPU had a batch.
    pub forward: f64,
    pub waited: Waited,
}

/// Seconds in which a part of the stream had nothing to do, summed over its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Waited {
    /// The threads that read and decode waited, since the results of earlier pictures were not yet written.
    pub workers: f64,
    /// The GPUs waited for pictures.
    pub device: f64,
    /// The consumer, which writes the tables, waited for results.
    pub writer: f64,
}

/// The result for a picture that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Made<T> {
    /// Size of the picture in the file, in pixels.
    pub width: u64,
    pub height: u64,
    pub value: T,
}

/// A picture with its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Done<S, T> {
    /// The number of the picture in the source.
    pub number: usize,
    /// The result of `see` for its bytes; none if they could not be read.
    pub seen: Option<S>,
    pub result: Result<Made<T>, Failure>,
}

impl<S, T> Done<S, T> {
    fn then<U>(self, go_on: impl FnOnce(usize, T) -> Result<U, Failure>) -> Done<S, U> {
        let Self { number, seen, result } = self;
        let made = |Made { width, height, value }| Ok(Made { width, height, value: go_on(number, value)? });
        Done { number, seen, result: result.and_then(made) }
    }
}

/// Pictures, and how they are processed.
#[derive(Clone, Copy, Debug)]
pub struct Stream<'a> {
    pub source: &'a dyn Source,
    /// The numbers of the pictures, in order.
    pub wanted: &'a [usize],
    pub threads: usize,
    pub order: Order,
    /// Tells whether the user interrupts the work.
    pub ui: &'a Ui,
}

/// The network that pictures are sent through.
#[derive(Clone, Copy, Debug)]
pub struct Through<'a> {
    pub extractor: &'a Extractor,
    pub way: Way,
    /// The memory that pictures share while they are decoded.
    pub memory: &'a DecodeMemory,
    /// True if a picture that the network cannot compute ends the stream, and is not only a failure of this picture.
    pub strict: bool,
}

impl Stream<'_> {
    /// Calls `work` for each picture on any thread, without a network, and `take` with the results until it fails.
    pub fn each<T: Send, E: From<StreamError>>(
        &self,
        work: impl Fn(usize) -> T + Sync,
        mut take: impl FnMut(usize, T) -> Result<(), E>,
    ) -> Result<(), E> {
        let threads = self.threads.clamp(1, self.wanted.len().max(1));
        let clock = &Clock::default();
        let crew = Crew { threads, window: threads * AHEAD, gpus: None, ahead: None, clock };
        let all = |feed: &Feed<T>| {
            while let Some(place) = feed.next(true) {
                feed.send(place, work(self.wanted[place]));
            }
        };
        self.drive(crew, &all, &mut take)
    }

    /// Sends every picture through the network. `see` gets its bytes, on the thread that read them; `finish` turns the
    /// features into the result, on the thread that computed them if that is a worker; `take` gets the results until it
    /// fails.
    pub fn features<S: Send, T: Send, E: From<StreamError>>(
        &self,
        through: Through,
        see: impl Fn(&[u8]) -> S + Sync,
        finish: impl Fn(usize, Vec<f32>) -> Result<T, Failure> + Sync,
        mut take: impl FnMut(Done<S, T>) -> Result<(), E>,
    ) -> (Times, Result<(), E>) {
        let count = self.wanted.len().max(1);
        let threads = match through.way.fitting(through.extractor, self.threads) {
            Ok(threads) => threads,
            Err(no_room) => return (Times::default(), Err(StreamError::from(ExecError::from(no_room)).into())),
        };
        // if there are more threads than pictures, several threads share the layers of one picture
        let sharing = threads / count;
        let threads = threads.clamp(1, count);
        // smaller micro-batches, if otherwise some threads would have no picture
        let together = through.extractor.micro_batch().min(count.div_ceil(threads)).max(1);
        let clock = &Clock::default();
        let ahead = Ahead::of(self, most_bytes(through.extractor.decoding()));
        let ahead = ahead.as_ref();
        let road = &Road { stream: self, through, ahead, see, clock };
        let result = match through.way {
            Way::Workers => {
                let further = if self.order == Order::Asked { AHEAD.max(2 * together) } else { 2 * together };
                let crew = Crew { threads, window: threads * (together + further), gpus: None, ahead, clock };
                let all = |feed: &Feed<Done<S, T>>| road.work(feed, together, sharing, &finish);
                self.drive(crew, &all, &mut |_, done| take(done))
            }
            Way::Batches(size) => {
                let (batches, units) = (&Batches::new(size), through.extractor.units());
                let gpu = |feed: &Feed<Done<S, Vec<f32>>>, unit| road.gpu(feed, batches, unit);
                let crew =
                    Crew { threads, window: 4 * size * units + threads, gpus: Some((units, &gpu)), ahead, clock };
                let all = |feed: &Feed<Done<S, Vec<f32>>>| road.inputs(feed, batches);
                self.drive(crew, &all, &mut |_, done: Done<S, Vec<f32>>| take(done.then(&finish)))
            }
        };
        (clock.read(), result)
    }

    /// Starts the threads, which run `work`, and calls `take` with their results.
    fn drive<T: Send, E: From<StreamError>>(
        &self,
        crew: Crew<T>,
        work: &(dyn Fn(&Feed<T>) + Sync),
        take: &mut dyn FnMut(usize, T) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        let Crew { threads, window, gpus, ahead, clock } = crew;
        let (sender, results) = unbounded();
        let feed = &Feed::new(self.wanted.len(), window, sender);
        std::thread::scope(|scope| {
            let _end = Ending(feed);
            let refused = |error| StreamError::from(ExecError::from(error));
            for (unit, gpu) in gpus.iter().flat_map(|(units, gpu)| (0..*units).map(move |unit| (unit, gpu))) {
                threads::start(scope, 1, |_| move || feed.run(&|feed| gpu(feed, unit))).map_err(refused)?;
            }
            if let Some(ahead) = ahead {
                let ask = |feed: &Feed<T>| ahead.ask(&feed.over);
                threads::start(scope, ahead.threads(), |_| move || feed.run(&ask)).map_err(refused)?;
            }
            let workers = threads::start(scope, threads, |_| move || feed.run(work)).map_err(refused)?;
            if workers.len() < threads {
                self.ui.warn(&format!("the system let only {} of {threads} threads start", workers.len()));
            }
            self.deliver(feed, &results, clock, take)
        })
    }

    /// Calls `take` with the results until all are delivered.
    fn deliver<T, E: From<StreamError>>(
        &self,
        feed: &Feed<T>,
        results: &Receiver<Message<T>>,
        clock: &Clock,
        take: &mut dyn FnMut(usize, T) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut waiting, mut handed) = (BTreeMap::new(), 0);
        while handed < self.wanted.len() {
            self.ui.check().map_err(StreamError::from)?;
            let next = match self.order {
                Order::Asked => waiting.remove_entry(&handed),
                Order::Any => waiting.pop_first(),
            };
            if let Some((place, value)) = next {
                take(self.wanted[place], value)?;
                handed += 1;
                feed.hand_over();
                continue;
            }
            let message = clock.time(|times| &mut times.waited.writer, || results.recv_timeout(NOTICE));
            if let Ok(message) = message {
                let (place, value) = message?;
                waiting.insert(place, value);
            }
        }
        Ok(())
    }
}

/// Runs `work` on `threads` threads at once, for measurements.
pub fn on_each_thread<T: Send>(threads: usize, work: impl Fn() -> T + Sync) -> Result<Vec<T>, ExecError> {
    std::thread::scope(|scope| {
        let all = threads::start(scope, threads, |_| &work)?;
        all.into_iter().map(|thread| thread.join().map_err(|_| ExecError::Worker)).collect()
    })
}

/// The threads of a stream.
struct Crew<'a, 'b, T> {
    threads: usize,
    /// The most pictures that are taken by threads and not yet delivered.
    window: usize,
    /// The number of GPUs, if there are any, and the work of each.
    gpus: Option<(usize, &'a GpuWork<'a, T>)>,
    /// The pictures that further threads open ahead, if the source wants this.
    ahead: Option<&'a Ahead<'b>>,
    clock: &'a Clock,
}

/// The work of the thread of a GPU, by its number.
type GpuWork<'a, T> = dyn Fn(&Feed<T>, usize) + Sync + 'a;
