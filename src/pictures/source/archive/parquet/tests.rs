//! Large tables, names, and missing columns.

use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{BinaryArray, Int64Array, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::super::tests::{aside, bytes, golden, listed, listed_by};
use super::*;

/// The bytes of the picture in a row: some are long, every tenth row has the same.
fn picture(row: usize) -> Vec<u8> {
    match row % 10 {
        0 => vec![9; 50],
        other => (0..other * 500 + row % 97).map(|i| (i * row) as u8).collect(),
    }
}

/// Four thousand rows in row groups of 1,500, with a few rows per page.
fn table(path: &Path) {
    let rows = 4000;
    let pictures: Vec<Vec<u8>> = (0..rows).map(picture).collect();
    let images = BinaryArray::from_iter(pictures.iter().enumerate().map(|(i, one)| (i % 400 != 7).then_some(one)));
    let numbers = Int64Array::from_iter_values((0..rows as i64).map(|i| i % 3));
    let names = StringArray::from_iter_values((0..rows).map(|i| format!("{}/{}.jpg", i % 5, i / 2 * 2)));
    let columns: [(&str, ArrayRef); 4] = [
        ("n", Arc::new(numbers.clone())),
        ("name", Arc::new(names)),
        ("photo", Arc::new(images)),
        ("label", Arc::new(numbers)),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let properties =
        WriterProperties::builder().set_max_row_group_row_count(Some(1500)).set_data_page_size_limit(20_000);
    let properties = properties.set_write_batch_size(16).build();
    let mut writer =
        ArrowWriter::try_new(File::create(path).expect("created"), batch.schema(), Some(properties)).expect("begun");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

#[test]
fn rows_are_read_in_any_order_by_many_threads() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("a.parquet");
    table(&path);
    let met = listed(&path).expect("listed");
    assert_eq!(met.len(), 4000);
    assert_eq!(aside(&met).len(), 10);
    assert_eq!((met[5].path.as_str(), met[5].label.as_deref()), ("000005", Some("2")));
    let member = |row: usize| met[row].content.clone().expect("a picture");
    // backwards, forwards and across row groups
    for row in [3999, 1, 1499, 1500, 3001, 0, 2999] {
        assert_eq!(bytes(&member(row)).expect("read"), picture(row), "{row}");
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(8, Ordering::Relaxed);
                    if first >= met.len() {
                        break;
                    }
                    for row in (first..first + 8).filter(|&row| met[row].content.is_ok()) {
                        assert_eq!(bytes(&member(row)).expect("read"), picture(row), "{row}");
                    }
                }
            });
        }
    });
}

#[test]
fn names_are_keys_where_they_are_asked_for() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("a.parquet");
    table(&path);
    let columns = Columns { path: Some("name".into()), label: Some("n".into()), ..Columns::default() };
    let met = listed_by(&path, &columns).expect("listed");
    assert_eq!(met[1].path, "1/0.jpg");
    let columns = Columns { path: Some("name".into()), ..Columns::default() };
    let met = listed_by(&golden("plain.parquet"), &columns).expect("listed");
    assert_eq!((met[1].path.as_str(), met[1].label.as_deref()), ("Training/Kiwi/0.jpg", Some("Kiwi")));
    let wrong = Columns { image: Some("note".into()), ..Columns::default() };
    assert!(listed_by(&golden("plain.parquet"), &wrong).is_err_and(|text| text.starts_with("input.parquet.image: ")));
}
