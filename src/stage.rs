//! The names and the order of the stages, and the options of a run, which every part of the program may use.

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
    /// It reads the features alone, and runs after the classifier, so that this is ready earlier.
    Compare,
    Report,
}

impl StageId {
    /// All stages, in order.
    pub const ALL: [StageId; 8] = [
        StageId::Scan,
        StageId::Extract,
        StageId::Select,
        StageId::Reduce,
        StageId::Train,
        StageId::Evaluate,
        StageId::Compare,
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
            StageId::Compare => "compare",
            StageId::Report => "report",
        }
    }

    /// Returns the stages whose results this one reads. Each entry is a choice: the first of its stages that the
    /// pipeline runs.
    pub fn inputs(self) -> &'static [&'static [StageId]] {
        match self {
            StageId::Scan => &[],
            StageId::Extract => &[&[StageId::Scan]],
            StageId::Select | StageId::Compare => &[&[StageId::Extract]],
            StageId::Reduce => &[&[StageId::Select, StageId::Extract]],
            StageId::Train => &[&[StageId::Reduce, StageId::Select, StageId::Extract]],
            StageId::Evaluate => &[&[StageId::Train]],
            StageId::Report => {
                &[&[StageId::Evaluate, StageId::Reduce, StageId::Select, StageId::Extract], &[StageId::Compare]]
            }
        }
    }

    /// True when this stage reads the result of `other`, or a result that was made of it.
    pub fn follows(self, other: StageId) -> bool {
        self.inputs().iter().copied().flatten().any(|&input| input == other || input.follows(other))
    }

    /// The stage of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }
}

/// Settings of the command line beside those of the plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The last stage to run.
    pub until: Option<StageId>,
    /// Compute this stage and those after it even if they are committed.
    pub force: Option<StageId>,
    /// Try pictures again that could not be read.
    pub retry_failed: bool,
    /// List the pictures again even if the listing of the store could be taken.
    pub rescan: bool,
}
