//! JSON files that contain their own hash, so that damaged files are detected.
//!
//! The last key of the object is `blake3`, the hash of all bytes before it. A file without this key was written by a
//! version that did not write hashes.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Digest, IoError, atomic};

const BEFORE: &str = ",\n  \"blake3\": \"";
const AFTER: &str = "\"\n}\n";
const DIGITS: usize = 64;

/// Writes `value`, which must be an object, as indented JSON with its hash.
pub fn write(path: &Path, value: &impl Serialize) -> Result<Digest, IoError> {
    put(path, serde_json::to_vec_pretty(value))
}

/// Writes `value` on one line, for files that users do not read.
pub fn write_compact(path: &Path, value: &impl Serialize) -> Result<Digest, IoError> {
    put(path, serde_json::to_vec(value))
}

fn put(path: &Path, text: serde_json::Result<Vec<u8>>) -> Result<Digest, IoError> {
    let mut text = text.map_err(IoError::json(path))?;
    text.pop(); // the closing brace follows the hash
    text.truncate(text.trim_ascii_end().len());
    let hash = blake3::hash(&text).to_hex();
    text.extend([BEFORE, hash.as_str(), AFTER].concat().bytes());
    atomic::write_bytes(path, &text)
}

/// Reads a file that [`write()`] wrote, and returns an error if its content has changed.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, IoError> {
    let text = std::fs::read(path).map_err(IoError::read(path))?;
    if is_broken(&text) {
        return Err(IoError::Damaged { path: path.to_path_buf() });
    }
    serde_json::from_slice(&text)
        .map_err(|error| IoError::Table { path: path.to_path_buf(), reason: error.to_string() })
}

/// Whether the hash at the end of the file is not that of the bytes before it; false for a file without such an end.
fn is_broken(text: &[u8]) -> bool {
    let end = BEFORE.len() + DIGITS + AFTER.len();
    let Some((body, seal)) = text.len().checked_sub(end).map(|at| text.split_at(at)) else { return false };
    let digits = seal.strip_prefix(BEFORE.as_bytes()).and_then(|rest| rest.strip_suffix(AFTER.as_bytes()));
    digits.is_some_and(|digits| digits != blake3::hash(body).to_hex().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn no_flipped_bit_changes_a_value() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.json");
        let value = json!({"accuracy": 0.875, "classes": ["a", "b"], "n": 12});
        for compact in [false, true] {
            if compact { write_compact(&path, &value) } else { write(&path, &value) }.expect("written");
            let whole = std::fs::read(&path).expect("read");
            let plain: Value = serde_json::from_slice(&whole).expect("JSON for everybody");
            assert_eq!((&plain["n"], &plain["blake3"].as_str().map(str::len)), (&json!(12), &Some(64)));
            for bit in 0..whole.len() * 8 {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                std::fs::write(&path, &flipped).expect("written");
                if let Ok(mut read) = read::<Value>(&path) {
                    for (key, expected) in value.as_object().expect("an object") {
                        assert_eq!(read[key].take(), *expected, "bit {bit}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_file_without_a_hash_is_read() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.json");
        atomic::write_json(&path, &json!({"n": 1})).expect("written");
        assert_eq!(read::<Value>(&path).expect("read")["n"], 1);
        std::fs::write(&path, "{}").expect("written");
        assert_eq!(read::<Value>(&path).expect("read"), json!({}));
    }
}
