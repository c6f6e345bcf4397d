//! Tables that are being filled. Results come in any order; a table is written when all of its pictures have results,
//! and until then its rows are kept in the store.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::ExtractError;
use super::journal::{self, Journal, Row};
use super::notes::Note;
use super::shard::{self, Filled, Maker, Outcome, Shard};
use crate::io::IoError;
use crate::plan::Plan;
use crate::stages::scan::{Contents, Listing};
use crate::store::{RunDir, fingerprint};

/// Time between two writes of the journals: a killed run loses at most this much work.
const EVERY: Duration = Duration::from_secs(2);
/// Writing the journals takes at most 1/20 of the time.
const SHARE: u32 = 20;

/// The outcome of a picture.
#[derive(Debug)]
pub struct Settled {
    /// Its number in the listing.
    pub picture: usize,
    pub outcome: Outcome,
    pub contents: Contents,
    /// None for a failed picture.
    pub features: Option<Vec<f32>>,
}

/// A table that is not complete.
struct Open {
    journal: PathBuf,
    file: Option<Journal>,
    /// The outcome and the contents of each row that has a result.
    pictures: Vec<Option<(Outcome, Contents)>>,
    rows: Vec<Option<Vec<f32>>>,
    left: usize,
    /// Rows that are not in the journal.
    fresh: Vec<usize>,
}

/// The tables to compute, and the program and device that compute them.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    pub plan: &'a Plan,
    pub listing: &'a Listing,
    pub missing: &'a [&'a Shard],
    pub maker: &'a Maker,
    /// True if pictures that an earlier run could not read are not tried again.
    pub failed: bool,
    /// True if other tables remain to be computed, by other processes or later; their journals are left alone.
    pub is_shared: bool,
}

/// Tables that are being filled.
pub struct Filling<'a> {
    task: Task<'a>,
    settings: String,
    open: BTreeMap<usize, Open>,
    /// The contents of every picture that has a result.
    contents: Vec<(usize, Contents)>,
    failed: usize,
    last: Instant,
    pause: Duration,
}

impl<'a> Filling<'a> {
    /// Starts with the rows that an earlier run has kept.
    pub fn new(task: Task<'a>) -> Result<Self, ExtractError> {
        let Task { plan, listing, missing, failed, is_shared, .. } = task;
        let settings = shard::settings(plan)?;
        let (open, contents) = (BTreeMap::new(), Vec::new());
        let (last, pause) = (Instant::now(), EVERY);
        let mut filling = Self { task, settings, open, contents, failed: 0, last, pause };
        let mut files = journals(&plan.dir);
        if is_shared {
            let own: Vec<PathBuf> =
                missing.iter().map(|shard| journal_of(plan, listing, shard, &filling.settings)).collect();
            files.retain(|path| own.contains(path));
        }
        kept(plan, listing, missing, &files, &mut |settled, from| {
            if failed || !settled.outcome.is_failed() {
                filling.put(settled, Some(from));
            }
        })?;
        // rows of older journals are written to those of this run before the older ones are deleted
        filling.keep();
        let is_used = |path: &PathBuf| filling.open.values().any(|open| open.journal == *path);
        files.iter().filter(|path| !is_used(path)).for_each(|path| drop(std::fs::remove_file(path)));
        filling.write_full()?;
        Ok(filling)
    }

    /// The pictures that have no result yet, in order.
    pub fn jobs(&self) -> Vec<usize> {
        let known: HashSet<usize> = self.contents.iter().map(|(picture, _)| *picture).collect();
        let all = self.task.missing.iter().flat_map(|shard| shard.rows.clone());
        all.filter(|picture| !known.contains(picture)).collect()
    }

    /// The number of pictures with a result that have no features.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Rows of the longest table.
    pub fn longest(&self) -> usize {
        self.task.missing.iter().map(|shard| shard.rows.len()).max().unwrap_or(0)
    }

    /// Takes the outcome of a picture, and writes its table once that is complete. At intervals the rows of all other
    /// tables are written to their journals.
    pub fn settle(&mut self, settled: Settled) -> Result<(), ExtractError> {
        self.put(settled, None);
        self.write_full()?;
        if self.last.elapsed() >= self.pause {
            self.keep();
        }
        Ok(())
    }

    /// The contents of every picture that has a result.
    pub fn into_contents(self) -> Vec<(usize, Contents)> {
        self.contents
    }

    /// Writes every row that is not in the store yet to its journal. A failure is ignored: at worst these rows are
    /// computed again.
    pub fn keep(&mut self) {
        let start = Instant::now();
        for (which, open) in &mut self.open {
            open.keep(self.task.listing, self.task.missing[*which], &self.settings);
        }
        (self.last, self.pause) = (Instant::now(), EVERY.max(start.elapsed() * SHARE));
    }

