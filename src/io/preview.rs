//! Reads the columns, the metadata and the first rows of any Parquet file.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::IoError;
use super::reader::{Part, Reader};

/// The schema and the first rows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    pub rows: usize,
    pub row_groups: usize,
    /// The names and types of all columns.
    pub columns: Vec<(String, String)>,
    /// The key-value metadata without the Arrow schema.
    pub metadata: BTreeMap<String, String>,
    /// The names of the columns in `head`: all of them, or the first and the last.
    pub shown: Vec<String>,
    /// The first rows, as text.
    pub head: Vec<Vec<String>>,
}

/// Reads the first `rows` rows of `path`. If a table has at least two columns more than the sum of `ends`, only the
/// first `ends[0]` and the last `ends[1]` columns are read.
pub fn preview(path: &Path, rows: usize, ends: [usize; 2]) -> Result<Preview, IoError> {
    let table = Reader::open(path, IoError::no_table)?;
    let columns: Vec<(String, String)> =
        table.fields().iter().map(|field| (field.name().clone(), field.data_type().to_string())).collect();
    let n = columns.len();
    let [first, last] = ends;
    let few = n <= first + last + 1;
    let chosen: Vec<usize> = (0..n).filter(|&i| few || i < first || i >= n - last).collect();
    let shown = chosen.iter().map(|&i| columns[i].0.clone()).collect();
    let options = FormatOptions::default().with_null("");
    let mut head = Vec::new();
    for batch in table.read(Part { groups: 0..table.groups(), columns: chosen, rows: Some(rows) })? {
        let cells: Result<Vec<_>, _> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options)).collect();
        let cells = cells.map_err(|error| table.wrong(error))?;
        head.extend((0..batch.num_rows()).map(|i| cells.iter().map(|column| column.value(i).to_string()).collect()));
    }
    Ok(Preview { rows: table.rows(), row_groups: table.groups(), columns, metadata: table.metadata(), shown, head })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::table::Table;
    use crate::table::FeatureMatrix;

    #[test]
    fn a_wide_table_is_folded_and_another_file_is_an_error() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("wide.parquet");
        let names: Vec<String> = (0..500).map(|i| format!("f_{i}")).collect();
        let matrix = FeatureMatrix::from_vec(3, 500, (0..1500).map(|i| i as f32 / 4.0).collect()).expect("3 × 500");
        let table = Table::new(3).text("path", [Some("a"), None, Some("ü")].into_iter()).wide(&names, &matrix);
        table.write(&path, &[("featurize.model".into(), "m".into())]).expect("written");
        let seen = preview(&path, 2, [2, 1]).expect("read");
        assert_eq!((seen.rows, seen.columns.len(), seen.metadata["featurize.model"].as_str()), (3, 501, "m"));
        assert_eq!(seen.columns[1], ("f_0".to_string(), "Float32".to_string()));
        assert_eq!(seen.shown, ["path", "f_0", "f_499"]);
        assert_eq!(seen.head, [["a", "0.0", "124.75"], ["", "125.0", "249.75"]]);
        let none = dir.path().join("none.parquet");
        std::fs::write(&none, b"no table at all").expect("written");
        let error = preview(&none, 2, [2, 1]).expect_err("no table").to_string();
        assert!(error.contains("none.parquet") && error.contains("no Parquet"), "{error}");
    }
}
