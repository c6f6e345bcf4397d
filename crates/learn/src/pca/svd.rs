//! Truncated singular value decomposition: the directions of the table without subtracting the mean.
//!
//! The numbers are those of `sklearn.decomposition.TruncatedSVD(algorithm="arpack")`, signs included: its variances are
//! divided by n, not by n − 1 as those of a PCA, and need not be in descending order: the first direction of a table
//! far from 0 is that of its mean.

use super::eigen::make_largest_positive;
use super::{PcaError, project};

/// A fitted decomposition: plain numbers, so that a stage can store them and read them back to the bit.
#[derive(Clone, Debug, PartialEq)]
pub struct TruncatedSvd {
    /// Features of a row, d.
    pub features: usize,
    /// Right singular vectors (k, d), row-major, by falling singular value. The entry of largest magnitude of each is
    /// positive.
    pub components: Vec<f32>,
    /// Variance of the rows along each component (k), divided by n.
    pub explained_variance: Vec<f64>,
    /// Share of the variance of the table (k).
    pub explained_variance_ratio: Vec<f64>,
    /// Singular values of the table (k). Exactly 0 beyond its rank.
    pub singular_values: Vec<f64>,
    /// Variance of the table over all features, divided by n.
    pub total_variance: f64,
    /// Rows it was fitted on, n.
    pub rows: u64,
}

impl TruncatedSvd {
    /// Sets the signs of the components and their shares of the variance; the other fields are known.
    pub(super) fn settled(mut self) -> Self {
        self.components.chunks_exact_mut(self.features).for_each(make_largest_positive);
        let total = self.total_variance;
        let share = |variance: &f64| if total > 0.0 { variance / total } else { 0.0 };
        self.explained_variance_ratio = self.explained_variance.iter().map(share).collect();
        self
    }

    /// Number of components, k.
    pub fn k(&self) -> usize {
        self.singular_values.len()
    }

    pub(super) fn project(&self, rows: &[f32], out: &mut [f32]) {
        let components = project::Axes { features: self.features, components: &self.components, mean: None };
        project::project(&components, None, rows, out);
    }

    /// Checks that the vectors have the right lengths and finite values. It must be called on an SVD that was read from
    /// a file.
    pub fn check(&self) -> Result<(), PcaError> {
        let (k, d) = (self.k(), self.features);
        super::check_directions(&self.components, k, d)?;
        for (field, values) in [
            ("explained_variance", &self.explained_variance),
            ("explained_variance_ratio", &self.explained_variance_ratio),
            ("singular_values", &self.singular_values),
        ] {
            super::check_numbers(field, values, k)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::{CovarianceAccumulator, SvdParams, gram};
    use super::*;
    use crate::dataset::{DatasetBase, Fit, Transformer};
    use crate::golden;
    use crate::table::FeatureMatrix;

    fn params(components: usize) -> SvdParams {
        SvdParams { components }
    }

    fn fit_svd(table: &FeatureMatrix, params: &SvdParams) -> Result<TruncatedSvd, PcaError> {
        params.fit(&DatasetBase::new(table, ()))
    }

    fn assert_golden(svd: &TruncatedSvd, table: &FeatureMatrix, case: &Value) {
        svd.check().expect("in order");
        assert_eq!(svd.k(), golden::count(&case["n_components"]), "{}", case["name"]);
        golden::close(&svd.singular_values, &golden::vector(&case["singular_values"]), 1e-9);
        golden::close(&svd.explained_variance, &golden::vector(&case["explained_variance"]), 1e-7);
        golden::close(&svd.explained_variance_ratio, &golden::vector(&case["explained_variance_ratio"]), 1e-7);
        let at = golden::indices(&case["components"]["at"]);
        let got: Vec<f32> = svd.components.chunks(svd.features).flat_map(|row| at.iter().map(|&j| row[j])).collect();
        golden::near(&got, &golden::vector_f32(&case["components"]["entries"]), 2e-6);
        let projected = svd.transform(&table.select_rows(&[0, 1, 2, 3, 4])).expect("of this width");
        let expected = golden::vector_f32(&case["projected"]);
        let largest = expected.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        golden::near(projected.as_slice(), &expected, 2e-6 * largest);
    }

    #[test]
    fn numbers_and_signs_are_those_of_scikit_learn() {
        for case in golden::list(&golden::load("select_reduce")["svd"]) {
            let table = golden::table(&case["table"]);
            let svd = fit_svd(&table, &params(golden::count(&case["n_components"]))).expect("an SVD");
            assert_golden(&svd, &table, case);
        }
    }

    #[test]
    fn both_routes_find_the_same_and_nothing_beyond_the_rank() {
        let table = golden::table(&golden::load("select_reduce")["svd"][2]["table"]);
        let values = table.as_slice();
        let mut covariance = CovarianceAccumulator::new(table.cols()).expect("small");
        values.chunks(7 * table.cols()).for_each(|block| covariance.update(block).expect("whole rows"));
        let by_columns = covariance.finish_svd(&params(9)).expect("an SVD");
        let by_rows = gram::fit_svd(&table, &params(9)).expect("an SVD");
        let rank = 5; // four directions and the mean
        for svd in [&by_columns, &by_rows] {
            assert!(svd.singular_values[rank..].iter().all(|&value| value == 0.0), "{:?}", svd.singular_values);
            assert!(svd.explained_variance[rank..].iter().all(|&value| value == 0.0), "{:?}", svd.explained_variance);
        }
        golden::close(&by_columns.singular_values[..rank], &by_rows.singular_values[..rank], 1e-9);
        golden::near(&by_columns.components[..rank * table.cols()], &by_rows.components[..rank * table.cols()], 1e-6);
    }

    #[test]
    fn counts_are_clamped_or_refused() {
        let table = golden::table(&golden::load("select_reduce")["svd"][0]["table"]);
        let fitted = fit_svd(&table, &params(99)).expect("an SVD");
        assert_eq!(fitted.k(), table.cols());
        assert!(matches!(fit_svd(&table, &params(0)), Err(PcaError::Parameter(_))));
        assert!(matches!(fit_svd(&FeatureMatrix::with_cols(3), &params(2)), Err(PcaError::TooSmall { .. })));
        assert!(fitted.transform(&FeatureMatrix::zeros(1, 3)).is_err());
        let one =
            fit_svd(&FeatureMatrix::from_vec(1, 2, vec![3.0, -4.0]).expect("1 × 2"), &params(2)).expect("one row");
        assert_eq!((one.k(), one.explained_variance_ratio[0]), (1, 0.0));
        golden::near(&one.components, &[-0.6, 0.8], 1e-6);
        golden::close(&one.singular_values, &[5.0], 1e-12);
    }
}
