//! `extract`: pictures → features, shard by shard.
//!
//! A shard is a run of the sorted listing, cut where the hash of a path says so: a new or changed picture changes its
//! own shard and leaves the others as they are. A shard whose table is there with the right id is not computed again;
//! one whose labels or split alone have changed is written anew from its own numbers. Pictures go the road of
//! `crate::pictures` in `work`, tables are filled in `fill`, and `journal` keeps the rows of those that are not full;
//! memory holds two shards at most, whatever the number of pictures. `notes` tells whether a picture is still the one
//! that was extracted.

mod duplicates;
mod export;
mod fill;
mod journal;
mod manifest;
mod notes;
mod room;
mod shard;
mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use duplicates::{Duplicates, Member, Sha256};
pub use manifest::write as manifest;
pub use notes::resolve;
pub use shard::{Outcome, count};
pub use work::Timing;

use fill::Filling;
use shard::{Existing, Shard, ShardFile};
use work::Place;

use crate::exec::{self, Device, ExecError};
use crate::io::IoError;
use crate::pictures::{StreamError, Way};
use crate::plan::Plan;
use crate::progress::{Interrupted, StageLine, Ui, bytes, plural};
use crate::stage::{Options, StageId};
use crate::stages::scan::{Aside, Listing, Split, printable};
use crate::store::{OutputFile, RunDir};

/// Columns of a table, which has one row group, from which on its footer costs more than is good.
const MANY_CHUNKS: usize = 50_000;

/// What `extract` commits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extracted {
    /// Pictures with features.
    pub ok: usize,
    /// Pictures that could not be read, those that the scan could not read included.
    pub failed: usize,
    /// Files left out by a rule.
    pub skipped: usize,
    /// Rows that may be fitted on.
    pub train_rows: usize,
    /// Features of a picture.
    pub width: usize,
    pub shards: usize,
    /// Shards that were there already.
    pub reused: usize,
    pub device: String,
    /// The instructions that computed the network, where the device is the CPU: features are the same bits on one kind
    /// of it.
    #[serde(default)]
    pub kernels: Option<String>,
    pub threads: usize,
    /// Failed pictures by kind.
    pub failed_by_kind: BTreeMap<String, usize>,
    /// Files left out by kind of rule.
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
        "{failed} of {of} pictures cannot be read, more than `input.max_bad_fraction: {limit}` allows:{list}\nsee {manifest} for all of \
         them; mend or remove them, or raise the limit"
    )]
    TooManyBad { failed: usize, of: usize, limit: f64, list: String, manifest: PathBuf },
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// Extracts what is not there yet; all of it when the stage is forced. The contents of every picture that is extracted
/// are noted in `listing`.
pub fn run(
    plan: &Plan,
    listing: &mut Listing,
    options: &Options,
    ui: &Ui,
) -> Result<(Extracted, Vec<OutputFile>), ExtractError> {
    let dir = &plan.dir;
    let mut shards = shard::cut(plan, listing)?;
    let all = shard::find(dir);
    let files = kept(dir, all.clone(), options);
    if options.force.is_some_and(|force| force <= StageId::Extract) {
        fill::forget(dir)?;
    }
    let device = Device::open(plan.pipeline.runtime.device())?;
    let threads = plan.pipeline.threads();
    if plan.is_wide() && plan.width() > MANY_CHUNKS {
        let advice = "one column each makes them slow to open everywhere; `output.layout: array` is read at once";
        ui.warn(&format!("every table has {} columns of features: {advice}", plan.width()));
    }
    tell(plan, &device, threads, ui);
    shard::place(dir, &mut shards, &files, &all)?;
    for shard in shards.iter_mut().filter(|shard| shard.file == ShardFile::Relabel) {
        match shard::relabel(plan, listing, shard) {
            Err(ExtractError::Io(damaged @ IoError::Damaged { .. })) => {
                ui.warn(&format!("{damaged}; its pictures are extracted again"));
                shard.file = ShardFile::Missing;
            }
            done => done?,
        }
    }
    let reused = shards.iter().filter(|shard| shard.file != ShardFile::Missing).count();
    let place = Place { device: &device, way: Way::of(&device, plan.pipeline.batch_size()), threads };
    let (timing, line) = compute(plan, listing, &shards, options, place, ui)?;
    // by the contents that they turned out to have
    let shards = shard::cut(plan, listing)?;
    if plan.pipeline.input.hash {
        duplicates::complete(plan, listing, &shards, threads, ui)?;
    }
    let outputs = commit(plan, listing, &shards)?;
    let mut done = outputs.0;
    (done.device, done.threads, done.reused, done.timing) = (device.name().to_string(), threads, reused, timing);
    done.kernels = kernels(plan, &device);
    check_bad(plan, listing, &shards, &done)?;
    let mut files = outputs.1;
    files.extend(export::run(plan, listing, (&done, &files), ui)?);
    line.finish(&describe(&done));
    done.duplicates.iter().for_each(|duplicates| duplicates.tell(ui));
    Ok((done, files))
}

