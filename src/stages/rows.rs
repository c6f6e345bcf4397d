//! The feature tables of a run, read back shard by shard for the learning stages.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::io::features::{FeatureFile, Key};
use crate::io::row_file::{RowFile, RowWriter};
use crate::io::{self, Digest, IoError};
use crate::progress::{Interrupted, Ui};
use crate::stages::scan::Split;
use crate::store::{OutputFile, RunDir};
use crate::table::FeatureMatrix;

/// Bytes of features that stay in memory between stages: a small table of 100,000 columns takes longer to open than to
/// use.
const HELD: usize = 64 << 20;

/// The committed shards, in order. Small ones are read once and kept in memory for all stages.
#[derive(Debug)]
pub struct Shards {
    files: Vec<Shard>,
    /// Bytes that may still be kept in memory.
    room: AtomicUsize,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    /// The hash that the file must have; none once it has been checked.
    written: Mutex<Option<Digest>>,
    held: OnceLock<Rows>,
}

type Rows = (Vec<Key>, FeatureMatrix);

enum Table<'a> {
    Held(&'a Rows),
    File(FeatureFile),
}

impl Shards {
    /// The first `count` shards of a run; `tables` are the tables that the run has committed.
    pub fn of(dir: &RunDir, count: usize, tables: &[OutputFile]) -> Self {
        let written: BTreeMap<PathBuf, &Option<Digest>> =
            tables.iter().map(|output| (dir.root().join(&output.file), &output.blake3)).collect();
        let mut shards = Self::new((0..count).map(|i| dir.shard(i, count)), HELD);
        for shard in &mut shards.files {
            shard.written = Mutex::new(written.get(&shard.path).and_then(|&digest| digest.clone()));
        }
        shards
    }

    fn new(files: impl IntoIterator<Item = PathBuf>, room: usize) -> Self {
        let shard = |path| Shard { path, written: Mutex::default(), held: OnceLock::new() };
        Self { files: files.into_iter().map(shard).collect(), room: AtomicUsize::new(room) }
    }

