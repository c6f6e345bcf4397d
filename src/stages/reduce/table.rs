//! `reduced.parquet`: rows are reduced and written one row group at a time, so that memory holds a single row group
//! whatever the number of rows.

use std::path::Path;

use super::{Input, ReduceError};
use crate::io::features::{Format, Key, Layout};
use crate::io::table::Table;
use crate::io::writer::Writer;
use crate::io::{Digest, IoError, atomic};
use crate::learn::dataset::Transformer;
use crate::learn::reduction::Reduction;
use crate::progress::Ui;
use crate::stages::scan::Split;
use crate::table::{Dtype, FeatureMatrix};

/// Bytes of features in a row group.
const GROUP: usize = 64 << 20;
/// The most column chunks in the file: each takes some bytes of the footer, which readers keep in memory.
const CHUNKS: usize = 50_000;

/// Rows of a row group, for a table of `rows` × `columns`: row groups have [`GROUP`] bytes, or more where that would
/// make too many column chunks.
fn group_rows(rows: usize, columns: usize) -> usize {
    let by_bytes = GROUP / (size_of::<f32>() * columns.max(1));
    let groups = (CHUNKS / columns.max(1)).max(1);
    by_bytes.max(rows.div_ceil(groups)).min(rows).max(1)
}

/// Writes every row of `input`, reduced by `reduction`, with the column names `columns`.
pub fn write(
    path: &Path,
    input: &Input,
    reduction: &Reduction,
    columns: &[String],
    metadata: &[(String, String)],
    ui: &Ui,
) -> Result<Digest, ReduceError> {
    let most = group_rows(input.shards.count()?, columns.len());
    in_groups(path, most, columns, input.classes, metadata, |put| {
        input.shards.for_each::<ReduceError>(input.kept, ui, |keys, rows| put(keys, &reduction.transform(rows)?))
    })
}

/// Writes the rows that `fill` hands over, `most` of them to a row group; the file does not depend on the blocks in
/// which the rows are handed over.
fn in_groups(
    path: &Path,
    most: usize,
    columns: &[String],
    classes: &[String],
    metadata: &[(String, String)],
    fill: impl FnOnce(&mut dyn FnMut(&[Key], &FeatureMatrix) -> Result<(), ReduceError>) -> Result<(), ReduceError>,
) -> Result<Digest, ReduceError> {
    let format = Format { layout: Layout::Wide(columns), dtype: Dtype::F32 };
    atomic::write(path, |file| {
        let mut writer = Writer::new(file, path, &table(&[], classes), Some(format), metadata)?;
        let (mut keys, mut rows) = (Vec::with_capacity(most), FeatureMatrix::with_capacity(most, columns.len()));
        let mut flush = |keys: &mut Vec<Key>, rows: &mut FeatureMatrix| -> Result<(), IoError> {
            writer.append(table(keys, classes), &rows.iter_rows().collect::<Vec<_>>())?;
            keys.clear();
            rows.clear();
            Ok(())
        };
        fill(&mut |more, reduced| {
            for (key, row) in more.iter().zip(reduced.iter_rows()) {
                keys.push(key.clone());
                rows.push_row(row);
                if keys.len() == most {
                    flush(&mut keys, &mut rows)?;
                }
            }
            Ok(())
        })?;
        flush(&mut keys, &mut rows)?;
        Ok(writer.finish()?)
    })
}

/// The key columns of these rows.
fn table(keys: &[Key], classes: &[String]) -> Table {
    Table::new(keys.len()).keys(keys, classes, &Split::WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::features::FeatureFile;

    #[test]
    fn groups_are_bounded_and_so_are_the_chunks_of_the_footer() {
        assert_eq!(group_rows(100_000, 2048), 8192);
        assert_eq!(group_rows(1000, 64), 1000);
        assert_eq!(group_rows(1_000_000, 64), 262_144);
        // twenty-four groups of 2,048 columns, larger than 64 MB
        assert_eq!(group_rows(1_000_000, 2048), 41_667);
        assert_eq!(group_rows(22, 100_352), 22);
        assert_eq!((group_rows(0, 64), group_rows(9, 0)), (1, 9));
        assert_eq!(group_rows(1000, 100_352), 1000);
    }

    #[test]
    fn rows_come_back_whatever_the_groups_and_the_blocks_that_they_came_in() {
        let folder = tempfile::tempdir().expect("folder");
        let (columns, classes) = (["a", "b", "c"].map(String::from), ["x".to_string()]);
        let key = |i: usize| Key {
            path: format!("{i}.jpg"),
            label: (!i.is_multiple_of(3)).then(|| "x".to_string()),
            split: Some("train".to_string()),
        };
        let keys: Vec<Key> = (0..23).map(key).collect();
        let all = FeatureMatrix::from_vec(23, 3, (0..69).map(|i| i as f32 / 7.0).collect()).expect("23 × 3");
        let written = |name: &str, most: usize, block: usize| {
            let path = folder.path().join(name);
            in_groups(&path, most, &columns, &classes, &[], |put| {
                for first in (0..23).step_by(block) {
                    let rows: Vec<usize> = (first..23.min(first + block)).collect();
                    put(&keys[first..first + rows.len()], &all.select_rows(&rows))?;
                }
                Ok(())
            })
            .expect("written");
            path
        };
        for (most, groups) in [(1, 23), (5, 5), (23, 1), (99, 1)] {
            let paths = [1, 4, 23].map(|block| written(&format!("{most}-{block}"), most, block));
            let bytes = paths.each_ref().map(|path| std::fs::read(path).expect("read"));
            assert!(bytes.iter().all(|other| *other == bytes[0]), "{most}");
            let file = FeatureFile::open(&paths[0]).expect("opened");
            assert_eq!((file.rows(), file.groups()), (23, groups));
            let (read_keys, read) = file.read().expect("read");
            assert!(read_keys == keys && read == all);
            let last = file.read_group(groups - 1, Some(&[2, 0])).expect("read");
            let from = (groups - 1) * most;
            assert_eq!(last.0, keys[from..]);
            assert_eq!(last.1, all.select_cols(&[2, 0]).select_rows(&(from..23).collect::<Vec<_>>()));
        }
    }
}
