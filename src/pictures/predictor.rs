//! Predicts the probability of every class for a picture, with the classifier of a run or with the classifier that a
//! network was trained with.
//!
//! ```text
//! file ──> Extractor (decode ▸ recipe ▸ forward ▸ pool) ─┬─> kept columns ──> scale, PCA ──> MLP   `predict`: of a run
//!                                                        └─> softmax                     `classify`: of the network
//! ```
//!
//! Every step is the same as in the stages and independent of other pictures in the batch: a run's own pictures get the
//! probabilities of its `predictions.parquet`, bit for bit on the same kind of machine. Only the folder `classifier/`
//! and the weights are read, so a run may be moved.

mod explain;
mod fitted;
mod saved;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::source::{Failure, Opened, most_bytes, open_named};
use super::stream::{Done, Made, Stream, StreamError, Through, Way};
use super::{DecodeMemory, Shown};
use crate::config;
use crate::exec::{Device, ExecError};
use crate::extractor::Extractor;
use crate::image::{DecodeOptions, RgbImage};
use crate::io::IoError;
use crate::learn::temperature::Temperature;
use crate::models::imagenet;
use crate::network_plan::{NetworkPlan, NetworkPlanError};
use crate::onnx;
use crate::stage::StageId;
use crate::stages::reduce::ReduceError;
use crate::stages::scan::NamedFile;
use crate::stages::train::TrainError;
use crate::store::{Record, RunDir};
use crate::table::FeatureMatrix;
use crate::weights::store::StoreError;
use crate::weights::{CheckpointKey, WeightError};
pub use explain::{Method, PARTS};
pub(crate) use fitted::Fitted;
pub use fitted::{Acceptance, Predicted};
pub(crate) use saved::Saved;
pub use saved::of_features;

/// The predictor cannot be opened, or a picture cannot be predicted.
#[derive(Debug, Error)]
pub enum PredictorError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Reduce(#[from] ReduceError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error(transparent)]
    Network(#[from] NetworkPlanError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("{dir} is no folder of a run: {reason}; give the folder that `featurize run` wrote")]
    NoRun { dir: PathBuf, reason: String },
    #[error("{dir} holds no classifier; `featurize run` a pipeline with the section `train` to its end")]
    NoClassifier { dir: PathBuf },
    #[error("the classifier in {dir} is not whole: {reason}; `featurize run` the pipeline again to its end")]
    Unfinished { dir: PathBuf, reason: String },
    #[error(
        "the classifier in {dir} was made by featurize {version} with {what}, which this version does not have; use \
         that version, or run the pipeline again"
    )]
    Unknown { dir: PathBuf, version: String, what: String },
    #[error(
        "the weights that the run used are missing: `{weights}` of featurize {version}, sha256 {sha256}, is neither in \
         this program nor a file here; give the file with `--weights FILE`, or run the pipeline again"
    )]
    MissingWeights { weights: String, version: String, sha256: String },
    #[error(
        "{path} is another version of the weights that the run used: its sha256 is {found}, the run's was {expected}; \
         give the file that was used with `--weights FILE`, or run the pipeline again"
    )]
    OtherWeights { path: PathBuf, found: String, expected: String },
    #[error(
        "the run in {dir} was computed on `{device}`, and {reason}; `--device cpu` computes on the CPU, whose features \
         differ from the run's in their last digits"
    )]
    NoDevice { dir: PathBuf, device: String, reason: String },
    #[error(
        "no picture in {0}: give picture files, folders with pictures, or `-` and a list of paths on standard input"
    )]
    NoPictures(String),
    #[error("{named} classes are named, the network has {classes}; give a name for each, one a line")]
    Classes { named: usize, classes: usize },
    #[error("{0}")]
    Classifier(String),
    #[error(
        "`--reject-rate` needs the distances of the train pictures, and this classifier was saved without them: train \
         it anew with `featurize run FILE --force train`, or use `--min-confidence`"
    )]
    NoDistances,
    #[error(
        "no picture would be refused at `--reject-rate {rate}`: the distances of {rows} train pictures tell rates from \
         {least:.4} on"
    )]
    Rate { rate: f64, rows: usize, least: f64 },
    #[error("{failed} of {of} pictures could not be read")]
    Failed { failed: usize, of: usize },
}

impl PredictorError {
    /// Explains why `dir` is not a run: it does not exist, is a file, or lacks the file `wanted`.
    pub fn no_run(dir: &Path, wanted: &str) -> Self {
        let reason = match std::fs::metadata(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "there is no such folder".to_string(),
            Err(error) => error.to_string(),
            Ok(found) if found.is_file() => "it is a file".to_string(),
            Ok(_) => format!("it has no {wanted}"),
        };
        Self::NoRun { dir: dir.to_path_buf(), reason }
    }
}

