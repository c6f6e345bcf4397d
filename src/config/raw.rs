//! The sections whose written form differs from the checked one: the top level and `input`.
//!
//! The doc comment of a field is its reference in the YAML; the other sections stand in [`pipeline`](super::pipeline)
//! and [`train`](super::train).

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::columns::PictureColumns;
use super::forms::present;
use super::image::Image;
use super::output::Output;
use super::pipeline::{Extract, Label, LimitPerClass, Reduce, Report, Select};
use super::runtime::Runtime;
use super::schema;
use super::train::Train;

/// The top level of the YAML. Keys that begin with `x-` are not read: room for what anchors (`&name`) stand on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The version of this format: 1. Required.
    #[schemars(schema_with = "schema::version")]
    pub version: u64,
    /// Name of the run, usable as a folder name. Default: the YAML file's name without its ending.
    #[schemars(with = "Option<schema::Text>")]
    pub name: Option<String>,
    /// Which pictures. Required.
    pub input: Input,
    /// How files become pixels.
    #[serde(default)]
    pub image: Image,
    /// Which network, and what of it becomes features. Default: the bundled EfficientNet-Lite0, averaged.
    #[serde(default)]
    pub extract: Extract,
    /// Drop columns without variance. Left out: the stage is not run.
    #[serde(default, deserialize_with = "present")]
    pub select: Option<Select>,
    /// Reduce the columns. Left out: the stage is not run.
    #[serde(default, deserialize_with = "present")]
    pub reduce: Option<Reduce>,
    /// Train a classifier, or the best of several. Left out: the stage is not run.
    #[serde(default, deserialize_with = "super::forms::train")]
    #[schemars(schema_with = "super::schema::train")]
    pub train: Option<Train>,
    /// Write a report. Left out: the stage is not run.
    #[serde(default, deserialize_with = "present")]
    pub report: Option<Report>,
    /// Where the files go.
    #[serde(default)]
    pub output: Output,
    /// Speed settings.
    #[serde(default)]
    pub runtime: Runtime,
}

/// `input`: which pictures, which classes, which split.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The folder with the pictures, counted from the YAML file's folder; or an archive (`.tar`, `.tar.gz`, `.tar.zst`,
    /// `.zip`), a Parquet or Arrow file with pictures in a column, or a glob of these, `photos/*.tar`. Required.
    pub root: PathBuf,
    /// The columns of Parquet and Arrow files: `{image: image, label: label, path: name}`, each only where it is not
    /// found by itself. With it, a folder as root is searched for such files. Default: all are found by themselves.
    #[serde(default, deserialize_with = "present")]
    pub parquet: Option<PictureColumns>,
    /// How pictures are told into train and test. Default: everything is train.
    pub split: Option<Split>,
    /// Where the class of a picture is read from: `folder` (the first folder below the root, or below the literal
    /// beginning of the split's glob), `parent` (the folder that the picture lies in), `none` (no classes) or
    /// `{pattern: '(cat|dog)\.\d+'}`, a regular expression over the path below the root: the group `label`, else the
    /// first group, else the whole match; a text with a group in parentheses is such a pattern, too. Default: `folder`.
    #[serde(default)]
    pub label: Label,
    /// Only these classes, in this order. Default: all that are found, sorted.
    #[schemars(with = "Option<Vec<schema::Text>>", length(min = 1))]
    pub classes: Option<Vec<String>>,
    /// At most so many pictures of each class, up to 1000000000, in sorted order: one number for train and test each,
    /// or `{train: 10, test: 1}`. Default: all.
    pub limit_per_class: Option<LimitPerClass>,
    /// The run fails when a larger part of the pictures than this cannot be read, 0 to 1. Default: 0.1.
    #[serde(default = "max_bad_fraction")]
    #[schemars(range(min = 0, max = 1))]
    pub max_bad_fraction: f64,
    /// Follow symbolic links below the root. Default: false.
    #[serde(default)]
    pub follow_links: bool,
    /// Put the SHA-256 of every picture's contents into the manifest and tell copies, above all those that train and
    /// test share. It changes no feature: switched on later, the pictures are read again and not computed again.
    /// Default: false.
    #[serde(default)]
    pub hash: bool,
}

fn max_bad_fraction() -> f64 {
    0.1
}

/// `input.split`: `{train, test}`, `{fraction[, seed]}` or `{csv[, path][, label][, split][, fraction[, seed]]}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Glob of the train pictures over the path below the root, `Training/**`; goes with `test`.
    pub train: Option<String>,
    /// Glob of the test pictures; goes with `train`.
    pub test: Option<String>,
    /// The part of each class that becomes test, between 0 and 1.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub fraction: Option<f64>,
    /// Seed of the lot that `fraction` draws. Default: 0.
    pub seed: Option<u64>,
    /// A CSV table that names the pictures, counted from the YAML file's folder; `fraction` splits it when it has no
    /// column `split`.
    pub csv: Option<PathBuf>,
    /// The column of `csv` with the pictures' paths below the root; a name without ending stands for the picture of
    /// that name. Default: `path`.
    #[schemars(with = "Option<schema::Text>")]
    pub path: Option<String>,
    /// The column of `csv` with the classes. Default: `label`, where there is one.
    #[schemars(with = "Option<schema::Text>")]
    pub label: Option<String>,
    /// The column of `csv` with the words `train` and `test`. Default: `split`, where there is one.
    #[schemars(with = "Option<schema::Text>")]
    pub split: Option<String>,
}
