//! The import of a file: the nodes that the asked layers need are gone through one after the other.

use std::collections::{HashMap, HashSet};

use super::file::OnnxFile;
use super::network::Importer;
use super::node::Node;
use super::{INPUT, Import, OnnxError, notes};
use crate::image::Recipe;
use crate::suggest::suggest;
use crate::weights::WeightError;

/// The layers that are asked of a file, and the input of its network.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Channels of the picture.
    pub channels: usize,
    /// Height and width of the picture.
    pub size: [usize; 2],
    /// Names of nodes or values; none: the value that feeds the classifier.
    pub layers: &'a [String],
    /// Whether the class scores are wanted, too.
    pub logits: bool,
}

/// The pictures that a file takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    pub channels: usize,
    /// Height and width, where they are fixed.
    pub size: [Option<usize>; 2],
    /// Channels last, as in TensorFlow.
    pub last: bool,
}

/// The values at the end of a network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends<'a> {
    /// The class scores, or whatever else the network gives.
    pub logits: &'a str,
    /// The value that the last dense layer takes, where it gives the class scores.
    pub features: Option<&'a str>,
}

impl OnnxFile {
    /// The network, as far as what is asked needs it.
    pub fn import(&self, asked: Asked) -> Result<Import, OnnxError> {
        let ends = self.ends();
        let is_ours = self.metadata().contains_key(notes::FEATURES);
        if asked.logits && is_ours && !self.metadata().contains_key(notes::SCORES) {
            return Err(OnnxError::Neighbours { path: self.path.clone() });
        }
        let mut wanted = asked.layers.iter().map(|name| self.value_of(name)).collect::<Result<Vec<_>, _>>()?;
        let logits = asked.logits.then_some(ends.logits);
        wanted.extend(logits);
        if wanted.is_empty() {
            let output = ends.logits.to_string();
            let missing = || OnnxError::NoDefault { path: self.path.clone(), output };
            wanted.push(ends.features.ok_or_else(missing)?);
        }
        let (mut importer, input) = Importer::new(self, asked)?;
        for node in self.needed(&wanted) {
            importer.step(node);
        }
        let mut ids = Vec::new();
        for name in &wanted {
            match importer.tap(name) {
                Ok(id) => ids.push(id),
                Err(reason) => importer.problems.push(format!("`{name}`: {reason}")),
            }
        }
        importer.check()?;
        importer.alias(asked.layers, &ids);
        let (features, logits) = (ids.first().copied().unwrap_or(input), ids.last().copied().unwrap_or(input));
        let graph = importer.graph.finish(features, logits)?;
        Ok(Import { graph, weights: importer.tensors.into() })
    }

    /// The sizes of its input that are fixed, and whether its channels come last.
    pub fn picture(&self) -> Result<Picture, OnnxError> {
        let wrong = |reason: String| OnnxError::Input { path: self.path.clone(), reason };
        let [input] = self.inputs.as_slice() else {
            let names: Vec<&str> = self.inputs.iter().map(|input| input.name.as_str()).collect();
            return Err(wrong(format!("a network of pictures has one input, this one has {}: {names:?}", names.len())));
        };
        let [pictures, a, b, c] = *input.dims.as_slice() else {
            let reason =
                format!("its input `{}` has {} dimensions, not the four of pictures", input.name, input.dims.len());
            return Err(wrong(reason));
        };
        if let Some(several) = pictures.filter(|&pictures| pictures != 1) {
            let way = "export it for one, or for any number (`dynamic_axes`, `dynamic_shapes`)";
            return Err(wrong(format!("it takes {several} pictures at a time; {way}")));
        }
        if self.prepares() {
            let channels = self.recipe()?.map_or(3, |recipe| recipe.depth());
            return Ok(Picture { channels, size: [a, b], last: false });
        }
        let depth = |size: Option<usize>| size.filter(|size| [1, 3].contains(size));
        match (depth(a), depth(c)) {
            (Some(channels), _) => Ok(Picture { channels, size: [b, c], last: false }),
            (None, Some(channels)) => Ok(Picture { channels, size: [a, b], last: true }),
            _ => Err(wrong(format!("its input is {:?}; pictures have one channel or three", input.dims))),
        }
    }

