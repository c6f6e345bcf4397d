//! A fitted classifier of any kind: what `evaluate` and `predict` ask for probabilities.

use thiserror::Error;

use super::knn::{Knn, KnnError};
use super::mlp::{Mlp, MlpError};
use crate::table::FeatureMatrix;

/// What was fitted.
#[derive(Clone, Debug, PartialEq)]
pub enum Classifier {
    /// A perceptron, or, without hidden layers, logistic regression.
    Layers(Mlp),
    /// The train table itself.
    Neighbours(Knn),
}

/// It cannot be fitted or asked.
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

    /// The same, and, of a classifier that remembers its train rows, what it says without the row asked: row i of `x` is the train row
    /// `own(i)`, where that is one.
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
