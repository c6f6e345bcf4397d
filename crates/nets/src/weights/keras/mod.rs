//! Weight files of Keras, matched to a network as Keras matches them: the older `.h5` that `keras.applications`
//! downloads ([`legacy`]), Keras 3's `.weights.h5`, and the `.keras` file that holds one ([`native`]).
//!
//! [`index`] lists layers and variables without reading values; [`File::match_to`] gives the tensors under the names
//! and in the layout of a graph that is built after Keras. Tensors that the file lacks are left out, those that the
//! network lacks keep the file's names, so that the strict check of the weights reports both.

mod legacy;
mod names;
mod native;
mod network;
mod pairs;
mod storage;
#[cfg(test)]
mod tests;
mod variable;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::names::numbered;
use self::network::{Network, Slot, Weighted};
use self::storage::Opened;
pub(super) use self::storage::is_keras;
use self::variable::Variable;
use super::mismatch::Expected;
use super::wrapper::Fit;
use super::{CheckpointKey, Tensor, WeightError, needed};
use crate::models::graph::{Graph, LayerId, Parameter};

/// Most variables that a file may list: twenty times those of the largest network here. A small file can list one
/// variable many times.
const MOST_VARIABLES: usize = 20_000;

/// Opens a weight file of Keras and lists its layers. An error if it cannot be read, is damaged, or has no layer with
/// weights.
pub(super) fn index(path: &Path) -> Result<File, WeightError> {
    let unsound = |reason: String| WeightError::Format { place: path.display().to_string(), reason };
    let Opened { hdf5, config } = storage::open(path)?;
    let layers = read_layers(&hdf5, config.as_deref()).map_err(|error| unsound(error.to_string()))?;
    if layers.is_empty() {
        return Err(unsound(
            "it holds no layer with weights; expected the attribute `layer_names` of Keras' older files, or groups \
             `layers/…/vars`"
                .to_string(),
        ));
    }
    Ok(File { path: path.to_path_buf(), layers: layers.into_iter().map(Arc::new).collect() })
}

fn too_many() -> hdf5_reader::error::Error {
    hdf5_reader::error::Error::InvalidData(format!("more than {MOST_VARIABLES} variables are listed"))
}

fn read_layers(
    hdf5: &hdf5_reader::Hdf5File,
    config: Option<&[u8]>,
) -> Result<Vec<FileLayer>, hdf5_reader::error::Error> {
    match legacy::root(hdf5.root_group()?)? {
        Some(root) => legacy::layers(&root),
        None => native::layers(&hdf5.root_group()?, config),
    }
}

/// An open weight file of Keras.
pub(super) struct File {
    path: PathBuf,
    layers: Vec<Arc<FileLayer>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Legacy,
    Native,
}

/// A layer with weights.
struct FileLayer {
    format: Format,
    /// Its path in the file.
    path: String,
    /// Its name in the model, if the file has it.
    name: Option<String>,
    /// In the order in which Keras stores them.
    variables: Vec<Variable>,
}

impl FileLayer {
    fn new(format: Format, path: String, name: Option<String>, variables: Vec<Variable>) -> Self {
        Self { format, path, name, variables }
    }

    /// The lane: layers of one lane have one order. Older files have a single lane (none); newer ones have a lane for
    /// each class, whose name is in the group's.
    fn lane(&self) -> Option<&str> {
        match self.format {
            Format::Legacy => None,
            Format::Native => Some(numbered(self.path.rsplit('/').next().unwrap_or(&self.path)).0),
        }
    }

    /// The path of the model of this layer; empty for the outermost model.
    fn model(&self) -> &str {
        match self.format {
            // a layer of a nested model has that model's path
            Format::Legacy if self.name.as_ref() != Some(&self.path) => &self.path,
            Format::Legacy => "",
            Format::Native => {
                let model = self.path.rsplit_once('/').map_or("", |(model, _)| model);
                model.strip_suffix("layers").map_or(model, |model| model.trim_end_matches('/'))
            }
        }
    }

    /// A variable's name in the file, or below the layer's name if that is known.
    fn full_name(&self, variable: &Variable) -> String {
        let path = match (self.format, &self.name) {
            (Format::Native, Some(name)) => name,
            _ => &self.path,
        };
        match variable.name.strip_prefix(path.as_str()) {
            Some(rest) if rest.starts_with('/') => variable.name.clone(),
            _ => format!("{path}/{}", variable.name),
        }
    }
}

impl Slot {
    /// The shape of a Keras array in the tensor's layout, if the number of axes is right.
    fn turned(&self, shape: &[usize]) -> Option<Vec<usize>> {
        (shape.len() == self.axes.len()).then(|| self.axes.iter().map(|&axis| shape[axis]).collect())
    }
}

