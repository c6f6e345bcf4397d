//! Imports files of the user into the store if they are published files.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::digest::{Digests, Record, digest, hex};
use super::wanted::{Item, RECORD};
use super::{Found, Place, Store, StoreError, Wanted, beside};
use crate::files::{FileError, atomic, regular};
use crate::models::{ModelSpec, WeightsSpec};

impl Store {
    /// Copies `file` into the store as the `wanted` weights. A file with another hash than the published one is
    /// refused; if none is published, the file's own is recorded.
    pub fn import(&self, file: &Path, wanted: &Wanted) -> Result<Found, StoreError> {
        let items = wanted.items();
        if items.is_empty() {
            return Err(StoreError::Inside(wanted.to_string()));
        }
        let digests = digest(file, true, &mut || Ok(())).map_err(StoreError::read(file))?;
        let item = chosen(file, &items, &digests)?;
        self.copy(file, digests, self.dir.join(&item.place))
    }

    /// Copies `file`, which has these `digests`, to `path` in the store.
    pub(super) fn copy(&self, file: &Path, digests: Digests, path: PathBuf) -> Result<Found, StoreError> {
        let mut source = Hashing { file: regular::open(file).map_err(StoreError::read(file))?, sha256: Sha256::new() };
        let mut copy = atomic::Draft::create(&path)?;
        std::io::copy(&mut source, &mut copy).map_err(FileError::write(&path))?;
        if hex(&source.sha256.finalize()) != digests.sha256 {
            return Err(FileError::read(file)(std::io::Error::other("it changed while it was copied")).into());
        }
        copy.sync()?.rename()?;
        let metadata = path.metadata().map_err(StoreError::read(&path))?;
        let sha256 = digests.sha256.clone();
        Record::new(&file.display().to_string(), digests, &metadata).write(&beside(&path, RECORD));
        Ok(Found { path, sha256, place: Place::Store })
    }
}

/// A file that is hashed while it is read.
struct Hashing {
    file: std::fs::File,
    sha256: Sha256,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.sha256.update(&buffer[..n]);
        Ok(n)
    }
}

/// Which of `items` the file is: by its hash, else by its name or because there is only one; an error if that one has
/// another hash.
fn chosen<'a>(file: &Path, items: &'a [Item], digests: &Digests) -> Result<&'a Item, StoreError> {
    let hashed = |item: &&Item| !item.expected.is_empty() && item.expected.compare(digests).is_ok();
    if let Some(item) = items.iter().find(hashed) {
        return Ok(item);
    }
    let name = file.file_name();
    let named = items.iter().find(|item| item.place.file_name() == name).or(match items {
        [only] => Some(only),
        _ => None,
    });
    let Some(item) = named else {
        let names: Vec<_> = items.iter().filter_map(|item| item.place.file_name()?.to_str()).collect();
        let reason = format!("it is called neither of {} and has no published hash", names.join(", "));
        return Err(StoreError::Unknown { path: file.to_path_buf(), reason });
    };
    match item.expected.compare(digests) {
        Ok(()) => Ok(item),
        Err(mismatch) => {
            let hint = "download it again, or give `extract.weights` the file itself if it holds weights of your own";
            let place = file.display().to_string();
            Err(StoreError::Hash { place, mismatch: mismatch.into(), hint: hint.into() })
        }
    }
}

/// The row of `models` that published `file`: by the name if only one row has it, by the hash otherwise; or the only
/// row of a single model.
pub fn guess(
    models: &'static [ModelSpec],
    file: &Path,
) -> Result<(&'static ModelSpec, &'static WeightsSpec), StoreError> {
    let rows = models.iter().flat_map(|model| model.weights.iter().map(move |weights| (model, weights)));
    let rows: Vec<_> = rows.filter(|(_, weights)| !weights.files.is_empty()).collect();
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut named = rows.iter().filter(|(_, weights)| weights.files.iter().any(|published| published.name == name));
    if let (Some(row), None) = (named.next(), named.next()) {
        return Ok(*row);
    }
    if let ([_], &[row]) = (models, &rows[..]) {
        return Ok(row);
    }
    let digests = digest(file, true, &mut || Ok(())).map_err(StoreError::read(file))?;
    let hashed = rows.iter().find(|(model, weights)| {
        let items = Wanted::Known { model, weights, top: false }.items();
        items.iter().any(|item| !item.expected.is_empty() && item.expected.compare(&digests).is_ok())
    });
    hashed.copied().ok_or_else(|| StoreError::Unknown {
        path: file.to_path_buf(),
        reason: "neither its name nor its hash is published; say whose it is with --model and --source".into(),
    })
}
