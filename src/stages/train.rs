//! `train`: fits the classifier on the train split and writes the card that describes it. Of several classifiers the
//! best in cross-validation is kept.

mod calibrate;
mod choose;
mod early;
mod fit;
mod novelty;
mod room;
mod saved;
mod table;
mod validate;
mod warm;

use std::collections::BTreeSet;
use std::path::PathBuf;

use regex::Regex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config;
use crate::io::IoError;
use crate::io::features::Key;
use crate::learn::classifier::{Classifier, ClassifierError};
use crate::learn::folds::{self, FoldError};
use crate::learn::mlp::{End, MlpError};
use crate::memory::NoRoom;
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui, bytes, plural};
use crate::stages::reduce::ReduceError;
use crate::stages::rows::Source;
use crate::stages::select::SelectError;
use crate::store::OutputFile;

pub use calibrate::Calibration;
pub use choose::LeftOut;
use choose::{Compared, Rows};
pub use early::check as check_rows;
pub use fit::check_class_weights;
pub use novelty::Sample;
pub use room::check as check_memory;
pub use saved::{KINDS, Saved, checked, open};
pub use warm::{check as check_start, fingerprinted};

/// The result that `train` commits; the fitted classifier is in `classifier/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// The classes of the train split, in the order of the classifier's outputs.
    pub classes: Vec<String>,
    /// `mlp`, `logistic` or `knn`.
    pub kind: String,
    /// The description of the classifier.
    pub description: String,
    /// Rows trained on.
    pub rows: usize,
    /// Columns of the input.
    pub inputs: usize,
    /// Epochs or iterations; 0 for a classifier without them.
    pub epochs: usize,
    /// False when training ended at a limit or by a failed line search.
    pub converged: bool,
    /// The limit that ended a training that had not converged: `max_iter`, `max_fun` or `line_search`.
    #[serde(default)]
    pub ended_by: Option<String>,
    pub loss_curve: Vec<f64>,
    pub validation_scores: Vec<f64>,
    /// Every classifier that was cross-validated, in the order of the YAML, or from the simplest on where `auto` chose.
    pub candidates: Vec<Scored>,
    /// The candidates of `auto` that were not compared, in the order in which they were left out.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// True if the simplest classifier within one standard error of the lowest log loss was kept, and not the most
    /// accurate.
    #[serde(default)]
    pub auto: bool,
    /// None where the probabilities are not calibrated.
    #[serde(default)]
    pub calibration: Option<Calibration>,
}

impl Scored {
    /// The mean log loss over the folds and its standard error.
    pub fn loss(&self) -> Option<[f64; 2]> {
        let mean = self.losses.iter().sum::<f64>() / self.losses.len() as f64;
        (!self.losses.is_empty()).then(|| [mean, folds::standard_error(&self.losses)])
    }
}

impl Trained {
    /// The word for a step of the loss curve.
    pub fn step(&self) -> &'static str {
        if self.kind == "logistic" { "iteration" } else { "epoch" }
    }
}

/// A classifier with its cross-validated accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The description of the classifier.
    pub name: String,
    /// Mean accuracy of the folds.
    pub mean: f64,
    /// Its standard deviation over the folds.
    pub sd: f64,
    /// Accuracy on every fold.
    pub folds: Vec<f64>,
    /// Log loss on every fold; empty in records of versions before it was kept.
    #[serde(default)]
    pub losses: Vec<f64>,
    /// Time of all folds, without the time of `select` and `reduce`.
    pub seconds: f64,
}

/// No classifier can be trained.
#[derive(Debug, Error)]
pub enum TrainError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("train: {0}")]
    Learn(#[from] ClassifierError),
    #[error("train: {0}")]
    Folds(#[from] FoldError),
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
    #[error("train: {0}")]
    Classes(String),
    #[error("train: {0}")]
    Groups(String),
    #[error("train: without one of the folds of `train.cv`: {0}")]
    Fold(String),
    #[error("`{key}`: the training cannot start from {}: {what}", run.display())]
    Start { key: String, run: PathBuf, what: String },
    #[error("train: cannot read the rows that were copied to disk: {0}")]
    Disk(std::io::Error),
}

impl TrainError {
    /// Whether the numbers of one training grew beyond all bounds, which says nothing about other classifiers.
    fn is_divergence(&self) -> bool {
        matches!(self, Self::Learn(ClassifierError::Layers(MlpError::Diverged { .. })))
    }
}

impl From<SelectError> for TrainError {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Io(error) => Self::Io(error),
            SelectError::Interrupted(error) => Self::Interrupted(error),
            error => Self::Fold(error.to_string()),
        }
    }
}

