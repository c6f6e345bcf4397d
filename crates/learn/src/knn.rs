//! The k nearest rows of the train table: `sklearn.neighbors.KNeighborsClassifier(algorithm="brute")`.
//!
//! Matrix products in `f32` select the rows that may be among the nearest, with a margin for the rounding error; the
//! distances of these rows are then computed in `f64` in a fixed order. So the search is exact, and a row's result does
//! not depend on the other queries. Of rows at the same distance the earlier one counts as nearer.

mod search;

use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::dataset::{DatasetBase, Fit, Labels, Shared};
use crate::hyperparameters::{ParamError, Range, hyperparameters};
use crate::search::for_each_tile;
use crate::table::FeatureMatrix;
pub use search::Neighbour;
use search::Search;

/// The most queries that a thread multiplies with the table at a time.
const QUERIES: usize = 128;

hyperparameters! {
    /// `train.knn`: the nearest train pictures, by the names of scikit-learn's `KNeighborsClassifier`.
    #[derive(Copy)]
    #[schemars(rename = "Knn")]
    pub struct KnnParams {
        /// The number of neighbours that vote.
        pub k: usize = 5, in Range::Whole(1, 1_000_000), also "n_neighbors";
        /// The distance between pictures.
        pub metric: Metric = Metric::Cosine;
        /// The weight of a neighbour's vote.
        pub weights: Weighting = Weighting::Uniform;
    }
}

/// The distance between pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// 1 − the cosine of the angle between their features.
    Cosine,
    /// The length of the difference of their features.
    Euclidean,
}

/// The weight of a neighbour's vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// Every vote has the same weight.
    Uniform,
    /// A vote has the weight 1 / distance.
    Distance,
}

/// A fitted classifier: the train table in which the nearest rows are searched.
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    pub params: KnnParams,
    /// The number of classes.
    pub classes: usize,
    /// (n, d), shared with the table that it was fitted on.
    pub x: Arc<FeatureMatrix>,
    /// (n)
    pub y: Vec<usize>,
    /// (n): Euclidean lengths of the rows.
    lengths: Vec<f64>,
    /// (n): 1 / length, 0 of a row of zeros.
    inverses: Vec<f64>,
    /// The largest of `lengths`.
    longest: f64,
}

/// The error of fitting a table or of searching in it.
#[derive(Debug, Error)]
pub enum KnnError {
    /// A hyperparameter cannot be used.
    #[error("knn: {0}")]
    Parameter(#[from] ParamError),
    /// Fewer rows than neighbours.
    #[error("knn: {k} neighbours are asked for, and there are {rows} train pictures: lower `k`")]
    Few { k: usize, rows: usize },
    /// The rows are not as wide as the train rows, or the labels do not fit the table.
    #[error("knn: {0}")]
    Shape(String),
    /// A feature is NaN or infinite.
    #[error("knn: feature {column} of picture {row} is NaN or infinite")]
    NotFinite { row: usize, column: usize },
    /// Raised by linfa's traits.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}

impl KnnParams {
    /// Returns an error about a hyperparameter that is out of its range.
    pub fn check(&self) -> Result<(), ParamError> {
        self.check_ranges()
    }

    /// Returns an error where there are fewer rows than `k`.
    pub fn check_rows(&self, rows: usize) -> Result<(), KnnError> {
        if self.k > rows { Err(KnnError::Few { k: self.k, rows }) } else { Ok(()) }
    }
}

impl Fit<Shared, Labels<'_>, KnnError> for KnnParams {
    type Object = Knn;

    /// Takes a train table (n, d) with the class of each row.
    fn fit(&self, dataset: &DatasetBase<Shared, Labels<'_>>) -> Result<Knn, KnnError> {
        let (x, Labels { y, classes }) = (Arc::clone(&dataset.records.0), dataset.targets);
        let (rows, classes) = (x.rows(), classes.len());
        self.check()?;
        self.check_rows(rows)?;
        if y.len() != rows || y.iter().any(|&class| class >= classes) || x.cols() == 0 {
            return Err(KnnError::Shape(format!("{} labels for {rows} pictures of {classes} classes", y.len())));
        }
        finite(&x)?;
        let lengths: Vec<f64> = x.as_slice().par_chunks(x.cols()).map(length).collect();
        let inverses = lengths.iter().copied().map(inverse).collect();
        let longest = lengths.iter().copied().fold(0.0, f64::max);
        Ok(Knn { params: *self, classes, x, y: y.to_vec(), lengths, inverses, longest })
    }
}

impl Knn {
    /// Returns the share of every class among the neighbours of every row of `x`: (n, classes).
    pub fn predict_proba(&self, x: &FeatureMatrix) -> Result<FeatureMatrix, KnnError> {
        self.leave_out(x, |_| None).map(|[shares, _]| shares)
    }

