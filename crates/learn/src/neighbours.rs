//! Finds the nearest rows by cosine similarity, exactly: matrix products compare blocks of queries with all rows.
//!
//! The numbers are those of `sklearn.neighbors.NearestNeighbors(metric="cosine", algorithm="brute")`, similarity being
//! 1 − distance. One thread computes a block, and its product is not divided further, so the result does not depend on
//! the number of threads.

use std::cmp::Ordering;

use rayon::prelude::*;

use crate::search::for_each_tile;
use crate::table::FeatureMatrix;

/// The number of queries that a thread compares at a time. It is fixed, because the size of a product decides the last
/// bits of the similarities.
const QUERIES: usize = 256;

/// The number of partial sums in a dot product: two vectors of eight.
const LANES: usize = 16;

/// A row near another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    pub row: usize,
    /// Cosine of the angle between the two, −1 to 1.
    pub similarity: f32,
}

/// The rows near a query, without the query itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbours {
    /// The neighbours by falling similarity, then by row.
    pub nearest: Vec<Near>,
    /// The nearest row of another group than its own.
    pub across: Option<Near>,
}

/// Rows scaled to length 1. A row of zeros, or with a value that is not finite, has the similarity 0 to every row.
#[derive(Clone, Debug)]
pub struct Directions {
    rows: FeatureMatrix,
}

impl Directions {
    /// Takes `rows` and scales each of them to length 1.
    pub fn of(mut rows: FeatureMatrix) -> Self {
        let cols = rows.cols().max(1);
        rows.as_mut_slice().par_chunks_mut(cols).for_each(to_length_one);
        Self { rows }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.rows()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the `k` nearest rows of each of `queries`, which are numbers of rows, and the nearest row of another
    /// group; `groups` has a number for each row. `done` is called with the number of queries that a thread has
    /// finished; its error ends the search.
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

    /// Returns the `k` rows nearest to `row`, which need not be one of them, among those for which `keep` is true. The
    /// number of `threads` does not change the result.
    pub fn nearest(&self, row: &[f32], k: usize, threads: usize, keep: impl Fn(usize) -> bool + Sync) -> Vec<Near> {
        assert_eq!(row.len(), self.rows.cols(), "a row of {} values beside {}", row.len(), self.rows.cols());
        let mut row = row.to_vec();
        to_length_one(&mut row);
        let part = self.len().div_ceil(threads.max(1)).max(1);
        let of = |start: usize| {
            let rows = (start..self.len().min(start + part)).filter(|&i| keep(i));
            best(rows.map(|i| Near { row: i, similarity: dot(self.rows.row(i), &row) }).collect(), k)
        };
        let starts: Vec<usize> = (0..self.len()).step_by(part).collect();
        best(starts.par_iter().flat_map_iter(|&start| of(start)).collect(), k)
    }

    fn block(&self, queries: &[usize], k: usize, groups: &[u8]) -> Vec<Neighbours> {
        let mut found = vec![Neighbours::default(); queries.len()];
        let rows: Vec<f32> = queries.iter().flat_map(|&row| self.rows.row(row)).copied().collect();
        for_each_tile(&rows, &self.rows, |query, first, similarities| {
            let (found, query) = (&mut found[query], queries[query]);
            for (i, &similarity) in similarities.iter().enumerate() {
                let near = Near { row: first + i, similarity };
                if near.row != query {
                    found.offer(near, k, groups[near.row] != groups[query]);
                }
            }
        });
        found
    }
}

impl Neighbours {
    /// Inserts `near` if it is among the `k` nearest so far; rows come in ascending order.
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

fn to_length_one(row: &mut [f32]) {
    let squares: f64 = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    let scale = if squares.is_finite() && squares > 0.0 { 1.0 / squares.sqrt() } else { 0.0 };
    row.iter_mut().for_each(|value| *value = if scale == 0.0 { 0.0 } else { (f64::from(*value) * scale) as f32 });
}

/// Returns the nearest `k`, sorted.
fn best(mut found: Vec<Near>, k: usize) -> Vec<Near> {
    if k == 0 {
        return Vec::new();
    }
    if found.len() > k {
        found.select_nth_unstable_by(k - 1, order);
        found.truncate(k);
    }
    found.sort_unstable_by(order);
    found
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// Sorts by falling similarity, then by row.
fn order(a: &Near, b: &Near) -> Ordering {
    b.similarity.total_cmp(&a.similarity).then(a.row.cmp(&b.row))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::golden::noise;

    fn search(rows: FeatureMatrix, queries: &[usize], k: usize, groups: &[u8]) -> Vec<Neighbours> {
        Directions::of(rows).search(queries, k, groups, |_| Ok::<(), Infallible>(())).unwrap_or_default()
    }

    #[test]
    fn the_nearest_are_those_of_comparing_one_by_one() {
        let (n, d, k) = (1100, 37, 5);
        let rows = FeatureMatrix::from_vec(n, d, noise(n * d, 12345)).expect("n × d");
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
        let rows = FeatureMatrix::from_vec(600, 2, noise(1200, 12345)).expect("600 × 2");
        let queries: Vec<usize> = (0..600).collect();
        let ended = Directions::of(rows).search(&queries, 3, &[0; 600], |_| Err("stop"));
        assert_eq!(ended, Err("stop"));
    }

    #[test]
    fn the_nearest_to_a_row_from_elsewhere_are_those_of_the_plain_formula_whatever_the_threads() {
        let rows = FeatureMatrix::from_vec(203, 37, noise(203 * 37, 12345)).expect("203 × 37");
        let query = noise(40 * 37, 12345)[39 * 37..].iter().map(|v| v + 0.1).collect::<Vec<_>>();
        let cosine = |a: &[f32], b: &[f32]| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let mut expected: Vec<(usize, f64)> =
            rows.iter_rows().map(|row| cosine(row, &query)).enumerate().filter(|(i, _)| i % 3 != 0).collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1));
        let index = Directions::of(rows);
        let one = index.nearest(&query, 9, 1, |i| i % 3 != 0);
        assert_eq!(one.len(), 9);
        for (found, expected) in one.iter().zip(&expected) {
            assert_eq!(found.row, expected.0);
            assert!((f64::from(found.similarity) - expected.1).abs() < 1e-6, "{found:?} {expected:?}");
        }
        for threads in [2, 5, 1000] {
            assert_eq!(index.nearest(&query, 9, threads, |i| i % 3 != 0), one);
        }
    }

    #[test]
    fn length_does_not_count_and_nothing_is_asked_of_no_neighbours() {
        let rows = FeatureMatrix::from_vec(4, 2, vec![0.0, 0.0, 1.0, 0.0, 0.0, 5.0, f32::NAN, 1.0]).expect("4 × 2");
        let index = Directions::of(rows);
        let found = index.nearest(&[3e30, 0.0], 9, 2, |_| true);
        let found: Vec<_> = found.iter().map(|near| (near.row, near.similarity)).collect();
        assert_eq!(found, [(1, 1.0), (0, 0.0), (2, 0.0), (3, 0.0)]);
        assert!(index.nearest(&[1.0, 0.0], 0, 2, |_| true).is_empty());
    }
}
