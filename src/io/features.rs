//! Feature tables: key columns and features, in either layout and either number format, written from rows and read back as one row-major matrix.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;

pub use encode::{Append, Layout, groups_into, write, write_groups, write_noted};

use super::IoError;
use crate::table::FeatureMatrix;

/// The columns that stand before the features.
pub const KEYS: [&str; 3] = ["path", "label", "split"];
/// The name of the one feature column of `layout: array`.
pub const ARRAY: &str = "features";

/// Which picture a row is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Relative to the root, with `/`.
    pub path: String,
    pub label: Option<String>,
    pub split: Option<String>,
}

/// A Parquet file with key columns and features, its footer read.
#[derive(Debug)]
pub struct FeatureFile {
    path: PathBuf,
    footer: ArrowReaderMetadata,
}

impl FeatureFile {
    /// Opens `path` and reads its footer.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let file = File::open(path).map_err(IoError::read(path))?;
        let footer = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new());
        let footer = footer.map_err(|error| IoError::Table { path: path.to_path_buf(), reason: error.to_string() })?;
        Ok(Self { path: path.to_path_buf(), footer })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        usize::try_from(self.footer.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.list().unwrap_or_else(|| self.features().count())
    }

    /// The key-value metadata.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let pairs = self.footer.metadata().file_metadata().key_value_metadata();
        pairs.into_iter().flatten().filter_map(|kv| Some((kv.key.clone(), kv.value.clone()?))).collect()
    }

    /// The keys and all features of all rows; `(rows, width)`.
    pub fn read(&self) -> Result<(Vec<Key>, FeatureMatrix), IoError> {
        Ok((self.read_keys()?, self.read_features(None)?))
    }

    /// Number of row groups: what can be read at a time.
    pub fn groups(&self) -> usize {
        self.footer.metadata().num_row_groups()
    }

    /// The keys of a row group and its features: those numbered by `keep`, or all.
    pub fn read_group(&self, group: usize, keep: Option<&[usize]>) -> Result<(Vec<Key>, FeatureMatrix), IoError> {
        Ok((self.keys_in(group..group + 1)?, self.features_in(group..group + 1, keep)?))
    }

    /// The features alone: those numbered by `keep`, or all.
    pub fn read_features(&self, keep: Option<&[usize]>) -> Result<FeatureMatrix, IoError> {
        self.features_in(0..self.groups(), keep)
    }

    /// The keys alone.
    pub fn read_keys(&self) -> Result<Vec<Key>, IoError> {
        self.keys_in(0..self.groups())
    }

    fn row_groups(&self, groups: &Range<usize>) -> Result<(&[RowGroupMetaData], usize), IoError> {
        let found = self.footer.metadata().row_groups().get(groups.clone());
        let found = found.ok_or_else(|| self.wrong(format!("it has {} row groups", self.groups())))?;
        let rows = found.iter().map(|group| usize::try_from(group.num_rows()).unwrap_or(0)).sum();
        Ok((found, rows))
    }

    fn features_in(&self, groups: Range<usize>, keep: Option<&[usize]>) -> Result<FeatureMatrix, IoError> {
        let file = File::open(&self.path).map_err(IoError::read(&self.path))?;
        let (groups, rows) = self.row_groups(&groups)?;
        let leaves: Vec<usize> = self.features().collect();
        if let Some(width) = self.list() {
            let mut all = FeatureMatrix::zeros(rows, width);
            let leaf = *leaves.first().ok_or_else(|| self.wrong("it has no features"))?;
            decode::lists(file, groups, leaf, &mut all).map_err(|error| self.wrong(error))?;
            return Ok(match keep {
                Some(keep) => all.select_cols(keep),
                None => all,
            });
        }
        let leaf = |&column: &usize| leaves.get(column).copied();
        let leaves = keep.map_or(Some(leaves.clone()), |keep| keep.iter().map(leaf).collect());
        let leaves = leaves.ok_or_else(|| self.wrong("it has fewer features than were measured"))?;
        let mut all = FeatureMatrix::zeros(rows, leaves.len());
        decode::columns(file, groups, &leaves, &mut all).map_err(|error| self.wrong(error))?;
        Ok(all)
    }

    fn keys_in(&self, groups: Range<usize>) -> Result<Vec<Key>, IoError> {
        let is_key = |name: &str| KEYS.contains(&name);
        let fields = self.footer.schema().fields().iter().enumerate();
        let columns: Vec<usize> = fields.filter(|(_, field)| is_key(field.name())).map(|(i, _)| i).collect();
        let mut keys = Vec::with_capacity(self.row_groups(&groups)?.1);
        for batch in self.batches(groups, &columns)? {
            keys.extend(self.keys_of(&batch)?);
        }
        Ok(keys)
    }

    /// Numbers of the columns that hold features: keys and features are flat, so they are those of the schema.
    fn features(&self) -> impl Iterator<Item = usize> {
        let columns = self.footer.metadata().file_metadata().schema_descr().columns().iter().enumerate();
        let is_key = |name: &str| KEYS.contains(&name);
        columns
            .filter(move |(_, column)| !column.path().parts().first().is_some_and(|name| is_key(name)))
            .map(|(i, _)| i)
    }

    /// Width of the lists, when the features are one column of them.
    fn list(&self) -> Option<usize> {
        let fields = self.footer.schema().fields().iter().find(|field| field.name() == ARRAY)?;
        if let DataType::FixedSizeList(_, width) = fields.data_type() { usize::try_from(*width).ok() } else { None }
    }

    /// Name of feature number `j` of a row: its column's, or `features[j]` where all are one column.
    pub fn name_of(&self, j: usize) -> String {
        let features = self.footer.schema().fields().iter().filter(|field| !KEYS.contains(&field.name().as_str()));
        let names: Vec<&str> = features.map(|field| field.name().as_str()).collect();
        match names.as_slice() {
            [list] if self.width() > 1 => format!("{list}[{j}]"),
            names => names.get(j).map_or_else(|| j.to_string(), ToString::to_string),
        }
    }

    /// An error that names the first value that is no number, where there is one; `keep` are the columns that `matrix` has.
    pub fn check_finite(&self, keys: &[Key], matrix: &FeatureMatrix, keep: Option<&[usize]>) -> Result<(), IoError> {
        let Some(at) = matrix.as_slice().iter().position(|value| !value.is_finite()) else { return Ok(()) };
        let (row, column) = (at / matrix.cols(), at % matrix.cols());
        let column = self.name_of(keep.and_then(|keep| keep.get(column)).map_or(column, |&column| column));
        let picture = keys.get(row).map_or_else(|| row.to_string(), |key| key.path.clone());
        Err(IoError::NotFinite { path: self.path.clone(), picture, column })
    }

    fn wrong(&self, reason: impl ToString) -> IoError {
        IoError::Table { path: self.path.clone(), reason: reason.to_string() }
    }

    fn batches(&self, groups: Range<usize>, columns: &[usize]) -> Result<Vec<RecordBatch>, IoError> {
        let file = File::open(&self.path).map_err(IoError::read(&self.path))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.footer.clone());
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied());
        let builder = builder.with_row_groups(groups.collect()).with_projection(mask);
        let reader = builder.build().map_err(|error| self.wrong(error))?;
        reader.map(|batch| batch.map_err(|error| self.wrong(error))).collect()
    }

    fn keys_of(&self, batch: &RecordBatch) -> Result<Vec<Key>, IoError> {
        let [paths, labels, splits] = KEYS.map(|name| self.text_of(batch, name));
        let (paths, labels, splits) = (paths?, labels?, splits?);
        let at =
            |column: &ArrayRef, i: usize| column.is_valid(i).then(|| column.as_string::<i32>().value(i).to_string());
        (0..batch.num_rows())
            .map(|i| {
                let path = at(&paths, i).ok_or_else(|| self.wrong("a row has no path"))?;
                Ok(Key { path, label: at(&labels, i), split: at(&splits, i) })
            })
            .collect()
    }

    /// A column as plain strings, whatever text type the writer chose.
    fn text_of(&self, batch: &RecordBatch, name: &str) -> Result<ArrayRef, IoError> {
        let column = batch.column_by_name(name).ok_or_else(|| self.wrong(format!("it has no column `{name}`")))?;
        cast(column, &DataType::Utf8).map_err(|error| self.wrong(error))
    }
}
