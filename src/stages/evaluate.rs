//! `evaluate`: predicts the class of every picture and scores the predictions on the test split.

mod distance;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::io::features::Key;
use crate::io::table::Table;
use crate::io::{IoError, sealed};
use crate::learn::classifier::ClassifierError;
use crate::learn::metrics::{self, Metrics, MetricsError, Reliability};
use crate::learn::mlp::argmax;
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui, plural};
use crate::stages::rows::{Source, is_train};
use crate::stages::scan::Split;
use crate::stages::train::{Calibration, LeftOut, Scored, Trained};
use crate::stages::{StageId, train};
use crate::store::OutputFile;
use crate::table::FeatureMatrix;
use crate::terminal::printable;
pub use distance::{Distances, Explained, Neighbour};

/// Rows that are predicted at a time; between two such blocks the user can interrupt the run.
const TOGETHER: usize = 1024;

/// The result that `evaluate` commits; `metrics.json` has all scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// None without a test split.
    pub test_accuracy: Option<f64>,
    pub test_rows: usize,
    pub train_accuracy: Option<f64>,
    /// Mean recall of the classes of the test split.
    pub balanced_accuracy: Option<f64>,
    /// Pairs of k and the share of test pictures whose class is among the k most probable; k is 2 to 5, below the
    /// number of classes.
    pub top_k: Vec<(usize, f64)>,
    /// Area under the ROC curve on the test split: one class against the rest, averaged over the classes; none where it
    /// is undefined.
    pub roc_auc: Option<f64>,
    /// The most confident wrong predictions for test pictures, each with the train pictures nearest to it.
    #[serde(default)]
    pub explained: Vec<Explained>,
}

impl Evaluated {
    /// The accuracy, and the split on which it was measured.
    pub fn describe(&self) -> String {
        match (self.test_accuracy, self.train_accuracy) {
            (Some(test), _) => format!("accuracy {:.2} % on {}", 100.0 * test, plural(self.test_rows, "test image")),
            (None, Some(train)) => {
                format!("accuracy {:.2} % on the train split: there is no test split", 100.0 * train)
            }
            (None, None) => "there are no labelled images to measure on".to_string(),
        }
    }
}

/// The contents of `metrics.json`. A key that an earlier version did not write gets its default value.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    pub classes: Vec<String>,
    /// Scores of the test split; none when it has no labelled rows.
    pub test: Option<Metrics>,
    /// Scores of the train split.
    pub train: Option<Metrics>,
    /// `mlp`, `logistic` or `knn`.
    pub classifier: String,
    pub cross_validation: Vec<Validated>,
    /// The candidates of `train: auto` that were not compared, with their reasons.
    pub left_out: Vec<LeftOut>,
    pub epochs: usize,
    pub converged: bool,
    pub ended_by: Option<String>,
    pub loss_curve: Vec<f64>,
    pub validation_scores: Vec<f64>,
    /// None where the probabilities are not calibrated.
    pub calibration: Option<Calibrated>,
}

/// The calibration of the probabilities, and its effect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calibrated {
    #[serde(flatten)]
    pub fitted: Calibration,
    /// The scores of the test split without calibration; `test` has those with it.
    pub test_before: Option<Reliability>,
}

/// Probabilities of the test split before their calibration.
struct Uncalibrated {
    probabilities: FeatureMatrix,
    truth: Vec<usize>,
}

impl Uncalibrated {
    /// Adds the labelled test rows among `keys`.
    fn take(&mut self, keys: &[Key], probabilities: &FeatureMatrix, classes: &[String]) {
        for (key, row) in keys.iter().zip(probabilities.iter_rows()).filter(|(key, _)| !is_train(key)) {
            if let Some(class) = classes.iter().position(|class| key.label.as_ref() == Some(class)) {
                self.probabilities.push_row(row);
                self.truth.push(class);
            }
        }
    }

    fn scores(&self) -> Option<Reliability> {
        (!self.truth.is_empty()).then(|| Reliability::of(&self.truth, &self.probabilities))
    }
}

/// The accuracy of a classifier in the cross-validation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Validated {
    /// The classifier in words.
    pub classifier: String,
    pub mean: f64,
    pub sd: f64,
    pub folds: Vec<f64>,
    /// Mean log loss of the folds, its standard error, and the loss on every fold.
    #[serde(default)]
    pub log_loss: Option<f64>,
    #[serde(default)]
    pub log_loss_error: Option<f64>,
    #[serde(default)]
    pub log_losses: Vec<f64>,
    /// Whether it is the classifier that the run uses.
    #[serde(default)]
    pub kept: bool,
}