    /// Calls `take` with one row group after the other; a shard is one row group. `keep` selects columns, None selects
    /// all. A NaN or an infinite value in them is an error.
    pub fn for_each<E: From<IoError> + From<Interrupted>>(
        &self,
        keep: Option<&[usize]>,
        ui: &Ui,
        mut take: impl FnMut(&[Key], &FeatureMatrix) -> Result<(), E>,
    ) -> Result<(), E> {
        for shard in &self.files {
            ui.check()?;
            match self.open(shard)? {
                Table::Held((keys, all)) => {
                    let matrix = keep.map_or(Cow::Borrowed(all), |keep| Cow::Owned(all.select_cols(keep)));
                    if matrix.as_slice().iter().any(|value| !value.is_finite()) {
                        FeatureFile::open(&shard.path)?.check_finite(keys, &matrix, keep)?;
                    }
                    take(keys, &matrix)?;
                }
                Table::File(file) => {
                    for group in 0..file.groups() {
                        ui.check()?;
                        let (keys, matrix) = file.read_group(group, keep)?;
                        file.check_finite(&keys, &matrix, keep)?;
                        take(&keys, &matrix)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Opens the table of a shard: in memory if it is there or if there is room for it.
    fn open<'a>(&self, shard: &'a Shard) -> Result<Table<'a>, IoError> {
        if let Some(rows) = shard.held.get() {
            return Ok(Table::Held(rows));
        }
        let file = shard.file()?;
        let bytes = file.rows() * file.width() * size_of::<f32>();
        let fits = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(bytes)).is_ok();
        if !fits {
            return Ok(Table::File(file));
        }
        let rows = file.read()?;
        Ok(Table::Held(shard.held.get_or_init(|| rows)))
    }

    /// Reads the keys of the `wanted` rows.
    pub fn keys(&self, wanted: impl Fn(&Key) -> bool) -> Result<Vec<Key>, IoError> {
        let mut all = Vec::new();
        for shard in &self.files {
            match self.open(shard)? {
                Table::Held((keys, _)) => all.extend(keys.iter().filter(|&key| wanted(key)).cloned()),
                Table::File(file) => all.extend(file.read_keys()?.into_iter().filter(&wanted)),
            }
        }
        Ok(all)
    }

    /// Counts the rows.
    pub fn count(&self) -> Result<usize, IoError> {
        let rows = |shard: &Shard| match shard.held.get() {
            Some((keys, _)) => Ok(keys.len()),
            None => Ok(shard.file()?.rows()),
        };
        self.files.iter().map(rows).sum()
    }

    /// Reads the `wanted` rows into one matrix; besides this matrix, memory holds one row group.
    fn rows<E: From<IoError> + From<Interrupted>>(
        &self,
        keep: Option<&[usize]>,
        wanted: impl Fn(&Key) -> bool,
        ui: &Ui,
    ) -> Result<Rows, E> {
        if let [shard] = &self.files[..]
            && let Table::File(file) = self.open(shard)?
            && file.groups() == 1
        {
            // a single file may be as large as the memory, so it is not copied
            ui.check()?;
            let (mut keys, mut matrix) = (file.read_keys()?, file.read_features(keep)?);
            file.check_finite(&keys, &matrix, keep)?;
            let taken: Vec<usize> = (0..keys.len()).filter(|&i| wanted(&keys[i])).collect();
            matrix.retain_rows(&taken);
            keys.retain(&wanted);
            return Ok((keys, matrix));
        }
        let rows = self.keys(&wanted)?.len();
        let (mut keys, mut all): Rows = (Vec::with_capacity(rows), FeatureMatrix::with_cols(0));
        self.for_each(keep, ui, |some, matrix| {
            if keys.is_empty() {
                all = FeatureMatrix::with_capacity(rows, matrix.cols());
            }
            let taken: Vec<usize> = (0..some.len()).filter(|&i| wanted(&some[i])).collect();
            keys.extend(taken.iter().map(|&i| some[i].clone()));
            all.append_rows(matrix, &taken);
            Ok::<(), E>(())
        })?;
        Ok((keys, all))
    }
}

impl Shard {
    /// Opens the table, after checking the hash of all of its bytes the first time.
    fn file(&self) -> Result<FeatureFile, IoError> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = written.as_ref() {
            io::check(&self.path, digest)?;
            *written = None;
        }
        FeatureFile::open(&self.path)
    }
}

/// The train rows to fit on: all of them, or those outside a fold.
#[derive(Clone, Copy, Debug)]
pub struct TrainRows<'a> {
    shards: &'a Shards,
    /// The fold of every train row, in order, and the fold that is held out.
    held_out: Option<(&'a [usize], usize)>,
    count: usize,
}

impl<'a> TrainRows<'a> {
    /// All `count` train rows.
    pub fn all(shards: &'a Shards, count: usize) -> Self {
        Self { shards, held_out: None, count }
    }

    /// The train rows outside the fold `held`; `fold` is the fold of every train row.
    pub fn beside(shards: &'a Shards, fold: &'a [usize], held: usize) -> Self {
        Self { shards, held_out: Some((fold, held)), count: fold.iter().filter(|&&fold| fold != held).count() }
    }

    /// The number of rows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Calls `take` with the rows, shard by shard; `keep` selects columns.
    pub fn for_each<E: From<IoError> + From<Interrupted>>(
        &self,
        keep: Option<&[usize]>,
        ui: &Ui,
        mut take: impl FnMut(&[Key], &FeatureMatrix) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut number = 0; // of the train row
        let mut wanted = |key: &Key| {
            if !is_train(key) {
                return false;
            }
            number += 1;
            self.held_out.is_none_or(|(fold, held)| fold.get(number - 1) != Some(&held))
        };
        self.shards.for_each(keep, ui, |keys, matrix| {
            let rows: Vec<usize> = (0..keys.len()).filter(|&i| wanted(&keys[i])).collect();
            if rows.len() == keys.len() {
                return take(keys, matrix);
            }
            let keys: Vec<Key> = rows.iter().map(|&i| keys[i].clone()).collect();
            take(&keys, &matrix.select_rows(&rows))
        })
    }
}

/// The table that the classifier is fitted on: the reduced table if there is one, else the selected columns of the
/// shards.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub shards: &'a Shards,
    /// The columns that are used; None means all of them.
    pub kept: Option<&'a [usize]>,
    /// The reduced table, which replaces the shards.
    pub reduced: Option<&'a Path>,
}

