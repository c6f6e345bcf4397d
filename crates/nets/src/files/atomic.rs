//! Writes a file whole or not at all: under a temporary name in its own folder, then synced and renamed, and the folder
//! synced. The file is hashed while it is written, so that a later reader can check it.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

use super::{Digest, FileError};

/// The prefix of temporary names; after a crash, files with it may be deleted.
pub const TEMPORARY: &str = ".writing-";
/// The number of random letters and digits after it.
const RANDOM: usize = 6;

/// A file that is being written under a temporary name. If it is dropped before it is renamed, it is deleted, and an
/// older file stays as it was.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    /// The metadata of the file that is replaced, if its permissions and its owner are kept.
    old: Option<Metadata>,
    buffer: BufWriter<Hashed>,
}

/// A file that is hashed while it is written.
#[derive(Debug)]
struct Hashed {
    file: NamedTempFile,
    hasher: blake3::Hasher,
}

/// A file that is written and synced, but still has its temporary name.
#[derive(Debug)]
pub struct Synced {
    path: PathBuf,
    replaces: bool,
    file: NamedTempFile,
    digest: Digest,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.buffer.write_all(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.buffer.flush()
    }
}

impl Draft {
    /// Begins the file that will be `path`; creates its folder.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let buffer =
            BufWriter::with_capacity(1 << 20, Hashed { file: temporary(path)?, hasher: blake3::Hasher::new() });
        Ok(Self { path: path.to_path_buf(), old: None, buffer })
    }

    /// The same for a file of the user's: the new one gets the permissions and the owner of the old one.
    pub fn replace(path: &Path) -> Result<Self, FileError> {
        Ok(Self { old: std::fs::metadata(path).ok(), ..Self::create(path)? })
    }

    /// Ends the writing; all bytes are on the disk afterwards.
    pub fn sync(self) -> Result<Synced, FileError> {
        let Self { path, old, buffer } = self;
        let synced = (|| {
            let Hashed { file, hasher } = buffer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            if let Some(old) = &old {
                keep_rights(file.as_file(), old)?;
            }
            file.as_file().sync_all()?;
            Ok((file, hasher))
        })();
        let (file, hasher) = synced.map_err(FileError::write(&path))?;
        let digest = hasher.finalize().to_hex().to_string();
        Ok(Synced { path, replaces: old.is_some(), file, digest, bytes: hasher.count() })
    }
}

impl Synced {
    /// Copies the file `from`, to be renamed to `path`. File systems that can share blocks between files do so; the
    /// hash is that of the copy.
    pub fn copy(from: &Path, path: &Path) -> Result<Self, FileError> {
        let (file, mut hasher) = (temporary(path)?, blake3::Hasher::new());
        std::fs::copy(from, file.path()).map_err(FileError::write(path))?;
        let copied = File::open(file.path()).and_then(|copy| {
            hasher.update_reader(&copy)?;
            copy.sync_all()
        });
        copied.map_err(FileError::write(path))?;
        let digest = hasher.finalize().to_hex().to_string();
        Ok(Self { path: path.to_path_buf(), replaces: false, file, digest, bytes: hasher.count() })
    }

    /// The hash of what was written.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its temporary path.
    pub fn draft(&self) -> &Path {
        self.file.path()
    }

    /// Gives the file its name.
    pub fn rename(self) -> Result<Digest, FileError> {
        let Self { path, replaces, file, digest, .. } = self;
        if let Err(error) = file.persist(&path) {
            // a file that is a mount point, as in a container, cannot be replaced by a rename
            if !replaces || error.error.kind() != ErrorKind::ResourceBusy {
                return Err(FileError::write(&path)(error.error));
            }
            std::fs::copy(error.file.path(), &path).map_err(FileError::write(&path))?;
        }
        sync_folder(folder(&path));
        Ok(digest)
    }
}

/// A temporary file in the folder of `path`; creates the folder.
fn temporary(path: &Path) -> Result<NamedTempFile, FileError> {
    let folder = folder(path);
    std::fs::create_dir_all(folder).map_err(FileError::write(path))?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // before the umask
    builder.prefix(TEMPORARY).rand_bytes(RANDOM).tempfile_in(folder).map_err(FileError::write(path))
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// Gives `file` the permissions of `old`, and its owner if the system allows it.
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

/// Writes bytes to `path`.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<Digest, FileError> {
    let mut draft = Draft::create(path)?;
    draft.write_all(bytes).map_err(FileError::write(path))?;
    draft.sync()?.rename()
}

/// Writes `value` as indented JSON to `path`.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|error| FileError::Json { path: path.to_path_buf(), error })?;
    text.push(b'\n');
    write_bytes(path, &text).map(|_| ())
}

/// True for temporary names of a [`Draft`].
pub fn is_temporary(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY));
    random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Makes a rename in `folder` durable, where the file system can sync folders.
pub fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        folder.sync_all().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_that_is_dropped_leaves_the_old_file_and_no_rest() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a/b.json");
        write_json(&path, &[1, 2]).expect("written");
        let mut draft = Draft::create(&path).expect("begun");
        draft.write_all(b"half").expect("written");
        drop(draft);
        drop(Draft::create(&path).expect("begun").sync().expect("synced"));
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), "[\n  1,\n  2\n]\n");
        assert_eq!(std::fs::read_dir(dir.path().join("a")).expect("folder").count(), 1);
    }
}
