//! Fitting one classifier as its settings say.

use std::ops::ControlFlow;

use super::TrainError;
use super::table::Table;
use crate::config::{self, BatchSize, ClassWeight, ConfigError, LearningRate, suggest};
use crate::learn::classifier::{Classifier, ClassifierError};
use crate::learn::knn::{self, Asked, Knn};
use crate::learn::logistic::{LogisticParams, balanced};
use crate::learn::mlp::{self, Activation, Dense, Epoch, Mlp, MlpError, MlpParams, Schedule, Solver};
use crate::progress::{Interrupted, Ui};
use crate::terminal::printable;

/// The train split.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// (n, d)
    pub x: &'a Table,
    /// (n)
    pub y: &'a [usize],
    pub classes: &'a [String],
}

/// The weight of every class, where they are weighted; those that balance count the named rows of `y`.
fn weights(asked: Option<&ClassWeight>, (y, classes): (&[usize], &[String]), rows: &[usize]) -> Option<Vec<f64>> {
    Some(match asked? {
        ClassWeight::Balanced => balanced(y, rows, classes.len()),
        ClassWeight::Classes(own) => classes.iter().map(|class| own.get(class).copied().unwrap_or(1.0)).collect(),
    })
}

/// An error at the key of the YAML where a class is weighted that is not among `classes`, those of the whole listing.
pub fn check_class_weights(
    pipeline: &config::Pipeline,
    settings: &config::Train,
    classes: &[String],
) -> Result<(), Box<ConfigError>> {
    for (key, classifier) in settings.keyed() {
        let asked = match classifier {
            config::Classifier::Mlp(mlp) => mlp.class_weight.as_ref(),
            config::Classifier::Logistic(logistic) => logistic.class_weight.as_ref(),
            config::Classifier::Knn(_) => None,
        };
        let Some(ClassWeight::Classes(weights)) = asked else { continue };
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

/// An error where the named rows are too few for the classifier.
pub fn check_rows(settings: config::Classifier, y: &[usize], rows: &[usize], classes: usize) -> Result<(), TrainError> {
    let fitting = match settings {
        config::Classifier::Mlp(mlp) => {
            mlp::held_out(&params(mlp, None), y, rows, classes).map(drop).map_err(Into::into)
        }
        config::Classifier::Logistic(_) => Ok(()),
        config::Classifier::Knn(knn) => knn::check_rows(knn.k, rows.len()).map_err(Into::into),
    };
    fitting.map_err(|error: ClassifierError| error.into())
}

/// Fits on all rows, a perceptron from the layers of `start` where there are any; `heard` gets every epoch or iteration with its loss.
pub fn fit(
    settings: config::Classifier,
    data: Labelled,
    start: Option<Vec<Dense>>,
    ui: &Ui,
    heard: &mut dyn FnMut(usize, f64),
) -> Result<Classifier, TrainError> {
    let (Labelled { x, y, .. }, classes) = (data, data.classes.len());
    let rows: Vec<usize> = (0..y.len()).collect();
    let weights = |asked: &Option<ClassWeight>| weights(asked.as_ref(), (y, data.classes), &rows);
    let fitted = match settings {
        config::Classifier::Mlp(mlp) => {
            let mut heard = |epoch: &Epoch| {
                heard(epoch.number, epoch.loss);
                go_on(ui)
            };
            let params = params(mlp, weights(&mlp.class_weight));
            match start {
                Some(start) => params.fit_rows_from(x.rows(), y, &rows, classes, start, &mut heard),
                None => params.fit_rows(x.rows(), y, &rows, classes, &mut heard),
            }
        }
        config::Classifier::Logistic(logistic) => {
            let mut heard = |number: usize, loss: f64| {
                heard(number, loss);
                go_on(ui)
            };
            let class_weight = weights(&logistic.class_weight);
            let (c, tol, max_iter, fit_intercept) =
                (logistic.c, logistic.tol, logistic.max_iter, logistic.fit_intercept);
            let params = LogisticParams { c, tol, max_iter, fit_intercept, class_weight };
            params.fit(x.rows(), y, &rows, classes, &mut heard)
        }
        config::Classifier::Knn(settings) => return neighbours(settings, data),
    };
    layers(fitted, data.classes)
}

fn go_on(ui: &Ui) -> ControlFlow<()> {
    if ui.stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// What was fitted; an error about a class gets its name, which only we know.
fn layers(fitted: Result<Mlp, MlpError>, classes: &[String]) -> Result<Classifier, TrainError> {
    match fitted {
        Err(MlpError::Interrupted) => Err(Interrupted.into()),
        Err(MlpError::OneOfClass { class }) if class < classes.len() => Err(TrainError::Classes(format!(
            "`early_stopping` needs at least 2 pictures of each class, and `{}` has 1: give it more, leave it out with `input.classes`, or turn \
             `early_stopping` off",
            printable(&classes[class])
        ))),
        other => Ok(Classifier::Layers(other.map_err(ClassifierError::from)?)),
    }
}

/// The neighbours that a table has; it is kept, not copied.
fn neighbours(settings: &config::Knn, data: Labelled) -> Result<Classifier, TrainError> {
    let asked = Asked {
        k: settings.k,
        metric: match settings.metric {
            config::Metric::Cosine => knn::Metric::Cosine,
            config::Metric::Euclidean => knn::Metric::Euclidean,
        },
        weights: match settings.weights {
            config::Weighting::Uniform => knn::Weights::Uniform,
            config::Weighting::Distance => knn::Weights::Distance,
        },
    };
    let knn = Knn::new(asked, data.x.held()?, data.y.to_vec(), data.classes.len());
    Ok(Classifier::Neighbours(knn.map_err(ClassifierError::from)?))
}

/// The activation that is asked for.
pub(super) fn activation(settings: &config::Mlp) -> Activation {
    match settings.activation {
        config::Activation::Identity => Activation::Identity,
        config::Activation::Logistic => Activation::Logistic,
        config::Activation::Tanh => Activation::Tanh,
        config::Activation::Relu => Activation::Relu,
    }
}

fn params(settings: &config::Mlp, class_weight: Option<Vec<f64>>) -> MlpParams {
    MlpParams {
        hidden: settings.hidden.clone(),
        activation: activation(settings),
        solver: match settings.solver {
            config::Solver::Adam => Solver::Adam,
            config::Solver::Sgd => Solver::Sgd,
            config::Solver::Lbfgs => Solver::Lbfgs,
        },
        alpha: settings.alpha,
        batch_size: match settings.batch_size {
            BatchSize::Auto => None,
            BatchSize::Rows(rows) => Some(rows),
        },
        learning_rate: match settings.learning_rate {
            LearningRate::Constant => Schedule::Constant,
            LearningRate::Invscaling => Schedule::InvScaling,
            LearningRate::Adaptive => Schedule::Adaptive,
        },
        learning_rate_init: settings.learning_rate_init,
        power_t: settings.power_t,
        max_iter: settings.max_iter,
        max_fun: settings.max_fun,
        shuffle: settings.shuffle,
        seed: settings.seed,
        tol: settings.tol,
        momentum: settings.momentum,
        nesterovs_momentum: settings.nesterov,
        early_stopping: settings.early_stopping,
        validation_fraction: settings.validation_fraction,
        beta_1: settings.beta_1,
        beta_2: settings.beta_2,
        epsilon: settings.epsilon,
        n_iter_no_change: settings.n_iter_no_change,
        class_weight,
        dropout: settings.dropout,
        label_smoothing: settings.label_smoothing,
    }
}
