//! Randomised PCA by subspace iteration, for tables with too many rows and too many features for an exact solution.
//! Each iteration is one pass over the rows.
//!
//! An iteration multiplies an orthonormal basis by the covariance, XᵀX Q, while rows stream by, and solves the small
//! problem inside the basis (Rayleigh and Ritz). The basis begins at random, with a fixed seed. It has more than twice
//! as many directions as are asked for: an iteration multiplies the error of a variance by the square of the ratio of
//! the first variance outside the basis to the last one asked for. It ends when no variance has changed by more than
//! [`TOLERANCE`], or after [`PASSES`]. Memory: two bases, 16 bytes a feature and direction.
//!
//! Source: Halko, Martinsson and Tropp, "Finding structure with randomness", 2011, algorithms 4.4 and 5.3.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::eigen::{Eigen, Spectrum, make_orthogonal};
use super::{Components, Pca, PcaError, PcaParams};
use crate::parallel::parallelism;
use crate::variance::ColumnStats;

/// Largest relative change of a variance between two passes that counts as none.
pub(super) const TOLERANCE: f64 = 1e-6;
/// The most passes; after them the result is returned as it is.
pub(super) const PASSES: usize = 16;
/// The number of rows that are multiplied at a time. It is fixed, so that the result does not depend, to the bit, on
/// the blocks in which rows arrive.
const BLOCK: usize = 256;
const SEED: u64 = 0;

/// A basis that comes nearer to the leading components with every pass.
#[derive(Debug)]
pub struct Subspace {
    features: usize,
    k: usize,
    rows: u64,
    mean: Vec<f64>,
    /// Variance of the table over all features, divided by n - 1.
    total: f64,
    /// Orthonormal, row-major (l, d).
    basis: Vec<f64>,
    /// Σ (b·x) x for every direction b, row-major (l, d).
    products: Vec<f64>,
    /// Centred rows that are not multiplied yet.
    waiting: Vec<f64>,
    /// The k leading variances as of the last pass.
    variances: Vec<f64>,
    change: f64,
    passes: usize,
}

impl Subspace {
    /// Makes a random basis for the table that `stats` describe. It needs a number of components: shares and Minka's
    /// estimate need the whole spectrum.
    pub fn new(stats: &ColumnStats, params: &PcaParams) -> Result<Self, PcaError> {
        let (rows, features) = (stats.count, stats.mean.len());
        params.suits(rows, features)?;
        let Components::Count(asked) = params.components else {
            return Err(PcaError::NeedsCount { rows, features });
        };
        if let Some(column) = stats.variance.iter().position(|variance| !variance.is_finite()) {
            return Err(PcaError::NotFinite { column });
        }
        let most = features.min(usize::try_from(rows).unwrap_or(usize::MAX));
        let k = asked.min(most);
        let directions = (2 * k + 16).min(most);
        let n = rows as f64;
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let mut basis: Vec<f64> = (0..directions * features).map(|_| random.random_range(-1.0..1.0)).collect();
        orthonormalise(&mut basis, features);
        Ok(Self {
            features,
            k,
            rows,
            mean: stats.mean.clone(),
            total: stats.variance.iter().sum::<f64>() * n / (n - 1.0),
            products: vec![0.0; basis.len()],
            basis,
            waiting: Vec::with_capacity(BLOCK * features),
            variances: Vec::new(),
            change: f64::INFINITY,
            passes: 0,
        })
    }

    /// Takes a row-major block of any number of whole rows; every row once a pass, in the same order.
    pub fn update(&mut self, rows: &[f32]) -> Result<(), PcaError> {
        if !rows.len().is_multiple_of(self.features) {
            return Err(PcaError::Width { found: rows.len(), features: self.features });
        }
        for row in rows.chunks_exact(self.features) {
            self.waiting.extend(row.iter().zip(&self.mean).map(|(&value, mean)| f64::from(value) - mean));
            if self.waiting.len() == BLOCK * self.features {
                self.multiply();
            }
        }
        Ok(())
    }

