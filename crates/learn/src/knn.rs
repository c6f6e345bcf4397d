//! The k nearest rows of the train table: `sklearn.neighbors.KNeighborsClassifier(algorithm="brute")`.
//!
//! A matrix product in `f32` tells which rows may be among the nearest, with a margin that covers its rounding; their distances are then
//! computed in `f64` in a fixed order. So the search is exact, and a row's result does not depend on the rows beside it. Equal distances go
//! to the earlier row.

use std::sync::Arc;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, get_global_parallelism};
use rayon::prelude::*;
use thiserror::Error;

use crate::table::FeatureMatrix;

/// Distances that are held at a time: 64 MB.
const HELD: usize = 16 << 20;

/// How far two rows are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// 1 − cos of the angle between them; 1 from a row of zeros.
    Cosine,
    /// Length of the difference.
    Euclidean,
}

impl Metric {
    /// scikit-learn's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Euclidean => "euclidean",
        }
    }
}

/// What the vote of a neighbour counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// 1
    Uniform,
    /// 1 / distance; rows at distance 0, where there are any, decide alone.
    Distance,
}

impl Weights {
    /// scikit-learn's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Distance => "distance",
        }
    }
}

/// How the table is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub k: usize,
    pub metric: Metric,
    pub weights: Weights,
}

/// The train table and how it is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    pub k: usize,
    pub metric: Metric,
    pub weights: Weights,
    pub classes: usize,
    /// (n, d); whoever else has the table has the same one.
    pub x: Arc<FeatureMatrix>,
    /// (n)
    pub y: Vec<usize>,
    /// (n): lengths of the rows.
    lengths: Vec<f64>,
    /// (n): 1 / length, 0 of a row of zeros.
    inverses: Vec<f64>,
}

/// No neighbours can be asked.
#[derive(Debug, Error)]
pub enum KnnError {
    /// Fewer rows than neighbours.
    #[error("knn: {k} neighbours are asked for, and there are {rows} train pictures: lower `k`")]
    Few { k: usize, rows: usize },
    /// Another width, or classes that are not there.
    #[error("knn: {0}")]
    Shape(String),
    /// A feature is NaN or infinite.
    #[error("knn: feature {column} of picture {row} is NaN or infinite")]
    NotFinite { row: usize, column: usize },
}

/// Whether so many rows have so many neighbours.
pub fn check_rows(k: usize, rows: usize) -> Result<(), KnnError> {
    if k == 0 || k > rows { Err(KnnError::Few { k, rows }) } else { Ok(()) }
}

impl Knn {
    /// Takes a train table (n, d) and a class number below `classes` for each row, if they fit together.
    pub fn new(
        asked: Asked,
        x: impl Into<Arc<FeatureMatrix>>,
        y: Vec<usize>,
        classes: usize,
    ) -> Result<Self, KnnError> {
        let x = x.into();
        let (Asked { k, metric, weights }, rows) = (asked, x.rows());
        check_rows(k, rows)?;
        if y.len() != rows || y.iter().any(|&class| class >= classes) || x.cols() == 0 {
            return Err(KnnError::Shape(format!("{} labels for {rows} pictures of {classes} classes", y.len())));
        }
        finite(&x)?;
        let lengths: Vec<f64> = x.as_slice().par_chunks(x.cols()).map(length).collect();
        let inverses = lengths.iter().copied().map(inverse).collect();
        Ok(Self { k, metric, weights, classes, x, y, lengths, inverses })
    }

    /// Share of every class among the neighbours of every row of `x`: (n, classes).
    pub fn predict_proba(&self, x: &FeatureMatrix) -> Result<FeatureMatrix, KnnError> {
        self.shares(x, |_| None).map(|(shares, _)| shares)
    }

    /// The same for rows of which some are in the table, and what their neighbours say without them: row i of `x` is row `own(i)` of the
    /// table, where that is one. One search answers both.
    pub fn leave_out(
        &self,
        x: &FeatureMatrix,
        own: impl Fn(usize) -> Option<usize> + Sync,
    ) -> Result<[FeatureMatrix; 2], KnnError> {
        let (shares, left_out) = self.shares(x, own)?;
        Ok([shares, left_out])
    }

