//! The existing feature tables: the shard of each, and how it gets its number.
//!
//! A table is identified by the id of its shard, whatever its name. A commit record is written beside each table; it
//! holds the id, the form, the path and the size, so that the table is found without reading its footer. A worker
//! leaves its tables in the store, under their ids. The run itself, of which there is one at a time, gives them their
//! numbers and notes these in `.store/tables.json`. Tables without a record and a note, of an earlier version or of a
//! killed run, are identified by their footers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::shard::{FORM, ID, Shard, ShardFile, judge};
use crate::io::features::FeatureFile;
use crate::io::{IoError, sealed};
use crate::stage::StageId;
use crate::store::{Owner, RunDir};

/// The commit record of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The hash of the settings and of the pictures, with their contents.
    pub id: String,
    /// The same hash as computed when the pictures were listed, when the contents of some may not have been known.
    pub listed: String,
    /// The hash of labels, splits and layout.
    pub form: String,
    /// The path of the table, relative to the run folder, and its size.
    pub file: String,
    pub bytes: u64,
    /// True while the table replaces another one of the same id, which may have the same size.
    pub replaces: bool,
}

impl Commit {
    /// Writes the record under the id that the shard had when it was listed.
    pub fn write(&self, dir: &RunDir) -> Result<(), IoError> {
        sealed::write_compact(&dir.commit(&self.listed), self).map(|_| ())
    }
}

/// The tables that have numbers.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Placed {
    tables: Vec<Commit>,
}

/// A table that exists.
#[derive(Clone, Debug)]
pub struct Existing {
    pub path: PathBuf,
    pub form: String,
    /// The id that its shard had when it was listed, if known.
    listed: Option<String>,
    /// The path of its commit record, if it has one.
    record: Option<PathBuf>,
}

/// Finds every intact table of the run, by its id. A table of another run, or a copy under another name, is left to the
/// user.
pub fn find(dir: &RunDir) -> BTreeMap<String, Existing> {
    let mut tables = BTreeMap::new();
    for path in [dir.features(), dir.shards()].iter().flat_map(|folder| own(dir, folder, "parquet")) {
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        tables.insert(path, bytes);
    }
    let records = own(dir, &dir.shards(), "commit").into_iter();
    let committed = records.filter_map(|path| Some((sealed::read::<Commit>(&path).ok()?, Some(path))));
    let placed = sealed::read::<Placed>(&dir.tables()).unwrap_or_default().tables;
    let mut found = BTreeMap::new();
    for (commit, record) in committed.chain(placed.into_iter().map(|commit| (commit, None))) {
        let Commit { id, listed, form, file, bytes, replaces } = commit;
        // a table that is being renamed to its number lies in the store
        let places = [dir.moving(&id), dir.root().join(file)];
        let path = places.into_iter().find(|path| !replaces && tables.get(path) == Some(&bytes));
        if let Some(path) = path.filter(|_| !found.contains_key(&id) && dir.outcomes(&id).is_file()) {
            tables.remove(&path);
            found.insert(id, Existing { path, form, listed: Some(listed), record });
        }
    }
    for path in tables.into_keys() {
        if let Some((id, form)) = read_ids(dir, &path) {
            found.entry(id).or_insert(Existing { path, form, listed: None, record: None });
        }
    }
    found
}

/// If pictures of a shard had not been read when they were listed, gives the shard the id of its table.
pub fn name(shards: &mut [Shard], all: &BTreeMap<String, Existing>) {
    let by_listed = all.iter().filter_map(|(id, existing)| Some((existing.listed.as_deref()?, id)));
    let by_listed: BTreeMap<&str, &String> = by_listed.collect();
    for shard in shards.iter_mut().filter(|shard| !all.contains_key(&shard.id)) {
        if let Some(id) = by_listed.get(shard.id.as_str()) {
            shard.id.clone_from(id);
        }
    }
}

/// Whether the table of a shard exists, for a worker: `known` are the commits by the ids of their shards.
pub fn is_there(dir: &RunDir, shard: &Shard, known: &BTreeMap<String, Commit>) -> bool {
    let own = sealed::read::<Commit>(&dir.commit(&shard.id)).ok();
    own.iter().chain(known.get(&shard.id)).any(|Commit { id, file, bytes, .. }| {
        let is_whole = |path: PathBuf| std::fs::metadata(path).is_ok_and(|found| found.len() == *bytes);
        (is_whole(dir.moving(id)) || is_whole(dir.root().join(file))) && dir.outcomes(id).is_file()
    })
}

/// Every commit, by the id of its shard and by the id under which the shard was listed.
pub fn commits(dir: &RunDir) -> BTreeMap<String, Commit> {
    let placed = sealed::read::<Placed>(&dir.tables()).unwrap_or_default().tables;
    let records = own(dir, &dir.shards(), "commit").into_iter().filter_map(|path| sealed::read::<Commit>(&path).ok());
    let all = placed.into_iter().chain(records);
    all.flat_map(|commit| [(commit.listed.clone(), commit.clone()), (commit.id.clone(), commit)]).collect()
}

