//! The k nearest rows of the train table: `sklearn.neighbors.KNeighborsClassifier(algorithm="brute")`.
//!
//! A matrix product in `f32` tells which rows may be among the nearest, with a margin that covers its rounding; their distances are then
//! computed in `f64` in a fixed order. So the search is exact, and a row's result does not depend on the rows beside it. Equal distances go
//! to the earlier row.

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

/// The train table and how it is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    pub k: usize,
    pub metric: Metric,
    pub weights: Weights,
    pub classes: usize,
    /// (n, d)
    pub x: FeatureMatrix,
    /// (n)
    pub y: Vec<usize>,
}

/// No neighbours can be asked.
#[derive(Debug, Error)]
pub enum KnnError {
    /// Fewer rows than neighbours.
    #[error("knn: {k} neighbours are asked for, and there are {rows} train pictures: lower train.knn.k")]
    Few { k: usize, rows: usize },
    /// Another width, or classes that are not there.
    #[error("knn: {0}")]
    Shape(String),
    /// A feature is NaN or infinite.
    #[error("knn: feature {column} of picture {row} is NaN or infinite")]
    NotFinite { row: usize, column: usize },
}

impl Knn {
    /// Whether the parts fit together: to be asked before anything else.
    pub fn check(&self) -> Result<(), KnnError> {
        let rows = self.x.rows();
        if self.k == 0 || self.k > rows {
            return Err(KnnError::Few { k: self.k, rows });
        }
        if self.y.len() != rows || self.y.iter().any(|&class| class >= self.classes) || self.x.cols() == 0 {
            let text = format!("{} labels for {rows} pictures of {} classes", self.y.len(), self.classes);
            return Err(KnnError::Shape(text));
        }
        finite(&self.x)
    }

    /// Share of every class among the neighbours of every row of `x`: (n, classes).
    pub fn predict_proba(&self, x: &FeatureMatrix) -> Result<FeatureMatrix, KnnError> {
        let (rows, cols) = (self.x.rows(), self.x.cols());
        if x.cols() != cols {
            return Err(KnnError::Shape(format!("{} features where {cols} are expected", x.cols())));
        }
        finite(x)?;
        let lengths: Vec<f64> = self.x.as_slice().par_chunks(cols).map(length).collect();
        let step = (HELD / rows).clamp(1, 256);
        let mut out = FeatureMatrix::zeros(x.rows(), self.classes);
        let mut products = vec![0.0_f32; step * rows];
        let train = MatRef::from_row_major_slice(self.x.as_slice(), rows, cols).transpose();
        let blocks = out.as_mut_slice().chunks_mut(step * self.classes).zip(x.as_slice().chunks(step * cols));
        for (out, queries) in blocks {
            let n = queries.len() / cols;
            let products = &mut products[..n * rows];
            let left = MatRef::from_row_major_slice(queries, n, cols);
            let place = MatMut::from_row_major_slice_mut(&mut *products, n, rows);
            matmul(place, Accum::Replace, left, train, 1.0, get_global_parallelism());
            let each =
                out.par_chunks_mut(self.classes).zip(queries.par_chunks(cols)).zip(products.par_chunks_mut(rows));
            each.for_each(|((out, query), products)| self.vote(&self.nearest(query, products, &lengths), out));
        }
        Ok(out)
    }

    /// The k nearest rows with their distances, nearest first. `products` are the query's with every row.
    fn nearest(&self, query: &[f32], products: &mut [f32], lengths: &[f64]) -> Vec<(f64, usize)> {
        let own = length(query);
        // a product of d terms is at most d ε ‖a‖ ‖b‖ off
        let rounding = 2.0 * (query.len() as f64 + 4.0) * f64::from(f32::EPSILON);
        let longest = lengths.iter().copied().fold(0.0, f64::max);
        let slack = match self.metric {
            Metric::Cosine => 2.0 * rounding,
            Metric::Euclidean => 4.0 * rounding * (own + longest) * (own + longest),
        };
        for (product, &other) in products.iter_mut().zip(lengths) {
            let far = match self.metric {
                Metric::Cosine if own == 0.0 || other == 0.0 => 1.0,
                Metric::Cosine => 1.0 - f64::from(*product) / (own * other),
                Metric::Euclidean => own * own + other * other - 2.0 * f64::from(*product),
            };
            *product = far as f32;
        }
        let mut sorted = products.to_vec();
        let (_, &mut kth, _) = sorted.select_nth_unstable_by(self.k - 1, f32::total_cmp);
        let limit = f64::from(kth) + slack;
        let near = products.iter().enumerate().filter(|(_, far)| f64::from(**far) <= limit);
        let mut near: Vec<(f64, usize)> =
            near.map(|(row, _)| (self.distance(query, own, self.x.row(row), lengths[row]), row)).collect();
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        near.truncate(self.k);
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
    use crate::learn::golden;

    #[test]
    fn probabilities_are_those_of_scikit_learn_and_of_each_row_alone() {
        let golden = golden::classifiers();
        for case in golden::list(&golden["knn"]) {
            let (x, y, classes) = golden::labelled(&case["labelled"]);
            let split = golden::count(&case["train"]);
            let (train, test): (Vec<usize>, Vec<usize>) = (0..x.rows()).partition(|&row| row < split);
            let metric = if case["metric"] == "cosine" { Metric::Cosine } else { Metric::Euclidean };
            let weights = if case["weights"] == "uniform" { Weights::Uniform } else { Weights::Distance };
            let table = x.select_rows(&train);
            let knn = Knn { k: golden::count(&case["k"]), metric, weights, classes, x: table, y: y[..split].to_vec() };
            knn.check().expect("a classifier");
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
        let knn = |k| Knn {
            k,
            metric: Metric::Cosine,
            weights: Weights::Distance,
            classes: 2,
            x: x.clone(),
            y: vec![0, 1, 1],
        };
        let same = FeatureMatrix::from_vec(1, 2, vec![3.0, 0.0]).expect("1 × 2");
        assert_eq!(knn(3).predict_proba(&same).expect("probabilities").as_slice(), [1.0, 0.0]);
        assert!(matches!(knn(4).check(), Err(KnnError::Few { k: 4, rows: 3 })));
        let torn = FeatureMatrix::from_vec(1, 2, vec![3.0, f32::NAN]).expect("1 × 2");
        assert!(matches!(knn(1).predict_proba(&torn), Err(KnnError::NotFinite { row: 0, column: 1 })));
    }
}
