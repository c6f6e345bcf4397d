//! Shards: how the listing is cut into them, and how their tables and records are written.
//!
//! A table has as its id the hash of the settings, paths and contents that its features were computed from. By this id
//! it is found again, even if the times of the files have changed. Any run over the same pictures writes the same
//! bytes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ExtractError;
use super::duplicates::Sha256;
use super::notes::Note;
use super::tables::{Commit, Existing};
use crate::io::features::{FeatureFile, Format};
use crate::io::table::Table;
use crate::io::{self, Digest, IoError, features, sealed};
use crate::plan::Plan;
use crate::stages::scan::{Contents, Listing, Picture, Split, first_eight};
use crate::store::{RunDir, fingerprint};

/// Metadata key of a table's id: the hash of its pictures and settings.
pub(super) const ID: &str = "featurize.shard";
/// Metadata key of the hash of the labels, splits and layout that the table was written with.
pub(super) const FORM: &str = "featurize.form";

/// The outcome of a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its size in pixels.
    Ok {
        width: u64,
        height: u64,
        /// SHA-256 of the file's contents, with `input.hash`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<Sha256>,
    },
    Failed {
        kind: String,
        error: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<Sha256>,
    },
}

impl Outcome {
    /// True if there are no features.
    pub fn is_failed(&self) -> bool {
        matches!(self, Outcome::Failed { .. })
    }

    /// Hash of the contents, where it was asked for.
    pub fn sha256(&self) -> Option<Sha256> {
        let (Outcome::Ok { sha256, .. } | Outcome::Failed { sha256, .. }) = self;
        *sha256
    }

    /// Notes the hash of the contents.
    pub fn set_sha256(&mut self, hash: Option<Sha256>) {
        let (Outcome::Ok { sha256, .. } | Outcome::Failed { sha256, .. }) = self;
        *sha256 = hash;
    }
}

/// The program and the machine that computed features. Features are bit-identical only if both are the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Maker {
    /// The version of featurize.
    pub version: String,
    pub device: String,
    /// The instruction set with which the network was computed, where the device is the CPU.
    pub kernels: Option<String>,
}

/// The record of a shard in the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// None in records of versions that did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<Maker>,
    pub outcomes: Vec<Outcome>,
    /// The note of each picture; empty in records of 0.3.0.
    pub notes: Vec<Note>,
    /// The hash of its table, after that of the table that it replaces; empty in records of 0.3.0.
    pub tables: Vec<Digest>,
}

impl Kept {
    /// Returns the hash of `table`, if one was noted. If two were noted, a run may have been killed before the second
    /// table replaced the first.
    pub fn digest(&self, table: &Path) -> Result<Option<Digest>, IoError> {
        match &self.tables[..] {
            [] => Ok(None),
            [only] => Ok(Some(only.clone())),
            _ => self.check(table).map(Some),
        }
    }

    /// Returns the hash of `table`; an error if the record has no such hash.
    fn check(&self, table: &Path) -> Result<Digest, IoError> {
        let digest = io::digest(table)?;
        if self.tables.is_empty() || self.tables.contains(&digest) {
            return Ok(digest);
        }
        Err(IoError::Damaged { path: table.to_path_buf() })
    }

    /// Writes the record under the id of its shard.
    pub fn write(&self, dir: &RunDir, id: &str) -> Result<(), IoError> {
        sealed::write_compact(&dir.outcomes(id), self).map(|_| ())
    }
}

/// The state of a shard's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardFile {
    /// There is none: the features must be computed.
    Missing,
    /// The table has the features, but other labels, splits or another layout.
    Relabel,
    Done,
}

/// A range of the listing that becomes one table.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Its number: `features/part-<number>.parquet`.
    pub number: usize,
    /// The path of its table; none for a worker, whose tables get their numbers from the run itself.
    pub place: Option<PathBuf>,
    /// Its pictures in their part of the listing.
    pub rows: Range<usize>,
    /// Hash of the settings and of the pictures' paths and contents; of sizes and times instead where contents are
    /// unknown.
    pub id: String,
    /// Hash of labels, splits and layout.
    pub form: String,
    pub file: ShardFile,
}

