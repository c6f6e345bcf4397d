//! Sends the pictures of `extract` through the network, and fills the tables with the results.

use std::ops::AddAssign;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::duplicates::Sha256;
use super::fill::{Filling, Settled};
use super::shard::Outcome;
use super::{ExtractError, room};
use crate::exec::{Device, ExecError};
use crate::extractor::Extractor;
use crate::pictures::stream::{Through, Waited};
use crate::pictures::{DecodeMemory, Done, Failure, Listed, Made, Order, Stream, Way};
use crate::plan::Plan;
use crate::progress::StageLine;
use crate::stages::scan::{Contents, Listing};

/// Seconds of each step, summed over the threads; `wall` is the elapsed time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    pub read: f64,
    pub decode: f64,
    pub prepare: f64,
    pub forward: f64,
    pub write: f64,
    /// Reading and packing the weights before the first picture; part of `wall`.
    #[serde(default)]
    pub load: f64,
    pub wall: f64,
    /// Seconds in which parts of the program had nothing to do.
    #[serde(default)]
    pub waited: Waited,
    /// Pictures computed.
    pub pictures: usize,
}

impl AddAssign for Timing {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.decode += other.decode;
        self.prepare += other.prepare;
        self.forward += other.forward;
        self.write += other.write;
        self.load += other.load;
        self.wall += other.wall;
        self.waited.workers += other.waited.workers;
        self.waited.device += other.waited.device;
        self.waited.writer += other.waited.writer;
        self.pictures += other.pictures;
    }
}

impl Timing {
    /// Pictures per second, without the time to load the weights.
    pub fn rate(&self) -> f64 {
        self.pictures as f64 / (self.wall - self.load).max(1e-9)
    }
}

/// Where the network runs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub device: &'a Device,
    /// The network, where it is loaded already.
    pub extractor: Option<&'a Extractor>,
    pub way: Way,
    /// The number of threads that is asked for; memory may allow fewer.
    pub threads: usize,
}

/// Computes the pictures that the tables in `filling` lack. If the run is interrupted or fails, the computed rows are
/// kept.
pub fn run(
    plan: &Plan,
    listing: &Listing,
    filling: &mut Filling,
    place: Place,
    line: &StageLine,
) -> Result<Timing, ExtractError> {
    let start = Instant::now();
    let jobs = filling.jobs();
    if jobs.is_empty() {
        return Ok(Timing::default());
    }
    let Place { device, extractor, way, threads } = place;
    let opened = if extractor.is_none() { Some(Extractor::open(&plan.backbone, device)?) } else { None };
    let Some(extractor) = extractor.or(opened.as_ref()) else { return Ok(Timing::default()) };
    let load = start.elapsed().as_secs_f64();
    let place = Place { threads: threads.min(jobs.len()).max(1), ..place };
    let threads = room::threads(plan, extractor, place, filling.longest(), line.ui()).map_err(ExecError::from)?;
    let settings = &plan.pipeline.input;
    let source = &Listed::new(&plan.pipeline, &listing.pictures);
    let stream = Stream { source, wanted: &jobs, threads, order: Order::Any, ui: line.ui() };
    let memory = &DecodeMemory::new(plan.pipeline.decode_memory());
    let through = Through { extractor, way, memory, strict: true };
    let see = |bytes: &[u8]| (Contents::of(bytes), settings.hash.then(|| Sha256::of(bytes)));
    let mut write = 0.0;
    let take = |Done { number: picture, seen, result }: Done<(Contents, Option<Sha256>), Vec<f32>>| {
        let (contents, sha256) = seen.unwrap_or((Contents::Unread, None));
        let (outcome, features) = match result {
            Ok(Made { width, height, value }) => (Outcome::Ok { width, height, sha256 }, Some(value)),
            Err(Failure { kind, reason }) => (Outcome::Failed { kind: kind.to_string(), error: reason, sha256 }, None),
        };
        line.inc(1);
        let start = Instant::now();
        let settled = filling.settle(Settled { picture, outcome, contents, features });
        write += start.elapsed().as_secs_f64();
        settled
    };
    let (times, result) = stream.features(through, see, |_, features| Ok(features), take);
    // rows are left only if the user stopped the run or it failed
    filling.keep();
    let timing = Timing {
        read: times.read,
        decode: times.decode,
        prepare: times.prepare,
        forward: times.forward,
        write,
        load,
        wall: start.elapsed().as_secs_f64(),
        waited: times.waited,
        pictures: jobs.len(),
    };
    line.ui().event(json!({"event": "extract_timing", "device": device.name(), "threads": threads, "seconds": timing}));
    result.map(|()| timing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Ui;
    use crate::stage::StageId;
    use crate::stages::extract::fill::Task;
    use crate::stages::extract::shard::{self, Maker, Shard};
    use crate::stages::extract::tests::bananas;
    use std::collections::BTreeMap;

    /// Runs over the shipped bananas; returns the tables by name.
    fn tables(way: Way) -> BTreeMap<String, Vec<u8>> {
        let (_out, plan, listing) = bananas("shard_rows: 4");
        let ui = Ui::silent();
        let shards = shard::cut(&plan, &listing).expect("shards");
        let all: Vec<&Shard> = shards.iter().collect();
        let line = ui.stage(StageId::Extract, None, "images");
        let maker = &Maker { version: String::new(), device: "cpu".into(), kernels: None };
        let task = Task { plan: &plan, listing: &listing, missing: &all, maker, failed: true, is_shared: false };
        let mut filling = Filling::new(task).expect("nothing is there");
        let timing = run(
            &plan,
            &listing,
            &mut filling,
            Place { device: &Device::cpu(), extractor: None, way, threads: 3 },
            &line,
        )
        .expect("extracted");
        assert_eq!(timing.pictures, 10);
        let name = |shard: &Shard| shard.table(&plan.dir, &shard.id);
        shards.iter().map(|shard| (shard.id.clone(), std::fs::read(name(shard)).expect("written"))).collect()
    }

    #[test]
    fn batches_on_the_device_give_the_tables_of_the_workers() {
        let workers = tables(Way::Workers);
        assert!(workers.len() >= 3);
        for batch in [1, 3, 64] {
            assert!(tables(Way::Batches(batch)) == workers, "batches of {batch}");
        }
    }
}
