//! Reads `classifier/`: the card describes the tensors, the weights are found and checked, and each part must accept
//! the output of the previous one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Fitted, Head, Predictor, PredictorError, Way};
use crate::exec::{Device, Kernels, Precision};
use crate::extractor::Extractor;
use crate::io::{self, IoError};
use crate::models::{self, ModelSpec, Source, WeightsSpec};
use crate::network_plan::{self, NetworkPlan};
use crate::plan::NetworkCard;
use crate::stages::{StageId, reduce, select, train};
use crate::store::{Record, RunDir, fingerprint};
use crate::table::Dtype;
use crate::weights::Origin;
use crate::weights::store::{Found, Store, Wanted};

/// The stages between the features and the classifier, as `train` writes them to `classifier.json`, beside the
/// [`NetworkCard`]. Each is deserialised separately, since serde's `flatten` would read an f32 as an f64.
#[derive(Debug, Deserialize)]
struct StagesCard {
    /// The dtype of the features that the classifier was fitted on.
    #[serde(default)]
    dtype: Dtype,
    select: Option<String>,
    reduce: Option<String>,
}

/// Plans the network of a card, with its weights from wherever they are now.
fn network(
    card: &NetworkCard,
    weights: Option<&Path>,
    unknown: &dyn Fn(String) -> PredictorError,
) -> Result<NetworkPlan, PredictorError> {
    let layers: Vec<String> = card.layer.split(',').map(String::from).collect();
    let backbone = match card.source {
        Some(source) => {
            let model = models::find(&card.model).ok_or_else(|| unknown(format!("the model `{}`", card.model)))?;
            let origin = match origin(card, Some((model, source)), weights)? {
                origin @ Origin::File(_) => origin.with_key(card.weights_key.as_deref())?,
                origin => origin,
            };
            let row = network_plan::row(model, &origin, Some(source))?;
            NetworkPlan::new(model, row, origin, card.recipe.clone(), &layers, card.features)?
        }
        None => NetworkPlan::of_onnx(origin(card, None, weights)?, card.recipe.clone(), &layers, card.features)?,
    };
    if card.weights_key.is_none() && !backbone.taken.others.is_empty() {
        return Err(unknown("weights of which the file holds several".to_string()));
    }
    let backbone = backbone.decoding(card.image.clone()).precision(card.precision);
    if backbone.shape().dims() != card.shape {
        return Err(unknown(format!("{:?} features of layer `{}`", card.shape, card.layer)));
    }
    Ok(backbone)
}

/// Opens a network of the run in `dir`.
fn open_network(network: &NetworkPlan, dir: &RunDir, device: &Device) -> Result<Extractor, PredictorError> {
    if network.precision == Precision::Int8 {
        network.keep_ranges(io::ranges::read(&dir.ranges())?);
    }
    Ok(Extractor::open(network, device)?)
}

/// Opens the network that computed the features of a table of the run in `dir`, described by the table's metadata, so
/// that features of new pictures can be compared with the table.
pub fn of_features(
    dir: &RunDir,
    table: &Path,
    metadata: &BTreeMap<String, String>,
    weights: Option<&Path>,
    device: &Device,
) -> Result<Extractor, PredictorError> {
    let card = NetworkCard::from_metadata(metadata).map_err(|error| {
        let reason = format!("its metadata does not tell what made its features: {error}");
        IoError::Table { path: table.to_path_buf(), reason }
    })?;
    let unknown =
        |what: String| PredictorError::Unknown { dir: table.to_path_buf(), version: card.featurize.clone(), what };
    open_network(&network(&card, weights, &unknown)?, dir, device)
}

/// The classifier that a run has saved, with its classes and the card of its network.
#[derive(Debug)]
pub(crate) struct Saved {
    dir: RunDir,
    pub card: NetworkCard,
    pub fitted: Fitted,
    pub classes: Vec<String>,
}

