//! The source of the HDF5 bytes: a file, or `model.weights.h5` in a `.keras` file, which is a zip. Only the requested
//! ranges are read.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hdf5_reader::{FileStorage, Hdf5File, OpenOptions, Storage, StorageBuffer};
use zip::{CompressionMethod, ZipArchive};

use crate::files::regular;
use crate::weights::WeightError;

const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";
const WEIGHTS: &str = "model.weights.h5";
const CONFIG: &str = "config.json";
/// Most bytes of `config.json`; that of a network of 500 layers has half a megabyte.
const LARGEST_CONFIG: u64 = 64 << 20;
/// Most bytes that a `model.weights.h5` of `length` compressed bytes may have: floats compress badly, zeros of an
/// optimiser well.
const fn largest_weights(length: u64) -> u64 {
    length.saturating_mul(4).saturating_add(64 << 20)
}
/// Most bytes of a chunk of a variable: h5py's have about a megabyte.
const LARGEST_CHUNK: usize = 256 << 20;

/// The open HDF5 file, and the model's configuration if the zip has it.
pub(super) struct Opened {
    pub(super) hdf5: Hdf5File,
    pub(super) config: Option<Vec<u8>>,
}

/// Whether a file is HDF5, or a zip with Keras' weights in it.
pub(in crate::weights) fn is_keras(path: &Path) -> bool {
    let Ok(mut file) = regular::open(path) else { return false };
    is_hdf5(&mut file).unwrap_or(false) || ZipArchive::new(file).is_ok_and(|zip| zip.index_for_name(WEIGHTS).is_some())
}

/// The signature is at byte 0, or after a user block at 512, 1024, 2048, …
fn is_hdf5(file: &mut fs::File) -> io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut at = 0;
    while at + SIGNATURE.len() as u64 <= length {
        let mut found = [0; SIGNATURE.len()];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut found)?;
        if found == SIGNATURE {
            return Ok(true);
        }
        at = if at == 0 { 512 } else { at * 2 };
    }
    Ok(false)
}

/// Opens the HDF5 file at `path`, or in the zip at `path`.
pub(super) fn open(path: &Path) -> Result<Opened, WeightError> {
    let unread = |error| WeightError::Read { path: path.to_path_buf(), error };
    let unsound = |reason: String| WeightError::Format { place: path.display().to_string(), reason };
    let mut file = regular::open(path).map_err(unread)?;
    let (storage, config): (Arc<dyn Storage>, _) = if is_hdf5(&mut file).map_err(unread)? {
        (Arc::new(FileStorage::from_file(file).map_err(|error| unsound(error.to_string()))?), None)
    } else {
        let mut zip = ZipArchive::new(file).map_err(|error| {
            unsound(format!("it is neither HDF5 nor a `.keras` file, which is a zip with `{WEIGHTS}` in it ({error})"))
        })?;
        let config = config(&mut zip);
        (unpacked(zip, path, &unsound)?, config)
    };
    // every value is read once, so that a cache is useless
    let options = OpenOptions::default().with_chunk_cache_bytes(0).with_max_chunk_bytes(LARGEST_CHUNK);
    let hdf5 = Hdf5File::from_storage_with_options(storage, options).map_err(|error| unsound(error.to_string()))?;
    Ok(Opened { hdf5, config })
}

/// The configuration, if it can be read; it is needed only for names.
fn config(zip: &mut ZipArchive<fs::File>) -> Option<Vec<u8>> {
    let entry = zip.by_name(CONFIG).ok()?;
    let mut bytes = Vec::new();
    entry.take(LARGEST_CONFIG).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The weights in a zip: read in place if they are stored, else decompressed into a temporary file.
fn unpacked(
    mut zip: ZipArchive<fs::File>,
    path: &Path,
    unsound: &dyn Fn(String) -> WeightError,
) -> Result<Arc<dyn Storage>, WeightError> {
    let unread = |error| WeightError::Read { path: path.to_path_buf(), error };
    let no_entry = |error| unsound(format!("cannot read `{WEIGHTS}` in the zip: {error}"));
    let entry = zip.by_name(WEIGHTS).map_err(no_entry)?;
    if entry.compression() == CompressionMethod::Stored
        && let Some(start) = entry.data_start()
    {
        let length = entry.size();
        drop(entry);
        let file = zip.into_inner();
        let file_length = file.metadata().map_err(unread)?.len();
        if start.checked_add(length).is_none_or(|end| end > file_length) {
            return Err(unsound(format!("it ends within `{WEIGHTS}`; the download may be incomplete")));
        }
        return Ok(Arc::new(Window { file: Mutex::new(file), start, length }));
    }
    let (packed, most) = (entry.compressed_size(), largest_weights(entry.compressed_size()));
    let too_large =
        || unsound(format!("`{WEIGHTS}` unpacks from {packed} bytes to more than {most}, which no weights do"));
    // the stated length may be wrong
    if entry.size() > most {
        return Err(too_large());
    }
    let mut file = tempfile::tempfile().map_err(unread)?;
    let copied = io::copy(&mut entry.take(most + 1), &mut file)
        .map_err(|error| unsound(format!("cannot unpack `{WEIGHTS}`: {error}")))?;
    if copied > most {
        return Err(too_large());
    }
    Ok(Arc::new(FileStorage::from_file(file).map_err(|error| unsound(error.to_string()))?))
}

/// A part of a file.
struct Window {
    file: Mutex<fs::File>,
    start: u64,
    length: u64,
}

impl Storage for Window {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_range(&self, offset: u64, len: usize) -> Result<StorageBuffer, hdf5_reader::error::Error> {
        let available = self.length.saturating_sub(offset);
        if available < len as u64 {
            return Err(hdf5_reader::error::Error::UnexpectedEof { offset, needed: len as u64, available });
        }
        let mut bytes = vec![0; len];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.start + offset))?;
        file.read_exact(&mut bytes)?;
        Ok(StorageBuffer::from_vec(bytes))
    }
}
