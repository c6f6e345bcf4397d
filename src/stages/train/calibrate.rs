//! The folds of the train split, and the calibration of the probabilities, which is fitted on rows that the classifier
//! was not fitted on.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{TrainError, fit, folds_of, groups};
use crate::config::{self, Calibrate};
use crate::io::features::Key;
use crate::learn::folds;
use crate::learn::metrics::Reliability;
use crate::learn::temperature::Temperature;
use crate::table::FeatureMatrix;
use crate::terminal::printable;

/// Number of folds where `train.cv` is not set.
const FOLDS: usize = 5;
/// Rows that suffice to fit the temperature. In a larger train split some folds are skipped, unless `train.cv` is set.
const ROWS: usize = 4000;

/// The folds of the train split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds {
    /// The fold of every row.
    pub of: Vec<usize>,
    pub count: usize,
    /// Only the first so many folds are held out in turn.
    pub fitted: usize,
    /// Whether the classifiers are compared on the folds.
    pub compare: bool,
    /// Whether the temperature is fitted on them.
    pub calibrate: bool,
}

/// The folds that the settings ask for; none if nothing is compared or calibrated. If the calibration is only a
/// default and cannot be made, it is left out.
pub fn folds(
    settings: &config::Train,
    keys: &[Key],
    y: &[usize],
    classes: &[String],
) -> Result<Option<Folds>, TrainError> {
    let asked = settings.folds();
    let count = match settings.auto {
        // the number of folds is a default and may be reduced
        Some(_) if settings.cv.is_none() => {
            let groups = settings.group_by.as_deref().map(|pattern| groups(pattern, keys)).transpose()?;
            let groups = groups.map_or(FOLDS, |groups| groups.into_iter().collect::<BTreeSet<_>>().len());
            FOLDS.min(groups).min(folds::largest(y, classes.len())).max(2)
        }
        _ => asked.unwrap_or(FOLDS),
    };
    let scarce = folds::scarce(y, classes.len(), count);
    let calibrate = match (settings.calibrate, scarce.first()) {
        (Some(Calibrate::Temperature), Some(&class)) => {
            return Err(TrainError::Classes(format!(
                "`train.calibrate: temperature` needs {count} train pictures of each class, and `{}` has fewer: write \
                 fewer folds in `train.cv`, or leave the key out",
                printable(&classes[class])
            )));
        }
        (Some(Calibrate::None), _) | (None, Some(_)) => false,
        (Some(Calibrate::Temperature) | None, None) => true,
    };
    if asked.is_none() && !calibrate {
        return Ok(None);
    }
    let single = |class: &usize| y.iter().filter(|other| *other == class).count() == 1;
    if let Some(class) = scarce.iter().copied().find(single).filter(|_| settings.auto.is_some()) {
        return Err(TrainError::Classes(format!(
            "`train: auto` needs two train pictures of each class, and `{}` has one: give it more, leave it out with \
             `input.classes`, or name a classifier",
            printable(&classes[class])
        )));
    }
    let made = folds_of(settings, keys, y, classes, count).and_then(|of| {
        let fitted = if asked.is_some() { count } else { (ROWS * count).div_ceil(y.len().max(1)).clamp(1, count) };
        let folds = Folds { of, count, fitted, compare: asked.is_some(), calibrate };
        folds.passing(settings, y, classes).map(|_| folds)
    });
    match made {
        Err(_) if asked.is_none() && settings.calibrate.is_none() => Ok(None),
        made => made.map(Some),
    }
}

impl Folds {
    /// The settings with those classifiers for which every fold leaves enough rows: see [`config::Train::passing`].
    pub fn passing<'a>(
        &self,
        settings: &'a config::Train,
        y: &[usize],
        classes: &[String],
    ) -> Result<config::Passing<'a, TrainError>, TrainError> {
        let beside = |held| (0..y.len()).filter(|&row| self.of[row] != held).collect::<Vec<usize>>();
        let rows: Vec<Vec<usize>> = (0..self.fitted).map(beside).collect();
        settings.passing(|_, one| rows.iter().try_for_each(|rows| fit::check_rows(one, y, rows, classes)))
    }
}

/// Probabilities for rows that the classifier was not fitted on, and their classes.
#[derive(Clone, Debug)]
pub struct HeldOut {
    probabilities: FeatureMatrix,
    truth: Vec<usize>,
    /// Every `step`-th row is kept.
    step: usize,
    met: usize,
}

impl HeldOut {
    /// Keeps some of `rows` rows.
    pub fn new(rows: usize, classes: usize) -> Self {
        let (step, probabilities) = (rows.div_ceil(2 * ROWS).max(1), FeatureMatrix::with_cols(classes));
        Self { probabilities, truth: Vec::new(), step, met: 0 }
    }

    pub fn push(&mut self, row: &[f32], class: usize) {
        if self.met.is_multiple_of(self.step) {
            self.probabilities.push_row(row);
            self.truth.push(class);
        }
        self.met += 1;
    }

    /// The calibration, if it improves the predictions.
    pub fn calibrated(mut self, folds: &Folds) -> Option<Calibration> {
        let temperature = Temperature::fit(&self.probabilities, &self.truth)?;
        let before = Reliability::of(&self.truth, &self.probabilities);
        temperature.apply(&mut self.probabilities);
        let after = Reliability::of(&self.truth, &self.probabilities);
        Some(Calibration { temperature, rows: self.truth.len(), folds: folds.fitted, before, after })
    }
}

/// The calibration of a classifier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    pub temperature: Temperature,
    /// Held-out train rows that it was fitted on, and the folds that they were in.
    pub rows: usize,
    pub folds: usize,
    /// Scores of these rows.
    pub before: Reliability,
    pub after: Reliability,
}
