//! Single columns of a Parquet table, read through arrow.

use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type};

use super::IoError;
use super::reader::Reader;

/// A table of which some columns have been read.
#[derive(Debug)]
pub struct Columns {
    table: Reader,
    batches: Vec<RecordBatch>,
}

impl Columns {
    /// Reads the columns called `names`. A column that the table lacks is an error when it is asked for.
    pub fn read(path: &Path, names: &[&str]) -> Result<Self, IoError> {
        let table = Reader::open(path, IoError::table)?;
        let batches = table.read(table.every_row(|name| names.contains(&name)))?;
        Ok(Self { table, batches })
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
        let mut all = Vec::new();
        for batch in &self.batches {
            all.extend(read(&self.table.column(batch, name, kind)?));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::table::Table;

    #[test]
    fn columns_come_back_and_an_absent_one_is_an_error() {
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
