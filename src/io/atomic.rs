//! A file is there whole or not at all: written under a temporary name in its own folder, synced, renamed, the folder synced.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::IoError;

/// How temporary names begin; whatever bears one after a crash may be deleted.
pub const TEMPORARY: &str = ".writing-";
/// Letters and digits after that.
const RANDOM: usize = 6;

/// Writes `path` by `fill`; creates its folder. On an error nothing is left behind and an older file stays as it was.
pub fn write<E: From<IoError>>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&File>) -> Result<(), E>,
) -> Result<(), E> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(IoError::write(path))?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // the umask takes off what it must
    let temporary = builder.prefix(TEMPORARY).rand_bytes(RANDOM).tempfile_in(folder).map_err(IoError::write(path))?;
    let mut buffer = BufWriter::with_capacity(1 << 20, temporary.as_file());
    fill(&mut buffer)?;
    buffer.flush().map_err(IoError::write(path))?;
    drop(buffer);
    temporary.as_file().sync_all().map_err(IoError::write(path))?;
    temporary.persist(path).map_err(|error| IoError::write(path)(error.error))?;
    sync_folder(folder);
    Ok(())
}

/// Writes bytes.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    write(path, |file| file.write_all(bytes).map_err(IoError::write(path)))
}

/// Writes `value` as indented JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), IoError> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|error| IoError::Json { path: path.to_path_buf(), error })?;
    text.push(b'\n');
    write_bytes(path, &text)
}

/// True for the names that [`write`] gives for a while.
pub fn is_temporary(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY));
    random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Makes a rename in `folder` durable; file systems that cannot do it are left to their own ways.
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
        let failed: Result<(), IoError> = write(&path, |file| {
            file.write_all(b"half").map_err(IoError::write(Path::new("x")))?;
            Err(IoError::Table { path: "x".into(), reason: "stop".into() })
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), "[\n  1,\n  2\n]\n");
        assert_eq!(std::fs::read_dir(dir.path().join("a")).expect("folder").count(), 1);
    }
}
