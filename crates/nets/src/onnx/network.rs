//! From the nodes of a file to a graph: what each value is, when a layer is made of it, and how layers are called.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::array::Array;
use super::constants::Budget;
use super::curve::Curve;
use super::file::OnnxFile;
use super::import::Asked;
use super::node::Node;
use super::scores::Scores;
use super::tokens::Made;
use super::turn::Turn;
use super::view::{Axis, CHANNELS_FIRST, CHANNELS_LAST, Part, View, whole};
use super::{INPUT, OnnxError};
use crate::models::builder::Builder;
use crate::models::graph::{FlattenOrder, LayerId, Shape};
use crate::weights::Tensor;

/// Problems that a message shows.
const SHOWN: usize = 12;

/// The counterpart of a value of the file.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Constant(Array),
    Layer(Seen),
    /// A step on the way of a layer norm that is written as single nodes.
    Moment(Moment),
    /// A step on the way of attention.
    Scores(Box<Scores>),
}

/// A layer under the dimensions of a value, and what is still to be done to its numbers.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub id: LayerId,
    pub view: View,
    pub pending: Pending,
}

/// Arithmetic that becomes a layer when something reads the numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pending {
    Nothing,
    Curve(Curve),
    /// x · scale + shift, by channel.
    Affine(Affine),
    /// Divided by the length of the vector in the dimension of these parts.
    Unit(Vec<Part>),
    /// A step of a rotary embedding, and the parts of the dimension of the vectors, then of that of the positions.
    Turn(Turn, Vec<Vec<Part>>),
}

impl Pending {
    /// The parts of the dimensions that the arithmetic reads as a whole: of the vectors, then of the positions.
    pub(super) fn held(&self) -> &[Vec<Part>] {
        match self {
            Self::Unit(vector) => std::slice::from_ref(vector),
            Self::Turn(_, held) => held,
            Self::Nothing | Self::Curve(_) | Self::Affine(_) => &[],
        }
    }
}

impl Seen {
    /// The same layer under another view, where that keeps the dimensions that its arithmetic reads as a whole.
    pub(super) fn under(self, view: View) -> Result<Self, String> {
        let held = self.pending.held();
        let stays = |parts: &Vec<Part>| (0..view.rank()).any(|dim| view.parts(dim) == parts);
        let same = view.len() == self.view.len() && view.roll() == self.view.roll() && held.iter().all(stays);
        if held.is_empty() || same {
            Ok(Self { view, ..self })
        } else {
            Err("vectors of length 1, or of a rotary embedding, are cut or joined on the way to attention".to_string())
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Affine {
    pub scale: Vec<f64>,
    pub shift: Vec<f64>,
}

impl Affine {
    /// Whether it changes nothing.
    fn is_nothing(&self) -> bool {
        self.scale.iter().all(|&scale| scale == 1.0) && self.shift.iter().all(|&shift| shift == 0.0)
    }
}

/// See [`Value::Moment`]: mean and variance are those of the channels of a position. `Length` is the length of the
/// vector in the last dimension; `Lengths` has one for each channel, over all positions.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub id: LayerId,
    pub view: View,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Mean,
    /// x − mean.
    Centred,
    /// Its squares.
    Squares,
    /// Their mean, and what was added to it.
    Variance(f64),
    /// Its root.
    Deviation(f64),
    /// One over the root.
    Inverse(f64),
    /// √(Σ x²).
    Length,
    /// √(Σ x²) of each channel.
    Lengths,
    /// The mean of these, and what was added to it.
    MeanLength(f64),
}

/// A graph in the making.
#[derive(Debug)]
pub(super) struct Importer<'a> {
    pub(super) file: &'a OnnxFile,
    pub(super) graph: Builder,
    pub(super) tensors: BTreeMap<String, Tensor>,
    pub(super) values: HashMap<&'a str, Value>,
    makers: HashMap<&'a str, &'a Node>,
    /// Names of nodes.
    titles: HashSet<&'a str>,
    /// Names of layers.
    names: HashSet<String>,
    /// The parts of layers of tokens.
    pub(super) made: BTreeMap<LayerId, Made>,
    pub(super) budget: Budget,
    pub(super) problems: Vec<String>,
}

impl<'a> Importer<'a> {
    pub(super) fn new(file: &'a OnnxFile, asked: Asked) -> Result<(Self, LayerId), OnnxError> {
        let picture = file.picture()?;
        let wrong = |reason: String| OnnxError::Input { path: file.path.clone(), reason };
        if picture.channels != asked.channels {
            let (found, wanted) = (picture.channels, asked.channels);
            return Err(wrong(format!("it takes pictures of {found} channels, not of {wanted}")));
        }
        for (fixed, asked) in picture.size.into_iter().zip(asked.size) {
            if let Some(fixed) = fixed.filter(|&fixed| fixed != asked) {
                return Err(wrong(format!(
                    "it takes pictures of {fixed} pixels, the recipe gives {asked}: set `extract.recipe.size`"
                )));
            }
        }
        let [h, w] = asked.size;
        let (graph, input) = Builder::new(asked.channels, h, w);
        let nodes: Vec<&Node> = file.nodes.iter().flat_map(Node::with_inner).collect();
        let makers = nodes.iter().flat_map(|node| node.outputs.iter().map(|output| (output.as_str(), *node)));
        let mut importer = Self {
            file,
            graph,
            tensors: BTreeMap::new(),
            values: HashMap::new(),
            makers: makers.collect(),
            titles: nodes.iter().map(|node| node.name.as_str()).collect(),
            names: HashSet::from([INPUT.to_string()]),
            made: BTreeMap::new(),
            budget: Budget::default(),
            problems: Vec::new(),
        };
        let axes = if picture.last { CHANNELS_LAST } else { CHANNELS_FIRST };
        let view = View::of(importer.graph.shape(input), &axes);
        let seen = Value::Layer(Seen { id: input, view, pending: Pending::Nothing });
        importer.values.insert(INPUT, seen.clone());
        if !file.prepares() {
            importer.values.extend(file.inputs.iter().map(|input| (input.name.as_str(), seen.clone())));
        }
        Ok((importer, input))
    }

