//! `extract`: computes the features of the pictures, shard by shard.
//!
//! A shard is a range of the sorted listing. Its borders are where the hash of a path says so, hence a new or changed
//! picture changes its own shard only. A shard is not computed again if its table exists with the right id; if only
//! labels or the split have changed, the table is written again with the same features. Pictures go through
//! `crate::pictures` in `work`, tables are filled in `fill`, and `journal` keeps the rows of incomplete tables; memory
//! holds two shards at most, whatever the number of pictures. `notes` tells whether a picture is still the one that was
//! extracted.

mod beside;
mod calibration;
mod commit;
mod duplicates;
mod export;
mod fill;
mod journal;
mod manifest;
mod notes;
mod part;
mod room;
#[cfg(test)]
mod scale_tests;
mod shard;
mod tables;
#[cfg(test)]
mod tests;
mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use calibration::{find as find_ranges, note as note_ranges, settle as settle_ranges};
pub use duplicates::{Duplicates, Member, Sha256};
use notes::Notes;
pub use notes::resolve;
pub use part::{Computed, Part, Worker};
pub use shard::{Outcome, count};
pub use work::Timing;

use fill::{Filling, Task};
use shard::{Maker, Shard, ShardFile};
use tables::Existing;
use work::Place;

use crate::exec::{self, Device, ExecError};
use crate::io::IoError;
use crate::pictures::calibrate::CalibrationError;
use crate::pictures::{StreamError, Way};
use crate::plan::Plan;
use crate::progress::{Interrupted, StageLine, Ui, bytes, plural};
use crate::stage::{Options, StageId};
use crate::stages::scan::{Large, Listing, Picture, Stored, Storing};
use crate::store::{OutputFile, RunDir};

/// The number of columns above which the footer of a table, which has one row group, is slow to read.
const MANY_CHUNKS: usize = 50_000;

/// The result that `extract` commits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extracted {
    /// Pictures with features.
    pub ok: usize,
    /// Pictures that could not be read, including those that failed in the scan.
    pub failed: usize,
    /// Files left out by a rule.
    pub skipped: usize,
    /// Rows of the train split.
    pub train_rows: usize,
    /// Features of a picture.
    pub width: usize,
    pub shards: usize,
    /// Shards whose tables existed already.
    pub reused: usize,
    pub device: String,
    /// The instruction set with which the network was computed, where the device is the CPU: features are bit-identical
    /// only with the same one.
    #[serde(default)]
    pub kernels: Option<String>,
    pub threads: usize,
    /// Failed pictures by kind.
    pub failed_by_kind: BTreeMap<String, usize>,
    /// Files left out by a rule, by the kind of rule.
    #[serde(default)]
    pub skipped_by_kind: BTreeMap<String, usize>,
    /// Pictures with the same contents; none without `input.hash`.
    #[serde(default)]
    pub duplicates: Option<Duplicates>,
    pub timing: Timing,
}

/// The features cannot be extracted.
#[derive(Debug, Error)]
pub enum ExtractError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
    #[error(
        "{failed} of {of} pictures cannot be read, more than `input.max_bad_fraction: {limit}` allows:{list}\nsee \
         {manifest} for all of them; mend or remove them, or raise the limit"
    )]
    TooManyBad { failed: usize, of: usize, limit: f64, list: String, manifest: PathBuf },
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// A worker must not compute a part of the run.
    #[error("{0}")]
    Refused(String),
}

