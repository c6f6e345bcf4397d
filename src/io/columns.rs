//! Single columns of a Parquet table, read through arrow.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::IoError;

/// A table of which some columns are read.
#[derive(Debug)]
pub struct Columns {
    path: PathBuf,
    batches: Vec<RecordBatch>,
}

impl Columns {
    /// Reads the columns called `names`; those that the table lacks are told when they are asked for.
    pub fn read(path: &Path, names: &[&str]) -> Result<Self, IoError> {
        let wrong = |reason: String| IoError::Table { path: path.to_path_buf(), reason };
        let file = File::open(path).map_err(IoError::read(path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| wrong(error.to_string()))?;
        let fields = builder.schema().fields().iter().enumerate();
        let wanted: Vec<usize> =
            fields.filter(|(_, field)| names.contains(&field.name().as_str())).map(|(i, _)| i).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let reader = builder.with_projection(mask).build().map_err(|error| wrong(error.to_string()))?;
        let batches = reader.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { path: path.to_path_buf(), batches })
    }

    /// A column of text or of words.
    pub fn texts(&self, name: &str) -> Result<Vec<Option<String>>, IoError> {
        self.each(name, &DataType::Utf8, |column| {
            let texts = column.as_string::<i32>();
            texts.iter().map(|text| text.map(str::to_string)).collect()
        })
    }

    /// A column of truth values; null is false.
    pub fn flags(&self, name: &str) -> Result<Vec<bool>, IoError> {
        self.each(name, &DataType::Boolean, |column| {
            column.as_boolean().iter().map(|flag| flag.unwrap_or(false)).collect()
        })
    }

    /// A column of numbers; null is NaN.
    pub fn reals(&self, name: &str) -> Result<Vec<f64>, IoError> {
        self.each(name, &DataType::Float64, |column| {
            column.as_primitive::<Float64Type>().iter().map(|value| value.unwrap_or(f64::NAN)).collect()
        })
    }

    fn each<T>(&self, name: &str, kind: &DataType, read: impl Fn(&dyn Array) -> Vec<T>) -> Result<Vec<T>, IoError> {
        let wrong = |reason: String| IoError::Table { path: self.path.clone(), reason };
        let mut all = Vec::new();
        for batch in &self.batches {
            let column = batch.column_by_name(name).ok_or_else(|| wrong(format!("it has no column `{name}`")))?;
            let column = cast(column, kind).map_err(|error| wrong(error.to_string()))?;
            all.extend(read(&column));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::table::Table;

    #[test]
    fn columns_come_back_and_absent_ones_are_told() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("t.parquet");
        let words = ["x".to_string(), "y".to_string()];
        Table::new(3)
            .category("word", &words, [Some("y"), None, Some("x")].into_iter())
            .flags("kept", vec![true, false, true])
            .counts("n", [Some(1), None, Some(3)].into_iter())
            .write(&path, &[])
            .expect("written");
        let columns = Columns::read(&path, &["word", "kept", "n"]).expect("read");
        assert_eq!(columns.texts("word").expect("text"), [Some("y".to_string()), None, Some("x".to_string())]);
        assert_eq!(columns.flags("kept").expect("flags"), [true, false, true]);
        let n = columns.reals("n").expect("numbers");
        assert!(n[0] == 1.0 && n[1].is_nan() && n[2] == 3.0);
        assert!(columns.texts("other").is_err());
    }
}
