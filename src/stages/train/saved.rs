//! The classifier on disk: its tensors, and a card (`classifier.json`) that describes their use.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::TrainError;
use super::novelty::{self, Sample};
use crate::io::tensors::{self, Tensor, Tensors, Values};
use crate::io::{self, Digest, IoError, sealed};
use crate::learn::classifier::{Classifier, ClassifierError};
use crate::learn::dataset::{DatasetBase, Fit, Labels, Shared};
use crate::learn::knn::{Knn, KnnParams};
use crate::learn::mlp::{Activation, Dense, End, Mlp};
use crate::learn::temperature::Temperature;
use crate::plan::{NetworkCard, Plan};
use crate::stages::StageId;
use crate::store::{OutputFile, Record, RunDir};
use crate::table::FeatureMatrix;

/// Every kind of classifier, `mlp` first: a card without a kind has one of this kind.
pub const KINDS: [&str; 3] = ["mlp", "logistic", "knn"];

/// Writes the tensors of a classifier of this kind, and its card. Returns these files.
pub fn save(
    plan: &Plan,
    kind: &'static str,
    classifier: &Classifier,
    classes: &[String],
    temperature: Option<Temperature>,
    sample: Option<&Sample>,
) -> Result<Vec<OutputFile>, IoError> {
    let path = plan.dir.fitted(kind);
    let digest = match classifier {
        Classifier::Layers(mlp) => layers(mlp, &path)?,
        Classifier::Neighbours(knn) => table(knn, &path)?,
    };
    let mut outputs = vec![OutputFile::hashed(&plan.dir, &path, digest)?];
    if let Some(sample) = sample {
        let digest = novelty::save(&plan.dir, sample)?;
        outputs.push(OutputFile::hashed(&plan.dir, &plan.dir.novelty(), digest)?);
    }
    let path = plan.dir.card();
    let mut card = card(plan, kind, classifier, classes, &files(plan, &outputs)?);
    if let Some(temperature) = temperature {
        card["temperature"] = json!(temperature);
    }
    if sample.is_some() {
        card["novelty"] = json!("novelty.safetensors");
    }
    let digest = sealed::write(&path, &card)?;
    outputs.push(OutputFile::hashed(&plan.dir, &path, digest)?);
    Ok(outputs)
}

/// Returns name and hash of each file that the card names: the folder may be copied without the records of the run.
fn files(plan: &Plan, fitted: &[OutputFile]) -> Result<BTreeMap<String, Digest>, IoError> {
    let before = [StageId::Extract, StageId::Select, StageId::Reduce];
    let before = before.into_iter().filter_map(|stage| Record::read(&plan.dir, stage));
    let before: Vec<OutputFile> = before.flat_map(|record| record.files).collect();
    let mut all = BTreeMap::new();
    for output in before.iter().chain(fitted) {
        let path = plan.dir.root().join(&output.file);
        let Ok(name) = path.strip_prefix(plan.dir.classifier()) else { continue };
        let digest = output.blake3.clone().map_or_else(|| io::digest(&path), Ok)?;
        all.insert(name.to_string_lossy().into_owned(), digest);
    }
    Ok(all)
}

fn layers(mlp: &Mlp, path: &Path) -> Result<Digest, IoError> {
    let mut all = Vec::with_capacity(mlp.layers.len() * 2);
    for (i, layer) in mlp.layers.iter().enumerate() {
        let shape = [layer.inputs, layer.outputs];
        all.push(Tensor::new(format!("layers.{i}.weight"), &shape, Values::F32(&layer.weights)));
        all.push(Tensor::new(format!("layers.{i}.bias"), &shape[1..], Values::F32(&layer.bias)));
    }
    tensors::write(path, &all)
}

fn table(knn: &Knn, path: &Path) -> Result<Digest, IoError> {
    // f64 represents these integers exactly
    let y: Vec<f64> = knn.y.iter().map(|&class| class as f64).collect();
    let x = Tensor::new("x", &[knn.x.rows(), knn.x.cols()], Values::F32(knn.x.as_slice()));
    tensors::write(path, &[x, Tensor::new("y", &[y.len()], Values::F64(&y))])
}

/// The network that computed the features, and the dtype of its table.
pub(super) fn origin(plan: &Plan) -> Value {
    let mut origin = json!(NetworkCard::of(plan));
    origin["dtype"] = json!(plan.pipeline.output.dtype);
    origin
}

