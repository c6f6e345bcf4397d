//! Trained weights: where they are, how they are read, and whether they are the ones that a network needs.

mod random;
mod tensors;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::models::WeightsSpec;
use crate::models::graph::{Graph, Parameter};

/// The weights inside the binary: EfficientNet-Lite0, half precision, timm's names (see `data/weights/NOTICE`).
#[cfg(feature = "bundled")]
const BUNDLED: Option<&[u8]> = Some(include_bytes!("../../data/weights/efficientnet_lite0.f16.safetensors"));
#[cfg(not(feature = "bundled"))]
const BUNDLED: Option<&[u8]> = None;

/// Where weights come from, once decided.
#[derive(Clone, Debug)]
pub enum Source {
    /// Inside the binary.
    Bundled(&'static WeightsSpec),
    /// A safetensors file.
    File(PathBuf),
    /// He-initialised from a seed: for benchmarks, tests and as a baseline.
    Random(u64),
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
    #[error("{place} is not a sound safetensors file: {reason}")]
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

/// A tensor read from a file: its shape and its values in f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Tensors by name, in PyTorch's layout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WeightSet {
    tensors: BTreeMap<String, Tensor>,
}

impl WeightSet {
    /// The values of a parameter, when the set has it in the right shape.
    pub fn get(&self, parameter: &Parameter) -> Result<&[f32], WeightError> {
        let name = &parameter.name;
        let tensor = self.tensors.get(name).ok_or_else(|| WeightError::Missing(name.clone()))?;
        if tensor.shape != parameter.shape {
            let (found, expected) = (tensor.shape.clone(), parameter.shape.clone());
            return Err(WeightError::Shape { name: name.clone(), found, expected });
        }
        Ok(&tensor.values)
    }

    /// Strict: every tensor of the network is here in its shape and nothing else is. `optional` names the tensors of the classifier on top,
    /// which a file may leave out.
    pub fn check(&self, graph: &Graph, optional: &str, place: &str) -> Result<(), WeightError> {
        let parameters = graph.parameters();
        let known: BTreeSet<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        let mut list = Vec::new();
        for parameter in &parameters {
            match self.tensors.get(&parameter.name) {
                None if parameter.name.starts_with(&format!("{optional}.")) => {}
                None => list.push(format!("missing `{}` {:?}", parameter.name, parameter.shape)),
                Some(tensor) if tensor.shape != parameter.shape => {
                    list.push(format!("`{}` is {:?}, expected {:?}", parameter.name, tensor.shape, parameter.shape))
                }
                Some(_) => {}
            }
        }
        // PyTorch counts the batches that trained a batch norm; inference has no use for it
        let unexpected = self
            .tensors
            .iter()
            .filter(|(name, _)| !known.contains(name.as_str()) && !name.ends_with("num_batches_tracked"));
        list.extend(unexpected.map(|(name, tensor)| format!("unexpected `{name}` {:?}", tensor.shape)));
        if list.is_empty() {
            return Ok(());
        }
        let list = list.iter().map(|line| format!("\n  {line}")).collect();
        Err(WeightError::Mismatch { place: place.to_string(), list })
    }
}

impl Source {
    /// What is written into tables and messages.
    pub fn describe(&self) -> String {
        match self {
            Source::Bundled(spec) => spec.name.to_string(),
            Source::File(path) => path.display().to_string(),
            Source::Random(seed) => format!("random (seed {seed})"),
        }
    }

    /// What the features depend on: the hash of the file, or the seed.
    pub fn fingerprint(&self) -> Result<String, WeightError> {
        match self {
            Source::Bundled(spec) => Ok(spec.sha256.to_string()),
            Source::File(path) => sha256(path),
            Source::Random(seed) => Ok(format!("random-{seed}")),
        }
    }

    /// Reads the tensors and checks them against the network.
    pub fn load(&self, graph: &Graph, top: &str) -> Result<WeightSet, WeightError> {
        let set = match self {
            Source::Bundled(spec) => {
                let bytes = BUNDLED.ok_or(WeightError::NotBundled)?;
                tensors::read(bytes, spec.source)?
            }
            Source::File(path) => {
                let bytes = read(path)?;
                tensors::read(&bytes, &path.display().to_string())?
            }
            Source::Random(seed) => random::he(graph, *seed),
        };
        set.check(graph, top, &self.describe())?;
        Ok(set)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, WeightError> {
    std::fs::read(path).map_err(|error| WeightError::Read { path: path.to_path_buf(), error })
}

fn sha256(path: &Path) -> Result<String, WeightError> {
    let wrong = |error| WeightError::Read { path: path.to_path_buf(), error };
    let mut file = std::fs::File::open(path).map_err(wrong)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(wrong)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{BuildOptions, find};

    fn lite0() -> Graph {
        let spec = find("efficientnet_lite0").expect("registered");
        (spec.build)(&BuildOptions { channels: 3, size: [64, 64], classes: 1000 }).expect("built")
    }

    #[test]
    fn everything_wrong_is_listed_at_once() {
        let graph = lite0();
        let mut set = random::he(&graph, 0);
        set.tensors.remove("bn1.weight");
        set.tensors.insert("extra".into(), Tensor { shape: vec![1], values: vec![0.0] });
        set.tensors.insert("bn1.num_batches_tracked".into(), Tensor { shape: vec![], values: vec![7.0] });
        set.tensors.insert("bn1.bias".into(), Tensor { shape: vec![2], values: vec![0.0; 2] });
        set.tensors.remove("classifier.bias");
        let text = set.check(&graph, "classifier", "w.safetensors").expect_err("wrong").to_string();
        assert_eq!(
            text,
            "w.safetensors does not hold the weights of this network:\n  missing `bn1.weight` [32]\n  `bn1.bias` is [2], expected \
             [32]\n  unexpected `extra` [1]"
        );
    }

    #[cfg(feature = "bundled")]
    #[test]
    fn the_bundled_file_is_the_one_that_the_registry_names() {
        let spec = find("efficientnet_lite0").and_then(|spec| spec.weights("bundled")).expect("registered");
        let bytes = BUNDLED.expect("built with the feature");
        let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, spec.sha256);
        Source::Bundled(spec).load(&lite0(), "classifier").expect("strictly the tensors of the network");
    }
}
