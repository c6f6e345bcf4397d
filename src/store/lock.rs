//! The lock by which only one process at a time works in a run folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::{Owner, RunDir, StoreError};
use crate::io::{IoError, atomic};

/// The lock of a run folder. The system releases it when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: Option<File>,
    dir: RunDir,
    /// The folders and the lock file, as far as this process created them.
    created: Vec<PathBuf>,
    /// The error that says why nothing can be written to the folder.
    read_only: Option<Error>,
}

impl Lock {
    /// Creates the folder, takes the lock and removes the temporary files of a killed run. A run in a folder that
    /// cannot be written to may still be read, see [`writable`](Self::writable).
    pub fn take(dir: &RunDir) -> Result<Self, StoreError> {
        if let Some(link) = dir.link_to(".store/shards") {
            return Err(StoreError::Foreign(vec![link]));
        }
        let path = dir.lock();
        let mut created = vec![dir.root().to_path_buf(), dir.store(), path.clone()];
        created.retain(|path| !path.exists());
        let (file, read_only) = match open(&path, dir) {
            Ok(file) => (Some(file), None),
            Err(error) if is_read_only(&error) && Owner::of(dir).is_run() => (File::open(&path).ok(), Some(error)),
            Err(error) => return Err(IoError::write(&path)(error).into()),
        };
        match file.as_ref().map(lock) {
            None | Some(Ok(())) => {}
            Some(Err(TryLockError::WouldBlock)) => return Err(StoreError::Locked(dir.root().to_path_buf())),
            Some(Err(TryLockError::Error(error))) => return Err(IoError::write(&path)(error).into()),
        }
        if file.as_ref().is_some_and(|file| !is_at(file, &path)) {
            // The process that held the lock has just deleted the lock file.
            return Self::take(dir);
        }
        sweep(dir);
        Ok(Self { _file: file, dir: dir.clone(), created, read_only })
    }

    /// Returns an error if nothing can be written to the folder.
    pub fn writable(&self) -> Result<(), StoreError> {
        let Some(error) = &self.read_only else { return Ok(()) };
        let error = error.raw_os_error().map_or_else(|| Error::from(error.kind()), Error::from_raw_os_error);
        Err(IoError::write(&self.dir.lock())(error).into())
    }
}

/// Deletes the folders and the lock file of a run that ended before it wrote anything.
impl Drop for Lock {
    fn drop(&mut self) {
        if self.created.contains(&self.dir.lock()) && !Owner::of(&self.dir).is_run() {
            std::fs::remove_file(self.dir.lock()).ok();
            for folder in self.created.iter().rev().skip(1) {
                std::fs::remove_dir(folder).ok();
            }
        }
    }
}

/// Tries for a second: a killed process holds its lock until the system has freed its memory.
fn lock(file: &File) -> Result<(), TryLockError> {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            result => return result,
        }
    }
}

fn open(path: &Path, dir: &RunDir) -> Result<File, Error> {
    std::fs::create_dir_all(dir.store())?;
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

fn is_read_only(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

/// Whether `path` still names the open `file`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().map(id).ok() == std::fs::metadata(path).map(id).ok()
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// Deletes the temporary files of a killed run. While the lock is held they belong to no other process; in a folder
/// without a run they may belong to somebody else and stay.
fn sweep(dir: &RunDir) {
    let is_run = Owner::of(dir).is_run();
    for folder in dir.folders().iter().filter(|folder| is_run || **folder == dir.store()) {
        if folder != dir.root() && folder.is_symlink() {
            continue;
        }
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| atomic::is_temporary(&entry.file_name())) {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                std::fs::remove_file(entry.path()).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Claims;

    #[test]
    fn the_second_is_refused_and_leftovers_are_swept() {
        let temp = tempfile::tempdir().expect("folder");
        let dir = RunDir::new(temp.path().join("run"));
        for folder in dir.folders() {
            std::fs::create_dir_all(&folder).expect("folder");
            std::fs::write(folder.join(".writing-aB3xyz"), b"half").expect("written");
            std::fs::write(folder.join(".writing-mine.txt"), b"mine").expect("written");
        }
        let left = || dir.folders().iter().filter(|folder| folder.join(".writing-aB3xyz").exists()).count();
        drop(Lock::take(&dir).expect("free"));
        assert_eq!(left(), 5, "in a folder without a run only the store is swept");
        Owner::of(&dir).claim(&Claims::default()).expect("written");
        let first = Lock::take(&dir).expect("free");
        assert_eq!(left(), 0);
        assert!(dir.folders().iter().all(|folder| folder.join(".writing-mine.txt").exists()));
        let text = Lock::take(&dir).expect_err("held").to_string();
        assert!(text.contains("another featurize is at work"), "{text}");
        let dying = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            drop(first);
        });
        Lock::take(&dir).expect("free within a second");
        dying.join().expect("no panic");
    }

    #[test]
    fn nothing_is_left_where_nothing_was_written() {
        let temp = tempfile::tempdir().expect("folder");
        let dir = RunDir::new(temp.path().join("run"));
        drop(Lock::take(&dir).expect("free"));
        assert!(!dir.root().exists());
        std::fs::create_dir(dir.root()).expect("folder");
        drop(Lock::take(&dir).expect("free"));
        assert!(dir.root().is_dir() && !dir.store().exists());
        let lock = Lock::take(&dir).expect("free");
        Owner::of(&dir).claim(&Claims::default()).expect("written");
        drop(lock);
        assert!(dir.lock().is_file());
    }

    #[cfg(unix)]
    #[test]
    fn no_lock_is_taken_through_a_link() {
        let temp = tempfile::tempdir().expect("folder");
        let dir = RunDir::new(temp.path().join("run"));
        std::fs::create_dir_all(dir.root()).expect("folder");
        std::fs::create_dir_all(temp.path().join("other")).expect("folder");
        std::os::unix::fs::symlink("../other", dir.store()).expect("link");
        let text = Lock::take(&dir).expect_err("a link").to_string();
        assert!(text.contains(".store"), "{text}");
        assert_eq!(std::fs::read_dir(temp.path().join("other")).expect("folder").count(), 0);
    }
}
