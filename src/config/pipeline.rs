//! The checked pipeline: what the stages read, and where every default of the YAML stands.
//!
//! Structs with `Deserialize` are written by the user as they stand here; the doc comment of a field is its reference:
//! meaning, unit, range, default. `input` is written as [`raw::Input`](super::raw) and checked into [`Input`]. Every
//! section is `Serialize`: its canonical JSON is what a stage's fingerprint covers and what `run.json` stores.

use std::path::PathBuf;

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{Columns, PictureColumns};
use super::forms;
use super::image::Image;
use super::output::Output;
use super::ranges;
use super::runtime::Runtime;
use super::schema;
use super::size::Size;
use super::source::Source as Text;
use super::train::Train;
use super::{ConfigError, Features, Precision, Weights};
use crate::image::RecipeOverrides;
use crate::learn::pca::{PcaParams, SvdParams};
use crate::memory;
use crate::models::Source;
use crate::threads;

/// A pipeline that has passed every check that needs no picture, no weights and no device.
///
/// Paths are resolved: those of the YAML count from its folder, those of `--set` from the current one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pipeline {
    /// The YAML file, as it was given.
    pub file: PathBuf,
    /// The name of the run, usable as a folder name.
    pub name: String,
    /// Which pictures, which classes, which split.
    pub input: Input,
    /// How files become pixels.
    pub image: Image,
    /// Which network, and what of it becomes features.
    pub extract: Extract,
    /// Drop columns without variance; `None`: the stage is not run.
    pub select: Option<Select>,
    /// Reduce the columns; `None`: the stage is not run.
    pub reduce: Option<Reduce>,
    /// Train a classifier; `None`: the stage is not run.
    pub train: Option<Train>,
    /// Write a report; `None`: the stage is not run.
    pub report: Option<Report>,
    /// Where the files go.
    pub output: Output,
    /// Speed settings: they change no number of the result and no fingerprint.
    pub runtime: Runtime,
    /// The YAML text and the place of every key in it, for errors found later; see [`ConfigError::at_key`].
    #[serde(skip)]
    pub source: Text,
}

impl Pipeline {
    /// Pictures per forward pass; the check has put `extract.batch_size` into `runtime`.
    pub fn batch_size(&self) -> usize {
        self.runtime.batch_size
    }

    /// Threads of the extraction: as many as are written, else one a processor.
    pub fn threads(&self) -> usize {
        self.runtime.threads.unwrap_or_else(threads::available)
    }

    /// Bytes that pictures may take together while they are decoded.
    pub fn decode_memory(&self) -> u64 {
        self.runtime.decode_memory.map_or_else(memory::for_decoding, Size::bytes)
    }

    /// An error at the value of `key` (`extract.model`), shown as an error of the YAML itself.
    pub fn error_at(&self, key: &str, message: impl Into<String>) -> ConfigError {
        ConfigError::at_key(&self.source, key, message)
    }

    /// A key as the user wrote it.
    pub fn written(&self, key: &str) -> String {
        self.source.written(key)
    }
}

/// `input`, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Input {
    /// The folder with the pictures, an archive, a table with pictures in a column, or a glob of these; resolved.
    pub root: PathBuf,
    /// The columns of Parquet and Arrow files; a folder as root is then searched for these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parquet: Option<PictureColumns>,
    /// How pictures are told into train and test.
    pub split: Split,
    /// Where the class of a picture is read from.
    pub label: Label,
    /// Only these classes, in this order; `None`: all that are found.
    pub classes: Option<Vec<String>>,
    /// At most so many pictures of each class.
    pub limit_per_class: Option<LimitPerClass>,
    /// The run fails when a larger part of the pictures than this cannot be read, in 0..=1.
    pub max_bad_fraction: f64,
    /// Follow symbolic links below `root`.
    pub follow_links: bool,
    /// Hash the contents of every picture.
    pub hash: bool,
}

