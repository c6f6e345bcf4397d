//! Opens regular files only. Opening a FIFO without a writer would block, and reading a device would not end.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Opens the file at `path` for reading; a folder, a FIFO, a socket or a device is an error.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    // the open file is checked, since the path may lead to another one by now
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
    fn folders_fifos_and_devices_are_refused_at_once() {
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