    fn directions(&self) -> usize {
        self.basis.len() / self.features
    }

    /// Adds the waiting rows to the products.
    fn multiply(&mut self) {
        let (d, l) = (self.features, self.directions());
        let count = self.waiting.len() / d;
        let block = MatRef::from_row_major_slice(&self.waiting, count, d); // (rows, d)
        let basis = MatRef::from_row_major_slice(&self.basis, l, d);
        let mut along = Mat::<f64>::zeros(l, count);
        matmul(along.as_mut(), Accum::Replace, basis, block.transpose(), 1.0, parallelism());
        let products = MatMut::from_row_major_slice_mut(&mut self.products, l, d);
        matmul(products, Accum::Add, along.as_ref(), block, 1.0, parallelism());
        self.waiting.clear();
    }

    /// Ends a pass: the basis becomes the best directions inside it, and, unless that was the last pass, is multiplied
    /// by the covariance for the next one. True when no further pass is needed.
    pub fn end_pass(&mut self) -> Result<bool, PcaError> {
        if !self.waiting.is_empty() {
            self.multiply();
        }
        let (d, l) = (self.features, self.directions());
        let scale = 1.0 / (self.rows as f64 - 1.0);
        let mut inside = Mat::<f64>::zeros(l, l);
        let basis = MatRef::from_row_major_slice(&self.basis, l, d);
        let products = MatRef::from_row_major_slice(&self.products, l, d);
        matmul(inside.as_mut(), Accum::Replace, basis, products.transpose(), scale, parallelism());
        let eigen = Eigen::of(inside, d)?;
        let turned = Mat::from_fn(l, l, |i, j| eigen.entry(j, i)); // row i: the ith direction in terms of the basis
        let variances = eigen.values[..self.k].to_vec();
        let largest = variances.first().copied().unwrap_or(0.0);
        let change = |(new, old): (&f64, &f64)| (new - old).abs() / new.max(largest * f64::EPSILON);
        self.change = match self.variances.is_empty() {
            true => f64::INFINITY,
            false if largest == 0.0 => 0.0,
            false => variances.iter().zip(&self.variances).map(change).fold(0.0, f64::max),
        };
        self.variances = variances;
        self.passes += 1;
        let done = self.change <= TOLERANCE || self.passes == PASSES || l == d;
        let source = if done { basis } else { products };
        let mut next = vec![0.0; self.basis.len()];
        let target = MatMut::from_row_major_slice_mut(&mut next, l, d);
        matmul(target, Accum::Replace, turned.as_ref(), source, 1.0, parallelism());
        orthonormalise(&mut next, d);
        self.basis = next;
        self.products.fill(0.0);
        Ok(done)
    }

    /// Returns the number of passes so far, and the largest relative change of a variance in the last one.
    pub fn accuracy(&self) -> (usize, f64) {
        (self.passes, self.change)
    }

    /// Returns the leading components as of the last pass.
    pub fn finish(mut self, params: &PcaParams) -> Pca {
        self.basis.truncate(self.k * self.features);
        let components = self.basis.iter().map(|&value| value as f32).collect();
        let most = self.features.min(usize::try_from(self.rows).unwrap_or(usize::MAX));
        // The remaining variance is divided evenly among the other directions.
        let left = (self.total - self.variances.iter().sum::<f64>()).max(0.0);
        let others = most - self.k;
        let mut variances = self.variances;
        variances.extend(std::iter::repeat_n(left / others.max(1) as f64, others));
        Spectrum { rows: self.rows, mean: self.mean, variances }.into_pca(components, params.whiten)
    }
}

