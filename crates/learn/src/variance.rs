//! Computes the variance of every column in one pass, and drops the columns without variance.
//!
//! The numbers are those of `sklearn.feature_selection.VarianceThreshold`: population variance (over n), strict
//! comparison, and at threshold 0 the column's range decides too, so that a constant column always goes.

use thiserror::Error;

use crate::dataset::{DatasetBase, FitWith};
use crate::table::FeatureMatrix;

/// The number of offending columns that an error names.
const NAMED_COLUMNS: usize = 5;

/// Collects count, mean, variance, minimum and maximum of every column while rows stream by.
///
/// It applies Welford's update in `f64` to one row at a time, so that the result does not depend, to the bit, on the
/// blocks in which the rows come, and a column of large mean and small variance keeps its digits. Memory: 24 bytes a
/// column.
///
/// Source: Welford, "Note on a method for calculating corrected sums of squares and products", 1962.
#[derive(Clone, Debug)]
pub struct VarianceAccumulator {
    count: u64,
    mean: Vec<f64>,
    squares: Vec<f64>,
    min: Vec<f32>,
    max: Vec<f32>,
}

/// The statistics of every column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnStats {
    /// Rows seen.
    pub count: u64,
    /// Mean of each column; NaN when a value of the column was not finite.
    pub mean: Vec<f64>,
    /// Population variance of each column (divided by n, as numpy's `var`).
    pub variance: Vec<f64>,
    /// Smallest value of each column.
    pub min: Vec<f32>,
    /// Largest value of each column.
    pub max: Vec<f32>,
}

/// Columns cannot be measured, or none can be selected.
#[derive(Debug, Error)]
pub enum SelectError {
    /// The table is empty.
    #[error("no rows to measure the variance of: the variance filter needs at least one picture in the train split")]
    NoRows,
    /// The threshold cannot be compared with a variance.
    #[error("variance threshold {threshold} is not a number of 0 or more")]
    BadThreshold { threshold: f64 },
    /// Some columns hold NaN or infinite values.
    #[error(
        "{count} of {total} features have values that are NaN or infinite, the first at column {columns:?}: check the \
         weights and the precision of the model"
    )]
    NotFinite { columns: Vec<usize>, count: usize, total: usize },
    /// The classes cannot be compared.
    #[error(
        "score f_classif: {rows} pictures of {classes} {} are in the train split; it compares two classes or more, \
         one of them with two pictures or more: give more pictures, or take `score: variance`",
        if *.classes == 1 { "class" } else { "classes" }
    )]
    NoClasses { rows: u64, classes: usize },
    /// Every column is at or below the threshold.
    #[error("no feature meets the variance threshold {threshold:.5} ({rows} rows, largest variance {largest:.5e} of \
     {columns} features): lower the threshold{}", if *.rows == 1 { " or give more than one picture" } else { "" })]
    NoneLeft { threshold: f64, largest: f64, columns: usize, rows: u64 },
    /// Raised by linfa's traits.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}

impl VarianceAccumulator {
    /// Makes an accumulator for rows of `cols` values.
    pub fn new(cols: usize) -> Self {
        Self {
            count: 0,
            mean: vec![0.0; cols],
            squares: vec![0.0; cols],
            min: vec![f32::INFINITY; cols],
            max: vec![f32::NEG_INFINITY; cols],
        }
    }

    /// Columns of a row.
    pub fn cols(&self) -> usize {
        self.mean.len()
    }

    /// Takes a row-major block of any number of rows; panics when it does not hold whole rows.
    pub fn update(&mut self, rows: &[f32]) {
        let cols = self.cols();
        if cols == 0 {
            return;
        }
        assert_eq!(rows.len() % cols, 0, "a block of {} values does not hold whole rows of {cols}", rows.len());
        rows.chunks_exact(cols).for_each(|row| self.update_row(row));
    }

    fn update_row(&mut self, row: &[f32]) {
        self.count += 1;
        let weight = 1.0 / self.count as f64;
        let moments = self.mean.iter_mut().zip(&mut self.squares);
        for ((mean, squares), &value) in moments.zip(row) {
            let value = f64::from(value);
            let before = value - *mean;
            *mean += before * weight;
            *squares += before * (value - *mean);
        }
        for ((min, max), &value) in self.min.iter_mut().zip(&mut self.max).zip(row) {
            *min = min.min(value);
            *max = max.max(value);
        }
    }

    /// Returns the statistics of all rows seen.
    pub fn finish(self) -> ColumnStats {
        let rows = (self.count as f64).max(1.0);
        let variance = self.squares.iter().map(|squares| squares / rows).collect();
        ColumnStats { count: self.count, mean: self.mean, variance, min: self.min, max: self.max }
    }
}

/// The hyperparameters of the statistics of columns: there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnStatsParams;

impl<'a, T> FitWith<'a, &'a FeatureMatrix, T, SelectError> for ColumnStatsParams {
    type ObjectIn = Option<VarianceAccumulator>;
    type ObjectOut = VarianceAccumulator;

    /// Takes the next rows of a table; [`VarianceAccumulator::finish`] gives the statistics of all.
    fn fit_with(
        &self,
        before: Self::ObjectIn,
        dataset: &'a DatasetBase<&'a FeatureMatrix, T>,
    ) -> Result<VarianceAccumulator, SelectError> {
        let rows = dataset.records;
        let mut statistics = before.unwrap_or_else(|| VarianceAccumulator::new(rows.cols()));
        statistics.update(rows.as_slice());
        Ok(statistics)
    }
}

