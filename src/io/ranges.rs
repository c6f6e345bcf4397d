//! Files with the activation ranges for `int8`.

use std::path::Path;

use super::{Digest, IoError, atomic};
use crate::exec::Ranges;

/// Reads a file of ranges.
pub fn read(path: &Path) -> Result<Ranges, IoError> {
    let bytes = std::fs::read(path).map_err(IoError::read(path))?;
    Ranges::from_bytes(&bytes).map_err(|reason| IoError::Ranges { path: path.to_path_buf(), reason })
}

/// Writes a file of ranges.
pub fn write(path: &Path, ranges: &Ranges) -> Result<Digest, IoError> {
    atomic::write_bytes(path, &ranges.to_bytes())
}
