//! ONNX files: networks that bring their own graph.
//!
//! ```text
//! file ──> OnnxFile (file, proto, node) ──> Import (import, network) ──> Graph and WeightSet
//!          nodes in one list,               operators, layers, channels, arithmetic:
//!          constants by name                a node becomes a layer or a view; array, shape: or is computed at load
//! ```
//!
//! [`Writer`] makes files (`write`).
//!
//! The importer goes through the nodes that the asked layers need. Nodes over constants, with which exporters write the
//! arithmetic of sizes, are computed at once (`constants`, `array`, `computed`, `shape`). Reshapes and transposes move
//! no number and become no layer (`view`). Chains of elementwise nodes become the activation whose numbers they give
//! (`curve`). Products with a softmax between them become attention (`attention`, `scores`), as does the operator for
//! it (`fused`), constants before and upon the positions of a map tokens (`tokens`). Every other node is a layer of the
//! [`Graph`] under its own name. Nodes without a counterpart are an error that lists them.

mod arithmetic;
mod array;
mod attention;
mod channels;
mod computed;
mod constants;
mod curve;
mod file;
mod fused;
#[cfg(test)]
mod fuzz;
mod import;
mod layers;
mod network;
mod node;
mod operators;
mod proto;
mod scores;
mod shape;
#[cfg(test)]
mod tests;
mod tokens;
mod turn;
mod view;
mod window;
mod write;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use file::OnnxFile;
pub use import::{Asked, Picture};
pub use write::{Attribute, Element, WriteError, Writer};

use crate::models::{Graph, GraphError};
use crate::weights::{WeightError, WeightSet};

/// The prepared picture: the input of a file, or a value of one that prepares its pictures itself.
pub const INPUT: &str = "input";

/// Notes in the metadata of the files that `featurize export` writes.
pub mod notes {
    /// The name of the value whose numbers are the features.
    pub const FEATURES: &str = "featurize.value.features";
    /// The name of the value whose softmax is the probabilities, before their calibration.
    pub const SCORES: &str = "featurize.value.scores";
    /// The temperature of the calibration.
    pub const TEMPERATURE: &str = "featurize.temperature";
    /// The names of the classes, as a list in JSON.
    pub const CLASSES: &str = "featurize.classes";
    /// The recipe of the pictures, as JSON.
    pub const RECIPE: &str = "featurize.recipe";
    /// How files become pixels, as JSON.
    pub const IMAGE: &str = "featurize.image";
}

/// A network of an ONNX file.
#[derive(Debug)]
pub struct Import {
    /// As far as the asked layers need it. Its last feature map is the value that feeds the classifier; where there is
    /// no such value, or layers are asked for, it stands for the first of them.
    pub graph: Graph,
    pub weights: WeightSet,
}

/// An ONNX file is no network that can be run here.
#[derive(Debug, Error)]
pub enum OnnxError {
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("{path} holds what has no counterpart here:{list}")]
    Unsupported { path: PathBuf, list: String },
    #[error(
        "{path} classifies by the nearest pictures of its run, which no network does; `featurize predict` with the \
         run classifies, and `featurize embed` with this file gives its features"
    )]
    Neighbours { path: PathBuf },
    #[error("{path}: {reason}")]
    Input { path: PathBuf, reason: String },
    #[error("{0}")]
    NoLayer(String),
    #[error(
        "{path} does not end in a dense layer whose input could be the features; name a layer, `extract.layer` of the \
         YAML: its output is `{output}`"
    )]
    NoDefault { path: PathBuf, output: String },
}

/// Whether the file at `path` is called like an ONNX file.
pub fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
}
