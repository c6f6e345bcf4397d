//! A network as data: named layers with inputs and inferred shapes, built by the `builder`.
//!
//! From a [`Graph`] come the layer table, the list of weights that a file must hold, taps at any layer by name, and the
//! programs of the executors. Shapes are those of one picture, channels first in name only: `Map { c, h, w }`; the
//! order in memory is the executor's affair.

use std::collections::BTreeMap;

pub use featurize_kernels::{Activation, Pad, Pooling, Window};
use thiserror::Error;

pub use super::tokens::{Attention, AttentionWindow, PositionResize, RelativeBias, TokenTensors};

/// Index of a layer in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerId(pub usize);

/// Shape of what a layer gives for one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A feature map of `c` channels, `h` × `w` positions.
    Map { c: usize, h: usize, w: usize },
    /// `n` tokens of `c` channels each.
    Tokens { n: usize, c: usize },
    /// A vector of `n` values.
    Vector(usize),
}

impl Shape {
    /// Channels of a position; all values of a vector.
    pub fn channels(self) -> usize {
        match self {
            Shape::Map { c, .. } | Shape::Tokens { c, .. } | Shape::Vector(c) => c,
        }
    }

    /// The same positions with so many channels.
    #[must_use]
    pub fn with_channels(self, c: usize) -> Self {
        match self {
            Shape::Map { h, w, .. } => Shape::Map { c, h, w },
            Shape::Tokens { n, .. } => Shape::Tokens { n, c },
            Shape::Vector(_) => Shape::Vector(c),
        }
    }

    /// Number of values.
    pub fn len(self) -> usize {
        match self {
            Shape::Map { c, h, w } => c * h * w,
            Shape::Tokens { n, c } => n * c,
            Shape::Vector(n) => n,
        }
    }

    /// True when there is no value at all.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// As Keras writes it: `[h, w, c]`, `[n, c]` or `[n]`.
    pub fn dims(self) -> Vec<usize> {
        match self {
            Shape::Map { c, h, w } => vec![h, w, c],
            Shape::Tokens { n, c } => vec![n, c],
            Shape::Vector(n) => vec![n],
        }
    }
}

/// How the values of a map stand in the vector that it is flattened to; weights of the dense layer behind it count on
/// that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlattenOrder {
    /// Keras: position by position, (h, w, c).
    ChannelsLast,
    /// PyTorch: plane by plane, (c, h, w).
    ChannelsFirst,
}

/// The operation of a layer on its inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Input,
    /// Zeros around a map: Keras' `ZeroPadding2D`.
    ZeroPad(Pad),
    /// A map without its first row and its first column: Keras' `Cropping2D(((1, 0), (1, 0)))`.
    Crop,
    /// Weights `(out, in / groups, kh, kw)`: each group of filters sees its share of the channels alone.
    Conv {
        out: usize,
        window: Window,
        groups: usize,
        bias: bool,
    },
    /// (x − mean) / √(variance + eps) · weight + bias, by channel; without `scale` there is no weight (Keras'
    /// `scale=False`).
    BatchNorm {
        eps: f64,
        scale: bool,
    },
    /// (x − mean) / √(variance + eps) · weight + bias, mean and variance being those of the channels of a position.
    LayerNorm {
        eps: f64,
    },
    /// x times a learned factor a channel, a tensor of this name: PyTorch has it as a vector, or with two dimensions of
    /// one behind it.
    LayerScale(&'static str),
    /// x · `scale` + `shift` for each of the three channels, or for the only one, constants of the network itself:
    /// torchvision's `transform_input`.
    Rescale {
        scale: [f64; 3],
        shift: [f64; 3],
    },
    /// x times a constant of the network itself.
    Scale(f64),
    Activation(Activation),
    /// exp(x) / Σ exp(x) over the channels.
    Softmax,
    /// x / √(Σ x²) over the values of a vector; one of zeros stays as it is.
    Normalize,
    /// For each channel of a map the length of its values over all positions, divided by the mean of these lengths and
    /// `eps`: the responses of ConvNeXtV2's global response norm. A vector.
    Responses {
        eps: f64,
    },
    Add,
    /// The first input, a map, times the second, which has one value for each of its channels.
    Multiply,
    /// Maps of equal height and width, their channels one after the other.
    Concat,
    /// As many channels as the layer's shape has, the first of them this one.
    Slice(usize),
    /// Channels as a table of so many rows, read column by column: ShuffleNet's `channel_shuffle`.
    Shuffle(usize),
    Pool {
        pooling: Pooling,
        window: Window,
    },
    /// PyTorch's `AdaptiveAvgPool2d`: cell i of n covers positions ⌊i·size/n⌋ to ⌈(i+1)·size/n⌉.
    AdaptiveAvgPool([usize; 2]),
    /// Mean over all positions: a map becomes a vector.
    GlobalAvgPool,
    /// A map becomes a vector.
    Flatten(FlattenOrder),
    /// Weights `(out, in)`.
    Dense {
        out: usize,
        bias: bool,
    },
    /// The same at each position of a map, or at each token: a convolution of 1 × 1 that its library holds as a dense
    /// layer.
    DenseMap {
        out: usize,
        bias: bool,
    },
    /// A map becomes tokens. A second input, a vector, is a token before them.
    Tokens(TokenTensors),
    /// Scores between the positions of its input, whose channels are queries, keys and values of all heads.
    Attention(Attention),
    /// Tokens of queries, keys and values of so many heads, with queries and keys turned (rotary embeddings): x · cos +
    /// (−second half of x, first half of x) · sin for each vector x, `(tokens, channels of a head)` constants of the
    /// network itself.
    Turn {
        heads: usize,
    },
    /// One learned query attends to all tokens, whose channels are keys and values of so many heads: a vector.
    AttentionPool {
        heads: usize,
    },
    /// As many tokens as the layer's shape has positions, the first of them this one.
    Select(usize),
    /// Four neighbours of a map become one position; their channels follow one another, column by column: Swin's patch
    /// merging.
    Merge,
}

