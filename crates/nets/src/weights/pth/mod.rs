//! PyTorch's weight files (`.pth`, `.pt`, `.bin`) → f32 tensors, read on demand. `torch.save` writes a pickle that
//! describes the tensors, and the bytes of their storages, in one of two formats:
//!
//! * since PyTorch 1.6 a zip: `<prefix>/data.pkl`, `<prefix>/data/<key>` for each storage (`zip.rs`); a TorchScript
//!   program is such a zip with its code beside them;
//! * before, one pickle after the other, then the storages (`legacy.rs`).
//!
//! The pickle is read as data (`pickle.rs`, `heap.rs`), the tensors are found in it (`state.rs`) and read from the
//! storages (`storage.rs`). No code of a file is executed. Files are not trusted: lengths are checked before memory is
//! allocated, and allocations are bounded by [`limit`]. The formats are those of `torch/serialization.py` and
//! `torch/_utils.py`.

mod heap;
mod legacy;
mod pickle;
mod state;
mod storage;
#[cfg(test)]
mod tests;
mod zip;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use super::tensors::SharedFile;
use super::{Tensor, WeightError};
use crate::files::regular;
use heap::{Heap, Value};
use storage::Storage;

/// Most bytes of a tensor from a file of `length` bytes: half precision doubles, and small files may expand a little.
const fn limit(length: u64) -> u64 {
    length.saturating_mul(4).saturating_add(64 << 20)
}

/// Most instructions of the pickles of a file of `length` bytes: each takes up to about 128 bytes of memory.
const fn instructions(length: u64) -> u64 {
    (1 << 19) + length / 32
}

/// An error of a file.
#[derive(Debug)]
enum Fault {
    Io(io::Error),
    Unsound(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        // a decoder reports damaged data with these kinds
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Fault::Unsound(error.to_string()),
            _ => Fault::Io(error),
        }
    }
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Fault::Unsound(reason)
    }
}

impl From<&str> for Fault {
    fn from(reason: &str) -> Self {
        Fault::Unsound(reason.to_string())
    }
}

impl Fault {
    fn of(self, path: &Path) -> WeightError {
        match self {
            Fault::Io(error) => WeightError::Read { path: path.to_path_buf(), error },
            Fault::Unsound(reason) => WeightError::Format { place: path.display().to_string(), reason },
        }
    }
}

/// The content of a file of either format.
struct Content {
    heap: Heap,
    /// The object that was saved.
    top: Value,
    /// The storages by key.
    storages: BTreeMap<String, Storage>,
}

/// The formats, recognised by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Zip,
    Legacy,
    /// The format of PyTorch before 0.2.
    Tar,
}

/// Whether the file at `path` was written by `torch.save`, even if it is truncated.
pub(super) fn is_pth(path: &Path) -> Result<bool, WeightError> {
    let open = || Ok(format(&mut regular::open(path)?)?.is_some());
    open().map_err(|fault: Fault| fault.of(path))
}

/// The tensors of the file at `path`, each under its path in the saved object: `conv1.weight` in a state dict,
/// `state_dict.module.conv1.weight` in a checkpoint.
///
/// Floats of 16 to 64 bits become f32. Tensors of other types have only a shape: reading their values is a
/// [`WeightError::Dtype`].
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, WeightError> {
    let content = || {
        let mut file = regular::open(path)?;
        let content = match format(&mut file)? {
            Some(Format::Zip) => zip::read(&mut file)?,
            Some(Format::Legacy) => legacy::read(&mut file)?,
            Some(Format::Tar) => {
                let reason =
                    "it has the tar format of PyTorch before 0.2; load it in PyTorch and save its state_dict anew";
                return Err(reason.into());
            }
            None => return Err("it is not what `torch.save` writes".into()),
        };
        Ok((file, content))
    };
    let (file, content) = content().map_err(|fault: Fault| fault.of(path))?;
    let file = SharedFile::new(path, file)?;
    state::tensors(&content, file).map_err(|fault| fault.of(path))
}

/// The format of a file; the file is rewound.
fn format(file: &mut File) -> Result<Option<Format>, Fault> {
    let mut start = Vec::new();
    file.take(512).read_to_end(&mut start)?;
    file.rewind()?;
    let format = if start.starts_with(b"PK\x03\x04") {
        zip::is_torch(&start, file).then_some(Format::Zip)
    } else if legacy::is_torch(&start) {
        Some(Format::Legacy)
    } else {
        is_tar(&start).then_some(Format::Tar)
    };
    file.rewind()?;
    Ok(format)
}

/// Whether the file is a tar that starts with one of PyTorch's members.
fn is_tar(start: &[u8]) -> bool {
    let members: [&[u8]; 4] = [b"sys_info\0", b"pickle\0", b"storages\0", b"tensors\0"];
    start.get(257..262) == Some(b"ustar") && members.iter().any(|name| start.starts_with(name))
}
