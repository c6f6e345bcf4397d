//! Rows < features: the products of every row with every other, and the components from their eigenvectors.
//!
//! With X the centred table (n, d) and X Xᵀ = U S² Uᵀ, the components are the rows of S⁻¹ Uᵀ X. X is converted to `f64`
//! one block of columns at a time. Dividing by a small singular value magnifies the rounding errors of U, so the result
//! is made orthonormal once more; directions beyond the rank of the table are filled in from the coordinate axes.

use std::ops::Range;

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor;
use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Accum, Mat, MatRef};

use super::eigen::{Eigen, Spectrum, add_product, make_orthogonal};
use super::{MAX_SIDE, Pca, PcaError, PcaParams, SvdParams, TruncatedSvd};
use crate::parallel::parallelism;
use crate::table::FeatureMatrix;

/// Values of a column block: 16 MB of `f64`.
const BLOCK_VALUES: usize = 2 << 20;

/// Fits on a table held in memory.
pub(super) fn fit(table: &FeatureMatrix, params: &PcaParams) -> Result<Pca, PcaError> {
    let (rows, features) = (table.rows(), table.cols());
    if rows < 2 {
        return Err(PcaError::TooSmall { rows: rows as u64, features });
    }
    let table = Table::new(table)?;
    let eigen = Eigen::of(table.gram(), features)?;
    let variances = eigen.values.iter().map(|value| value / (rows - 1) as f64).collect();
    let spectrum = Spectrum { rows: rows as u64, mean: table.mean.clone(), variances };
    let k = spectrum.k(params)?;
    let components = table.components(&eigen, k)?;
    Ok(spectrum.into_pca(components, params.whiten))
}

/// Decomposes the table without subtracting its mean.
pub(super) fn fit_svd(table: &FeatureMatrix, params: &SvdParams) -> Result<TruncatedSvd, PcaError> {
    let (rows, features) = (table.rows(), table.cols());
    let mut table = Table::new(table)?;
    let total_variance = table.variance();
    table.mean.fill(0.0);
    let eigen = Eigen::of(table.gram(), features)?;
    let k = params.k(rows, features);
    let n = rows as f64;
    // The projections of the rows on direction i are σ u.
    let along = |i: usize| {
        let mean = eigen.vector(i).sum::<f64>() / n;
        eigen.values[i] * eigen.vector(i).map(|u| (u - mean).powi(2)).sum::<f64>() / n
    };
    let found = TruncatedSvd {
        features,
        rows: rows as u64,
        components: table.components(&eigen, k)?,
        singular_values: eigen.values[..k].iter().map(|value| value.sqrt()).collect(),
        explained_variance: (0..k).map(along).collect(),
        total_variance,
        explained_variance_ratio: Vec::new(),
    };
    Ok(found.settled())
}

/// A table, and a number for each column that is subtracted from its values.
struct Table<'a> {
    data: &'a [f32],
    rows: usize,
    features: usize,
    /// The mean of each column; zeros for a table that is not centred.
    mean: Vec<f64>,
}

impl<'a> Table<'a> {
    fn new(table: &'a FeatureMatrix) -> Result<Self, PcaError> {
        let (data, rows, features) = (table.as_slice(), table.rows(), table.cols());
        if rows > MAX_SIDE {
            return Err(PcaError::TooLarge { rows: rows as u64, features, side: rows, limit: MAX_SIDE });
        }
        let mean = table.column_means();
        match mean.iter().position(|mean| !mean.is_finite()) {
            Some(column) => Err(PcaError::NotFinite { column }),
            None => Ok(Self { data, rows, features, mean }),
        }
    }

    /// Returns the variance of all columns together, divided by n.
    fn variance(&self) -> f64 {
        let mut squares = vec![0.0; self.features];
        for row in self.data.chunks_exact(self.features) {
            let centred = row.iter().zip(&self.mean).map(|(&value, mean)| f64::from(value) - mean);
            squares.iter_mut().zip(centred).for_each(|(sum, value)| *sum += value * value);
        }
        squares.iter().sum::<f64>() / self.rows as f64
    }

    /// Returns the first `k` directions (k, d), row-major, with arbitrary signs.
    fn components(&self, eigen: &Eigen, k: usize) -> Result<Vec<f32>, PcaError> {
        let rank = eigen.values.iter().take(k).filter(|&&value| value > 0.0).count();
        let mut directions = self.directions(eigen, rank); // (rank, d)
        orthonormalise(&mut directions, rank)?;
        complete(&mut directions, self.features, k);
        Ok(directions.into_iter().map(|value| value as f32).collect())
    }

