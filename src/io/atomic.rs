//! A file is there whole or not at all: it is written under a temporary name in its own folder, synced and renamed, and the folder
//! is synced. Its hash is computed on the way, so that a later reader can tell whether the file is as it was written.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

use serde::Serialize;

use super::{Digest, IoError};

/// How temporary names begin; a file that bears one after a crash may be deleted.
pub const TEMPORARY: &str = ".writing-";
/// Letters and digits after that.
const RANDOM: usize = 6;

/// A file that is being written.
pub type Sink<'a> = BufWriter<Hashed<'a>>;

/// A file that is hashed as it is written.
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

/// Writes `path` by `fill`; creates its folder. On an error nothing is left behind and an older file stays as it was.
pub fn write<E: From<IoError>>(path: &Path, fill: impl FnOnce(&mut Sink) -> Result<(), E>) -> Result<Digest, E> {
    write_noted(path, fill, |_| Ok(()))
}

/// Does the same; `note` is called with the hash before the file takes its name.
pub fn write_noted<E: From<IoError>>(
    path: &Path,
    fill: impl FnOnce(&mut Sink) -> Result<(), E>,
    note: impl FnOnce(&Digest) -> Result<(), E>,
) -> Result<Digest, E> {
    write_like(path, None, fill, note)
}

/// Does the same for a file of the user: the new file gets the rights and the owner of the old one.
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
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // the umask takes off what it must
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
        // a file that is mounted by itself, as into a container, cannot be renamed over
        if !is_there || error.error.kind() != ErrorKind::ResourceBusy {
            return Err(IoError::write(path)(error.error).into());
        }
        std::fs::copy(error.file.path(), path).map_err(IoError::write(path))?;
    }
    sync_folder(folder);
    Ok(digest)
}

/// Gives `file` the rights of an `old` one, and its owner where the system lets us.
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

/// Writes bytes.
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

/// True for the names that [`write`](fn@write) gives for a while.
pub fn is_temporary(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY));
    random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Makes a rename in `folder` durable, where the file system can do it.
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
