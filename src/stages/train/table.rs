//! The rows that a classifier is fitted on or predicts: in memory, or copied to disk to save memory.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::TrainError;
use crate::io::IoError;
use crate::io::row_file::{RowFile, RowWriter};
use crate::table::{FeatureMatrix, Rows};

/// The most bytes and rows that are read together; between two such blocks the user can interrupt the run.
const BLOCK: usize = 16 << 20;
const TOGETHER: usize = 1024;

/// A table.
#[derive(Debug)]
pub enum Table {
    /// Shared with a classifier that keeps the table.
    Held(Arc<FeatureMatrix>),
    OnDisk(RowFile),
}

impl Table {
    /// The rows, in memory or on disk.
    pub fn rows(&self) -> &dyn Rows {
        match self {
            Self::Held(table) => &**table,
            Self::OnDisk(table) => table,
        }
    }

    /// The table in memory; a table on disk is read.
    pub fn held(&self) -> Result<Arc<FeatureMatrix>, TrainError> {
        match self {
            Self::Held(table) => Ok(Arc::clone(table)),
            Self::OnDisk(table) => read(table, 0..table.rows()).map(Arc::new),
        }
    }

    /// Calls `take` with all rows in order, some at a time.
    pub fn for_each(&self, mut take: impl FnMut(&FeatureMatrix) -> Result<(), TrainError>) -> Result<(), TrainError> {
        let table = self.rows();
        let together = (BLOCK / (size_of::<f32>() * table.cols().max(1))).clamp(1, TOGETHER);
        let mut firsts = (0..table.rows()).step_by(together);
        firsts.try_for_each(|first| take(&read(table, first..table.rows().min(first + together))?))
    }
}

fn read(table: &dyn Rows, rows: Range<usize>) -> Result<FeatureMatrix, TrainError> {
    let (count, mut values) = (rows.len(), Vec::new());
    table.pick(&rows.collect::<Vec<_>>(), &mut values).map_err(TrainError::Disk)?;
    FeatureMatrix::from_vec(count, table.cols(), values).map_err(|error| TrainError::Disk(std::io::Error::other(error)))
}

/// A table that is being filled.
#[derive(Debug)]
pub enum Filling {
    Held(FeatureMatrix),
    OnDisk(RowWriter),
}

impl Filling {
    /// Starts a table of `rows` × `cols`, in memory or on the disk of `folder`.
    pub fn new(held: bool, folder: &Path, (rows, cols): (usize, usize)) -> Result<Self, IoError> {
        Ok(match held {
            true => Self::Held(FeatureMatrix::with_capacity(rows, cols)),
            false => Self::OnDisk(RowWriter::create(folder, cols)?),
        })
    }

    /// Appends the rows of `matrix` named by `wanted`.
    pub fn append(&mut self, matrix: &FeatureMatrix, wanted: &[usize]) -> Result<(), IoError> {
        match self {
            Self::Held(table) => table.append_rows(matrix, wanted),
            Self::OnDisk(writer) => writer.append_rows(matrix, wanted)?,
        }
        Ok(())
    }

    /// Returns the finished table.
    pub fn finish(self) -> Result<Table, IoError> {
        Ok(match self {
            Self::Held(table) => Table::Held(Arc::new(table)),
            Self::OnDisk(writer) => Table::OnDisk(writer.finish()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_the_same_wherever_it_lies() {
        let folder = tempfile::tempdir().expect("folder");
        // rows of 1 MB: sixteen to a block
        let cols = (1 << 20) / size_of::<f32>();
        let matrix = FeatureMatrix::from_vec(20, cols, (0..20 * cols).map(|i| i as f32).collect()).expect("20 × cols");
        let wanted: Vec<usize> = (0..20).filter(|row| row % 7 != 0).collect();
        let expected = matrix.select_rows(&wanted);
        for held in [true, false] {
            let mut filling = Filling::new(held, folder.path(), (17, cols)).expect("begun");
            wanted.chunks(5).for_each(|rows| filling.append(&matrix, rows).expect("appended"));
            let table = filling.finish().expect("a table");
            assert_eq!((table.rows().rows(), table.rows().cols()), (17, cols));
            let (mut all, mut blocks) = (FeatureMatrix::with_cols(cols), 0);
            table
                .for_each(|rows| {
                    all.append(rows);
                    blocks += 1;
                    Ok(())
                })
                .expect("read");
            assert!(all == expected && *table.held().expect("read") == expected);
            assert_eq!(blocks, 2);
        }
    }
}
