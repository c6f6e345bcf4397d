//! Multiplies queries with all rows of a table, tile by tile: the inner loop of [`knn`](crate::knn) and
//! [`neighbours`](crate::neighbours).

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use crate::table::FeatureMatrix;

/// The number of rows of a tile, whose products stay in the cache.
const ROWS: usize = 512;

/// Multiplies `queries` (n, d) with all rows of `table` (m, d). `take` gets the number of a query, the number of a
/// tile's first row, and the products of the query with the rows of the tile; the tiles come in the order of the rows.
///
/// It runs on one thread, so the bits do not depend on the number of threads; callers give each thread a block of
/// queries.
pub(crate) fn for_each_tile(queries: &[f32], table: &FeatureMatrix, mut take: impl FnMut(usize, usize, &[f32])) {
    let (rows, cols) = (table.rows(), table.cols());
    if cols == 0 {
        return;
    }
    let n = queries.len() / cols;
    let left = MatRef::from_row_major_slice(queries, n, cols);
    let mut products = vec![0.0_f32; n * ROWS.min(rows)];
    for first in (0..rows).step_by(ROWS) {
        let count = ROWS.min(rows - first);
        let right = &table.as_slice()[first * cols..(first + count) * cols];
        let right = MatRef::from_row_major_slice(right, count, cols).transpose();
        let products = &mut products[..n * count];
        let target = MatMut::from_row_major_slice_mut(&mut *products, n, count);
        matmul(target, Accum::Replace, left, right, 1.0_f32, Par::Seq);
        products.chunks_exact(count).enumerate().for_each(|(query, products)| take(query, first, products));
    }
}
