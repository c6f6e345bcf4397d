//! One process at a time in a run folder.

use std::fs::{File, OpenOptions, TryLockError};

use super::{RunDir, StoreError};
use crate::io::{IoError, atomic};

/// Held while a run works; the system takes it back when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Creates the folder, takes the lock and removes what a killed run left half-written.
    pub fn take(dir: &RunDir) -> Result<Self, StoreError> {
        let path = dir.lock();
        std::fs::create_dir_all(dir.store()).map_err(IoError::write(&path))?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(IoError::write(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(dir.root().to_path_buf())),
            Err(TryLockError::Error(error)) => return Err(IoError::write(&path)(error).into()),
        }
        sweep(dir);
        Ok(Self { _file: file })
    }
}

/// Temporary files of a run that was killed: nobody else can own them while the lock is ours.
fn sweep(dir: &RunDir) {
    for folder in dir.folders() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(atomic::TEMPORARY)) {
            std::fs::remove_file(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_leftovers_are_swept() {
        let temp = tempfile::tempdir().expect("folder");
        let dir = RunDir::new(temp.path().join("run"));
        std::fs::create_dir_all(dir.features()).expect("folder");
        let left = dir.features().join(".writing-abc");
        std::fs::write(&left, b"half").expect("written");
        let first = Lock::take(&dir).expect("free");
        assert!(!left.exists());
        let text = Lock::take(&dir).expect_err("held").to_string();
        assert!(text.contains("another featurize is at work"), "{text}");
        drop(first);
        Lock::take(&dir).expect("free again");
    }
}
