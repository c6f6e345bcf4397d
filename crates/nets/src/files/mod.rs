//! Writes files whole or not at all ([`atomic`]), opens only regular files ([`regular`]), and reads directories of zip
//! files within a budget ([`limited`]).

pub mod atomic;
pub mod limited;
pub mod regular;

use std::path::{Path, PathBuf};

use thiserror::Error;

/// BLAKE3 of a file, as 64 hexadecimal digits.
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
