//! The content of the lock file: the process that holds the run folder, and the time of its last heartbeat.
//!
//! The operating system's lock ends with its process, and suffices on a single machine. Network file systems are
//! unreliable: some ignore locks, some keep those of a machine that is gone. Therefore the holder also writes its name
//! into the file and repeats this every few seconds. All times are those of the file system, so that the machines'
//! clocks need not agree.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use serde::{Deserialize, Serialize};

/// The time between two heartbeats.
const BEAT: Duration = Duration::from_secs(5);
/// The time without a heartbeat after which a holder on another machine counts as dead.
pub const SILENCE: Duration = Duration::from_secs(30);

/// A process that holds a run folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    host: String,
    /// Distinguishes machines with the same name, and different boots of one machine.
    machine: String,
    process: u32,
}

impl Holder {
    /// The holder for this process.
    pub fn this() -> Self {
        let line = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_string());
        let named = || ["HOSTNAME", "COMPUTERNAME"].iter().find_map(|name| std::env::var(name).ok());
        let host = line("/proc/sys/kernel/hostname").or_else(named).unwrap_or_else(|| "unknown".to_string());
        let machine = line("/proc/sys/kernel/random/boot_id").unwrap_or_else(|| host.clone());
        Self { host, machine, process: std::process::id() }
    }

    /// Reads the holder from a lock file; none if no process holds it.
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Whether both run on the same machine since the same boot.
    pub fn is_beside(&self, other: &Self) -> bool {
        self.machine == other.machine
    }

    /// Writes the holder into the lock file without replacing the file, since the system's lock belongs to it.
    pub fn write(&self, mut file: &File) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        file.rewind()?;
        file.write_all(&text)?;
        file.set_len(text.len() as u64)?;
        file.sync_data()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "process {} on {}", self.process, self.host)
    }
}

/// The time since the file `path` was written, by the file system's clock.
pub fn age(path: &Path) -> io::Result<Duration> {
    let now = tempfile::tempfile_in(path.parent().unwrap_or(Path::new(".")))?.metadata()?.modified()?;
    Ok(now.duration_since(std::fs::metadata(path)?.modified()?).unwrap_or_default())
}

/// A thread that writes heartbeats until it is dropped, or until another process has taken over the lock file.
#[derive(Debug)]
pub struct Heart {
    lost: Arc<AtomicBool>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    /// Writes `holder` into the lock file every few seconds.
    pub fn start(path: PathBuf, file: File, holder: Holder) -> io::Result<Self> {
        let lost = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = bounded::<()>(0);
        let raised = lost.clone();
        let beat = move || {
            while stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                if Holder::read(&path).is_some_and(|other| other != holder) {
                    raised.store(true, Ordering::Relaxed);
                    return;
                }
                // errors of a full or missing disk are ignored here; other writes report them
                holder.write(&file).ok();
            }
            // an empty file means that no process holds the folder
            file.set_len(0).ok();
        };
        let thread = std::thread::Builder::new().name("lease".into()).spawn(beat)?;
        Ok(Self { lost, stop: Some(stop), thread: Some(thread) })
    }

    /// Whether another process holds the folder now, since this one wrote no heartbeat for too long.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_read_as_it_was_written_and_gone_with_its_heart() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("lock");
        let (holder, long) = (Holder::this(), Holder { host: "h".repeat(99), ..Holder::this() });
        let file = File::create(&path).expect("created");
        assert_eq!(Holder::read(&path), None);
        for one in [&long, &holder] {
            one.write(&file).expect("written");
            assert_eq!(Holder::read(&path).as_ref(), Some(one));
        }
        assert!(age(&path).expect("a time") < Duration::from_secs(5));
        let heart = Heart::start(path.clone(), file, holder).expect("started");
        assert!(!heart.is_lost());
        drop(heart);
        assert_eq!(Holder::read(&path), None);
    }

    #[test]
    fn no_newline_or_empty_text_is_no_holder() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("lock");
        for text in ["", "\n", "{\"host\": 1}"] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(Holder::read(&path), None, "{text:?}");
        }
    }
}
