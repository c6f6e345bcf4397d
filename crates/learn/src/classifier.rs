//! A fitted classifier of any kind, which `evaluate` and `predict` ask for probabilities.

use thiserror::Error;

use crate::knn::{Knn, KnnError};
use crate::mlp::{Mlp, MlpError};
use crate::table::FeatureMatrix;

/// A fitted classifier.
#[derive(Clone, Debug, PartialEq)]
pub enum Classifier {
    /// A perceptron, or, without hidden layers, logistic regression.
    Layers(Mlp),
    /// Nearest neighbours, which keep the train table.
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
    /// Returns the number of features of a row.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Layers(mlp) => mlp.layers.first().map_or(0, |layer| layer.inputs),
            Self::Neighbours(knn) => knn.x.cols(),
        }
    }

    /// Returns the probability of every class (n, classes) for rows (n, d). A row's result does not depend on the other
    /// rows.
    pub fn predict_proba(&self, x: &FeatureMatrix) -> Result<FeatureMatrix, ClassifierError> {
        Ok(match self {
            Self::Layers(mlp) => mlp.predict_proba(x)?,
            Self::Neighbours(knn) => knn.predict_proba(x)?,
        })
    }

    /// Returns the probabilities of every class (n, classes). Nearest neighbours also give the probabilities with the
    /// row itself left out of the train table: row i of `x` is the train row `own(i)`, or no train row (None).
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
