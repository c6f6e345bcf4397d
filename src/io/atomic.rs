//! Writes files as a whole or not at all: a file is written under a temporary name in its own folder, synced and
//! renamed, and the folder is synced. The file is hashed meanwhile, so that a reader can later check its content.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

use serde::Serialize;

use super::{Digest, IoError};

/// The beginning of temporary names. A file with such a name is left by a crash and may be deleted.
pub const TEMPORARY: &str = ".writing-";
/// The number of letters and digits behind it.
const RANDOM: usize = 6;

/// The buffered writer of a file.
pub type Sink<'a> = BufWriter<Hashed<'a>>;

/// A writer that hashes the file as it is written.
#[derive(Debug)]
pub struct Hashed<'a> {
    file: &'a File,
    hasher: blake3::Hasher,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Writes `path` by `fill` and creates its folder. An error leaves no new file, and an older file stays as it was.
pub fn write<E: From<IoError>>(path: &Path, fill: impl FnOnce(&mut Sink) -> Result<(), E>) -> Result<Digest, E> {
    write_noted(path, fill, |_| Ok(()))
}

/// Writes `path` by `fill`; `note` gets the hash before the file gets its name.
pub fn write_noted<E: From<IoError>>(
    path: &Path,
    fill: impl FnOnce(&mut Sink) -> Result<(), E>,
    note: impl FnOnce(&Digest) -> Result<(), E>,
) -> Result<Digest, E> {
    write_like(path, None, fill, note)
}

/// Replaces a file of the user's by `fill`; the new file has the permissions and the owner of the old one.
pub(super) fn replace<E: From<IoError>>(path: &Path, fill: impl FnOnce(&mut Sink) -> Result<(), E>) -> Result<(), E> {
    write_like(path, std::fs::metadata(path).ok(), fill, |_| Ok(())).map(|_| ())
}

fn write_like<E: From<IoError>>(
    path: &Path,
    old: Option<Metadata>,
    fill: impl FnOnce(&mut Sink) -> Result<(), E>,
    note: impl FnOnce(&Digest) -> Result<(), E>,
) -> Result<Digest, E> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(IoError::write(path))?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // the umask removes bits
    let temporary = builder.prefix(TEMPORARY).rand_bytes(RANDOM).tempfile_in(folder).map_err(IoError::write(path))?;
    let hashed = Hashed { file: temporary.as_file(), hasher: blake3::Hasher::new() };
    let mut buffer = BufWriter::with_capacity(1 << 20, hashed);
    fill(&mut buffer)?;
    let hashed = buffer.into_inner().map_err(|error| IoError::write(path)(error.into_error()))?;
    let digest = hashed.hasher.finalize().to_hex().to_string();
    let is_there = old.is_some();
    if let Some(old) = old {
        keep_rights(temporary.as_file(), &old).map_err(IoError::write(path))?;
    }
    temporary.as_file().sync_all().map_err(IoError::write(path))?;
    note(&digest)?;
    if let Err(error) = temporary.persist(path) {
        // A file that is a mount point, as in a container, cannot be replaced by a rename.
        if !is_there || error.error.kind() != ErrorKind::ResourceBusy {
            return Err(IoError::write(path)(error.error).into());
        }
        std::fs::copy(error.file.path(), path).map_err(IoError::write(path))?;
    }
    sync_folder(folder);
    Ok(digest)
}

/// Gives `file` the permissions of an `old` one, and its owner where the system allows it.
fn keep_rights(file: &File, old: &Metadata) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(file, Some(old.uid()), Some(old.gid())).ok();
        }
    }
    file.set_permissions(old.permissions())
}

/// Writes a file from bytes.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<Digest, IoError> {
    write(path, |file| file.write_all(bytes).map_err(IoError::write(path)))
}

/// Writes `value` as indented JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), IoError> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|error| IoError::Json { path: path.to_path_buf(), error })?;
    text.push(b'\n');
    write_bytes(path, &text).map(|_| ())
}

/// Whether a name is a temporary one of [`write`](fn@write).
pub fn is_temporary(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY));
    random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Syncs `folder`, so that a rename in it survives a power cut; file systems that cannot do this are left as they are.
pub fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        folder.sync_all().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_leaves_the_old_file_and_no_rest() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a/b.json");
        write_json(&path, &[1, 2]).expect("written");
        let failed: Result<Digest, IoError> = write(&path, |file| {
            file.write_all(b"half").map_err(IoError::write(Path::new("x")))?;
            Err(IoError::Table { path: "x".into(), reason: "stop".into() })
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), "[\n  1,\n  2\n]\n");
        assert_eq!(std::fs::read_dir(dir.path().join("a")).expect("folder").count(), 1);
    }
}