impl ColumnStats {
    /// Returns the columns that hold a NaN or an infinite value.
    fn not_finite(&self) -> Vec<usize> {
        // One such value makes the running mean NaN or infinite for good; finite `f32` values cannot overflow `f64`.
        (0..self.mean.len()).filter(|&j| !(self.mean[j].is_finite() && self.variance[j].is_finite())).collect()
    }
}

/// Keeps the columns whose variance is above a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VarianceThreshold {
    /// A column stays when its population variance is strictly greater. 0 drops constant columns only.
    pub threshold: f64,
}

impl VarianceThreshold {
    /// Returns the columns that stay, ascending.
    ///
    /// Fails when there are no rows, when a column holds NaN or infinite values, or when no column stays.
    pub fn kept(&self, stats: &ColumnStats) -> Result<Vec<usize>, SelectError> {
        let (threshold, columns) = (self.threshold, stats.variance.len());
        if !(threshold >= 0.0 && threshold.is_finite()) {
            return Err(SelectError::BadThreshold { threshold });
        }
        if stats.count == 0 {
            return Err(SelectError::NoRows);
        }
        let bad = stats.not_finite();
        if !bad.is_empty() {
            let count = bad.len();
            return Err(SelectError::NotFinite {
                columns: bad.into_iter().take(NAMED_COLUMNS).collect(),
                count,
                total: columns,
            });
        }
        let spread = |j: usize| {
            let range = f64::from(stats.max[j]) - f64::from(stats.min[j]);
            // Because of rounding, the variance of a constant column may be 1e-30 or so; its range is exactly 0.
            if threshold == 0.0 { stats.variance[j].min(range) } else { stats.variance[j] }
        };
        let kept: Vec<usize> = (0..columns).filter(|&j| spread(j) > threshold).collect();
        if kept.is_empty() {
            let largest = (0..columns).map(spread).fold(0.0, f64::max);
            return Err(SelectError::NoneLeft { threshold, largest, columns, rows: stats.count });
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    fn stats(cols: usize, rows: &[f32]) -> ColumnStats {
        let mut accumulator = VarianceAccumulator::new(cols);
        accumulator.update(rows);
        accumulator.finish()
    }

    #[test]
    fn numbers_and_columns_are_those_of_scikit_learn() {
        let golden = golden::load("sklearn_learn");
        let case = &golden["variance"];
        let table = golden::matrix(&case["x"]);
        let stats = stats(table.cols(), table.as_slice());
        golden::close(&stats.mean, &golden::vector(&case["mean"]), 1e-9);
        golden::close(&stats.variance, &golden::vector(&case["variance"]), 1e-6);
        for expected in golden::list(&case["kept"]) {
            let threshold = golden::number(&expected["threshold"]);
            let kept = VarianceThreshold { threshold }.kept(&stats).expect("some columns stay");
            assert_eq!(kept, golden::indices(&expected["columns"]), "threshold {threshold}");
        }
    }

    #[test]
    fn a_large_mean_does_not_eat_a_small_spread() {
        // 1e4 + (0 or 2^-6): population variance 2^-14 exactly, which Σx² - (Σx)²/n would lose
        let rows: Vec<f32> = (0..20_000).map(|i| 1e4 + if i % 2 == 0 { 0.0 } else { 0.015_625 }).collect();
        let variance = stats(1, &rows).variance[0];
        assert!((variance / 0.5_f64.powi(14) - 1.0).abs() < 1e-6, "{variance}");
    }

    #[test]
    fn the_cut_into_blocks_does_not_change_a_bit() {
        let rows: Vec<f32> = (0..300).map(|i| (i as f32 * 0.7).sin() * 1e3).collect();
        let whole = stats(3, &rows);
        let mut accumulator = VarianceAccumulator::new(3);
        [&rows[..3], &rows[3..60], &rows[60..60], &rows[60..]].iter().for_each(|block| accumulator.update(block));
        assert_eq!(accumulator.finish(), whole);
    }

    #[test]
    fn constant_columns_go_although_rounding_gives_them_variance() {
        let rows: Vec<f32> = (0..999).flat_map(|i| [0.1, i as f32 * 1e-6, 1e30]).collect();
        assert_eq!(VarianceThreshold { threshold: 0.0 }.kept(&stats(3, &rows)).expect("column 1 varies"), [1]);
    }

    #[test]
    fn failures_say_what_to_do() {
        let keep = |threshold: f64, stats: &ColumnStats| {
            VarianceThreshold { threshold }.kept(stats).expect_err("nothing to keep").to_string()
        };
        let same = stats(2, &[1.0, 2.0, 1.0, 2.0]);
        assert!(keep(0.0, &same).contains("no feature meets the variance threshold 0.00000"));
        assert!(keep(0.0, &stats(2, &[1.0, 2.0])).contains("more than one picture"));
        assert!(keep(0.0, &stats(3, &[1.0, f32::NAN, 0.0, 2.0, 1.0, f32::INFINITY])).contains("column [1, 2]"));
        assert!(keep(-1.0, &same).contains("-1"));
        assert!(keep(f64::NAN, &same).contains("NaN"));
        assert!(keep(0.0, &VarianceAccumulator::new(2).finish()).contains("no rows"));
    }
}
