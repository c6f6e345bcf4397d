//! The weight store: finds published weights on this machine, downloads missing ones, and checks their hashes.
//!
//! ```text
//! <folder>/<model>/<source>/<published name>       weights of the registry
//! <folder>/hf/<owner>/<repo>/<revision>/<file>     files of the Hugging Face hub
//! <folder>/url/<16 digits>/<name>                  files from anywhere; the digits are of the address' SHA-256
//! <folder>/own/<name>/weights                      files that the user gave a name
//! <folder>/seen/<16 digits>.json                   records of files that lie in other programs' caches
//! ```
//!
//! Beside `<file>` are `<file>.record.json` (its source and its SHA-256) and, during a download, `<file>.part`,
//! `<file>.part.json` and `<file>.lock`; beside a file that the user registered, `<file>.network.json` describes its
//! network. A file is hashed when it is new or has changed; `verify` hashes all of them.
//!
//! Files in the caches of Hugging Face, torch hub and Keras are used in place if they have the published hash; for
//! Keras' `mobilenet_v2` none is published, and the name must match. A file on this machine is not looked up on the
//! network again: a branch of the hub stays at the commit that was downloaded.

pub(super) mod digest;
mod error;
mod fetch;
mod http;
mod import;
mod own;
mod places;
#[cfg(test)]
mod tests;
mod verify;
mod wanted;

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use featurize_remote::http::Patience;
use sha2::{Digest, Sha256};

pub use digest::Mismatch;
pub use error::{Interrupted, StoreError};
pub use import::guess;
pub use own::{OwnWeights, check_name, is_name};
pub use places::{Env, Place, Token};
pub use verify::{Checked, Listed, State};
pub use wanted::{HubFile, Wanted};

use digest::{Expected, Record, hex, read_record};
use fetch::{Download, go_on, pause_for};
use http::Client;
use wanted::{Item, LOCK, RECORD};

/// Folder of the records of files in other programs' caches.
const SEEN: &str = "seen";

/// An event of a search or a download.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A message to the user: a damaged file, a repetition, another process that downloads.
    Note(&'a str),
    /// `done` bytes of the file were downloaded; `total` is its length, if the server reports it.
    Bytes { name: &'a str, done: u64, total: Option<u64> },
    /// There is no progress; the caller may stop the work.
    Waiting,
}

/// A function that gets each event; its result says whether to continue.
pub type Watch<'a> = dyn FnMut(Progress<'_>) -> ControlFlow<()> + 'a;

/// A sound file of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path.
    pub path: PathBuf,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// The folder in which it was found.
    pub place: Place,
}

/// The folder of weights, and the settings for downloads to it.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    offline: bool,
    env: Env,
    patience: Patience,
    client: OnceLock<Client>,
}

impl Store {
    /// The store in `dir`, or in the folder of the environment; `offline`: without downloads. Creates nothing.
    pub fn open(dir: Option<&Path>, offline: bool) -> Result<Self, StoreError> {
        Self::with(Env::process(), dir, offline)
    }

