//! Scales columns or rows before a model is fitted on them, as linfa models.
//!
//! [`StandardScaler`] subtracts the mean of every column and divides by its standard deviation over the train split,
//! with the numbers of `sklearn.preprocessing.StandardScaler`: a column without variance is only centred.
//! [`Normalizer`] divides every row by its length, as `Normalizer(norm="l2")` does. Both compute in `f64` and round
//! once; a row's result depends on that row alone.

use thiserror::Error;

use crate::dataset::Transformer;
use crate::table::FeatureMatrix;
use crate::variance::ColumnStats;

/// A fitted scaler.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaler {
    Standard(StandardScaler),
    L2(Normalizer),
}

/// The mean and the standard deviation of every column.
#[derive(Clone, Debug, PartialEq)]
pub struct StandardScaler {
    /// (d)
    pub mean: Vec<f64>,
    /// The divisors (d): the population standard deviation of each column, 1 for a column that does not vary.
    pub scale: Vec<f64>,
}

/// Divides a row by its Euclidean length; a row of zeros stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Normalizer;

/// The error of fitting or applying a scaler.
#[derive(Debug, Error)]
pub enum ScaleError {
    /// The table is empty.
    #[error("no rows to fit `scale: standard` on: it needs at least one picture in the train split")]
    NoRows,
    /// A column has no mean.
    #[error("column {column} has values that are NaN or infinite: check the weights and the precision of the model")]
    NotFinite { column: usize },
    /// Rows are not as wide as those that were fitted on.
    #[error("the scale of {expected} columns does not fit rows of {found}")]
    Width { found: usize, expected: usize },
    /// A stored scale contradicts itself.
    #[error("the stored scale has {means} means and {scales} deviations, or numbers that cannot be divided by")]
    Stored { means: usize, scales: usize },
}

impl StandardScaler {
    /// Makes the scaler for columns with these statistics.
    pub fn of(stats: &ColumnStats) -> Result<Self, ScaleError> {
        if stats.count == 0 {
            return Err(ScaleError::NoRows);
        }
        let moments = stats.mean.iter().zip(&stats.variance);
        if let Some(column) = moments.clone().position(|(mean, variance)| !(mean + variance).is_finite()) {
            return Err(ScaleError::NotFinite { column });
        }
        let rows = stats.count as f64;
        // scikit-learn's `_is_constant_feature`: by the error analysis of the two-pass algorithm, so small a variance
        // may be a rounding error.
        let constant = |mean: f64, variance: f64| {
            variance <= rows * f64::EPSILON * variance + (rows * mean * f64::EPSILON).powi(2)
        };
        let scale = moments.map(|(&m, &v)| if constant(m, v) { 1.0 } else { v.sqrt() }).collect();
        Ok(Self { mean: stats.mean.clone(), scale })
    }

    fn scale_rows(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.mean.len().max(1)) {
            for ((value, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *value = ((f64::from(*value) - mean) / scale) as f32;
            }
        }
    }
}

impl Normalizer {
    fn scale_rows(self, rows: &mut [f32], cols: usize) {
        for row in rows.chunks_exact_mut(cols.max(1)) {
            let length = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            // This is scikit-learn's `_handle_zeros_in_scale`.
            let length = if length < 10.0 * f64::EPSILON { 1.0 } else { length };
            row.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
        }
    }
}

impl Scaler {
    /// Returns the number of columns that the scaler was fitted on; none for [`Normalizer`], which takes any number.
    pub fn columns(&self) -> Option<usize> {
        match self {
            Self::Standard(standard) => Some(standard.mean.len()),
            Self::L2(_) => None,
        }
    }

    /// Checks that the vectors have one length and valid values. It must be called on a scaler that was read from a
    /// file.
    pub fn check(&self) -> Result<(), ScaleError> {
        let Self::Standard(StandardScaler { mean, scale }) = self else { return Ok(()) };
        let right = mean.len() == scale.len()
            && mean.iter().all(|mean| mean.is_finite())
            && scale.iter().all(|&scale| scale.is_finite() && scale > 0.0);
        if right { Ok(()) } else { Err(ScaleError::Stored { means: mean.len(), scales: scale.len() }) }
    }
}

