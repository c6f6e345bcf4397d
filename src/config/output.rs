//! `output`: the folder of a run and the form of its tables.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::table::Dtype;

/// `output`: the folder of the run and the form of its tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// The folder of the run. A relative path counts from the folder of the YAML file. Default: `runs/<name>` under the
    /// current folder.
    #[schemars(title = "a folder")]
    pub dir: Option<PathBuf>,
    /// The columns of a table of features.
    pub layout: Layout,
    /// Number format of the stored features. A feature above 65,504 is an error with `f16`. Later stages read the
    /// stored numbers.
    pub dtype: Dtype,
    /// A folder of runs, or a run. Tables of features that one of them has computed by the same settings from the same
    /// pictures are copied instead of computed again, and so are those of runs in the folder beside this one. `none`
    /// takes none of them.
    #[schemars(title = "a folder or `none`")]
    pub cache: Option<PathBuf>,
    /// Whether all features are also written to one file `features.npy` (rows × features, C order), with `path`,
    /// `label` and `split` of its rows in `index.parquet`.
    pub npy: bool,
    /// Whether `atlas.parquet` is written, a table for Apple's Embedding Atlas: path, label, split and prediction of
    /// every picture, its place on the first two components, its neighbours among the components, and a thumbnail.
    /// Needs `reduce.pca` or `reduce.svd`.
    pub atlas: bool,
}

/// The value of `cache` for no cache.
pub const NO_CACHE: &str = "none";

impl Output {
    /// The folder of the run: `dir`, or `runs/<name>` under the current folder.
    pub fn dir_for(&self, name: &str) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| Path::new("runs").join(name))
    }
}

/// The columns of a table of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// One column for each feature.
    #[default]
    Wide,
    /// One column of fixed-size lists, for very wide features.
    Array,
}
