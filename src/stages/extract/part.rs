//! Computes a part of the shards in a worker process, while others compute the rest: on any machine, at any time, as
//! often as one likes.
//!
//! A worker reads the listing in the store and does not list the pictures itself. It writes tables, their outcomes and
//! their commit records into `.store/shards`, under ids by which the run finds them; it gives no table a number and
//! deletes no file of others. Two workers that compute the same shard write the same bytes. The first worker notes its
//! version, device and kernels; a worker that would compute other bits is refused.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::ops::Range;

use serde::Serialize;

use super::fill::{Filling, Task};
use super::shard::{Maker, Shard};
use super::tables::Commit;
use super::work::{self, Place, Timing};
use super::{ExtractError, shard, tables};
use crate::exec::{Device, Precision};
use crate::extractor::Extractor;
use crate::io::{IoError, atomic};
use crate::pictures::Way;
use crate::plan::Plan;
use crate::progress::{Ui, plural};
use crate::stage::{Options, StageId};
use crate::stages::scan::{self, Listing, Stored};
use crate::store::{Owner, RunDir, StoreError};

/// One of several equal parts of the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Counted from 1.
    pub number: usize,
    pub of: usize,
}

impl Part {
    /// The numbers of its shards among `all`. They are consecutive, since neighbours may lie in one archive, which is
    /// read from its beginning.
    pub fn shards(self, all: usize) -> Range<usize> {
        let border = |number: usize| (number as u128 * all as u128 / self.of.max(1) as u128) as usize;
        border(self.number - 1)..border(self.number)
    }
}

/// The counts of a worker's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Computed {
    /// Shards that it was asked for.
    pub shards: usize,
    /// Those whose tables existed already.
    pub reused: usize,
    /// Pictures that were computed, and how many of them are unreadable.
    pub pictures: usize,
    pub failed: usize,
    pub timing: Timing,
}

/// Computes shards of a run whose pictures are listed.
#[derive(Debug)]
pub struct Worker {
    plan: Plan,
    stored: Stored,
    /// The commits as they were when the worker began.
    commits: BTreeMap<String, Commit>,
    /// None until it is needed.
    network: Option<Network>,
}

/// The network on this machine.
#[derive(Debug)]
struct Network {
    device: Device,
    maker: Maker,
    extractor: Extractor,
}

impl Worker {
    /// Opens the listing of the run. It is an error if another version of featurize or other settings have made it.
    pub fn open(plan: Plan) -> Result<Self, ExtractError> {
        let refused = |error: StoreError| ExtractError::Refused(error.to_string());
        Owner::of(&plan.dir).check_name(&plan.pipeline.name).map_err(refused)?;
        if let Some(link) = plan.dir.link_to(".store/shards") {
            return Err(refused(StoreError::Foreign(vec![link])));
        }
        let shown = plan.dir.root().display();
        let again = format!("run `featurize run {} --until scan`", plan.pipeline.file.display());
        let stored = Stored::open(&plan)?
            .ok_or_else(|| ExtractError::Refused(format!("{shown} has no listing of the pictures: {again} first")))?;
        let (head, version) = (stored.head(), env!("CARGO_PKG_VERSION"));
        if head.version != version {
            let text = format!("featurize {} has listed {shown}, and this is {version}: use one version", head.version);
            return Err(ExtractError::Refused(format!("{text}, or {again}")));
        }
        if head.input != scan::input(&plan)? || head.settings != plan.table_settings()? {
            let text = format!("{shown} was listed with other settings of `input` or `extract`");
            return Err(ExtractError::Refused(format!("{text}: {again}")));
        }
        super::find_ranges(&plan, &Options::default())?;
        if plan.backbone.precision == Precision::Int8 && plan.backbone.ranges.get().is_none() {
            let text = format!("{shown} has no ranges for `extract.precision: int8`: {again}");
            return Err(ExtractError::Refused(text));
        }
        let commits = tables::commits(&plan.dir);
        Ok(Self { plan, stored, commits, network: None })
    }

    /// The plan of the run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Loads the network. It is an error if this machine computes other bits than the other workers do.
    pub fn load(&mut self, ui: &Ui) -> Result<(), ExtractError> {
        if self.network.is_some() {
            return Ok(());
        }
        let plan = &self.plan;
        let device = Device::open(plan.pipeline.runtime.device())?;
        let maker = Maker::of(plan, &device);
        super::tell(plan, &device, plan.pipeline.threads(), ui);
        let folder = plan.dir.shards();
        std::fs::create_dir_all(&folder).map_err(IoError::write(&folder))?;
        agree(&plan.dir, &maker)?;
        let extractor = Extractor::open(&plan.backbone, &device)?;
        self.network = Some(Network { device, maker, extractor });
        Ok(())
    }

    /// How many shards the run has.
    pub fn shards(&self) -> usize {
        self.stored.shards()
    }

    /// The shards among `wanted` that have no table, each with the number of its pictures.
    pub fn missing(&self, wanted: Range<usize>) -> Result<Vec<(usize, usize)>, ExtractError> {
        let mut missing = Vec::new();
        self.for_each(wanted, |_, shards| {
            let those = shards.iter().filter(|shard| !tables::is_there(&self.plan.dir, shard, &self.commits));
            missing.extend(those.map(|shard| (shard.number, shard.rows.len())));
            Ok(())
        })?;
        Ok(missing)
    }