/// The most shards of a run where `extract.shard_rows` is not set: every start looks at each shard.
const MOST: usize = 20_000;

/// The most pictures of a shard for a listing of `pictures`. It is doubled while there would be too many shards and a
/// table still fits into the memory of a shard.
pub fn most_rows(plan: &Plan, pictures: usize) -> usize {
    let (mut rows, room) = (plan.shard_rows(), plan.shard_room());
    // on average a shard has three quarters of its most pictures
    while plan.pipeline.extract.shard_rows.is_none() && pictures / rows * 4 / 3 > MOST && 2 * rows <= room {
        rows *= 2;
    }
    rows
}

/// Counts the shards of the listing.
pub fn count(plan: &Plan, listing: &Listing) -> usize {
    match &listing.stored {
        Some(stored) => stored.shards(),
        None => ranges(&listing.pictures, most_rows(plan, listing.len())).len(),
    }
}

/// Cuts the listing into shards, part by part.
pub fn cut(plan: &Plan, listing: &Listing) -> Result<Vec<Shard>, ExtractError> {
    let mut shards = Vec::new();
    for part in listing.parts() {
        let (part, found) = listing.part(&part)?;
        let found = found.unwrap_or_else(|| ranges(&part.pictures, most_rows(plan, part.len())));
        shards.extend(of_ranges(plan, &part, found)?);
    }
    let of = shards.len();
    for (number, shard) in shards.iter_mut().enumerate() {
        (shard.number, shard.place) = (number, Some(plan.dir.shard(number, of)));
    }
    Ok(shards)
}

/// Returns shards with these pictures of a part of the listing, without the paths of their tables, as a worker has
/// them.
pub fn of_ranges(plan: &Plan, part: &Listing, ranges: Vec<Range<usize>>) -> Result<Vec<Shard>, ExtractError> {
    let settings = settings(plan)?;
    let form = fingerprint("form", &(plan.pipeline.output.layout, plan.columns().first(), &part.classes), &[])?;
    let shards = ranges.into_iter().enumerate().map(|(number, rows)| {
        let pictures = &part.pictures[rows.clone()];
        let (id, form) = (id(&settings, pictures), form_of(&form, pictures));
        Shard { number, place: None, rows, id, form, file: ShardFile::Missing }
    });
    Ok(shards.collect())
}

/// Hash of the settings that the features depend on.
pub fn settings(plan: &Plan) -> Result<String, serde_json::Error> {
    fingerprint("extract", &plan.extract_settings(), &[])
}

impl Shard {
    /// The path of its table. `id` is computed from the contents that were read.
    pub fn table(&self, dir: &RunDir, id: &str) -> PathBuf {
        self.place.clone().unwrap_or_else(|| dir.moving(id))
    }
}

/// Cuts after a path whose hash is 0 modulo half of `most`: not before half of `most` rows, and at the latest after
/// `most` rows.
pub fn ranges(pictures: &[Picture], most: usize) -> Vec<Range<usize>> {
    let least = most.div_ceil(2);
    let mut ranges = Vec::new();
    let mut start = 0;
    for (i, picture) in pictures.iter().enumerate() {
        let rows = i + 1 - start;
        let hash = first_eight(&blake3::hash(picture.path.as_bytes()));
        let ends = pictures.get(i + 1).is_some_and(|next| parts(picture, next));
        if rows >= most || rows >= least && hash.is_multiple_of(least as u64) || ends {
            ranges.push(start..i + 1);
            start = i + 1;
        }
    }
    if start < pictures.len() {
        ranges.push(start..pictures.len());
    }
    ranges
}

