//! The rows of a table that are nearest to a row by the cosine of the angle between them: exact, every row is looked at.

use std::thread;

use crate::table::FeatureMatrix;

/// Sums that run side by side in a dot product: two vectors of eight.
const LANES: usize = 16;

/// Rows of length 1, so that a dot product is a cosine.
#[derive(Debug)]
pub struct Cosine {
    rows: FeatureMatrix,
}

impl Cosine {
    /// Divides every row by its length, once; a row of zeros, or one that is not finite, is near to nothing.
    pub fn new(mut rows: FeatureMatrix) -> Self {
        let width = rows.cols().max(1);
        rows.as_mut_slice().chunks_exact_mut(width).for_each(normalise);
        Self { rows }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.rows()
    }

    /// True when there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` rows nearest to `row` among those that `keep` takes, the nearest first and equals in their order, with their cosines; on
    /// `threads` threads, which change no bit.
    pub fn nearest(
        &self,
        row: &[f32],
        k: usize,
        threads: usize,
        keep: impl Fn(usize) -> bool + Sync,
    ) -> Vec<(usize, f32)> {
        assert_eq!(row.len(), self.rows.cols(), "a row of {} values beside {}", row.len(), self.rows.cols());
        let mut row = row.to_vec();
        normalise(&mut row);
        let part = self.len().div_ceil(threads.max(1)).max(1);
        let of = |start: usize| {
            let rows = (start..self.len().min(start + part)).filter(|&i| keep(i));
            best(rows.map(|i| (i, dot(self.rows.row(i), &row))).collect(), k)
        };
        let starts: Vec<usize> = (0..self.len()).step_by(part).collect();
        let found = thread::scope(|scope| {
            let workers: Vec<_> = starts.iter().map(|&start| scope.spawn(move || of(start))).collect();
            // a thread that died has nothing to say; there is nothing in it that could
            workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
        });
        best(found, k)
    }
}

fn best(mut found: Vec<(usize, f32)>, k: usize) -> Vec<(usize, f32)> {
    let order = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
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

fn normalise(row: &mut [f32]) {
    let length = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    if length > 0.0 && length.is_finite() {
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
    } else {
        row.fill(0.0);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(rows: usize, cols: usize) -> FeatureMatrix {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.4
        };
        FeatureMatrix::from_vec(rows, cols, (0..rows * cols).map(|_| next()).collect()).expect("rows × cols")
    }

    #[test]
    fn the_nearest_are_those_of_the_plain_formula_whatever_the_threads() {
        let rows = noise(203, 37);
        let query = noise(1, 37);
        let cosine = |a: &[f32], b: &[f32]| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let mut expected: Vec<(usize, f64)> =
            rows.iter_rows().map(|row| cosine(row, query.row(0))).enumerate().filter(|(i, _)| i % 3 != 0).collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1));
        let index = Cosine::new(rows);
        let one = index.nearest(query.row(0), 9, 1, |i| i % 3 != 0);
        for (found, expected) in one.iter().zip(&expected) {
            assert_eq!(found.0, expected.0);
            assert!((f64::from(found.1) - expected.1).abs() < 1e-6, "{found:?} {expected:?}");
        }
        assert_eq!(one.len(), 9);
        for threads in [2, 5, 1000] {
            assert_eq!(index.nearest(query.row(0), 9, threads, |i| i % 3 != 0), one);
        }
    }

    #[test]
    fn length_does_not_count_and_a_row_of_nothing_is_near_to_nothing() {
        let rows = FeatureMatrix::from_vec(4, 2, vec![0.0, 0.0, 1.0, 0.0, 0.0, 5.0, f32::NAN, 1.0]).expect("4 × 2");
        let index = Cosine::new(rows);
        assert_eq!(index.nearest(&[3e30, 0.0], 9, 2, |_| true), [(1, 1.0), (0, 0.0), (2, 0.0), (3, 0.0)]);
        assert_eq!(index.nearest(&[1.0, 0.0], 0, 2, |_| true), []);
    }
}
