//! The end of the extraction: counts the outcomes of all pictures, and writes them into the manifest part by part.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::shard::{self, Kept, Maker, Outcome, Shard};
use super::{Duplicates, ExtractError, Extracted, Timing, manifest};
use crate::io::IoError;
use crate::plan::Plan;
use crate::stages::scan::{Aside, Listing, Split, printable};
use crate::store::{OutputFile, RunDir};

/// The shards of a part of the listing.
pub fn of_part<'a>(listing: &Listing, shards: &'a [Shard], part: &Range<usize>) -> &'a [Shard] {
    &shards[listing.shards_in(part, shards.len())]
}

/// Counts the outcomes of the pictures and writes the manifest. Returns the files of the extraction, too.
pub fn run(plan: &Plan, listing: &Listing, shards: &[Shard]) -> Result<(Extracted, Vec<OutputFile>), ExtractError> {
    let dir = &plan.dir;
    let mut done = Extracted {
        ok: 0,
        failed: 0,
        skipped: listing.kinds(false).values().sum(),
        train_rows: 0,
        width: plan.width(),
        shards: shards.len(),
        reused: 0,
        device: String::new(),
        kernels: None,
        threads: 0,
        failed_by_kind: words(listing.kinds(true)),
        skipped_by_kind: words(listing.kinds(false)),
        duplicates: None,
        timing: Timing::default(),
    };
    let mut makers: BTreeSet<Maker> = BTreeSet::new();
    let mut files = Vec::with_capacity(shards.len() + 1);
    // of a listing that is held
    let mut held = None;
    for part in listing.parts() {
        let (pictures, own) = (listing.part(&part)?.0, of_part(listing, shards, &part));
        let mut outcomes = Vec::with_capacity(pictures.len());
        for shard in own {
            let kept = kept(dir, shard)?;
            let table = shard.table(dir, &shard.id);
            files.push(OutputFile { blake3: kept.digest(&table)?, ..OutputFile::of(dir, &table)? });
            outcomes.extend(kept.outcomes);
            makers.extend(kept.maker);
        }
        for (picture, outcome) in pictures.pictures.iter().zip(&outcomes) {
            match outcome {
                Outcome::Ok { .. } => {
                    done.ok += 1;
                    done.train_rows += usize::from(picture.split == Split::Train);
                }
                Outcome::Failed { kind, .. } => *done.failed_by_kind.entry(kind.clone()).or_default() += 1,
            }
        }
        held = Some(outcomes).filter(|_| listing.stored.is_none());
    }
    done.failed = done.failed_by_kind.values().sum();
    done.device = words_of(makers.iter().map(|maker| maker.device.as_str()));
    let kernels = words_of(makers.iter().filter_map(|maker| maker.kernels.as_deref()));
    done.kernels = Some(kernels).filter(|kernels| !kernels.is_empty());
    if plan.pipeline.input.hash {
        done.duplicates = Some(Duplicates::among(&listing.pictures, held.as_deref().unwrap_or_default()));
    }
    let parts = listing.parts();
    let mut outcomes = |number: usize| match held.take() {
        Some(held) => Ok(held),
        None => {
            let own = of_part(listing, shards, &parts[number]).iter();
            let all: Result<Vec<Kept>, _> = own.map(|one| kept(dir, one)).collect();
            Ok(all?.into_iter().flat_map(|kept| kept.outcomes).collect())
        }
    };
    let kinds = done.failed_by_kind.keys().cloned();
    let digest = manifest::write(dir, listing, kinds, Some(&mut outcomes), plan.pipeline.input.hash)?;
    files.push(OutputFile::hashed(dir, &dir.manifest(), digest)?);
    Ok((done, files))
}

/// The record of a shard that has been written.
fn kept(dir: &RunDir, shard: &Shard) -> Result<Kept, IoError> {
    let read = shard::kept(dir, &shard.id).filter(|read| read.outcomes.len() == shard.rows.len());
    let reason = "it does not fit its shard".to_string();
    read.ok_or_else(|| IoError::Table { path: dir.outcomes(&shard.id), reason })
}

/// Fills in the contents that the pictures of a part had when they were extracted.
pub fn note(dir: &RunDir, shards: &[Shard], part: &mut Listing) -> Result<(), IoError> {
    for shard in shards {
        let notes = kept(dir, shard)?.notes;
        part.pictures[shard.rows.clone()].iter_mut().zip(notes).for_each(|(one, note)| one.contents = note.contents);
    }
    Ok(())
}

/// The distinct words, sorted and joined by ` + `.
fn words_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<BTreeSet<&str>>().into_iter().collect::<Vec<_>>().join(" + ")
}

fn words(kinds: BTreeMap<&'static str, usize>) -> BTreeMap<String, usize> {
    kinds.into_iter().map(|(kind, n)| (kind.to_string(), n)).collect()
}

/// Returns an error where more pictures are unreadable than the pipeline allows.
pub fn check_bad(plan: &Plan, listing: &Listing, shards: &[Shard], done: &Extracted) -> Result<(), ExtractError> {
    const SHOWN: usize = 10;
    let (failed, of) = (done.failed, done.ok + done.failed);
    let limit = plan.pipeline.input.max_bad_fraction;
    if done.ok > 0 && failed as f64 <= limit * of as f64 {
        return Ok(());
    }
    let (mut pictures, mut aside) = (Vec::new(), Vec::new());
    for part in listing.parts() {
        let found = listing.part(&part)?.0;
        for shard in of_part(listing, shards, &part) {
            let outcomes = shard::outcomes(&plan.dir, &shard.id).into_iter().flatten();
            for (picture, outcome) in found.pictures[shard.rows.clone()].iter().zip(outcomes) {
                if let Outcome::Failed { kind, error, .. } = outcome {
                    pictures.push(format!("\n  {}: {kind}: {error}", printable(&picture.path)));
                }
            }
        }
        let line = |aside: &Aside| format!("\n  {}: {}: {}", printable(&aside.path), aside.kind.word(), aside.reason);
        aside.extend(found.aside.iter().filter(|aside| aside.kind.is_failed()).map(line));
        // the rest is only counted
        pictures.truncate(SHOWN);
        aside.truncate(SHOWN);
    }
    let mut lines: Vec<String> = pictures.into_iter().chain(aside).take(SHOWN).collect();
    if failed > lines.len() {
        lines.push(format!("\n  … and {} more", failed - lines.len()));
    }
    Err(ExtractError::TooManyBad { failed, of, limit, list: lines.concat(), manifest: plan.dir.manifest() })
}
