//! Trained weights: finds them, reads them, and checks that they are those that a network needs.
//!
//! Every reader gives lazy [`Tensor`]s by name; [`WeightFile`] recognises the format of a file and the library of its
//! network.

mod choice;
mod clip_resnet;
mod efficientnet_pytorch;
mod file;
mod keras;
mod kinds;
mod mismatch;
pub(crate) mod positions;
mod pth;
mod random;
mod shards;
pub mod store;
mod tensor;
pub(crate) mod tensors;
mod towers;
mod wrapper;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use thiserror::Error;

pub use choice::Weights;
pub use file::{WeightFile, sha256};
pub use tensor::Tensor;
pub use wrapper::CheckpointKey;

use crate::exec::{Ranges, not_finite};
use crate::models::graph::{Graph, LayerId, Parameter, PositionResize};
use crate::models::{ModelSpec, Source, WeightsSpec};
use crate::onnx::{self, OnnxFile};

/// The weights inside the binary: EfficientNet-Lite0, half precision, timm's names (see `data/weights/NOTICE`).
#[cfg(feature = "bundled")]
const BUNDLED: Option<&[u8]> = Some(include_bytes!("../../../../data/weights/efficientnet_lite0.f16.safetensors"));
#[cfg(not(feature = "bundled"))]
const BUNDLED: Option<&[u8]> = None;

/// The ranges of the network whose weights are inside the binary, for int8 (see `data/weights/NOTICE`).
#[cfg(feature = "bundled")]
const BUNDLED_RANGES: Option<&[u8]> =
    Some(include_bytes!("../../../../data/weights/efficientnet_lite0.ranges.safetensors"));
#[cfg(not(feature = "bundled"))]
const BUNDLED_RANGES: Option<&[u8]> = None;

/// The ranges that ship with the weights inside the binary.
pub(crate) fn bundled_ranges() -> Option<Ranges> {
    BUNDLED_RANGES.and_then(|bytes| Ranges::from_bytes(bytes).ok())
}

/// The origin of weights.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Inside the binary.
    Bundled(&'static WeightsSpec),
    /// A file in any format that [`WeightFile`] opens.
    File(Arc<LazyFile>),
    /// He-initialised from a seed: for benchmarks, tests and as a baseline.
    Random(u64),
}

/// A file of weights that is opened and hashed on demand, each at most once.
#[derive(Debug)]
pub struct LazyFile {
    path: PathBuf,
    /// The row of the published weights, if the file is known to have them.
    row: Option<&'static WeightsSpec>,
    /// The place in the file that the user asks for.
    key: Option<String>,
    sha256: OnceLock<String>,
    /// Shared by all keys of the file.
    opened: Arc<OnceLock<WeightFile>>,
}

impl LazyFile {
    /// Opens the file, unless it is open.
    pub fn open(&self) -> Result<&WeightFile, WeightError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = WeightFile::open(&self.path)?;
        Ok(self.opened.get_or_init(|| opened))
    }

    /// The tensors of a network and where they were, see [`WeightFile::of_network`].
    pub fn of_network(
        &self,
        graph: &Graph,
        source: Source,
        taps: &[LayerId],
    ) -> Result<(WeightSet, CheckpointKey), WeightError> {
        self.open()?.of_network(graph, source, taps, self.key.as_deref())
    }

    /// The row for the file, see [`WeightFile::recognise`].
    pub fn recognise(&self, model: &'static ModelSpec) -> Result<Option<&'static WeightsSpec>, WeightError> {
        Ok(self.open()?.recognise(model, self.key.as_deref()))
    }

    fn sha256(&self) -> Result<&str, WeightError> {
        if let Some(known) = self.sha256.get() {
            return Ok(known);
        }
        let found = sha256(&self.path)?;
        Ok(self.sha256.get_or_init(|| found))
    }
}

/// Weights cannot be read, or are not those of the network.
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
    #[error(
        "{place} holds the weights of this network more than once, under {keys}; say which are meant: \
         `extract.weights_key` of the YAML, `--weights-key` of `classify`"
    )]
    Ambiguous { place: String, keys: String },
    #[error("`{key}` (`weights_key`) names no place in {place} that holds weights of this network: {known}")]
    NoKey { place: String, key: String, known: String },
    #[error(
        "tensor `{name}` of the weights holds values that are no finite numbers, {count} of {of}; the first is {value} \
         at place {first}: the training may have diverged, or the file is damaged; take another checkpoint"
    )]
    NotFinite { name: String, count: usize, of: usize, first: usize, value: f32 },
    #[error("tensor `{name}` of the weights is a variance and holds {value} at place {at}; expected positive numbers")]
    Variance { name: String, at: usize, value: f32 },
}

/// Tensors by name, in PyTorch's layout.
#[derive(Clone, Debug, Default)]
pub struct WeightSet {
    tensors: BTreeMap<String, Tensor>,
    /// How the library whose names the file has resizes position embeddings, if it differs from the graph's way.
    resize: Option<PositionResize>,
}

