//! The names and the order of the stages, and the options of a run.

use serde::{Deserialize, Serialize};

use StageId::{Atlas, Compare, Evaluate, Extract, Reduce, Report, Scan, Select, Train};

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
    /// It only reads the features; it runs after the classifier, so that the classifier is ready earlier.
    Compare,
    Atlas,
    Report,
}

impl StageId {
    /// All stages, in order.
    pub const ALL: [StageId; 9] = [Scan, Extract, Select, Reduce, Train, Evaluate, Compare, Atlas, Report];
    const NAMES: [&str; 9] = ["scan", "extract", "select", "reduce", "train", "evaluate", "compare", "atlas", "report"];

    /// The name in the YAML, on the command line and in file names.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Returns the stages whose results this one reads. Each entry is a list of alternatives: the stage reads the first
    /// one that the pipeline runs.
    pub fn inputs(self) -> &'static [&'static [StageId]] {
        match self {
            Scan => &[],
            Extract => &[&[Scan]],
            Select | Compare => &[&[Extract]],
            Reduce => &[&[Select, Extract]],
            Train => &[&[Reduce, Select, Extract]],
            Evaluate => &[&[Train]],
            Atlas => &[&[Evaluate, Reduce]],
            Report => &[&[Evaluate, Reduce, Select, Extract], &[Compare]],
        }
    }

    /// True if this stage reads the result of `other`, directly or through other stages.
    pub fn follows(self, other: StageId) -> bool {
        self.inputs().iter().copied().flatten().any(|&input| input == other || input.follows(other))
    }

    /// The stage with this name, or a text that tells the names.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|stage| stage.name() == name);
        found.ok_or_else(|| format!("the stages are {}", Self::NAMES.join(", ")))
    }
}

/// Options of a run that are not in the plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The last stage to run.
    pub until: Option<StageId>,
    /// Compute this stage and those after it even if they are committed.
    pub force: Option<StageId>,
    /// Read pictures again that could not be read.
    pub retry_failed: bool,
    /// List the pictures again even if the listing in the store is up to date.
    pub rescan: bool,
}