    /// Takes the outcome of a picture. If it was read from a journal, `kept` is that file and the end of its intact
    /// rows.
    fn put(&mut self, settled: Settled, kept: Option<(&Path, u64)>) {
        let Settled { picture, outcome, contents, features } = settled;
        let Task { plan, listing, missing, .. } = self.task;
        let which = missing.partition_point(|shard| shard.rows.start <= picture) - 1;
        let shard = missing[which];
        let row = picture - shard.rows.start;
        let settings = &self.settings;
        let open = self.open.entry(which).or_insert_with(|| Open::new(plan, listing, shard, settings));
        if open.pictures[row].is_some() {
            return;
        }
        match kept {
            Some((path, end)) if path == open.journal => {
                open.file = open.file.take().or_else(|| Journal::resume(path, end).ok());
            }
            _ => open.fresh.push(row),
        }
        self.failed += usize::from(outcome.is_failed());
        open.pictures[row] = Some((outcome, contents));
        open.rows[row] = features;
        open.left -= 1;
        self.contents.push((picture, contents));
    }

    fn write_full(&mut self) -> Result<(), ExtractError> {
        while let Some(which) = self.open.iter().find(|(_, open)| open.left == 0).map(|(which, _)| *which) {
            let Some(full) = self.open.remove(&which) else { break };
            let (outcomes, contents): (Vec<Outcome>, Vec<Contents>) = full.pictures.into_iter().flatten().unzip();
            let rows: Vec<&[f32]> = full.rows.iter().flatten().map(Vec::as_slice).collect();
            let Task { plan, listing, missing, maker, .. } = self.task;
            let filled = Filled { maker: Some(maker), outcomes: &outcomes, contents: &contents, rows: &rows };
            shard::write(plan, listing, missing[which], filled, None)?;
            full.file.into_iter().for_each(Journal::remove);
        }
        Ok(())
    }
}

impl Open {
    fn new(plan: &Plan, listing: &Listing, shard: &Shard, settings: &str) -> Self {
        let rows = shard.rows.len();
        Self {
            journal: journal_of(plan, listing, shard, settings),
            file: None,
            pictures: vec![None; rows],
            rows: vec![None; rows],
            left: rows,
            fresh: Vec::new(),
        }
    }

    fn keep(&mut self, listing: &Listing, shard: &Shard, settings: &str) {
        if self.fresh.is_empty() {
            return;
        }
        if self.file.is_none() {
            self.file = Journal::create(&self.journal, settings).ok();
        }
        let Some(file) = &mut self.file else { return };
        for row in self.fresh.drain(..) {
            let Some((outcome, contents)) = &self.pictures[row] else { continue };
            let note = Note::of(&listing.pictures[shard.rows.start + row], *contents);
            file.append(note, outcome, self.rows[row].as_deref().unwrap_or_default()).ok();
        }
        file.flush().ok();
    }
}

/// The file that keeps the rows of a table.
fn journal_of(plan: &Plan, listing: &Listing, shard: &Shard, settings: &str) -> PathBuf {
    // the first picture of a table usually stays the same when others are added or removed
    let first = &listing.pictures[shard.rows.start].path;
    let name = fingerprint("rows", &(settings, first), &[]).unwrap_or_default();
    plan.dir.outcomes(&name).with_extension(journal::EXTENSION)
}

/// Removes every row that was kept.
pub fn forget(dir: &RunDir) -> Result<(), IoError> {
    journals(dir).iter().try_for_each(|path| std::fs::remove_file(path).map_err(IoError::write(path)))
}

/// Calls `each` with every row in `files` that belongs to a picture of the `missing` tables and has the same contents,
/// with the file and the end of its intact rows.
fn kept(
    plan: &Plan,
    listing: &Listing,
    missing: &[&Shard],
    files: &[PathBuf],
    each: &mut dyn FnMut(Settled, (&Path, u64)),
) -> Result<(), ExtractError> {
    if files.is_empty() {
        return Ok(());
    }
    let settings = shard::settings(plan)?;
    let pictures = missing.iter().flat_map(|shard| shard.rows.clone());
    let by_path: BTreeMap<u64, usize> =
        pictures.map(|i| (Note::of(&listing.pictures[i], Contents::Unknown).path, i)).collect();
    for path in files {
        let Some((rows, end)) = journal::read(path, &settings) else { continue };
        for Row { note, outcome, features } in rows {
            let Some(&picture) = by_path.get(&note.path) else { continue };
            let found = &listing.pictures[picture];
            let is_same = match found.contents {
                Contents::Unknown => found.stamp == note.stamp && note.stamp != 0,
                known => known == note.contents,
            };
            let row = if outcome.is_failed() { 0 } else { plan.width() };
            // a picture that was unreadable then may be readable now
            if is_same && note.contents != Contents::Unread && features.len() == row {
                let features = (!outcome.is_failed()).then_some(features);
                each(Settled { picture, outcome, contents: note.contents, features }, (path, end));
            }
        }
    }
    Ok(())
}