    /// Returns ranges of columns, each a block of bounded size.
    fn column_blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (features, step) = (self.features, (BLOCK_VALUES / self.rows).max(64));
        (0..features).step_by(step).map(move |start| start..features.min(start + step))
    }

    /// Writes the values of some columns, less their mean, row-major (n, columns), into `block`.
    fn read(&self, columns: &Range<usize>, block: &mut Vec<f64>) {
        block.clear();
        let mean = &self.mean[columns.clone()];
        for row in self.data.chunks_exact(self.features) {
            block.extend(row[columns.clone()].iter().zip(mean).map(|(&value, mean)| f64::from(value) - mean));
        }
    }

    /// X Xᵀ, lower triangle (n, n).
    fn gram(&self) -> Mat<f64> {
        let mut gram = Mat::zeros(self.rows, self.rows);
        let mut block = Vec::new();
        for columns in self.column_blocks() {
            self.read(&columns, &mut block);
            let block = MatRef::from_row_major_slice(&block, self.rows, columns.len());
            add_product(&mut gram, block, block.transpose());
        }
        gram
    }

    /// Returns the first `rank` rows of S⁻¹ Uᵀ X, row-major (rank, d).
    fn directions(&self, eigen: &Eigen, rank: usize) -> Vec<f64> {
        let mut directions = vec![0.0; rank * self.features];
        if rank == 0 {
            return directions;
        }
        let mut scaled = Mat::<f64>::zeros(rank, self.rows); // S⁻¹ Uᵀ
        for i in 0..rank {
            let scale = eigen.values[i].sqrt();
            eigen.vector(i).enumerate().for_each(|(j, value)| scaled[(i, j)] = value / scale);
        }
        let mut block = Vec::new();
        let mut product = Vec::new();
        for columns in self.column_blocks() {
            self.read(&columns, &mut block);
            product.resize(rank * columns.len(), 0.0);
            let block = MatRef::from_row_major_slice(&block, self.rows, columns.len());
            let target = faer::MatMut::from_row_major_slice_mut(&mut product, rank, columns.len());
            matmul(target, Accum::Replace, scaled.as_ref(), block, 1.0, parallelism());
            for (direction, part) in directions.chunks_exact_mut(self.features).zip(product.chunks_exact(columns.len()))
            {
                direction[columns.clone()].copy_from_slice(part);
            }
        }
        directions
    }
}

/// V ← L⁻¹ V with V Vᵀ = L Lᵀ: Gram-Schmidt in order of falling variance, in three matrix products.
fn orthonormalise(directions: &mut [f64], rank: usize) -> Result<(), PcaError> {
    if rank == 0 {
        return Ok(());
    }
    let features = directions.len() / rank;
    let par = parallelism();
    let mut factor = Mat::<f64>::zeros(rank, rank);
    let v = MatRef::from_row_major_slice(directions, rank, features);
    matmul(factor.as_mut(), Accum::Replace, v, v.transpose(), 1.0, par);
    let fail = |reason| PcaError::Solver { side: rank, reason };
    let need = factor::cholesky_in_place_scratch::<f64>(rank, par, Default::default());
    let mut memory = MemBuffer::try_new(need).map_err(|_| fail("out of memory"))?;
    factor::cholesky_in_place(factor.as_mut(), Default::default(), par, MemStack::new(&mut memory), Default::default())
        .map_err(|_| fail("directions not independent"))?;
    let v = faer::MatMut::from_row_major_slice_mut(directions, rank, features);
    solve_lower_triangular_in_place(factor.as_ref(), v, par);
    Ok(())
}

/// Appends orthonormal directions until there are `k`. Each is the coordinate axis that is farthest from the span of
/// the directions before it, made orthogonal to them.
fn complete(directions: &mut Vec<f64>, features: usize, k: usize) {
    // The squared distance of each axis from the span.
    let mut distance = vec![1.0; features];
    let shorten = |distance: &mut [f64], row: &[f64]| distance.iter_mut().zip(row).for_each(|(d, v)| *d -= v * v);
    directions.chunks_exact(features).for_each(|row| shorten(&mut distance, row));
    while directions.len() < k * features {
        let farthest = (0..features).fold(0, |best, j| if distance[j] > distance[best] { j } else { best });
        let mut new = vec![0.0; features];
        new[farthest] = 1.0;
        make_orthogonal(&mut new, directions);
        let length = new.iter().map(|value| value * value).sum::<f64>().sqrt();
        new.iter_mut().for_each(|value| *value /= length);
        shorten(&mut distance, &new);
        directions.extend_from_slice(&new);
    }
}
