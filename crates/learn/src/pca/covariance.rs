//! Rows ≥ features: the covariance matrix, collected while blocks of rows stream by, and its eigenvectors.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef};

use super::eigen::{Eigen, Spectrum, add_product};
use super::{MAX_SIDE, Pca, PcaError, PcaParams, SvdParams, TruncatedSvd};
use crate::parallel::parallelism;

/// The number of rows that are multiplied at a time. It is fixed, so that the result does not depend, to the bit, on
/// the blocks in which rows arrive.
const BLOCK: usize = 512;

/// The hyperparameters of the covariance: there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CovarianceParams;

/// Collects the covariance of rows of d features in d² × 8 bytes and a block of 512 rows, however many rows come.
///
/// Rows are shifted by the mean of the first block before they are multiplied, so that a small variance beside a large
/// mean keeps its digits; the difference between the shift and the mean is corrected at the end. All sums are `f64`.
#[derive(Clone, Debug)]
pub struct CovarianceAccumulator {
    features: usize,
    rows: u64,
    /// Mean of the first block; empty until there is one.
    shift: Vec<f64>,
    /// Σ (x - shift), (d)
    sum: Vec<f64>,
    /// Σ (x - shift)(x - shift)ᵀ, lower triangle, (d, d)
    products: Mat<f64>,
    /// The rows that are not multiplied yet, row-major; already shifted unless the shift is still unknown.
    waiting: Vec<f64>,
}

impl CovarianceAccumulator {
    /// Makes an accumulator for rows of `features` values. Fails when features² would not fit into memory.
    pub fn new(features: usize) -> Result<Self, PcaError> {
        if features == 0 {
            return Err(PcaError::TooSmall { rows: 0, features });
        }
        if features > MAX_SIDE {
            return Err(PcaError::TooLarge { rows: 0, features, side: features, limit: MAX_SIDE });
        }
        Ok(Self {
            features,
            rows: 0,
            shift: Vec::new(),
            sum: vec![0.0; features],
            products: Mat::zeros(features, features),
            waiting: Vec::with_capacity(BLOCK * features),
        })
    }

    /// Takes a row-major block of any number of whole rows.
    pub fn update(&mut self, rows: &[f32]) -> Result<(), PcaError> {
        let features = self.features;
        if !rows.len().is_multiple_of(features) {
            return Err(PcaError::Width { found: rows.len(), features });
        }
        for row in rows.chunks_exact(features) {
            let values = row.iter().map(|&value| f64::from(value));
            if self.shift.is_empty() {
                self.waiting.extend(values);
            } else {
                self.waiting.extend(values.zip(&self.shift).map(|(value, shift)| value - shift));
            }
            if self.waiting.len() == BLOCK * features {
                self.multiply()?;
            }
        }
        Ok(())
    }

    /// Adds the waiting rows to the sums.
    fn multiply(&mut self) -> Result<(), PcaError> {
        let features = self.features;
        let count = self.waiting.len() / features;
        if self.shift.is_empty() {
            self.shift = column_sums(&self.waiting, features);
            self.shift.iter_mut().for_each(|sum| *sum /= count as f64);
            for row in self.waiting.chunks_exact_mut(features) {
                row.iter_mut().zip(&self.shift).for_each(|(value, shift)| *value -= shift);
            }
        }
        let sums = column_sums(&self.waiting, features);
        if let Some(column) = sums.iter().position(|sum| !sum.is_finite()) {
            return Err(PcaError::NotFinite { column });
        }
        self.sum.iter_mut().zip(&sums).for_each(|(total, sum)| *total += sum);
        let block = MatRef::from_row_major_slice(&self.waiting, count, features); // (rows, d)
        add_product(&mut self.products, block.transpose(), block);
        self.rows += count as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Returns the covariance of all rows seen, divided by n − `less`, lower triangle (d, d); and the mean of each
    /// feature.
    fn centred(mut self, less: f64) -> Result<(Mat<f64>, Vec<f64>), PcaError> {
        if !self.waiting.is_empty() {
            self.multiply()?;
        }
        let Self { features, rows, shift, sum, products: mut covariance, .. } = self;
        let n = rows as f64;
        if n - less <= 0.0 {
            return Err(PcaError::TooSmall { rows, features });
        }
        for (j, sum_j) in sum.iter().enumerate() {
            for (i, sum_i) in sum.iter().enumerate().skip(j) {
                covariance[(i, j)] = (covariance[(i, j)] - sum_i * (sum_j / n)) / (n - less);
            }
        }
        let mean = shift.iter().zip(&sum).map(|(shift, sum)| shift + sum / n).collect();
        Ok((covariance, mean))
    }

    /// Returns the number of rows seen.
    fn seen(&self) -> u64 {
        self.rows + (self.waiting.len() / self.features) as u64
    }

    /// Solves for the components of all rows seen.
    pub fn finish(self, params: &PcaParams) -> Result<Pca, PcaError> {
        let (features, rows) = (self.features, self.seen());
        let (covariance, mean) = self.centred(1.0)?;
        let most = features.min(usize::try_from(rows).unwrap_or(usize::MAX));
        let eigen = Eigen::of(covariance, features.max(BLOCK))?;
        let spectrum = Spectrum { rows, mean, variances: eigen.values[..most].to_vec() };
        let k = spectrum.k(params)?;
        let components = (0..k).flat_map(|i| eigen.vector(i).map(|value| value as f32)).collect(); // (k, d)
        Ok(spectrum.into_pca(components, params.whiten))
    }

    /// Solves for the right singular vectors of all rows seen, without subtracting their mean.
    pub fn finish_svd(self, params: &SvdParams) -> Result<TruncatedSvd, PcaError> {
        let (features, rows) = (self.features, self.seen());
        let (mut covariance, mean) = self.centred(0.0)?;
        // Xᵀ X / n is the covariance plus the products of the means.
        let mut products = covariance.clone();
        for j in 0..features {
            for i in j..features {
                products[(i, j)] += mean[i] * mean[j];
                covariance[(j, i)] = covariance[(i, j)];
            }
        }
        let k = params.k(usize::try_from(rows).unwrap_or(usize::MAX), features);
        let eigen = Eigen::of(products, features.max(BLOCK))?;
        let vectors = Mat::from_fn(features, k, |i, j| eigen.entry(i, j)); // (d, k)
        let mut spread = Mat::<f64>::zeros(features, k);
        matmul(spread.as_mut(), Accum::Replace, covariance.as_ref(), vectors.as_ref(), 1.0, parallelism());
        // The variance is vᵀ C v. It equals λ − (mean of the projections)², but that subtracts two large numbers.
        let along = |j: usize| match eigen.values[j] {
            0.0 => 0.0,
            _ => (0..features).map(|i| vectors[(i, j)] * spread[(i, j)]).sum::<f64>().max(0.0),
        };
        let found = TruncatedSvd {
            features,
            rows,
            components: (0..k).flat_map(|j| eigen.vector(j).map(|value| value as f32)).collect(),
            singular_values: eigen.values[..k].iter().map(|value| (value * rows as f64).sqrt()).collect(),
            explained_variance: (0..k).map(along).collect(),
            total_variance: (0..features).map(|i| covariance[(i, i)]).sum(),
            explained_variance_ratio: Vec::new(),
        };
        Ok(found.settled())
    }
}

/// Returns the sum of each column of row-major rows.
fn column_sums(rows: &[f64], features: usize) -> Vec<f64> {
    let mut sums = vec![0.0; features];
    for row in rows.chunks_exact(features) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    sums
}
