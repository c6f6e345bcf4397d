//! What is written comes back, in both layouts and number formats.

use half::f16;

use super::*;
use crate::io::table::Table;
use crate::table::Dtype;

/// More columns than a block, and not a multiple of a tile.
const WIDTH: usize = 1_037;
const ROWS: usize = 70;

fn matrix() -> FeatureMatrix {
    let value = |i: usize| if i.is_multiple_of(3) { 0.0 } else { (i as f32).sin() * 9.0 };
    FeatureMatrix::from_vec(ROWS, WIDTH, (0..ROWS * WIDTH).map(value).collect()).expect("rows × width")
}

fn names() -> Vec<String> {
    (0..WIDTH).map(|i| format!("f_{i:04}")).collect()
}

fn keys() -> Vec<Key> {
    let label = |i: usize| (!i.is_multiple_of(3)).then(|| format!("class {}", i % 3));
    (0..ROWS).map(|i| Key { path: format!("a/ü {i}.jpg"), label: label(i), split: Some("train".into()) }).collect()
}

fn base(keys: &[Key]) -> Table {
    let words = ["class 1".to_string(), "class 2".to_string()];
    Table::new(keys.len())
        .text("path", keys.iter().map(|key| Some(key.path.as_str())))
        .category("label", &words, keys.iter().map(|key| key.label.as_deref()))
        .category("split", &["train".into(), "test".into()], keys.iter().map(|key| key.split.as_deref()))
}

fn save(path: &Path, layout: Layout, dtype: Dtype, keys: &[Key], matrix: &FeatureMatrix) {
    let metadata = [("featurize.model".to_string(), "m".to_string())];
    let rows: Vec<&[f32]> = matrix.iter_rows().collect();
    write(path, base(keys), Format { layout, dtype }, &rows, &metadata).expect("written");
}

#[test]
fn both_layouts_and_formats_come_back_as_they_were_written() {
    let dir = tempfile::tempdir().expect("folder");
    let (path, names, matrix) = (dir.path().join("t.parquet"), names(), matrix());
    let mut halves = matrix.clone();
    halves.as_mut_slice().iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
    let kept = [0, 15, 16, 511, 512, 1_036];
    for layout in [Layout::Wide(&names), Layout::Array(WIDTH)] {
        for (dtype, expected) in [(Dtype::F32, &matrix), (Dtype::F16, &halves)] {
            save(&path, layout, dtype, &keys(), &matrix);
            let file = FeatureFile::open(&path).expect("opened");
            assert_eq!((file.rows(), file.width()), (ROWS, WIDTH));
            assert_eq!(file.metadata()["featurize.model"], "m");
            assert_eq!(file.read_keys().expect("read"), keys());
            let (keys_read, read) = file.read().expect("read");
            assert!(keys_read == keys() && read == *expected, "{layout:?} {dtype:?}");
            assert_eq!(file.read_features(Some(&kept)).expect("read"), expected.select_cols(&kept));
        }
    }
    let error = FeatureFile::open(&path).and_then(|_| {
        save(&path, Layout::Wide(&names), Dtype::F32, &keys(), &matrix);
        FeatureFile::open(&path)?.read_features(Some(&[WIDTH]))
    });
    assert!(error.is_err(), "a column that is not there");
}

#[test]
fn a_table_of_a_frame_is_read_too() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("t.parquet");
    base(&keys()).wide(&names(), &matrix()).write(&path, &[]).expect("written");
    assert!(FeatureFile::open(&path).and_then(|file| file.read()).expect("read") == (keys(), matrix()));
}

#[test]
fn a_table_without_rows_is_a_table() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("none.parquet");
    let names = ["a", "b", "c"].map(String::from);
    for layout in [Layout::Wide(&names), Layout::Array(3)] {
        save(&path, layout, Dtype::F32, &[], &FeatureMatrix::with_cols(3));
        let (keys, matrix) = FeatureFile::open(&path).and_then(|file| file.read()).expect("read");
        assert_eq!((keys.len(), matrix.rows(), matrix.cols()), (0, 0, 3));
    }
}

#[test]
fn the_same_table_is_the_same_bytes_and_a_broken_one_is_told() {
    let dir = tempfile::tempdir().expect("folder");
    let names = names();
    let files = ["a.parquet", "b.parquet"].map(|name| {
        let path = dir.path().join(name);
        save(&path, Layout::Wide(&names), Dtype::F32, &keys(), &matrix());
        std::fs::read(path).expect("read")
    });
    assert!(files[0] == files[1]);
    let broken = dir.path().join("broken.parquet");
    std::fs::write(&broken, &files[0][..files[0].len() - 9]).expect("written");
    let error = FeatureFile::open(&broken).expect_err("no footer").to_string();
    assert!(error.contains("broken.parquet"), "{error}");
    // a footer whose columns lie behind the end of the file
    let mut cut = files[0].clone();
    cut.drain(4..4 + 200_000);
    std::fs::write(&broken, cut).expect("written");
    let read = FeatureFile::open(&broken).and_then(|file| file.read());
    assert!(read.is_err());
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("t.parquet");
    let short = vec![0.0; WIDTH - 1];
    let format = Format { layout: Layout::Array(WIDTH), dtype: Dtype::F32 };
    let result = write(&path, base(&keys()[..1]), format, &[&short], &[]);
    assert!(result.is_err() && !path.exists());
}