impl From<BTreeMap<String, Tensor>> for WeightSet {
    fn from(tensors: BTreeMap<String, Tensor>) -> Self {
        Self { tensors, resize: None }
    }
}

impl WeightSet {
    /// Reads the values of a parameter, if the set has it in the right shape.
    pub fn get(&self, parameter: &Parameter) -> Result<Vec<f32>, WeightError> {
        let name = &parameter.name;
        let tensor = self.tensors.get(name).ok_or_else(|| WeightError::Missing(name.clone()))?;
        let (found, expected) = (tensor.shape().to_vec(), parameter.shape.clone());
        if found != expected {
            return Err(WeightError::Shape { name: name.clone(), found, expected });
        }
        finite(name, tensor.values()?)
    }

    /// The number of outputs of the classifier on top in the set, if it has one: the number of classes in training.
    pub fn classes(&self, graph: &Graph) -> Option<usize> {
        // the last layers may have no weights, such as a pooling after a convolution that computes the scores
        let mut layer = graph.layer(graph.logits());
        let weight = loop {
            match graph.parameters_of(layer).into_iter().next() {
                Some(weight) => break weight,
                None => layer = graph.layer(*layer.inputs.first()?),
            }
        };
        let found = self.tensors.get(&weight.name)?.shape();
        // the first size is that of the outputs, in dense layers as in convolutions
        (found.len() == weight.shape.len() && found[1..] == weight.shape[1..]).then(|| found[0])
    }

    /// For a network of grey pictures: sums the weights of a convolution over the three colour channels, as timm does.
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
}

/// The values of a tensor, if all are finite.
fn finite(name: &str, values: Vec<f32>) -> Result<Vec<f32>, WeightError> {
    let Some((first, value)) = not_finite(&values) else { return Ok(values) };
    let count = values.iter().filter(|value| !value.is_finite()).count();
    Err(WeightError::NotFinite { name: name.to_string(), count, of: values.len(), first, value })
}

/// The tensors that `taps` need, or those that the last feature map needs if there are no taps.
fn needed(graph: &Graph, taps: &[LayerId]) -> Vec<Parameter> {
    let features = [graph.features()];
    let needed = graph.needed_for(if taps.is_empty() { &features } else { taps });
    let layers = graph.layers().iter().zip(needed).filter(|(_, needed)| *needed);
    layers.flat_map(|(layer, _)| graph.parameters_of(layer)).collect()
}

impl Origin {
    /// The path of the file, if they are in one.
    pub fn path(&self) -> Option<&Path> {
        if let Self::File(file) = self { Some(&file.path) } else { None }
    }

    /// The ONNX file, or an error if the origin is not one.
    pub fn onnx(&self) -> Result<&OnnxFile, WeightError> {
        let other = || {
            let reason = "it is no ONNX file".to_string();
            WeightError::Format { place: self.describe(), reason }
        };
        if let Self::File(file) = self { file.open()?.onnx().ok_or_else(other) } else { Err(other()) }
    }

    /// The file `path`, and its SHA-256 if it is known already.
    pub fn file(path: impl Into<PathBuf>, sha256: Option<String>) -> Self {
        let (path, known) = (path.into(), OnceLock::new());
        // the hash of an index or an ONNX file does not cover other files with its weights
        let index = onnx::is_onnx(&path) || path.extension().is_some_and(|extension| extension == "json");
        if let Some(sha256) = sha256.filter(|_| !index) {
            known.get_or_init(|| sha256);
        }
        Self::File(Arc::new(LazyFile { path, row: None, key: None, sha256: known, opened: Arc::default() }))
    }

    /// A file that is known to be the published one of `row`.
    pub fn published(path: impl Into<PathBuf>, sha256: String, row: &'static WeightsSpec) -> Self {
        let (path, sha256) = (path.into(), OnceLock::from(sha256));
        Self::File(Arc::new(LazyFile { path, row: Some(row), key: None, sha256, opened: Arc::default() }))
    }

