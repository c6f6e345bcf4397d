//! Single columns of a Parquet table, read through arrow.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, UInt64Type};

use super::IoError;
use super::reader::{Part, Reader};

/// A table whose footer has been read.
#[derive(Debug)]
pub struct TableFile {
    table: Reader,
}

impl TableFile {
    /// Opens `path` and reads its footer.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        Ok(Self { table: Reader::open(path, IoError::table)? })
    }

    /// The key-value metadata.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.table.metadata()
    }

    /// Number of row groups.
    pub fn groups(&self) -> usize {
        self.table.groups()
    }

    /// Number of rows of a row group.
    pub fn rows(&self, group: usize) -> usize {
        let group = self.table.footer().row_groups().get(group);
        group.map_or(0, |group| usize::try_from(group.num_rows()).unwrap_or(0))
    }

    /// Reads the columns called `names` of these row groups.
    pub fn read(&self, groups: Range<usize>, names: &[&str]) -> Result<Columns, IoError> {
        let columns = self.table.columns(|name| names.contains(&name));
        let batches = self.table.read(Part { groups, columns, rows: None })?;
        Ok(Columns { table: self.table.clone(), batches })
    }
}

/// A table of which some columns have been read.
#[derive(Debug)]
pub struct Columns {
    table: Reader,
    batches: Vec<RecordBatch>,
}

impl Columns {
    /// Reads the columns called `names`. The error for a missing column is returned when it is accessed.
    pub fn read(path: &Path, names: &[&str]) -> Result<Self, IoError> {
        let file = TableFile::open(path)?;
        file.read(0..file.groups(), names)
    }

    /// A column of text or of categories.
    pub fn texts(&self, name: &str) -> Result<Vec<Option<String>>, IoError> {
        self.each(name, &DataType::Utf8, |column| {
            let texts = column.as_string::<i32>();
            texts.iter().map(|text| text.map(str::to_string)).collect()
        })
    }

    /// A column of booleans; null is false.
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

    /// A column of unsigned integers.
    pub fn counts(&self, name: &str) -> Result<Vec<Option<u64>>, IoError> {
        self.each(name, &DataType::UInt64, |column| column.as_primitive::<UInt64Type>().iter().collect())
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
        assert_eq!(columns.counts("n").expect("numbers"), [Some(1), None, Some(3)]);
        assert!(columns.texts("other").is_err());
    }
}
