//! The journal of an incomplete table: its rows are kept in the store, so that a killed run loses the last seconds of
//! its work and not the whole table.
//!
//! Each table has one journal, which is extended every few seconds and deleted once the table is written. It begins
//! with the hash of the settings that the features depend on. Each row that follows has a hash of its own; reading
//! stops at a torn or damaged row. A row belongs to the picture with the same path and contents.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::notes::Note;
use super::shard::Outcome;
use crate::io::IoError;
use crate::stages::scan::Contents;

/// The extension of the journals in the store.
pub const EXTENSION: &str = "rows";
const MAGIC: &[u8; 16] = b"featurize rows 1";
const HASH: usize = 16;

/// A picture and its outcome; `features` is empty where it failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub note: Note,
    pub outcome: Outcome,
    pub features: Vec<f32>,
}

/// The rows of a table that is being filled.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Journal {
    /// Starts the file `path` anew, for rows computed with these settings.
    pub fn create(path: &Path, settings: &str) -> Result<Self, IoError> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path);
        let mut file = BufWriter::with_capacity(1 << 20, file.map_err(IoError::write(path))?);
        let key = blake3::hash(settings.as_bytes());
        file.write_all(MAGIC).and_then(|()| file.write_all(key.as_bytes())).map_err(IoError::write(path))?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Opens a file of which `sound` bytes are intact, to append rows to them.
    pub fn resume(path: &Path, sound: u64) -> Result<Self, IoError> {
        let open = || {
            let mut file = OpenOptions::new().write(true).open(path)?;
            file.set_len(sound)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = BufWriter::with_capacity(1 << 20, open().map_err(IoError::write(path))?);
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Appends a row; it is in the file after the next [`flush`](Self::flush).
    pub fn append(&mut self, note: Note, outcome: &Outcome, features: &[f32]) -> Result<(), IoError> {
        let outcome = serde_json::to_vec(outcome).map_err(IoError::json(&self.path))?;
        let mut row = Vec::with_capacity(64 + outcome.len() + size_of_val(features));
        row.extend([outcome.len() as u64, features.len() as u64, note.path, note.stamp].map(u64::to_le_bytes).concat());
        row.extend(note.contents.to_bytes());
        row.extend(outcome);
        features.iter().for_each(|value| row.extend(value.to_le_bytes()));
        let hash = blake3::hash(&row);
        row.extend(&hash.as_bytes()[..HASH]);
        self.file.write_all(&row).map_err(IoError::write(&self.path))
    }

    /// Hands all rows to the operating system, which writes them even if this process is killed.
    pub fn flush(&mut self) -> Result<(), IoError> {
        self.file.flush().map_err(IoError::write(&self.path))
    }

    /// Removes the file: its rows are in a table.
    pub fn remove(self) {
        let Self { path, file } = self;
        // some systems do not remove a file that is open
        drop(file);
        std::fs::remove_file(path).ok();
    }
}

/// Reads the intact rows of a file and the offset of their end; none if the file was written with other settings.
pub fn read(path: &Path, settings: &str) -> Option<(Vec<Row>, u64)> {
    let bytes = std::fs::read(path).ok()?;
    let key = blake3::hash(settings.as_bytes());
    let mut rest = bytes.strip_prefix(MAGIC)?.strip_prefix(key.as_bytes())?;
    let rows = rows(&mut rest);
    Some((rows, (bytes.len() - rest.len()) as u64))
}

/// Reads the notes of the pictures in a file, whatever its settings: contents do not depend on settings.
pub fn notes(path: &Path) -> Vec<Note> {
    let Ok(bytes) = std::fs::read(path) else { return Vec::new() };
    let rest = bytes.strip_prefix(MAGIC).and_then(|rest| rest.get(blake3::OUT_LEN..));
    rest.map_or_else(Vec::new, |mut rest| rows(&mut rest).into_iter().map(|row| row.note).collect())
}

fn rows(rest: &mut &[u8]) -> Vec<Row> {
    std::iter::from_fn(|| take(rest)).collect()
}

/// Takes the next row; none at the end of the file or at a damaged row.
fn take(rest: &mut &[u8]) -> Option<Row> {
    let number = |i: usize| rest.get(8 * i..8 * i + 8)?.try_into().ok().map(u64::from_le_bytes);
    let [outcome, features] = [number(0)?, number(1)?].map(|n| usize::try_from(n).ok());
    let start = 4 * size_of::<u64>() + HASH;
    let values = start.checked_add(outcome?)?;
    let end = features?.checked_mul(size_of::<f32>()).and_then(|bytes| values.checked_add(bytes))?;
    let (row, hash) = (rest.get(..end)?, rest.get(end..end.checked_add(HASH)?)?);
    if blake3::hash(row).as_bytes()[..HASH] != *hash {
        return None;
    }
    let contents = Contents::from_bytes(row[start - HASH..start].try_into().ok()?);
    let note = Note { path: number(2)?, stamp: number(3)?, contents };
    let outcome = serde_json::from_slice(&row[start..values]).ok()?;
    let features = row[values..].as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    *rest = &rest[end + HASH..];
    Some(Row { note, outcome, features })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(i: u8) -> Row {
        let note = Note { path: u64::from(i), stamp: 7, contents: Contents::of(&[i]) };
        if i == 2 {
            let outcome = Outcome::Failed { kind: "empty".into(), error: "no bytes".into(), sha256: None };
            return Row { note, outcome, features: Vec::new() };
        }
        let features = vec![f32::from(i), f32::MIN_POSITIVE / 2.0, -0.0];
        Row { note, outcome: Outcome::Ok { width: 3, height: 4, sha256: None }, features }
    }

    #[test]
    fn rows_come_back_to_the_bit_and_a_torn_or_damaged_end_is_left() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.rows");
        let expected: Vec<Row> = (0..4).map(row).collect();
        let mut journal = Journal::create(&path, "settings").expect("created");
        let mut ends = vec![48];
        for row in &expected {
            journal.append(row.note, &row.outcome, &row.features).expect("appended");
            journal.flush().expect("flushed");
            ends.push(std::fs::metadata(&path).expect("metadata").len() as usize);
        }
        let sound = |path: &Path| read(path, "settings").map_or_else(Vec::new, |(rows, _)| rows);
        assert_eq!(read(&path, "settings"), Some((expected.clone(), ends[4] as u64)));
        assert!(read(&path, "others").is_none());
        assert_eq!(notes(&path), expected.iter().map(|row| row.note).collect::<Vec<_>>());
        let whole = std::fs::read(&path).expect("read");
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).expect("written");
            let whole = ends.iter().filter(|&&end| end <= length).count().saturating_sub(1);
            assert_eq!(sound(&path), expected[..whole], "{length}");
        }
        for bit in (0..whole.len() * 8).step_by(3) {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &flipped).expect("written");
            let whole = ends.iter().filter(|&&end| end <= bit / 8).count().saturating_sub(1);
            assert_eq!(sound(&path), expected[..whole], "bit {bit}");
        }
        // new rows go behind the intact ones
        std::fs::write(&path, &whole[..whole.len() - 1]).expect("written");
        let (rows, end) = read(&path, "settings").expect("of these settings");
        assert_eq!((rows.len(), end), (3, ends[3] as u64));
        let mut journal = Journal::resume(&path, end).expect("opened");
        journal.append(expected[3].note, &expected[3].outcome, &expected[3].features).expect("appended");
        journal.flush().expect("flushed");
        assert_eq!(std::fs::read(&path).expect("read"), whole);
        journal.remove();
        assert!(!path.exists());
    }
}