/// How pictures are told into train and test.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Everything is train.
    None,
    /// By two globs over the path below `root`.
    Folders {
        /// Glob of the train pictures.
        train: String,
        /// Glob of the test pictures.
        test: String,
    },
    /// By lot, class by class.
    Fraction {
        /// The part of each class that becomes test, in (0, 1).
        fraction: f64,
        /// Seed of the lot.
        seed: u64,
    },
    /// By a table.
    Csv {
        /// The table, resolved.
        path: PathBuf,
        /// The names of its columns.
        #[serde(flatten)]
        columns: Columns,
        /// The part that becomes test when the table has no column `split`.
        fraction: Option<f64>,
        /// Seed of the lot.
        seed: u64,
    },
}

/// Where the class of a picture is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// The first folder below the root, or below the literal beginning of the split's glob.
    #[default]
    Folder,
    /// The folder that the picture lies in.
    Parent,
    /// There are no classes.
    None,
    /// The text that a regular expression finds in the path below the root.
    Pattern(String),
}

impl Label {
    /// Bytes that a compiled pattern may take.
    const PATTERN: usize = 1 << 20;

    /// Compiles the pattern of a class; the error says what is wrong in one line.
    pub fn regex(pattern: &str) -> Result<Regex, String> {
        RegexBuilder::new(pattern).size_limit(Self::PATTERN).build().map_err(|error| match error {
            regex::Error::CompiledTooBig(most) => format!("it takes more than {most} bytes once compiled"),
            error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_string(),
        })
    }
}

/// At most so many pictures of each class, in sorted order; `None`: all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LimitPerClass {
    /// Of the train split.
    pub train: Option<usize>,
    /// Of the test split.
    pub test: Option<usize>,
}

/// `extract`: run a pretrained network and keep one of its layers as features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Extract {
    /// Name of the network, see `featurize models list`. Default: `efficientnet_lite0`.
    #[schemars(schema_with = "schema::model")]
    pub model: String,
    /// `bundled` (in the binary), `keras`, `torchvision` or `timm` (what these publish, downloaded once), `random`
    /// (drawn from `seed`, for trials), a file, counted from the YAML file's folder, `hf:owner/repo/file` or a URL. The
    /// model's own are those in the binary, else the first that `featurize models list` names. Default: the model's
    /// own.
    pub weights: Weights,
    /// Where in the file of weights the network lies, when it is there more than once: `state_dict`, `student`,
    /// `module.encoder_k`. Default: the only place, else the one that the field takes: averaged weights (EMA), the
    /// teacher, the encoder that is trained.
    #[schemars(with = "Option<schema::Text>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_key: Option<String>,
    /// Seed of random weights. Default: 0.
    pub seed: u64,
    /// What is kept of the layer's map: `avg` or `max` over the positions, `flatten` (one long row) or `map` (height ×
    /// width × channels). Default: `avg`.
    pub features: Features,
    /// Name of the layer, see `featurize models show NAME`. Default: the last feature map (what Keras calls
    /// `include_top=False`).
    #[schemars(with = "Option<schema::Text>")]
    pub layer: Option<String>,
    /// Names of several layers, whose features follow one another; instead of `layer`.
    #[schemars(with = "Option<Vec<schema::Text>>", length(min = 1))]
    pub layers: Option<Vec<String>>,
    /// The library whose network it is: `keras`, `torchvision` or `timm`; names, numerics and recipe are its own.
    /// Default: recognised from the file of weights.
    pub source: Option<Source>,
    /// 3, or 1 to build the network for grey pictures. Default: 3.
    #[schemars(extend("default" = 3))]
    pub channels: Channels,
    /// Number format of maps and weights: `f32` or `bf16`, which is faster on a CPU with AMX or AVX512-BF16, slower on
    /// others, and changes features by 0.1 % to 2 %, by the network; only on the CPU. Default: `f32`.
    pub precision: Precision,
    /// Keys that override the preprocessing recipe of the weights. Default: the recipe that the weights were trained
    /// with.
    pub recipe: Option<RecipeOverrides>,
    /// Pictures per Parquet file, 1 to 1000000. Default: by the number of columns.
    #[schemars(range(min = 1, max = ranges::SHARD_ROWS))]
    pub shard_rows: Option<usize>,
    /// Pictures per forward pass, 1 to 65536; the same as `runtime.batch_size`. Default: that.
    // a speed setting: the features are the same, so it stays out of the fingerprint
    #[serde(skip_serializing)]
    #[schemars(range(min = 1, max = ranges::BATCH))]
    pub batch_size: Option<usize>,
}