/// The classifier cannot be measured.
#[derive(Debug, Error)]
pub enum EvaluateError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("evaluate: {0}")]
    Learn(#[from] ClassifierError),
    #[error("evaluate: {0}")]
    Metrics(#[from] MetricsError),
    #[error(transparent)]
    Train(#[from] train::TrainError),
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Predicts every row of `source`, writes `predictions.parquet` and `metrics.json`.
pub fn run(
    plan: &Plan,
    source: Source,
    classes: &[String],
    trained: &Trained,
    ui: &Ui,
) -> Result<(Evaluated, Vec<OutputFile>), EvaluateError> {
    let line = ui.stage(StageId::Evaluate, None, "rows");
    let train::Saved { classifier, classes: known, temperature, sample } = train::open(&plan.dir)?;
    let mut before = Uncalibrated { probabilities: FeatureMatrix::with_cols(classes.len()), truth: Vec::new() };
    let (mut keys, mut probabilities): (Vec<Key>, _) = (Vec::new(), FeatureMatrix::with_cols(classes.len()));
    // a train row is its own nearest neighbour, so that it is predicted without itself for the train score
    let (mut left_out, mut train_rows) = (FeatureMatrix::with_cols(classes.len()), 0..);
    source.for_each::<EvaluateError>(ui, |some, rows| {
        for first in (0..rows.rows()).step_by(TOGETHER) {
            ui.check()?;
            let some = &some[first..rows.rows().min(first + TOGETHER)];
            let places: Vec<usize> = (first..first + some.len()).collect();
            let part = (some.len() < rows.rows()).then(|| rows.select_rows(&places));
            let mut own = vec![None; some.len()];
            own.iter_mut().zip(some).filter(|(_, key)| is_train(key)).for_each(|(own, _)| *own = train_rows.next());
            let (mut all, mut without) = classifier.leave_out(part.as_ref().unwrap_or(rows), |i| own[i])?;
            if let Some(temperature) = temperature {
                before.take(some, &widen(&all, &known, classes), classes);
                temperature.apply(&mut all);
                without.iter_mut().for_each(|without| temperature.apply(without));
            }
            keys.extend_from_slice(some);
            probabilities.append(&widen(&all, &known, classes));
            without.iter().for_each(|without| left_out.append(&widen(without, &known, classes)));
        }
        Ok(())
    })?;
    let most_probable = |table: &FeatureMatrix| table.iter_rows().map(argmax).collect::<Vec<usize>>();
    let predicted = most_probable(&probabilities);
    let wrong = mistakes(&keys, &probabilities, &predicted, classes);
    let (distances, explained) = distance::measure(sample, source, &keys, &wrong, ui)?;
    let path = plan.dir.predictions();
    let digest = table(&keys, &probabilities, classes, distances).write(&path, &plan.metadata())?;
    let mut files = vec![OutputFile::hashed(&plan.dir, &path, digest)?];
    let test = score(&keys, &probabilities, &predicted, classes, Split::Test)?;
    let train = match left_out.rows() {
        0 => score(&keys, &probabilities, &predicted, classes, Split::Train)?,
        _ => score(&keys, &left_out, &most_probable(&left_out), classes, Split::Train)?,
    };
    warn_of_absent(test.as_ref(), classes, ui);
    let path = plan.dir.metrics();
    let document = Document::new(classes, trained, (test, train), before.scores());
    // a `Value` sorts the keys
    let digest = sealed::write(&path, &serde_json::to_value(&document)?)?;
    let (test, train) = (document.test, document.train);
    files.push(OutputFile::hashed(&plan.dir, &path, digest)?);
    let evaluated = Evaluated {
        test_accuracy: test.as_ref().map(|test| test.accuracy),
        test_rows: test.as_ref().map_or(0, |test| test.support),
        train_accuracy: train.as_ref().map(|train| train.accuracy),
        balanced_accuracy: test.as_ref().map(|test| test.balanced_accuracy),
        top_k: test.iter().flat_map(|test| &test.top_k_accuracy).map(|top| (top.k, top.accuracy)).collect(),
        roc_auc: test.as_ref().and_then(|test| test.roc_auc).map(|auc| auc.macro_avg),
        explained,
    };
    line.finish(&evaluated.describe());
    Ok((evaluated, files))
}

/// The test rows whose predicted class is wrong, with the probability of that class.
fn mistakes(
    keys: &[Key],
    probabilities: &FeatureMatrix,
    predicted: &[usize],
    classes: &[String],
) -> BTreeMap<usize, f32> {
    let is_wrong = |row: &usize| keys[*row].label.as_ref().is_some_and(|label| *label != classes[predicted[*row]]);
    let rows = (0..keys.len()).filter(|&row| !is_train(&keys[row]));
    rows.filter(is_wrong).map(|row| (row, probabilities.row(row)[predicted[row]])).collect()
}

/// Warns of classes without test pictures, which count as 0 in the macro averages.
fn warn_of_absent(test: Option<&Metrics>, classes: &[String], ui: &Ui) {
    let Some(test) = test else { return };
    let absent = classes.iter().zip(&test.per_class).filter(|(_, scores)| scores.support == 0);
    let absent: Vec<&str> = absent.map(|(class, _)| class.as_str()).collect();
    if !absent.is_empty() {
        ui.warn(&format!(
            "the test split has no picture of {}; their recall counts as 0 in the macro averages, not in the balanced \
             accuracy",
            printable(&absent.join(", "))
        ));
    }
}

/// Columns for all classes: those that were not in the train split have probability 0.
pub fn widen(probabilities: &FeatureMatrix, known: &[String], classes: &[String]) -> FeatureMatrix {
    let place: Vec<Option<usize>> = known.iter().map(|class| classes.iter().position(|other| other == class)).collect();
    let mut wide = FeatureMatrix::with_cols(classes.len());
    for row in probabilities.iter_rows() {
        let mut all = vec![0.0; classes.len()];
        for (&p, place) in row.iter().zip(&place) {
            if let Some(place) = place {
                all[*place] = p;
            }
        }
        wide.push_row(&all);
    }
    wide
}

/// Scores of one split; none when it has no rows.
pub fn score(
    keys: &[Key],
    probabilities: &FeatureMatrix,
    predicted: &[usize],
    classes: &[String],
    split: Split,
) -> Result<Option<Metrics>, EvaluateError> {
    let in_split = |key: &Key| key.split.as_deref() == Some(split.word());
    let class_of = |key: &Key| classes.iter().position(|class| key.label.as_ref() == Some(class));
    let rows = (0..keys.len()).filter(|&i| in_split(&keys[i]));
    let rows: Vec<(usize, usize)> = rows.filter_map(|i| Some((i, class_of(&keys[i])?))).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let (rows, truth): (Vec<usize>, Vec<usize>) = rows.into_iter().unzip();
    let predicted: Vec<usize> = rows.iter().map(|&i| predicted[i]).collect();
    let top: Vec<usize> = (2..=5).filter(|&k| k < classes.len()).collect();
    let probabilities = probabilities.select_rows(&rows);
    Ok(Some(metrics::evaluate(&truth, &predicted, &probabilities, classes.len(), &top)?))
}

impl Document {
    fn new(
        classes: &[String],
        trained: &Trained,
        (test, train): (Option<Metrics>, Option<Metrics>),
        test_before: Option<Reliability>,
    ) -> Self {
        let validated = |one: &Scored| Validated {
            classifier: one.name.clone(),
            mean: one.mean,
            sd: one.sd,
            folds: one.folds.clone(),
            log_loss: one.loss().map(|[mean, _]| mean),
            log_loss_error: one.loss().map(|[_, error]| error),
            log_losses: one.losses.clone(),
            kept: one.name == trained.description,
        };
        Self {
            classes: classes.to_vec(),
            test,
            train,
            classifier: trained.kind.clone(),
            cross_validation: trained.candidates.iter().map(validated).collect(),
            left_out: trained.left_out.clone(),
            epochs: trained.epochs,
            converged: trained.converged,
            ended_by: trained.ended_by.clone(),
            loss_curve: trained.loss_curve.clone(),
            validation_scores: trained.validation_scores.clone(),
            calibration: trained.calibration.map(|fitted| Calibrated { fitted, test_before }),
        }
    }
}

/// `predictions.parquet`: key columns, the most probable class, the probability of each of `classes` for every row, and
/// the distances, where there are any.
pub fn table(keys: &[Key], probabilities: &FeatureMatrix, classes: &[String], distances: Distances) -> Table {
    let columns: Vec<String> = classes.iter().map(|class| format!("p_{class}")).collect();
    let predicted: Vec<usize> = probabilities.iter_rows().map(argmax).collect();
    let confidence = predicted.iter().zip(probabilities.iter_rows()).map(|(&class, row)| row[class]).collect();
    let table = Table::new(keys.len())
        .keys(keys, classes, &Split::WORDS)
        .category("predicted", classes, predicted.iter().map(|&class| Some(classes[class].as_str())))
        .floats("confidence", confidence)
        .wide(&columns, probabilities);
    let Distances { distance, known } = distances;
    let table = if known.is_empty() { table } else { table.flags("known", known) };
    if distance.is_empty() { table } else { table.floats("distance", distance) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_test_image_is_not_many() {
        let evaluated = |test_rows| Evaluated {
            test_accuracy: Some(0.5),
            test_rows,
            train_accuracy: None,
            balanced_accuracy: None,
            top_k: Vec::new(),
            roc_auc: None,
            explained: Vec::new(),
        };
        assert_eq!(evaluated(1).describe(), "accuracy 50.00 % on 1 test image");
        assert_eq!(evaluated(2).describe(), "accuracy 50.00 % on 2 test images");
    }
}