/// The number of pictures of the `missing` tables whose rows an interrupted run has kept; with `failed`, unreadable
/// pictures count, too.
pub fn rows_kept(plan: &Plan, listing: &Listing, missing: &[&Shard], failed: bool) -> Result<usize, ExtractError> {
    let mut pictures = HashSet::new();
    kept(plan, listing, missing, &journals(&plan.dir), &mut |settled, _| {
        if failed || !settled.outcome.is_failed() {
            pictures.insert(settled.picture);
        }
    })?;
    Ok(pictures.len())
}

/// Lists the journals of the store, sorted; files that no run can have written are left out.
fn journals(dir: &RunDir) -> Vec<PathBuf> {
    let mut files = dir.own_files(&dir.shards());
    files.retain(|path| path.extension().is_some_and(|extension| extension == journal::EXTENSION));
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::extract::tests::bananas;

    fn task<'a>(plan: &'a Plan, listing: &'a Listing, missing: &'a [&'a Shard], maker: &'a Maker) -> Task<'a> {
        Task { plan, listing, missing, maker, failed: true, is_shared: false }
    }

    #[test]
    fn rows_come_back_to_the_pictures_that_they_are_of_and_to_no_others() {
        let (_out, plan, mut listing) = bananas("shard_rows: 100");
        for folder in plan.dir.folders() {
            std::fs::create_dir_all(folder).expect("folder");
        }
        listing.pictures.iter_mut().for_each(|picture| picture.stamp = 7);
        let contents = |i: usize| Contents::of(&[i as u8]);
        let settled = |picture: usize| {
            let features = (picture != 2).then(|| vec![picture as f32; plan.width()]);
            let failed = Outcome::Failed { kind: "corrupt".into(), error: "bits".into(), sha256: None };
            let outcome = if picture == 2 { failed } else { Outcome::Ok { width: 1, height: 1, sha256: None } };
            let contents = if picture == 3 { Contents::Unread } else { contents(picture) };
            Settled { picture, outcome, contents, features }
        };
        let shards = shard::cut(&plan, &listing).expect("one shard");
        let missing: Vec<&Shard> = shards.iter().collect();
        assert_eq!((shards.len(), listing.pictures.len()), (1, 10));
        let maker = &Maker { version: String::new(), device: "cpu".into(), kernels: None };
        let mut filling = Filling::new(task(&plan, &listing, &missing, maker)).expect("nothing is there");
        for picture in [0, 1, 2, 3, 5] {
            filling.settle(settled(picture)).expect("settled");
        }
        assert!(journals(&plan.dir).is_empty(), "nothing is kept so soon");
        filling.keep();
        drop(filling);
        assert_eq!(journals(&plan.dir).len(), 1);
        let jobs = |listing: &Listing, failed: bool| {
            let task = Task { failed, ..task(&plan, listing, &missing, maker) };
            Filling::new(task).expect("read").jobs()
        };
        // where the contents are unknown, the stamp of the file decides
        assert_eq!(jobs(&listing, true), [3, 4, 6, 7, 8, 9]);
        listing.pictures.iter_mut().for_each(|picture| picture.stamp = 8);
        assert_eq!(jobs(&listing, true).len(), 10);
        let mut filling = Filling::new(task(&plan, &listing, &missing, maker)).expect("no row is left");
        [0, 1, 2, 3, 5].map(settled).into_iter().for_each(|one| filling.put(one, None));
        filling.keep();
        drop(filling);
        for (i, picture) in listing.pictures.iter_mut().enumerate() {
            // picture 5 has other contents now, and 3 could not be read
            picture.contents = if i == 3 { Contents::Unread } else { contents(if i == 5 { 50 } else { i }) };
        }
        assert_eq!(jobs(&listing, true), [3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(jobs(&listing, false), [2, 3, 4, 5, 6, 7, 8, 9], "what failed is tried again");
        // new rows are appended to the journal
        let mut filling = Filling::new(task(&plan, &listing, &missing, maker)).expect("read");
        filling.settle(settled(4)).expect("settled");
        filling.keep();
        drop(filling);
        assert_eq!(jobs(&listing, true), [3, 5, 6, 7, 8, 9]);
        let mut filling = Filling::new(task(&plan, &listing, &missing, maker)).expect("read");
        for picture in [3, 5, 6, 7, 8, 9] {
            filling.settle(settled(picture)).expect("settled");
        }
        assert!(plan.dir.shard(0, 1).is_file() && journals(&plan.dir).is_empty());
    }
}
