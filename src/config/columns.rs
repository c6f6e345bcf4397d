//! Columns of tables: of those that name pictures (`input.split.csv`), and of those that hold them (`input.parquet`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// `input.parquet`: the columns of tables that hold pictures, in Parquet or Arrow files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PictureColumns {
    /// The column with the pictures: the bytes of their files, or a struct with a field `bytes`. Default: the one that the `datasets` library
    /// calls an image, else the only one of such a type.
    #[schemars(with = "Option<schema::Text>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The column with the classes: text, or numbers, for which the names of a `ClassLabel` stand where the `datasets` library noted them.
    /// Default: its `ClassLabel`, else `label`, where there is one.
    #[schemars(with = "Option<schema::Text>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The column with the pictures' names. Default: they are called by the number of their row.
    #[schemars(with = "Option<schema::Text>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// How the columns of a table of pictures are called; `None`: `path`, and `label` and `split` where they are there.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Columns {
    /// Of the pictures' paths below the root.
    #[serde(rename = "path_column", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Of the classes.
    #[serde(rename = "label_column", skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Of the words `train` and `test`.
    #[serde(rename = "split_column", skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
}
