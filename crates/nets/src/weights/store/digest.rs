//! Hashes of files: the expected ones, the computed ones, and a record beside each file, so that it need not be hashed
//! every time.

use std::fmt;
use std::fs::Metadata;
use std::io::Read;
use std::path::Path;
use std::time::UNIX_EPOCH;

use md5::Md5;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::{atomic, regular};
use crate::models::spec::Hash;

/// The known hash of a file, in lower-case hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// SHA-256 or its first digits.
    pub sha256: Option<String>,
    /// All digits of MD5.
    pub md5: Option<String>,
}

impl From<Hash> for Expected {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Sha256(digits) => Self { sha256: Some(digits.to_ascii_lowercase()), md5: None },
            Hash::Md5(digits) => Self { sha256: None, md5: Some(digits.to_ascii_lowercase()) },
            Hash::Unknown => Self::default(),
        }
    }
}

/// The hashes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::weights) struct Digests {
    pub sha256: String,
    pub md5: Option<String>,
}

/// A hash that differs from the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The kind of hash.
    pub kind: &'static str,
    /// The published one, in hexadecimal.
    pub expected: String,
    /// The hash of the file.
    pub found: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its {} is {}, expected {}", self.kind, self.found, self.expected)
    }
}

impl Expected {
    /// True if no hash is known.
    pub(super) fn is_empty(&self) -> bool {
        self.sha256.is_none() && self.md5.is_none()
    }

    /// True if all 256 bits are known: then the source of the bytes need not be trusted.
    pub(super) fn is_full(&self) -> bool {
        self.sha256.as_ref().is_some_and(|digits| digits.len() == 64)
    }

    /// Hashes the file at `path`; an error of `look` ends that.
    pub(super) fn digest(&self, path: &Path, look: &mut Look<'_>) -> std::io::Result<Digests> {
        digest(path, self.md5.is_some(), look)
    }

    /// An error for the first hash that differs; an MD5 that was not computed counts as different.
    pub(super) fn compare(&self, digests: &Digests) -> Result<(), Mismatch> {
        if let Some(expected) = self.sha256.as_ref().filter(|digits| !digests.sha256.starts_with(*digits)) {
            let (expected, found) = (expected.clone(), digests.sha256.clone());
            return Err(Mismatch { kind: "SHA-256", expected, found });
        }
        let found = digests.md5.as_ref();
        if let Some(expected) = self.md5.as_ref().filter(|digits| found != Some(digits)) {
            let (expected, found) = (expected.clone(), found.cloned().unwrap_or_default());
            return Err(Mismatch { kind: "MD5", expected, found });
        }
        Ok(())
    }
}

/// The record of a file, written when it was last hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its source: a URL, or the path of an imported file.
    pub from: String,
    pub sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    pub bytes: u64,
    /// The file's modification time, in nanoseconds since 1970; if it differs, the record is out of date.
    pub modified: u64,
    /// The commit of a file on the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

impl Record {
    /// The record of the file with these `digests` and `metadata`.
    pub(super) fn new(from: &str, digests: Digests, metadata: &Metadata) -> Self {
        let Digests { sha256, md5 } = digests;
        let (bytes, modified) = (metadata.len(), modified(metadata));
        Self { from: from.to_string(), sha256, md5, bytes, modified, commit: None }
    }

    /// Writes the record. Errors are ignored: without a record, as in a read-only folder, the file is only hashed
    /// again.
    pub(super) fn write(&self, path: &Path) {
        atomic::write_json(path, self).ok();
    }

    /// True if the file is unchanged since; false if its modification time is unknown.
    pub(super) fn is_of(&self, metadata: &Metadata) -> bool {
        self.modified != 0 && self.bytes == metadata.len() && self.modified == modified(metadata)
    }

    /// Its hashes.
    pub(super) fn digests(&self) -> Digests {
        Digests { sha256: self.sha256.clone(), md5: self.md5.clone() }
    }
}

/// The record at `path`, if there is a valid one.
pub(super) fn read_record<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn modified(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// Called repeatedly while a file is hashed; its error ends that.
pub(in crate::weights) type Look<'a> = dyn FnMut() -> std::io::Result<()> + 'a;

/// Hashes the file at `path`, by MD5 only if `md5`; an error of `look` ends that.
pub(in crate::weights) fn digest(path: &Path, md5: bool, look: &mut Look<'_>) -> std::io::Result<Digests> {
    let mut file = regular::open(path)?;
    let (mut sha256, mut md5) = (Sha256::new(), md5.then(Md5::new));
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        look()?;
        sha256.update(&buffer[..n]);
        if let Some(md5) = &mut md5 {
            md5.update(&buffer[..n]);
        }
    }
    Ok(Digests { sha256: hex(&sha256.finalize()), md5: md5.map(|md5| hex(&md5.finalize())) })
}

/// Bytes in lower-case hexadecimal.
pub(in crate::weights) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
