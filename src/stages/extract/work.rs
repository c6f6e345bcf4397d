//! The threads of `extract`. On the CPU every worker takes a picture through read, decode, recipe and network by itself, so there is no barrier
//! between layers and no picture depends on another. For a GPU workers stop after the recipe and this thread runs whole batches on the device.
//! Either way results come back over a bounded channel, and this thread fills the tables with them.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::duplicates::Sha256;
use super::fill::{Filling, Settled};
use super::shard::Outcome;
use super::{ExtractError, room};
use crate::exec::{Device, ExecError, Session};
use crate::extractor::{Extractor, Failure};
use crate::plan::Plan;
use crate::progress::StageLine;
use crate::stages::scan::{Contents, Listing, Picture, printable};
use crate::threads;

/// How soon it is noticed that somebody wants to stop, where no picture becomes ready.
const NOTICE: Duration = Duration::from_millis(100);

/// Seconds of work, summed over the threads; `wall` is what the clock says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    pub read: f64,
    pub decode: f64,
    pub prepare: f64,
    pub forward: f64,
    pub write: f64,
    /// Reading and packing the weights, before the first picture; part of `wall`.
    #[serde(default)]
    pub load: f64,
    pub wall: f64,
    /// Pictures computed.
    pub pictures: usize,
}

#[derive(Default)]
struct Clock {
    read: AtomicU64,
    decode: AtomicU64,
    prepare: AtomicU64,
    forward: AtomicU64,
    write: AtomicU64,
}

/// Runs `work` and adds its nanoseconds to `sum`.
fn timed<T>(sum: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    sum.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
    result
}

/// Values that one picture left behind: features, or on a GPU's way the network's input.
enum Payload {
    Features(Vec<f32>),
    Input(Vec<f32>),
    None,
}

struct Done {
    /// Index in the jobs.
    job: usize,
    outcome: Outcome,
    contents: Contents,
    payload: Payload,
}

impl Timing {
    /// Pictures a second, once the weights were there.
    pub fn rate(&self) -> f64 {
        self.pictures as f64 / (self.wall - self.load).max(1e-9)
    }
}

/// Who runs the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every worker, one picture at a time: the CPU.
    Workers,
    /// This thread, whole batches on the device: a GPU.
    Batches,
}

impl Mode {
    /// What suits a device.
    pub fn of(device: &Device) -> Self {
        if device.is_cpu() { Mode::Workers } else { Mode::Batches }
    }
}

struct Context<'a> {
    plan: &'a Plan,
    mode: Mode,
    listing: &'a Listing,
    extractor: &'a Extractor,
    /// Pictures that a worker takes at a time.
    together: usize,
    /// Index of each picture to compute, shard after shard.
    jobs: &'a [usize],
    next: AtomicUsize,
    abort: AtomicBool,
    clock: Clock,
}

/// Computes the pictures that the tables in `filling` lack. Whatever ends it early, the rows that have come in are kept.
pub fn run(
    plan: &Plan,
    listing: &Listing,
    filling: &mut Filling,
    (device, mode, threads): (&Device, Mode, usize),
    line: &StageLine,
) -> Result<Timing, ExtractError> {
    let start = Instant::now();
    let jobs = filling.jobs();
    if jobs.is_empty() {
        return Ok(Timing::default());
    }
    let extractor = Extractor::open(&plan.backbone, device)?.with_decode_memory(plan.pipeline.decode_memory());
    let load = start.elapsed().as_secs_f64();
    let threads = threads.min(jobs.len()).max(1);
    let longest = filling.longest();
    let threads = room::threads(plan, &extractor, (mode, threads), longest, line.ui()).map_err(ExecError::from)?;
    let (next, abort, clock) = (AtomicUsize::new(0), AtomicBool::new(false), Clock::default());
    // few pictures are spread over the threads
    let together = extractor.micro_batch().min(jobs.len().div_ceil(threads.max(1))).max(1);
    let context = Context { plan, mode, listing, extractor: &extractor, together, jobs: &jobs, next, abort, clock };
    let room = match mode {
        Mode::Workers => threads * 2 * together,
        Mode::Batches => plan.pipeline.batch_size() * 2,
    };
    let (sender, receiver) = bounded(room.max(1));
    let result = std::thread::scope(|scope| {
        let workers = threads::start(scope, threads, |_| {
            let (context, sender) = (&context, sender.clone());
            move || {
                let result = work(context, &sender);
                if result.is_err() {
                    // what fails for one picture may fail for all: nobody waits hours for the error
                    context.abort.store(true, Ordering::Relaxed);
                }
                result
            }
        });
        drop(sender);
        let workers = workers.map_err(ExecError::from)?;
        if workers.len() < threads {
            line.ui().warn(&format!("the system let only {} of {threads} threads start", workers.len()));
        }
        let result = collect(&context, filling, receiver, line);
        context.abort.store(true, Ordering::Relaxed);
        // all of them are in tables unless somebody wants to stop, or something has failed
        filling.keep();
        let results = workers.into_iter().map(|worker| worker.join().unwrap_or(Err(ExtractError::Worker)));
        result.and(results.collect())
    });
    let seconds = |sum: &AtomicU64| sum.load(Ordering::Relaxed) as f64 / 1e9;
    let clock = &context.clock;
    let timing = Timing {
        read: seconds(&clock.read),
        decode: seconds(&clock.decode),
        prepare: seconds(&clock.prepare),
        forward: seconds(&clock.forward),
        write: seconds(&clock.write),
        load,
        wall: start.elapsed().as_secs_f64(),
        pictures: jobs.len(),
    };
    line.ui().event(json!({"event": "extract_timing", "device": device.name(), "threads": threads, "seconds": timing}));
    result.map(|()| timing)
}

