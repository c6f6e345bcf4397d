//! The lock that allows only one process at a time to work in a run folder: the operating system's lock, and a lease
//! for file systems on which that is unreliable.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::lease::{Heart, Holder, SILENCE, age};
use super::{Owner, RunDir, StoreError};
use crate::io::{IoError, atomic};

/// The time that a start waits for the lock: a killed process holds it until the system has freed its memory.
const PATIENCE: Duration = Duration::from_millis(1500);
/// The time after which two processes that took over the same lease have both written their names.
const SETTLING: Duration = Duration::from_secs(1);
/// The age at which a temporary file among the shards counts as abandoned: writing a table takes minutes at most.
const ABANDONED: Duration = Duration::from_secs(3600);

/// The lock of a run folder. The system releases it when the process dies; if the system does not, the lease expires.
#[derive(Debug)]
pub struct Lock {
    /// None if nothing can be written. It is dropped before the file, whose closing releases the system's lock.
    heart: Option<Heart>,
    _file: Option<File>,
    dir: RunDir,
    /// The folders and the lock file that this process created.
    created: Vec<PathBuf>,
    /// The error that prevents writing to the folder.
    read_only: Option<Error>,
}

impl Lock {
    /// Creates the folder, takes the lock and removes the temporary files of a killed run. A run in a read-only folder
    /// can still be read, see [`writable`](Self::writable).
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
        let is_locked = file.as_ref().map(|file| wait(file, dir)).transpose()?;
        if file.as_ref().is_some_and(|file| !is_at(file, &path)) {
            // The process that held the lock has just deleted the lock file.
            return Self::take(dir);
        }
        let heart = match file.as_ref().zip(is_locked).filter(|_| read_only.is_none()) {
            Some((file, is_locked)) => Some(lease(file, is_locked, dir)?),
            None => None,
        };
        sweep(dir);
        Ok(Self { heart, _file: file, dir: dir.clone(), created, read_only })
    }

    /// Returns an error if nothing can be written to the folder, or if another process has taken it over.
    pub fn writable(&self) -> Result<(), StoreError> {
        if self.heart.as_ref().is_some_and(Heart::is_lost) {
            return Err(locked(&self.dir));
        }
        let Some(error) = &self.read_only else { return Ok(()) };
        let error = error.raw_os_error().map_or_else(|| Error::from(error.kind()), Error::from_raw_os_error);
        Err(IoError::write(&self.dir.lock())(error).into())
    }
}

/// Waits for the system's lock. True if this process has it; false if the file system has no locks, or keeps the lock
/// of a machine that is gone.
fn wait(file: &File, dir: &RunDir) -> Result<bool, StoreError> {
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => match Holder::read(&dir.lock()) {
                // a holder on this machine is alive, even without a heartbeat
                Some(holder) if !holder.is_beside(&Holder::this()) && is_silent(dir) => return Ok(false),
                _ => return Err(locked(dir)),
            },
            Err(TryLockError::Error(error)) if is_unsupported(&error) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(IoError::write(&dir.lock())(error).into()),
        }
    }
}

/// Writes this process into the lock file. A holder whose system lock this process cannot see keeps the folder until
/// its heartbeat has stopped.
fn lease(file: &File, is_locked: bool, dir: &RunDir) -> Result<Heart, StoreError> {
    let path = dir.lock();
    let failed = |error| StoreError::from(IoError::write(&path)(error));
    let this = Holder::this();
    let there = Holder::read(&path).filter(|there| !(is_locked && there.is_beside(&this)));
    if there.is_some() && !is_silent(dir) {
        return Err(locked(dir));
    }
    this.write(file).map_err(failed)?;
    if !is_locked || there.is_some() {
        thread::sleep(SETTLING);
        if Holder::read(&path).as_ref() != Some(&this) {
            return Err(locked(dir));
        }
    }
    Heart::start(path.clone(), file.try_clone().map_err(failed)?, this).map_err(failed)
}

/// Whether the last heartbeat is so old that the holder counts as dead.
fn is_silent(dir: &RunDir) -> bool {
    age(&dir.lock()).is_ok_and(|age| age >= SILENCE)
}

/// The error that names the process which holds the folder.
fn locked(dir: &RunDir) -> StoreError {
    let holder = Holder::read(&dir.lock()).map_or_else(String::new, |holder| {
        let seconds = age(&dir.lock()).unwrap_or_default().as_secs();
        format!(" ({holder}, last sign of life {seconds} s ago)")
    });
    StoreError::Locked { dir: dir.root().to_path_buf(), holder }
}

/// Whether the file system has no locks.
fn is_unsupported(error: &Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::ENOLCK) {
        return true;
    }
    error.kind() == ErrorKind::Unsupported
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

/// Deletes the temporary files of a killed run. While the lock is held, they belong to no other process, except those
/// among the shards, which workers on other machines may be writing: these are kept for an hour. In a folder without a
/// run, temporary files are kept, since they may belong to another program.
fn sweep(dir: &RunDir) {
    let is_run = Owner::of(dir).is_run();
    for folder in dir.folders().iter().filter(|folder| is_run || **folder == dir.store()) {
        if folder != dir.root() && folder.is_symlink() {
            continue;
        }
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let is_left = |path: &Path| *folder != dir.shards() || age(path).is_ok_and(|age| age >= ABANDONED);
        for entry in entries.filter(|entry| atomic::is_temporary(&entry.file_name())) {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) && is_left(&entry.path()) {
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
        drop(Lock::take(&dir).expect("free"));
        assert_eq!(left(), 1, "a worker may be writing among the shards");
        set_age(&dir.shards().join(".writing-aB3xyz"), ABANDONED);
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

    fn set_age(path: &Path, age: Duration) {
        let file = File::options().append(true).open(path).expect("there");
        file.set_modified(std::time::SystemTime::now() - age).expect("set");
    }

    #[test]
    fn a_lease_of_another_machine_holds_until_it_is_silent() {
        let temp = tempfile::tempdir().expect("folder");
        let dir = RunDir::new(temp.path().join("run"));
        Owner::of(&dir).claim(&Claims::default()).expect("written");
        let text = r#"{"host": "far", "machine": "another", "process": 7}"#;
        std::fs::write(dir.lock(), text).expect("written");
        let told = Lock::take(&dir).expect_err("held").to_string();
        assert!(told.contains("process 7 on far, last sign of life 0 s ago"), "{told}");
        // the clock of a file system may lag by some milliseconds
        set_age(&dir.lock(), SILENCE + Duration::from_secs(1));
        let lock = Lock::take(&dir).expect("the machine is dead");
        assert_eq!(Holder::read(&dir.lock()), Some(Holder::this()));
        drop(lock);
        assert_eq!(std::fs::read(dir.lock()).expect("there"), b"", "nobody holds it");
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
