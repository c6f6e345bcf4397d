//! The feature tables of a run, read back shard by shard: what the learning stages stand on.

use std::path::PathBuf;

use crate::io::IoError;
use crate::io::features::{FeatureFile, Key};
use crate::progress::{Interrupted, Ui};
use crate::stages::scan::Split;
use crate::store::RunDir;
use crate::table::FeatureMatrix;

/// The committed shards, in order.
#[derive(Debug)]
pub struct Shards {
    files: Vec<PathBuf>,
}

impl Shards {
    /// The first `count` shards of a run.
    pub fn of(dir: &RunDir, count: usize) -> Self {
        Self { files: (0..count).map(|i| dir.shard(i)).collect() }
    }

    /// Reads shard after shard and hands it over; `keep` are the columns taken, all when there is none. A value of
    /// these that is NaN or infinite is an error, whoever asks.
    pub fn for_each<E: From<IoError> + From<Interrupted>>(
        &self,
        keep: Option<&[usize]>,
        ui: &Ui,
        mut take: impl FnMut(&[Key], &FeatureMatrix) -> Result<(), E>,
    ) -> Result<(), E> {
        for file in &self.files {
            ui.check()?;
            let file = FeatureFile::open(file)?;
            let (keys, matrix) = (file.read_keys()?, file.read_features(keep)?);
            file.check_finite(&keys, &matrix, keep)?;
            take(&keys, &matrix)?;
        }
        Ok(())
    }

    /// The same, with the rows of the train split only.
    pub fn for_each_train<E: From<IoError> + From<Interrupted>>(
        &self,
        keep: Option<&[usize]>,
        ui: &Ui,
        mut take: impl FnMut(&FeatureMatrix) -> Result<(), E>,
    ) -> Result<(), E> {
        self.for_each(keep, ui, |keys, matrix| {
            let train: Vec<usize> = (0..keys.len()).filter(|&i| is_train(&keys[i])).collect();
            if train.len() == keys.len() { take(matrix) } else { take(&matrix.select_rows(&train)) }
        })
    }

    /// Every row of every shard.
    pub fn all<E: From<IoError> + From<Interrupted>>(
        &self,
        keep: Option<&[usize]>,
        ui: &Ui,
    ) -> Result<(Vec<Key>, FeatureMatrix), E> {
        self.rows(keep, |_| true, ui)
    }

    /// The rows that are `wanted`, in one matrix: beside it memory holds one shard.
    fn rows<E: From<IoError> + From<Interrupted>>(
        &self,
        keep: Option<&[usize]>,
        wanted: impl Fn(&Key) -> bool,
        ui: &Ui,
    ) -> Result<(Vec<Key>, FeatureMatrix), E> {
        let mut taken = Vec::with_capacity(self.files.len());
        for file in &self.files {
            taken.push(FeatureFile::open(file)?.read_keys()?.iter().filter(|&key| wanted(key)).count());
        }
        let rows = taken.iter().sum();
        let (mut keys, mut all): (Vec<Key>, Option<FeatureMatrix>) = (Vec::with_capacity(rows), None);
        self.for_each(keep, ui, |some, matrix| {
            let all = all.get_or_insert_with(|| FeatureMatrix::with_capacity(rows, matrix.cols()));
            let taken: Vec<usize> = (0..some.len()).filter(|&i| wanted(&some[i])).collect();
            keys.extend(taken.iter().map(|&i| some[i].clone()));
            all.append_rows(matrix, &taken);
            Ok::<(), E>(())
        })?;
        Ok((keys, all.unwrap_or_else(|| FeatureMatrix::with_cols(0))))
    }
}

/// What the classifier stands on: the components where the run has them, else the columns that were kept.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub dir: &'a RunDir,
    pub shards: usize,
    pub kept: Option<&'a [usize]>,
    pub reduced: bool,
}

impl Source<'_> {
    /// Every row.
    pub fn rows<E: From<IoError> + From<Interrupted>>(&self, ui: &Ui) -> Result<(Vec<Key>, FeatureMatrix), E> {
        let (shards, keep) = self.tables();
        shards.all(keep, ui)
    }

    /// The rows of the train split.
    pub fn train_rows<E: From<IoError> + From<Interrupted>>(&self, ui: &Ui) -> Result<(Vec<Key>, FeatureMatrix), E> {
        let (shards, keep) = self.tables();
        shards.rows(keep, is_train, ui)
    }

    /// The tables, and which of their columns are taken.
    fn tables(&self) -> (Shards, Option<&[usize]>) {
        if self.reduced {
            return (Shards { files: vec![self.dir.reduced()] }, None);
        }
        (Shards::of(self.dir, self.shards), self.kept)
    }
}

/// True for a row that may be fitted on.
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
            features::write(&dir.shard(i), keys, layout, Dtype::F32, &rows, &[]).expect("written");
        }
        (folder, dir)
    }

    #[test]
    fn a_value_that_is_no_number_is_an_error_with_its_picture_and_column() {
        let ui = Ui::new(Style::Quiet, Default::default());
        for (layout, value, column) in
            [(Layout::Wide, f32::NAN, "`f_2`"), (Layout::Array, f32::NEG_INFINITY, "`features[2]`")]
        {
            let (_folder, dir) = run(layout, value);
            let shards = Shards::of(&dir, 2);
            let source = Source { dir: &dir, shards: 2, kept: None, reduced: false };
            let train = |keep: Option<&[usize]>| shards.for_each_train::<Failed>(keep, &ui, |_| Ok(()));
            for error in [
                train(None).expect_err("select and reduce see it"),
                train(Some(&[2])).expect_err("where the column is kept"),
                source.train_rows::<Failed>(&ui).expect_err("train sees it"),
            ] {
                let error = error.to_string();
                assert!(error.contains("part-00001.parquet") && error.contains("b/1.jpg"), "{error}");
                assert!(error.contains(column) && error.contains("NaN or infinite"), "{error}");
            }
        }
        let (_folder, dir) = run(Layout::Wide, 5.0);
        let (keys, matrix) = Shards::of(&dir, 2).all::<Failed>(Some(&[0, 2]), &ui).expect("numbers all of them");
        assert_eq!((keys.len(), matrix.row(3)), (4, &[3.0, 5.0][..]));
    }
}