impl Source<'_> {
    /// Calls `read` with the table that the classifier is fitted on, and its columns.
    fn with<T>(&self, read: impl FnOnce(&Shards, Option<&[usize]>) -> T) -> T {
        match self.reduced {
            Some(table) => read(&Shards::new([table.to_path_buf()], 0), None),
            None => read(self.shards, self.kept),
        }
    }

    /// Calls `take` with every row, shard by shard.
    pub fn for_each<E: From<IoError> + From<Interrupted>>(
        &self,
        ui: &Ui,
        take: impl FnMut(&[Key], &FeatureMatrix) -> Result<(), E>,
    ) -> Result<(), E> {
        self.with(|shards, kept| shards.for_each(kept, ui, take))
    }

    /// Reads the keys of the train split's rows.
    pub fn train_keys(&self) -> Result<Vec<Key>, IoError> {
        self.with(|shards, _| shards.keys(is_train))
    }

    /// Counts the columns of a row; the feature tables have `width`.
    pub fn cols(&self, width: usize) -> Result<usize, IoError> {
        Ok(match self.reduced {
            Some(table) => FeatureFile::open(table)?.width(),
            None => self.kept.map_or(width, <[usize]>::len),
        })
    }

    /// The rows of the train split, of `cols` columns, copied to the disk of `folder`, so that memory holds one row
    /// group.
    pub fn train_rows_on_disk<E: From<IoError> + From<Interrupted>>(
        &self,
        folder: &Path,
        cols: usize,
        ui: &Ui,
    ) -> Result<RowFile, E> {
        let mut writer = RowWriter::create(folder, cols)?;
        self.for_each::<E>(ui, |keys, matrix| {
            let wanted: Vec<usize> = (0..keys.len()).filter(|&i| is_train(&keys[i])).collect();
            Ok(writer.append_rows(matrix, &wanted)?)
        })?;
        Ok(writer.finish()?)
    }

    /// The rows of the train split.
    pub fn train_rows<E: From<IoError> + From<Interrupted>>(&self, ui: &Ui) -> Result<Rows, E> {
        self.with(|shards, kept| shards.rows(kept, is_train, ui))
    }
}

