//! `input.parquet`: the columns of tables with pictures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// The columns of tables that hold pictures, in Parquet or Arrow files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PictureColumns {
    /// The column of the pictures: the bytes of their files, or a struct with a field `bytes`. Default: the column that
    /// the `datasets` library calls an image, else the only one of such a type.
    #[schemars(with = "Option<schema::Text>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The column of the classes: text, or numbers, which the names of a `ClassLabel` of the `datasets` library
    /// replace. Default: the `ClassLabel`, else `label`, where there is one.
    #[schemars(with = "Option<schema::Text>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The column of the pictures' names. Default: a picture is called by the number of its row.
    #[schemars(with = "Option<schema::Text>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}