    /// Computes the shards among `wanted` that have no table.
    pub fn compute(&mut self, wanted: Range<usize>, ui: &Ui) -> Result<Computed, ExtractError> {
        let all = wanted.len();
        let missing = self.missing(wanted)?;
        let mut done = Computed { shards: all, reused: all - missing.len(), ..Computed::default() };
        if missing.is_empty() {
            return Ok(done);
        }
        self.load(ui)?;
        let Some(Network { device, maker, extractor }) = &self.network else { return Ok(done) };
        let plan = &self.plan;
        let way = Way::of(device, plan.pipeline.batch_size());
        let place = Place { device, extractor: Some(extractor), way, threads: plan.pipeline.threads() };
        let pictures: usize = missing.iter().map(|(_, pictures)| pictures).sum();
        let line = ui.stage(StageId::Extract, Some(pictures as u64), "images");
        for run in runs(missing.iter().map(|(shard, _)| *shard)) {
            self.for_each(run, |listing, shards| {
                let missing: &Vec<&Shard> = &shards.iter().collect();
                let task = Task { plan, listing, missing, maker, failed: true, is_shared: true };
                let mut filling = Filling::new(task)?;
                let all: usize = missing.iter().map(|shard| shard.rows.len()).sum();
                line.inc((all - filling.jobs().len()) as u64);
                let timing = work::run(plan, listing, &mut filling, place, &line)?;
                done.timing += timing;
                done.pictures += timing.pictures;
                done.failed += filling.failed();
                Ok(())
            })?;
        }
        let of = plural(done.shards, "shard");
        line.finish(&format!("{} of {of}, {}", done.shards - done.reused, plural(done.pictures, "image")));
        Ok(done)
    }

    /// Calls `take` with the `wanted` shards and their part of the listing, some at a time.
    fn for_each(
        &self,
        wanted: Range<usize>,
        mut take: impl FnMut(&Listing, &[Shard]) -> Result<(), ExtractError>,
    ) -> Result<(), ExtractError> {
        self.stored.parts(self.stored.groups_of(wanted)).into_iter().try_for_each(|part| {
            let first = self.stored.shards_in(&part).start;
            let (listing, ranges) = self.stored.read(part)?;
            let mut shards = shard::of_ranges(&self.plan, &listing, ranges)?;
            shards.iter_mut().for_each(|shard| shard.number += first);
            take(&listing, &shards)
        })
    }
}

/// Notes the maker of this worker if it is the first; an error if the first worker computes other bits.
fn agree(dir: &RunDir, maker: &Maker) -> Result<(), ExtractError> {
    let path = dir.workers();
    let text = serde_json::to_vec(maker)?;
    let created = OpenOptions::new().write(true).create_new(true).open(&path);
    match created.and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all())) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(IoError::write(&path)(error).into()),
        Ok(()) => return Ok(()),
    }
    // the first worker may be writing the file at this moment
    let mut others = None;
    for _ in 0..50 {
        others = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Maker>(&text).ok());
        if others.is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // `cuda:0` on one machine is `cuda:1` on another
    let computes = |maker: &Maker| {
        let kind = maker.device.split(':').next().unwrap_or_default().to_string();
        (maker.version.clone(), kind, maker.kernels.clone())
    };
    match others {
        Some(others) if computes(&others) != computes(maker) => {
            let text = format!("this machine computes {}, the others {}", told(maker), told(&others));
            let way = "their features would differ in the last bits: choose machines of one kind, or write \
                           `runtime.kernels` and list anew";
            Err(ExtractError::Refused(format!("{text}; {way}")))
        }
        Some(_) => Ok(()),
        // the first worker was killed before it had written the file
        None => Ok(atomic::write_bytes(&path, &text).map(|_| ())?),
    }
}

/// The version, the device and the kernels as text.
fn told(maker: &Maker) -> String {
    let kernels = maker.kernels.as_ref().map_or(String::new(), |kernels| format!(" with {kernels} kernels"));
    format!("by featurize {} on {}{kernels}", maker.version, maker.device)
}

/// Forgets the maker that the workers of an earlier listing have noted.
pub fn forget_workers(dir: &RunDir) -> Result<(), IoError> {
    let path = dir.workers();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(IoError::write(&path)(error)),
        _ => Ok(()),
    }
}

/// Groups consecutive numbers into ranges.
fn runs(numbers: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => runs.push(number..number + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_every_shard_once_and_are_of_one_size() {
        for (all, of) in [(0, 3), (1, 3), (57, 64), (64, 64), (19_999, 64), (100, 7)] {
            let parts: Vec<Range<usize>> = (1..=of).map(|number| Part { number, of }.shards(all)).collect();
            let numbers: Vec<usize> = parts.iter().cloned().flatten().collect();
            assert_eq!(numbers, (0..all).collect::<Vec<_>>());
            let sizes = || parts.iter().map(Range::len);
            assert!(sizes().max().unwrap_or(0) - sizes().min().unwrap_or(0) <= 1, "{all} {of}");
        }
    }

    #[test]
    fn numbers_in_a_row_are_one_range() {
        assert!(runs(std::iter::empty()).is_empty());
        assert_eq!(runs([1, 2, 3, 7, 9, 10].into_iter()), [1..4, 7..8, 9..11]);
    }
}
