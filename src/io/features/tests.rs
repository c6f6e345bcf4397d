//! Tables are read as they were written, in both layouts and dtypes, and the writer uses the planned memory.

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
    write_noted(path, base(keys), Format { layout, dtype }, &rows, &metadata, |_, _| Ok(())).expect("written");
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
    // a footer whose columns are beyond the end of the file
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
    let result = write_noted(&path, base(&keys()[..1]), format, &[&short], &[], |_, _| Ok(()));
    assert!(result.is_err() && !path.exists());
}

/// The environment variable with rows and features of a table, for the process below.
const TABLE: &str = "FEATURIZE_TABLE";

/// Writes one table in a process of its own, whose peak memory is measured; the next test starts it.
#[test]
#[ignore = "part of the_memory_of_the_writer_is_what_is_planned"]
fn a_table_in_a_process_of_its_own() {
    let table = std::env::var(TABLE).expect("set by the test that starts this one");
    let size: Vec<usize> = table.split(' ').filter_map(|number| number.parse().ok()).collect();
    let (rows, width) = (size[0], size[1]);
    // overlapping rows need no memory, and no two rows are equal
    let mut bits = 1u32;
    let mut next = || {
        (0..3).for_each(|shift| bits ^= [bits << 13, bits >> 17, bits << 5][shift]);
        bits
    };
    let values: Vec<f32> = (0..rows + width).map(|_| if next() % 2 == 0 { 0.0 } else { next() as f32 }).collect();
    let rows: Vec<&[f32]> = (0..rows).map(|first| &values[first..first + width]).collect();
    let names: Vec<String> = (0..width).map(|i| format!("resnet50_flatten_{i:05}")).collect();
    let layout = if table.ends_with("wide") { Layout::Wide(&names) } else { Layout::Array(width) };
    let key = |i: usize| Key { path: format!("{i}.jpg"), label: None, split: Some("train".into()) };
    let keys = base(&(0..rows.len()).map(key).collect::<Vec<_>>());
    let planned = writer_bytes(rows.len(), layout);
    let dir = tempfile::tempdir().expect("folder");
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let before = peak();
    let (path, format) = (dir.path().join("t.parquet"), Format { layout, dtype: Dtype::F32 });
    write_noted(&path, keys, format, &rows, &[], |_, _| Ok(())).expect("written");
    if let Some((before, after)) = before.zip(peak()) {
        println!("memory {} {planned}", 1024 * (after - before));
    }
}

#[test]
fn the_memory_of_the_writer_is_what_is_planned() {
    for table in ["64 40000 wide", "4000 2000 wide", "300 2000 array", "8 400000 array"] {
        let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "io::features::tests::a_table_in_a_process_of_its_own", "--ignored", "--nocapture"]);
        let output = command.env(TABLE, table).output().expect("started");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{table}: {text}");
        // only Linux reports the memory
        let Some((_, numbers)) = text.split_once("memory ") else { continue };
        let numbers: Vec<f64> = numbers.split_whitespace().take(2).filter_map(|number| number.parse().ok()).collect();
        let (taken, planned) = (numbers[0] / 1e6, numbers[1] / 1e6);
        println!("{table}: {taken} MB, {planned} MB planned");
        assert!(taken <= 1.25 * planned && planned <= 2.5 * taken, "{table}: {taken} MB, {planned} MB planned");
    }
}
