//! Trained weights: where they are, how they are read, and whether they are the ones that a network needs.
//!
//! Every reader gives lazy [`Tensor`]s by name; [`WeightFile`] tells the formats apart and finds out whose network a file belongs to.

mod file;
mod keras;
mod pth;
mod random;
pub mod store;
mod tensor;
mod tensors;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use thiserror::Error;

pub use file::{WeightFile, sha256};
pub use tensor::Tensor;

use crate::models::graph::{Graph, LayerId, Parameter};
use crate::models::{Source, WeightsSpec};

/// The weights inside the binary: EfficientNet-Lite0, half precision, timm's names (see `data/weights/NOTICE`).
#[cfg(feature = "bundled")]
const BUNDLED: Option<&[u8]> = Some(include_bytes!("../../data/weights/efficientnet_lite0.f16.safetensors"));
#[cfg(not(feature = "bundled"))]
const BUNDLED: Option<&[u8]> = None;

/// Where weights come from, once decided.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Inside the binary.
    Bundled(&'static WeightsSpec),
    /// A file in any format that [`WeightFile`] opens.
    File(Arc<LazyFile>),
    /// He-initialised from a seed: for benchmarks, tests and as a baseline.
    Random(u64),
}

/// A file of weights that is opened, and hashed, when it is first asked for and then no more.
#[derive(Debug)]
pub struct LazyFile {
    path: PathBuf,
    sha256: OnceLock<String>,
    opened: OnceLock<WeightFile>,
}

impl LazyFile {
    /// Opens it.
    pub fn open(&self) -> Result<&WeightFile, WeightError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = WeightFile::open(&self.path)?;
        Ok(self.opened.get_or_init(|| opened))
    }

    fn sha256(&self) -> Result<&str, WeightError> {
        if let Some(known) = self.sha256.get() {
            return Ok(known);
        }
        let found = sha256(&self.path)?;
        Ok(self.sha256.get_or_init(|| found))
    }
}

/// Weights cannot be had, or are not those of the network.
#[derive(Debug, Error)]
pub enum WeightError {
    #[error(
        "this featurize was built without its bundled weights (cargo feature `bundled`); give `extract.weights` a file"
    )]
    NotBundled,
    #[error("cannot read the weights {path}: {error}")]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{place} is not a sound weight file: {reason}")]
    Format { place: String, reason: String },
    #[error("tensor `{name}` is of type {dtype}; f16, bf16, f32 and f64 can be read")]
    Dtype { name: String, dtype: String },
    #[error("the weights have no tensor `{0}`")]
    Missing(String),
    #[error("tensor `{name}` is {found:?}, the network needs {expected:?}")]
    Shape { name: String, found: Vec<usize>, expected: Vec<usize> },
    #[error("{place} does not hold the weights of this network:{list}")]
    Mismatch { place: String, list: String },
}

/// Tensors by name, in PyTorch's layout.
#[derive(Clone, Debug, Default)]
pub struct WeightSet {
    tensors: BTreeMap<String, Tensor>,
}

impl From<BTreeMap<String, Tensor>> for WeightSet {
    fn from(tensors: BTreeMap<String, Tensor>) -> Self {
        Self { tensors }
    }
}

impl WeightSet {
    /// Reads the values of a parameter, when the set has it in the right shape.
    pub fn get(&self, parameter: &Parameter) -> Result<Vec<f32>, WeightError> {
        let name = &parameter.name;
        let tensor = self.tensors.get(name).ok_or_else(|| WeightError::Missing(name.clone()))?;
        let (found, expected) = (tensor.shape().to_vec(), parameter.shape.clone());
        if found != expected {
            return Err(WeightError::Shape { name: name.clone(), found, expected });
        }
        tensor.values()
    }

    /// Strict: every tensor that `taps` need is here in its shape, and nothing is here that the network has not. What lies above the taps and
    /// above the last feature map may be left out, as files without the classifier on top do.
    pub fn check(&self, graph: &Graph, taps: &[LayerId], place: &str) -> Result<(), WeightError> {
        let list = self.faults(graph, taps);
        if list.is_empty() {
            return Ok(());
        }
        let list = list.iter().map(|line| format!("\n  {line}")).collect();
        Err(WeightError::Mismatch { place: place.to_string(), list })
    }

    /// For a network of grey pictures: a convolution over red, green and blue becomes one over grey by the sum of its three weights, as timm does it.
    fn for_channels(mut self, graph: &Graph) -> Self {
        for parameter in graph.parameters() {
            let Some(tensor) = self.tensors.get(&parameter.name) else { continue };
            let (&[out, 3, kh, kw], [_, 1, _, _]) = (tensor.shape(), parameter.shape.as_slice()) else { continue };
            let summed = tensor.map(vec![out, 1, kh, kw], move |values| {
                let filters = values.chunks_exact(3 * kh * kw);
                filters.flat_map(|f| (0..kh * kw).map(|i| f[i] + f[i + kh * kw] + f[i + 2 * kh * kw])).collect()
            });
            self.tensors.insert(parameter.name, summed);
        }
        self
    }