/// The files of a folder with this extension that the run may have written, sorted.
fn own(dir: &RunDir, folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files = dir.own_files(folder);
    files.retain(|path| path.extension().is_some_and(|end| end == ending));
    files
}

/// The id and the form of a table of this run, from its footer; none without a record, which is written before the
/// table.
pub fn read_ids(dir: &RunDir, path: &Path) -> Option<(String, String)> {
    let mut metadata = FeatureFile::open(path).ok()?.metadata();
    let ids = (metadata.remove(ID)?, metadata.remove(FORM)?);
    dir.outcomes(&ids.0).is_file().then_some(ids)
}

/// Renames the existing tables to their numbers. A table with another number is first moved to the store, the numbers
/// are noted, and then it is moved to its new name: a table in the store is found whatever the note says, so that a
/// crash between two renames loses nothing.
///
/// Tables of `all` that are not among the `files` to keep are deleted, as are unreadable ones that the run has claimed.
pub fn place(
    dir: &RunDir,
    shards: &mut [Shard],
    files: &BTreeMap<String, Existing>,
    all: &BTreeMap<String, Existing>,
) -> Result<(), IoError> {
    judge(dir, shards, files);
    for folder in [dir.features(), dir.shards()] {
        std::fs::create_dir_all(&folder).map_err(IoError::write(&folder))?;
    }
    let there = |shard: &&Shard| shard.file != ShardFile::Missing;
    let misplaced = shards.iter().filter(there).filter_map(|shard| {
        let existing = files.get(&shard.id)?;
        (Some(&existing.path) != shard.place.as_ref()).then_some((shard, &existing.path))
    });
    let misplaced: Vec<_> = misplaced.collect();
    for (shard, path) in &misplaced {
        let target = dir.moving(&shard.id);
        std::fs::rename(path, &target).map_err(IoError::write(&target))?;
    }
    let kept: Vec<&Shard> = shards.iter().filter(there).collect();
    note(dir, &kept, files)?;
    // the note replaces these records, which may name tables that are deleted below
    for record in all.values().filter_map(|existing| existing.record.as_ref()) {
        std::fs::remove_file(record).map_err(IoError::write(record))?;
    }
    for (shard, _) in &misplaced {
        let target = shard.table(dir, &shard.id);
        std::fs::rename(dir.moving(&shard.id), &target).map_err(IoError::write(&target))?;
    }
    let kept: BTreeSet<PathBuf> = kept.iter().map(|shard| shard.table(dir, &shard.id)).collect();
    let owner = Owner::of(dir);
    let claimed = owner.claims().and_then(|claims| claims.writes.get(&StageId::Extract));
    let found: BTreeSet<&PathBuf> = all.values().map(|existing| &existing.path).collect();
    let ours = |path: &PathBuf| found.contains(path) || claimed.is_some_and(|all| all.contains(&dir.name_of(path)));
    for path in dir.parts().iter().filter(|path| !kept.contains(*path) && ours(path)) {
        std::fs::remove_file(path).map_err(IoError::write(path))?;
    }
    Ok(())
}

/// Notes the numbers of the tables of `shards`; the form of a table among `files` is taken from there.
fn note(dir: &RunDir, shards: &[&Shard], files: &BTreeMap<String, Existing>) -> Result<(), IoError> {
    let entry = |shard: &&Shard| {
        let path = shard.table(dir, &shard.id);
        let lies = [dir.moving(&shard.id), path.clone()].into_iter().find_map(|path| std::fs::metadata(path).ok());
        let known = files.get(&shard.id);
        let form = known.map_or(&shard.form, |existing| &existing.form).clone();
        let listed = known.and_then(|existing| existing.listed.as_ref()).unwrap_or(&shard.id).clone();
        let bytes = lies.map_or(0, |metadata| metadata.len());
        Commit { id: shard.id.clone(), listed, form, file: dir.name_of(&path), bytes, replaces: false }
    };
    let placed = Placed { tables: shards.iter().map(entry).collect() };
    if sealed::read::<Placed>(&dir.tables()).unwrap_or_default() == placed {
        return Ok(());
    }
    sealed::write_compact(&dir.tables(), &placed).map(|_| ())
}

/// Notes all tables, and deletes the records of shards that no longer exist and the commit records, which repeat the
/// note.
pub fn sweep(dir: &RunDir, shards: &[Shard]) -> Result<(), IoError> {
    note(dir, &shards.iter().collect::<Vec<_>>(), &BTreeMap::new())?;
    let known: BTreeSet<PathBuf> = shards.iter().map(|shard| dir.outcomes(&shard.id)).collect();
    for path in dir.own_files(&dir.shards()).iter().filter(|path| !known.contains(*path)) {
        std::fs::remove_file(path).ok();
    }
    Ok(())
}
