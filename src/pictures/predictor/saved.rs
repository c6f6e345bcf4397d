//! `classifier/` read back: the card says what the tensors mean, the weights are found and checked, and every part must fit the next.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use super::{Fitted, Head, Predictor, PredictorError, Way};
use crate::config::{Features, Precision};
use crate::exec::Device;
use crate::extractor::Extractor;
use crate::image::{DecodeOptions, Recipe};
use crate::io::IoError;
use crate::models::{self, ModelSpec, Source, WeightsSpec};
use crate::network_plan::{self, NetworkPlan};
use crate::stages::{StageId, reduce, select, train};
use crate::store::{Record, RunDir, fingerprint};
use crate::table::Dtype;
use crate::weights::Origin;
use crate::weights::store::{Found, Store, Wanted};

/// `classifier.json`, as `train` writes it: the stages between the features and the perceptron; the rest of it is [`Described`]. Read apart,
/// since serde's `flatten` would read an f32 as an f64.
#[derive(Debug, Deserialize)]
struct Card {
    /// How the features were stored that the rest was fitted on.
    #[serde(default)]
    dtype: Dtype,
    select: Option<String>,
    reduce: Option<String>,
}

/// What made the features.
#[derive(Debug, Deserialize)]
struct Described {
    /// Version of the program.
    featurize: String,
    model: String,
    /// Where the run found the weights.
    weights: String,
    /// Their hash, or `random-<seed>`.
    weights_sha256: String,
    /// Where in their file the weights were; before there was a choice, nothing.
    #[serde(default)]
    weights_key: Option<String>,
    source: Source,
    /// Names of the layers, with commas between.
    layer: String,
    features: Features,
    shape: Vec<usize>,
    recipe: Recipe,
    #[serde(default = "DecodeOptions::unwritten")]
    image: DecodeOptions,
    /// f32 in those of before there was a choice.
    #[serde(default)]
    precision: Precision,
}

impl Described {
    /// As `Plan::metadata` writes it into the tables of the run.
    fn metadata(&self) -> Vec<(String, String)> {
        let shape: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_string();
        let mut pairs = vec![
            ("version", env!("CARGO_PKG_VERSION").to_string()),
            ("model", self.model.clone()),
            ("source", self.source.to_string()),
            ("weights", self.weights.clone()),
            ("weights_sha256", self.weights_sha256.clone()),
            ("layer", self.layer.clone()),
            ("features", word(json!(self.features))),
            ("shape", shape.join(",")),
            ("precision", self.precision.word().to_string()),
            ("recipe", json!(self.recipe).to_string()),
            ("image", json!(self.image).to_string()),
        ];
        pairs.extend(self.weights_key.clone().map(|key| ("weights_key", key)));
        pairs.into_iter().map(|(key, value)| (format!("featurize.{key}"), value)).collect()
    }

    /// The network with its weights, wherever they lie now.
    fn open(
        &self,
        weights: Option<&Path>,
        device: &Device,
        unknown: &dyn Fn(String) -> PredictorError,
    ) -> Result<Extractor, PredictorError> {
        let model = models::find(&self.model).ok_or_else(|| unknown(format!("the model `{}`", self.model)))?;
        let origin = origin(self, model, weights)?;
        let origin = match origin {
            Origin::File(_) => origin.with_key(self.weights_key.as_deref())?,
            origin => origin,
        };
        let row = network_plan::row(model, &origin, Some(self.source))?;
        let layers: Vec<String> = self.layer.split(',').map(String::from).collect();
        let backbone = NetworkPlan::new(model, row, origin, self.recipe.clone(), &layers, self.features)?;
        if self.weights_key.is_none() && !backbone.taken.others.is_empty() {
            return Err(unknown("weights of which the file holds several".to_string()));
        }
        let backbone = backbone.decoding(self.image.clone()).precision(self.precision);
        if backbone.shape().dims() != self.shape {
            return Err(unknown(format!("{:?} features of layer `{}`", self.shape, self.layer)));
        }
        Ok(Extractor::open(&backbone, device)?)
    }
}

/// What made the features of a table, by its metadata: new pictures get features that may be compared with them.
pub fn of_features(
    table: &Path,
    metadata: &BTreeMap<String, String>,
    weights: Option<&Path>,
    device: &Device,
) -> Result<Extractor, PredictorError> {
    let text = |key: &str| metadata.get(&format!("featurize.{key}")).cloned().unwrap_or_default();
    let (image, precision) = (metadata.get("featurize.image"), metadata.get("featurize.precision"));
    let described = || -> Result<Described, serde_json::Error> {
        Ok(Described {
            featurize: text("version"),
            model: text("model"),
            weights: text("weights"),
            weights_sha256: text("weights_sha256"),
            weights_key: metadata.get("featurize.weights_key").cloned(),
            source: serde_json::from_value(json!(text("source")))?,
            layer: text("layer"),
            features: serde_json::from_value(json!(text("features")))?,
            shape: text("shape").split(',').filter_map(|side| side.parse().ok()).collect(),
            recipe: serde_json::from_str(&text("recipe"))?,
            image: image.map_or_else(|| Ok(DecodeOptions::unwritten()), |image| serde_json::from_str(image))?,
            precision: precision.map_or(Ok(Precision::F32), |word| serde_json::from_value(json!(word)))?,
        })
    };
    let described = described().map_err(|error| {
        let reason = format!("its metadata does not tell what made its features: {error}");
        IoError::Table { path: table.to_path_buf(), reason }
    })?;
    let unknown =
        |what: String| PredictorError::Unknown { dir: table.to_path_buf(), version: described.featurize.clone(), what };
    described.open(weights, device, &unknown)
}