impl File {
    /// The tensors of the file for `graph`, which must be built after Keras. Tensors of matched layers, even with wrong
    /// shapes, have PyTorch's layout and the graph's names; others have Keras' layout and the file's names. The network
    /// may be a layer of another model: it is looked for in the outermost and in each nested model, and taken from the
    /// one with most of the tensors that `taps` need, or from `key`.
    pub(super) fn match_to(
        &self,
        graph: &Graph,
        taps: &[LayerId],
        key: Option<&str>,
    ) -> Result<(BTreeMap<String, Tensor>, CheckpointKey), WeightError> {
        let network = Network::of(graph);
        let needed = needed(graph, taps);
        let expected = Expected::new(graph, &needed);
        let mut found: Vec<(Fit, &str, BTreeMap<String, Tensor>)> = Vec::new();
        let key = key.filter(|key| !key.is_empty());
        for model in self.models() {
            let tensors = self.matched(&network, |layer| layer.model() == model);
            found.push((fit(&tensors, &needed, &expected), model, tensors));
        }
        // the sort is stable: of equal models the outermost comes first
        found.sort_by_key(|(fit, ..)| Reverse(*fit));
        let place = || self.path.display().to_string();
        let chosen = found.iter().position(|(_, model, _)| key.is_none_or(|key| key == *model));
        let Some(chosen) = chosen else {
            let known = format!("its models are `{}`", self.models().into_iter().collect::<Vec<_>>().join("`, `"));
            return Err(WeightError::NoKey { place: place(), key: key.unwrap_or_default().to_string(), known });
        };
        let (best, model) = (found[chosen].0, found[chosen].1.to_string());
        let whole = best.names == needed.len();
        let equal = |(_, (fit, ..)): &(usize, &(Fit, &str, _))| whole && best.names > 0 && *fit == best;
        let others = found.iter().enumerate().filter(equal).filter(|(index, _)| *index != chosen);
        let others: Vec<String> = others.map(|(_, (_, model, _))| model.to_string()).collect();
        if key.is_none() && !others.is_empty() {
            let keys = format!("`{model}`, `{}`", others.join("`, `"));
            return Err(WeightError::Ambiguous { place: place(), keys });
        }
        if whole || key.is_some() || found.len() == 1 {
            return Ok((found.swap_remove(chosen).2, CheckpointKey { key: model, others }));
        }
        // no model has the whole network
        Ok((self.matched(&network, |_| true), CheckpointKey::default()))
    }

    /// The models in the file, the outermost first.
    fn models(&self) -> BTreeSet<&str> {
        self.layers.iter().map(|layer| layer.model()).collect()
    }

    /// The tensors of the layers that are `meant`, matched to the network, and of other layers that match it.
    fn matched(&self, network: &Network, meant: impl Fn(&FileLayer) -> bool) -> BTreeMap<String, Tensor> {
        let mut tensors = BTreeMap::new();
        let pairs = self.layers.iter().zip(pairs::pair(&self.layers, network, &meant));
        for (layer, index) in pairs.filter(|(layer, index)| index.is_some() || meant(layer)) {
            let expected = index.map(|index| &network.layers[index]);
            for number in 0..layer.variables.len() {
                let (name, tensor) = self.tensor(layer, number, expected);
                if tensors.contains_key(&name) {
                    let (name, tensor) = self.tensor(layer, number, None);
                    tensors.insert(name, tensor);
                } else {
                    tensors.insert(name, tensor);
                }
            }
        }
        tensors
    }

    /// A variable as a tensor of the matched layer, or under its own name.
    fn tensor(&self, layer: &Arc<FileLayer>, number: usize, expected: Option<&Weighted>) -> (String, Tensor) {
        let variable = &layer.variables[number];
        let slot = expected
            .filter(|expected| expected.slots.len() == layer.variables.len())
            .map(|expected| &expected.slots[number])
            .and_then(|slot| Some((slot.tensor.clone(), slot.turned(&variable.shape)?, slot.axes.to_vec())));
        let own = || (layer.full_name(variable), variable.shape.clone(), (0..variable.shape.len()).collect());
        let (name, shape, axes) = slot.unwrap_or_else(own);
        let (layer, place) = (layer.clone(), self.path.display().to_string());
        (name, Tensor::later(shape, move || layer.variables[number].values(&axes, &place)))
    }
}

/// How well the tensors match those that are needed.
fn fit(tensors: &BTreeMap<String, Tensor>, needed: &[Parameter], expected: &Expected) -> Fit {
    let there = |parameter: &&Parameter| tensors.contains_key(&parameter.name);
    let right =
        |parameter: &&Parameter| tensors.get(&parameter.name).is_some_and(|tensor| tensor.shape() == parameter.shape);
    Fit {
        names: needed.iter().filter(there).count(),
        shapes: needed.iter().filter(right).count(),
        more: Reverse(tensors.keys().filter(|name| expected.is_exceeded_by(name)).count()),
    }
}

/// Whether `name`, a name in a file, has the pattern of one of the network's `layers`: it then belongs to another
/// network with one more layer of that kind. Automatic names are not compared, since a head after the network has such
/// names, too.
pub(super) fn is_one_more(name: &str, layers: &BTreeSet<&str>) -> bool {
    let pattern =
        |name: &str| name.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty()).collect::<String>();
    let kinds: BTreeSet<String> = layers.iter().map(|layer| pattern(layer)).collect();
    name.split('/').any(|part| names::automatic(part).is_none() && kinds.contains(&pattern(part)))
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keras::File({}, {} layers)", self.path.display(), self.layers.len())
    }
}
