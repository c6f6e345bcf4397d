//! Feature tables: key columns and features, in either layout and either number format. They are written from rows and
//! read back as one row-major matrix.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use parquet::file::metadata::RowGroupMetaData;

pub use encode::{Format, Layout, write_noted, writer_bytes};

use super::IoError;
use super::reader::{Part, Reader};
use crate::table::FeatureMatrix;

/// The columns that stand before the features.
pub const KEYS: [&str; 3] = ["path", "label", "split"];
/// The name of the one feature column of `layout: array`.
pub const ARRAY: &str = "features";

/// The picture of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Relative to `input.root`, with `/`.
    pub path: String,
    pub label: Option<String>,
    pub split: Option<String>,
}

/// A Parquet file with key columns and features, whose footer has been read.
#[derive(Debug)]
pub struct FeatureFile {
    table: Reader,
}

impl FeatureFile {
    /// Opens `path` and reads its footer.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        Ok(Self { table: Reader::open(path, IoError::table)? })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.table.rows()
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.list().unwrap_or_else(|| self.features().count())
    }

    /// The key-value metadata.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.table.metadata()
    }

    /// Number of row groups; one is read at a time.
    pub fn groups(&self) -> usize {
        self.table.groups()
    }

    /// The keys and all features of all rows; `(rows, width)`.
    pub fn read(&self) -> Result<(Vec<Key>, FeatureMatrix), IoError> {
        Ok((self.read_keys()?, self.read_features(None)?))
    }

    /// The keys of a row group and its features; `keep` selects columns, None selects all.
    pub fn read_group(&self, group: usize, keep: Option<&[usize]>) -> Result<(Vec<Key>, FeatureMatrix), IoError> {
        Ok((self.keys_in(group..group + 1)?, self.features_in(group..group + 1, keep)?))
    }

    /// The features of all rows; `keep` selects columns, None selects all.
    pub fn read_features(&self, keep: Option<&[usize]>) -> Result<FeatureMatrix, IoError> {
        self.features_in(0..self.groups(), keep)
    }

    /// The keys of all rows.
    pub fn read_keys(&self) -> Result<Vec<Key>, IoError> {
        self.keys_in(0..self.groups())
    }

    fn row_groups(&self, groups: &Range<usize>) -> Result<(&[RowGroupMetaData], usize), IoError> {
        let found = self.table.footer().row_groups().get(groups.clone());
        let found = found.ok_or_else(|| self.wrong(format!("it has {} row groups", self.groups())))?;
        let rows = found.iter().map(|group| usize::try_from(group.num_rows()).unwrap_or(0)).sum();
        Ok((found, rows))
    }

    fn features_in(&self, groups: Range<usize>, keep: Option<&[usize]>) -> Result<FeatureMatrix, IoError> {
        let file = File::open(self.table.path()).map_err(IoError::read(self.table.path()))?;
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
        let mut keys = Vec::with_capacity(self.row_groups(&groups)?.1);
        let columns = self.table.columns(|name| KEYS.contains(&name));
        for batch in self.table.read(Part { groups, columns, rows: None })? {
            keys.extend(self.keys_of(&batch)?);
        }
        Ok(keys)
    }

    /// Indices of the leaf columns that have features.
    fn features(&self) -> impl Iterator<Item = usize> {
        let leaves = self.table.footer().file_metadata().schema_descr().columns().iter().enumerate();
        let is_key = |name: &String| KEYS.contains(&name.as_str());
        leaves.filter(move |(_, leaf)| !leaf.path().parts().first().is_some_and(is_key)).map(|(i, _)| i)
    }

    /// Width of the lists, if the features are one column of lists.
    fn list(&self) -> Option<usize> {
        let fields = self.table.fields().iter().find(|field| field.name() == ARRAY)?;
        if let DataType::FixedSizeList(_, width) = fields.data_type() { usize::try_from(*width).ok() } else { None }
    }

    /// Name of feature `j`: that of its column, or `features[j]` in a column of lists.
    pub fn name_of(&self, j: usize) -> String {
        let features = self.table.fields().iter().filter(|field| !KEYS.contains(&field.name().as_str()));
        let names: Vec<&str> = features.map(|field| field.name().as_str()).collect();
        match names.as_slice() {
            [list] if self.width() > 1 => format!("{list}[{j}]"),
            names => names.get(j).map_or_else(|| j.to_string(), ToString::to_string),
        }
    }

    /// Returns an error that names the first value that is NaN or infinite; `keep` has the column indices of `matrix`.
    pub fn check_finite(&self, keys: &[Key], matrix: &FeatureMatrix, keep: Option<&[usize]>) -> Result<(), IoError> {
        let Some(at) = matrix.as_slice().iter().position(|value| !value.is_finite()) else { return Ok(()) };
        let (row, column) = (at / matrix.cols(), at % matrix.cols());
        let column = self.name_of(keep.and_then(|keep| keep.get(column)).map_or(column, |&column| column));
        let picture = keys.get(row).map_or_else(|| row.to_string(), |key| key.path.clone());
        Err(IoError::NotFinite { path: self.table.path().to_path_buf(), picture, column })
    }

    fn wrong(&self, reason: impl ToString) -> IoError {
        self.table.wrong(reason)
    }

    fn keys_of(&self, batch: &RecordBatch) -> Result<Vec<Key>, IoError> {
        let [paths, labels, splits] = KEYS.map(|name| self.table.column(batch, name, &DataType::Utf8));
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
}
