//! Principal component analysis and truncated SVD as linfa models, solved exactly by faer.
//!
//! linfa's own `Pca` is not used: its variances are divided by the wrong count, its ratios are taken over the kept
//! components only, and its iterative solver returns unconverged results as good ones. The traits are linfa's:
//! [`PcaParams`] implements `Fit` for a table in memory, [`CovarianceParams`] `FitWith` for one that streams by,
//! [`Pca`] `Transformer`. The numbers are those of `sklearn.decomposition.PCA(svd_solver="full")`, signs included.
//!
//! Two exact routes, both accumulating in `f64` on centred data:
//! * [`Route::Covariance`], rows ≥ features: the d × d covariance, collected while rows stream by;
//! * [`Route::Gram`], rows < features: the n × n products of pictures, for a flattened ResNet-50 of 100,352 features.
//!
//! Where both sides are above 16,384, [`Subspace`] finds the leading components in several passes over the rows, until
//! no variance changes by more than 1e-6.

mod covariance;
mod eigen;
mod gram;
mod linfa_model;
mod mle;
mod params;
mod project;
mod randomised;
mod svd;
#[cfg(test)]
mod tests;

pub use covariance::{CovarianceAccumulator, CovarianceParams};
pub use params::{Components, PcaParams, SvdParams};
pub use randomised::Subspace;
pub use svd::TruncatedSvd;

use thiserror::Error;

use crate::hyperparameters::ParamError;

/// A fitted PCA: plain numbers, so that a stage can store them and read them back to the bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    /// Features of a row, d.
    pub features: usize,
    /// Mean of each feature (d).
    pub mean: Vec<f64>,
    /// Orthonormal directions (k, d), row-major, by falling variance. The entry of largest magnitude of each is
    /// positive.
    pub components: Vec<f32>,
    /// Variance along each component (k), divided by n - 1. Exactly 0 beyond the rank of the table.
    pub explained_variance: Vec<f64>,
    /// Share of the total variance of the table (k).
    pub explained_variance_ratio: Vec<f64>,
    /// Singular values of the centred table (k).
    pub singular_values: Vec<f64>,
    /// Mean variance of the directions left out, 0 when none is left out (Bishop, "Pattern Recognition and Machine
    /// Learning", 12.46).
    pub noise_variance: f64,
    /// Variance of the table over all features.
    pub total_variance: f64,
    /// Rows it was fitted on, n.
    pub rows: u64,
    /// Whether projections are scaled to unit variance.
    pub whiten: bool,
}

/// A PCA or SVD cannot be fitted, or rows cannot be projected.
#[derive(Debug, Error)]
pub enum PcaError {
    /// A hyperparameter cannot be used.
    #[error(transparent)]
    Parameter(#[from] ParamError),
    /// Too few rows for Minka's estimate.
    #[error(
        "`components: mle` needs at least as many pictures as features, and there are {rows} pictures of {features} \
         features: give a number or a share such as 0.95, or keep fewer columns (`select.top_k`)"
    )]
    MleRows { rows: u64, features: usize },
    /// A share of the variance or `mle` is asked for, and the table is too large for an exact solution.
    #[error(
        "a share of the variance and `mle` need the variances of all directions, and {rows} pictures of {features} \
         features are too many for that: give `components` as a number, or keep fewer columns (`select.top_k`)"
    )]
    NeedsCount { rows: u64, features: usize },
    /// Fewer than two rows, or no columns.
    #[error(
        "{rows} pictures of {features} features have no variance to analyse: at least 2 pictures and 1 feature are \
         needed"
    )]
    TooSmall { rows: u64, features: usize },
    /// All rows are the same, so no share of their variance can be kept.
    #[error("all {rows} pictures have the same features, so no fraction of their variance can be kept")]
    Constant { rows: u64 },
    /// A value is NaN or infinite.
    #[error("feature {column} has values that are NaN or infinite: check the weights and the precision of the model")]
    NotFinite { column: usize },
    /// Neither route fits into memory.
    #[error(
        "{rows} pictures of {features} features need a {side} × {side} matrix, more than {limit} × {limit}: keep \
         fewer features (features: avg, select.variance_threshold) or fit on fewer pictures"
    )]
    TooLarge { rows: u64, features: usize, side: usize, limit: usize },
    /// A block does not hold rows of the right width.
    #[error("{found} values do not make rows of {features} features")]
    Width { found: usize, features: usize },
    /// A stored PCA contradicts itself.
    #[error("the stored {field} has {found} values where {expected} are expected, or values that are not finite")]
    Stored { field: &'static str, found: usize, expected: usize },
    /// The eigenvalue iteration did not end, or memory ran out.
    #[error("the eigenvalues of a {side} × {side} matrix could not be computed ({reason})")]
    Solver { side: usize, reason: &'static str },
    /// Raised by linfa's traits.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}

/// The largest matrix whose eigenvectors are computed: 2 GB of `f64`, some four times that while solving.
const MAX_SIDE: usize = 16_384;

/// The algorithm that suits the shape of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Rows ≥ features: stream the rows through a [`CovarianceAccumulator`], d² × 8 bytes.
    Covariance,
    /// Rows < features: hold the whole table and solve the eigenvalue problem of its rows, n² × 8 bytes.
    Gram,
    /// Both above 16,384: stream the rows through a [`Subspace`] until its variances no longer change.
    Randomised,
}

/// Returns the route for a table of this shape.
pub fn route(rows: usize, features: usize) -> Route {
    match () {
        () if rows.min(features) > MAX_SIDE => Route::Randomised,
        () if rows < features => Route::Gram,
        () => Route::Covariance,
    }
}

impl Pca {
    /// Returns the number of components, k: the number asked for, clamped to min(n, d), or as many as hold the share of
    /// the variance.
    pub fn k(&self) -> usize {
        self.explained_variance.len()
    }

    /// Returns the factor of each component if they are whitened; 0 for a component without variance.
    pub fn whitening(&self) -> Option<Vec<f64>> {
        self.whiten.then(|| self.explained_variance.iter().map(project::whitening).collect())
    }

    fn project(&self, rows: &[f32], out: &mut [f32]) {
        let scale = self.whitening();
        let (features, components, mean) = (self.features, self.components.as_slice(), Some(self.mean.as_slice()));
        project::project(&project::Axes { features, components, mean }, scale.as_deref(), rows, out);
    }

    /// Checks that the vectors have the right lengths and finite values. It must be called on a PCA that was read from
    /// a file.
    pub fn check(&self) -> Result<(), PcaError> {
        let (k, d) = (self.k(), self.features);
        check_directions(&self.components, k, d)?;
        for (field, values, expected) in [
            ("mean", &self.mean, d),
            ("explained_variance", &self.explained_variance, k),
            ("explained_variance_ratio", &self.explained_variance_ratio, k),
            ("singular_values", &self.singular_values, k),
        ] {
            check_numbers(field, values, expected)?;
        }
        Ok(())
    }
}

fn check_directions(components: &[f32], k: usize, d: usize) -> Result<(), PcaError> {
    let found = components.len();
    if Some(found) == k.checked_mul(d) && k > 0 && components.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(PcaError::Stored { field: "components", found, expected: k.saturating_mul(d) })
}

fn check_numbers(field: &'static str, values: &[f64], expected: usize) -> Result<(), PcaError> {
    if values.len() == expected && values.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(PcaError::Stored { field, found: values.len(), expected })
}
