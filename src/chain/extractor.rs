//! A picture in, features out: decoded, prepared by the recipe, sent through the network, pooled. What `extract` does, for any file.

use std::fmt;
use std::path::Path;

use super::ChainError;
use crate::config::Features;
use crate::exec::{self, Device, Network, Session};
use crate::image::{self, DecodeOptions, Recipe};
use crate::models::{BuildOptions, ModelSpec, Shape};
use crate::stages::extract::UNREADABLE;
use crate::weights::Source;

/// One layer of a network as a function of pictures, on the CPU; shared by all threads, each with a [`Worker`] of its own.
#[derive(Debug)]
pub struct Extractor {
    recipe: Recipe,
    network: Network,
    features: Features,
    /// What the layer gives.
    tap: Shape,
    /// What is kept of it.
    shape: Shape,
}

/// Why a picture has no features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The word that `manifest.parquet` has for it: `truncated`, `not_an_image`, `unreadable`, …
    pub kind: &'static str,
    pub reason: String,
}

impl Failure {
    pub(super) fn unreadable(reason: impl fmt::Display) -> Self {
        Self { kind: UNREADABLE, reason: reason.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.reason)
    }
}

impl Extractor {
    /// The layer called `layer` of `model` with `weights`, its output pooled as `features` says, pictures prepared by `recipe`.
    pub fn new(
        model: &'static ModelSpec,
        weights: &Source,
        recipe: &Recipe,
        layer: &str,
        features: Features,
    ) -> Result<Self, ChainError> {
        recipe.check()?;
        let spec = match weights {
            Source::Bundled(spec) => Some(*spec),
            Source::File(_) | Source::Random(_) => model.weights.first(),
        };
        let classes = spec.map_or(0, |spec| spec.classes);
        let graph = (model.build)(&BuildOptions { channels: 3, size: recipe.size, classes })?;
        let missing = || ChainError::NoLayer { model: model.title, layer: layer.to_string() };
        let tap = graph.find(layer).ok_or_else(missing)?;
        // the classifier on top may be missing from a file, unless it is what is asked for
        let optional = if layer == model.logits_layer { "" } else { model.logits_layer };
        let program = exec::lower::lower(&graph, &weights.load(&graph, optional)?, &[tap])?;
        let network = Network::new(program, &Device::cpu())?;
        let tap = graph.layer(tap).shape;
        Ok(Self { recipe: recipe.clone(), network, features, tap, shape: exec::feature_shape(features, tap) })
    }

    /// Shape of the features of one picture.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Buffers for one thread.
    pub fn worker(&self) -> Worker<'_> {
        Worker { extractor: self, session: self.network.session(), input: vec![0.0; self.recipe.input_len()] }
    }
}

/// One thread's way through an [`Extractor`].
#[derive(Debug)]
pub struct Worker<'a> {
    extractor: &'a Extractor,
    session: Session,
    input: Vec<f32>,
}

impl Worker<'_> {
    /// Features of the picture in the file `path`.
    pub fn extract_file(&mut self, path: &Path) -> Result<Vec<f32>, Failure> {
        let bytes = std::fs::read(path).map_err(|error| Failure::unreadable(format!("cannot be read: {error}")))?;
        self.extract(&bytes)
    }

    /// Features of the picture in `bytes`, whatever its format: the values of [`Extractor::shape`], row-major.
    pub fn extract(&mut self, bytes: &[u8]) -> Result<Vec<f32>, Failure> {
        let Extractor { recipe, network, features, tap, shape } = self.extractor;
        let image = image::decode(bytes, &DecodeOptions::default())
            .map_err(|error| Failure { kind: error.kind.as_str(), reason: error.detail })?;
        recipe.apply(&image, network.layout(), &mut self.input);
        let taps = network
            .forward(&mut self.session, &self.input, 1)
            .map_err(|error| Failure { kind: "network", reason: error.to_string() })?;
        let mut out = vec![0.0; shape.len()];
        exec::pool(*features, *tap, taps.first().map_or(&[], Vec::as_slice), &mut out);
        Ok(out)
    }
}
