//! A picture in, the probability of every class out: what a run has learnt, or the classifier that a network was trained with.
//!
//! ```text
//! file ──> Extractor (decode ▸ recipe ▸ forward ▸ pool) ──> kept columns ──> scale, PCA ──> MLP      a run's folder: `predict`
//!                                                     └──> softmax                            a network's own: `classify`
//! ```
//!
//! Every step is the one that the stages take, and none of them looks at a picture's neighbours: a run's own pictures get the probabilities of
//! its `predictions.parquet`, bit for bit on the same kind of machine. Nothing is read but the folder `classifier/` and the weights, so a run
//! may be moved.

mod saved;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::backbone::{self, Backbone, BackboneError};
use crate::config::Precision;
use crate::exec::{Device, ExecError};
pub use crate::extractor::Failure;
use crate::extractor::{Extractor, Shown};
use crate::io::IoError;
use crate::learn::classifier::Classifier;
use crate::learn::dataset::Transformer;
use crate::learn::reduction::Reduction;
use crate::models::{ModelSpec, Source, imagenet};
use crate::stages::reduce::ReduceError;
use crate::stages::scan::NamedFile;
use crate::stages::train::TrainError;
use crate::store::RunDir;
use crate::table::{Dtype, FeatureMatrix};
use crate::weights::store::StoreError;
use crate::weights::{Origin, Taken, WeightError};
pub use saved::of_features;

/// The chain cannot be opened, or not every picture went through it.
#[derive(Debug, Error)]
pub enum ChainError {
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
    Backbone(#[from] BackboneError),
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
        "the classifier in {dir} was made by featurize {version} with {what}, which this version does not have; use that version, or run \
         the pipeline again"
    )]
    Unknown { dir: PathBuf, version: String, what: String },
    #[error(
        "the weights that the run used are missing: `{weights}` of featurize {version}, sha256 {sha256}, is neither in this program nor a \
         file here; give the file with `--weights FILE`, or run the pipeline again"
    )]
    MissingWeights { weights: String, version: String, sha256: String },
    #[error(
        "{path} is another version of the weights that the run used: its sha256 is {found}, the run's was {expected}; give the file that \
         was used with `--weights FILE`, or run the pipeline again"
    )]
    OtherWeights { path: PathBuf, found: String, expected: String },
    #[error(
        "no picture in {0}: give picture files, folders with pictures, or `-` and a list of paths on standard input"
    )]
    NoPictures(String),
    #[error("{failed} of {of} pictures could not be read")]
    Failed { failed: usize, of: usize },
}

impl ChainError {
    /// Says why `dir` is no run: it is not there, it is a file, or it lacks the file that is `wanted`.
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
pub struct Chain {
    extractor: Extractor,
    head: Head,
    classes: Vec<String>,
    /// What tables of its results tell of their making; none for a network's own classifier.
    metadata: Vec<(String, String)>,
}

/// What makes probabilities of features.
#[derive(Debug)]
enum Head {
    /// The features are the logits of the network's own classifier.
    Softmax,
    Fitted(Box<Fitted>),
}

/// What a run has fitted.
#[derive(Debug)]
struct Fitted {
    /// The features are rounded as those were that it was fitted on.
    dtype: Dtype,
    /// The columns that `select` kept, ascending.
    kept: Option<Vec<usize>>,
    reduction: Option<Reduction>,
    classifier: Classifier,
}

impl Chain {
    /// The chain that a run has saved; `weights` is a file to read the network's weights from, instead of where the run found them. Whatever
    /// the file, its bytes must be those that the run used.
    pub fn of_run(dir: &RunDir, weights: Option<&Path>) -> Result<Self, ChainError> {
        saved::open(dir, weights)
    }

    /// A network with the classifier that it was trained with: its classes are [`imagenet::classes`], or numbers where they are others. `source` is whose numerics and
    /// recipe go with the weights; none: the one that fits them.
    pub fn of_network(
        model: &'static ModelSpec,
        weights: Origin,
        source: Option<Source>,
        precision: Precision,
    ) -> Result<Self, ChainError> {
        let row = backbone::row(model, &weights, source)?;
        let backbone = Backbone::classifier(model, row, weights, row.recipe.clone())?.precision(precision);
        let extractor = Extractor::open(&backbone, &Device::cpu())?;
        let known: Vec<String> = imagenet::classes().iter().map(|class| class.label.to_string()).collect();
        // the names of other classes are not in a file of weights
        let own = || (0..extractor.width()).map(|i| format!("class {i}")).collect();
        let classes = if known.len() == extractor.width() { known } else { own() };
        Ok(Self { extractor, head: Head::Softmax, classes, metadata: Vec::new() })
    }