    /// What is missing, misshapen or unexpected, a line each.
    fn faults(&self, graph: &Graph, taps: &[LayerId]) -> Vec<String> {
        let needed: Vec<LayerId> = taps.iter().copied().chain([graph.features()]).collect();
        let needed = graph.needed_for(&needed);
        let mut list = Vec::new();
        let mut known = BTreeSet::new();
        for (layer, needed) in graph.layers().iter().zip(needed) {
            for parameter in graph.parameters_of(layer) {
                match self.tensors.get(&parameter.name) {
                    None if needed => list.push(format!("missing `{}` {:?}", parameter.name, parameter.shape)),
                    Some(tensor) if tensor.shape() != parameter.shape => {
                        let (name, found) = (&parameter.name, tensor.shape());
                        list.push(format!("`{name}` is {found:?}, expected {:?}", parameter.shape))
                    }
                    _ => {}
                }
                known.insert(parameter.name);
            }
        }
        // PyTorch counts the batches that trained a batch norm; inference has no use for it, nor for auxiliary heads
        let dropped = |name: &str| {
            name.ends_with("num_batches_tracked") || graph.dropped().iter().any(|prefix| name.starts_with(prefix))
        };
        let unexpected = self.tensors.iter().filter(|(name, _)| !known.contains(*name) && !dropped(name));
        list.extend(unexpected.map(|(name, tensor)| format!("unexpected `{name}` {:?}", tensor.shape())));
        list
    }
}

impl Origin {
    /// The file, where they lie in one.
    pub fn path(&self) -> Option<&Path> {
        if let Self::File(file) = self { Some(&file.path) } else { None }
    }

    /// The file `path`, and its SHA-256 where that is known already.
    pub fn file(path: impl Into<PathBuf>, sha256: Option<String>) -> Self {
        let known = OnceLock::new();
        if let Some(sha256) = sha256 {
            known.get_or_init(|| sha256);
        }
        Self::File(Arc::new(LazyFile { path: path.into(), sha256: known, opened: OnceLock::new() }))
    }

    /// What is written into tables and messages.
    pub fn describe(&self) -> String {
        match self {
            Origin::Bundled(spec) => spec.name.to_string(),
            Origin::File(file) => file.path.display().to_string(),
            Origin::Random(seed) => format!("random (seed {seed})"),
        }
    }

    /// What the features depend on: the hash of the file, or the seed.
    pub fn fingerprint(&self) -> Result<String, WeightError> {
        match self {
            Origin::Bundled(spec) => Ok(spec.sha256.unwrap_or(spec.name).to_string()),
            Origin::File(file) => file.sha256().map(String::from),
            Origin::Random(seed) => Ok(format!("random-{seed}")),
        }
    }

    /// Opens the tensors and checks their names and shapes against the network and what is asked of it.
    pub fn load(&self, graph: &Graph, source: Source, taps: &[LayerId]) -> Result<WeightSet, WeightError> {
        let set = match self {
            Origin::Bundled(spec) => {
                let bytes = BUNDLED.ok_or(WeightError::NotBundled)?;
                tensors::read_bytes(bytes, spec.about)?.into()
            }
            Origin::File(file) => file.open()?.of_network(graph, source)?.for_channels(graph),
            Origin::Random(seed) => random::he(graph, *seed),
        };
        set.check(graph, taps, &self.describe())?;
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{BuildOptions, find};
    #[cfg(feature = "bundled")]
    use sha2::{Digest, Sha256};

    fn lite0() -> Graph {
        let spec = find("efficientnet_lite0").expect("registered");
        let options = BuildOptions { channels: 3, size: [64, 64], classes: 1000, source: Source::Timm };
        (spec.build)(&options).expect("built")
    }

    #[test]
    fn everything_wrong_is_listed_at_once() {
        let graph = lite0();
        let mut set = random::he(&graph, 0);
        set.tensors.remove("bn1.weight");
        set.tensors.insert("extra".into(), Tensor::ready(vec![1], vec![0.0]));
        set.tensors.insert("bn1.num_batches_tracked".into(), Tensor::ready(vec![], vec![7.0]));
        set.tensors.insert("bn1.bias".into(), Tensor::ready(vec![2], vec![0.0; 2]));
        set.tensors.remove("classifier.bias");
        let text = set.check(&graph, &[], "w.safetensors").expect_err("wrong").to_string();
        assert_eq!(
            text,
            "w.safetensors does not hold the weights of this network:\n  missing `bn1.weight` [32]\n  `bn1.bias` is [2], expected \
             [32]\n  unexpected `extra` [1]"
        );
        // the classifier may be left out, unless somebody asks for it
        let text = set.check(&graph, &[graph.logits()], "w").expect_err("wrong").to_string();
        assert!(text.contains("missing `classifier.bias` [1000]"), "{text}");
    }

    #[cfg(feature = "bundled")]
    #[test]
    fn the_bundled_file_is_the_one_that_the_registry_names() {
        let spec = find("efficientnet_lite0").and_then(|spec| spec.weights("bundled")).expect("registered");
        let bytes = BUNDLED.expect("built with the feature");
        let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(Some(hash.as_str()), spec.sha256);
        let graph = lite0();
        Origin::Bundled(spec).load(&graph, spec.source, &[graph.logits()]).expect("strictly the network's tensors");
    }
}
