//! A fitted classifier of any kind, which `evaluate` and `predict` ask for probabilities.

use thiserror::Error;

use crate::dataset::Predict;
use crate::knn::{Knn, KnnError};
use crate::mlp::{Mlp, MlpError, argmax};
use crate::table::FeatureMatrix;

/// A fitted classifier.
#[derive(Clone, Debug, PartialEq)]
pub enum Classifier {
    /// A perceptron, or, without hidden layers, logistic regression.
    Layers(Mlp),
    /// The train table itself.
    Neighbours(Knn),
}

/// A classifier cannot be fitted, or cannot predict.
#[derive(Debug, Error)]
pub enum ClassifierError {
    #[error(transparent)]
    Layers(#[from] MlpError),
    #[error(transparent)]
    Neighbours(#[from] KnnError),
}

impl Classifier {
    /// Columns that go in.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Layers(mlp) => mlp.layers.first().map_or(0, |layer| layer.inputs),
            Self::Neighbours(knn) => knn.x.cols(),
        }
    }

    /// Probability of every class for rows (n, d): (n, classes). A row's result does not depend on the rows beside it.
    pub fn predict_proba(&self, x: &FeatureMatrix) -> Result<FeatureMatrix, ClassifierError> {
        Ok(match self {
            Self::Layers(mlp) => mlp.predict_proba(x)?,
            Self::Neighbours(knn) => knn.predict_proba(x)?,
        })
    }

    /// Probabilities of every class (n, classes). A classifier that keeps its train rows also gives the probabilities
    /// that it would have without the row itself: row i of `x` is the train row `own(i)`, or no train row (None).
    pub fn leave_out(
        &self,
        x: &FeatureMatrix,
        own: impl Fn(usize) -> Option<usize> + Sync,
    ) -> Result<(FeatureMatrix, Option<FeatureMatrix>), ClassifierError> {
        let Self::Neighbours(knn) = self else { return Ok((self.predict_proba(x)?, None)) };
        let [shares, left_out] = knn.leave_out(x, own)?;
        Ok((shares, Some(left_out)))
    }
}

impl Predict<&FeatureMatrix, Result<Vec<usize>, ClassifierError>> for Classifier {
    /// The most probable class of every row, the lowest of equals.
    fn predict(&self, x: &FeatureMatrix) -> Result<Vec<usize>, ClassifierError> {
        Ok(self.predict_proba(x)?.iter_rows().map(argmax).collect())
    }
}