    /// The same, with so many bytes for all pictures that threads decode at a time.
    #[must_use]
    pub fn with_decode_memory(self, bytes: u64) -> Self {
        Self { extractor: self.extractor.with_decode_memory(bytes), ..self }
    }

    /// The classes, in the order of the probabilities.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Where in their file the network's weights lay.
    pub fn taken(&self) -> &Taken {
        self.extractor.taken()
    }

    /// The metadata of a table of its results, as the run's own tables have it.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// The whole picture in a file, to look at.
    pub fn picture(&self, path: &Path) -> Result<Shown, Failure> {
        self.extractor.picture(path)
    }

    /// Probability of every class for the features of one picture.
    pub fn probabilities(&self, features: Vec<f32>) -> Result<Vec<f32>, Failure> {
        match &self.head {
            Head::Softmax => Ok(softmax(&features)),
            Head::Fitted(fitted) => fitted.probabilities(features),
        }
    }

    /// Predicts every picture, a micro-batch a thread, lets `see` look at picture and probabilities on that thread, and hands the results over
    /// in the order of `pictures` until `take` breaks. Memory does not grow with the number of pictures.
    pub fn predict_all<'a, T: Send>(
        &self,
        pictures: &'a [NamedFile],
        threads: usize,
        see: impl Fn(&'a NamedFile, &[f32]) -> T + Sync,
        take: impl FnMut(&'a NamedFile, Result<(Vec<f32>, T), Failure>) -> ControlFlow<()>,
    ) -> Result<(), ChainError> {
        let finish = |picture, features| {
            let probabilities = self.probabilities(features)?;
            let seen = see(picture, &probabilities);
            Ok((probabilities, seen))
        };
        Ok(self.extractor.extract_all(pictures, threads, finish, take)?)
    }
}

impl Fitted {
    fn probabilities(&self, features: Vec<f32>) -> Result<Vec<f32>, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure { kind: "classifier", reason: error.to_string() };
        let mut row = FeatureMatrix::with_cols(features.len());
        row.push_row(&features);
        row.round_to(self.dtype);
        if let Some(kept) = self.kept.as_ref().filter(|kept| kept.len() < features.len()) {
            row = row.select_cols(kept);
        }
        if let Some(reduction) = &self.reduction {
            row = reduction.transform(&row).map_err(|error| failed(&error))?;
        }
        let probabilities = self.classifier.predict_proba(&row).map_err(|error| failed(&error))?;
        Ok(probabilities.as_slice().to_vec())
    }
}

/// The `k` most probable classes with their probabilities, the lowest of equals first.
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

    #[cfg(feature = "bundled")]
    #[test]
    fn results_come_in_order_whatever_the_threads_and_stop_when_asked() {
        let model = crate::models::find("efficientnet_lite0").expect("registered");
        let weights = Origin::Bundled(&model.weights[0]);
        let chain = Chain::of_network(model, weights, None, Precision::F32).expect("opened");
        let name = |i: usize| NamedFile { path: i.to_string(), location: Err(format!("reason {i}")) };
        let pictures: Vec<NamedFile> = (0..100).map(name).collect();
        for (threads, end) in [(1, 100), (7, 100), (3, 40), (1000, 1)] {
            let mut seen = Vec::new();
            let take = |picture: &NamedFile, result: Result<(Vec<f32>, ()), Failure>| {
                let reason = result.expect_err("there is no file").reason;
                assert_eq!(reason, format!("reason {}", picture.path));
                seen.push(picture.path.clone());
                if seen.len() == end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            chain.predict_all(&pictures, threads, |_, _| (), take).expect("no thread died");
            assert_eq!(seen, (0..end).map(|i| i.to_string()).collect::<Vec<_>>(), "{threads} threads");
        }
        chain.predict_all(&[], 4, |_, _| (), |_, _| ControlFlow::Continue(())).expect("nothing to do");
    }
}