    fn shares(
        &self,
        x: &FeatureMatrix,
        own: impl Fn(usize) -> Option<usize> + Sync,
    ) -> Result<(FeatureMatrix, FeatureMatrix), KnnError> {
        let (rows, cols) = (self.x.rows(), self.x.cols());
        if x.cols() != cols {
            return Err(KnnError::Shape(format!("{} features where {cols} are expected", x.cols())));
        }
        finite(x)?;
        let step = (HELD / rows).clamp(1, 256);
        let longest = self.lengths.iter().copied().fold(0.0, f64::max);
        let [mut out, mut without] = [(); 2].map(|()| FeatureMatrix::zeros(x.rows(), self.classes));
        let mut products = vec![0.0_f32; step.min(x.rows()) * rows];
        let train = MatRef::from_row_major_slice(self.x.as_slice(), rows, cols).transpose();
        let size = step * self.classes;
        let places = out.as_mut_slice().chunks_mut(size).zip(without.as_mut_slice().chunks_mut(size));
        for (block, ((out, without), queries)) in places.zip(x.as_slice().chunks(step * cols)).enumerate() {
            let n = queries.len() / cols;
            let products = &mut products[..n * rows];
            let left = MatRef::from_row_major_slice(queries, n, cols);
            let place = MatMut::from_row_major_slice_mut(&mut *products, n, rows);
            matmul(place, Accum::Replace, left, train, 1.0, get_global_parallelism());
            let places = out.par_chunks_mut(self.classes).zip(without.par_chunks_mut(self.classes));
            let each = places.zip(queries.par_chunks(cols)).zip(products.par_chunks_mut(rows));
            each.enumerate().for_each(|(i, (((out, without), query), products))| {
                let own = own(block * step + i);
                let mut near = self.nearest(query, products, longest, self.k + usize::from(own.is_some()));
                self.vote(&near[..self.k.min(near.len())], out);
                near.retain(|(_, row)| Some(*row) != own);
                self.vote(&near[..self.k.min(near.len())], without);
            });
        }
        Ok((out, without))
    }

    /// The `k` nearest rows with their distances, nearest first. `products` are the query's with every row.
    fn nearest(&self, query: &[f32], products: &mut [f32], longest: f64, k: usize) -> Vec<(f64, usize)> {
        let lengths = &self.lengths;
        let own = length(query);
        // a product of d terms is at most d ε ‖a‖ ‖b‖ off
        let rounding = 2.0 * (query.len() as f64 + 4.0) * f64::from(f32::EPSILON);
        let finite = products.iter().all(|product| product.is_finite());
        let pairs = products.iter_mut().zip(lengths);
        let slack = match self.metric {
            Metric::Cosine => {
                let own = inverse(own);
                pairs.zip(&self.inverses).for_each(|((product, _), other)| {
                    *product = (1.0 - f64::from(*product) * (own * other)) as f32;
                });
                2.0 * rounding
            }
            Metric::Euclidean => {
                pairs.for_each(|(product, other)| {
                    *product = (own * own + other * other - 2.0 * f64::from(*product)) as f32;
                });
                4.0 * rounding * (own + longest) * (own + longest)
            }
        };
        // where a product is larger than `f32` holds, every row may be the nearest
        let limit = if finite { f64::from(kth_smallest(products, k)) + slack } else { f64::INFINITY };
        let near = products.iter().enumerate().filter(|(_, far)| far.is_nan() || f64::from(**far) <= limit);
        let mut near: Vec<(f64, usize)> =
            near.map(|(row, _)| (self.distance(query, own, self.x.row(row), lengths[row]), row)).collect();
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        near.truncate(k);
        near
    }