    /// Gives values to the outputs of a node. A problem is noted; nodes that need what it would have given are passed
    /// over.
    pub(super) fn step(&mut self, node: &'a Node) {
        if node.inputs.iter().any(|name| !name.is_empty() && !self.is_known(name)) {
            let missing = node.inputs.iter().find(|name| !name.is_empty() && !self.makers.contains_key(name.as_str()));
            if let Some(name) = missing.filter(|name| !self.is_known(name)) {
                self.problems.push(format!("`{}` of node `{}`: nothing gives its input `{name}`", node.op, node.name));
            }
            return;
        }
        let done = match self.folded(node) {
            Some(arrays) => arrays.and_then(|arrays| self.budget.keep(arrays)),
            None => self.operator(node),
        };
        match done {
            Ok(values) => self.values.extend(node.outputs.iter().map(String::as_str).zip(values)),
            Err(reason) => {
                let domain = if node.is_standard() { "ai.onnx" } else { &node.domain };
                let name = [&node.name].into_iter().chain(&node.outputs).find(|name| !name.is_empty());
                let name = name.map(String::as_str).unwrap_or_default();
                self.problems.push(format!("`{}` of node `{name}` (domain {domain}): {reason}", node.op));
            }
        }
    }

    fn is_known(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.file.constants.contains_key(name)
    }

    /// The constant that is that input of a node.
    pub(super) fn constant(&self, node: &Node, i: usize) -> Option<&Array> {
        self.constant_called(node.input(i)?)
    }

    /// The constant of that name.
    pub(super) fn constant_called(&self, name: &str) -> Option<&Array> {
        match self.values.get(name) {
            Some(Value::Constant(array)) => Some(array),
            Some(_) => None,
            None => self.file.constants.get(name),
        }
    }

    /// An input of a node.
    pub(super) fn value(&self, node: &Node, i: usize) -> Result<Value, String> {
        let name = node.input(i).ok_or_else(|| format!("input {i} is missing"))?;
        let constant = || self.file.constants.get(name).cloned().map(Value::Constant);
        self.values.get(name).cloned().or_else(constant).ok_or_else(|| format!("input {i} is missing"))
    }

    /// An input that is a layer, whatever is still to be done to its numbers.
    pub(super) fn seen(&self, node: &Node, i: usize) -> Result<Seen, String> {
        match self.value(node, i)? {
            Value::Layer(seen) => Ok(seen),
            Value::Constant(_) => Err(format!("input {i} is a constant, not a value that depends on the picture")),
            Value::Moment(_) => Err("mean and variance of channels are known in a layer norm alone".to_string()),
            Value::Scores(_) => Err("products of two values are known in attention alone".to_string()),
        }
    }