/// Whether a shard must end between the two pictures, since an archive that keeps its stored order ends or begins
/// there.
fn parts(picture: &Picture, next: &Picture) -> bool {
    let ordered = |picture: &Picture| {
        let archive = picture.member.as_ref().map(|member| &member.archive);
        archive.filter(|archive| archive.is_ordered()).map(Arc::as_ptr)
    };
    ordered(picture) != ordered(next)
}

fn id(settings: &str, pictures: &[Picture]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(settings.as_bytes());
    for picture in pictures {
        hasher.update(&(picture.path.len() as u64).to_le_bytes());
        hasher.update(picture.path.as_bytes());
        picture.hash_version(&mut hasher);
    }
    hasher.finalize().to_hex()[..32].to_string()
}

fn form_of(base: &str, pictures: &[Picture]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(base.as_bytes());
    for picture in pictures {
        let label = picture.label.as_deref().unwrap_or("");
        hasher.update(&(label.len() as u64).to_le_bytes());
        hasher.update(label.as_bytes()).update(picture.split.word().as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_string()
}

/// Reads the record of a shard, if it was written and is intact.
pub fn kept(dir: &RunDir, id: &str) -> Option<Kept> {
    let path = dir.outcomes(id);
    let unnoted = || Some(Kept { outcomes: sealed::read(&path).ok()?, ..Kept::default() });
    let kept = sealed::read::<Kept>(&path).ok().or_else(unnoted)?;
    Some(kept).filter(|kept| kept.notes.is_empty() || kept.notes.len() == kept.outcomes.len())
}

/// Reads the outcome of each picture of a shard, if it was written.
pub fn outcomes(dir: &RunDir, id: &str) -> Option<Vec<Outcome>> {
    Some(kept(dir, id)?.outcomes)
}

/// Sets the state of each shard's table.
pub fn judge(dir: &RunDir, shards: &mut [Shard], files: &BTreeMap<String, Existing>) {
    for shard in shards {
        let known = outcomes(dir, &shard.id).is_some_and(|outcomes| outcomes.len() == shard.rows.len());
        shard.file = match files.get(&shard.id) {
            Some(existing) if known && existing.form == shard.form => ShardFile::Done,
            Some(_) if known => ShardFile::Relabel,
            _ => ShardFile::Missing,
        };
    }
}

/// The contents of a table to write.
#[derive(Clone, Copy, Debug)]
pub struct Filled<'a> {
    /// None where it is not known.
    pub maker: Option<&'a Maker>,
    pub outcomes: &'a [Outcome],
    /// The contents of each picture that was extracted.
    pub contents: &'a [Contents],
    /// The features of each picture that has not failed.
    pub rows: &'a [&'a [f32]],
}

/// Writes a table, and its record before the table is renamed; `old` is the hash of the table that it replaces.
pub fn write(
    plan: &Plan,
    listing: &Listing,
    shard: &Shard,
    filled: Filled,
    old: Option<Digest>,
) -> Result<(), ExtractError> {
    let mut pictures = listing.pictures[shard.rows.clone()].to_vec();
    pictures.iter_mut().zip(filled.contents).for_each(|(picture, &contents)| picture.contents = contents);
    let id = id(&settings(plan)?, &pictures);
    // a table of 0.3.0 keeps its id, which was computed from sizes and times
    let noted = !filled.contents.contains(&Contents::Unknown);
    let notes = pictures.iter().filter(|_| noted).map(|picture| Note::of(picture, picture.contents)).collect();
    let outcomes = filled.outcomes.to_vec();
    let mut kept = Kept { maker: filled.maker.cloned(), outcomes, notes, tables: Vec::new() };
    let with = pictures.iter().zip(filled.outcomes);
    let pictures: Vec<&Picture> =
        with.filter(|(_, outcome)| !outcome.is_failed()).map(|(picture, _)| picture).collect();
    let [path, label, split] = features::KEYS;
    let keys = Table::new(pictures.len())
        .text(path, pictures.iter().map(|picture| Some(picture.path.as_str())))
        .category(label, &listing.classes, pictures.iter().map(|picture| picture.label.as_deref()))
        .category(split, &Split::WORDS.map(String::from), pictures.iter().map(|picture| Some(picture.split.word())));
    let names = plan.columns();
    let layout = plan.layout(&names);
    let format = Format { layout, dtype: plan.pipeline.output.dtype };
    let mut metadata = plan.metadata();
    metadata.extend([(ID.to_string(), id.clone()), (FORM.to_string(), shard.form.clone())]);
    let path = shard.table(&plan.dir, &id);
    features::write_noted(&path, keys, format, filled.rows, &metadata, |digest, bytes| {
        let replaces = old.is_some();
        kept.tables = old.into_iter().chain([digest.clone()]).collect();
        kept.write(&plan.dir, &id)?;
        let file = plan.dir.name_of(&path);
        let (id, form, listed) = (id.clone(), shard.form.clone(), shard.id.clone());
        Commit { id, listed, form, file, bytes, replaces }.write(&plan.dir)
    })?;
    Ok(())
}

