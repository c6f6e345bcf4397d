//! `output`: where the files of a run go, and how its tables are laid out.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::table::Dtype;

/// `output`: where the files go, and how the tables are laid out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// The run's folder, counted from the YAML file's folder. Default: `runs/<name>` under the current folder.
    pub dir: Option<PathBuf>,
    /// `wide` (one column per feature) or `array` (one column holding fixed-size lists). Default: `wide`.
    pub layout: Layout,
    /// Number format of the stored features: `f32`, or `f16` (half the bytes, a relative error of up to 2^-11; a
    /// feature above 65,504 is an error). What is learnt stands on the stored numbers. Default: `f32`.
    pub dtype: Dtype,
    /// Write all features into one `features.npy` (rows × features, C order), too, and path, label and split of its
    /// rows into `index.parquet`. Default: false.
    pub npy: bool,
}

impl Output {
    /// The run's folder: `dir`, or `runs/<name>` under the current folder.
    pub fn dir_for(&self, name: &str) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| Path::new("runs").join(name))
    }
}

/// How a feature table is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// One column per feature.
    #[default]
    Wide,
    /// One column of fixed-size lists.
    Array,
}