/// `classifier.json`: a description of every step from the picture to the class.
fn card(
    plan: &Plan,
    kind: &str,
    classifier: &Classifier,
    classes: &[String],
    files: &BTreeMap<String, Digest>,
) -> Value {
    let mut card = origin(plan);
    let fitted = json!({
        "classes": classes,
        "kind": kind,
        "select": plan.pipeline.select.is_some().then_some("columns.parquet"),
        "reduce": plan.pipeline.reduce.as_ref().map(|reduce| format!("{}.safetensors", reduce.word())),
        "train": format!("{kind}.safetensors"),
        "files": files,
    });
    if let (Value::Object(card), Value::Object(fitted)) = (&mut card, fitted) {
        card.extend(fitted);
    }
    match classifier {
        Classifier::Layers(mlp) => card["activation"] = json!(mlp.activation),
        Classifier::Neighbours(knn) => card["knn"] = json!(knn.params),
    }
    card
}

/// Reads the card of a classifier after checking it and the files that it names.
pub fn checked(dir: &RunDir) -> Result<Value, IoError> {
    let card: Value = sealed::read(&dir.card())?;
    for (name, digest) in card["files"].as_object().into_iter().flatten() {
        if let (Some(name), Some(digest)) = (Path::new(name).file_name(), digest.as_str()) {
            io::check(&dir.classifier().join(name), digest)?;
        }
    }
    Ok(card)
}

/// A classifier that a run has fitted, with its classes.
#[derive(Debug)]
pub struct Saved {
    pub classifier: Classifier,
    pub classes: Vec<String>,
    /// The calibration of its probabilities.
    pub temperature: Option<Temperature>,
    /// The train rows for the distance of a picture from the training data; versions before 0.4 wrote none.
    pub sample: Option<Sample>,
}

/// The fitted classifier of a run.
pub fn open(dir: &RunDir) -> Result<Saved, TrainError> {
    #[derive(Deserialize)]
    struct Card {
        classes: Vec<String>,
        kind: Option<String>,
        activation: Option<Activation>,
        knn: Option<KnnParams>,
        temperature: Option<Temperature>,
        novelty: Option<String>,
    }
    let path = dir.card();
    let wrong = |reason: String| IoError::Table { path: path.clone(), reason };
    let text = std::fs::read(&path).map_err(IoError::read(&path))?;
    let card: Card = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let kind = card.kind.as_deref().unwrap_or(KINDS[0]);
    if !KINDS.contains(&kind) {
        return Err(wrong(format!("a classifier of kind `{kind}` is not known to this version")).into());
    }
    if card.temperature.is_some_and(|temperature| !temperature.is_sound()) {
        return Err(wrong("`temperature` is no positive number".into()).into());
    }
    let mut file = Tensors::read(&dir.fitted(kind))?;
    let classifier = if let Some(params) = card.knn {
        let &[rows, cols] = file.shape("x").unwrap_or_default() else {
            return Err(wrong("the table of knn.safetensors has no two dimensions".into()).into());
        };
        let x = FeatureMatrix::from_vec(rows, cols, file.f32s("x")?).map_err(|error| wrong(error.to_string()))?;
        let y: Vec<usize> = file.f64s("y")?.into_iter().map(|class| class as usize).collect();
        let dataset = DatasetBase::new(Shared(x.into()), Labels { y: &y, classes: &card.classes });
        Classifier::Neighbours(params.fit(&dataset).map_err(ClassifierError::from)?)
    } else {
        let activation = card.activation.ok_or_else(|| wrong("the card has no `activation`".into()))?;
        let classes = card.classes.len();
        let mut layers = Vec::new();
        while let Some(&[inputs, outputs]) = file.shape(&format!("layers.{}.weight", layers.len())) {
            let i = layers.len();
            let weights = file.f32s(&format!("layers.{i}.weight"))?;
            layers.push(Dense { inputs, outputs, weights, bias: file.f32s(&format!("layers.{i}.bias"))? });
        }
        let (loss_curve, validation_scores) = (Vec::new(), Vec::new());
        let mlp = Mlp { layers, activation, classes, loss_curve, validation_scores, n_iter: 0, end: End::Converged };
        mlp.check().map_err(ClassifierError::from)?;
        Classifier::Layers(mlp)
    };
    let sample = card.novelty.is_some().then(|| novelty::open(dir)).transpose()?;
    Ok(Saved { classifier, classes: card.classes, temperature: card.temperature, sample })
}