impl From<ReduceError> for TrainError {
    fn from(error: ReduceError) -> Self {
        match error {
            ReduceError::Io(error) => Self::Io(error),
            ReduceError::Interrupted(error) => Self::Interrupted(error),
            error => Self::Fold(error.to_string()),
        }
    }
}

/// Trains on the train rows of `source`; `classes` are those of the whole listing.
pub fn run(
    plan: &Plan,
    settings: &config::Train,
    source: Source,
    classes: &[String],
    ui: &Ui,
) -> Result<(Trained, Vec<OutputFile>), TrainError> {
    let keys = source.train_keys()?;
    let known = known(&keys, classes)?;
    let y = numbers(&keys, &known);
    let rows = Rows { plan, source, y: &y, classes: &known, ui };
    let mut compared = Compared::new(rows, settings, &keys)?;
    let (best, classifier, line) = compared.fit_best(rows)?;
    let Compared { settings, folds, mut candidates, held_out, left_out } = compared;
    let calibration = folds.as_ref().filter(|folds| folds.calibrate);
    let calibration = calibration.and_then(|folds| held_out.into_iter().nth(best)?.calibrated(folds));
    if !folds.is_some_and(|folds| folds.compare) {
        candidates.clear();
    }
    let chosen = settings.classifiers()[best];
    let key = plan.pipeline.written(&settings.keyed()[best].0);
    let inputs = classifier.inputs();
    let temperature = calibration.map(|calibration| calibration.temperature);
    let sample = novelty::fit(plan, &settings, source, &keys, (&y, known.len()), ui)?;
    let files = saved::save(plan, chosen.name(), &classifier, &known, temperature, sample.as_ref())?;
    let (epochs, end, loss_curve, validation_scores) = match classifier {
        Classifier::Layers(mlp) => (mlp.n_iter, mlp.end, mlp.loss_curve, mlp.validation_scores),
        Classifier::Neighbours(_) => (0, End::Converged, Vec::new(), Vec::new()),
    };
    let (kind, description) = (chosen.name().to_string(), chosen.describe());
    let trained = Trained {
        classes: known,
        kind,
        description,
        rows: y.len(),
        inputs,
        epochs,
        converged: end == End::Converged,
        ended_by: ended_by(end).map(String::from),
        loss_curve,
        validation_scores,
        candidates,
        left_out,
        auto: settings.auto.is_some(),
        calibration,
    };
    let steps = plural(trained.epochs, trained.step());
    let last = trained.loss_curve.last().map(|loss| format!(", {steps}, loss {loss:.4}"));
    let which = if trained.candidates.len() > 1 { format!("{}: ", trained.description) } else { String::new() };
    line.finish(&format!("{which}{} rows{}", trained.rows, last.unwrap_or_default()));
    if let Some(text) = unfinished(&key, chosen, end) {
        ui.warn(&text);
    }
    Ok((trained, files))
}

/// The word for an end of the training before convergence.
fn ended_by(end: End) -> Option<&'static str> {
    match end {
        End::Converged => None,
        End::MaxIter => Some("max_iter"),
        End::MaxFun => Some("max_fun"),
        End::Stuck => Some("line_search"),
    }
}

/// Returns a warning about a training that had not converged; its settings are at `key`.
fn unfinished(key: &str, classifier: config::Classifier, end: End) -> Option<String> {
    let limit = |name: &str, most: usize| format!("training ended at `{key}.{name}: {most}` and had not converged");
    Some(match (end, classifier) {
        (End::Converged, _) => return None,
        (End::MaxIter, _) => limit("max_iter", classifier.max_iter().unwrap_or_default()),
        (End::MaxFun, config::Classifier::Mlp(mlp)) => limit("max_fun", mlp.max_fun),
        (End::MaxFun, _) => "training ended after 15000 evaluations of the loss and had not converged".to_string(),
        (End::Stuck, _) => format!(
            "training ended where no step lowered the loss further, before the gradient was as small as `{key}.tol` \
             asks: scale the columns (`reduce.scale: standard`), or raise `tol`"
        ),
    })
}