/// Computes the shards that are missing, but for the rows of them that an earlier run has kept.
fn compute(
    plan: &Plan,
    listing: &mut Listing,
    shards: &[Shard],
    options: &Options,
    place: Place,
    ui: &Ui,
) -> Result<(Timing, StageLine), ExtractError> {
    let missing: Vec<&Shard> = shards.iter().filter(|shard| shard.file == ShardFile::Missing).collect();
    let mut filling = Filling::new(plan, listing, &missing, !options.retry_failed)?;
    let (of, left) = (missing.iter().map(|shard| shard.rows.len()).sum::<usize>(), filling.jobs().len());
    // rate and ETA are of what is computed now
    let line = ui.stage(StageId::Extract, Some(left as u64), "images");
    let (reused, rows) = (shards.len() - missing.len(), of - left);
    if reused + rows > 0 && left > 0 {
        let rows = if rows > 0 { format!(" and {rows} rows of others") } else { String::new() };
        ui.note(&format!(
            "extract   {reused} of {}{rows} are there already, {} to go",
            plural(shards.len(), "shard"),
            plural(left, "image")
        ));
    }
    if left > 0 && exec::is_emulated(plan.backbone.precision) {
        ui.warn("`extract.precision: bf16`: this CPU has neither AMX nor AVX512-BF16, so that it is slower than f32");
    }
    let timing = work::run(plan, listing, &mut filling, place, &line)?;
    for (picture, contents) in filling.into_contents() {
        listing.pictures[picture].contents = contents;
    }
    Ok((timing, line))
}

