//! The sections whose written form differs from the checked form: the top level and `input`.
//!
//! The doc comment of a field explains its key in the reference. The schema adds range and default to it; a comment has
//! a sentence `Default: ….` only if the default is computed. The other sections are in files of their own:
//! [`image`](super::image), [`extract`](super::extract), [`pipeline`](super::pipeline), [`train`](super::train),
//! [`output`](super::output) and [`runtime`](super::runtime).

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::columns::PictureColumns;
use super::extract::Extract;
use super::image::Image;
use super::input::{Label, LimitPerClass};
use super::output::Output;
use super::pipeline::{Reduce, Report, Select};
use super::runtime::Runtime;
use super::schema;
use super::train::Train;
use super::values::present;

/// Keys that begin with `x-` are not read: YAML anchors (`&name`) can be defined under them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The version of this format.
    #[schemars(schema_with = "schema::version")]
    pub version: u64,
    /// Name of the run. It must be usable as the name of a folder. Default: the name of the YAML file without `.yaml`.
    #[schemars(with = "Option<schema::Text>")]
    pub name: Option<String>,
    /// The pictures, their classes and their split.
    pub input: Input,
    /// How files become pixels.
    #[serde(default)]
    pub image: Image,
    /// The network and the layer whose values become features. Default: the average of the last
    /// feature map of EfficientNet-Lite0, which is part of the program.
    #[serde(default)]
    pub extract: Extract,
    /// Selects columns. Default: the stage is not run.
    #[serde(default, deserialize_with = "present")]
    pub select: Option<Select>,
    /// Scales the columns or replaces them by fewer. Default: the stage is not run.
    #[serde(default, deserialize_with = "present")]
    pub reduce: Option<Reduce>,
    /// Trains a classifier, or the best of several. Default: the stage is not run.
    #[serde(default, deserialize_with = "super::values::train")]
    #[schemars(schema_with = "super::schema::train")]
    pub train: Option<Train>,
    /// Writes a report. Default: the stage is not run.
    #[serde(default, deserialize_with = "present")]
    pub report: Option<Report>,
    /// The folder and the form of the files.
    #[serde(default)]
    pub output: Output,
    /// Device, threads and memory.
    #[serde(default)]
    pub runtime: Runtime,
}

/// `input`: the pictures, their classes and the split into train and test.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The pictures: a folder, searched to the bottom; an archive (`.tar`, `.tar.gz`, `.tar.zst`, `.zip`); a Parquet or
    /// Arrow file with pictures in a column; a glob of these, `photos/*.tar`; a folder of a bucket,
    /// `s3://bucket/photos` (`gs://`, `az://`); or a table of paths or URLs, `photos.csv`. A relative path counts from
    /// the folder of the YAML file.
    #[schemars(title = "a folder, a file or a glob")]
    pub root: PathBuf,
    /// The columns of Parquet and Arrow files. With this section, a folder as `root` is searched for such files.
    #[serde(default, deserialize_with = "present")]
    pub parquet: Option<PictureColumns>,
    /// How pictures are divided into train and test. Default: every picture is train.
    pub split: Option<Split>,
    /// Where the class of a picture is read from. `folder` is the first folder below the root, or below the literal
    /// beginning of the split's glob. `parent` is the folder that holds the picture. `none` means that there are no
    /// classes. `{pattern: '(cat|dog)\.\d+'}` is a regular expression over the path below the root: the class is the
    /// text of the group `label`, else of the first group, else of the whole match. A text with a group in parentheses
    /// is such a pattern, too.
    #[serde(default)]
    pub label: Label,
    /// The classes to use, in this order. Default: all classes that are found, sorted.
    #[schemars(with = "Option<Vec<schema::Text>>", length(min = 1))]
    pub classes: Option<Vec<String>>,
    /// The most pictures of each class that are used: the first in sorted order. One number holds for train and for
    /// test each; `{train: 10, test: 1}` names both. Default: all pictures.
    pub limit_per_class: Option<LimitPerClass>,
    /// The share of unreadable pictures above which the run fails.
    #[serde(default = "max_bad_fraction")]
    #[schemars(range(min = 0, max = 1))]
    pub max_bad_fraction: f64,
    /// Whether links to folders below the root are followed. Links to files always are.
    #[serde(default)]
    pub follow_links: bool,
    /// Whether the manifest gets the SHA-256 of every picture's contents and names copies. The run warns of pictures
    /// that train and test share. No feature depends on it: if it is set later, the pictures are read again, but no
    /// features are computed.
    #[serde(default)]
    pub hash: bool,
}

fn max_bad_fraction() -> f64 {
    0.1
}

/// `input.split`: one of three ways to divide pictures into train and test. `{train: …, test: …}` are two globs,
/// `{fraction: 0.25, seed: 0}` draws the test pictures at random from each class, `{csv: FILE}` is a table that names
/// the pictures.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The glob that matches the paths of train pictures below the root: `Training/**`. Needs `test`.
    #[schemars(title = "a glob")]
    pub train: Option<String>,
    /// The glob that matches the paths of test pictures below the root. Needs `train`.
    #[schemars(title = "a glob")]
    pub test: Option<String>,
    /// The share of each class that becomes test. A picture that is added later changes the side of at most one other.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub fraction: Option<f64>,
    /// Seed of the random draw of `fraction`. Default: `0`.
    pub seed: Option<u64>,
    /// A CSV table that names the pictures. A relative path counts from the folder of the YAML file. Where the table
    /// has no column for the split, `fraction` divides its pictures.
    #[schemars(title = "a file")]
    pub csv: Option<PathBuf>,
    /// The column of `csv` that holds the paths of the pictures below the root, or their URLs. A name without ending
    /// stands for the only picture of that name. Default: `path`, else `url`.
    #[schemars(with = "Option<schema::Text>")]
    pub path: Option<String>,
    /// The column of `csv` that holds the classes. Default: `label`, where the table has it.
    #[schemars(with = "Option<schema::Text>")]
    pub label: Option<String>,
    /// The column of `csv` that holds the words for splits, `train` and `test` among them. Default: `split`, where the
    /// table has it.
    #[schemars(with = "Option<schema::Text>")]
    pub split: Option<String>,
}
