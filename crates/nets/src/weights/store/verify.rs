//! Taking stock: what of the registry is on this machine, and whether everything in the store is what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::digest::{Expected, Record, read_record};
use super::wanted::{ENDINGS, Item, RECORD};
use super::{Place, SEEN, Store, StoreError, Wanted, beside};
use crate::files::atomic;
use crate::models::spec::FileSpec;
use crate::models::{ModelSpec, WeightsSpec};

/// A published file, and where it lies.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The published file.
    pub file: &'static FileSpec,
    /// The cache that has it, its path, and its length in bytes; the file is not read through.
    pub lies: Option<(Place, PathBuf, u64)>,
}

/// A file of the store that was read through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Where it lies.
    pub path: PathBuf,
    /// How it is.
    pub state: State,
}

/// How a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// As it was published, or as it came when it was fetched.
    Sound { sha256: String },
    /// Nothing is known that it could be compared with.
    Unknown { sha256: String },
    /// Not what it should be, or not to be read.
    Damaged { reason: String },
}

impl Store {
    /// The files of a row and where they lie.
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

    /// Reads every file of the store through, or those of one model, and tells `each` until it breaks; gives an error
    /// when any is damaged.
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

    /// The published hashes of the files that the registry would put here.
    fn known(&self, models: &'static [ModelSpec]) -> BTreeMap<PathBuf, Expected> {
        let rows = models.iter().flat_map(|model| model.weights.iter().map(move |weights| (model, weights)));
        let items = rows.flat_map(|(model, weights)| Wanted::Known { model, weights, top: false }.items());
        items.map(|item| (self.dir.join(item.place), item.expected)).collect()
    }

    /// Files of weights below `folder`, in the order of their names. Links may lead in circles: no folder is looked
    /// into twice, `met` are those that were.
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
        // the time of writing may be the old one: the record must not vouch for the file any more
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