    /// An input whose numbers a layer gives.
    pub(super) fn layer(&mut self, node: &'a Node, i: usize) -> Result<Seen, String> {
        self.seen(node, i)?;
        self.settled(node.input(i).unwrap_or_default())
    }

    /// The value `name`, its arithmetic done.
    pub(super) fn done(&mut self, name: &'a str) -> Result<Seen, String> {
        let Some(Value::Layer(seen)) = self.values.get(name).cloned() else {
            return Err("it is a constant, or a step of a layer norm or of attention, and no layer".to_string());
        };
        let id = match &seen.pending {
            Pending::Nothing => return Ok(seen),
            Pending::Turn(..) => return Err("rotary embeddings are known in attention alone".to_string()),
            Pending::Unit(_) => return Err("vectors of length 1 are known in attention alone".to_string()),
            Pending::Affine(affine) => self.last(name, &seen, seen.id, affine),
            Pending::Curve(curve) => {
                let found =
                    curve.recognise().ok_or("the chain of nodes that ends here is no activation that is known")?;
                let uniform = |value: f64| vec![value; self.channels(seen.id)];
                let affine = Affine { scale: uniform(found.scale), shift: uniform(found.shift) };
                let id = match found.activation {
                    Some(activation) => {
                        let inner = Affine { scale: uniform(found.inner), shift: uniform(0.0) };
                        let x = if inner.is_nothing() {
                            seen.id
                        } else {
                            let layer = self.inside(name);
                            self.affine(&layer, seen.id, &inner)
                        };
                        let layer = if affine.is_nothing() { self.last_name(name, &seen) } else { self.inside(name) };
                        self.graph.activation(&layer, x, activation)
                    }
                    None => seen.id,
                };
                self.last(name, &seen, id, &affine)
            }
        };
        let seen = Seen { id, pending: Pending::Nothing, ..seen };
        self.values.insert(name, Value::Layer(seen.clone()));
        Ok(seen)
    }

    /// The channels of a layer's map, or the values of its vector.
    pub(super) fn channels(&self, id: LayerId) -> usize {
        whole(self.graph.shape(id), Axis::C).first().map_or(1, |part| part.size)
    }

    /// x · scale + shift as the last layer of the arithmetic of `value`; `id` itself where that changes nothing.
    fn last(&mut self, value: &str, seen: &Seen, id: LayerId, affine: &Affine) -> LayerId {
        if affine.is_nothing() {
            return id;
        }
        let name = self.last_name(value, seen);
        self.affine(&name, id, affine)
    }

    /// The name of the last layer of the arithmetic of `value`: the value's own name, unless another layer behind it
    /// flattens, cuts or shuffles its numbers to give the value.
    fn last_name(&mut self, value: &str, Seen { id, view, .. }: &Seen) -> String {
        let shape = self.graph.shape(*id);
        let is_flat = view.rank() == 2 && !matches!(shape, Shape::Vector(_));
        if view.is_permutation(shape) && !is_flat { self.name(value) } else { self.inside(value) }
    }

    /// Notes a tensor of the layer called `layer`.
    pub(super) fn tensor(&mut self, layer: &str, word: &str, tensor: Tensor) {
        self.tensors.insert(format!("{layer}.{word}"), tensor);
    }

    /// The name of a layer that gives `value`: that of the node, else that of the value, else one made of it.
    pub(super) fn name(&mut self, value: &str) -> String {
        let node = self.makers.get(value).map(|node| node.name.clone()).filter(|name| !name.is_empty());
        // a value of another node goes before a node of the same name
        let maker = |name: &str| self.makers.get(name).map(|node| &node.name);
        let node = node.filter(|name| maker(name).is_none_or(|maker| maker == name));
        let free = node.into_iter().chain([value.to_string()]).find(|name| !self.names.contains(name));
        let Some(free) = free else { return self.inside(value) };
        self.names.insert(free.clone());
        free
    }

    /// The name of a layer on the way to `value`: one that no node and no value of the file has.
    pub(super) fn inside(&mut self, value: &str) -> String {
        let is_free = |name: &String| {
            !self.names.contains(name)
                && !self.makers.contains_key(name.as_str())
                && !self.titles.contains(name.as_str())
        };
        let free = (1..).map(|i| format!("{value}/{i}")).find(is_free).unwrap_or_default();
        self.names.insert(free.clone());
        free
    }

    /// An input as a map in the order (N, C, H, W).
    pub(super) fn map(&mut self, node: &'a Node, i: usize) -> Result<LayerId, String> {
        self.seen(node, i)?;
        self.as_map(node.input(i).unwrap_or_default())
    }