/// One worker: a few pictures at a time until there is none left, or somebody wants to stop.
fn work(context: &Context, sender: &Sender<Done>) -> Result<(), ExtractError> {
    let (extractor, each) = (context.extractor, context.extractor.input_len());
    let mut session = extractor.session();
    let mut input = vec![0.0; context.together * each];
    while !context.abort.load(Ordering::Relaxed) {
        let first = context.next.fetch_add(context.together, Ordering::Relaxed);
        let jobs = first..(first + context.together).min(context.jobs.len());
        let mut prepared = 0;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs.clone() {
            let picture = &context.listing.pictures[context.jobs[job]];
            let seen = prepare(context, picture, &mut input[prepared * each..(prepared + 1) * each]);
            prepared += usize::from(!seen.0.is_failed());
            outcomes.push(seen);
        }
        // a picture that was not read since the work was stopped has not failed
        if jobs.is_empty() || context.abort.load(Ordering::Relaxed) {
            break;
        }
        let input = &input[..prepared * each];
        let mut payloads = match context.mode {
            Mode::Workers => {
                let features = timed(&context.clock.forward, || extractor.forward(&mut session, input, prepared));
                let sound = jobs.clone().zip(&outcomes).filter(|(_, (outcome, _))| !outcome.is_failed());
                let features = features.map_err(|error| of_picture(context, error, sound.map(|(job, _)| job)))?;
                features.into_iter().map(Payload::Features).collect::<Vec<_>>()
            }
            Mode::Batches => input.chunks_exact(each).map(|input| Payload::Input(input.to_vec())).collect(),
        }
        .into_iter();
        for (job, (outcome, contents)) in jobs.zip(outcomes) {
            let payload = if outcome.is_failed() { None } else { payloads.next() };
            // the other end is gone only when the run has failed
            let payload = payload.unwrap_or(Payload::None);
            if sender.send(Done { job, outcome, contents, payload }).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// An error of the network, with the picture that it is about, where it is about one of those that went through it as `jobs`.
fn of_picture(context: &Context, error: ExecError, mut jobs: impl Iterator<Item = usize>) -> ExtractError {
    let ExecError::NotFinite { picture, .. } = &error else { return error.into() };
    let Some(job) = jobs.nth(*picture) else { return error.into() };
    ExtractError::Picture {
        path: printable(&context.listing.pictures[context.jobs[job]].path).into_owned(),
        error: Box::new(error),
    }
}

/// Reads, decodes and prepares one picture into `input`. Its contents are those of the very bytes that are decoded.
fn prepare(context: &Context, picture: &Picture, input: &mut [f32]) -> (Outcome, Contents) {
    let failed = |Failure { kind, reason }: Failure, sha256| {
        let (kind, error) = (kind.to_string(), reason);
        Outcome::Failed { kind, error, sha256 }
    };
    let (clock, settings) = (&context.clock, &context.plan.pipeline.input);
    let path = picture.location(&settings.root);
    let bytes = match timed(&clock.read, || context.extractor.read(&path, Some(picture.bytes), &context.abort)) {
        Ok(bytes) => bytes,
        Err(failure) => return (failed(failure, None), Contents::Unread),
    };
    let contents = timed(&clock.read, || Contents::of(&bytes));
    let sha256 = settings.hash.then(|| timed(&clock.read, || Sha256::of(&bytes)));
    let decoded = match timed(&clock.decode, || context.extractor.decode(&bytes)) {
        Ok(decoded) => decoded,
        Err(failure) => return (failed(failure, sha256), contents),
    };
    timed(&clock.prepare, || context.extractor.prepare(&decoded.image, input));
    (Outcome::Ok { width: decoded.width as u64, height: decoded.height as u64, sha256 }, contents)
}

/// Takes results in any order until all are there.
fn collect(
    context: &Context,
    filling: &mut Filling,
    results: Receiver<Done>,
    line: &StageLine,
) -> Result<(), ExtractError> {
    let mut session: Option<Session> = None;
    let mut batch: Vec<Done> = Vec::new();
    let mut received = 0;
    while received < context.jobs.len() {
        line.ui().check()?;
        let done = match results.recv_timeout(NOTICE) {
            Ok(done) => done,
            Err(RecvTimeoutError::Timeout) => continue,
            // a worker that stops early has failed; its error is told by who joins it
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        received += 1;
        match done.payload {
            Payload::Input(_) => batch.push(done),
            _ => settle(context, filling, done, line)?,
        }
        // workers that compute have sessions of their own
        if context.mode == Mode::Workers {
            continue;
        }
        if batch.len() >= context.plan.pipeline.batch_size() || received == context.jobs.len() {
            let session = session.get_or_insert_with(|| context.extractor.session());
            for done in forward_batch(context, session, std::mem::take(&mut batch))? {
                settle(context, filling, done, line)?;
            }
        }
    }
    Ok(())
}

/// Runs a batch on the device.
fn forward_batch(context: &Context, session: &mut Session, mut batch: Vec<Done>) -> Result<Vec<Done>, ExtractError> {
    if batch.is_empty() {
        return Ok(batch);
    }
    let mut input = Vec::with_capacity(batch.len() * context.extractor.input_len());
    for done in &batch {
        if let Payload::Input(values) = &done.payload {
            input.extend_from_slice(values);
        }
    }
    let features = timed(&context.clock.forward, || context.extractor.forward(session, &input, batch.len()));
    let features = features.map_err(|error| of_picture(context, error, batch.iter().map(|done| done.job)))?;
    for (done, features) in batch.iter_mut().zip(features) {
        done.payload = Payload::Features(features);
    }
    Ok(batch)
}

fn settle(context: &Context, filling: &mut Filling, done: Done, line: &StageLine) -> Result<(), ExtractError> {
    let Done { job, outcome, contents, payload } = done;
    let features = if let Payload::Features(values) = payload { Some(values) } else { None };
    line.inc(1);
    let settled = Settled { picture: context.jobs[job], outcome, contents, features };
    timed(&context.clock.write, || filling.settle(settled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Ui;
    use crate::stages::StageId;
    use crate::stages::extract::shard::{self, Shard};
    use crate::stages::extract::tests::bananas;
    use std::collections::BTreeMap;

    /// Runs the shipped bananas and the tables that come out, by name.
    fn tables(mode: Mode, batch: usize) -> BTreeMap<String, Vec<u8>> {
        let (_out, plan, listing) = bananas(&format!("shard_rows: 4, batch_size: {batch}"));
        let ui = Ui::silent();
        let shards = shard::cut(&plan, &listing).expect("shards");
        let all: Vec<&Shard> = shards.iter().collect();
        let line = ui.stage(StageId::Extract, None, "images");
        let mut filling = Filling::new(&plan, &listing, &all, true).expect("nothing is there");
        let timing = run(&plan, &listing, &mut filling, (&Device::cpu(), mode, 3), &line).expect("extracted");
        assert_eq!(timing.pictures, 10);
        let name = |shard: &Shard| plan.dir.shard(shard.number);
        shards.iter().map(|shard| (shard.id.clone(), std::fs::read(name(shard)).expect("written"))).collect()
    }

    #[test]
    fn batches_on_the_device_give_the_tables_of_the_workers() {
        let workers = tables(Mode::Workers, 1);
        assert!(workers.len() >= 3);
        for batch in [1, 3, 64] {
            assert!(tables(Mode::Batches, batch) == workers, "batches of {batch}");
        }
    }
}
