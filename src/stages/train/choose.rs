//! The choice of a classifier: those that fit into memory are scored in cross-validation, and the best one is fitted on
//! all train rows.

use serde::{Deserialize, Serialize};

use super::calibrate::{self, Folds, HeldOut};
use super::fit::{self, TrainTable};
use super::table::Table;
use super::validate::{self, CrossValidated};
use super::{Scored, TrainError, dear, room, warm};
use crate::config;
use crate::io::features::Key;
use crate::learn::classifier::Classifier;
use crate::learn::folds;
use crate::learn::mlp::Epoch;
use crate::plan::Plan;
use crate::progress::{StageLine, Ui, bytes};
use crate::stages::StageId;
use crate::stages::rows::Source;
use crate::terminal::printable;

/// The train rows that classifiers are fitted on.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    pub plan: &'a Plan,
    pub source: Source<'a>,
    /// The class of each row.
    pub y: &'a [usize],
    pub classes: &'a [String],
    pub ui: &'a Ui,
}

/// The classifiers that are compared, and their scores.
#[derive(Debug)]
pub struct Compared {
    /// The settings without the candidates that were left out.
    pub settings: config::Train,
    pub folds: Option<Folds>,
    /// The scores of each classifier; none without a cross-validation.
    pub candidates: Vec<Scored>,
    /// The predictions of each classifier for rows that it was not fitted on.
    pub held_out: Vec<HeldOut>,
    pub left_out: Vec<LeftOut>,
}

impl Compared {
    /// Leaves out the candidates that do not fit, and scores the others in cross-validation if there are folds. `keys`
    /// are those of the rows.
    pub fn new(rows: Rows, settings: &config::Train, keys: &[Key]) -> Result<Self, TrainError> {
        let Rows { plan, source, y, classes, ui } = rows;
        let size = (y.len(), source.cols(plan.width())?);
        let shape = room::Shape { rows: size.0, cols: size.1, classes: classes.len() };
        let fits = |key: &str, one: config::Classifier| room::fits(&plan.pipeline.written(key), one, shape);
        let (settings, left_out) = LeftOut::apart(settings.passing(fits)?);
        let dear = settings.keyed().into_iter().find_map(|(key, one)| dear(&plan.pipeline.written(&key), one, size));
        dear.iter().for_each(|text| ui.warn(text));
        let folds = calibrate::folds(&settings, keys, y, classes)?;
        let (candidates, held_out) = (Vec::new(), Vec::new());
        let mut compared = Self { settings, folds, candidates, held_out, left_out };
        compared.score(rows)?;
        compared.left_out.iter().for_each(|one| one.tell(ui));
        Ok(compared)
    }

    fn score(&mut self, rows: Rows) -> Result<(), TrainError> {
        let Some(folds) = &self.folds else { return Ok(()) };
        let (settings, few) = LeftOut::apart(folds.passing(&self.settings, rows.y, rows.classes)?);
        let mut scored = match rows.validated(&settings, folds) {
            // the user did not ask for a calibration
            Err(TrainError::Fold(text)) if !folds.compare && settings.calibrate.is_none() => {
                rows.ui.note(&format!("probabilities are not calibrated: {text}"));
                return Ok(());
            }
            scored => scored?.into_iter(),
        };
        let (settings, diverged) = LeftOut::apart(settings.passing(|_, _| match scored.next() {
            Some(scored) => scored.map(|(scored, held)| {
                self.candidates.push(scored);
                self.held_out.push(held);
            }),
            None => Ok(()),
        })?);
        self.settings = settings;
        self.left_out.extend(few.into_iter().chain(diverged));
        Ok(())
    }