/// Extracts the features that are missing, or all if the stage is forced. The contents of every extracted picture are
/// noted in `listing`.
pub fn run(
    plan: &Plan,
    listing: &mut Listing,
    options: &Options,
    ui: &Ui,
) -> Result<(Extracted, Vec<OutputFile>), ExtractError> {
    let dir = &plan.dir;
    let device = Device::open(plan.pipeline.runtime.device())?;
    let (mut all, mut shards) = (tables::find(dir), shard::cut(plan, listing)?);
    tables::name(&mut shards, &all);
    let maker = (&Maker::of(plan, &device), !options.retry_failed);
    if options.force.is_none_or(|force| force > StageId::Extract) && beside::take(plan, &shards, &all, maker, ui)? > 0 {
        all = tables::find(dir);
        tables::name(&mut shards, &all);
    }
    let files = kept(dir, all.clone(), options);
    if options.force.is_some_and(|force| force <= StageId::Extract) {
        fill::forget(dir)?;
    }
    let ranges = calibration::keep(plan)?;
    let threads = plan.pipeline.threads();
    if plan.is_wide() && plan.width() > MANY_CHUNKS {
        let advice = "one column each makes them slow to open everywhere; `output.layout: array` is read at once";
        ui.warn(&format!("every table has {} columns of features: {advice}", plan.width()));
    }
    tell(plan, &device, threads, ui);
    tables::place(dir, &mut shards, &files, &all)?;
    let reused = shards.iter().filter(|shard| shard.file != ShardFile::Missing).count();
    let way = Way::of(&device, plan.pipeline.batch_size());
    let place = Place { device: &device, extractor: None, way, threads };
    let (timing, line) = compute(plan, listing, &mut shards, options, place, ui)?;
    if plan.pipeline.input.hash {
        duplicates::complete(plan, listing, &shards, threads, ui)?;
    }
    let (mut done, mut files) = commit::run(plan, listing, &shards)?;
    (done.threads, done.reused, done.timing) = (threads, reused, timing);
    if done.device.is_empty() {
        // the tables are of a version that did not note their makers
        Maker { device: done.device, kernels: done.kernels, .. } = Maker::of(plan, &device);
    }
    // before `sweep`, which deletes the records of the ids under which the shards were listed
    keep_listing(plan, listing, &shards)?;
    tables::sweep(dir, &shards)?;
    commit::check_bad(plan, listing, &shards, &done)?;
    files.extend(ranges);
    files.extend(export::run(plan, listing, (&done, &files), ui)?);
    line.finish(&describe(&done));
    done.duplicates.iter().for_each(|duplicates| duplicates.tell(ui));
    Ok((done, files))
}

/// Rewrites tables whose labels have changed, and computes the missing shards, except for rows that an earlier run has
/// kept.
fn compute(
    plan: &Plan,
    listing: &mut Listing,
    shards: &mut [Shard],
    options: &Options,
    place: Place,
    ui: &Ui,
) -> Result<(Timing, StageLine), ExtractError> {
    let (maker, failed) = (&Maker::of(plan, place.device), !options.retry_failed);
    let (mut left, mut rows, mut missing) = (0, 0, 0);
    for part in listing.parts() {
        let numbers = listing.shards_in(&part, shards.len());
        let own = &mut shards[numbers];
        if own.iter().all(|shard| shard.file == ShardFile::Done) {
            continue;
        }
        let part = listing.part(&part)?.0;
        relabel(plan, &part, own, ui)?;
        let those: Vec<&Shard> = own.iter().filter(|shard| shard.file == ShardFile::Missing).collect();
        let kept = fill::rows_kept(plan, &part, &those, failed)?;
        let of: usize = those.iter().map(|shard| shard.rows.len()).sum();
        (left, rows, missing) = (left + of - kept, rows + kept, missing + those.len());
    }
    // rate and ETA count only the pictures that are computed now
    let line = ui.stage(StageId::Extract, Some(left as u64), "images");
    let reused = shards.len() - missing;
    if reused + rows > 0 && left > 0 {
        let rows = if rows > 0 { format!(" and {rows} rows of others") } else { String::new() };
        ui.note(&format!(
            "extract   {reused} of {}{rows} are there already, {} to go",
            plural(shards.len(), "shard"),
            plural(left, "image")
        ));
    }
    if let Some(reason) = exec::lacking(plan.backbone.precision).filter(|_| left > 0 && place.device.is_cpu()) {
        ui.warn(&format!("`extract.precision: {}`: {reason}", plan.backbone.precision.word()));
    }
    let mut timing = Timing::default();
    for part in listing.parts() {
        let numbers = listing.shards_in(&part, shards.len());
        let own = &mut shards[numbers];
        if own.iter().all(|shard| shard.file != ShardFile::Missing) {
            continue;
        }
        // a listing that is not held in memory is filled part by part, and each part has its own journals
        let is_shared = listing.stored.is_some();
        let mut loaded = listing.stored.as_ref().map(|stored| stored.read(part)).transpose()?;
        let part = loaded.as_mut().map_or(&mut *listing, |(part, _)| part);
        let missing: &Vec<&Shard> = &own.iter().filter(|shard| shard.file == ShardFile::Missing).collect();
        let task = Task { plan, listing: part, missing, maker, failed, is_shared };
        let mut filling = Filling::new(task)?;
        timing += work::run(plan, part, &mut filling, place, &line)?;
        for (picture, contents) in filling.into_contents() {
            part.pictures[picture].contents = contents;
        }
        // the id of a shard follows from the contents that were read
        let named = shard::of_ranges(plan, part, own.iter().map(|shard| shard.rows.clone()).collect())?;
        for (shard, named) in own.iter_mut().zip(named).filter(|(shard, _)| shard.file == ShardFile::Missing) {
            (shard.id, shard.file) = (named.id, ShardFile::Done);
        }
    }
    Ok((timing, line))
}