    /// Returns the shares of the classes among the neighbours of every row of `x` (n, classes), and the same with the
    /// row itself left out of the table: row i of `x` is row `own(i)` of the table, or not in it (None). One search
    /// gives both.
    pub fn leave_out(
        &self,
        x: &FeatureMatrix,
        own: impl Fn(usize) -> Option<usize> + Sync,
    ) -> Result<[FeatureMatrix; 2], KnnError> {
        let k = self.params.k;
        let found = self.neighbours(x, |i| k + usize::from(own(i).is_some()))?;
        let [mut out, mut without] = [(); 2].map(|()| FeatureMatrix::zeros(x.rows(), self.classes));
        let places = out.as_mut_slice().chunks_mut(self.classes).zip(without.as_mut_slice().chunks_mut(self.classes));
        for (i, ((out, without), mut near)) in places.zip(found).enumerate() {
            self.vote(&near[..k.min(near.len())], out);
            near.retain(|near| Some(near.row) != own(i));
            self.vote(&near[..k.min(near.len())], without);
        }
        Ok([out, without])
    }

    /// Returns the `k(i)` rows of the table nearest to row i of `x`, nearest first.
    pub fn neighbours(
        &self,
        x: &FeatureMatrix,
        k: impl Fn(usize) -> usize + Sync,
    ) -> Result<Vec<Vec<Neighbour>>, KnnError> {
        let cols = self.x.cols();
        if x.cols() != cols {
            return Err(KnnError::Shape(format!("{} features where {cols} are expected", x.cols())));
        }
        finite(x)?;
        let together = x.rows().div_ceil(rayon::current_num_threads()).clamp(1, QUERIES);
        let blocks = x.as_slice().par_chunks(together * cols).enumerate();
        Ok(blocks.flat_map_iter(|(block, queries)| self.search(queries, |i| k(block * together + i))).collect())
    }

    /// Returns the `k(i)` rows nearest to query i of `queries` (n, d), nearest first.
    fn search(&self, queries: &[f32], k: impl Fn(usize) -> usize) -> Vec<Vec<Neighbour>> {
        let rows = queries.chunks_exact(self.x.cols()).enumerate();
        let mut searches: Vec<Search> = rows.map(|(i, query)| Search::new(self, query, k(i))).collect();
        for_each_tile(queries, &self.x, |query, first, products| searches[query].take(first, products));
        searches.into_iter().map(Search::finish).collect()
    }