    /// The same with other settings than those of the process.
    pub fn with(env: Env, dir: Option<&Path>, offline: bool) -> Result<Self, StoreError> {
        let dir = dir.map(Path::to_path_buf).or_else(|| env.weights.clone()).ok_or(StoreError::NoFolder)?;
        let dir = std::path::absolute(&dir).map_err(StoreError::read(&dir))?;
        let offline = offline || env.offline;
        Ok(Self { dir, offline, env, patience: Patience::default(), client: OnceLock::new() })
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first file on this machine that has the `wanted` weights: in the store, then in the caches of other
    /// programs. Files with wrong hashes are reported to `watch` and skipped.
    pub fn find(&self, wanted: &Wanted, watch: &mut Watch<'_>) -> Result<Option<Found>, StoreError> {
        for item in wanted.items() {
            for (place, path) in self.places(&item) {
                if let Some(found) = self.accept(&item, place, path, watch)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Finds or downloads the weights. Errors name the URL, the place and other ways to get the file.
    pub fn get(&self, wanted: &Wanted, watch: &mut Watch<'_>) -> Result<Found, StoreError> {
        if let Some(found) = self.find(wanted, watch)? {
            return Ok(found);
        }
        let items = wanted.items();
        let here = |item: &&Item| !self.offline && !item.is_in_a_package() && !matches!(wanted, Wanted::Own(_));
        let Some(item) = items.first().filter(here) else { return Err(self.not_here(wanted)) };
        let (path, url) = (self.dir.join(&item.place), self.url(item));
        let lock = self.lock(&path, watch)?;
        // another process may have downloaded it meanwhile; wrong old files were reported by `find`
        let brought = self.accept(item, Place::Store, path.clone(), &mut |_| ControlFlow::Continue(()))?;
        let found = match brought {
            Some(found) => found,
            None => {
                let client = self.client.get_or_init(|| Client::new(&self.env, self.patience));
                let download = Download::new((item, &url, &path), client, self.patience, watch);
                let record = download.run(&self.hint(wanted))?;
                record.write(&beside(&path, RECORD));
                Found { path: path.clone(), sha256: record.sha256, place: Place::Store }
            }
        };
        // a process that waits for this lock finds the file
        std::fs::remove_file(beside(&path, LOCK)).ok();
        drop(lock);
        Ok(found)
    }

    /// The error that the `wanted` weights are not on this machine: the paths that were tried, and advice.
    pub fn not_here(&self, wanted: &Wanted) -> StoreError {
        let items = wanted.items();
        if items.is_empty() {
            return StoreError::Inside(wanted.to_string());
        }
        if let Wanted::Own(name) = wanted {
            return self.unknown_name(name);
        }
        let places = items.iter().flat_map(|item| self.places(item));
        let looked = places.map(|(place, path)| format!("\n  {place}: {}", path.display())).collect();
        if let Some(item) = items.first().filter(|item| item.is_in_a_package()) {
            let hint = format!("It is in the package {}. {}", item.url, self.hint(wanted));
            return StoreError::NotHere { what: wanted.to_string(), looked, hint };
        }
        let fetch = match wanted {
            Wanted::Known { model, weights, top } => {
                let no_top = if *top { "" } else { " --no-top" };
                format!("featurize weights fetch {} --source {}{no_top}", model.name, weights.name)
            }
            other => format!("featurize weights fetch {other}"),
        };
        let online = if self.offline { "Without --offline and HF_HUB_OFFLINE, " } else { "" };
        let from = items.first().map_or(String::new(), |item| format!(" from {}", self.url(item)));
        let hint = format!("{online}`{fetch}` downloads it{from}.\n{}", self.hint(wanted));
        StoreError::NotHere { what: wanted.to_string(), looked, hint }
    }

    /// The advice for a user who cannot download the file here.
    fn hint(&self, wanted: &Wanted) -> String {
        match wanted {
            Wanted::Known { model, weights, .. } => format!(
                "You can also download it elsewhere and bring it: `featurize weights import --model {} --source {} \
                 FILE`.",
                model.name, weights.name
            ),
            other => {
                let place = other.items().first().map(|item| self.dir.join(&item.place)).unwrap_or_default();
                format!("You can also download it elsewhere and put it at {}.", place.display())
            }
        }
    }

    /// The URL from which `item` is downloaded.
    fn url(&self, item: &Item) -> String {
        item.hub.as_ref().map_or_else(|| item.url.clone(), |hub| hub.url(&self.env.endpoint))
    }

    /// Every path where `item` may be.
    fn places(&self, item: &Item) -> Vec<(Place, PathBuf)> {
        let own = (Place::Store, self.dir.join(&item.place));
        std::iter::once(own).chain(self.env.caches(item)).collect()
    }

    /// The path of a file's record.
    fn record(&self, place: Place, path: &Path) -> PathBuf {
        if place == Place::Store {
            return beside(path, RECORD);
        }
        let digest = hex(&Sha256::digest(path.as_os_str().as_encoded_bytes()));
        self.dir.join(SEEN).join(format!("{}.json", &digest[..16]))
    }

    /// The file at `path`, if it is `item`; it is hashed only if no valid record has its hash.
    fn accept(
        &self,
        item: &Item,
        place: Place,
        path: PathBuf,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Found>, StoreError> {
        let Some(metadata) = path.metadata().ok().filter(|metadata| metadata.is_file()) else { return Ok(None) };
        let record_path = self.record(place, &path);
        let old = read_record::<Record>(&record_path);
        let fresh = old.as_ref().filter(|old| old.is_of(&metadata) && item.expected.compare(&old.digests()).is_ok());
        if let Some(record) = fresh {
            return Ok(Some(Found { path, sha256: record.sha256.clone(), place }));
        }
        let mut expected = item.expected.clone();
        if expected.is_empty() {
            expected.sha256 = match place {
                Place::Store => old.as_ref().map(|old| old.sha256.clone()),
                Place::HuggingFace => places::hub_hash(&path),
                Place::TorchHub | Place::Keras => None,
            };
        }
        // hashing a large file may take long: the user may stop it
        let mut look = || match watch(Progress::Waiting).is_break() {
            true => Err(std::io::ErrorKind::Interrupted.into()),
            false => Ok(()),
        };
        let digests = match expected.digest(&path, &mut look) {
            Ok(digests) => digests,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Err(Interrupted.into()),
            Err(error) => {
                let note = format!("{place}: {} cannot be read and is passed over: {error}", path.display());
                return go_on(watch(Progress::Note(&note))).map(|()| None);
            }
        };
        if let Err(mismatch) = expected.compare(&digests) {
            let note = format!("{place}: {} is passed over: {mismatch}", path.display());
            return go_on(watch(Progress::Note(&note))).map(|()| None);
        }
        let sha256 = digests.sha256.clone();
        let old = old.filter(|old| old.sha256 == sha256);
        let from = old.as_ref().map_or_else(|| path.display().to_string(), |old| old.from.clone());
        let record = Record { commit: old.and_then(|old| old.commit), ..Record::new(&from, digests, &metadata) };
        record.write(&record_path);
        Ok(Some(Found { path, sha256, place }))
    }

    /// Waits until no other process downloads to `path`. The system releases the lock of a process that dies.
    fn lock(&self, path: &Path, watch: &mut Watch<'_>) -> Result<Option<File>, StoreError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(StoreError::write(folder))?;
        let lock = beside(path, LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
        let file = file.map_err(StoreError::write(&lock))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        let note = format!("another featurize downloads {}; waiting for it", path.display());
                        go_on(watch(Progress::Note(&note)))?;
                    }
                    told = true;
                    pause_for(Duration::from_millis(200), watch)?;
                }
                Err(TryLockError::Error(error)) => {
                    let lock = lock.display();
                    let note = format!("this file system gives no lock on {lock} ({error}); going on without");
                    return go_on(watch(Progress::Note(&note))).map(|()| None);
                }
            }
        }
    }
}

/// `path` with `ending` appended to its name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_os_string();
    name.push(ending);
    name.into()
}
