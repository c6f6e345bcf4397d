//! Nearest rows by cosine similarity, exact: every query with every row, by matrix products of blocks.
//!
//! The numbers are those of `sklearn.neighbors.NearestNeighbors(metric="cosine", algorithm="brute")`, similarity being 1 − distance. A block is
//! one thread's work and its product is not cut further, so the result does not depend on the number of threads.

use std::cmp::Ordering;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::table::FeatureMatrix;

/// Queries that a thread compares at a time.
const QUERIES: usize = 256;
/// Rows that it compares them with at a time: the product stays in the cache.
const ROWS: usize = 512;

/// A row near another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    pub row: usize,
    /// Cosine of the angle between the two, −1 to 1.
    pub similarity: f32,
}

/// What is near a query, itself not counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbours {
    /// By falling similarity, then by row.
    pub nearest: Vec<Near>,
    /// The nearest row of another group than its own.
    pub across: Option<Near>,
}

/// Rows of length 1, ready to be compared. A row of zeros, or with a value that is not finite, has no direction and is near nothing.
#[derive(Clone, Debug)]
pub struct Directions {
    rows: FeatureMatrix,
}

impl Directions {
    /// Takes `rows` and scales each of them to length 1.
    pub fn of(mut rows: FeatureMatrix) -> Self {
        let cols = rows.cols().max(1);
        rows.as_mut_slice().par_chunks_mut(cols).for_each(|row| {
            let squares: f64 = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
            let scale = if squares.is_finite() && squares > 0.0 { 1.0 / squares.sqrt() } else { 0.0 };
            row.iter_mut()
                .for_each(|value| *value = if scale == 0.0 { 0.0 } else { (f64::from(*value) * scale) as f32 });
        });
        Self { rows }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.rows()
    }

    /// True without a row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` nearest rows of each of `queries` (rows, too), and the nearest of another group; `groups` has one number a row. `done` is told how
    /// many queries more are done, and may end the search.
    pub fn search<E: Send>(
        &self,
        queries: &[usize],
        k: usize,
        groups: &[u8],
        done: impl Fn(usize) -> Result<(), E> + Sync,
    ) -> Result<Vec<Neighbours>, E> {
        assert_eq!(groups.len(), self.len(), "a group for each row");
        let blocks = queries.par_chunks(QUERIES).map(|block| {
            let found = self.block(block, k, groups);
            done(block.len()).map(|()| found)
        });
        let blocks: Vec<Vec<Neighbours>> = blocks.collect::<Result<_, E>>()?;
        Ok(blocks.into_iter().flatten().collect())
    }

    fn block(&self, queries: &[usize], k: usize, groups: &[u8]) -> Vec<Neighbours> {
        let (n, cols) = (self.len(), self.rows.cols());
        let mut found = vec![Neighbours::default(); queries.len()];
        if cols == 0 {
            return found;
        }
        let left: Vec<f32> = queries.iter().flat_map(|&row| self.rows.row(row).iter().copied()).collect();
        let left = MatRef::from_row_major_slice(&left, queries.len(), cols);
        let mut product = vec![0f32; queries.len() * ROWS];
        for first in (0..n).step_by(ROWS) {
            let count = ROWS.min(n - first);
            let right = &self.rows.as_slice()[first * cols..(first + count) * cols];
            let right = MatRef::from_row_major_slice(right, count, cols).transpose();
            let product = &mut product[..queries.len() * count];
            let target = MatMut::from_row_major_slice_mut(product, queries.len(), count);
            matmul(target, Accum::Replace, left, right, 1.0f32, Par::Seq);
            for ((similarities, &query), found) in product.chunks_exact(count).zip(queries).zip(&mut found) {
                for (i, &similarity) in similarities.iter().enumerate() {
                    let near = Near { row: first + i, similarity };
                    if near.row != query {
                        found.offer(near, k, groups[near.row] != groups[query]);
                    }
                }
            }
        }
        found
    }
}

