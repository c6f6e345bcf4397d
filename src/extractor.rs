//! A picture in, features out: decoded, prepared by the recipe, sent through the network, pooled. The only way that a picture goes, in
//! `extract` as in `predict` and `classify`.

pub(crate) mod contents;

use std::fmt;
use std::path::Path;

use crate::backbone::{Backbone, Tap};
use crate::config::Features;
use crate::exec::{self, Device, ExecError, Network, Session};
use crate::image::{self, DecodeOptions, Decoded, Recipe, RgbImage};

/// The kind of a file that cannot be opened.
pub const UNREADABLE: &str = "unreadable";

/// The layers of a network as a function of pictures; shared by all threads.
#[derive(Debug)]
pub struct Extractor {
    decoding: DecodeOptions,
    recipe: Recipe,
    network: Network,
    features: Features,
    taps: Vec<Tap>,
    width: usize,
}

/// Why a picture has no features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The word that `manifest.parquet` has for it: `truncated`, `not_an_image`, `unreadable`, …
    pub kind: &'static str,
    pub reason: String,
}

impl Failure {
    /// A file that cannot be opened or read.
    pub fn unreadable(reason: impl fmt::Display) -> Self {
        Self { kind: UNREADABLE, reason: reason.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.reason)
    }
}

impl Extractor {
    /// Reads the weights of `backbone` and puts them on `device`.
    pub fn open(backbone: &Backbone, device: &Device) -> Result<Self, ExecError> {
        let layers = backbone.layer_ids();
        let weights = backbone.weights.load(&backbone.graph, backbone.source, &layers)?;
        let program = exec::lower::lower(&backbone.graph, &weights, &layers)?;
        drop(weights);
        Ok(Self {
            decoding: backbone.decoding.clone(),
            recipe: backbone.recipe.clone(),
            network: Network::new(program, device)?,
            features: backbone.features,
            taps: backbone.taps.clone(),
            width: backbone.width(),
        })
    }

    /// Number of features of one picture.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of values that the network takes for one picture.
    pub fn input_len(&self) -> usize {
        self.recipe.input_len()
    }

    /// Pictures that a thread had better take through the network together.
    pub fn micro_batch(&self) -> usize {
        self.network.micro_batch()
    }

    /// Buffers for one thread.
    pub fn session(&self) -> Session {
        self.network.session()
    }

    /// The picture in `bytes`, whatever its format.
    pub fn decode(&self, bytes: &[u8]) -> Result<Decoded, Failure> {
        image::decode_for(&self.recipe, bytes, &self.decoding)
            .map_err(|error| Failure { kind: error.kind.as_str(), reason: error.detail })
    }

    /// The contents of a file that was `seen` to have so many bytes.
    pub fn read(&self, path: &Path, seen: u64) -> Result<Vec<u8>, Failure> {
        contents::read(path, Some(seen), &self.decoding)
    }

    /// Writes the network's input for a picture: [`input_len`](Self::input_len) values.
    pub fn prepare(&self, image: &RgbImage, input: &mut [f32]) {
        self.recipe.apply(image, self.network.layout(), input);
    }

    /// Features of `n` prepared pictures, each of [`width`](Self::width) values: layer after layer, maps as (h, w, c). On the CPU a picture's
    /// bits do not depend on its neighbours.
    pub fn forward(&self, session: &mut Session, input: &[f32], n: usize) -> Result<Vec<Vec<f32>>, ExecError> {
        let taps = self.network.forward(session, input, n)?;
        let mut all = vec![vec![0.0; self.width]; n];
        let mut at = 0;
        for (tap, values) in self.taps.iter().zip(&taps) {
            let end = at + tap.shape.len();
            for (row, values) in all.iter_mut().zip(values.chunks_exact(tap.map.len().max(1))) {
                exec::pool(self.features, tap.map, values, &mut row[at..end]);
            }
            at = end;
        }
        Ok(all)
    }

    /// Features of the picture in the file `path`, one by itself.
    pub fn extract_file(&self, session: &mut Session, path: &Path) -> Result<Vec<f32>, Failure> {
        let bytes = contents::read(path, None, &self.decoding)?;
        let mut input = vec![0.0; self.input_len()];
        self.prepare(&self.decode(&bytes)?.image, &mut input);
        let failed = |reason: String| Failure { kind: "network", reason };
        let features = self.forward(session, &input, 1).map_err(|error| failed(error.to_string()))?;
        features.into_iter().next().ok_or_else(|| failed("it gave no features".to_string()))
    }
}