    /// Fits the best classifier on all rows; returns its index, and the line of the terminal that shows its epochs. The
    /// best candidate of `auto` may diverge there: then it is left out, and the next best is fitted.
    pub fn fit_best(&mut self, rows: Rows) -> Result<(usize, Classifier, StageLine), TrainError> {
        let auto = self.settings.auto.is_some();
        loop {
            let best = best(&self.candidates, auto);
            let chosen = self.settings.classifiers()[best];
            let line = rows.ui.stage(StageId::Train, chosen.max_iter().map(|most| most as u64), "epochs");
            let key = rows.plan.pipeline.written(&self.settings.keyed()[best].0);
            match rows.fitted(&key, chosen, &line) {
                Err(error) if error.is_divergence() && self.candidates.len() > 1 && auto => {
                    let left_out = LeftOut::new(chosen.describe(), &error);
                    left_out.tell(rows.ui);
                    self.left_out.push(left_out);
                    self.settings.grid.remove(best);
                    self.candidates.remove(best);
                    self.held_out.remove(best);
                }
                fitted => return Ok((best, fitted?, line)),
            }
        }
    }
}

impl Rows<'_> {
    /// Fits and scores every classifier on the folds.
    fn validated(self, settings: &config::Train, folds: &Folds) -> Result<Vec<CrossValidated>, TrainError> {
        let Self { plan, source, y, classes, ui } = self;
        let count = folds.count;
        let scarce: Vec<&str> =
            folds::scarce(y, classes.len(), count).into_iter().map(|class| classes[class].as_str()).collect();
        if !scarce.is_empty() {
            let scarce = printable(&scarce.join(", ")).to_string();
            ui.warn(&format!("there are fewer train pictures of {scarce} than the {count} folds"));
        }
        let (select, reduce) = (plan.pipeline.select.as_ref(), plan.pipeline.reduce.as_ref());
        let (shards, width, folder) = (source.shards, plan.width(), plan.dir.root());
        let columns = validate::Columns { shards, width, select, reduce, folder };
        validate::validate(settings, columns, (y, classes), folds, ui)
    }

    /// Fits the classifier with the settings at `key` on all rows; `line` shows every epoch.
    fn fitted(self, key: &str, chosen: config::Classifier, line: &StageLine) -> Result<Classifier, TrainError> {
        let Self { plan, source, y, classes, ui } = self;
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
        let heard = |epoch: &Epoch| {
            line.inc(1);
            line.message(format!("loss {:.4}", epoch.loss));
        };
        fit::fit(chosen, TrainTable { x: &table, y, classes }, start.as_deref(), ui, &heard)
    }
}

/// Returns the index of the classifier that is kept.
fn best(candidates: &[Scored], auto: bool) -> usize {
    if auto {
        let losses: Vec<Vec<f64>> = candidates.iter().map(|one| one.losses.clone()).collect();
        return folds::simplest(&losses).unwrap_or_default();
    }
    (1..candidates.len()).fold(0, |best, i| if candidates[i].mean > candidates[best].mean { i } else { best })
}

/// A candidate of `auto` that was not compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The classifier in words.
    pub classifier: String,
    pub why: String,
}

impl LeftOut {
    fn new(classifier: String, error: &impl std::fmt::Display) -> Self {
        let why = error.to_string();
        let why = why.strip_prefix("train: ").unwrap_or(&why);
        // the error begins with the kind of the classifier, as its name does
        let is_kind = |kind: &str| classifier.split(' ').next() == Some(kind);
        let why = why.split_once(": ").filter(|(kind, _)| is_kind(kind)).map_or(why, |(_, why)| why).to_string();
        Self { classifier, why }
    }

    /// The settings that are left after a check, and the candidates that are not.
    fn apart<E: std::fmt::Display>(passing: config::Passing<E>) -> (config::Train, Vec<Self>) {
        let config::Passing { settings, refused } = passing;
        (settings.into_owned(), refused.into_iter().map(|(name, error)| Self::new(name, &error)).collect())
    }

    fn tell(&self, ui: &Ui) {
        ui.note(&format!("{}: left out: {}", self.classifier, self.why));
    }
}