    /// The row of the published weights, if they are known to be these.
    pub fn row(&self) -> Option<&'static WeightsSpec> {
        match self {
            Self::Bundled(row) => Some(row),
            Self::File(file) => file.row,
            Self::Random(_) => None,
        }
    }

    /// The same weights, taken from the place `key` of their file; only a file may have a key.
    pub fn with_key(self, key: Option<&str>) -> Result<Self, WeightError> {
        match (self, key) {
            (Origin::File(file), Some(key)) => {
                let (path, sha256, opened) = (file.path.clone(), file.sha256.clone(), Arc::clone(&file.opened));
                let file = LazyFile { path, row: file.row, key: Some(key.to_string()), sha256, opened };
                Ok(Origin::File(Arc::new(file)))
            }
            (origin, Some(key)) => {
                let known = "they are not in a file".to_string();
                Err(WeightError::NoKey { place: origin.describe(), key: key.to_string(), known })
            }
            (origin, None) => Ok(origin),
        }
    }

    /// The origin for tables and messages.
    pub fn describe(&self) -> String {
        match self {
            Origin::Bundled(spec) => spec.name.to_string(),
            Origin::File(file) => file.path.display().to_string(),
            Origin::Random(seed) => format!("random (seed {seed})"),
        }
    }

    /// The identity of the weights in a fingerprint: the hash of the file, or the seed.
    pub fn fingerprint(&self) -> Result<String, WeightError> {
        match self {
            Origin::Bundled(spec) => Ok(spec.sha256.unwrap_or(spec.name).to_string()),
            Origin::File(file) => file.sha256().map(String::from),
            Origin::Random(seed) => Ok(format!("random-{seed}")),
        }
    }

    /// Opens the tensors and checks their names and shapes against the network and `taps`.
    pub fn load(&self, graph: &Graph, source: Source, taps: &[LayerId]) -> Result<WeightSet, WeightError> {
        let mut place = self.describe();
        let set = match self {
            Origin::Bundled(spec) => {
                let bytes = BUNDLED.ok_or(WeightError::NotBundled)?;
                tensors::read_bytes(bytes, spec.name)?.into()
            }
            Origin::File(file) => {
                let (set, taken) = file.of_network(graph, source, taps)?;
                if !taken.key.is_empty() {
                    place = format!("{place}, under `{}`,", taken.key);
                }
                set.for_channels(graph).for_positions(graph)
            }
            Origin::Random(seed) => random::he(graph, *seed),
        };
        set.check(graph, taps, &place)?;
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::built;
    #[cfg(feature = "bundled")]
    use crate::models::find;
    #[cfg(feature = "bundled")]
    use sha2::{Digest, Sha256};

    fn lite0() -> Graph {
        built("efficientnet_lite0", Source::Timm, [64, 64], 1000)
    }

    #[test]
    fn everything_wrong_is_listed_at_once() {
        let graph = lite0();
        let mut set = random::he(&graph, 0);
        set.tensors.remove("bn1.weight");
        set.tensors.insert("blocks.9.0.extra".into(), Tensor::ready(vec![1], vec![0.0]));
        // a tensor of another module is no fault
        set.tensors.insert("head.1.weight".into(), Tensor::ready(vec![1], vec![0.0]));
        set.tensors.insert("classifier.1.weight".into(), Tensor::ready(vec![1], vec![0.0]));
        for buffer in ["num_batches_tracked", "relative_position_index", "relative_coords_table", "attn_mask"] {
            set.tensors.insert(format!("blocks.0.{buffer}"), Tensor::ready(vec![], vec![7.0]));
        }
        set.tensors.insert("bn1.bias".into(), Tensor::ready(vec![2], vec![0.0; 2]));
        set.tensors.remove("classifier.bias");
        let text = set.check(&graph, &[], "w.safetensors").expect_err("wrong").to_string();
        assert_eq!(
            text,
            "w.safetensors does not hold the weights of this network:\n  missing `bn1.weight` [32]\n  `bn1.bias` is \
             [2], expected [32]\n  unexpected `blocks.9.0.extra` [1]"
        );
        // the classifier may be missing, unless it is a tap
        let text = set.check(&graph, &[graph.logits()], "w").expect_err("wrong").to_string();
        assert!(text.contains("missing `classifier.bias` [1000]"), "{text}");
    }

    #[test]
    fn long_lists_are_grouped_and_end() {
        let graph = lite0();
        let text = WeightSet::default().check(&graph, &[], "w").expect_err("empty").to_string();
        let needed = needed(&graph, &[]).len();
        assert_eq!(text.lines().count(), 7, "{text}");
        assert!(text.contains("\n  missing `conv_stem.weight` [32, 3, 3, 3]\n"), "{text}");
        let rest = format!("\n  … and {} more missing: `blocks` ", needed - 5);
        assert!(text.contains(&rest) && text.contains("`bn2` 4") && text.ends_with("`conv_head` 1"), "{text}");
    }

    #[test]
    fn layers_that_nobody_asked_for_may_be_anything() {
        let graph = lite0();
        let mut set = random::he(&graph, 0);
        set.tensors.retain(|name, _| !name.starts_with("blocks.6"));
        set.tensors.insert("bn2.bias".into(), Tensor::ready(vec![2], vec![0.0; 2]));
        set.check(&graph, &[graph.find("blocks.2.1").expect("a block")], "w").expect("all is there up to block 2");
        assert!(set.check(&graph, &[], "w").is_err());
    }

    #[test]
    fn what_is_no_number_is_named_with_its_place() {
        let mut set = WeightSet::default();
        let values = vec![1.0, f32::NAN, 0.0, f32::NEG_INFINITY];
        set.tensors.insert("a.weight".into(), Tensor::ready(vec![4], values));
        let parameter = Parameter { name: "a.weight".into(), shape: vec![4] };
        let text = set.get(&parameter).expect_err("not finite").to_string();
        let expected =
            "`a.weight` of the weights holds values that are no finite numbers, 2 of 4; the first is NaN at place 1";
        assert!(text.starts_with(&format!("tensor {expected}")), "{text}");
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