impl Default for Extract {
    fn default() -> Self {
        Self {
            model: "efficientnet_lite0".to_owned(),
            weights: Weights::Default,
            weights_key: None,
            seed: 0,
            features: Features::Avg,
            layer: None,
            layers: None,
            source: None,
            channels: Channels::Three,
            precision: Precision::F32,
            recipe: None,
            shard_rows: None,
            batch_size: None,
        }
    }
}

impl Extract {
    /// The layers that are asked for by name; none: the last feature map.
    pub fn layers(&self) -> Vec<String> {
        self.layers.clone().unwrap_or_else(|| self.layer.iter().cloned().collect())
    }
}

/// Channels of the pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Channels {
    /// Grey.
    #[serde(rename = "1")]
    One,
    /// Red, green and blue.
    #[default]
    #[serde(rename = "3")]
    Three,
}

/// `select`: which columns are kept: those that vary over the train split, and of them the best.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Select {
    /// A column stays when its variance is greater than this, at least 0. Default: 0.0 (drops constant columns).
    #[schemars(range(min = 0))]
    pub variance_threshold: f64,
    /// Of the columns that vary enough, so many with the highest `score`, 1 to 1000000000; of equal ones the later, as
    /// `SelectKBest` does. Default: all.
    #[schemars(range(min = 1, max = ranges::MANY))]
    pub top_k: Option<usize>,
    /// What `top_k` ranks the columns by: `variance`, or `f_classif` (the F of an analysis of variance between the
    /// classes of the train split). Default: `variance`.
    pub score: Score,
}

/// What columns are ranked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// Population variance over the train split.
    #[default]
    Variance,
    /// F of the analysis of variance, scikit-learn's `f_classif`.
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

/// `reduce`: scaled, or fewer columns; at least one of its keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reduce {
    /// What is done before: `standard` (mean 0 and variance 1 in every column, over the train split), `l2` (length 1 of
    /// every row) or `none`. Default: `none`.
    pub scale: Scale,
    /// Principal components, fitted on the train split; `{}`: with its defaults. Default: none.
    #[serde(deserialize_with = "forms::present")]
    pub pca: Option<PcaParams>,
    /// Singular vectors of the table as it is, not centred, instead of `pca`; `{}`: with its defaults. Default: none.
    #[serde(deserialize_with = "forms::present")]
    pub svd: Option<SvdParams>,
}

impl Reduce {
    /// The word for the transformation that makes the new columns; its file in `classifier/` is called after it.
    pub fn word(&self) -> &'static str {
        match (&self.pca, &self.svd) {
            (Some(_), _) => "pca",
            (None, Some(_)) => "svd",
            (None, None) => "scale",
        }
    }
}

/// What features are brought to before they are reduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// As they are.
    #[default]
    None,
    /// Every column to mean 0 and variance 1.
    Standard,
    /// Every row to length 1.
    L2,
}

/// `report`: one HTML file about the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Report {
    /// Heading of the report. Default: the name of the run.
    #[schemars(with = "Option<schema::Text>")]
    pub title: Option<String>,
    /// Test pictures drawn with their prediction, at most 10000; 0: none. Default: 24.
    #[schemars(range(max = ranges::SAMPLES))]
    pub samples: usize,
    /// Compare the features of all pictures: copies (also of test pictures in train), labels in doubt, outliers;
    /// written to `quality.parquet`. Default: true.
    pub quality: bool,
    /// Write the charts as SVG and PNG files to `figures/`, too. Default: false.
    pub figures: bool,
}

impl Default for Report {
    fn default() -> Self {
        Self { title: None, samples: 24, quality: true, figures: false }
    }
}