/// Opens what the run in `dir` has saved.
pub fn open(dir: &RunDir, weights: Option<&Path>, device: &Device) -> Result<Predictor, PredictorError> {
    let (network, card) = card(dir)?;
    committed(dir, &card)?;
    train::checked(dir)?;
    let unknown = |what: String| {
        let (dir, version) = (dir.root().to_path_buf(), network.featurize.clone());
        PredictorError::Unknown { dir, version, what }
    };
    let extractor = network.open(weights, device, &unknown)?;
    let kept = card.select.is_some().then(|| select::kept(dir)).transpose()?;
    let reduction = card.reduce.as_deref().map(|file| reduce::open(dir, file)).transpose()?;
    let (classifier, classes) = train::open(dir)?;
    let fitted = Fitted { dtype: card.dtype, kept, reduction, classifier };
    fitted.check(extractor.width()).map_err(|reason| unfinished(dir, reason))?;
    let way = Way::on(device);
    Ok(Predictor { extractor, way, head: Head::Fitted(Box::new(fitted)), classes, metadata: network.metadata() })
}

fn unfinished(dir: &RunDir, reason: String) -> PredictorError {
    PredictorError::Unfinished { dir: dir.root().to_path_buf(), reason }
}

fn card(dir: &RunDir) -> Result<(Described, Card), PredictorError> {
    let root = dir.root();
    let path = dir.card();
    if !path.is_file() {
        return Err(match dir.manifest().is_file() {
            true => PredictorError::NoClassifier { dir: root.to_path_buf() },
            false => PredictorError::no_run(root, "classifier/classifier.json"),
        });
    }
    let text = std::fs::read(&path).map_err(IoError::read(&path))?;
    let wrong = |error: serde_json::Error| IoError::Table { path: path.clone(), reason: error.to_string() };
    let network = serde_json::from_slice(&text).map_err(wrong)?;
    Ok((network, serde_json::from_slice(&text).map_err(wrong)?))
}

/// A run that was interrupted while it learnt anew has new and old files side by side; its records tell. A classifier that was copied without
/// its records is taken as it is.
fn committed(dir: &RunDir, card: &Card) -> Result<(), PredictorError> {
    if !dir.store().is_dir() {
        return Ok(());
    }
    let there = [(StageId::Select, card.select.is_some()), (StageId::Reduce, card.reduce.is_some())];
    let stages = there.into_iter().filter(|(_, there)| *there).map(|(stage, _)| stage).chain([StageId::Train]);
    let mut above: Option<String> = None;
    for stage in stages {
        let name = stage.name();
        let record = Record::read(dir, stage).ok_or_else(|| unfinished(dir, format!("`{name}` was interrupted")))?;
        if let Some(damaged) = record.damaged(dir) {
            return Err(unfinished(dir, format!("{} is gone or changed", damaged.file)));
        }
        if let Some(above) = &above
            && record.fingerprint != fingerprint(name, &record.settings, &[above])?
        {
            return Err(unfinished(dir, format!("`{name}` has not run since its input changed")));
        }
        above = Some(record.fingerprint);
    }
    Ok(())
}

/// The weights that the run used: drawn anew, from this program, or from a file with the same bytes.
fn origin(card: &Described, model: &'static ModelSpec, given: Option<&Path>) -> Result<Origin, PredictorError> {
    let expected = &card.weights_sha256;
    let of_file = |path: &Path| {
        let origin = Origin::file(path, None);
        let found = origin.fingerprint()?;
        if found == *expected {
            return Ok(origin);
        }
        Err(PredictorError::OtherWeights { path: path.to_path_buf(), found, expected: expected.clone() })
    };
    if let Some(path) = given {
        return of_file(path);
    }
    if let Some(seed) = expected.strip_prefix("random-").and_then(|seed| seed.parse().ok()) {
        return Ok(Origin::Random(seed));
    }
    let inside = |row: &&WeightsSpec| row.files.is_empty() && row.sha256 == Some(expected);
    if let Some(row) = model.weights.iter().find(inside) {
        return Ok(Origin::Bundled(row));
    }
    let path = PathBuf::from(&card.weights);
    if path.is_file() {
        return of_file(&path);
    }
    // on another machine they may lie elsewhere
    let store = Store::open(None, true)?;
    for row in model.weights.iter().filter(|row| row.source == card.source) {
        for top in [false, true] {
            let wanted = Wanted::Known { model, weights: row, top };
            let found = store.find(&wanted, &mut |_| ControlFlow::Continue(()))?;
            if let Some(Found { path, sha256, .. }) = found.filter(|found| found.sha256 == *expected) {
                return Ok(Origin::file(path, Some(sha256)));
            }
        }
    }
    let (weights, version, sha256) = (card.weights.clone(), card.featurize.clone(), expected.clone());
    Err(PredictorError::MissingWeights { weights, version, sha256 })
}

impl Fitted {
    /// Whether each part takes what the one before gives, from `width` features on.
    fn check(&self, width: usize) -> Result<(), String> {
        let mut columns = width;
        if let Some(kept) = &self.kept {
            if kept.last().is_some_and(|&last| last >= width) {
                return Err(format!("columns.parquet is not of {width} columns"));
            }
            columns = kept.len();
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