    /// The recipe of its pictures, where that is noted in it.
    pub fn recipe(&self) -> Result<Option<Recipe>, WeightError> {
        self.note(notes::RECIPE)
    }

    /// Whether pixels come in, which become the prepared picture by the noted recipe: the network begins behind that.
    pub(super) fn prepares(&self) -> bool {
        self.metadata().contains_key(notes::FEATURES) && self.nodes.iter().any(|node| node.gives(INPUT))
    }

    /// The value called `name`, or the first one of the node called so.
    fn value_of<'a>(&'a self, name: &'a str) -> Result<&'a str, OnnxError> {
        let outputs = || self.nodes.iter().flat_map(|node| &node.outputs).map(String::as_str);
        let inputs = || self.inputs.iter().map(|input| input.name.as_str()).chain([INPUT]);
        if let Some(found) = outputs().chain(inputs()).find(|output| *output == name) {
            return Ok(found);
        }
        let node = self.nodes.iter().find(|node| node.name == name);
        if let Some(output) = node.and_then(|node| node.outputs.first()) {
            return Ok(output);
        }
        let (names, path) = (self.nodes.iter().map(|node| node.name.as_str()), self.path.display());
        Err(OnnxError::NoLayer(match suggest(name, outputs().chain(inputs()).chain(names)) {
            Some(close) => format!("{path} has no node or value `{name}`; did you mean `{close}`?"),
            None => format!("{path} has no node or value `{name}`; its output is `{}`", self.ends().logits),
        }))
    }

    /// The nodes on the way to these values, inputs before uses.
    fn needed(&self, values: &[&str]) -> Vec<&Node> {
        let (mut wanted, prepares): (HashSet<&str>, bool) = (values.iter().copied().collect(), self.prepares());
        let mut needed = Vec::new();
        for node in self.nodes.iter().rev() {
            let is_wanted = node.outputs.iter().any(|output| wanted.contains(output.as_str()));
            if is_wanted && !(prepares && node.gives(INPUT)) {
                wanted.extend(node.reads());
                needed.push(node);
            }
        }
        needed.reverse();
        needed
    }

    /// The values at the end of the network.
    pub(super) fn ends(&self) -> Ends<'_> {
        let makers = self.nodes.iter().flat_map(|node| node.outputs.iter().map(move |output| (output.as_str(), node)));
        let makers: HashMap<&str, &Node> = makers.collect();
        let is_constant = |node: &Node, i: usize| {
            let of_constants = |name: &str| {
                self.constants.contains_key(name)
                    || makers
                        .get(name)
                        .is_some_and(|node| node.inputs.iter().all(|name| self.constants.contains_key(name)))
            };
            node.input(i).is_some_and(of_constants)
        };
        let mut at = self.outputs.first().map(String::as_str).unwrap_or_default();
        let noted = |note: &str| self.metadata().get(note).map(String::as_str).filter(|name| makers.contains_key(name));
        if let Some(logits) = noted(notes::SCORES) {
            return Ends { logits, features: noted(notes::FEATURES) };
        }
        let (mut logits, noted) = (at, noted(notes::FEATURES));
        // as many steps as there are nodes: a damaged file may go in a circle
        for _ in 0..self.nodes.len() {
            let Some(node) = makers.get(at) else { break };
            let first = node.input(0).unwrap_or_default();
            match node.op.as_str() {
                "Gemm" => return Ends { logits, features: noted.or(Some(first)) },
                "MatMul" if is_constant(node, 1) => return Ends { logits, features: noted.or(Some(first)) },
                "Add" if is_constant(node, 1) => at = first,
                "Add" if is_constant(node, 0) => at = node.input(1).unwrap_or_default(),
                "Softmax" => (at, logits) = (first, first),
                "Identity" | "Dropout" | "Cast" | "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => at = first,
                _ => break,
            }
        }
        Ends { logits, features: noted }
    }
}
