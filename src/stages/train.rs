//! `train`: the classifier, fitted on the train split, and the card that says what its numbers mean.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;

use crate::config::{self, BatchSize, LearningRate};
use crate::io::tensors::{self, Tensors, Values};
use crate::io::{IoError, atomic};
use crate::learn::mlp::{Activation, Dense, Mlp, MlpError, MlpParams, Schedule, Solver};
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui};
use crate::stages::StageId;
use crate::stages::rows::Source;
use crate::store::{OutputFile, RunDir};

/// What `train` commits; the layers stand in `classifier/mlp.safetensors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// The classes that the train split has, in the order of the classifier's outputs.
    pub classes: Vec<String>,
    /// Rows trained on.
    pub rows: usize,
    /// Columns that go in.
    pub inputs: usize,
    pub epochs: usize,
    /// False when training ended at `max_iter`.
    pub converged: bool,
    pub loss_curve: Vec<f64>,
    pub validation_scores: Vec<f64>,
}

/// No classifier can be trained.
#[derive(Debug, Error)]
pub enum TrainError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("train: {0}")]
    Learn(#[from] MlpError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error("train: {0}")]
    Classes(String),
}

/// Trains on the train rows of `source`; `classes` are those of the whole listing.
pub fn run(
    plan: &Plan,
    settings: &config::Mlp,
    source: Source,
    classes: &[String],
    ui: &Ui,
) -> Result<(Trained, Vec<OutputFile>), TrainError> {
    let (keys, rows) = source.train_rows::<TrainError>(ui)?;
    let present = |class: &&String| keys.iter().any(|key| key.label.as_ref() == Some(class));
    let known: Vec<String> = classes.iter().filter(present).cloned().collect();
    let absent: Vec<&str> = classes.iter().filter(|class| !known.contains(class)).map(String::as_str).collect();
    if !absent.is_empty() {
        ui.warn(&format!("the train split has no picture of {}; they cannot be predicted", absent.join(", ")));
    }
    if let [only] = known.as_slice() {
        let text = format!("every train picture is of class `{only}`; a classifier needs at least two classes");
        return Err(TrainError::Classes(text));
    }
    let truth: Vec<usize> =
        keys.iter().filter_map(|key| known.iter().position(|class| key.label.as_ref() == Some(class))).collect();
    let params = params(settings);
    let line = ui.stage(StageId::Train, Some(params.max_iter as u64), "epochs");
    let fitted = params.fit(&rows, &truth, known.len(), &mut |epoch| {
        line.inc(1);
        line.message(format!("loss {:.4}", epoch.loss));
        if ui.stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let mlp = match fitted {
        Err(MlpError::Interrupted) => return Err(Interrupted.into()),
        other => other?,
    };
    save(&plan.dir, &mlp)?;
    card(plan, &known, &mlp)?;
    let trained = Trained {
        classes: known,
        rows: rows.rows(),
        inputs: rows.cols(),
        epochs: mlp.n_iter,
        converged: mlp.converged,
        loss_curve: mlp.loss_curve,
        validation_scores: mlp.validation_scores,
    };
    let loss = trained.loss_curve.last().copied().unwrap_or(f64::NAN);
    line.finish(&format!("{} rows, {} epochs, loss {loss:.4}", trained.rows, trained.epochs));
    if !trained.converged {
        ui.warn(&format!("training ended at `train.mlp.max_iter: {}` and had not converged", params.max_iter));
    }
    let files = [plan.dir.mlp(), plan.dir.card()];
    let files = files.iter().map(|path| OutputFile::of(&plan.dir, path)).collect::<Result<_, _>>()?;
    Ok((trained, files))
}

fn params(settings: &config::Mlp) -> MlpParams {
    MlpParams {
        hidden: settings.hidden.clone(),
        activation: match settings.activation {
            config::Activation::Identity => Activation::Identity,
            config::Activation::Logistic => Activation::Logistic,
            config::Activation::Tanh => Activation::Tanh,
            config::Activation::Relu => Activation::Relu,
        },
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
    }
}

fn save(dir: &RunDir, mlp: &Mlp) -> Result<(), IoError> {
    let mut all = Vec::with_capacity(mlp.layers.len() * 2);
    for (i, layer) in mlp.layers.iter().enumerate() {
        let shape = vec![layer.inputs, layer.outputs];
        all.push((format!("layers.{i}.weight"), shape, Values::F32(&layer.weights)));
        all.push((format!("layers.{i}.bias"), vec![layer.outputs], Values::F32(&layer.bias)));
    }
    tensors::write(&dir.mlp(), &all)
}

/// `classifier.json`: everything that a picture goes through, in words.
fn card(plan: &Plan, classes: &[String], mlp: &Mlp) -> Result<(), IoError> {
    let stage = |there: bool, file: &str| there.then(|| file.to_string());
    let card = json!({
        "featurize": env!("CARGO_PKG_VERSION"),
        "classes": classes,
        "activation": mlp.activation.name(),
        "model": plan.backbone.model.name,
        "weights": plan.backbone.weights.describe(),
        "weights_sha256": plan.weights_id,
        "source": plan.backbone.source,
        "layer": plan.backbone.layers(),
        "features": plan.pipeline.extract.features,
        "shape": plan.backbone.shape().dims(),
        "recipe": plan.backbone.recipe,
        "image": plan.backbone.decoding,
        "select": stage(plan.pipeline.select.is_some(), "columns.parquet"),
        "reduce": plan.pipeline.reduce.as_ref().map(|reduce| format!("{}.safetensors", reduce.word())),
        "train": "mlp.safetensors",
    });
    atomic::write_json(&plan.dir.card(), &card)
}

/// The fitted classifier of a run.
pub fn open(dir: &RunDir) -> Result<(Mlp, Vec<String>), TrainError> {
    #[derive(Deserialize)]
    struct Card {
        classes: Vec<String>,
        activation: String,
    }
    let path = dir.card();
    let wrong = |reason: String| IoError::Table { path: path.clone(), reason };
    let text = std::fs::read(&path).map_err(IoError::read(&path))?;
    let card: Card = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let activation = Activation::from_name(&card.activation);
    let activation = activation.ok_or_else(|| wrong(format!("unknown activation `{}`", card.activation)))?;
    let mut file = Tensors::read(&dir.mlp())?;
    let mut layers = Vec::new();
    while let Some(&[inputs, outputs]) = file.shape(&format!("layers.{}.weight", layers.len())) {
        let i = layers.len();
        let weights = file.f32s(&format!("layers.{i}.weight"))?;
        layers.push(Dense { inputs, outputs, weights, bias: file.f32s(&format!("layers.{i}.bias"))? });
    }
    let classes = card.classes.len();
    let (loss_curve, validation_scores) = (Vec::new(), Vec::new());
    let mlp = Mlp { layers, activation, classes, loss_curve, validation_scores, n_iter: 0, converged: true };
    mlp.check()?;
    Ok((mlp, card.classes))
}