/// Returns a warning, before the work begins, about nearest neighbours in a large table, since this classifier stores
/// the whole table.
fn dear(key: &str, classifier: config::Classifier, (rows, cols): (usize, usize)) -> Option<String> {
    let size = rows.saturating_mul(cols).saturating_mul(size_of::<f32>());
    let large = matches!(classifier, config::Classifier::Knn(_)) && !config::InMemory::Auto.of(size);
    let size = bytes(size as u64);
    large.then(|| {
        format!(
            "`{key}` is the train table itself, {size}: training and `featurize predict` hold all of it in memory; \
             where that is too much, keep fewer columns with `reduce.pca` or `select.top_k`"
        )
    })
}

/// Returns the classes of the train split; an error where there is only one.
fn known(keys: &[Key], classes: &[String]) -> Result<Vec<String>, TrainError> {
    let present: BTreeSet<&str> = keys.iter().filter_map(|key| key.label.as_deref()).collect();
    let known: Vec<String> = classes.iter().filter(|class| present.contains(class.as_str())).cloned().collect();
    match known.as_slice() {
        [only] => {
            let text = format!(
                "every train picture is of class `{only}`; a classifier needs at least two classes: look at \
                 `input.label`, `input.classes` and `input.split`, or leave `train` out"
            );
            Err(TrainError::Classes(text))
        }
        _ => Ok(known),
    }
}

/// Returns the class number of every picture whose class is among `classes`.
fn numbers(keys: &[Key], classes: &[String]) -> Vec<usize> {
    keys.iter().filter_map(|key| classes.iter().position(|class| key.label.as_ref() == Some(class))).collect()
}

/// Returns the fold of every train picture.
fn folds_of(
    settings: &config::Train,
    keys: &[Key],
    y: &[usize],
    classes: &[String],
    folds: usize,
) -> Result<Vec<usize>, TrainError> {
    let fold = match &settings.group_by {
        Some(pattern) => folds::grouped(y, &groups(pattern, keys)?, classes.len(), folds)?,
        None => folds::stratified(y, classes.len(), folds)?,
    };
    let beside = |held: usize| y.iter().zip(&fold).filter(move |(_, other)| **other != held).map(|(class, _)| class);
    if let Some(class) =
        (0..folds).find_map(|held| beside(held).next().filter(|first| beside(held).all(|c| c == *first)))
    {
        let text = format!(
            "without one of the {folds} folds only `{}` is left to train on: write fewer folds in `train.cv`, or give \
             more pictures",
            classes[*class]
        );
        return Err(TrainError::Classes(text));
    }
    Ok(fold)
}

/// Returns the group number of every picture, in the order of the group names: the first capture group of the pattern
/// in its path, or the whole match.
fn groups(pattern: &str, keys: &[Key]) -> Result<Vec<usize>, TrainError> {
    let regex = Regex::new(pattern).map_err(|error| TrainError::Groups(error.to_string()))?;
    let name = |key: &Key| {
        let found = regex.captures(&key.path)?;
        found.get(1).or_else(|| found.get(0)).map(|part| part.as_str().to_string())
    };
    let mut of_each = Vec::with_capacity(keys.len());
    for key in keys {
        of_each.push(name(key).ok_or_else(|| {
            TrainError::Groups(format!("`train.group_by` matches nothing in {}: pattern `{pattern}`", key.path))
        })?);
    }
    let mut names = of_each.clone();
    names.sort_unstable();
    names.dedup();
    Ok(of_each.iter().map(|name| names.partition_point(|other| other < name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_two_gigabytes_are_told_of_by_their_key() {
        let knn = config::KnnParams::default();
        let told = |cols: usize| dear("train[1].knn", config::Classifier::Knn(&knn), (1 << 20, cols));
        assert_eq!(told(511), None);
        let text = told(512).expect("two gigabytes");
        assert!(text.starts_with("`train[1].knn` is the train table itself, 2.1 GB"), "{text}");
        let mlp = config::MlpParams::default();
        assert_eq!(
            dear("train.mlp", config::Classifier::Mlp(&mlp), (1 << 20, 9999)),
            None,
            "it goes over the rows on disk"
        );
    }
}
