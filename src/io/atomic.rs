//! Writes files atomically, through a function that fills them; see [`featurize_nets::files::atomic`].

use std::path::Path;

use serde::Serialize;

pub use featurize_nets::files::atomic::{Draft as Sink, Synced, is_temporary};

use super::{Digest, IoError};
use featurize_nets::files::atomic;

/// Writes `path` by `fill` and creates its folder. After an error there is no new file, and an older file is unchanged.
pub fn write<E: From<IoError>>(path: &Path, fill: impl FnOnce(&mut Sink) -> Result<(), E>) -> Result<Digest, E> {
    write_noted(path, fill, |_, _| Ok(()))
}

/// Writes `path` by `fill`; `note` gets the hash and the size before the file is renamed to `path`.
pub fn write_noted<E: From<IoError>>(
    path: &Path,
    fill: impl FnOnce(&mut Sink) -> Result<(), E>,
    note: impl FnOnce(&Digest, u64) -> Result<(), E>,
) -> Result<Digest, E> {
    finish(Sink::create(path).map_err(IoError::from)?, fill, note)
}

/// Copies `from` to `path` if the copy has the hash `expected`, and returns false otherwise; `note` is called before
/// the copy is renamed to `path`.
pub fn copy<E: From<IoError>>(
    from: &Path,
    path: &Path,
    expected: &str,
    note: impl FnOnce(u64) -> Result<(), E>,
) -> Result<bool, E> {
    let synced = atomic::Synced::copy(from, path).map_err(IoError::from)?;
    if synced.digest() != expected {
        return Ok(false);
    }
    note(synced.bytes())?;
    synced.rename().map_err(IoError::from)?;
    Ok(true)
}

/// Replaces a file of the user by `fill`; the new file has the permissions and the owner of the old one.
pub(super) fn replace<E: From<IoError>>(path: &Path, fill: impl FnOnce(&mut Sink) -> Result<(), E>) -> Result<(), E> {
    finish(Sink::replace(path).map_err(IoError::from)?, fill, |_, _| Ok(())).map(|_| ())
}

fn finish<E: From<IoError>>(
    mut file: Sink,
    fill: impl FnOnce(&mut Sink) -> Result<(), E>,
    note: impl FnOnce(&Digest, u64) -> Result<(), E>,
) -> Result<Digest, E> {
    fill(&mut file)?;
    let synced = file.sync().map_err(IoError::from)?;
    note(synced.digest(), synced.bytes())?;
    Ok(synced.rename().map_err(IoError::from)?)
}

/// Writes a file from bytes.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<Digest, IoError> {
    Ok(atomic::write_bytes(path, bytes)?)
}

/// Writes `value` as indented JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), IoError> {
    Ok(atomic::write_json(path, value)?)
}
