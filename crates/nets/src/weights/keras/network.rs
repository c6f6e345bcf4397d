//! A graph as layers of Keras, each of which may be several of the graph, with the variables of each layer, and Keras'
//! order of the layers.
//!
//! Older files list the layers in that order, and `.weights.h5` files number them by it for each class. Keras sorts by
//! depth, the longest path to the model's output, and among equals by the order in which a walk from the output visits
//! them (`map_graph` in `keras/src/ops/function.py`).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::models::graph::{Graph, Layer, LayerId, Op};

/// The Keras classes whose layers have weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Conv2d,
    DepthwiseConv2d,
    SeparableConv2d,
    BatchNormalization,
    LayerNormalization,
    /// ConvNeXt's own.
    LayerScale,
    Dense,
}

impl Class {
    pub(super) const ALL: [Self; 7] = [
        Self::Conv2d,
        Self::DepthwiseConv2d,
        Self::SeparableConv2d,
        Self::BatchNormalization,
        Self::LayerNormalization,
        Self::LayerScale,
        Self::Dense,
    ];

    /// The class' name in Keras' configurations.
    pub(super) fn name(self) -> &'static str {
        self.names().0
    }

    /// The prefix of automatic layer names and of the groups in `.weights.h5` files.
    pub(super) fn prefix(self) -> &'static str {
        self.names().1
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Conv2d => ("Conv2D", "conv2d"),
            Self::DepthwiseConv2d => ("DepthwiseConv2D", "depthwise_conv2d"),
            Self::SeparableConv2d => ("SeparableConv2D", "separable_conv2d"),
            Self::BatchNormalization => ("BatchNormalization", "batch_normalization"),
            Self::LayerNormalization => ("LayerNormalization", "layer_normalization"),
            Self::LayerScale => ("LayerScale", "layer_scale"),
            Self::Dense => ("Dense", "dense"),
        }
    }
}

/// The tensor of the graph that a variable of a Keras layer becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The tensor's name in the graph.
    pub(super) tensor: String,
    /// The tensor's shape in the graph, PyTorch's layout.
    pub(super) shape: Vec<usize>,
    /// For each axis of the tensor the axis of Keras' array.
    pub(super) axes: &'static [usize],
}

/// A Keras layer with weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Weighted {
    pub(super) name: String,
    pub(super) class: Class,
    /// In the order in which Keras stores the variables.
    pub(super) slots: Vec<Slot>,
}

struct Node<'a> {
    name: &'a str,
    parts: Vec<&'a Layer>,
    inputs: Vec<usize>,
}

/// The layers with weights in the order of the family's code, and Keras' orders of them.
pub(super) struct Network {
    pub(super) layers: Vec<Weighted>,
    /// Indices into `layers` in the order of `model.layers`: for the whole model, and with `include_top=False`.
    pub(super) orders: [Vec<usize>; 2],
}

impl Network {
    pub(super) fn of(graph: &Graph) -> Self {
        let (nodes, node_of) = contract(graph);
        let mut layers = Vec::new();
        let weighted: Vec<Option<usize>> = nodes
            .iter()
            .map(|node| {
                layers.push(weighted(graph, node)?);
                Some(layers.len() - 1)
            })
            .collect();
        let order = |output: LayerId| {
            let all = listed(&nodes, node_of[output.0]);
            all.into_iter().filter_map(|node| weighted[node]).collect()
        };
        Self { orders: [order(graph.logits()), order(graph.features())], layers }
    }
}

/// One node for each Keras layer, and the node of each layer of the graph.
fn contract(graph: &Graph) -> (Vec<Node<'_>>, Vec<usize>) {
    let mut nodes: Vec<Node> = Vec::new();
    let mut by_name = BTreeMap::new();
    let mut node_of = Vec::with_capacity(graph.layers().len());
    for layer in graph.layers() {
        let name = layer.name.split('/').next().unwrap_or(&layer.name);
        let index = *by_name.entry(name).or_insert_with(|| {
            nodes.push(Node { name, parts: Vec::new(), inputs: Vec::new() });
            nodes.len() - 1
        });
        let outside = layer.inputs.iter().map(|input| node_of[input.0]).filter(|&input| input != index);
        nodes[index].inputs.extend(outside);
        nodes[index].parts.push(layer);
        node_of.push(index);
    }
    (nodes, node_of)
}

/// `model.layers` of the model that ends in `output`.
fn listed(nodes: &[Node], output: usize) -> Vec<usize> {
    let mut met = vec![output];
    let mut seen = vec![false; nodes.len()];
    seen[output] = true;
    let mut finished = Vec::new();
    let mut stack = vec![(output, 0)];
    while let Some((node, next)) = stack.pop() {
        let Some(&input) = nodes[node].inputs.get(next) else {
            finished.push(node);
            continue;
        };
        stack.push((node, next + 1));
        if !seen[input] {
            seen[input] = true;
            met.push(input);
            stack.push((input, 0));
        }
    }
    let mut depth = vec![0; nodes.len()];
    for &node in finished.iter().rev() {
        for &input in &nodes[node].inputs {
            depth[input] = depth[input].max(depth[node] + 1);
        }
    }
    met.sort_by_key(|&node| Reverse(depth[node]));
    met
}

fn weighted(graph: &Graph, node: &Node) -> Option<Weighted> {
    let slots: Vec<Slot> = node.parts.iter().flat_map(|layer| slots(graph, layer)).collect();
    let convolutions = node.parts.iter().filter(|layer| matches!(layer.op, Op::Conv { .. })).count();
    let class = node.parts.iter().find_map(|layer| match layer.op {
        Op::Conv { .. } if convolutions > 1 => Some(Class::SeparableConv2d),
        Op::Conv { .. } if is_depthwise(layer.op) => Some(Class::DepthwiseConv2d),
        Op::Conv { .. } => Some(Class::Conv2d),
        Op::BatchNorm { .. } => Some(Class::BatchNormalization),
        Op::LayerNorm { .. } => Some(Class::LayerNormalization),
        Op::LayerScale(_) => Some(Class::LayerScale),
        Op::Dense { .. } | Op::DenseMap { .. } => Some(Class::Dense),
        _ => None,
    })?;
    Some(Weighted { name: node.name.to_string(), class, slots })
}

/// Whether the layer is a `DepthwiseConv2D` in Keras. Those of `keras.applications` have no bias: ConvNeXt's with bias
/// is a `Conv2D` with groups.
fn is_depthwise(op: Op) -> bool {
    matches!(op, Op::Conv { groups, out, bias: false, .. } if groups > 1 && groups == out)
}

fn slots(graph: &Graph, layer: &Layer) -> Vec<Slot> {
    let kernel: &'static [usize] = match layer.op {
        // (kh, kw, channels, 1)
        Op::Conv { .. } if is_depthwise(layer.op) => &[2, 3, 0, 1],
        // (kh, kw, in / groups, out)
        Op::Conv { .. } => &[3, 2, 0, 1],
        // (in, out)
        _ => &[1, 0],
    };
    let slot = |tensor: String, shape: Vec<usize>| {
        let axes = if shape.len() == 1 { &[0] } else { kernel };
        Slot { tensor, shape, axes }
    };
    graph.parameters_of(layer).into_iter().map(|parameter| slot(parameter.name, parameter.shape)).collect()
}
