//! The errors of finding and downloading weights: every message names the place, the expectation and a remedy.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::digest::Mismatch;
use crate::files::FileError;

/// The user stopped the work (Ctrl-C).
#[derive(Clone, Copy, Debug, Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Weights cannot be found, fetched or trusted.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("`{text}` names no weights: {reason}")]
    Spec { text: String, reason: &'static str },
    #[error("weights cannot be called `{name}`: {reason}")]
    Name { name: String, reason: &'static str },
    #[error(
        "there are other weights called `{0}` already; take another name, or remove them: `featurize weights remove \
         {0}`"
    )]
    Taken(String),
    #[error(
        "no weights are called `{name}`; `featurize weights import FILE --name {name}` gives a file this name, and a \
         file without an ending is written with its folder, `./{name}`; names here: {known}"
    )]
    NoName { name: String, known: String },
    #[error("there is no place for weights: set FEATURIZE_WEIGHTS or give --weights-dir a folder")]
    NoFolder,
    #[error("{0} lie inside the binary; there is no file")]
    Inside(String),
    #[error("{what}: no sound file on this machine; looked at:{looked}\n{hint}")]
    NotHere { what: String, looked: String, hint: String },
    #[error("cannot download {url} to {path}: {reason}\n{hint}")]
    Download { url: String, path: PathBuf, reason: String, hint: String },
    #[error("{place} is not the published file: {mismatch}; {hint}")]
    Hash { place: String, mismatch: Box<Mismatch>, hint: String },
    #[error("{url} is not fetched over plain http: take https, or tell what is expected with `{url}#sha256=…`")]
    Insecure { url: String },
    #[error("{path} is not a known file of weights: {reason}")]
    Unknown { path: PathBuf, reason: String },
    #[error("{damaged} of {of} files in {dir} are damaged; `featurize weights fetch` fetches them again")]
    Damaged { damaged: usize, of: usize, dir: PathBuf },
    #[error("cannot read {path}: {error}")]
    Read { path: PathBuf, error: std::io::Error },
    #[error("cannot write {path}: {error}; --weights-dir or FEATURIZE_WEIGHTS choose another folder")]
    Write { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl StoreError {
    /// For `map_err` while reading `path`.
    pub(super) fn read(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        |error| Self::Read { path: path.to_path_buf(), error }
    }

    /// For `map_err` while writing `path`.
    pub(super) fn write(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        |error| Self::Write { path: path.to_path_buf(), error }
    }
}