    fn distance(&self, a: &[f32], a_length: f64, row: usize) -> f64 {
        let (b, b_length) = (self.x.row(row), self.lengths[row]);
        let squares = |a_scale: f64, b_scale: f64| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| (f64::from(a) * a_scale - f64::from(b) * b_scale).powi(2)).sum()
        };
        match self.params.metric {
            Metric::Euclidean => squares(1.0, 1.0).sqrt(),
            Metric::Cosine if a_length == 0.0 || b_length == 0.0 => 1.0,
            // 1 − cosine is half the squared distance of the rows scaled to length 1, which is exactly 0 for equal rows
            // and never negative.
            Metric::Cosine => 0.5 * squares(1.0 / a_length, 1.0 / b_length),
        }
    }

    fn vote(&self, nearest: &[Neighbour], out: &mut [f32]) {
        let same = nearest.iter().any(|near| near.distance == 0.0);
        let mut votes = vec![0.0; out.len()];
        for &Neighbour { distance, row } in nearest {
            votes[self.y[row]] += match self.params.weights {
                Weighting::Uniform => 1.0,
                // If there are neighbours at distance 0, only they vote.
                Weighting::Distance if same => f64::from(distance == 0.0),
                Weighting::Distance => 1.0 / distance,
            };
        }
        let sum: f64 = votes.iter().sum();
        out.iter_mut().zip(votes).for_each(|(out, vote)| *out = (vote / sum) as f32);
    }
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

    fn knn(params: &KnnParams, x: FeatureMatrix, y: &[usize], classes: usize) -> Result<Knn, KnnError> {
        params.fit(&DatasetBase::new(Shared(Arc::new(x)), Labels { y, classes: &golden::names(classes) }))
    }

    #[test]
    fn probabilities_are_those_of_scikit_learn_and_of_each_row_alone() {
        let golden = golden::load("classifiers");
        for case in golden::list(&golden["knn"]) {
            let (x, y, classes) = golden::labelled(&case["labelled"]);
            let split = golden::count(&case["train"]);
            let (train, test): (Vec<usize>, Vec<usize>) = (0..x.rows()).partition(|&row| row < split);
            let metric = if case["metric"] == "cosine" { Metric::Cosine } else { Metric::Euclidean };
            let weights = if case["weights"] == "uniform" { Weighting::Uniform } else { Weighting::Distance };
            let params = KnnParams { k: golden::count(&case["k"]), metric, weights };
            let knn = knn(&params, x.select_rows(&train), &y[..split], classes).expect("a classifier");
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
        let near = |k| {
            let params = KnnParams { k, metric: Metric::Cosine, weights: Weighting::Distance };
            knn(&params, x.clone(), &[0, 1, 1], 2)
        };
        let same = FeatureMatrix::from_vec(1, 2, vec![3.0, 0.0]).expect("1 × 2");
        assert_eq!(near(3).expect("a classifier").predict_proba(&same).expect("probabilities").as_slice(), [1.0, 0.0]);
        assert!(matches!(near(4), Err(KnnError::Few { k: 4, rows: 3 })));
        // These products overflow `f32`.
        for metric in [Metric::Cosine, Metric::Euclidean] {
            let x =
                FeatureMatrix::from_vec(4, 2, vec![-1e25, 1e25, 1e25, 1e24, 2e25, 1e24, 1e25, -1e25]).expect("4 × 2");
            let params = KnnParams { k: 1, metric, weights: Weighting::Uniform };
            let large = knn(&params, x, &[0, 1, 2, 3], 4).expect("a classifier");
            let rows = FeatureMatrix::from_vec(2, 2, vec![1.9e25, 0.9e24, -1e25, 0.9e25]).expect("2 × 2");
            let shares = large.predict_proba(&rows).expect("probabilities");
            assert_eq!(
                shares.iter_rows().map(|row| row.iter().position(|&p| p == 1.0)).collect::<Vec<_>>(),
                [Some(2), Some(0)]
            );
        }
        let torn = FeatureMatrix::from_vec(1, 2, vec![3.0, f32::NAN]).expect("1 × 2");
        assert!(matches!(
            near(1).expect("a classifier").predict_proba(&torn),
            Err(KnnError::NotFinite { row: 0, column: 1 })
        ));
    }
    #[test]
    fn left_out_a_row_is_asked_of_the_table_without_it() {
        let golden = golden::load("classifiers");
        for case in golden::list(&golden["knn"]) {
            let (x, y, classes) = golden::labelled(&case["labelled"]);
            let metric = if case["metric"] == "cosine" { Metric::Cosine } else { Metric::Euclidean };
            let weights = if case["weights"] == "uniform" { Weighting::Uniform } else { Weighting::Distance };
            let params = KnnParams { k: golden::count(&case["k"]), metric, weights };
            let whole = knn(&params, x.clone(), &y, classes).expect("a classifier");
            // Every third row counts as a row that is not in the table.
            let own = |row: usize| (!row.is_multiple_of(3)).then_some(row);
            let [shares, left_out] = whole.leave_out(&x, own).expect("probabilities");
            assert_eq!(shares, whole.predict_proba(&x).expect("probabilities"));
            for row in (0..x.rows()).step_by(37) {
                let others: Vec<usize> = (0..x.rows()).filter(|&other| other != row).collect();
                let classes_of: Vec<usize> = others.iter().map(|&other| y[other]).collect();
                let knn = knn(&params, x.select_rows(&others), &classes_of, classes).expect("a classifier");
                let alone = knn.predict_proba(&x.select_rows(&[row])).expect("probabilities");
                let expected = if own(row).is_some() { alone.as_slice() } else { shares.row(row) };
                assert_eq!(left_out.row(row), expected, "{row}");
            }
        }
        // With k = 2 and a table of two rows, only the other row is left.
        let x = FeatureMatrix::from_vec(2, 1, vec![1.0, 2.0]).expect("2 × 1");
        let params = KnnParams { k: 2, metric: Metric::Euclidean, weights: Weighting::Uniform };
        let knn = knn(&params, x.clone(), &[0, 1], 2).expect("a classifier");
        let [shares, left_out] = knn.leave_out(&x, Some).expect("probabilities");
        assert_eq!((shares.as_slice(), left_out.as_slice()), (&[0.5; 4][..], &[0.0, 1.0, 1.0, 0.0][..]));
    }

    #[test]
    fn the_nearest_are_those_of_comparing_one_by_one_whatever_the_order_of_the_rows() {
        let (rows, cols) = (1300, 5);
        let value = |at: usize| ((at * 73) % 97) as f32 * ((at / 3) as f32 * 0.1).cos();
        let values: Vec<f32> = (0..rows * cols).map(value).collect();
        let x = FeatureMatrix::from_vec(rows, cols, values).expect("rows × cols");
        let nearer_first = |metric| {
            let knn = knn(&KnnParams { k: 7, metric, ..KnnParams::default() }, x.clone(), &vec![0; rows], 1);
            let knn = knn.expect("a classifier");
            let query = x.row(999);
            let mut all: Vec<usize> = (0..rows).collect();
            all.sort_by(|&a, &b| {
                let far = |row| knn.distance(query, length(query), row);
                far(a).total_cmp(&far(b))
            });
            let found: Vec<usize> = knn.search(query, |_| 7)[0].iter().map(|near| near.row).collect();
            assert_eq!(found, all[..7]);
            all
        };
        for metric in [Metric::Cosine, Metric::Euclidean] {
            let nearest = nearer_first(metric);
            for order in [nearest.clone(), nearest.into_iter().rev().collect()] {
                let sorted = x.select_rows(&order);
                let params = KnnParams { k: 7, metric, ..KnnParams::default() };
                let knn = knn(&params, sorted, &vec![0; rows], 1).expect("a classifier");
                let far = |near: &Neighbour| near.distance;
                let found: Vec<f64> = knn.search(x.row(999), |_| 7)[0].iter().map(far).collect();
                let mut all: Vec<f64> =
                    (0..rows).map(|row| knn.distance(x.row(999), length(x.row(999)), row)).collect();
                all.sort_by(f64::total_cmp);
                assert_eq!(found, all[..7]);
            }
        }
    }
}
