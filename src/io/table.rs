//! Tables as columns of polars, which a `Writer` writes as a file with one row group.

use std::path::Path;

use arrow::datatypes::{DataType as Kind, Field};
use polars::prelude::{DataType, FrozenCategories, NamedFrom, PolarsError, PolarsResult, Series};

use super::features::{KEYS, Key};
use super::output::Output;
use super::writer::Writer;
use super::{Digest, IoError, atomic};
use crate::table::FeatureMatrix;

/// Key of a field's metadata in which polars keeps the categories of an `Enum`.
const ENUM_WORDS: &str = "_PL_ENUM_VALUES2";

/// A table that is built column by column, all with the same number of rows.
#[derive(Debug)]
pub struct Table {
    rows: usize,
    columns: Vec<Series>,
    fields: Vec<Field>,
    error: Option<PolarsError>,
}

impl Table {
    /// A table of `rows` rows.
    pub fn new(rows: usize) -> Self {
        Self { rows, columns: Vec::new(), fields: Vec::new(), error: None }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds the key columns: a path, a label among `classes` and a split among `splits`.
    pub fn keys(self, keys: &[Key], classes: &[String], splits: &[&str]) -> Self {
        let [path, label, split] = KEYS;
        let splits: Vec<String> = splits.iter().map(ToString::to_string).collect();
        self.text(path, keys.iter().map(|key| Some(key.path.as_str())))
            .category(label, classes, keys.iter().map(|key| key.label.as_deref()))
            .category(split, &splits, keys.iter().map(|key| key.split.as_deref()))
    }

    /// Adds a column of text; missing values are null.
    pub fn text<'a>(self, name: &str, values: impl Iterator<Item = Option<&'a str>>) -> Self {
        let values: Vec<Option<&str>> = values.collect();
        self.push(Field::new(name, Kind::Utf8, true), Series::new(name.into(), values))
    }

    /// Adds a column with values among `words`; missing values are null. Readers that support categoricals get these
    /// categories in this order.
    pub fn category<'a>(mut self, name: &str, words: &[String], values: impl Iterator<Item = Option<&'a str>>) -> Self {
        let values: Vec<Option<&str>> = values.collect();
        let text = Series::new(name.into(), values);
        let enumeration = FrozenCategories::new(words.iter().map(String::as_str))
            .and_then(|words| text.strict_cast(&DataType::from_frozen_categories(words)));
        match enumeration {
            Ok(series) => self.push(category_field(name, words), series),
            Err(error) => {
                self.error.get_or_insert(error);
                self
            }
        }
    }

    /// Adds a column of unsigned integers; missing values are null.
    pub fn counts(self, name: &str, values: impl Iterator<Item = Option<u64>>) -> Self {
        let values: Vec<Option<u64>> = values.collect();
        self.push(Field::new(name, Kind::UInt64, true), Series::new(name.into(), values))
    }

    /// Adds a column of f32.
    pub fn floats(self, name: &str, values: Vec<f32>) -> Self {
        self.push(Field::new(name, Kind::Float32, true), Series::new(name.into(), values))
    }

    /// Adds a column of f64.
    pub fn reals(self, name: &str, values: Vec<f64>) -> Self {
        self.push(Field::new(name, Kind::Float64, true), Series::new(name.into(), values))
    }

    /// Adds a column of booleans.
    pub fn flags(self, name: &str, values: Vec<bool>) -> Self {
        self.push(Field::new(name, Kind::Boolean, true), Series::new(name.into(), values))
    }

    /// Adds every column of `matrix`.
    pub fn wide(self, names: &[String], matrix: &FeatureMatrix) -> Self {
        let columns = transpose(matrix);
        names.iter().zip(columns).fold(self, |table, (name, values)| table.floats(name, values))
    }

    fn push(mut self, field: Field, series: Series) -> Self {
        self.columns.push(series);
        self.fields.push(field);
        self
    }

    /// The fields of the columns, for readers that use Arrow.
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The columns.
    pub(super) fn columns(&self) -> &[Series] {
        &self.columns
    }

    /// The columns; an error if one of them has another number of rows, or a value that is not among its categories.
    pub(super) fn into_columns(self) -> PolarsResult<Vec<Series>> {
        if let Some(error) = self.error {
            return Err(error);
        }
        match self.columns.iter().find(|column| column.len() != self.rows) {
            Some(wrong) => {
                let text = format!("the column `{}` has {} values in {} rows", wrong.name(), wrong.len(), self.rows);
                Err(PolarsError::ShapeMismatch(text.into()))
            }
            None => Ok(self.columns),
        }
    }

    /// Writes the table to `path`, atomically.
    pub fn write(self, path: &Path, metadata: &[(String, String)]) -> Result<Digest, IoError> {
        atomic::write(path, |file| self.encode(path, metadata, file))
    }

    /// Writes the table to a file that the user named.
    pub fn write_to(self, output: &Output, metadata: &[(String, String)]) -> Result<(), IoError> {
        output.write(|to| self.encode(output.path(), metadata, to))
    }

    /// Writes the table into `to`; errors name `path`.
    fn encode(self, path: &Path, metadata: &[(String, String)], to: impl std::io::Write) -> Result<(), IoError> {
        let mut writer = Writer::new(to, path, &self, None, metadata)?;
        writer.append(self, &[])?;
        writer.finish()
    }
}

/// A dictionary of text that polars reads as an `Enum` because of its metadata: `<bytes>;<word>` for each category.
fn category_field(name: &str, words: &[String]) -> Field {
    let index = match words.len() {
        0..=255 => Kind::UInt8,
        256..=65_535 => Kind::UInt16,
        _ => Kind::UInt32,
    };
    let encoded: String = words.iter().map(|word| format!("{};{word}", word.len())).collect();
    let metadata = std::collections::HashMap::from([(ENUM_WORDS.to_string(), encoded)]);
    Field::new(name, Kind::Dictionary(Box::new(index), Box::new(Kind::Utf8)), true).with_metadata(metadata)
}

/// Converts row-major values to one vector per column, in tiles that fit into the cache.
fn transpose(matrix: &FeatureMatrix) -> Vec<Vec<f32>> {
    const TILE: usize = 32;
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let mut columns = vec![vec![0.0; rows]; cols];
    for (tile, columns) in columns.chunks_mut(TILE).enumerate() {
        for first in (0..rows).step_by(TILE) {
            for i in first..rows.min(first + TILE) {
                let row = &matrix.row(i)[tile * TILE..];
                columns.iter_mut().zip(row).for_each(|(column, &value)| column[i] = value);
            }
        }
    }
    columns
}