impl Neighbours {
    /// Takes `near` in if it is among the `k` nearest so far; rows come in rising order.
    fn offer(&mut self, near: Near, k: usize, other_group: bool) {
        let full = self.nearest.len() >= k;
        if !(full && self.nearest.last().is_none_or(|last| near.similarity <= last.similarity)) {
            let at = self.nearest.partition_point(|other| order(other, &near) != Ordering::Greater);
            if full {
                self.nearest.pop();
            }
            self.nearest.insert(at, near);
        }
        if other_group && self.across.is_none_or(|best| near.similarity > best.similarity) {
            self.across = Some(near);
        }
    }
}

/// The nearer first; of equals the row of the lower number.
fn order(a: &Near, b: &Near) -> Ordering {
    b.similarity.total_cmp(&a.similarity).then(a.row.cmp(&b.row))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Numbers in −1 to 1 that are the same every time.
    fn noise(n: usize) -> Vec<f32> {
        let mut state = 12345u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    fn search(rows: FeatureMatrix, queries: &[usize], k: usize, groups: &[u8]) -> Vec<Neighbours> {
        Directions::of(rows).search(queries, k, groups, |_| Ok::<(), Infallible>(())).unwrap_or_default()
    }

    #[test]
    fn the_nearest_are_those_of_comparing_one_by_one() {
        let (n, d, k) = (1100, 37, 5);
        let rows = FeatureMatrix::from_vec(n, d, noise(n * d)).expect("n × d");
        let cosine = |a: usize, b: usize| {
            let dot = |a: usize, b: usize| -> f64 {
                rows.row(a).iter().zip(rows.row(b)).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
            };
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let groups: Vec<u8> = (0..n).map(|i| u8::from(i % 3 == 0)).collect();
        let queries: Vec<usize> = (0..n).step_by(2).collect();
        let found = search(rows.clone(), &queries, k, &groups);
        assert_eq!(found.len(), queries.len());
        for (&query, found) in queries.iter().zip(&found) {
            let mut all: Vec<(f64, usize)> = (0..n).filter(|&i| i != query).map(|i| (cosine(query, i), i)).collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (near, (expected, _)) in found.nearest.iter().zip(&all) {
                assert!((f64::from(near.similarity) - expected).abs() < 1e-6);
                assert!((cosine(query, near.row) - expected).abs() < 1e-6);
            }
            assert_eq!(found.nearest.len(), k);
            let across = all.iter().find(|(_, row)| groups[*row] != groups[query]).expect("two groups");
            assert_eq!(found.across.map(|near| near.row), Some(across.1));
        }
    }

    #[test]
    fn equals_are_in_the_order_of_their_rows_and_nothing_is_near_itself() {
        let rows = FeatureMatrix::from_vec(4, 2, vec![3.0, 4.0, 6.0, 8.0, 3.0, 4.0, 4.0, -3.0]).expect("4 × 2");
        let found = search(rows, &[1], 9, &[0, 0, 0, 1]);
        let rows: Vec<usize> = found[0].nearest.iter().map(|near| near.row).collect();
        assert_eq!(rows, [0, 2, 3]);
        assert!((found[0].nearest[0].similarity - 1.0).abs() < 1e-6 && found[0].nearest[2].similarity.abs() < 1e-6);
        assert_eq!(found[0].across.map(|near| near.row), Some(3));
    }

    #[test]
    fn a_row_without_direction_is_near_nothing() {
        let rows = FeatureMatrix::from_vec(3, 2, vec![0.0, 0.0, f32::NAN, 1.0, 1.0, 1.0]).expect("3 × 2");
        let found = search(rows, &[0, 1, 2], 2, &[0, 0, 0]);
        assert!(found.iter().flat_map(|found| &found.nearest).all(|near| near.similarity == 0.0));
        assert!(search(FeatureMatrix::with_cols(3), &[], 2, &[]).is_empty());
    }

    #[test]
    fn a_search_can_be_ended() {
        let rows = FeatureMatrix::from_vec(600, 2, noise(1200)).expect("600 × 2");
        let queries: Vec<usize> = (0..600).collect();
        let ended = Directions::of(rows).search(&queries, 3, &[0; 600], |_| Err("stop"));
        assert_eq!(ended, Err("stop"));
    }
}
