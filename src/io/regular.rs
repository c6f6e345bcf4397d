//! Files that are opened without waiting: opening a FIFO without a writer would never return, and a device has no end.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Opens the file at `path` to be read; fails where a folder, a FIFO, a socket or a device is in its place.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    // the open file is asked, since its name may lead somewhere else by now
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    let reason = "a folder, a FIFO, a socket or a device is in the place of a file; expected a regular file";
    Err(io::Error::other(reason))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_file_is_refused_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let fifo = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("started").success());
        for path in [&*fifo, dir.path(), Path::new("/dev/zero")] {
            let error = open(path).expect_err("no file").to_string();
            assert!(error.contains("expected a regular file"), "{}: {error}", path.display());
        }
        let file = dir.path().join("file");
        std::fs::write(&file, b"x").expect("written");
        assert!(open(&file).is_ok());
    }
}
