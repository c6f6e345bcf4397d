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

    /// Reads shard after shard and hands it over; `keep` are the columns taken, all when there is none.
    pub fn for_each<E: From<IoError> + From<Interrupted>>(
        &self,
        keep: Option<&[usize]>,
        ui: &Ui,
        mut take: impl FnMut(&[Key], &FeatureMatrix) -> Result<(), E>,
    ) -> Result<(), E> {
        for file in &self.files {
            ui.check()?;
            let (keys, matrix) = FeatureFile::open(file)?.read()?;
            match keep {
                Some(keep) if keep.len() < matrix.cols() => take(&keys, &matrix.select_cols(keep))?,
                _ => take(&keys, &matrix)?,
            }
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
        let (mut keys, mut all): (Vec<Key>, Option<FeatureMatrix>) = (Vec::new(), None);
        self.for_each(keep, ui, |some, matrix| {
            keys.extend_from_slice(some);
            all.get_or_insert_with(|| FeatureMatrix::with_cols(matrix.cols())).append(matrix);
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
        if self.reduced {
            return Ok(FeatureFile::open(&self.dir.reduced())?.read()?);
        }
        Shards::of(self.dir, self.shards).all(self.kept, ui)
    }

    /// The rows of the train split.
    pub fn train_rows<E: From<IoError> + From<Interrupted>>(&self, ui: &Ui) -> Result<(Vec<Key>, FeatureMatrix), E> {
        let (keys, matrix) = self.rows::<E>(ui)?;
        let train: Vec<usize> = (0..keys.len()).filter(|&i| is_train(&keys[i])).collect();
        if train.len() == keys.len() {
            return Ok((keys, matrix));
        }
        let matrix = matrix.select_rows(&train);
        Ok((train.into_iter().map(|i| keys[i].clone()).collect(), matrix))
    }
}

/// True for a row that may be fitted on.
pub fn is_train(key: &Key) -> bool {
    key.split.as_deref() == Some(Split::Train.word())
}