/// An extractor and the classifier on top of it.
#[derive(Debug)]
pub struct Predictor {
    extractor: Extractor,
    way: Way,
    head: Head,
    classes: Vec<String>,
    /// The metadata for tables of its predictions; empty for a network's own classifier.
    metadata: Vec<(String, String)>,
}

/// The part that turns features into probabilities.
#[derive(Debug)]
enum Head {
    /// The features are the logits of the network's own classifier. An exported classifier of a run has a temperature.
    Softmax(Option<Temperature>),
    Fitted(Box<Fitted>),
}

/// The device for new pictures of a run: the requested one, else one of the kind that the run used.
pub fn device(dir: &RunDir, asked: Option<config::Device>) -> Result<Device, PredictorError> {
    if let Some(asked) = asked {
        return Ok(Device::open(asked)?);
    }
    let record = Record::read(dir, StageId::Extract);
    let noted = record.as_ref().and_then(|record| record.result["device"].as_str()?.split(':').next());
    let noted = noted.unwrap_or("cpu");
    Device::open(noted.parse().unwrap_or(config::Device::Cpu)).map_err(|error| match error {
        ExecError::Device { reason, .. } => {
            PredictorError::NoDevice { dir: dir.root().to_path_buf(), device: noted.to_string(), reason }
        }
        error => error.into(),
    })
}

/// Decodes a whole picture for display, by the options of `extractor`. `open` gets the largest allowed number of bytes.
pub fn picture<'a>(
    open: impl FnOnce(u64) -> Result<Opened<'a>, Failure>,
    extractor: &Extractor,
    memory: &DecodeMemory,
) -> Result<Shown, Failure> {
    let whole = DecodeOptions { fast_decode: false, ..extractor.decoding().clone() };
    memory.show(open(most_bytes(&whole))?, extractor.recipe(), &whole)
}

impl Predictor {
    /// The predictor of a run. `weights` is a file with the network's weights, instead of the file that the run used;
    /// its bytes must be the same.
    pub fn of_run(dir: &RunDir, weights: Option<&Path>, device: &Device) -> Result<Self, PredictorError> {
        saved::open(dir, weights, device)
    }

    /// A network with the classifier that it was trained with; its features are the class scores. The classes are
    /// `names`, else [`imagenet::classes`] if their number fits, else numbers. If `featurize export` noted a
    /// temperature in an ONNX file, it is applied.
    pub fn of_network(
        backbone: &NetworkPlan,
        names: Option<Vec<String>>,
        device: &Device,
    ) -> Result<Self, PredictorError> {
        let extractor = Extractor::open(backbone, device)?;
        let known: Vec<String> = imagenet::classes().iter().map(|class| class.label.to_string()).collect();
        // a file of weights does not name its classes
        let own = || (0..extractor.width()).map(|i| format!("class {i}")).collect();
        let classes = match names {
            Some(names) if names.len() != extractor.width() => {
                return Err(PredictorError::Classes { named: names.len(), classes: extractor.width() });
            }
            Some(names) => names,
            None if known.len() == extractor.width() => known,
            None => own(),
        };
        let temperature: Option<Temperature> = match backbone.weights.onnx() {
            Ok(file) => file.note(onnx::notes::TEMPERATURE)?,
            Err(_) => None,
        };
        if let Some(unsound) = temperature.filter(|temperature| !temperature.is_sound()) {
            let (place, key) = (backbone.weights.describe(), onnx::notes::TEMPERATURE);
            let reason = format!("its note `{key}` is {}; a positive number was expected", unsound.value());
            return Err(WeightError::Format { place, reason }.into());
        }
        let head = Head::Softmax(temperature);
        Ok(Self { extractor, way: Way::on(device), head, classes, metadata: Vec::new() })
    }

    /// Runs the predictor in another way than its device needs.
    #[cfg(test)]
    pub(crate) fn by(self, way: Way) -> Self {
        Self { way, ..self }
    }

    /// The classes, in the order of the probabilities.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The key of the network's weights in their file.
    pub fn taken(&self) -> &CheckpointKey {
        self.extractor.taken()
    }

    /// The metadata for tables of its predictions, as in the run's own tables.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// Decodes a whole picture for display.
    pub fn picture(&self, named: &NamedFile, memory: &DecodeMemory) -> Result<Shown, Failure> {
        self.shown(|most| open_named(named, most, &Arc::default()), memory)
    }