/// On what the network runs and how the tables are cut, for those who want to know.
fn tell(plan: &Plan, device: &Device, threads: usize, ui: &Ui) {
    let taken = &plan.backbone.taken;
    match taken.told() {
        Some(told) if taken.others.is_empty() => ui.detail(&format!("extract   weights {told}")),
        Some(told) => ui.note(&format!("extract   weights {told}")),
        None => {}
    }
    let runtime = &plan.pipeline.runtime;
    let kernels = kernels(plan, device).map_or(String::new(), |kernels| format!(", {kernels} kernels"));
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

fn kernels(plan: &Plan, device: &Device) -> Option<String> {
    device.is_cpu().then(|| plan.backbone.kernels.told(plan.backbone.precision).to_string())
}

/// Hash of which pictures are extracted and how, whatever they hold: their contents are known only when they have been
/// read.
pub fn task(plan: &Plan, listing: &Listing) -> Result<String, serde_json::Error> {
    let mut paths = blake3::Hasher::new();
    for picture in &listing.pictures {
        paths.update(&(picture.path.len() as u64).to_le_bytes()).update(picture.path.as_bytes());
    }
    let settings = (plan.extract_settings(), plan.pipeline.output.layout, plan.shard_rows());
    crate::store::fingerprint("extraction", &settings, &[&paths.finalize().to_hex()])
}

/// Of the tables that are there those that need not be computed again.
fn kept(dir: &RunDir, mut files: BTreeMap<String, Existing>, options: &Options) -> BTreeMap<String, Existing> {
    if options.force.is_some_and(|force| force <= StageId::Extract) {
        files.clear();
    }
    if options.retry_failed {
        files.retain(|id, _| !shard::outcomes(dir, id).iter().flatten().any(Outcome::is_failed));
    }
    files
}

/// How many shards of the listing are there already.
pub fn reused(plan: &Plan, listing: &Listing, options: &Options) -> Result<usize, ExtractError> {
    let mut shards = shard::cut(plan, listing)?;
    shard::judge(&plan.dir, &mut shards, &kept(&plan.dir, shard::find(&plan.dir), options));
    Ok(shards.iter().filter(|shard| shard.file != ShardFile::Missing).count())
}

/// The feature tables of a run, whether a record names them or not.
pub fn tables(dir: &RunDir) -> Vec<PathBuf> {
    shard::find(dir).into_values().map(|existing| existing.path).collect()
}

/// True for a feature table of the run in `dir`, though no record may name it yet.
pub fn is_table(dir: &RunDir, path: &Path) -> bool {
    path.starts_with(dir.features()) && shard::read_ids(dir, path).is_some()
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
    let mut shards = shard::cut(plan, listing)?;
    shard::judge(&plan.dir, &mut shards, &shard::find(&plan.dir));
    let missing: Vec<_> = shards.iter().filter(|shard| shard.file == ShardFile::Missing).collect();
    let pictures: usize = missing.iter().map(|shard| shard.rows.len()).sum();
    let kept = fill::rows_kept(plan, listing, &missing)?;
    Ok(Missing { shards: missing.len(), of: shards.len(), pictures: pictures - kept, kept })
}

/// Counts what became of the pictures, writes the manifest and removes what belongs to no shard.
fn commit(plan: &Plan, listing: &Listing, shards: &[Shard]) -> Result<(Extracted, Vec<OutputFile>), ExtractError> {
    let dir = &plan.dir;
    let mut outcomes = Vec::with_capacity(listing.pictures.len());
    let mut files = Vec::with_capacity(shards.len() + 1);
    for shard in shards {
        let read = shard::kept(dir, &shard.id).filter(|read| read.outcomes.len() == shard.rows.len());
        let path = dir.outcomes(&shard.id);
        let reason = "it does not fit its shard".to_string();
        let kept = read.ok_or(IoError::Table { path, reason })?;
        let table = dir.shard(shard.number);
        files.push(OutputFile { blake3: kept.digest(&table)?, ..OutputFile::of(dir, &table)? });
        outcomes.extend(kept.outcomes);
    }
    let mut done = Extracted {
        ok: outcomes.iter().filter(|outcome| !outcome.is_failed()).count(),
        failed: 0,
        skipped: listing.aside.iter().filter(|aside| !aside.kind.is_failed()).count(),
        train_rows: 0,
        width: plan.width(),
        shards: shards.len(),
        reused: 0,
        device: String::new(),
        kernels: None,
        threads: 0,
        failed_by_kind: words(listing.kinds(true)),
        skipped_by_kind: words(listing.kinds(false)),
        duplicates: plan.pipeline.input.hash.then(|| Duplicates::among(&listing.pictures, &outcomes)),
        timing: Timing::default(),
    };
    for (picture, outcome) in listing.pictures.iter().zip(&outcomes) {
        match outcome {
            Outcome::Ok { .. } if picture.split == Split::Train => done.train_rows += 1,
            Outcome::Ok { .. } => {}
            Outcome::Failed { kind, .. } => *done.failed_by_kind.entry(kind.clone()).or_default() += 1,
        }
    }
    done.failed = done.failed_by_kind.values().sum();
    let digest = manifest::write(dir, listing, Some(&outcomes), plan.pipeline.input.hash)?;
    files.push(OutputFile::hashed(dir, &dir.manifest(), digest)?);
    shard::sweep(dir, shards);
    Ok((done, files))
}

fn words(kinds: BTreeMap<&'static str, usize>) -> BTreeMap<String, usize> {
    kinds.into_iter().map(|(kind, n)| (kind.to_string(), n)).collect()
}

fn check_bad(plan: &Plan, listing: &Listing, shards: &[Shard], done: &Extracted) -> Result<(), ExtractError> {
    const SHOWN: usize = 10;
    let (failed, of) = (done.failed, done.ok + done.failed);
    let limit = plan.pipeline.input.max_bad_fraction;
    if done.ok > 0 && failed as f64 <= limit * of as f64 {
        return Ok(());
    }
    let mut lines = Vec::new();
    for shard in shards {
        let outcomes = shard::outcomes(&plan.dir, &shard.id).into_iter().flatten();
        for (picture, outcome) in listing.pictures[shard.rows.clone()].iter().zip(outcomes) {
            if let Outcome::Failed { kind, error, .. } = outcome {
                lines.push(format!("\n  {}: {kind}: {error}", printable(&picture.path)));
            }
        }
    }
    let aside = listing.aside.iter().filter(|aside| aside.kind.is_failed());
    let line = |aside: &Aside| format!("\n  {}: {}: {}", printable(&aside.path), aside.kind.word(), aside.reason);
    lines.extend(aside.map(line));
    let rest = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if rest > 0 {
        lines.push(format!("\n  … and {rest} more"));
    }
    Err(ExtractError::TooManyBad { failed, of, limit, list: lines.concat(), manifest: plan.dir.manifest() })
}

fn describe(done: &Extracted) -> String {
    let failed = if done.failed > 0 { format!(", {} failed", done.failed) } else { String::new() };
    let (images, features) = (plural(done.ok, "image"), plural(done.width, "feature"));
    format!("{images} × {features} on {}{failed}", done.device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::io::features::FeatureFile;
    use crate::io::{self, atomic};
    use crate::stages::scan::{self, Contents};
    use shard::Filled;

    /// The folder of a run over ten of the shipped bananas, with these settings of `extract`, and its listing.
    pub(super) fn bananas(extract: &str) -> (tempfile::TempDir, Plan, Listing) {
        let out = tempfile::tempdir().expect("folder");
        let yaml = format!(
            "version: 1\ninput: {{root: data/fruits, split: {{train: 'Training/**', test: 'Test/**'}}, classes: [Banana], \
             limit_per_class: 5}}\nextract: {{{extract}, recipe: {{size: 64}}}}\n"
        );
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("test.yaml");
        let pipeline = config::parse(&yaml, &file, &[]).expect("a sound pipeline");
        let plan = Plan::new(pipeline, Some(out.path()), &mut |_| panic!("the weights are inside")).expect("a plan");
        let listing = scan::run(&plan, &Ui::silent()).expect("bananas");
        (out, plan, listing)
    }

    #[test]
    fn a_table_that_was_not_replaced_before_the_run_was_killed_is_the_one_that_is_committed() {
        let (_out, plan, mut listing) = bananas("shard_rows: 100");
        let (ui, options) = (Ui::silent(), Options::default());
        run(&plan, &mut listing, &options, &ui).expect("extracted");
        let id = &shard::cut(&plan, &listing).expect("one shard")[0].id;
        let mut kept = shard::kept(&plan.dir, id).expect("written");
        // another split was about to be written, and is not asked for any more
        kept.tables.push("f".repeat(64));
        kept.write(&plan.dir, id).expect("written");
        let (done, files) = run(&plan, &mut listing, &options, &ui).expect("reused");
        assert_eq!(done.reused, 1);
        assert_eq!(files[0].blake3, Some(io::digest(&plan.dir.shard(0)).expect("read")));
        kept.tables[0] = "e".repeat(64);
        kept.write(&plan.dir, id).expect("written");
        let error = run(&plan, &mut listing, &options, &ui).expect_err("neither of them");
        assert!(matches!(error, ExtractError::Io(IoError::Damaged { .. })), "{error}");
    }

    #[test]
    fn a_run_of_before_contents_were_noted_is_taken_as_it_is() {
        let (_out, plan, listed) = bananas("shard_rows: 4");
        let (ui, options) = (Ui::silent(), Options::default());
        let mut listing = listed.clone();
        let (done, files) = run(&plan, &mut listing, &options, &ui).expect("extracted");
        assert_eq!((done.timing.pictures, done.reused), (10, 0));
        assert!(listing.pictures.iter().all(|picture| matches!(picture.contents, Contents::Hash(_))));
        assert!(files.iter().all(|file| file.blake3.is_some()));
        let mut again = listed.clone();
        resolve(&plan, &mut again, &ui).expect("read").remember();
        assert_eq!(again, listing);
        assert_eq!(run(&plan, &mut again, &options, &ui).expect("reused").0.timing.pictures, 0);
        // the same as 0.3.0 left it: ids of sizes and times, a bare list of outcomes
        let noted = shard::cut(&plan, &listing).expect("shards");
        let bare = shard::cut(&plan, &listed).expect("shards");
        for (noted, shard) in noted.iter().zip(&bare) {
            assert_ne!(noted.id, shard.id);
            let outcomes = shard::outcomes(&plan.dir, &noted.id).expect("written");
            let matrix = FeatureFile::open(&plan.dir.shard(shard.number)).expect("opened").read_features(None);
            let matrix = matrix.expect("read");
            let rows: Vec<&[f32]> = matrix.iter_rows().collect();
            let contents = vec![Contents::Unknown; outcomes.len()];
            let filled = Filled { outcomes: &outcomes, contents: &contents, rows: &rows };
            shard::write(&plan, &listed, shard, filled, None).expect("written");
            atomic::write_json(&plan.dir.outcomes(&shard.id), &outcomes).expect("written");
        }
        shard::sweep(&plan.dir, &bare);
        let mut listing = listed.clone();
        resolve(&plan, &mut listing, &ui).expect("nothing is noted").remember();
        let (done, files) = run(&plan, &mut listing, &options, &ui).expect("reused");
        assert_eq!((done.timing.pictures, done.reused, listing), (0, noted.len(), listed));
        assert!(files[0].blake3.is_none());
    }
}