/// Orthonormalises the rows by Gram and Schmidt's process. A row that depends linearly on those before it is replaced
/// by the first coordinate axis that does not.
fn orthonormalise(rows: &mut [f64], width: usize) {
    let length = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>().sqrt();
    let mut axis = 0;
    for i in 0..rows.len() / width {
        let (before, rest) = rows.split_at_mut(i * width);
        let row = &mut rest[..width];
        loop {
            let whole = length(row);
            make_orthogonal(row, before);
            let left = length(row);
            if left > 1e-10 * whole && left > 0.0 {
                row.iter_mut().for_each(|value| *value /= left);
                break;
            }
            row.fill(0.0);
            row[axis] = 1.0;
            axis += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{DatasetBase, Fit};
    use crate::golden;
    use crate::table::FeatureMatrix;
    use crate::variance::VarianceAccumulator;

    fn fit(table: &FeatureMatrix, params: &PcaParams, rows_at_once: usize) -> (Pca, usize) {
        let mut stats = VarianceAccumulator::new(table.cols());
        stats.update(table.as_slice());
        let mut subspace = Subspace::new(&stats.finish(), params).expect("a count");
        loop {
            for block in table.as_slice().chunks(rows_at_once * table.cols()) {
                subspace.update(block).expect("whole rows");
            }
            if subspace.end_pass().expect("solved") {
                break;
            }
        }
        let (passes, _) = subspace.accuracy();
        (subspace.finish(params), passes)
    }

    /// Returns a table whose variances fall slowly: every column has its own.
    fn slow(rows: usize, cols: usize) -> FeatureMatrix {
        let values = golden::draws(77, rows * cols, -500, 500);
        let value = |(at, v): (usize, &i64)| *v as f32 / (1.0 + (at % cols) as f32).sqrt() + 40.0;
        FeatureMatrix::from_vec(rows, cols, values.iter().enumerate().map(value).collect()).expect("rows × cols")
    }

    #[test]
    fn it_finds_what_the_exact_solution_has() {
        for (table, k) in [(slow(700, 160), 12), (slow(90, 400), 6)] {
            let params = PcaParams { components: Components::Count(k), whiten: true };
            let exact = params.fit(&DatasetBase::new(&table, ())).expect("a PCA");
            let (found, passes) = fit(&table, &params, 101);
            assert!(passes <= PASSES, "{passes}");
            golden::close(&found.explained_variance, &exact.explained_variance, 1e-4);
            golden::close(&found.explained_variance_ratio, &exact.explained_variance_ratio, 1e-4);
            golden::close(
                &[found.total_variance, found.noise_variance],
                &[exact.total_variance, exact.noise_variance],
                1e-4,
            );
            for (a, b) in found.components.chunks(table.cols()).zip(exact.components.chunks(table.cols())) {
                let cosine: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                assert!(cosine > 1.0 - 1e-3, "{cosine}");
            }
        }
    }

    #[test]
    fn the_cut_into_blocks_does_not_change_a_bit_and_rank_may_be_short() {
        let params = PcaParams { components: Components::Count(5), whiten: false };
        let table = slow(600, 60);
        assert_eq!(fit(&table, &params, 600).0, fit(&table, &params, 7).0);
        // one direction only
        let flat: Vec<f32> = (0..90 * 40).map(|at| ((at / 40 % 7) * (at % 40 % 3)) as f32).collect();
        let flat = FeatureMatrix::from_vec(90, 40, flat).expect("90 × 40");
        let (found, exact) = (fit(&flat, &params, 30).0, params.fit(&DatasetBase::new(&flat, ())).expect("a PCA"));
        golden::close(&found.explained_variance[..1], &exact.explained_variance[..1], 1e-9);
        assert!(found.explained_variance[1..].iter().all(|&v| v <= 1e-12 * exact.total_variance));
        found.check().expect("in order");
    }

    #[test]
    fn a_share_needs_all_variances() {
        let mut stats = VarianceAccumulator::new(2);
        stats.update(&[1.0, 2.0, 3.0, 5.0, 2.0, 1.0]);
        let params = PcaParams { components: Components::Fraction(0.9), whiten: false };
        let error = Subspace::new(&stats.finish(), &params).expect_err("no count").to_string();
        assert!(error.contains("3 pictures of 2 features") && error.contains("a number"), "{error}");
    }
}
