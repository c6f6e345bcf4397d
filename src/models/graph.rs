//! A network as data: named layers with inputs and inferred shapes, built by [`super::builder`].
//!
//! From a [`Graph`] come the layer table, the list of weights that a file must hold, taps at any layer by name, and the programs of the
//! executors. Shapes are those of one picture, channels first in name only: `Map { c, h, w }`; the order in memory is the executor's affair.

use std::collections::BTreeMap;

use thiserror::Error;

/// Index of a layer in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerId(pub usize);

/// Shape of what a layer gives for one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A feature map of `c` channels, `h` × `w` positions.
    Map { c: usize, h: usize, w: usize },
    /// A vector of `n` values.
    Vector(usize),
}

impl Shape {
    /// Number of values.
    pub fn len(self) -> usize {
        match self {
            Shape::Map { c, h, w } => c * h * w,
            Shape::Vector(n) => n,
        }
    }

    /// True when there is no value at all.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// As Keras writes it: `[h, w, c]`, or `[n]`.
    pub fn dims(self) -> Vec<usize> {
        match self {
            Shape::Map { c, h, w } => vec![h, w, c],
            Shape::Vector(n) => vec![n],
        }
    }
}

/// Zeros put around a map before a window runs over it: top, bottom, left, right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pad {
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

impl Pad {
    /// True when nothing is added.
    pub fn is_zero(self) -> bool {
        self == Pad::default()
    }
}

/// A sliding window: kernel and stride in (height, width), and the zeros around the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: Pad,
}

/// What is done to each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// Over the whole vector.
    Softmax,
}

/// What a layer does to its inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Input,
    /// Weights `(out, in / groups, kh, kw)`; `groups` is 1 or the number of channels.
    Conv {
        out: usize,
        window: Window,
        groups: usize,
        bias: bool,
    },
    /// (x − mean) / √(variance + eps) · weight + bias, by channel.
    BatchNorm {
        eps: f64,
    },
    Activation(Activation),
    Add,
    /// Mean over all positions: a map becomes a vector.
    GlobalAvgPool,
    /// Weights `(out, in)` and a bias.
    Dense {
        out: usize,
    },
}

/// A named step of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pub name: String,
    /// What stands before the dot in the names of its tensors: the layer's name, save where a framework counts two layers as one.
    pub owner: String,
    pub op: Op,
    pub inputs: Vec<LayerId>,
    pub shape: Shape,
}

/// A tensor that a weight file must hold for a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The layer's `owner`, a dot, and PyTorch's word for the tensor: `bn1.running_mean`.
    pub name: String,
    /// PyTorch's layout: convolutions `(out, in / groups, kh, kw)`, dense `(out, in)`.
    pub shape: Vec<usize>,
}

/// A network could not be built for the input asked for, or a name is not in it.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum GraphError {
    #[error(
        "layer `{layer}`: a {kernel:?} window does not fit its {height}×{width} input; the picture size of the recipe is too small"
    )]
    TooSmall { layer: String, kernel: [usize; 2], height: usize, width: usize },
    #[error("layer `{layer}`: {reason}")]
    Invalid { layer: String, reason: String },
    #[error("two layers are called `{0}`")]
    DuplicateName(String),
}

/// A network: layers in an order in which every input comes before its use.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub(super) layers: Vec<Layer>,
    pub(super) names: BTreeMap<String, LayerId>,
}

impl Graph {
    /// All layers, inputs before uses.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// One layer.
    pub fn layer(&self, id: LayerId) -> &Layer {
        &self.layers[id.0]
    }

    /// The layer called `name`.
    pub fn find(&self, name: &str) -> Option<LayerId> {
        self.names.get(name).copied()
    }

    /// Every name by which a layer is found, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Shape of the first input of a layer, or its own where it has none.
    pub fn input_shape(&self, layer: &Layer) -> Shape {
        layer.inputs.first().map_or(layer.shape, |&id| self.layer(id).shape)
    }

    /// For each layer whether `taps` need it.
    pub fn needed_for(&self, taps: &[LayerId]) -> Vec<bool> {
        let mut needed = vec![false; self.layers.len()];
        taps.iter().for_each(|tap| needed[tap.0] = true);
        for (i, layer) in self.layers.iter().enumerate().rev() {
            if needed[i] {
                layer.inputs.iter().for_each(|input| needed[input.0] = true);
            }
        }
        needed
    }

    /// The tensors that a layer needs.
    pub fn parameters_of(&self, layer: &Layer) -> Vec<Parameter> {
        let parameter = |word: &str, shape: Vec<usize>| Parameter { name: format!("{}.{word}", layer.owner), shape };
        match (layer.op, self.input_shape(layer)) {
            (Op::Conv { out, window, groups, bias }, Shape::Map { c, .. }) => {
                let [kh, kw] = window.kernel;
                let mut all = vec![parameter("weight", vec![out, c / groups, kh, kw])];
                if bias {
                    all.push(parameter("bias", vec![out]));
                }
                all
            }
            (Op::BatchNorm { .. }, Shape::Map { c, .. }) => {
                ["weight", "bias", "running_mean", "running_var"].iter().map(|word| parameter(word, vec![c])).collect()
            }
            (Op::Dense { out }, Shape::Vector(n)) => {
                vec![parameter("weight", vec![out, n]), parameter("bias", vec![out])]
            }
            _ => Vec::new(),
        }
    }

    /// Every tensor of the network, in the order of the layers.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.layers.iter().flat_map(|layer| self.parameters_of(layer)).collect()
    }

    /// Multiply-accumulates of a layer for one picture.
    pub fn macs_of(&self, layer: &Layer) -> u64 {
        match (layer.op, self.input_shape(layer), layer.shape) {
            (Op::Conv { window, groups, .. }, Shape::Map { c, .. }, out) => {
                (out.len() * (c / groups) * window.kernel[0] * window.kernel[1]) as u64
            }
            (Op::Dense { out }, shape, _) => (out * shape.len()) as u64,
            _ => 0,
        }
    }
}