    fn distance(&self, a: &[f32], a_length: f64, b: &[f32], b_length: f64) -> f64 {
        let squares = |a_scale: f64, b_scale: f64| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| (f64::from(a) * a_scale - f64::from(b) * b_scale).powi(2)).sum()
        };
        match self.metric {
            Metric::Euclidean => squares(1.0, 1.0).sqrt(),
            Metric::Cosine if a_length == 0.0 || b_length == 0.0 => 1.0,
            // half the squared distance on the sphere: 0 for the same row, never below
            Metric::Cosine => 0.5 * squares(1.0 / a_length, 1.0 / b_length),
        }
    }

    fn vote(&self, nearest: &[(f64, usize)], out: &mut [f32]) {
        let same = nearest.iter().any(|(far, _)| *far == 0.0);
        let mut votes = vec![0.0; out.len()];
        for &(far, row) in nearest {
            votes[self.y[row]] += match self.weights {
                Weights::Uniform => 1.0,
                Weights::Distance if same => f64::from(far == 0.0),
                Weights::Distance => 1.0 / far,
            };
        }
        let sum: f64 = votes.iter().sum();
        out.iter_mut().zip(votes).for_each(|(out, vote)| *out = (vote / sum) as f32);
    }
}

/// The k-th smallest of `values`, or the largest where there are fewer; one pass, in which few of many values are moved.
fn kth_smallest(values: &[f32], k: usize) -> f32 {
    let (first, rest) = values.split_at(k.min(values.len()));
    let mut smallest = first.to_vec(); // ascending
    smallest.sort_unstable_by(f32::total_cmp);
    let Some(mut last) = smallest.last().copied() else { return f32::NEG_INFINITY };
    for &value in rest {
        if value < last {
            smallest.pop();
            smallest.insert(smallest.partition_point(|other| *other <= value), value);
            last = smallest[smallest.len() - 1];
        }
    }
    last
}

/// 1 / length; a row of zeros has no direction, and its cosine with every row is 0.
fn inverse(length: f64) -> f64 {
    if length == 0.0 { 0.0 } else { length.recip() }
}

fn length(row: &[f32]) -> f64 {
    row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
}

