//! Files: atomic writes, outputs that the user names, Parquet, plain rows. The only room of polars, and of arrow and parquet but for tables that hold
//! pictures.

pub mod atomic;
pub mod columns;
pub mod csv_text;
pub mod features;
pub mod npy;
pub mod output;
pub mod preview;
pub mod regular;
pub mod row_file;
pub mod sealed;
pub mod table;
pub mod tensors;

use std::fs::File;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// BLAKE3 of all bytes of a file, as 64 digits.
pub type Digest = String;

/// A file could not be read or written.
#[derive(Debug, Error)]
pub enum IoError {
    #[error("cannot write {path}: {error}")]
    Write { path: PathBuf, error: std::io::Error },
    #[error("cannot read {path}: {error}")]
    Read { path: PathBuf, error: std::io::Error },
    #[error("cannot write the table {path}: {reason}")]
    WriteTable { path: PathBuf, reason: String },
    #[error("{path} is not the table that was expected: {reason}; delete it and run again")]
    Table { path: PathBuf, reason: String },
    #[error(
        "{path} is damaged: its contents are not those that were written; delete it and run again, or copy it anew"
    )]
    Damaged { path: PathBuf },
    #[error(
        "{path}: `{column}` of the picture {picture} is NaN or infinite, and nothing can be fitted on that: check the weights of the model, or \
         leave the picture out"
    )]
    NotFinite { path: PathBuf, picture: String, column: String },
    #[error("{path} is no Parquet file that can be read: {reason}")]
    NoTable { path: PathBuf, reason: String },
    #[error("cannot put {path} into JSON: {error}")]
    Json { path: PathBuf, error: serde_json::Error },
}

impl IoError {
    /// For `map_err` while writing `path`.
    pub fn write(path: &Path) -> impl Fn(std::io::Error) -> IoError + '_ {
        |error| IoError::Write { path: path.to_path_buf(), error }
    }

    /// For `map_err` while reading `path`.
    pub fn read(path: &Path) -> impl Fn(std::io::Error) -> IoError + '_ {
        |error| IoError::Read { path: path.to_path_buf(), error }
    }
}

/// Reads `path` to its end and compares it with the hash that was noted when it was written.
pub fn check(path: &Path, written: &str) -> Result<(), IoError> {
    if digest(path)? == written { Ok(()) } else { Err(IoError::Damaged { path: path.to_path_buf() }) }
}

/// The hash of a file.
pub fn digest(path: &Path) -> Result<Digest, IoError> {
    let file = File::open(path).map_err(IoError::read(path))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(IoError::read(path))?;
    Ok(hasher.finalize().to_hex().to_string())
}
