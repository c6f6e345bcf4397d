//! A weight file of any format: recognises the format by content, lists the tensors, and finds the library.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::store::digest::{digest, hex};
use super::wrapper::{self, CheckpointKey};
use super::{
    Tensor, WeightError, WeightSet, clip_resnet, efficientnet_pytorch, keras, kinds, pth, shards, tensors, towers,
};
use crate::models::graph::{Graph, LayerId};
use crate::models::{BuildOptions, ModelSpec, Source, WeightsSpec};
use crate::onnx::{self, OnnxFile};

/// An open weight file.
#[derive(Debug)]
pub struct WeightFile {
    path: PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// safetensors or PyTorch: tensors by name.
    Named(BTreeMap<String, Tensor>),
    /// Keras: layers, which are matched to those of a network.
    Keras(keras::File),
    /// ONNX: a network with its own graph.
    Onnx(OnnxFile),
}

impl WeightFile {
    /// Opens a file and reads its list of tensors.
    pub fn open(path: &Path) -> Result<Self, WeightError> {
        let content = match path {
            path if onnx::is_onnx(path) => Content::Onnx(OnnxFile::open(path)?),
            path if keras::is_keras(path) => Content::Keras(keras::index(path)?),
            path => Content::Named(match shards::read(path, &kinds::head(path)?)? {
                Some(tensors) => tensors,
                None => named(path)?,
            }),
        };
        Ok(Self { path: path.to_path_buf(), content })
    }

    /// The tensors under the names of `graph`, which is built after `source`, and their place in the file: below `key`
    /// if it is given, else the place with the tensors that `taps` need.
    pub fn of_network(
        &self,
        graph: &Graph,
        source: Source,
        taps: &[LayerId],
        key: Option<&str>,
    ) -> Result<(WeightSet, CheckpointKey), WeightError> {
        let place = self.path.display().to_string();
        match &self.content {
            Content::Keras(file) if source == Source::Keras => {
                let (tensors, taken) = file.match_to(graph, taps, key)?;
                Ok((tensors.into(), taken))
            }
            Content::Keras(_) => {
                let list = format!("\n  it is a file of Keras, not of {source}");
                Err(WeightError::Mismatch { place, list })
            }
            Content::Onnx(_) => {
                let list = "\n  it is an ONNX network, which brings its own graph; leave the model out".to_string();
                Err(WeightError::Mismatch { place, list })
            }
            Content::Named(tensors) => {
                let renamed = efficientnet_pytorch::renamed(tensors, graph)
                    .or_else(|| towers::renamed(tensors, graph))
                    .or_else(|| clip_resnet::renamed(tensors, graph));
                let (found, taken) = wrapper::unwrap(renamed.as_ref().unwrap_or(tensors), graph, taps, key, &place)?;
                Ok((WeightSet { resize: towers::resize(tensors), ..found.into() }, taken))
            }
        }
    }

    /// The classifier of `transformers` in the file: its name and shape.
    pub fn classifier(&self) -> Option<(&str, &[usize])> {
        let Content::Named(tensors) = &self.content else { return None };
        towers::classifier(tensors).map(|(name, tensor)| (name, tensor.shape()))
    }

    /// The network, if the file is ONNX.
    pub fn onnx(&self) -> Option<&OnnxFile> {
        if let Content::Onnx(file) = &self.content { Some(file) } else { None }
    }

    /// Finds the row of `model` for the file. The library is the one whose names and shapes match best, the first of
    /// equals. The row is the one of that library that published a file with this name, else the library's default.
    pub fn recognise(&self, model: &'static ModelSpec, key: Option<&str>) -> Option<&'static WeightsSpec> {
        let faults = |spec: &&'static WeightsSpec| {
            let fits = model.build(&BuildOptions::of(spec)).ok().and_then(|graph| {
                let (set, _) = self.of_network(&graph, spec.source, &[], key).ok()?;
                Some(set.differences(&graph))
            });
            fits.unwrap_or((usize::MAX, usize::MAX))
        };
        let default = model.defaults().min_by_key(faults)?;
        let name = self.path.file_name()?.to_str();
        let is_named = |row: &&WeightsSpec| {
            row.source == default.source
                && row.files.iter().any(|file| file.is_told_by_its_name() && name == Some(file.name))
        };
        model.weights.iter().find(is_named).or(Some(default))
    }
}

/// The tensors of a safetensors or PyTorch file, with outdated names replaced by current ones.
pub(super) fn named(path: &Path) -> Result<BTreeMap<String, Tensor>, WeightError> {
    let tensors = if pth::is_pth(path)? {
        pth::read(path)?
    } else if let Some(reason) = kinds::foreign(path, &kinds::head(path)?) {
        return Err(WeightError::Format { place: path.display().to_string(), reason });
    } else {
        tensors::read_file(path)?
    };
    Ok(tensors.into_iter().map(|(name, tensor)| (of_today(name), tensor)).collect())
}

/// Old files of torchvision's DenseNet have names with dots: `denselayer1.norm.1.weight`, now
/// `denselayer1.norm1.weight`; those of its ViT have `mlp.linear_1`, now `mlp.0`.
fn of_today(name: String) -> String {
    if name.contains(".encoder_layer_") {
        return name.replace(".mlp.linear_1.", ".mlp.0.").replace(".mlp.linear_2.", ".mlp.3.");
    }
    if !name.contains(".denselayer") {
        return name;
    }
    let old = ["norm.1.", "norm.2.", "conv.1.", "conv.2."];
    old.iter().fold(name, |name, old| name.replace(&format!(".{old}"), &format!(".{}", old.replacen('.', "", 1))))
}

/// SHA-256 of a file, in hexadecimal; if its weights are in other files, that of its own hash and the hashes of these.
pub fn sha256(path: &Path) -> Result<String, WeightError> {
    let of = |path: &Path| {
        let digests = digest(path, false, &mut || Ok(()));
        digests.map(|digests| digests.sha256).map_err(|error| WeightError::Read { path: path.to_path_buf(), error })
    };
    let own = of(path)?;
    let files = match onnx::is_onnx(path) {
        true => Some(OnnxFile::open(path)?.beside().to_vec()).filter(|files| !files.is_empty()),
        false => shards::files(path, &kinds::head(path)?)?,
    };
    let Some(files) = files else { return Ok(own) };
    let mut all = Sha256::new();
    all.update(own);
    for file in files {
        all.update(of(&file)?);
    }
    Ok(hex(&all.finalize()))
}