/// A named step of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name in the library that the network is built after. Where Keras has one layer and this graph has several,
    /// the parts before the last are called after it with a slash: `block1_conv1/BiasAdd`, then `block1_conv1`.
    pub name: String,
    /// The part before the dot in the names of its tensors: the layer's name, save where a framework counts two layers
    /// as one. Empty: their names have no dot.
    pub owner: String,
    pub op: Op,
    pub inputs: Vec<LayerId>,
    pub shape: Shape,
}

impl Layer {
    /// The name of the tensor that is `word` to the layer.
    pub fn tensor(&self, word: &str) -> String {
        match self.owner.as_str() {
            "" => word.to_string(),
            // PyTorch's `MultiheadAttention` holds three projections as tensors of its own
            owner if owner.ends_with(".in_proj") => format!("{owner}_{word}"),
            owner => format!("{owner}.{word}"),
        }
    }
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
        "layer `{layer}`: a {kernel:?} window does not fit its {height}×{width} input; the picture size of the recipe \
         is too small"
    )]
    TooSmall { layer: String, kernel: [usize; 2], height: usize, width: usize },
    #[error("{source_word} has no {network}")]
    NoSource { source_word: &'static str, network: &'static str },
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
    pub(super) features: LayerId,
    pub(super) logits: LayerId,
    pub(super) pooled: Option<LayerId>,
    pub(super) dropped: Vec<String>,
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

    /// The last feature map: what Keras gives for `include_top=False`. Of transformers the vector that their library
    /// makes of the tokens.
    pub fn features(&self) -> LayerId {
        self.features
    }

    /// The tokens or the map of which that vector is made.
    pub fn pooled(&self) -> Option<LayerId> {
        self.pooled
    }

    /// The tensors of the tokens that a layer is computed of, and the shapes of the map that they are made of and of
    /// all tokens.
    fn tokens(&self, id: LayerId) -> Option<(TokenTensors, [Shape; 2])> {
        let needed = self.needed_for(&[id]);
        let layers = self.layers.iter().zip(needed).filter(|(_, needed)| *needed);
        layers.rev().find_map(|(layer, _)| match layer.op {
            Op::Tokens(tensors) => Some((tensors, [self.input_shape(layer), layer.shape])),
            _ => None,
        })
    }

    /// The class token in the output of a layer, as a layer of its own; none: there is no such token.
    pub fn class_token(&mut self, id: LayerId) -> Option<LayerId> {
        let (tensors, _) = self.tokens(id)?;
        let Shape::Tokens { c, .. } = self.layer(id).shape else { return None };
        tensors.class.map(|_| self.select(id, "class token", 0, Shape::Vector(c)))
    }

    /// The map of the positions in the output of a layer, without class and register tokens; a map is that already.
    pub fn positions(&mut self, id: LayerId) -> LayerId {
        let Shape::Tokens { n, c } = self.layer(id).shape else { return id };
        match self.tokens(id) {
            Some((_, [grid, all])) if all.with_channels(c) == (Shape::Tokens { n, c }) => {
                self.select(id, "positions", n - grid.len() / grid.channels(), grid.with_channels(c))
            }
            _ => id,
        }
    }

    fn select(&mut self, id: LayerId, word: &str, first: usize, shape: Shape) -> LayerId {
        let name = format!("{}, {word}", self.layer(id).name);
        if let Some(id) = self.find(&name) {
            return id;
        }
        let new = LayerId(self.layers.len());
        self.names.insert(name.clone(), new);
        self.layers.push(Layer { owner: name.clone(), name, op: Op::Select(first), inputs: vec![id], shape });
        new
    }

    /// The class scores before softmax.
    pub fn logits(&self) -> LayerId {
        self.logits
    }

    /// Beginnings of the names of tensors that files hold for training alone: auxiliary heads.
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// The layer called `name`.
    pub fn find(&self, name: &str) -> Option<LayerId> {
        self.names.get(name).copied()
    }

    /// The name by which a user knows a layer: the module that ends in it where the layer is only its last part (`bn2`
    /// for `bn2.act`), else its own name.
    pub fn title(&self, id: LayerId) -> &str {
        let own = self.layer(id).name.as_str();
        let module = |name: &&String| own.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'));
        let modules = self.names.iter().filter(|(_, named)| **named == id).map(|(name, _)| name);
        modules.filter(module).min_by_key(|name| name.len()).map_or(own, String::as_str)
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
        let parameter = |word: &str, shape: Vec<usize>| Parameter { name: layer.tensor(word), shape };
        match (layer.op, self.input_shape(layer)) {
            (Op::Conv { out, window, groups, bias }, Shape::Map { c, .. }) => {
                let [kh, kw] = window.kernel;
                let mut all = vec![parameter("weight", vec![out, c / groups, kh, kw])];
                if bias {
                    all.push(parameter("bias", vec![out]));
                }
                all
            }
            (Op::BatchNorm { scale, .. }, shape) => {
                let c = shape.channels();
                let words = ["weight", "bias", "running_mean", "running_var"];
                words[usize::from(!scale)..].iter().map(|word| parameter(word, vec![c])).collect()
            }
            (Op::LayerNorm { .. }, shape) => {
                let c = shape.channels();
                vec![parameter("weight", vec![c]), parameter("bias", vec![c])]
            }
            (Op::LayerScale(word), shape) => {
                let c = shape.channels();
                vec![parameter(word, if word == "layer_scale" { vec![c, 1, 1] } else { vec![c] })]
            }
            (Op::Dense { out, bias } | Op::DenseMap { out, bias }, shape) => {
                let weight = parameter("weight", vec![out, shape.channels()]);
                std::iter::once(weight).chain(bias.then(|| parameter("bias", vec![out]))).collect()
            }
            (Op::Tokens(tokens), Shape::Map { c, h, w }) => {
                let class = tokens.class.map(|name| parameter(name, vec![1, 1, c]));
                let registers = tokens.registers.map(|(name, n)| parameter(name, vec![1, n, c]));
                let n = h * w + usize::from(tokens.class_position);
                class.into_iter().chain(registers).chain([parameter(tokens.positions, vec![1, n, c])]).collect()
            }
            (Op::Attention(attention), _) => {
                let all = attention.parameters(layer.shape);
                all.into_iter().map(|(word, shape)| parameter(word, shape)).collect()
            }
            (Op::Turn { heads }, shape) => {
                let dims = vec![shape.len() / shape.channels(), shape.channels() / 3 / heads];
                ["cos", "sin"].map(|word| parameter(word, dims.clone())).to_vec()
            }
            (Op::AttentionPool { .. }, shape) => {
                let c = shape.channels() / 2;
                [("latent", vec![1, 1, c]), ("q.weight", vec![c, c]), ("q.bias", vec![c])]
                    .map(|(word, shape)| parameter(word, shape))
                    .to_vec()
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
            (Op::Dense { out, .. } | Op::DenseMap { out, .. }, shape, _) => (out * shape.len()) as u64,
            (Op::Attention(attention), shape, out) => (2 * attention.keys(shape) * out.len()) as u64,
            (Op::AttentionPool { .. }, shape, _) => shape.len() as u64,
            _ => 0,
        }
    }
}
