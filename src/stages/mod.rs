//! The stages: units of work that are committed, fingerprinted and resumed. A stage never calls another; [`crate::pipeline`] does.

pub mod evaluate;
pub mod extract;
pub mod reduce;
pub mod report;
pub mod scan;
pub mod select;
pub mod train;

pub mod rows;

use serde::{Deserialize, Serialize};

/// The stages, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageId {
    Scan,
    Extract,
    Select,
    Reduce,
    Train,
    Evaluate,
    Report,
}

impl StageId {
    /// All of them, in order.
    pub const ALL: [StageId; 7] = [
        StageId::Scan,
        StageId::Extract,
        StageId::Select,
        StageId::Reduce,
        StageId::Train,
        StageId::Evaluate,
        StageId::Report,
    ];

    /// The word used in the YAML, on the command line and in file names.
    pub fn name(self) -> &'static str {
        match self {
            StageId::Scan => "scan",
            StageId::Extract => "extract",
            StageId::Select => "select",
            StageId::Reduce => "reduce",
            StageId::Train => "train",
            StageId::Evaluate => "evaluate",
            StageId::Report => "report",
        }
    }

    /// The stage of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }
}
