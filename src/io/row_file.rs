//! A table that is too large for the memory, as raw rows on disk. A single row can be read, while Parquet would read
//! whole columns. The file is an unnamed temporary file, which the system deletes when the process ends, even if it is
//! killed.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::IoError;
use crate::table::{FeatureMatrix, Rows};

/// A file of rows that is being written.
#[derive(Debug)]
pub struct RowWriter {
    file: BufWriter<File>,
    folder: PathBuf,
    rows: usize,
    cols: usize,
}

/// Rows × columns of `f32`, in the byte order of this machine.
#[derive(Debug)]
pub struct RowFile {
    file: Mutex<File>,
    rows: usize,
    cols: usize,
}

impl RowWriter {
    /// Creates a file for rows of `cols` values on the disk of `folder`.
    pub fn create(folder: &Path, cols: usize) -> Result<Self, IoError> {
        let file = tempfile::tempfile_in(folder).map_err(IoError::write(folder))?;
        Ok(Self { file: BufWriter::with_capacity(1 << 20, file), folder: folder.to_path_buf(), rows: 0, cols })
    }

    /// Appends the rows of `matrix` with the indices `wanted`; panics if `matrix` has another number of columns.
    pub fn append_rows(&mut self, matrix: &FeatureMatrix, wanted: &[usize]) -> Result<(), IoError> {
        assert_eq!(matrix.cols(), self.cols, "{} columns beside {}", matrix.cols(), self.cols);
        for &row in wanted {
            self.file.write_all(bytemuck::cast_slice(matrix.row(row))).map_err(IoError::write(&self.folder))?;
        }
        self.rows += wanted.len();
        Ok(())
    }

    /// Ends the writing and returns the rows for reading.
    pub fn finish(self) -> Result<RowFile, IoError> {
        let Self { file, folder, rows, cols } = self;
        let file = file.into_inner().map_err(|error| IoError::write(&folder)(error.into_error()))?;
        Ok(RowFile { file: Mutex::new(file), rows, cols })
    }
}

impl Rows for RowFile {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn pick(&self, wanted: &[usize], out: &mut Vec<f32>) -> std::io::Result<()> {
        let first = out.len();
        out.resize(first + wanted.len() * self.cols, 0.0);
        let mut slots: Vec<(usize, &mut [f32])> =
            wanted.iter().copied().zip(out[first..].chunks_exact_mut(self.cols.max(1))).collect();
        // in the order of the file, to avoid seeks
        slots.sort_unstable_by_key(|(row, _)| *row);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = None; // the row at the file's position
        for (row, slot) in slots {
            if next != Some(row) {
                file.seek(SeekFrom::Start((row * self.cols * size_of::<f32>()) as u64))?;
            }
            file.read_exact(bytemuck::cast_slice_mut(slot))?;
            next = Some(row + 1);
        }
        Ok(())
    }

    fn in_memory(&self) -> Option<&FeatureMatrix> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_rows_come_back_to_the_bit_in_the_order_asked_and_no_file_stays() {
        let folder = tempfile::tempdir().expect("folder");
        let values: Vec<f32> = (0..21).map(|i| if i == 4 { f32::MIN_POSITIVE / 2.0 } else { i as f32 / 7.0 }).collect();
        let matrix = FeatureMatrix::from_vec(7, 3, values).expect("7 × 3");
        let mut writer = RowWriter::create(folder.path(), 3).expect("created");
        for part in [&[0, 1, 2][..], &[], &[3], &[4, 5, 6]] {
            writer.append_rows(&matrix, part).expect("written");
        }
        let file = writer.finish().expect("a table");
        assert_eq!((Rows::rows(&file), Rows::cols(&file)), (7, 3));
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0);
        for wanted in [&[][..], &[6], &[0, 1, 2, 3, 4, 5, 6], &[5, 0, 5, 6, 1, 2]] {
            let (mut read, mut expected) = (vec![9.0], vec![9.0]);
            file.pick(wanted, &mut read).expect("read");
            matrix.pick(wanted, &mut expected).expect("read");
            assert_eq!(read, expected);
            assert_eq!(read[1..], *matrix.select_rows(wanted).as_slice());
        }
        assert!(file.pick(&[7], &mut Vec::new()).is_err(), "there is no such row");
    }
}
