//! The decompositions in linfa's terms: `Fit` for a table in memory, `FitWith` for one that streams by, `Transformer`.

use super::{
    CovarianceAccumulator, CovarianceParams, Pca, PcaError, PcaParams, Route, SvdParams, TruncatedSvd, gram, route,
};
use crate::dataset::{DatasetBase, Fit, FitWith, Transformer};
use crate::table::FeatureMatrix;

impl<T> Fit<&FeatureMatrix, T, PcaError> for PcaParams {
    type Object = Pca;

    /// Fits on a table (n, d), by the route that suits its shape; targets are ignored.
    fn fit(&self, dataset: &DatasetBase<&FeatureMatrix, T>) -> Result<Pca, PcaError> {
        self.check()?;
        let table = dataset.records;
        match route(table.rows(), table.cols()) {
            Route::Gram => gram::fit(table, self),
            // A table that is too large for both exact routes is an error here; callers stream it through a `Subspace`.
            Route::Covariance | Route::Randomised => CovarianceParams.fit_with(None, dataset)?.finish(self),
        }
    }
}

impl<T> Fit<&FeatureMatrix, T, PcaError> for SvdParams {
    type Object = TruncatedSvd;

    /// Fits on a table (n, d), by the route that suits its shape; targets are ignored.
    fn fit(&self, dataset: &DatasetBase<&FeatureMatrix, T>) -> Result<TruncatedSvd, PcaError> {
        self.check()?;
        let table = dataset.records;
        if table.rows() == 0 || table.cols() == 0 {
            return Err(PcaError::TooSmall { rows: 0, features: table.cols() });
        }
        match route(table.rows(), table.cols()) {
            Route::Gram => gram::fit_svd(table, self),
            Route::Covariance | Route::Randomised => CovarianceParams.fit_with(None, dataset)?.finish_svd(self),
        }
    }
}

impl<'a, T> FitWith<'a, &'a FeatureMatrix, T, PcaError> for CovarianceParams {
    type ObjectIn = Option<CovarianceAccumulator>;
    type ObjectOut = CovarianceAccumulator;

    /// Takes the next rows of a table; [`CovarianceAccumulator::finish`] solves for the components of all.
    fn fit_with(
        &self,
        before: Self::ObjectIn,
        dataset: &'a DatasetBase<&'a FeatureMatrix, T>,
    ) -> Result<CovarianceAccumulator, PcaError> {
        let table = dataset.records;
        let mut covariance = before.map_or_else(|| CovarianceAccumulator::new(table.cols()), Ok)?;
        covariance.update(table.as_slice())?;
        Ok(covariance)
    }
}

/// Returns the projections (n, k) of rows (n, d); an error where d is not `features`.
fn projected(
    block: &FeatureMatrix,
    features: usize,
    k: usize,
    project: impl Fn(&[f32], &mut [f32]),
) -> Result<FeatureMatrix, PcaError> {
    if block.cols() != features {
        return Err(PcaError::Width { found: block.cols(), features });
    }
    let mut out = FeatureMatrix::zeros(block.rows(), k);
    project(block.as_slice(), out.as_mut_slice());
    Ok(out)
}

impl Transformer<&FeatureMatrix, Result<FeatureMatrix, PcaError>> for Pca {
    /// Projects rows (n, d) on the components: (n, k).
    ///
    /// The result for a row depends, to the bit, on that row alone: not on the other rows, nor on the number of
    /// threads. A whitened component without variance gives 0, where scikit-learn divides rounding noise by its own
    /// size.
    fn transform(&self, block: &FeatureMatrix) -> Result<FeatureMatrix, PcaError> {
        projected(block, self.features, self.k(), |rows, out| self.project(rows, out))
    }
}

impl Transformer<&FeatureMatrix, Result<FeatureMatrix, PcaError>> for TruncatedSvd {
    /// Projects rows (n, d) on the components: (n, k). The result for a row depends, to the bit, on that row alone.
    fn transform(&self, block: &FeatureMatrix) -> Result<FeatureMatrix, PcaError> {
        projected(block, self.features, self.k(), |rows, out| self.project(rows, out))
    }
}
