//! `train`: fits the classifier on the train split and writes the card that describes it. Of several classifiers the
//! best in cross-validation is kept.

mod calibrate;
mod early;
mod fit;
mod left_out;
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
use crate::learn::mlp::{End, Epoch, MlpError};
use crate::memory::NoRoom;
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui, bytes, plural};
use crate::stages::StageId;
use crate::stages::reduce::ReduceError;
use crate::stages::rows::Source;
use crate::stages::select::SelectError;
use crate::store::OutputFile;

use crate::terminal::printable;
pub use calibrate::Calibration;
use calibrate::Folds;
pub use early::check as check_rows;
use fit::TrainTable;
pub use fit::check_class_weights;
pub use left_out::LeftOut;
pub use novelty::Sample;
pub use room::check as check_memory;
pub use saved::{KINDS, Saved, checked, open};
use table::Table;
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
    let size = (y.len(), source.cols(plan.width())?);
    let shape = room::Shape { rows: size.0, cols: size.1, classes: known.len() };
    let (settings, mut left_out) = LeftOut::apart(settings.passing(|key, one| {
        let key = plan.pipeline.written(key);
        room::fits(&key, one, shape)
    })?);
    let dear = settings.keyed().into_iter().find_map(|(key, one)| dear(&plan.pipeline.written(&key), one, size));
    dear.iter().for_each(|text| ui.warn(text));
    let folds = calibrate::folds(&settings, &keys, &y, &known)?;
    let (mut candidates, mut held_out) = (Vec::new(), Vec::new());
    let mut settings = match &folds {
        None => settings,
        Some(folds) => {
            let (settings, few) = LeftOut::apart(folds.passing(&settings, &y, &known)?);
            left_out.extend(few);
            let mut scored = match validated(plan, &settings, source, (&y, &known), folds, ui) {
                // the user did not ask for a calibration
                Err(TrainError::Fold(text)) if !folds.compare && settings.calibrate.is_none() => {
                    ui.note(&format!("probabilities are not calibrated: {text}"));
                    Vec::new().into_iter()
                }
                scored => scored?.into_iter(),
            };
            let (settings, diverged) = LeftOut::apart(settings.passing(|_, _| match scored.next() {
                Some(scored) => scored.map(|(scored, held)| {
                    candidates.push(scored);
                    held_out.push(held);
                }),
                None => Ok(()),
            })?);
            left_out.extend(diverged);
            settings
        }
    };
    left_out.iter().for_each(|one| ui.note(&format!("{}: left out: {}", one.classifier, one.why)));
    let auto = settings.auto.is_some();
    // The best candidate of `auto` may diverge on all rows; then the next best is fitted.
    let (best, classifier, line) = loop {
        let best = best(&candidates, auto);
        let chosen = settings.classifiers()[best];
        let line = ui.stage(StageId::Train, chosen.max_iter().map(|most| most as u64), "epochs");
        let key = plan.pipeline.written(&settings.keyed()[best].0);
        let fitted = fitted(plan, (&key, chosen), source, (&y, &known), ui, &|epoch| {
            line.inc(1);
            line.message(format!("loss {:.4}", epoch.loss));
        });
        match fitted {
            Err(error) if error.is_divergence() && candidates.len() > 1 && auto => {
                left_out.push(LeftOut::new(chosen.describe(), &error));
                settings.grid.remove(best);
                candidates.remove(best);
                held_out.remove(best);
            }
            fitted => break (best, fitted?, line),
        }
    };
    let calibration = folds.as_ref().filter(|folds| folds.calibrate);
    let calibration = calibration.and_then(|folds| held_out.into_iter().nth(best)?.calibrated(folds));
    if !folds.is_some_and(|folds| folds.compare) {
        candidates.clear();
    }
    let chosen = settings.classifiers()[best];
    let key = plan.pipeline.written(&settings.keyed()[best].0);
    let rows = y.len();
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
        rows,
        inputs,
        epochs,
        converged: end == End::Converged,
        ended_by: ended_by(end).map(String::from),
        loss_curve,
        validation_scores,
        candidates,
        left_out,
        auto,
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

/// The index of the classifier that is kept.
fn best(candidates: &[Scored], auto: bool) -> usize {
    if auto {
        let losses: Vec<Vec<f64>> = candidates.iter().map(|one| one.losses.clone()).collect();
        return folds::simplest(&losses).unwrap_or_default();
    }
    (1..candidates.len()).fold(0, |best, i| if candidates[i].mean > candidates[best].mean { i } else { best })
}

/// Fits and scores every classifier on the folds.
fn validated(
    plan: &Plan,
    settings: &config::Train,
    source: Source,
    (y, classes): (&[usize], &[String]),
    folds: &Folds,
    ui: &Ui,
) -> Result<Vec<validate::CrossValidated>, TrainError> {
    let count = folds.count;
    let scarce: Vec<&str> =
        folds::scarce(y, classes.len(), count).into_iter().map(|class| classes[class].as_str()).collect();
    if !scarce.is_empty() {
        ui.warn(&format!("there are fewer train pictures of {} than the {count} folds", printable(&scarce.join(", "))));
    }
    let (select, reduce) = (plan.pipeline.select.as_ref(), plan.pipeline.reduce.as_ref());
    let (shards, width, folder) = (source.shards, plan.width(), plan.dir.root());
    let columns = validate::Columns { shards, width, select, reduce, folder };
    validate::validate(settings, columns, (y, classes), folds, ui)
}

/// Fits the classifier with the settings at `key` on all train rows, whose classes are `y`.
fn fitted(
    plan: &Plan,
    (key, chosen): (&str, config::Classifier),
    source: Source,
    (y, classes): (&[usize], &[String]),
    ui: &Ui,
    heard: &dyn Fn(&Epoch),
) -> Result<Classifier, TrainError> {
    let cols = source.cols(plan.width())?;
    let start = match chosen {
        config::Classifier::Mlp(mlp) => warm::start(plan, (key, mlp), source.kept, cols, classes)?,
        _ => None,
    };
    let table = if chosen.holds(y.len(), cols) {
        Table::Held(source.train_rows::<TrainError>(ui)?.1.into())
    } else {
        let size = bytes((y.len() * cols * size_of::<f32>()) as u64);
        let text = "is copied to disk, and its rows are read batch by batch";
        ui.note(&format!("the train table ({size}) {text} (`{key}.in_memory`)"));
        Table::OnDisk(source.train_rows_on_disk::<TrainError>(plan.dir.root(), cols, ui)?)
    };
    fit::fit(chosen, TrainTable { x: &table, y, classes }, start.as_deref(), ui, heard)
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
