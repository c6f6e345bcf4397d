//! The table that the libraries exchange: features as row-major `f32`, one picture a row.
//!
//! polars, arrow, linfa and candle each have a matrix of their own, which stays inside the module that uses it. Stages
//! hand a [`FeatureMatrix`] to one another.

use std::{fmt, io};

use half::f16;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Number format of stored features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// 32-bit floating point.
    #[default]
    F32,
    /// 16-bit floating point (IEEE 754): half the bytes, a relative error of at most 2^-11.
    F16,
}

/// Rows × columns of `f32`, row-major and contiguous: row `i` is `data[i * cols..(i + 1) * cols]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureMatrix {
    rows: usize,
    cols: usize,
    data: Vec<f32>,
}

/// A table in memory or on disk, whose rows are read a few at a time.
pub trait Rows: fmt::Debug {
    /// Number of pictures.
    fn rows(&self) -> usize;

    /// Number of features.
    fn cols(&self) -> usize;

    /// Appends the features of the pictures `wanted` to `out`, in that order.
    fn pick(&self, wanted: &[usize], out: &mut Vec<f32>) -> io::Result<()>;

    /// Returns the table, where all of it is in memory.
    fn in_memory(&self) -> Option<&FeatureMatrix>;
}

/// The numbers do not make a rows × columns rectangle.
#[derive(Debug, Error)]
#[error("{len} values do not fill {rows} rows of {cols} columns")]
pub struct ShapeError {
    rows: usize,
    cols: usize,
    len: usize,
}

impl FeatureMatrix {
    /// A matrix of `rows` × `cols` zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, data: vec![0.0; rows * cols] }
    }

    /// An empty matrix of `cols` columns, to be filled by [`push_row`](Self::push_row).
    pub fn with_cols(cols: usize) -> Self {
        Self { rows: 0, cols, data: Vec::new() }
    }

    /// An empty matrix of `cols` columns, with room for `rows` rows.
    pub fn with_capacity(rows: usize, cols: usize) -> Self {
        Self { rows: 0, cols, data: Vec::with_capacity(rows.saturating_mul(cols)) }
    }

    /// Takes row-major `data` of exactly `rows * cols` values.
    pub fn from_vec(rows: usize, cols: usize, data: Vec<f32>) -> Result<Self, ShapeError> {
        if rows.checked_mul(cols) != Some(data.len()) {
            return Err(ShapeError { rows, cols, len: data.len() });
        }
        Ok(Self { rows, cols, data })
    }

    /// Number of pictures.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All values, row-major.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// All values, row-major.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The features of picture `i`; panics when there is no such row.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// Iterates over the rows in order.
    pub fn iter_rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        (0..self.rows).map(|i| self.row(i))
    }

    /// Rounds every value as if it had been stored as `dtype`.
    pub fn round_to(&mut self, dtype: Dtype) {
        if dtype == Dtype::F16 {
            self.data.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
        }
    }

    /// Appends one row; panics when it does not have `cols` values.
    pub fn push_row(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.cols, "a row of {} values for {} columns", row.len(), self.cols);
        self.data.extend_from_slice(row);
        self.rows += 1;
    }

    /// Removes all rows; the memory stays allocated.
    pub fn clear(&mut self) {
        self.data.clear();
        self.rows = 0;
    }

    /// Appends the rows of `other`; panics when it does not have as many columns.
    pub fn append(&mut self, other: &FeatureMatrix) {
        assert_eq!(other.cols, self.cols, "{} columns beside {}", other.cols, self.cols);
        self.data.extend_from_slice(&other.data);
        self.rows += other.rows;
    }

    /// The mean of each column (d), summed in `f64` row by row; NaN where there is no row.
    pub(crate) fn column_means(&self) -> Vec<f64> {
        let mut means = vec![0.0; self.cols];
        for row in self.iter_rows() {
            means.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        means.iter_mut().for_each(|sum| *sum /= self.rows as f64);
        means
    }

    /// Returns only the columns `keep`, in that order.
    pub fn select_cols(&self, keep: &[usize]) -> FeatureMatrix {
        let mut data = Vec::with_capacity(self.rows * keep.len());
        self.iter_rows().for_each(|row| data.extend(keep.iter().map(|&j| row[j])));
        Self { rows: self.rows, cols: keep.len(), data }
    }

    /// Appends the rows `keep` of `other`; panics when it does not have as many columns.
    pub fn append_rows(&mut self, other: &FeatureMatrix, keep: &[usize]) {
        keep.iter().for_each(|&i| self.push_row(other.row(i)));
    }

    /// Drops all rows but `keep`, which is ascending; works in place.
    pub fn retain_rows(&mut self, keep: &[usize]) {
        let cols = self.cols;
        for (to, &from) in keep.iter().enumerate() {
            self.data.copy_within(from * cols..(from + 1) * cols, to * cols);
        }
        self.data.truncate(keep.len() * cols);
        self.rows = keep.len();
    }

    /// Returns only the rows `keep`, in that order.
    pub fn select_rows(&self, keep: &[usize]) -> FeatureMatrix {
        let mut out = Self::with_capacity(keep.len(), self.cols);
        out.append_rows(self, keep);
        out
    }
}

impl Rows for FeatureMatrix {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn pick(&self, wanted: &[usize], out: &mut Vec<f32>) -> io::Result<()> {
        out.reserve(wanted.len() * self.cols);
        wanted.iter().for_each(|&row| out.extend_from_slice(self.row(row)));
        Ok(())
    }

    fn in_memory(&self) -> Option<&FeatureMatrix> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_number_of_values_is_refused() {
        assert!(FeatureMatrix::from_vec(2, 3, vec![0.0; 5]).is_err());
        assert!(FeatureMatrix::from_vec(usize::MAX, 2, vec![]).is_err());
    }

    #[test]
    fn columns_and_rows_are_taken_in_the_order_asked() {
        let m = FeatureMatrix::from_vec(2, 3, vec![0., 1., 2., 10., 11., 12.]).expect("2 × 3");
        assert_eq!(m.select_cols(&[2, 0]).as_slice(), &[2., 0., 12., 10.]);
        assert_eq!(m.select_rows(&[1]).as_slice(), &[10., 11., 12.]);
        for keep in [&[][..], &[0], &[1], &[0, 1]] {
            let mut retained = m.clone();
            retained.retain_rows(keep);
            assert_eq!(retained, m.select_rows(keep));
        }
    }
}
