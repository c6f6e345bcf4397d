//! Tells whether a file is still the one that was extracted: by its stamp, and by its contents if the stamp has
//! changed.

use std::fs::Metadata;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that was changed less than this before it was listed may change again within the same tick of the file
/// system's clock.
const TICK: Duration = Duration::from_secs(2);

/// Hash of the metadata of a file: size, modification time, and on Unix the inode and its change time, which no program
/// can set back. If it is the same, so are the contents. A file that was changed just now has the stamp 0; no other
/// file has it.
pub fn stamp(metadata: &Metadata) -> u64 {
    let [bytes, modified, changed, inode] = facts(metadata);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    if changed.abs_diff(since) < TICK.as_nanos() as u64 {
        return 0;
    }
    let mut hasher = blake3::Hasher::new();
    [bytes, modified, changed, inode].iter().for_each(|fact| {
        hasher.update(&fact.to_le_bytes());
    });
    first_eight(&hasher.finalize()).max(1)
}

/// The first eight bytes of a hash, as a little-endian number.
pub fn first_eight(hash: &blake3::Hash) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| hash.as_bytes()[i]))
}

/// Modification time in nanoseconds since 1970.
pub fn modified(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |time| time.as_nanos() as u64)
}

/// Size, modification time, change time of the inode, inode.
#[cfg(unix)]
fn facts(metadata: &Metadata) -> [u64; 4] {
    use std::os::unix::fs::MetadataExt;
    let changed = metadata.ctime().wrapping_mul(1_000_000_000).wrapping_add(metadata.ctime_nsec());
    [metadata.len(), modified(metadata), changed as u64, metadata.ino()]
}

#[cfg(not(unix))]
fn facts(metadata: &Metadata) -> [u64; 4] {
    let created = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified(metadata);
    [metadata.len(), modified, modified, created.map_or(0, |time| time.as_nanos() as u64)]
}

/// The contents of a file, if they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contents {
    /// It has not been read, or by a version that did not note contents.
    #[default]
    Unknown,
    /// It could not be read.
    Unread,
    /// The first half of their BLAKE3 hash.
    Hash([u8; 16]),
}

impl Contents {
    /// The contents `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::hashed(&blake3::hash(bytes))
    }

    /// The contents that have this hash.
    pub fn hashed(hash: &blake3::Hash) -> Self {
        Self::Hash(std::array::from_fn(|i| hash.as_bytes()[i]))
    }

    /// The encoding in the store.
    pub fn to_bytes(self) -> [u8; 16] {
        match self {
            Self::Unknown => [0xff; 16],
            Self::Unread => [0; 16],
            Self::Hash(hash) => hash,
        }
    }

    /// Decodes the encoding in the store.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        [Self::Unknown, Self::Unread].into_iter().find(|known| known.to_bytes() == bytes).unwrap_or(Self::Hash(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_go_through_their_bytes() {
        for contents in [Contents::Unknown, Contents::Unread, Contents::of(b""), Contents::of(b"x")] {
            assert_eq!(Contents::from_bytes(contents.to_bytes()), contents);
        }
        assert_ne!(Contents::of(b""), Contents::of(b"x"));
    }

    #[cfg(unix)]
    #[test]
    fn a_stamp_sees_what_size_and_time_hide() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.jpg");
        let (old, put_back) = (UNIX_EPOCH + Duration::from_secs(1_000_000_000), |path: &std::path::Path| {
            let file = std::fs::File::options().append(true).open(path).expect("opened");
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("set");
            std::fs::metadata(path).expect("metadata")
        });
        std::fs::write(&path, b"abc").expect("written");
        let metadata = put_back(&path);
        assert_eq!(modified(&metadata), old.duration_since(UNIX_EPOCH).expect("later").as_nanos() as u64);
        assert_eq!(stamp(&metadata), 0, "it was changed just now");
        let before = facts(&metadata);
        std::thread::sleep(Duration::from_millis(20));
        std::fs::write(&path, b"xyz").expect("written");
        let after = facts(&put_back(&path));
        assert_eq!((before[0], before[1]), (after[0], after[1]));
        assert_ne!(before, after);
    }
}
