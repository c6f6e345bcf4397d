//! The record of a stage: its fingerprint, its files, and the numbers that `run.json` repeats.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RunDir;
use crate::io::{self, Digest, IoError, sealed};
use crate::stage::StageId;

/// A file of a stage; the name is relative to the run folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    pub file: String,
    pub bytes: u64,
    /// The hash of the content; none in records of version 0.3.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Digest>,
}

/// The record, which is written after all files of the stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub stage: String,
    pub fingerprint: String,
    /// The settings that the fingerprint covers, by which a later run tells the setting that changed.
    pub settings: Value,
    pub files: Vec<OutputFile>,
    /// The stage's own results.
    pub result: Value,
    /// The seconds that the stage took when it was last computed.
    pub seconds: f64,
    /// The peak memory of the process during the stage, in MB; none if the system does not report it.
    #[serde(default)]
    pub peak_memory_mb: Option<u64>,
}

impl Record {
    /// Reads the record of `stage`; none where it is missing or damaged.
    pub fn read(dir: &RunDir, stage: StageId) -> Option<Self> {
        sealed::read(&dir.record(stage)).ok()
    }

    /// Returns the entry of the file `path`.
    pub fn file(&self, dir: &RunDir, path: &Path) -> Option<&OutputFile> {
        let name = dir.name_of(path);
        self.files.iter().find(|output| output.file == name)
    }

    /// Writes the record, which commits the stage.
    pub fn write(&self, dir: &RunDir, stage: StageId) -> Result<(), IoError> {
        sealed::write(&dir.record(stage), self).map(|_| ())
    }

    /// Deletes the files of the record, and their folders if these are empty afterwards. A file name that no run can
    /// have written is ignored.
    pub fn delete_files(&self, dir: &RunDir) {
        for path in self.files.iter().filter_map(|output| dir.own_file(&output.file)) {
            std::fs::remove_file(&path).ok();
            if let Some(folder) = path.parent().filter(|folder| *folder != dir.root()) {
                std::fs::remove_dir(folder).ok();
            }
        }
    }

    /// Returns its first file that is missing or has another size.
    pub fn damaged(&self, dir: &RunDir) -> Option<&OutputFile> {
        let whole = |output: &OutputFile| {
            std::fs::metadata(dir.root().join(&output.file)).is_ok_and(|found| found.len() == output.bytes)
        };
        self.files.iter().find(|output| !whole(output))
    }
}

impl OutputFile {
    /// Describes a file that was just written.
    pub fn of(dir: &RunDir, path: &Path) -> Result<Self, IoError> {
        let bytes = std::fs::metadata(path).map_err(IoError::read(path))?.len();
        Ok(Self { file: dir.name_of(path), bytes, blake3: None })
    }

    /// Describes a file that was just written, with the hash of its content.
    pub fn hashed(dir: &RunDir, path: &Path, digest: Digest) -> Result<Self, IoError> {
        Ok(Self { blake3: Some(digest), ..Self::of(dir, path)? })
    }

    /// Returns an error if the content differs from the written one; a file without a hash is not checked.
    pub fn check(&self, dir: &RunDir) -> Result<(), IoError> {
        self.blake3.as_ref().map_or(Ok(()), |written| io::check(&dir.root().join(&self.file), written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_files_are_deleted() {
        let folder = tempfile::tempdir().expect("folder");
        let dir = RunDir::new(folder.path().join("run"));
        for path in ["run/figures/loss.svg", "run/notes/mine.txt", "run/features/mine.parquet", "other.txt"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
            std::fs::write(path, b"x").expect("written");
        }
        let absolute = folder.path().join("other.txt").display().to_string();
        let files = [
            "figures/loss.svg",
            "features/mine.parquet",
            "notes/mine.txt",
            "report.html",
            "../other.txt",
            "figures/../../other.txt",
            &absolute,
        ];
        let files = files.iter().map(|file| OutputFile { file: (*file).to_string(), bytes: 1, blake3: None }).collect();
        let (stage, fingerprint, settings, result) = ("report".into(), "f".into(), Value::Null, Value::Null);
        let record = Record { stage, fingerprint, settings, files, result, seconds: 0.0, peak_memory_mb: None };
        record.delete_files(&dir);
        let there = |path: &str| folder.path().join(path).exists();
        assert!(there("other.txt") && there("run/notes/mine.txt") && there("run/features/mine.parquet"));
        assert!(!there("run/figures"));
    }
}
