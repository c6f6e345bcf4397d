//! The fitted parts of a run: columns, reduction, classifier, temperature, and the train rows for the distance of a
//! picture from the training data.

use super::PredictorError;
use crate::learn::classifier::Classifier;
use crate::learn::dataset::Transformer;
use crate::learn::mlp::argmax;
use crate::learn::novelty::Novelty;
use crate::learn::reduction::Reduction;
use crate::learn::temperature::Temperature;
use crate::pictures::source::Failure;
use crate::table::{Dtype, FeatureMatrix};

/// The fitted parts of a run.
#[derive(Debug)]
pub(crate) struct Fitted {
    /// The dtype of the features that it was fitted on; features are rounded to it.
    pub dtype: Dtype,
    /// The columns that `select` kept, ascending.
    pub kept: Option<Vec<usize>>,
    pub reduction: Option<Reduction>,
    pub classifier: Classifier,
    pub temperature: Option<Temperature>,
    pub novelty: Option<Novelty>,
}

/// The prediction for a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicted {
    /// The probability of every class.
    pub probabilities: Vec<f32>,
    /// The distance from the train pictures, 1 for a typical train picture; none if the run has no sample of train
    /// rows.
    pub distance: Option<f32>,
}

/// The rule by which a picture counts as one of the known classes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Acceptance {
    /// The largest distance of a picture that counts as known.
    pub distance: Option<f32>,
    /// The smallest probability of the predicted class of a picture that counts as known.
    pub confidence: Option<f32>,
}

impl Acceptance {
    /// True if there is no rule.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a picture is of a known class; none without a rule.
    pub fn known(&self, predicted: &Predicted) -> Option<bool> {
        let near = self.distance.zip(predicted.distance).map(|(most, distance)| distance <= most);
        let sure =
            |least: f32| predicted.probabilities.get(argmax(&predicted.probabilities)).is_some_and(|&p| p >= least);
        match (near, self.confidence.map(sure)) {
            (None, None) => None,
            (near, sure) => Some(near.unwrap_or(true) && sure.unwrap_or(true)),
        }
    }
}

impl Fitted {
    /// The prediction for the features of one picture.
    pub(crate) fn predict(&self, features: Vec<f32>) -> Result<Predicted, Failure> {
        let row = self.columns(features);
        let distance = self.novelty.as_ref().map(|novelty| novelty.distances(&row)).transpose();
        let distance = distance.map_err(|error| failed(&error))?.and_then(|found| Some(found.first()?.value));
        Ok(Predicted { probabilities: self.classify(&row)?, distance })
    }

    /// The probability of every class for the features of one picture.
    pub(crate) fn probabilities(&self, features: Vec<f32>) -> Result<Vec<f32>, Failure> {
        self.classify(&self.columns(features))
    }

    /// The kept columns of the features, rounded to the dtype of the tables.
    fn columns(&self, features: Vec<f32>) -> FeatureMatrix {
        let mut row = FeatureMatrix::with_cols(features.len());
        row.push_row(&features);
        row.round_to(self.dtype);
        match self.kept.as_ref().filter(|kept| kept.len() < features.len()) {
            Some(kept) => row.select_cols(kept),
            None => row,
        }
    }

    /// The columns of the classifier's input.
    fn reduced(&self, row: &FeatureMatrix) -> Result<FeatureMatrix, Failure> {
        match &self.reduction {
            Some(reduction) => reduction.transform(row).map_err(|error| failed(&error)),
            None => Ok(row.clone()),
        }
    }

    fn classify(&self, row: &FeatureMatrix) -> Result<Vec<f32>, Failure> {
        let row = self.reduced(row)?;
        let mut probabilities = self.classifier.predict_proba(&row).map_err(|error| failed(&error))?;
        self.temperature.iter().for_each(|temperature| temperature.apply(&mut probabilities));
        Ok(probabilities.as_slice().to_vec())
    }

    /// Whether the score of a class has a gradient.
    pub(super) fn has_slope(&self) -> bool {
        matches!(self.classifier, Classifier::Layers(_))
    }

    /// The score of `class` for the features of one picture; see [`learn::slope`](crate::learn::slope).
    pub(super) fn score(&self, features: Vec<f32>, class: usize) -> Result<f64, Failure> {
        self.classifier.score(&self.reduced(&self.columns(features))?, class).map_err(|error| failed(&error))
    }

    /// The gradient of that score with respect to the features; none if the classifier has none.
    pub(super) fn slope(&self, features: Vec<f32>, class: usize) -> Result<Option<Vec<f64>>, Failure> {
        let (width, row) = (features.len(), self.columns(features));
        let Some(slope) = self.classifier.slope(self.reduced(&row)?.row(0), class) else { return Ok(None) };
        let slope = match &self.reduction {
            Some(reduction) => reduction.pull_back(row.row(0), slope),
            None => slope,
        };
        Ok(Some(match self.kept.as_ref().filter(|kept| kept.len() < width) {
            None => slope,
            Some(kept) => {
                let mut all = vec![0.0; width];
                kept.iter().zip(slope).for_each(|(&column, slope)| all[column] = slope);
                all
            }
        }))
    }

    /// The rule by which at most a share `rate` of the pictures of known classes is refused (by default
    /// [`Novelty::default_limit`]), and the predicted class has at least the probability `confidence`.
    pub(crate) fn acceptance(&self, rate: Option<f64>, confidence: Option<f32>) -> Result<Acceptance, PredictorError> {
        let distance = match (&self.novelty, rate) {
            (None, Some(_)) => return Err(PredictorError::NoDistances),
            (None, None) => None,
            (Some(novelty), None) => Some(novelty.default_limit()),
            (Some(novelty), Some(rate)) => Some(novelty.limit(rate).ok_or_else(|| {
                let (rows, least) = (novelty.own().len(), novelty.least_rate());
                PredictorError::Rate { rate, rows, least }
            })?),
        };
        Ok(Acceptance { distance, confidence })
    }

    /// Checks that each part accepts the columns of the previous one, starting with `width` features.
    pub(super) fn check(&self, width: usize) -> Result<(), String> {
        let mut columns = width;
        if let Some(kept) = &self.kept {
            if kept.last().is_some_and(|&last| last >= width) {
                return Err(format!("columns.parquet is not of {width} columns"));
            }
            columns = kept.len();
        }
        if let Some(novelty) = self.novelty.as_ref().filter(|novelty| novelty.columns() != columns) {
            return Err(format!("novelty.safetensors has {} columns, {columns} are kept", novelty.columns()));
        }
        if let Some(reduction) = &self.reduction {
            if reduction.columns != columns {
                return Err(format!("what `reduce` saved takes {} columns, {columns} are kept", reduction.columns));
            }
            columns = reduction.outputs();
        }
        let inputs = self.classifier.inputs();
        if inputs != columns {
            return Err(format!("the classifier takes {inputs} columns, {columns} come in"));
        }
        Ok(())
    }
}

pub(super) fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure { kind: "classifier", reason: error.to_string() }
}
