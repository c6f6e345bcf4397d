//! Files that are written whole or not at all ([`atomic`]), files that open at once or not at all ([`regular`]), and
//! directories that are read within a budget ([`limited`]).

pub mod atomic;
pub mod limited;
pub mod regular;

use std::path::{Path, PathBuf};

use thiserror::Error;

/// BLAKE3 of all bytes of a file, as 64 digits.
pub type Digest = String;

/// A file could not be read or written.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("cannot write {path}: {error}")]
    Write { path: PathBuf, error: std::io::Error },
    #[error("cannot read {path}: {error}")]
    Read { path: PathBuf, error: std::io::Error },
    #[error("cannot put {path} into JSON: {error}")]
    Json { path: PathBuf, error: serde_json::Error },
}

impl FileError {
    /// For `map_err` while writing `path`.
    pub fn write(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        |error| Self::Write { path: path.to_path_buf(), error }
    }

    /// For `map_err` while reading `path`.
    pub fn read(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        |error| Self::Read { path: path.to_path_buf(), error }
    }
}
