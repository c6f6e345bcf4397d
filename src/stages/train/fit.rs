//! Fits one classifier by its settings.

use std::ops::ControlFlow;

use super::TrainError;
use super::table::Table;
use crate::config::{self, ClassWeight, ConfigError, suggest};
use crate::learn::classifier::{Classifier, ClassifierError};
use crate::learn::dataset::{DatasetBase, Fit, Labels, Selected, Shared};
use crate::learn::mlp::{self, Dense, Epoch, MlpError, Training};
use crate::progress::{Interrupted, Ui};
use crate::terminal::printable;

/// The train split.
#[derive(Clone, Copy, Debug)]
pub struct TrainTable<'a> {
    /// (n, d)
    pub x: &'a Table,
    /// (n)
    pub y: &'a [usize],
    pub classes: &'a [String],
}

/// Returns an error at the YAML key that gives a weight to a class which is not among `classes`, those of the whole
/// listing.
pub fn check_class_weights(
    pipeline: &config::Pipeline,
    settings: &config::Train,
    classes: &[String],
) -> Result<(), Box<ConfigError>> {
    for (key, classifier) in settings.keyed() {
        let Some(ClassWeight::Classes(weights)) = classifier.class_weight() else { continue };
        let Some(class) = weights.keys().find(|class| !classes.contains(class)) else { continue };
        let key = pipeline.written(&format!("{key}.class_weight"));
        let meant = suggest(class, classes.iter().map(String::as_str));
        let meant = meant.map_or_else(String::new, |meant| format!("did you mean `{meant}`? "));
        let message =
            format!("`{key}`: there is no class `{class}`; {meant}the classes are {}", printable(&classes.join(", ")));
        return Err(Box::new(pipeline.error_at(&format!("{key}.{class}"), message)));
    }
    Ok(())
}

/// Returns an error if the rows `rows` are too few for the classifier.
pub fn check_rows(
    settings: config::Classifier,
    y: &[usize],
    rows: &[usize],
    classes: &[String],
) -> Result<(), TrainError> {
    match settings {
        config::Classifier::Mlp(mlp) => {
            mlp::held_out(mlp, y, rows, classes.len()).map(drop).map_err(|error| named(error, classes))
        }
        config::Classifier::Logistic(_) => Ok(()),
        config::Classifier::Knn(knn) => knn.check_rows(rows.len()).map_err(|error| ClassifierError::from(error).into()),
    }
}

/// Fits on all rows, a perceptron from the layers of `start` if there are any; `heard` is called after every epoch or
/// iteration.
pub fn fit(
    settings: config::Classifier,
    data: TrainTable,
    start: Option<&[Dense]>,
    ui: &Ui,
    heard: &dyn Fn(&Epoch),
) -> Result<Classifier, TrainError> {
    let TrainTable { x, y, classes } = data;
    let labels = Labels { y, classes };
    let rows: Vec<usize> = (0..y.len()).collect();
    let selected = || DatasetBase::new(Selected { table: x.rows(), rows: &rows }, labels);
    let on_epoch = &|epoch: &Epoch| {
        heard(epoch);
        if ui.stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let fitted = match settings {
        config::Classifier::Mlp(params) => Training { params, start, on_epoch }.fit(&selected()),
        config::Classifier::Logistic(params) => Training { params, start, on_epoch }.fit(&selected()),
        config::Classifier::Knn(params) => {
            let knn = params.fit(&DatasetBase::new(Shared(x.held()?), labels));
            return Ok(Classifier::Neighbours(knn.map_err(ClassifierError::from)?));
        }
    };
    Ok(Classifier::Layers(fitted.map_err(|error| named(error, classes))?))
}

/// Returns the error of a perceptron; in one about a class, its number is replaced by its name, which `learn` does not
/// know.
fn named(error: MlpError, classes: &[String]) -> TrainError {
    match error {
        MlpError::Interrupted => Interrupted.into(),
        MlpError::OneOfClass { class } if class < classes.len() => TrainError::Classes(format!(
            "`early_stopping` needs at least 2 pictures of each class, and `{}` has 1: give it more, leave it out with \
             `input.classes`, or turn `early_stopping` off",
            printable(&classes[class])
        )),
        other => ClassifierError::from(other).into(),
    }
}