/// Rewrites the tables that need other labels, splits or another layout.
fn relabel(plan: &Plan, part: &Listing, shards: &mut [Shard], ui: &Ui) -> Result<(), ExtractError> {
    for shard in shards.iter_mut().filter(|shard| shard.file == ShardFile::Relabel) {
        match shard::relabel(plan, part, shard) {
            Err(ExtractError::Io(damaged @ IoError::Damaged { .. })) => {
                ui.warn(&format!("{damaged}; its pictures are extracted again"));
                shard.file = ShardFile::Missing;
            }
            done => done?,
        }
    }
    Ok(())
}

/// Tells the user where the network runs and how the tables are cut.
fn tell(plan: &Plan, device: &Device, threads: usize, ui: &Ui) {
    let taken = &plan.backbone.taken;
    match taken.told() {
        Some(told) if taken.others.is_empty() => ui.detail(&format!("extract   weights {told}")),
        Some(told) => ui.note(&format!("extract   weights {told}")),
        None => {}
    }
    let runtime = &plan.pipeline.runtime;
    let kernels = Maker::of(plan, device).kernels.map_or(String::new(), |kernels| format!(", {kernels} kernels"));
    let asked = runtime.threads.map_or("auto".to_string(), |threads| threads.to_string());
    let (device, wanted) = (device.name(), runtime.device);
    ui.detail(&format!(
        "extract   on {device} (runtime.device: {wanted}){kernels}, {threads} threads (runtime.threads: {asked})"
    ));
    let (room, asked) = (bytes(plan.pipeline.decode_memory()), runtime.decode_memory);
    let asked = asked.map_or("auto".to_string(), |size| size.to_string());
    ui.detail(&format!("extract   pictures share {room} while they are decoded (runtime.decode_memory: {asked})"));
    let why = if plan.pipeline.extract.shard_rows.is_some() { "extract.shard_rows" } else { "by width and cost" };
    ui.detail(&format!("extract   tables of up to {} rows ({why}), {} features", plan.shard_rows(), plan.width()));
}

impl Maker {
    /// This process, with the device that it computes on.
    fn of(plan: &Plan, device: &Device) -> Self {
        let kernels = device.is_cpu().then(|| plan.backbone.kernels.told(plan.backbone.precision).to_string());
        Self { version: env!("CARGO_PKG_VERSION").to_string(), device: device.name().to_string(), kernels }
    }
}

/// Writes a listing that is too large to be held in memory, with the known contents of its pictures.
pub(crate) fn draft(plan: &Plan, large: Large, ui: &Ui) -> Result<Listing, ExtractError> {
    let most = shard::most_rows(plan, large.count);
    let cut = |pictures: &[Picture]| shard::ranges(pictures, most);
    let mut notes = Notes::read(&plan.dir);
    notes.add_others(plan)?;
    let storing = Storing { plan, settings: plan.table_settings()?, cut: &cut };
    let parts = large.parts.map(|part| {
        let mut part = part?;
        notes.resolve(plan, &mut part, ui)?;
        Ok::<_, ExtractError>(part)
    });
    let listing = storing.draft(&large.whole, large.count, parts)?;
    notes.remember();
    Ok(listing)
}

