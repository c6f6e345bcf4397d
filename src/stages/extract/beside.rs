//! Reuses feature tables of other runs with the same extraction settings: the runs in the same parent folder and those
//! of `output.cache`. The tables are copied as if a worker had computed them, so that this run does not depend on the
//! other one afterwards.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use super::ExtractError;
use super::shard::{self, Maker, Outcome, Shard};
use super::tables::{self, Commit, Existing};
use crate::config::NO_CACHE;
use crate::io::{IoError, atomic};
use crate::plan::Plan;
use crate::progress::{Ui, plural};
use crate::stages::scan::{Contents, Stored};
use crate::store::RunDir;

/// The runs in the same parent folder and in the cache that have the same settings of features and shards.
pub fn others(plan: &Plan) -> Result<Vec<RunDir>, ExtractError> {
    let (settings, cache) = (plan.table_settings()?, &plan.pipeline.output.cache);
    if cache.as_deref() == Some(Path::new(NO_CACHE)) {
        return Ok(Vec::new());
    }
    let own = std::fs::canonicalize(plan.dir.root()).unwrap_or_else(|_| plan.dir.root().to_path_buf());
    // where several users share a parent folder, only runs of the same user are taken
    let owner = std::fs::metadata(&own).map(|metadata| owner(&metadata)).ok();
    let is_ours = |path: &PathBuf| std::fs::metadata(path).ok().map(|metadata| self::owner(&metadata)) == owner;
    let beside = own.parent().into_iter().flat_map(folders).filter(is_ours);
    let named = cache.iter().flat_map(|cache| folders(cache).into_iter().chain([cache.clone()]));
    let same = |dir: &RunDir| {
        let stored = Stored::of(dir, plan.held).ok().flatten();
        stored.is_some_and(|stored| stored.head().settings == settings)
    };
    let all = beside.chain(named).filter(|path| std::fs::canonicalize(path).is_ok_and(|path| path != own));
    Ok(all.map(RunDir::new).filter(same).collect())
}

/// The folders in a folder, sorted.
fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[cfg(unix)]
fn owner(metadata: &Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::uid(metadata)
}

#[cfg(not(unix))]
fn owner(_: &Metadata) -> u32 {
    0
}

/// Copies those tables of `shards` that this run lacks, if the same program computed them on the same kind of device.
/// Unless `failed` is true, tables with unreadable pictures are not copied. Returns the number of tables copied.
pub fn take(
    plan: &Plan,
    shards: &[Shard],
    known: &BTreeMap<String, Existing>,
    (maker, failed): (&Maker, bool),
    ui: &Ui,
) -> Result<usize, ExtractError> {
    let mut missing: Vec<Shard> = shards.iter().filter(|shard| !known.contains_key(&shard.id)).cloned().collect();
    let mut taken = 0;
    if missing.is_empty() {
        return Ok(0);
    }
    for other in others(plan)? {
        let (theirs, before) = (tables::find(&other), taken);
        let mut named = missing.clone();
        tables::name(&mut named, &theirs);
        let mut left = Vec::new();
        for (shard, named) in missing.into_iter().zip(named) {
            let listed = shard.id.clone();
            match theirs.get(&named.id) {
                Some(existing) if copy(plan, &other, (&named, listed), existing, (maker, failed))? => taken += 1,
                _ => left.push(shard),
            }
        }
        missing = left;
        if taken > before {
            let (count, from) = (plural(taken - before, "shard"), other.root().display());
            ui.note(&format!("extract   {count} of {} taken from {from}", shards.len()));
        }
        ui.check()?;
    }
    Ok(taken)
}

/// Copies the table of a shard that was listed under the id `listed`; returns false if this run would compute another
/// table.
fn copy(
    plan: &Plan,
    other: &RunDir,
    (shard, listed): (&Shard, String),
    existing: &Existing,
    (maker, failed): (&Maker, bool),
) -> Result<bool, ExtractError> {
    let (dir, id) = (&plan.dir, &shard.id);
    let Some(mut kept) = shard::kept(other, id) else { return Ok(false) };
    let is_same = kept.maker.as_ref() == Some(maker) && kept.outcomes.len() == shard.rows.len();
    // a file that was unreadable in that run may be readable now
    if !is_same
        || kept.notes.iter().any(|note| note.contents == Contents::Unread)
        || !failed && kept.outcomes.iter().any(Outcome::is_failed)
    {
        return Ok(false);
    }
    if std::fs::File::open(&existing.path).is_err() {
        return Ok(false);
    }
    // a table that has replaced one with other labels has two hashes in its record
    let Ok(Some(digest)) = kept.digest(&existing.path) else { return Ok(false) };
    kept.tables = vec![digest.clone()];
    std::fs::create_dir_all(dir.shards()).map_err(IoError::write(&dir.shards()))?;
    let path = dir.moving(id);
    let copied = atomic::copy::<IoError>(&existing.path, &path, &digest, |bytes| {
        kept.write(dir, id)?;
        let (id, form, file) = (id.clone(), existing.form.clone(), dir.name_of(&path));
        Commit { id, listed, form, file, bytes, replaces: false }.write(dir)
    });
    match copied {
        // the other run may be renaming its table at this moment
        Err(_) if !existing.path.is_file() => Ok(false),
        copied => Ok(copied?),
    }
}
