//! `input`, checked: the pictures, their classes and the split into train and test.
//!
//! The user writes it in the form of [`raw::Input`](super::raw::Input), whose doc comments are the reference of the
//! keys.

use std::path::PathBuf;

use regex::{Regex, RegexBuilder};
use serde::Serialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess};

use super::columns::PictureColumns;
use crate::learn::hyperparameters::at_least_1;
use crate::learn::read_forms;

/// The checked section `input`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Input {
    /// The folder with the pictures, an archive, a table with pictures in a column, or a glob of these; resolved.
    pub root: PathBuf,
    /// The columns of Parquet and Arrow files; a folder as root is then searched for these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parquet: Option<PictureColumns>,
    /// How pictures are divided into train and test.
    pub split: Split,
    /// Where the class of a picture is read from.
    pub label: Label,
    /// Only these classes, in this order; `None`: all that are found.
    pub classes: Option<Vec<String>>,
    /// The most pictures of each class that are used.
    pub limit_per_class: Option<LimitPerClass>,
    /// The share of unreadable pictures above which the run fails, in 0..=1.
    pub max_bad_fraction: f64,
    /// Whether links to folders below `root` are followed.
    pub follow_links: bool,
    /// Whether the contents of every picture are hashed.
    pub hash: bool,
}

/// How pictures are divided into train and test.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Every picture is train.
    None,
    /// Two globs are matched with the path below `root`.
    Folders {
        /// Glob of the train pictures.
        train: String,
        /// Glob of the test pictures.
        test: String,
    },
    /// The test pictures are drawn at random from each class.
    Fraction {
        /// The share of each class that becomes test, in (0, 1).
        fraction: f64,
        /// Seed of the random draw.
        seed: u64,
    },
    /// A table names the pictures.
    Csv {
        /// The table, resolved.
        path: PathBuf,
        /// The names of its columns.
        #[serde(flatten)]
        columns: Columns,
        /// The share that becomes test when the table has no column `split`.
        fraction: Option<f64>,
        /// Seed of the random draw.
        seed: u64,
    },
}

/// The names of the columns of a table of pictures. `None` stands for `path`, and for `label` and `split` where the
/// table has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Columns {
    /// The column of the pictures' paths below the root.
    #[serde(rename = "path_column", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The column of the classes.
    #[serde(rename = "label_column", skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The column of the words for splits, `train` and `test` among them.
    #[serde(rename = "split_column", skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
}

/// Where the class of a picture is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// The first folder below the root, or below the literal beginning of the split's glob.
    #[default]
    Folder,
    /// The folder that holds the picture.
    Parent,
    /// There are no classes.
    None,
    /// The text that a regular expression finds in the path below the root.
    Pattern(String),
}

impl Label {
    /// The most bytes that a compiled pattern may take.
    const PATTERN: usize = 1 << 20;

    /// Compiles the pattern for classes. The error is a single line.
    pub fn regex(pattern: &str) -> Result<Regex, String> {
        RegexBuilder::new(pattern).size_limit(Self::PATTERN).build().map_err(|error| match error {
            regex::Error::CompiledTooBig(most) => format!("it takes more than {most} bytes once compiled"),
            error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_string(),
        })
    }
}

/// The most pictures of each class that are used; `None` stands for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LimitPerClass {
    /// In the train split.
    pub train: Option<usize>,
    /// In the test split.
    pub test: Option<usize>,
}

impl<'de> Deserialize<'de> for LimitPerClass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Each {
            train: Option<usize>,
            test: Option<usize>,
        }

        read_forms!(deserializer, "a whole number of at least 1, or `{train: …, test: …}`" => LimitPerClass {
            visit_u64(v: u64, Unsigned) => at_least_1(v).map(|v| LimitPerClass { train: Some(v), test: Some(v) });
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LimitPerClass, A::Error> {
                let Each { train, test } = Each::deserialize(MapAccessDeserializer::new(map))?;
                Ok(LimitPerClass { train, test })
            }
        })
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            pattern: String,
        }

        read_forms!(deserializer, "`folder`, `parent`, `none` or `{pattern: …}`" => Label {;
            fn visit_str<E: Error>(self, v: &str) -> Result<Label, E> {
                match v {
                    "folder" => Ok(Label::Folder),
                    "parent" => Ok(Label::Parent),
                    "none" => Ok(Label::None),
                    // the words above have no parentheses
                    pattern if pattern.contains('(') => Ok(Label::Pattern(pattern.to_string())),
                    _ => Err(E::unknown_variant(v, &["folder", "parent", "none", "{pattern: …}"])),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Label, A::Error> {
                let Keys { pattern } = Keys::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Label::Pattern(pattern))
            }
        })
    }
}