/// Rewrites a table with the same features and the current labels, splits and layout.
pub fn relabel(plan: &Plan, listing: &Listing, shard: &Shard) -> Result<(), ExtractError> {
    let path = shard.table(&plan.dir, &shard.id);
    let kept = kept(&plan.dir, &shard.id).unwrap_or_default();
    let old = kept.check(&path)?;
    let matrix = FeatureFile::open(&path)?.read_features(None)?;
    if kept.outcomes.iter().filter(|outcome| !outcome.is_failed()).count() != matrix.rows() {
        let reason = "it has not the rows that were written".to_string();
        return Err(IoError::Table { path, reason }.into());
    }
    let contents: Vec<Contents> = listing.pictures[shard.rows.clone()].iter().map(|one| one.contents).collect();
    let rows: Vec<&[f32]> = matrix.iter_rows().collect();
    let maker = kept.maker.as_ref();
    let filled = Filled { maker, outcomes: &kept.outcomes, contents: &contents, rows: &rows };
    write(plan, listing, shard, filled, Some(old))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn pictures(names: impl Iterator<Item = String>) -> Vec<Picture> {
        let picture = |path| Picture {
            path,
            raw: None,
            member: None,
            label: None,
            split: Split::Train,
            bytes: 1,
            modified: 1,
            stamp: 1,
            contents: Contents::Unknown,
        };
        names.map(picture).collect()
    }

    #[test]
    fn shards_cover_everything_and_keep_their_limits() {
        for most in [1, 2, 7, 100] {
            let all = pictures((0..1000).map(|i| format!("{i:04}.jpg")));
            let ranges = ranges(&all, most);
            assert_eq!(ranges.first().map(|r| r.start), Some(0));
            assert_eq!(ranges.last().map(|r| r.end), Some(1000));
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(ranges.iter().all(|r| r.len() <= most));
            assert!(ranges.iter().rev().skip(1).all(|r| r.len() >= most.div_ceil(2)));
        }
        assert!(ranges(&[], 10).is_empty());
    }

    #[test]
    fn a_new_picture_leaves_most_shards_alone() {
        let names =
            |extra: bool| (0..2000).map(|i| format!("{i:04}.jpg")).chain(extra.then(|| "0100b.jpg".to_string()));
        let ids = |extra: bool| -> BTreeSet<String> {
            let mut all = pictures(names(extra));
            all.sort_by(|a, b| a.path.cmp(&b.path));
            ranges(&all, 100).into_iter().map(|rows| id("s", &all[rows])).collect()
        };
        let (before, after) = (ids(false), ids(true));
        assert!(
            before.difference(&after).count() <= 4,
            "{} of {} changed",
            before.difference(&after).count(),
            before.len()
        );
        assert!(after.difference(&before).count() >= 1);
    }
}
