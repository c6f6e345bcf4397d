//! What a stage has committed: its fingerprint, its files, and the numbers that the summary tells.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RunDir;
use crate::io::{IoError, atomic};
use crate::stages::StageId;

/// A file of a stage, relative to the run folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    pub file: String,
    pub bytes: u64,
}

/// Written last, after every file of the stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub stage: String,
    pub fingerprint: String,
    /// The settings that the fingerprint covers, to say later what changed.
    pub settings: Value,
    pub files: Vec<OutputFile>,
    /// The stage's own numbers.
    pub result: Value,
    /// Seconds that the stage took when it was last run.
    pub seconds: f64,
    /// The most memory that the process held meanwhile, in MB; where the system tells it.
    #[serde(default)]
    pub peak_memory_mb: Option<u64>,
}

impl Record {
    /// The record of `stage`, if there is one that can be read.
    pub fn read(dir: &RunDir, stage: StageId) -> Option<Self> {
        let bytes = std::fs::read(dir.record(stage)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Commits the record.
    pub fn write(&self, dir: &RunDir, stage: StageId) -> Result<(), IoError> {
        atomic::write_json(&dir.record(stage), self)
    }

    /// The first of its files that is gone or of another size.
    pub fn damaged(&self, dir: &RunDir) -> Option<&OutputFile> {
        let whole = |output: &OutputFile| {
            std::fs::metadata(dir.root().join(&output.file)).is_ok_and(|found| found.len() == output.bytes)
        };
        self.files.iter().find(|output| !whole(output))
    }
}

impl OutputFile {
    /// A file that was just written.
    pub fn of(dir: &RunDir, path: &Path) -> Result<Self, IoError> {
        let bytes = std::fs::metadata(path).map_err(IoError::read(path))?.len();
        let file = path.strip_prefix(dir.root()).unwrap_or(path);
        Ok(Self { file: file.to_string_lossy().replace('\\', "/"), bytes })
    }
}
