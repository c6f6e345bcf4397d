//! The zip format of PyTorch 1.6 and later. The directory is read with the crate `zip`; stored entries are then read in
//! place, deflated ones (which PyTorch does not write, but repacked files have) through `flate2`. Checksums are not
//! checked: PyTorch can omit them, and only parts of entries are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};

use ::zip::result::ZipError;
use ::zip::{CompressionMethod, ZipArchive};

use super::pickle::Unpickler;
use super::storage::{Packing, Storage};
use super::{Content, Fault, instructions, limit};
use crate::files::limited::Limited;

/// The name of the pickle, after the prefix.
const PICKLE: &str = "data.pkl";
/// Bytes of the header of an entry before its name.
const LOCAL_HEADER: usize = 30;

/// Whether a zip is PyTorch's, by its first entry, which a truncated file has, too, or by its directory. `start` are
/// its first bytes.
pub(super) fn is_torch(start: &[u8], file: &mut File) -> bool {
    let length = start.get(26..28).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_le_bytes);
    let name = start.get(LOCAL_HEADER..LOCAL_HEADER + usize::from(length)).unwrap_or_default();
    prefix(name).is_some() || Directory::read(file).is_ok_and(|directory| directory.prefix().is_ok())
}

/// Reads the pickle and finds the storages.
pub(super) fn read(file: &mut File) -> Result<Content, Fault> {
    let length = file.metadata()?.len();
    let directory = Directory::read(file)?;
    let prefix = directory.prefix()?;
    if let Some(entry) = directory.entries.get(&format!("{prefix}byteorder")) {
        let mut order = Vec::new();
        entry.open(file)?.take(16).read_to_end(&mut order)?;
        if order.trim_ascii() != b"little" {
            let order = String::from_utf8_lossy(&order);
            return Err(format!("its byte order is `{order}`, and only little endian is read").into());
        }
    }
    let pickle = directory.entries.get(&format!("{prefix}{PICKLE}")).ok_or("it has no data.pkl")?;
    if pickle.length > limit(length) {
        return Err(format!("its data.pkl unpacks to {} bytes, too much for its size", pickle.length).into());
    }
    let mut source = pickle.open(file)?;
    let mut unpickler = Unpickler::new(&mut source, pickle.length, instructions(length));
    let top = unpickler.load()?;
    let heap = unpickler.into_heap();
    let data = format!("{prefix}data/");
    let storages = directory.entries.into_iter();
    let storages = storages.filter_map(|(name, storage)| Some((name.strip_prefix(&data)?.to_string(), storage)));
    Ok(Content { heap, top, storages: storages.collect() })
}

/// The folder before `data.pkl` in the name of an entry.
fn prefix(name: &[u8]) -> Option<&str> {
    let prefix = std::str::from_utf8(name).ok()?.strip_suffix(PICKLE)?;
    let folders = prefix.matches('/').count();
    (folders <= 1 && (prefix.is_empty() || prefix.ends_with('/'))).then_some(prefix)
}

/// The entries of a zip by name.
struct Directory {
    entries: BTreeMap<String, Storage>,
}

impl Directory {
    fn read(file: &mut File) -> Result<Self, Fault> {
        let length = file.metadata()?.len();
        // an entry of the directory has at least 46 bytes and takes about ten times that in memory
        let budget = (4 << 20) + length / 8;
        let mut archive = ZipArchive::new(Limited { inner: BufReader::new(file), budget }).map_err(unsound)?;
        if archive.has_overlapping_entries().map_err(unsound)? {
            return Err("entries of its zip overlap each other or its end".into());
        }
        let mut entries = BTreeMap::new();
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(unsound)?;
            let name = entry.name().map_err(unsound)?.into_owned();
            let packing = match entry.compression() {
                _ if entry.encrypted() => return Err(format!("`{}` in its zip is encrypted", shown(&name)).into()),
                CompressionMethod::Stored if entry.size() == entry.compressed_size() => Packing::Stored,
                CompressionMethod::Deflated => Packing::Deflated { bytes: entry.compressed_size() },
                // another compression, which PyTorch does not write; an error only if a tensor needs the entry
                _ => continue,
            };
            let start = entry.data_start().ok_or("an entry of its zip has no beginning")?;
            entries.insert(name, Storage { start, length: entry.size(), packing });
        }
        Ok(Self { entries })
    }

    fn prefix(&self) -> Result<String, Fault> {
        let mut found = self.entries.keys().filter_map(|name| prefix(name.as_bytes()));
        match (found.next(), found.next()) {
            (Some(prefix), None) => Ok(prefix.to_string()),
            (None, _) => Err("its zip has no data.pkl".into()),
            (Some(_), Some(_)) => Err("its zip has more than one data.pkl".into()),
        }
    }
}

/// A name in a message, cut to the length of a line.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

fn unsound(error: ZipError) -> Fault {
    match error {
        ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => Fault::from(error),
        error => format!("its zip directory cannot be read ({error}); is the file whole?").into(),
    }
}