fn finite(x: &FeatureMatrix) -> Result<(), KnnError> {
    match x.as_slice().iter().position(|value| !value.is_finite()) {
        Some(at) => Err(KnnError::NotFinite { row: at / x.cols(), column: at % x.cols() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn probabilities_are_those_of_scikit_learn_and_of_each_row_alone() {
        let golden = golden::classifiers();
        for case in golden::list(&golden["knn"]) {
            let (x, y, classes) = golden::labelled(&case["labelled"]);
            let split = golden::count(&case["train"]);
            let (train, test): (Vec<usize>, Vec<usize>) = (0..x.rows()).partition(|&row| row < split);
            let metric = if case["metric"] == "cosine" { Metric::Cosine } else { Metric::Euclidean };
            let weights = if case["weights"] == "uniform" { Weights::Uniform } else { Weights::Distance };
            let asked = Asked { k: golden::count(&case["k"]), metric, weights };
            let knn = Knn::new(asked, x.select_rows(&train), y[..split].to_vec(), classes).expect("a classifier");
            let test = x.select_rows(&test);
            let got = knn.predict_proba(&test).expect("probabilities");
            golden::near(got.as_slice(), &golden::vector_f32(&case["probabilities"]), 1e-5);
            for row in [0, 7] {
                let alone = knn.predict_proba(&test.select_rows(&[row])).expect("probabilities");
                assert_eq!(alone.as_slice(), got.row(row));
            }
        }
    }

    #[test]
    fn a_row_of_the_table_decides_for_itself_and_zeros_are_far() {
        let x = FeatureMatrix::from_vec(3, 2, vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0]).expect("3 × 2");
        let asked = |k| Asked { k, metric: Metric::Cosine, weights: Weights::Distance };
        let knn = |k| Knn::new(asked(k), x.clone(), vec![0, 1, 1], 2);
        let same = FeatureMatrix::from_vec(1, 2, vec![3.0, 0.0]).expect("1 × 2");
        assert_eq!(knn(3).expect("a classifier").predict_proba(&same).expect("probabilities").as_slice(), [1.0, 0.0]);
        assert!(matches!(knn(4), Err(KnnError::Few { k: 4, rows: 3 })));
        // products that no `f32` holds
        for metric in [Metric::Cosine, Metric::Euclidean] {
            let x =
                FeatureMatrix::from_vec(4, 2, vec![-1e25, 1e25, 1e25, 1e24, 2e25, 1e24, 1e25, -1e25]).expect("4 × 2");
            let asked = Asked { k: 1, metric, weights: Weights::Uniform };
            let large = Knn::new(asked, x, vec![0, 1, 2, 3], 4).expect("a classifier");
            let rows = FeatureMatrix::from_vec(2, 2, vec![1.9e25, 0.9e24, -1e25, 0.9e25]).expect("2 × 2");
            let shares = large.predict_proba(&rows).expect("probabilities");
            assert_eq!(
                shares.iter_rows().map(|row| row.iter().position(|&p| p == 1.0)).collect::<Vec<_>>(),
                [Some(2), Some(0)]
            );
        }
        let torn = FeatureMatrix::from_vec(1, 2, vec![3.0, f32::NAN]).expect("1 × 2");
        assert!(matches!(
            knn(1).expect("a classifier").predict_proba(&torn),
            Err(KnnError::NotFinite { row: 0, column: 1 })
        ));
    }
    #[test]
    fn left_out_a_row_is_asked_of_the_table_without_it() {
        let golden = golden::classifiers();
        for case in golden::list(&golden["knn"]) {
            let (x, y, classes) = golden::labelled(&case["labelled"]);
            let metric = if case["metric"] == "cosine" { Metric::Cosine } else { Metric::Euclidean };
            let weights = if case["weights"] == "uniform" { Weights::Uniform } else { Weights::Distance };
            let asked = Asked { k: golden::count(&case["k"]), metric, weights };
            let whole = Knn::new(asked, x.clone(), y.clone(), classes).expect("a classifier");
            // every third row is asked as a stranger
            let own = |row: usize| (!row.is_multiple_of(3)).then_some(row);
            let [shares, left_out] = whole.leave_out(&x, own).expect("probabilities");
            assert_eq!(shares, whole.predict_proba(&x).expect("probabilities"));
            for row in (0..x.rows()).step_by(37) {
                let others: Vec<usize> = (0..x.rows()).filter(|&other| other != row).collect();
                let classes_of: Vec<usize> = others.iter().map(|&other| y[other]).collect();
                let knn = Knn::new(asked, x.select_rows(&others), classes_of, classes).expect("a classifier");
                let alone = knn.predict_proba(&x.select_rows(&[row])).expect("probabilities");
                let expected = if own(row).is_some() { alone.as_slice() } else { shares.row(row) };
                assert_eq!(left_out.row(row), expected, "{row}");
            }
        }
        // two rows with as many neighbours asked for: the other one alone is left
        let x = FeatureMatrix::from_vec(2, 1, vec![1.0, 2.0]).expect("2 × 1");
        let asked = Asked { k: 2, metric: Metric::Euclidean, weights: Weights::Uniform };
        let knn = Knn::new(asked, x.clone(), vec![0, 1], 2).expect("a classifier");
        let [shares, left_out] = knn.leave_out(&x, Some).expect("probabilities");
        assert_eq!((shares.as_slice(), left_out.as_slice()), (&[0.5; 4][..], &[0.0, 1.0, 1.0, 0.0][..]));
    }

    #[test]
    fn the_smallest_are_found_in_any_order() {
        let values: Vec<f32> = (0..200).map(|i| ((i * 73) % 97) as f32 - 40.0).collect();
        let mut sorted = values.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let reversed: Vec<f32> = sorted.iter().rev().copied().collect();
        for k in [1, 2, 5, 97, 199, 200] {
            for values in [&values, &sorted, &reversed] {
                assert_eq!(kth_smallest(values, k), sorted[k - 1], "{k}");
            }
        }
        assert_eq!(kth_smallest(&values, 300), 56.0);
    }
}
