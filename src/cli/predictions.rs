//! The rows of a table of predictions, collected while pictures are predicted.

use crate::io::features::Key;
use crate::io::table::Table;
use crate::pictures::Predictor;
use crate::pictures::predictor::{Acceptance, Predicted};
use crate::stages::evaluate::{self, Distances};
use crate::table::FeatureMatrix;

/// Pictures with their predictions.
#[derive(Debug)]
pub struct Predictions {
    acceptance: Acceptance,
    pub keys: Vec<Key>,
    /// (n, classes)
    pub probabilities: FeatureMatrix,
    pub distances: Distances,
}

impl Predictions {
    /// An empty table; `acceptance` is the rule by which pictures count as known.
    pub fn new(predictor: &Predictor, acceptance: Acceptance) -> Self {
        let probabilities = FeatureMatrix::with_cols(predictor.classes().len());
        Self { acceptance, keys: Vec::new(), probabilities, distances: Distances::default() }
    }

    /// Adds a picture.
    pub fn push(&mut self, key: Key, predicted: &Predicted) {
        self.keys.push(key);
        self.probabilities.push_row(&predicted.probabilities);
        self.distances.distance.extend(predicted.distance);
        self.distances.known.extend(self.acceptance.known(predicted));
    }

    /// The table, with the columns of the run's predictions.parquet.
    pub fn table(self, classes: &[String]) -> Table {
        evaluate::table(&self.keys, &self.probabilities, classes, self.distances)
    }
}