/// True for a row of the train split.
pub fn is_train(key: &Key) -> bool {
    key.split.as_deref() == Some(Split::Train.word())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layout;
    use crate::io::features;
    use crate::io::table::Table;
    use crate::progress::Style;
    use crate::table::Dtype;

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error(transparent)]
        Io(#[from] IoError),
        #[error(transparent)]
        Interrupted(#[from] Interrupted),
    }

    /// A run of two shards of three columns; the last value is `last`.
    fn run(layout: Layout, last: f32) -> (tempfile::TempDir, RunDir) {
        let folder = tempfile::tempdir().expect("folder");
        let dir = RunDir::new(folder.path());
        std::fs::create_dir_all(dir.features()).expect("folder");
        for i in 0..2 {
            let matrix = FeatureMatrix::from_vec(2, 3, vec![0.0, 1.0, 2.0, 3.0, 4.0, if i == 1 { last } else { 5.0 }]);
            let matrix = matrix.expect("2 × 3");
            let paths = [format!("a/{i}.jpg"), format!("b/{i}.jpg")];
            let text = |value: &'static str| [Some(value), Some(value)].into_iter();
            let keys = Table::new(2).text("path", paths.iter().map(|path| Some(path.as_str())));
            let keys = keys.text("label", text("a")).text("split", text("train"));
            let names = ["f_0", "f_1", "f_2"].map(String::from);
            let layout = match layout {
                Layout::Wide => features::Layout::Wide(&names),
                Layout::Array => features::Layout::Array(3),
            };
            let rows: Vec<&[f32]> = matrix.iter_rows().collect();
            let format = features::Format { layout, dtype: Dtype::F32 };
            features::write_noted(&dir.shard(i, 2), keys, format, &rows, &[], |_, _| Ok(())).expect("written");
        }
        (folder, dir)
    }

    #[test]
    fn what_is_held_is_what_is_read_and_is_read_once() {
        let ui = Ui::new(Style::Quiet, Default::default());
        let (_folder, dir) = run(Layout::Wide, 5.0);
        let of = |room: usize| Shards::new((0..2).map(|i| dir.shard(i, 2)), room);
        let read = |shards: &Shards, keep: Option<&[usize]>| shards.rows::<Failed>(keep, |_| true, &ui).expect("read");
        // memory for no shard, for one of two, and for both
        let all = [of(0), of(24), of(48)];
        for keep in [None, Some(&[2, 0][..])] {
            let [none, one, both] = all.each_ref().map(|shards| read(shards, keep));
            assert!(none == one && none == both && none.0.len() == 4);
        }
        // one file that is not kept in memory is read without a copy
        for (room, keep) in [(0, None), (24, None), (0, Some(&[1][..])), (24, Some(&[1][..]))] {
            let second = |key: &Key| key.path.starts_with('b');
            let one = Shards::new([dir.shard(1, 2)], room).rows::<Failed>(keep, second, &ui).expect("read");
            assert_eq!((one.0.len(), one.0[0].path.as_str()), (1, "b/1.jpg"));
            assert_eq!(one.1.as_slice(), if keep.is_some() { &[4.0][..] } else { &[3.0, 4.0, 5.0] });
        }
        (0..2).for_each(|i| std::fs::remove_file(dir.shard(i, 2)).expect("removed"));
        assert_eq!(read(&all[2], None).1.row(3), [3.0, 4.0, 5.0]);
        for shards in &all[..2] {
            assert!(shards.rows::<Failed>(None, |_| true, &ui).is_err());
        }
    }

    #[test]
    fn a_value_that_is_no_number_is_an_error_with_its_picture_and_column() {
        let ui = Ui::new(Style::Quiet, Default::default());
        for (layout, value, column) in
            [(Layout::Wide, f32::NAN, "`f_2`"), (Layout::Array, f32::NEG_INFINITY, "`features[2]`")]
        {
            let (_folder, dir) = run(layout, value);
            let shards = Shards::of(&dir, 2, &[]);
            let source = Source { shards: &shards, kept: None, reduced: None };
            let train =
                |keep: Option<&[usize]>| TrainRows::all(&shards, 4).for_each::<Failed>(keep, &ui, |_, _| Ok(()));
            for error in [
                train(None).expect_err("select and reduce see it"),
                train(Some(&[2])).expect_err("where the column is kept"),
                source.train_rows::<Failed>(&ui).expect_err("train sees it"),
                source.train_rows_on_disk::<Failed>(dir.root(), 3, &ui).expect_err("and so it does from disk"),
            ] {
                let error = error.to_string();
                assert!(error.contains("part-00001.parquet") && error.contains("b/1.jpg"), "{error}");
                assert!(error.contains(column) && error.contains("NaN or infinite"), "{error}");
            }
        }
        let (_folder, dir) = run(Layout::Wide, 5.0);
        let (keys, matrix) =
            Shards::of(&dir, 2, &[]).rows::<Failed>(Some(&[0, 2]), |_| true, &ui).expect("numbers all of them");
        assert_eq!((keys.len(), matrix.row(3)), (4, &[3.0, 5.0][..]));
    }
}
