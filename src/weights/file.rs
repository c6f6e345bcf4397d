//! A weight file of any format: told apart by content, its tensors listed, its library found out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::store::digest::digest;
use super::{Tensor, WeightError, WeightSet, keras, pth, tensors};
use crate::models::graph::Graph;
use crate::models::{BuildOptions, ModelSpec, Source, WeightsSpec};

/// An open weight file.
#[derive(Debug)]
pub struct WeightFile {
    path: PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// safetensors or PyTorch: names that stand for themselves.
    Named(BTreeMap<String, Tensor>),
    /// Keras: layers that are matched to a network.
    Keras(keras::File),
}

impl WeightFile {
    /// Opens a file and reads its list of tensors.
    pub fn open(path: &Path) -> Result<Self, WeightError> {
        let content = match path {
            path if keras::is_keras(path) => Content::Keras(keras::index(path)?),
            path if pth::is_pth(path)? => Content::Named(pth::read(path)?),
            path => Content::Named(tensors::read_file(path)?),
        };
        Ok(Self { path: path.to_path_buf(), content })
    }

    /// The tensors under the names of `graph`, which is built after `source`.
    pub fn of_network(&self, graph: &Graph, source: Source) -> Result<WeightSet, WeightError> {
        match &self.content {
            Content::Keras(file) if source == Source::Keras => Ok(file.match_to(graph)?.into()),
            Content::Keras(_) => {
                let (place, list) =
                    (self.path.display().to_string(), format!("\n  it is a file of Keras, not of {source}"));
                Err(WeightError::Mismatch { place, list })
            }
            Content::Named(tensors) => {
                let renamed = |(name, tensor): (&String, &Tensor)| (of_today(name), tensor.clone());
                Ok(tensors.iter().map(renamed).collect::<BTreeMap<_, _>>().into())
            }
        }
    }

    /// Outputs of the classifier on top that the file holds for `graph`, where it has one: a network that was trained on has as many as its
    /// classes. Of a file of Keras only those that the graph has are known.
    pub fn classes(&self, graph: &Graph) -> Option<usize> {
        let Content::Named(tensors) = &self.content else { return None };
        let weight = graph.parameters_of(graph.layer(graph.logits())).into_iter().next()?;
        let found = tensors.get(&weight.name)?.shape();
        // the first size is that of the outputs, in dense layers as in convolutions
        (found.len() == weight.shape.len() && found[1..] == weight.shape[1..]).then(|| found[0])
    }

    /// Whose network the file holds: the row of `model` whose names and shapes fit best, the first of equals.
    pub fn recognise(&self, model: &'static ModelSpec) -> Option<&'static WeightsSpec> {
        let faults = |spec: &&'static WeightsSpec| {
            let (classes, source) = (spec.classes, spec.source);
            let options = BuildOptions { channels: 3, size: spec.recipe.size, classes, source };
            let fits = (model.build)(&options).ok().and_then(|graph| {
                let set = self.of_network(&graph, source).ok()?;
                Some(set.faults(&graph, &[]).len())
            });
            fits.unwrap_or(usize::MAX)
        };
        model.weights.iter().min_by_key(faults)
    }
}

/// torchvision's DenseNet files have names of before dots were forbidden in them: `denselayer1.norm.1.weight`, today `denselayer1.norm1.weight`.
fn of_today(name: &str) -> String {
    if !name.contains(".denselayer") {
        return name.to_string();
    }
    let old = ["norm.1.", "norm.2.", "conv.1.", "conv.2."];
    old.iter()
        .fold(name.to_string(), |name, old| name.replace(&format!(".{old}"), &format!(".{}", old.replacen('.', "", 1))))
}

/// SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> Result<String, WeightError> {
    let digests = digest(path, false, &mut || Ok(())).map_err(|error| WeightError::Read { path: path.to_path_buf(), error })?;
    Ok(digests.sha256)
}
