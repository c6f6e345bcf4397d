//! What the registry knows of a model and of a set of weights. The recipe belongs to the weights, not to the architecture.

use super::graph::{Graph, GraphError};
use crate::image::Recipe;

/// What a network is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildOptions {
    /// Channels of the picture.
    pub channels: usize,
    /// Height and width of the network's input, in pixels.
    pub size: [usize; 2],
    /// Outputs of the classifier on top.
    pub classes: usize,
}

/// An architecture.
#[derive(Debug)]
pub struct ModelSpec {
    /// The word in the YAML.
    pub name: &'static str,
    /// As its paper writes it.
    pub title: &'static str,
    /// Builds the network with its classifier on top.
    pub build: fn(&BuildOptions) -> Result<Graph, GraphError>,
    /// The last feature map: what Keras gives for `include_top=False`.
    pub feature_layer: &'static str,
    /// The layer whose outputs are the class scores before softmax.
    pub logits_layer: &'static str,
    /// Known weights, the default first.
    pub weights: &'static [WeightsSpec],
}

/// A set of trained weights.
#[derive(Debug)]
pub struct WeightsSpec {
    /// The word in the YAML.
    pub name: &'static str,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: &'static str,
    /// How pictures were prepared when these weights were trained and measured.
    pub recipe: Recipe,
    /// Classes of the classifier on top.
    pub classes: usize,
    /// SPDX identifier.
    pub licence: &'static str,
    /// Where they come from.
    pub source: &'static str,
}

impl ModelSpec {
    /// The weights called `name`.
    pub fn weights(&self, name: &str) -> Option<&'static WeightsSpec> {
        self.weights.iter().find(|weights| weights.name == name)
    }
}