impl Saved {
    /// Reads the folder `classifier/` of the run in `dir`.
    pub(crate) fn read(dir: &RunDir) -> Result<Self, PredictorError> {
        let (network, card) = card(dir)?;
        committed(dir, &card)?;
        train::checked(dir)?;
        let kept = card.select.is_some().then(|| select::kept(dir)).transpose()?;
        let reduction = card.reduce.as_deref().map(|file| reduce::open(dir, file)).transpose()?;
        let train::Saved { classifier, classes, temperature, sample } = train::open(dir)?;
        let novelty = sample.map(|sample| sample.novelty);
        let fitted = Fitted { dtype: card.dtype, kept, reduction, classifier, temperature, novelty };
        let saved = Self { dir: dir.clone(), card: network, fitted, classes };
        saved.fitted.check(saved.width()).map_err(|reason| unfinished(dir, reason))?;
        Ok(saved)
    }

    /// The number of features of a picture.
    pub(crate) fn width(&self) -> usize {
        self.card.shape.iter().product()
    }

    /// The network; `weights` is a file with its weights.
    pub(crate) fn network(&self, weights: Option<&Path>) -> Result<NetworkPlan, PredictorError> {
        let unknown = |what: String| {
            let (dir, version) = (self.dir.root().to_path_buf(), self.card.featurize.clone());
            PredictorError::Unknown { dir, version, what }
        };
        network(&self.card, weights, &unknown)
    }

    /// The probability of every class for the features of one picture.
    pub(crate) fn probabilities(&self, features: Vec<f32>) -> Result<Vec<f32>, PredictorError> {
        self.fitted.probabilities(features).map_err(|failure| PredictorError::Classifier(failure.reason))
    }

    /// The predictor with `network` on `device`.
    pub(crate) fn predictor(self, network: &NetworkPlan, device: &Device) -> Result<Predictor, PredictorError> {
        let extractor = open_network(network, &self.dir, device)?;
        // predictions always use the fastest kernels, whatever the run used
        let metadata = NetworkCard { kernels: Kernels::Auto, ..self.card }.metadata();
        let head = Head::Fitted(Box::new(self.fitted));
        Ok(Predictor { extractor, way: Way::on(device), head, classes: self.classes, metadata })
    }
}

/// Opens the classifier that the run in `dir` has saved.
pub fn open(dir: &RunDir, weights: Option<&Path>, device: &Device) -> Result<Predictor, PredictorError> {
    let saved = Saved::read(dir)?;
    let network = saved.network(weights)?;
    saved.predictor(&network, device)
}

fn unfinished(dir: &RunDir, reason: String) -> PredictorError {
    PredictorError::Unfinished { dir: dir.root().to_path_buf(), reason }
}

fn card(dir: &RunDir) -> Result<(NetworkCard, StagesCard), PredictorError> {
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

/// A run that was interrupted while it was fitted again has new and old files in this folder; its records tell. A
/// classifier that was copied without its records is not checked.
fn committed(dir: &RunDir, card: &StagesCard) -> Result<(), PredictorError> {
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

/// The weights that the run used: generated from the seed again, from this program, or from a file with the same bytes.
fn origin(
    card: &NetworkCard,
    known: Option<(&'static ModelSpec, Source)>,
    given: Option<&Path>,
) -> Result<Origin, PredictorError> {
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
    if let Some(row) = known.and_then(|(model, _)| model.weights.iter().find(inside)) {
        return Ok(Origin::Bundled(row));
    }
    let path = PathBuf::from(&card.weights);
    if path.is_file() {
        return of_file(&path);
    }
    // on another machine the weights may have another path
    let store = Store::open(None, true)?;
    let rows = known.into_iter().flat_map(|(model, source)| {
        model.weights.iter().filter(move |row| row.source == source).map(move |row| (model, row))
    });
    for (model, weights) in rows {
        for top in [false, true] {
            let wanted = Wanted::Known { model, weights, top };
            let found = store.find(&wanted, &mut |_| ControlFlow::Continue(()))?;
            if let Some(Found { path, sha256, .. }) = found.filter(|found| found.sha256 == *expected) {
                return Ok(Origin::file(path, Some(sha256)));
            }
        }
    }
    for (name, _) in store.registered().into_iter().filter(|(_, own)| own.sha256 == *expected) {
        let found = store.find(&Wanted::Own(name), &mut |_| ControlFlow::Continue(()))?;
        if let Some(found) = found.filter(|found| found.sha256 == *expected) {
            return Ok(Origin::file(found.path, Some(found.sha256)));
        }
    }
    let (weights, version, sha256) = (card.weights.clone(), card.featurize.clone(), expected.clone());
    Err(PredictorError::MissingWeights { weights, version, sha256 })
}
