//! Lists the files of the registry that are on this machine, and verifies the files of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::digest::{Expected, Record, read_record};
use super::wanted::{ENDINGS, Item, RECORD};
use super::{Place, SEEN, Store, StoreError, Wanted, beside};
use crate::files::atomic;
use crate::models::spec::FileSpec;
use crate::models::{ModelSpec, WeightsSpec};

/// A published file, and where it is on this machine.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The published file.
    pub file: &'static FileSpec,
    /// The folder that has it, its path, and its length in bytes; it is not hashed.
    pub lies: Option<(Place, PathBuf, u64)>,
}

/// A file of the store that was hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    pub path: PathBuf,
    pub state: State,
}

/// The state of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has the published hash, or the one that it had when it was downloaded.
    Sound { sha256: String },
    /// No hash is known to compare it with.
    Unknown { sha256: String },
    /// Its hash is wrong, or it cannot be read.
    Damaged { reason: String },
}

impl Store {
    /// The files of a row, and where they are on this machine.
    pub fn list(&self, model: &'static ModelSpec, weights: &'static WeightsSpec) -> Vec<Listed> {
        let items = Wanted::Known { model, weights, top: false }.items();
        let listed = weights.files.iter().map(|file| {
            let item = items.iter().find(|item| item.url == file.url);
            Listed { file, lies: item.and_then(|item| self.lies(item)) }
        });
        listed.collect()
    }

    fn lies(&self, item: &Item) -> Option<(Place, PathBuf, u64)> {
        self.places(item).into_iter().find_map(|(place, path)| {
            let metadata = path.metadata().ok().filter(|metadata| metadata.is_file())?;
            Some((place, path, metadata.len()))
        })
    }

    /// Hashes every file of the store, or those of one model, and reports each to `each` until that breaks; an error if
    /// any file is damaged.
    pub fn verify(
        &self,
        models: &'static [ModelSpec],
        only: Option<&ModelSpec>,
        each: &mut dyn FnMut(&Checked) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let known = self.known(models);
        let root = only.map_or_else(|| self.dir.clone(), |model| self.dir.join(model.name));
        let (mut files, mut met) = (Vec::new(), BTreeSet::new());
        self.collect(&root, &mut files, &mut met).map_err(StoreError::read(&root))?;
        let (mut damaged, of) = (0, files.len());
        for path in files {
            let state = check(&path, known.get(&path));
            damaged += usize::from(matches!(state, State::Damaged { .. }));
            if each(&Checked { path, state }).is_break() {
                break;
            }
        }
        if damaged > 0 { Err(StoreError::Damaged { damaged, of, dir: root }) } else { Ok(()) }
    }

    /// The published hashes of the registry's files by their path in the store.
    fn known(&self, models: &'static [ModelSpec]) -> BTreeMap<PathBuf, Expected> {
        let rows = models.iter().flat_map(|model| model.weights.iter().map(move |weights| (model, weights)));
        let items = rows.flat_map(|(model, weights)| Wanted::Known { model, weights, top: false }.items());
        items.map(|item| (self.dir.join(item.place), item.expected)).collect()
    }

    /// Lists the files of weights below `folder`, sorted by name. Links may be cyclic: each folder is visited once,
    /// `met` has those that were.
    fn collect(&self, folder: &Path, files: &mut Vec<PathBuf>, met: &mut BTreeSet<PathBuf>) -> std::io::Result<()> {
        if folder.canonicalize().is_ok_and(|folder| !met.insert(folder)) {
            return Ok(());
        }
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let own = ENDINGS.iter().any(|ending| name.ends_with(ending));
            if path.is_dir() {
                if path != self.dir.join(SEEN) {
                    self.collect(&path, files, met)?;
                }
            } else if !own && !name.starts_with(atomic::TEMPORARY) {
                files.push(path);
            }
        }
        Ok(())
    }
}

fn check(path: &Path, published: Option<&Expected>) -> State {
    let old = read_record::<Record>(&beside(path, RECORD));
    let mut expected = published.cloned().unwrap_or_default();
    if expected.is_empty() {
        expected.sha256 = old.as_ref().map(|old| old.sha256.clone());
    }
    let digests = match expected.digest(path, &mut || Ok(())) {
        Ok(digests) => digests,
        Err(error) => return State::Damaged { reason: format!("it cannot be read: {error}") },
    };
    let sha256 = digests.sha256.clone();
    if let Err(mismatch) = expected.compare(&digests) {
        // the modification time may be unchanged: the record must not count as valid any more
        if let Some(old) = old {
            Record { modified: 0, ..old }.write(&beside(path, RECORD));
        }
        return State::Damaged { reason: mismatch.to_string() };
    }
    if expected.is_empty() {
        return State::Unknown { sha256 };
    }
    if let (Some(old), Ok(metadata)) = (old, path.metadata())
        && !old.is_of(&metadata)
    {
        let commit = old.commit.clone();
        Record { commit, ..Record::new(&old.from, digests, &metadata) }.write(&beside(path, RECORD));
    }
    State::Sound { sha256 }
}
