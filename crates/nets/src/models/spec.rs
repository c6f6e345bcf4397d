//! The rows of the registry: models and sets of weights. The recipe belongs to the weights and not to the architecture,
//! and so do the numerics: a network is built like that of the library whose weights it gets.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::graph::{Graph, GraphError};
use crate::image::Recipe;

/// The library after which a network is built: names of layers and tensors, strides, paddings, biases, batch-norm
/// epsilon are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Keras,
    Torchvision,
    Timm,
    /// The files of CLIP's authors.
    Openai,
    /// The files of DINOv2's authors.
    Facebook,
}

impl Source {
    pub const ALL: [Self; 5] = [Self::Keras, Self::Torchvision, Self::Timm, Self::Openai, Self::Facebook];

    /// The word in the YAML.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Keras => "keras",
            Self::Torchvision => "torchvision",
            Self::Timm => "timm",
            Self::Openai => "openai",
            Self::Facebook => "facebook",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The input, the classes and the library that a network is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildOptions {
    /// Channels of the picture.
    pub channels: usize,
    /// Height and width of the network's input, in pixels.
    pub size: [usize; 2],
    /// Outputs of the classifier on top.
    pub classes: usize,
    /// The library whose network is built.
    pub source: Source,
}

impl BuildOptions {
    /// The options for colour pictures and the weights of `row`.
    pub fn of(row: &WeightsSpec) -> Self {
        Self { channels: 3, size: row.recipe.size, classes: row.classes, source: row.source }
    }
}

/// An architecture.
#[derive(Debug)]
pub struct ModelSpec {
    /// The word in the YAML.
    pub name: &'static str,
    /// The name in its paper.
    pub title: &'static str,
    /// Builds the network with its classifier on top, for the sources of `weights`.
    pub(crate) build: fn(&BuildOptions) -> Result<Graph, GraphError>,
    /// Known weights, the default first; those of one library are adjacent, the library's default first.
    pub weights: &'static [WeightsSpec],
}

/// A set of trained weights.
#[derive(Debug)]
pub struct WeightsSpec {
    /// The name in the YAML: `bundled`, `keras`, or the library and its own name of the weights: `timm:a1_in1k`.
    pub name: &'static str,
    /// The library whose network they belong to.
    pub source: Source,
    /// The files that hold them, the one with the classifier on top first; none where they are inside the binary.
    pub files: &'static [FileSpec],
    /// SHA-256 in hexadecimal of the file inside the binary.
    pub sha256: Option<&'static str>,
    /// How pictures were prepared when these weights were trained and measured.
    pub recipe: Recipe,
    /// Classes of the classifier on top.
    pub classes: usize,
    /// ImageNet top-1 accuracy in per cent that the source publishes for this recipe.
    pub top1: Option<f64>,
    /// SPDX identifier, or the name in the source.
    pub licence: &'static str,
    /// The repository of Hugging Face's hub with the text tower that was trained together with this network: the cosine
    /// of a text's vector and a picture's features measures how well they match.
    pub text_tower: Option<&'static str>,
}

/// A published file of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// Its URL; if it ends in a slash, the page of the package that contains the file.
    pub url: &'static str,
    /// Its name in the source's own cache.
    pub name: &'static str,
    pub hash: Hash,
    /// False for a file without the classifier on top.
    pub top: bool,
}

impl FileSpec {
    /// Whether its name identifies it: on the hub every file is called `model.safetensors`.
    pub fn is_told_by_its_name(&self) -> bool {
        !self.url.contains("/resolve/")
    }
}

/// The published hash of a file, in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256, or its first digits (torch hub writes eight into the name).
    Sha256(&'static str),
    /// MD5 (older files of `keras.applications`).
    Md5(&'static str),
    /// No hash is published.
    Unknown,
}

impl ModelSpec {
    /// The network with its classifier on top; an error if the library does not have it.
    pub fn build(&self, options: &BuildOptions) -> Result<Graph, GraphError> {
        match self.weights(options.source.word()) {
            Some(_) => (self.build)(options),
            None => Err(GraphError::NoSource { source_word: options.source.word(), network: self.title }),
        }
    }

    /// The weights called `name`; the name of a library alone stands for its default.
    pub fn weights(&self, name: &str) -> Option<&'static WeightsSpec> {
        self.weights.iter().find(|weights| weights.name == name || weights.source.word() == name)
    }

    /// The default of each library.
    pub fn defaults(&self) -> impl Iterator<Item = &'static WeightsSpec> {
        let first = |row: &&WeightsSpec| self.weights(row.source.word()).is_some_and(|first| first.name == row.name);
        self.weights.iter().filter(first)
    }
}
