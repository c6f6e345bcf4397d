//! The checked pipeline, which the stages read, and the sections `select`, `reduce` and `report`.
//!
//! A struct with `Deserialize` has the keys of the YAML; the doc comment of a field is the text about its key in the
//! reference. A section is also `Serialize`: its canonical JSON is part of the fingerprint of a stage and of
//! `run.json`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::extract::Extract;
use super::image::Image;
use super::input::Input;
use super::output::Output;
use super::runtime::Runtime;
use super::size::Size;
use super::source::Source;
use super::train::Train;
use super::{ranges, schema, values};
use crate::learn::pca::{PcaParams, SvdParams};
use crate::{memory, threads};

/// A pipeline that has passed every check that needs neither pictures nor weights nor a device.
///
/// Paths are resolved: those of the YAML file count from its folder, those of `--set` from the current folder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pipeline {
    /// The YAML file, as it was given.
    pub file: PathBuf,
    /// The name of the run, usable as a folder name.
    pub name: String,
    /// The pictures, their classes and their split.
    pub input: Input,
    /// How files become pixels.
    pub image: Image,
    /// The network and the layer whose values become features.
    pub extract: Extract,
    /// The selection of columns; `None`: the stage is not run.
    pub select: Option<Select>,
    /// The scaling and the reduction of the columns; `None`: the stage is not run.
    pub reduce: Option<Reduce>,
    /// The classifiers to train; `None`: the stage is not run.
    pub train: Option<Train>,
    /// The report; `None`: the stage is not run.
    pub report: Option<Report>,
    /// The folder and the form of the files.
    pub output: Output,
    /// Device, threads and memory. No fingerprint depends on them.
    pub runtime: Runtime,
    /// The YAML text and the place of every key in it, for errors found later; see [`ConfigError::at_key`].
    #[serde(skip)]
    pub source: Source,
}

impl Pipeline {
    /// The batch size of a GPU; the check has copied `extract.batch_size` to `runtime`.
    pub fn batch_size(&self) -> usize {
        self.runtime.batch_size
    }

    /// Threads of the extraction: `runtime.threads`, by default one per core.
    pub fn threads(&self) -> usize {
        self.runtime.threads.unwrap_or_else(threads::available)
    }

    /// The memory in bytes that all pictures share while they are decoded.
    pub fn decode_memory(&self) -> u64 {
        self.runtime.decode_memory.map_or_else(memory::for_decoding, Size::bytes)
    }

    /// An error at the value of `key` (`extract.model`), in the same form as other errors in the YAML.
    pub fn error_at(&self, key: &str, message: impl Into<String>) -> ConfigError {
        ConfigError::at_key(&self.source, key, message)
    }

    /// The path of a key as the user wrote it.
    pub fn written(&self, key: &str) -> String {
        self.source.written(key)
    }
}

/// `select`: keeps the columns that vary over the train split and, with `top_k`, the best of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Select {
    /// A column is kept when its variance over the train split is greater than this. 0 drops constant columns only.
    #[schemars(range(min = 0))]
    pub variance_threshold: f64,
    /// The most columns that are kept: those with the highest `score`. Of columns with equal scores the later one is
    /// kept, as scikit-learn's `SelectKBest` does. Default: all columns that vary enough.
    #[schemars(range(min = 1, max = ranges::MANY))]
    pub top_k: Option<usize>,
    /// The score that `top_k` ranks the columns by.
    pub score: Score,
}

/// The score that columns are ranked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// The population variance over the train split.
    #[default]
    Variance,
    /// The F of an analysis of variance between the classes of the train split, scikit-learn's `f_classif`.
    FClassif,
}

impl Score {
    /// The word in the YAML.
    pub fn word(self) -> &'static str {
        match self {
            Self::Variance => "variance",
            Self::FClassif => "f_classif",
        }
    }
}

/// `reduce`: scales the columns and, with `pca` or `svd`, replaces them by fewer. At least one of the three is needed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reduce {
    /// The scaling before the reduction.
    pub scale: Scale,
    /// Principal components, fitted on the train split; `{}` takes the defaults. Default: none.
    #[serde(deserialize_with = "values::present")]
    pub pca: Option<PcaParams>,
    /// Truncated singular value decomposition instead of `pca`: the table is not centred; `{}` takes the defaults.
    /// Default: none.
    #[serde(deserialize_with = "values::present")]
    pub svd: Option<SvdParams>,
}

impl Reduce {
    /// The kind of the new columns, which is the name of their file in `classifier/`.
    pub fn word(&self) -> &'static str {
        match (&self.pca, &self.svd) {
            (Some(_), _) => "pca",
            (None, Some(_)) => "svd",
            (None, None) => "scale",
        }
    }
}

/// The scaling of features before their reduction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// The features as they are.
    #[default]
    None,
    /// Every column gets mean 0 and variance 1 over the train split.
    Standard,
    /// Every row gets length 1.
    L2,
}

/// `report`: writes one HTML file about the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Report {
    /// Heading of the report. Default: the name of the run.
    #[schemars(with = "Option<schema::Text>")]
    pub title: Option<String>,
    /// The number of test pictures that the report shows with their prediction.
    #[schemars(range(max = ranges::SAMPLES))]
    pub samples: usize,
    /// Whether the features of all pictures are compared. The report then lists copies, also of test pictures in train,
    /// labels in doubt and outliers, and `quality.parquet` has a row for each picture.
    pub quality: bool,
    /// Whether the charts are written as SVG and PNG files to `figures/`, too.
    pub figures: bool,
}

impl Default for Report {
    fn default() -> Self {
        Self { title: None, samples: 24, quality: true, figures: false }
    }
}