    /// Decodes a whole picture that `open` opens.
    pub fn shown<'a>(
        &self,
        open: impl FnOnce(u64) -> Result<Opened<'a>, Failure>,
        memory: &DecodeMemory,
    ) -> Result<Shown, Failure> {
        picture(open, &self.extractor, memory)
    }

    /// The features of one picture.
    pub fn features(&self, picture: &RgbImage) -> Result<Vec<f32>, ExecError> {
        self.extractor.features(picture)
    }

    /// The probability of every class for one picture.
    pub fn of_picture(&self, picture: &RgbImage) -> Result<Vec<f32>, PredictorError> {
        let predicted = self.of_features(self.features(picture)?);
        predicted.map(|one| one.probabilities).map_err(|failure| PredictorError::Classifier(failure.reason))
    }

    /// The prediction for the features of one picture.
    pub fn of_features(&self, features: Vec<f32>) -> Result<Predicted, Failure> {
        let temperature = match &self.head {
            Head::Fitted(fitted) => return fitted.predict(features),
            Head::Softmax(temperature) => temperature,
        };
        let mut row = FeatureMatrix::with_cols(features.len());
        row.push_row(&softmax(&features));
        temperature.iter().for_each(|temperature| temperature.apply(&mut row));
        Ok(Predicted { probabilities: row.as_slice().to_vec(), distance: None })
    }

    /// The rule by which pictures count as known: at most a share `rate` of the pictures of known classes is refused,
    /// and the predicted class has at least the probability `confidence`. By default the rate is 0.01 if the run has
    /// distances.
    pub fn acceptance(&self, rate: Option<f64>, confidence: Option<f32>) -> Result<Acceptance, PredictorError> {
        match &self.head {
            Head::Fitted(fitted) => fitted.acceptance(rate, confidence),
            Head::Softmax(_) => Ok(Acceptance { distance: None, confidence }),
        }
    }

    /// Predicts the pictures of `stream`. Calls `see` with the number and the probabilities of each, on any thread, and
    /// `take` with the results until it fails.
    pub fn predict<T: Send, E: From<StreamError>>(
        &self,
        stream: &Stream,
        memory: &DecodeMemory,
        see: impl Fn(usize, &[f32]) -> T + Sync,
        mut take: impl FnMut(usize, Result<(Predicted, T), Failure>) -> Result<(), E>,
    ) -> Result<(), E> {
        let finish = |number, features| {
            let predicted = self.of_features(features)?;
            let seen = see(number, &predicted.probabilities);
            Ok((predicted, seen))
        };
        let through = Through { extractor: &self.extractor, way: self.way, memory, strict: false };
        let take = |Done { number, result, .. }: Done<(), _>| take(number, result.map(|Made { value, .. }| value));
        stream.features(through, |_| (), finish, take).1
    }
}

/// The `k` most probable classes with their probabilities; of equal ones, the lowest number first.
pub fn top(probabilities: &[f32], k: usize) -> Vec<(usize, f32)> {
    let mut ranked: Vec<(usize, f32)> = probabilities.iter().copied().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1)); // stable
    ranked.truncate(k);
    ranked
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| (power / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_probable_come_first_and_equals_by_their_place() {
        assert_eq!(top(&[0.1, 0.4, 0.1, 0.4], 3), [(1, 0.4), (3, 0.4), (0, 0.1)]);
        assert_eq!(top(&[0.25, 0.75], 9), [(1, 0.75), (0, 0.25)]);
    }

    #[test]
    fn softmax_bears_large_logits() {
        let p = softmax(&[1000.0, 1000.0 + 3f32.ln(), -1000.0]);
        assert!((p[0] - 0.25).abs() < 1e-4 && (p[1] - 0.75).abs() < 1e-4 && p[2] == 0.0, "{p:?}");
    }

    #[test]
    fn a_run_of_a_gpu_asks_for_one() {
        let folder = tempfile::tempdir().expect("folder");
        let dir = RunDir::new(folder.path());
        assert!(device(&dir, None).expect("the CPU").is_cpu());
        std::fs::create_dir_all(dir.record(StageId::Extract).parent().expect("a folder")).expect("folder");
        for (noted, is_cpu) in [("cpu", true), ("cuda:1", cfg!(feature = "cuda")), ("metal", cfg!(feature = "metal"))] {
            let record = Record {
                stage: "extract".into(),
                fingerprint: String::new(),
                settings: serde_json::Value::Null,
                files: Vec::new(),
                result: serde_json::json!({"device": noted}),
                seconds: 0.0,
                peak_memory_mb: None,
            };
            record.write(&dir, StageId::Extract).expect("written");
            assert!(device(&dir, Some(config::Device::Cpu)).is_ok(), "{noted}");
            let found = device(&dir, None);
            if !is_cpu {
                let error = found.expect_err("no such device").to_string();
                assert!(error.contains("--device cpu") && error.contains(&noted[..4]), "{error}");
            }
        }
    }
}
