//! The configuration: reads a YAML file as a typed and checked [`Pipeline`]; an error shows the line.
//!
//! `tree` reads the YAML into a tree with the place of each key, `sets` applies the `--set` overrides to it, `de` fills
//! the structs of `raw` and of the sections, `check` checks ranges and combinations. Only `tree` uses the YAML crate.
//! `schema` derives the JSON Schema and the reference in docs/pipelines.md from the same structs.

mod check;
mod columns;
mod de;
mod error;
mod extract;
mod image;
mod input;
mod keys;
mod output;
mod pipeline;
mod ranges;
mod raw;
mod runtime;
mod schema;
mod sets;
mod size;
mod source;
mod train;
mod tree;
mod values;

use std::fs;
use std::path::Path;

pub use self::image::Image;
pub use columns::PictureColumns;
pub use error::ConfigError;
pub use extract::{Calibration, Channels, DEFAULT_MODEL, Extract};
pub use featurize_nets::exec::{DeviceChoice as Device, Features, Kernels, Precision, UnknownDevice};
pub use featurize_nets::suggest::{near, suggest};
pub use featurize_nets::weights::Weights;
pub use input::{Columns, Input, Label, LimitPerClass, Split};
pub use output::{Layout, NO_CACHE, Output};
pub use pipeline::{Pipeline, Reduce, Report, Scale, Score, Select};
pub use runtime::Runtime;
pub use schema::schema;
pub use size::{NoSize, Size};
pub use source::Source;
pub use train::{Calibrate, Candidate, Classifier, Passing, Train};

pub use crate::learn::hyperparameters::{ClassWeight, InMemory};
pub use crate::learn::knn::{KnnParams, Metric, Weighting};
pub use crate::learn::logistic::LogisticParams;
pub use crate::learn::mlp::{Activation, BatchSize, LearningRate, MlpParams, Solver};
pub use crate::learn::pca::{Components, PcaParams, SvdParams};

/// The supported version of the YAML format.
pub const VERSION: u64 = 1;

/// Reads, overrides and checks the pipeline in `file`.
///
/// `sets` are texts `key.path=value` with the value in YAML: `reduce.pca.components=8`, `input.classes=[a, b]`; `null`
/// removes the key. Paths in the file are relative to the file's folder, paths in `sets` to the current folder.
///
/// # Errors
/// The file cannot be read, is not UTF-8 or not YAML, or a key or value is wrong. The error shows the line and says
/// what to write instead.
pub fn load(file: &Path, sets: &[String]) -> Result<Pipeline, ConfigError> {
    let bytes = fs::read(file).map_err(|source| ConfigError::Read { file: file.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|e| ConfigError::not_utf8(file, &e))?;
    parse(&text, file, sets)
}

/// Does the same as [`load`] with the `text` of the file. `file` is its path for errors; relative paths are relative to
/// its folder.
///
/// # Errors
/// A key or value is wrong, or the text is not YAML.
pub fn parse(text: &str, file: &Path, sets: &[String]) -> Result<Pipeline, ConfigError> {
    let mut source = Source::new(file, text, sets);
    let mut tree = tree::read(&source)?;
    sets::apply(&mut tree, &source)?;
    tree.drop_notes();
    source.index(&tree);
    let raw = de::fill::<raw::Pipeline>(&tree, &source)?;
    check::pipeline(raw, source)
}

#[cfg(test)]
mod canonical_tests;
#[cfg(test)]
mod error_tests;
#[cfg(test)]
mod tests;
