//! Eigenvectors of a symmetric matrix, and the steps that follow them in every PCA: rank, k, signs, shares.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{self, ComputeEigenvectors};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef};

use super::{Components, Pca, PcaError, PcaParams, mle};
use crate::parallel::parallelism;

/// Adds left × right, which is symmetric, to the lower triangle of `sum`.
pub(super) fn add_product(sum: &mut Mat<f64>, left: MatRef<f64>, right: MatRef<f64>) {
    use BlockStructure::{Rectangular, TriangularLower};
    let par = parallelism();
    triangular::matmul(sum.as_mut(), TriangularLower, Accum::Add, left, Rectangular, right, Rectangular, 1.0, par);
}

/// Subtracts from `row` its projections on the orthonormal `others`, row-major, twice: then it is orthogonal to them
/// within the rounding error (Kahan, in Parlett, "The Symmetric Eigenvalue Problem", 6.9).
pub(super) fn make_orthogonal(row: &mut [f64], others: &[f64]) {
    for _ in 0..2 {
        for other in others.chunks_exact(row.len()) {
            let along: f64 = other.iter().zip(row.iter()).map(|(a, b)| a * b).sum();
            row.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
        }
    }
}

/// Eigenvalues of a centred covariance or Gram matrix, and their vectors.
pub(super) struct Eigen {
    /// In descending order; negative ones and those below the rounding error of the largest are 0.
    pub values: Vec<f64>,
    /// Column j belongs to value `values.len() - 1 - j`: faer sorts them in ascending order.
    vectors: Mat<f64>,
}

impl Eigen {
    /// Solves for all eigenvalues of a symmetric positive semi-definite matrix, of which the lower triangle is read.
    /// `size` is the larger side of the table it came from.
    pub(super) fn of(matrix: Mat<f64>, size: usize) -> Result<Self, PcaError> {
        let side = matrix.nrows();
        let fail = |reason| PcaError::Solver { side, reason };
        let par = parallelism();
        let mut values = Diag::<f64>::zeros(side);
        let mut vectors = Mat::<f64>::zeros(side, side);
        let need = evd::self_adjoint_evd_scratch::<f64>(side, ComputeEigenvectors::Yes, par, Default::default());
        let mut memory = MemBuffer::try_new(need).map_err(|_| fail("out of memory"))?;
        evd::self_adjoint_evd(
            matrix.as_ref(),
            values.as_mut(),
            Some(vectors.as_mut()),
            par,
            MemStack::new(&mut memory),
            Default::default(),
        )
        .map_err(|_| fail("no convergence"))?;
        let mut values: Vec<f64> = values.column_vector().iter().rev().copied().collect();
        let largest = values.first().copied().unwrap_or(0.0);
        let noise = largest * size as f64 * f64::EPSILON;
        // Because of rounding, an eigenvalue of 0 is computed as a number of this size.
        values.iter_mut().filter(|value| **value <= noise).for_each(|value| *value = 0.0);
        Ok(Self { values, vectors })
    }

    /// Returns entry `i` of the eigenvector of `values[j]`.
    pub(super) fn entry(&self, i: usize, j: usize) -> f64 {
        self.vectors[(i, self.values.len() - 1 - j)]
    }

    /// Returns the eigenvector of `values[i]`.
    pub(super) fn vector(&self, i: usize) -> impl ExactSizeIterator<Item = f64> {
        self.vectors.col(self.values.len() - 1 - i).iter().copied()
    }
}

/// Mean and variances of a table, from which the number of its components follows.
pub(super) struct Spectrum {
    /// n
    pub rows: u64,
    /// Mean of each feature (d).
    pub mean: Vec<f64>,
    /// Variances of all min(n, d) directions, falling.
    pub variances: Vec<f64>,
}

impl Spectrum {
    /// Returns the number of components that the parameters ask for of this table.
    pub(super) fn k(&self, params: &PcaParams) -> Result<usize, PcaError> {
        let most = self.variances.len();
        match params.components {
            Components::Count(asked) => Ok(asked.min(most)),
            Components::Fraction(fraction) => {
                let total = self.total();
                if total == 0.0 {
                    return Err(PcaError::Constant { rows: self.rows });
                }
                let mut sum = 0.0;
                let above = |variance: &f64| {
                    sum += variance / total;
                    sum > fraction
                };
                Ok(self.variances.iter().position(above).map_or(most, |at| at + 1))
            }
            Components::Mle => {
                params.suits(self.rows, self.mean.len())?;
                Ok(mle::dimension(&self.variances, self.rows))
            }
        }
    }

    fn total(&self) -> f64 {
        self.variances.iter().sum()
    }

    /// Makes the fitted model of the first k directions (k, d), row-major, whose signs are arbitrary.
    pub(super) fn into_pca(self, mut components: Vec<f32>, whiten: bool) -> Pca {
        let features = self.mean.len();
        components.chunks_exact_mut(features).for_each(make_largest_positive);
        let (total, k) = (self.total(), components.len() / features);
        let (kept, left_out) = self.variances.split_at(k);
        let share = |variance: &f64| if total > 0.0 { variance / total } else { 0.0 };
        let spread = self.rows as f64 - 1.0;
        Pca {
            features,
            components,
            explained_variance: kept.to_vec(),
            explained_variance_ratio: kept.iter().map(share).collect(),
            singular_values: kept.iter().map(|variance| (variance * spread).sqrt()).collect(),
            noise_variance: if left_out.is_empty() {
                0.0
            } else {
                left_out.iter().sum::<f64>() / left_out.len() as f64
            },
            total_variance: total,
            rows: self.rows,
            whiten,
            mean: self.mean,
        }
    }
}

/// `svd_flip(u_based_decision=False)`: an eigenvector's sign is arbitrary, so the entry of largest magnitude is made
/// positive.
pub(super) fn make_largest_positive(component: &mut [f32]) {
    let mut largest = 0.0_f32;
    for &value in component.iter() {
        if value.abs() > largest.abs() {
            largest = value;
        }
    }
    if largest < 0.0 {
        component.iter_mut().for_each(|value| *value = -*value);
    }
}
