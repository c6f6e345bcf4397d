//! Feature tables read back through arrow: the key columns and the features as one row-major matrix, whichever layout they were written in.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::IoError;
use crate::table::FeatureMatrix;

/// The columns that stand before the features.
pub const KEYS: [&str; 3] = ["path", "label", "split"];
/// The name of the one feature column of `layout: array`.
pub const ARRAY: &str = "features";
/// Rows decoded at once.
const BATCH: usize = 1024;

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

    /// The key-value metadata.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let pairs = self.footer.metadata().file_metadata().key_value_metadata();
        pairs.into_iter().flatten().filter_map(|kv| Some((kv.key.clone(), kv.value.clone()?))).collect()
    }

    /// The keys and all features of all rows; `(rows, width)`.
    pub fn read(&self) -> Result<(Vec<Key>, FeatureMatrix), IoError> {
        let columns: Vec<usize> = (0..self.footer.schema().fields().len()).collect();
        let mut keys = Vec::with_capacity(self.rows());
        let mut parts: Vec<FeatureMatrix> = Vec::new();
        for batch in self.batches(&columns)? {
            keys.extend(self.keys_of(&batch)?);
            parts.push(self.features_of(&batch)?);
        }
        let width = self.width();
        let mut all = FeatureMatrix::with_cols(width);
        parts.iter().for_each(|part| all.append(part));
        Ok((keys, all))
    }

    /// The keys alone.
    pub fn read_keys(&self) -> Result<Vec<Key>, IoError> {
        let is_key = |name: &str| KEYS.contains(&name);
        let fields = self.footer.schema().fields().iter().enumerate();
        let columns: Vec<usize> = fields.filter(|(_, field)| is_key(field.name())).map(|(i, _)| i).collect();
        let mut keys = Vec::with_capacity(self.rows());
        for batch in self.batches(&columns)? {
            keys.extend(self.keys_of(&batch)?);
        }
        Ok(keys)
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        let features = self.footer.schema().fields().iter().filter(|field| !KEYS.contains(&field.name().as_str()));
        features.map(|field| if let DataType::FixedSizeList(_, n) = field.data_type() { *n as usize } else { 1 }).sum()
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

    /// An error that names the first value that is no number, where there is one.
    pub fn check_finite(&self, keys: &[Key], matrix: &FeatureMatrix) -> Result<(), IoError> {
        let Some(at) = matrix.as_slice().iter().position(|value| !value.is_finite()) else { return Ok(()) };
        let (row, column) = (at / matrix.cols(), self.name_of(at % matrix.cols()));
        let picture = keys.get(row).map_or_else(|| row.to_string(), |key| key.path.clone());
        Err(IoError::NotFinite { path: self.path.clone(), picture, column })
    }

    fn wrong(&self, reason: impl ToString) -> IoError {
        IoError::Table { path: self.path.clone(), reason: reason.to_string() }
    }

    fn batches(&self, columns: &[usize]) -> Result<Vec<RecordBatch>, IoError> {
        let file = File::open(&self.path).map_err(IoError::read(&self.path))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.footer.clone());
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied());
        let reader = builder.with_projection(mask).with_batch_size(BATCH).build().map_err(|error| self.wrong(error))?;
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

    fn features_of(&self, batch: &RecordBatch) -> Result<FeatureMatrix, IoError> {
        let rows = batch.num_rows();
        let schema = batch.schema();
        let fields = schema.fields().iter().zip(batch.columns());
        let features: Vec<_> = fields.filter(|(field, _)| !KEYS.contains(&field.name().as_str())).collect();
        if let [(_, column)] = features.as_slice()
            && let Some(list) = column.as_fixed_size_list_opt()
        {
            let width = usize::try_from(list.value_length()).unwrap_or(0);
            let values =
                list.values().as_primitive_opt::<Float32Type>().ok_or_else(|| self.wrong("it is not of f32"))?;
            return FeatureMatrix::from_vec(rows, width, values.values().to_vec()).map_err(|error| self.wrong(error));
        }
        let mut matrix = FeatureMatrix::zeros(rows, features.len());
        let width = features.len();
        for (j, (field, column)) in features.into_iter().enumerate() {
            let values = column.as_primitive_opt::<Float32Type>();
            let values = values.ok_or_else(|| self.wrong(format!("column `{}` is not of f32", field.name())))?;
            let cells = matrix.as_mut_slice()[j..].iter_mut().step_by(width);
            cells.zip(values.values()).for_each(|(cell, &value)| *cell = value);
        }
        Ok(matrix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::table::Table;

    fn matrix() -> FeatureMatrix {
        let values = (0..70 * 5).map(|i| i as f32 / 7.0 - 3.0).collect();
        FeatureMatrix::from_vec(70, 5, values).expect("70 × 5")
    }

    fn keys() -> Vec<Key> {
        let label = |i: usize| (!i.is_multiple_of(3)).then(|| format!("class {}", i % 3));
        (0..70).map(|i| Key { path: format!("a/ü {i}.jpg"), label: label(i), split: Some("train".into()) }).collect()
    }

    fn base(keys: &[Key]) -> Table {
        let words = ["class 1".to_string(), "class 2".to_string()];
        Table::new(keys.len())
            .text("path", keys.iter().map(|key| Some(key.path.as_str())))
            .category("label", &words, keys.iter().map(|key| key.label.as_deref()))
            .category("split", &["train".into(), "test".into()], keys.iter().map(|key| key.split.as_deref()))
    }

    #[test]
    fn both_layouts_come_back_as_they_were_written() {
        let dir = tempfile::tempdir().expect("folder");
        let names: Vec<String> = (0..5).map(|i| format!("f_{i}")).collect();
        let metadata = [("featurize.model".to_string(), "m".to_string())];
        let (wide, array) = (dir.path().join("wide.parquet"), dir.path().join("array.parquet"));
        base(&keys()).wide(&names, &matrix()).write(&wide, &metadata).expect("written");
        base(&keys()).array(ARRAY, &matrix()).write(&array, &metadata).expect("written");
        for path in [wide, array] {
            let file = FeatureFile::open(&path).expect("opened");
            assert_eq!((file.rows(), file.width()), (70, 5));
            assert_eq!(file.metadata()["featurize.model"], "m");
            assert_eq!(file.read().expect("read"), (keys(), matrix()));
            assert_eq!(file.read_keys().expect("read"), keys());
        }
    }

    #[test]
    fn a_table_without_rows_is_a_table() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("none.parquet");
        for array in [false, true] {
            let empty = FeatureMatrix::with_cols(3);
            let table = base(&[]);
            let table = if array {
                table.array(ARRAY, &empty)
            } else {
                table.wide(&["a".into(), "b".into(), "c".into()], &empty)
            };
            table.write(&path, &[]).expect("written");
            let (keys, matrix) = FeatureFile::open(&path).and_then(|file| file.read()).expect("read");
            assert_eq!((keys.len(), matrix.rows(), matrix.cols()), (0, 0, 3));
        }
    }

    #[test]
    fn the_same_table_is_the_same_bytes_and_a_broken_one_is_told() {
        let dir = tempfile::tempdir().expect("folder");
        let names: Vec<String> = (0..5).map(|i| format!("f_{i}")).collect();
        let files = ["a.parquet", "b.parquet"].map(|name| {
            let path = dir.path().join(name);
            base(&keys()).wide(&names, &matrix()).write(&path, &[]).expect("written");
            std::fs::read(path).expect("read")
        });
        assert_eq!(files[0], files[1]);
        let broken = dir.path().join("broken.parquet");
        std::fs::write(&broken, &files[0][..files[0].len() - 9]).expect("written");
        let error = FeatureFile::open(&broken).expect_err("no footer").to_string();
        assert!(error.contains("broken.parquet"), "{error}");
    }
}
