//! Tables written by polars: zstd, one row group, key-value metadata, no statistics (they double the footer of a wide table).

use std::path::Path;

use polars::prelude::{
    Column, DataFrame, DataType, FrozenCategories, IntoColumn, KeyValueMetadata, NamedFrom, ParquetCompression,
    ParquetWriter, PolarsError, ReshapeDimension, Series, StatisticsOptions,
};

use super::{IoError, atomic};
use crate::table::FeatureMatrix;

/// A table in the making, column after column, each of the same number of rows.
#[derive(Debug)]
pub struct Table {
    rows: usize,
    columns: Vec<Column>,
    error: Option<PolarsError>,
}

impl Table {
    /// A table of `rows` rows.
    pub fn new(rows: usize) -> Self {
        Self { rows, columns: Vec::new(), error: None }
    }

    /// Text, null where there is none.
    pub fn text<'a>(self, name: &str, values: impl Iterator<Item = Option<&'a str>>) -> Self {
        let values: Vec<Option<&str>> = values.collect();
        self.push(Series::new(name.into(), values))
    }

    /// One of `words`, by name; null where there is none. Readers that know them see a categorical with these words in this order.
    pub fn category<'a>(mut self, name: &str, words: &[String], values: impl Iterator<Item = Option<&'a str>>) -> Self {
        let values: Vec<Option<&str>> = values.collect();
        let text = Series::new(name.into(), values);
        let enumeration = FrozenCategories::new(words.iter().map(String::as_str))
            .and_then(|words| text.strict_cast(&DataType::from_frozen_categories(words)));
        match enumeration {
            Ok(series) => self.push(series),
            Err(error) => {
                self.error.get_or_insert(error);
                self
            }
        }
    }

    /// Whole numbers, null where there is none.
    pub fn counts(self, name: &str, values: impl Iterator<Item = Option<u64>>) -> Self {
        let values: Vec<Option<u64>> = values.collect();
        self.push(Series::new(name.into(), values))
    }

    /// f32.
    pub fn floats(self, name: &str, values: Vec<f32>) -> Self {
        self.push(Series::new(name.into(), values))
    }

    /// f64.
    pub fn reals(self, name: &str, values: Vec<f64>) -> Self {
        self.push(Series::new(name.into(), values))
    }

    /// Truth values.
    pub fn flags(self, name: &str, values: Vec<bool>) -> Self {
        self.push(Series::new(name.into(), values))
    }

    /// Every column of `matrix` as a column of its own.
    pub fn wide(self, names: &[String], matrix: &FeatureMatrix) -> Self {
        let columns = transpose(matrix);
        names.iter().zip(columns).fold(self, |table, (name, values)| table.floats(name, values))
    }

    /// Every row of `matrix` as one fixed-size list.
    pub fn array(mut self, name: &str, matrix: &FeatureMatrix) -> Self {
        let flat = Series::new(name.into(), matrix.as_slice());
        let dims = [matrix.rows(), matrix.cols()].map(|n| ReshapeDimension::new(n as i64));
        match flat.reshape_array(&dims) {
            Ok(series) => self.push(series),
            Err(error) => {
                self.error.get_or_insert(error);
                self
            }
        }
    }

    fn push(mut self, series: Series) -> Self {
        self.columns.push(series.into_column());
        self
    }

    /// Writes the table to `path`, whole or not at all.
    pub fn write(self, path: &Path, metadata: &[(String, String)]) -> Result<(), IoError> {
        let failed = |error: PolarsError| IoError::WriteTable { path: path.to_path_buf(), reason: error.to_string() };
        if let Some(error) = self.error {
            return Err(failed(error));
        }
        let rows = self.rows.max(1);
        let mut frame = DataFrame::new(self.rows, self.columns).map_err(failed)?;
        atomic::write(path, |file| {
            ParquetWriter::new(file)
                .with_compression(ParquetCompression::Zstd(None))
                .with_statistics(StatisticsOptions::empty())
                .with_row_group_size(Some(rows))
                .with_key_value_metadata(Some(KeyValueMetadata::from_static(metadata.to_vec())))
                .finish(&mut frame)
                .map(|_| ())
                .map_err(failed)
        })
    }
}

/// Row-major → one vector a column, in tiles that stay in the cache.
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