/// Keeps the listing in the store, for workers and for the next start, with the contents of its pictures that are known
/// after `shards` were extracted. From now on a listing that is too large for the memory is only in the store.
pub fn keep_listing(plan: &Plan, listing: &mut Listing, shards: &[Shard]) -> Result<(), ExtractError> {
    if let Some(stored) = listing.stored.as_ref().filter(|_| shards.is_empty()) {
        if let Some(is_another) = stored.keep(plan)? {
            if is_another {
                part::forget_workers(&plan.dir)?;
            }
            *listing = Stored::open(plan)?.map_or_else(Listing::default, Stored::into_listing);
        }
        return Ok(());
    }
    let most = shard::most_rows(plan, listing.len());
    let cut = |pictures: &[Picture]| shard::ranges(pictures, most);
    let parts = listing.parts();
    let mut next = parts.iter();
    let mut notes = |part: &mut Listing| {
        let own = next.next().map(|part| commit::of_part(listing, shards, part));
        commit::note(&plan.dir, own.unwrap_or_default(), part)
    };
    let storing = Storing { plan, settings: plan.table_settings()?, cut: &cut };
    if storing.store(listing, &mut notes)? {
        part::forget_workers(&plan.dir)?;
    }
    // the search for copies needs all pictures in memory
    if listing.len() + listing.len_aside() > plan.held
        && !plan.pipeline.input.hash
        && let Some(stored) = Stored::open(plan)?
    {
        *listing = stored.into_listing();
    }
    Ok(())
}

/// Writes the manifest of pictures that are listed and not yet extracted.
pub fn list(plan: &Plan, listing: &Listing) -> Result<(), IoError> {
    manifest::write(&plan.dir, listing, std::iter::empty(), None, plan.pipeline.input.hash).map(|_| ())
}

/// The hash of the paths of the pictures and of the settings. It does not cover the contents of the pictures, which are
/// known only once they have been read.
pub fn task(plan: &Plan, listing: &Listing) -> Result<String, serde_json::Error> {
    let settings = (plan.extract_settings(), plan.pipeline.output.layout, plan.shard_rows());
    crate::store::fingerprint("extraction", &settings, &[&listing.paths()])
}

/// Returns the existing tables that need not be computed again.
fn kept(dir: &RunDir, mut files: BTreeMap<String, Existing>, options: &Options) -> BTreeMap<String, Existing> {
    if options.force.is_some_and(|force| force <= StageId::Extract) {
        files.clear();
    }
    if options.retry_failed {
        files.retain(|id, _| !shard::outcomes(dir, id).iter().flatten().any(Outcome::is_failed));
    }
    files
}

/// Counts the shards of the listing whose tables exist.
pub fn reused(plan: &Plan, listing: &Listing, options: &Options) -> Result<usize, ExtractError> {
    let (mut shards, all) = (shard::cut(plan, listing)?, tables::find(&plan.dir));
    tables::name(&mut shards, &all);
    shard::judge(&plan.dir, &mut shards, &kept(&plan.dir, all, options));
    Ok(shards.iter().filter(|shard| shard.file != ShardFile::Missing).count())
}

/// The feature tables of a run, whether a record names them or not.
pub fn tables(dir: &RunDir) -> Vec<PathBuf> {
    tables::find(dir).into_values().map(|existing| existing.path).collect()
}

/// True for a feature table of the run in `dir`, though no record may name it yet.
pub fn is_table(dir: &RunDir, path: &Path) -> bool {
    path.starts_with(dir.features()) && tables::read_ids(dir, path).is_some()
}

/// The pictures that an extraction would have to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Shards without a table.
    pub shards: usize,
    /// All shards.
    pub of: usize,
    /// Pictures to compute.
    pub pictures: usize,
    /// Pictures of the same shards that an interrupted run has computed.
    pub kept: usize,
}

/// Counts what an extraction would have to compute.
pub fn missing(plan: &Plan, listing: &Listing) -> Result<Missing, ExtractError> {
    let (mut shards, all) = (shard::cut(plan, listing)?, tables::find(&plan.dir));
    tables::name(&mut shards, &all);
    shard::judge(&plan.dir, &mut shards, &all);
    let mut found = Missing { shards: 0, of: shards.len(), pictures: 0, kept: 0 };
    for part in listing.parts() {
        let own = commit::of_part(listing, &shards, &part).iter();
        let missing: Vec<&Shard> = own.filter(|shard| shard.file == ShardFile::Missing).collect();
        if missing.is_empty() {
            continue;
        }
        let kept = fill::rows_kept(plan, &listing.part(&part)?.0, &missing, true)?;
        found.shards += missing.len();
        found.pictures += missing.iter().map(|shard| shard.rows.len()).sum::<usize>() - kept;
        found.kept += kept;
    }
    Ok(found)
}

fn describe(done: &Extracted) -> String {
    let failed = if done.failed > 0 { format!(", {} failed", done.failed) } else { String::new() };
    let (images, features) = (plural(done.ok, "image"), plural(done.width, "feature"));
    format!("{images} × {features} on {}{failed}", done.device)
}