    fn as_map(&mut self, name: &'a str) -> Result<LayerId, String> {
        let mut seen = self.settled(name)?;
        if let Some(map) = self.grid(name, &seen) {
            seen = map;
            self.values.insert(name, Value::Layer(seen.clone()));
        }
        let shape = self.graph.shape(seen.id);
        if seen.view == View::plain(shape) && matches!(shape, Shape::Map { .. }) {
            return Ok(seen.id);
        }
        let rows = seen.view.shuffled(shape);
        let rows = rows.ok_or_else(|| format!("a map was expected, not {:?}", seen.view.dims()))?;
        let layer = self.name(name);
        let id = self.graph.shuffle(&layer, seen.id, rows);
        let view = View::plain(self.graph.shape(id));
        self.values.insert(name, Value::Layer(Seen { id, view, pending: Pending::Nothing }));
        Ok(id)
    }

    /// An input as a vector a picture.
    pub(super) fn vector(&mut self, node: &'a Node, i: usize) -> Result<LayerId, String> {
        self.seen(node, i)?;
        self.as_vector(node.input(i).unwrap_or_default())
    }

    fn as_vector(&mut self, name: &'a str) -> Result<LayerId, String> {
        let seen = self.settled(name)?;
        let shape = self.graph.shape(seen.id);
        let dims = seen.view.dims();
        let wide = dims.iter().filter(|&&size| size > 1).count();
        if wide > 1 {
            return Err(format!("a vector was expected, not {dims:?}"));
        }
        if let Shape::Vector(_) = shape {
            return Ok(seen.id);
        }
        let flat = [1, shape.len()];
        let order = |axes: &[Axis]| View::of(shape, axes).reshape(&flat);
        let own = seen.view.reshape(&flat);
        let order = match own {
            own if own == order(&CHANNELS_FIRST) && matches!(shape, Shape::Map { .. }) => FlattenOrder::ChannelsFirst,
            own if own == order(&CHANNELS_LAST) => FlattenOrder::ChannelsLast,
            _ => return Err(format!("{dims:?} are the values of a map in an order that is not known")),
        };
        let layer = self.name(name);
        let id = self.graph.flatten(&layer, seen.id, order);
        let at = dims.iter().position(|&size| size > 1).unwrap_or(dims.len() - 1);
        let view = seen.view.replaced(at, whole(self.graph.shape(id), Axis::C));
        self.values.insert(name, Value::Layer(Seen { id, view, pending: Pending::Nothing }));
        Ok(id)
    }

    /// The layer that gives the value `name`: a map whatever the order of its axes, else a vector.
    pub(super) fn tap(&mut self, name: &'a str) -> Result<LayerId, String> {
        if !self.is_known(name) {
            return Err("what it needs is not there".to_string());
        }
        let seen = self.settled(name)?;
        if seen.view.is_permutation(self.graph.shape(seen.id)) {
            let is_vector = seen.view.rank() == 2 && seen.view.dims()[0] == 1;
            return Ok(if is_vector { self.as_vector(name)? } else { seen.id });
        }
        self.as_vector(name).or_else(|_| self.as_map(name))
    }

    /// Gives names of nodes and values to their layers, those that are asked for first.
    pub(super) fn alias(&mut self, asked: &[String], ids: &[LayerId]) {
        let mut all: Vec<(String, LayerId)> = asked.iter().cloned().zip(ids.iter().copied()).collect();
        for node in &self.file.nodes {
            for (i, output) in node.outputs.iter().enumerate() {
                let Some(Value::Layer(Seen { id, view, pending: Pending::Nothing })) = self.values.get(output.as_str())
                else {
                    continue;
                };
                if view.is_permutation(self.graph.shape(*id)) {
                    let name = (i == 0 && !node.name.is_empty()).then(|| node.name.clone());
                    all.extend(name.into_iter().chain([output.clone()]).map(|name| (name, *id)));
                }
            }
        }
        for (name, id) in all {
            if self.names.insert(name.clone()) {
                self.graph.alias(&name, id);
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), OnnxError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        // of many nodes with the same fault the first ones tell enough
        let distinct: BTreeSet<&String> = self.problems.iter().collect();
        let mut list: String = distinct.iter().take(SHOWN).map(|problem| format!("\n  {problem}")).collect();
        if distinct.len() > SHOWN {
            list.push_str(&format!("\n  … and {} more", distinct.len() - SHOWN));
        }
        Err(OnnxError::Unsupported { path: self.file.path.clone(), list })
    }
}