impl Transformer<&FeatureMatrix, Result<FeatureMatrix, ScaleError>> for Scaler {
    /// Scales the rows of `block` (n, d).
    fn transform(&self, block: &FeatureMatrix) -> Result<FeatureMatrix, ScaleError> {
        if let Some(expected) = self.columns().filter(|&columns| columns != block.cols()) {
            return Err(ScaleError::Width { found: block.cols(), expected });
        }
        let mut out = block.clone();
        match self {
            Self::Standard(standard) => standard.scale_rows(out.as_mut_slice()),
            Self::L2(l2) => l2.scale_rows(out.as_mut_slice(), block.cols()),
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;
    use crate::variance::VarianceAccumulator;

    fn standard(table: &FeatureMatrix) -> Scaler {
        let mut statistics = VarianceAccumulator::new(table.cols());
        statistics.update(table.as_slice());
        Scaler::Standard(StandardScaler::of(&statistics.finish()).expect("rows of numbers"))
    }

    #[test]
    fn scaled_tables_are_those_of_scikit_learn() {
        let golden = golden::load("select_reduce");
        let case = &golden["scale"];
        let table = golden::matrix(&case["x"]);
        let scaler = standard(&table);
        let Scaler::Standard(fitted) = &scaler else { unreachable!() };
        golden::close(&fitted.mean, &golden::vector(&case["mean"]), 1e-12);
        golden::close(&fitted.scale, &golden::vector(&case["scale"]), 1e-9);
        for (scaler, key) in [(&scaler, "standard"), (&Scaler::L2(Normalizer), "l2")] {
            let scaled = scaler.transform(&table).expect("of this width");
            for (got, expected) in scaled.as_slice().iter().zip(golden::vector(&case[key])) {
                assert!((f64::from(*got) - expected).abs() <= 1e-6 * expected.abs() + 1e-12, "{key}: {got} {expected}");
            }
            scaler.check().expect("in order");
        }
    }

    #[test]
    fn a_row_depends_on_itself_alone() {
        let table = FeatureMatrix::from_vec(4, 3, (0..12).map(|i| (i as f32).sin() * 9.0).collect()).expect("4 × 3");
        for scaler in [standard(&table), Scaler::L2(Normalizer)] {
            let all = scaler.transform(&table).expect("scaled");
            let one = scaler.transform(&table.select_rows(&[2])).expect("scaled");
            assert_eq!(one.row(0), all.row(2));
        }
        let zeros = FeatureMatrix::zeros(1, 3);
        assert_eq!(Scaler::L2(Normalizer).transform(&zeros).expect("scaled"), zeros);
    }

    #[test]
    fn what_cannot_be_scaled_is_told() {
        let empty = StandardScaler::of(&VarianceAccumulator::new(2).finish()).expect_err("no rows").to_string();
        assert!(empty.contains("at least one picture"), "{empty}");
        let mut statistics = VarianceAccumulator::new(2);
        statistics.update(&[1.0, f32::NAN]);
        assert!(matches!(StandardScaler::of(&statistics.finish()), Err(ScaleError::NotFinite { column: 1 })));
        let one = FeatureMatrix::from_vec(1, 2, vec![3.0, 4.0]).expect("1 × 2");
        assert_eq!(standard(&one).transform(&one).expect("one row is its own mean").as_slice(), [0.0, 0.0]);
        assert!(standard(&one).transform(&FeatureMatrix::zeros(1, 3)).is_err());
        let zero = Scaler::Standard(StandardScaler { mean: vec![0.0], scale: vec![0.0] });
        assert!(matches!(zero.check(), Err(ScaleError::Stored { .. })));
    }
}
