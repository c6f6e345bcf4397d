//! Files: atomic writes, outputs that the user names, Parquet, plain rows. Only this folder uses polars; arrow and
//! parquet are also used where tables hold pictures, in `pictures/source`.
//!
//! polars writes every table: only `writer` uses it, for [`table::Table`] and for [`features`]. The parquet crate reads
//! tables: `reader` returns Arrow record batches; features are read directly into the rows of a matrix.

pub(crate) mod atlas;
pub mod atomic;
pub mod columns;
pub mod csv_text;
pub mod features;
pub mod npy;
pub mod output;
pub mod preview;
pub mod ranges;
mod reader;
pub mod row_file;
pub mod sealed;
pub mod table;
pub mod tensors;
pub(crate) mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};

use featurize_nets::files::FileError;
use thiserror::Error;

pub use featurize_nets::files::Digest;

/// A file could not be read or written.
#[derive(Debug, Error)]
pub enum IoError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot write the table {path}: {reason}")]
    WriteTable { path: PathBuf, reason: String },
    #[error("{path} is not the table that was expected: {reason}; delete it and run again")]
    Table { path: PathBuf, reason: String },
    #[error(
        "{path} is damaged: its contents are not those that were written; delete it and run again, or copy it anew"
    )]
    Damaged { path: PathBuf },
    #[error(
        "{path}: `{column}` of the picture {picture} is NaN or infinite, and nothing can be fitted on that: check the \
         weights of the model, or leave the picture out"
    )]
    NotFinite { path: PathBuf, picture: String, column: String },
    #[error("{path} is no file of ranges for `int8`: {reason}")]
    Ranges { path: PathBuf, reason: String },
    #[error("{path} is no Parquet file that can be read: {reason}")]
    NoTable { path: PathBuf, reason: String },
}

impl IoError {
    /// The error that `path` is not the expected table.
    fn table(path: PathBuf, reason: String) -> IoError {
        IoError::Table { path, reason }
    }

    /// The error that `path` is not a Parquet file.
    fn no_table(path: PathBuf, reason: String) -> IoError {
        IoError::NoTable { path, reason }
    }

    /// For `map_err` while writing `path`.
    pub fn write(path: &Path) -> impl Fn(std::io::Error) -> IoError + '_ {
        |error| FileError::write(path)(error).into()
    }

    /// For `map_err` while reading `path`.
    pub fn read(path: &Path) -> impl Fn(std::io::Error) -> IoError + '_ {
        |error| FileError::read(path)(error).into()
    }

    /// For `map_err` while `path` is converted to or from JSON.
    pub fn json(path: &Path) -> impl Fn(serde_json::Error) -> IoError + '_ {
        |error| FileError::Json { path: path.to_path_buf(), error }.into()
    }
}

/// Reads `path` to its end and compares its hash with the one noted when it was written.
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
