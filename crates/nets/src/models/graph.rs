//! A network as data: named layers with inputs and inferred shapes, built by the `builder`.
//!
//! A [`Graph`] gives the layer table, the list of tensors that a weight file must have, taps at any layer by name, and
//! the programs of the executors. Shapes are those of one picture. `Map { c, h, w }` does not say how values lie in
//! memory: the executor decides.

use std::collections::BTreeMap;

pub use featurize_kernels::{Activation, Pad, Pooling, Window};
use thiserror::Error;

pub use super::tokens::{Attention, AttentionWindow, PositionResize, RelativeBias, TokenTensors};

/// Index of a layer in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerId(pub usize);

/// Shape of a layer's output for one picture.
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

    /// True when there are no values.
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

/// The order of a map's values in the vector to which it is flattened; the weights of the dense layer after it depend
/// on it.
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
    /// Weights `(out, in / groups, kh, kw)`: each group of filters reads its share of the channels.
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
    /// (x − mean) / √(variance + eps) · weight + bias, with mean and variance over the channels of a position.
    LayerNorm {
        eps: f64,
    },
    /// x times a learned factor for each channel, a tensor of this name. In PyTorch it is a vector, or has two trailing
    /// dimensions of 1.
    LayerScale(&'static str),
    /// x · `scale` + `shift` for each of three channels, or for a single one, with constants of the network:
    /// torchvision's `transform_input`.
    Rescale {
        scale: [f64; 3],
        shift: [f64; 3],
    },
    /// x times a constant of the network.
    Scale(f64),
    Activation(Activation),
    /// exp(x) / Σ exp(x) over the channels.
    Softmax,
    /// x / √(Σ x²) over the values of a vector; a vector of zeros is unchanged.
    Normalize,
    /// A vector: for each channel of a map the L2 norm over all positions, divided by `eps` plus the mean of these
    /// norms over the channels, as in ConvNeXtV2's global response normalisation.
    Responses {
        eps: f64,
    },
    Add,
    /// The first input, a map, times the second, which has one value for each of its channels.
    Multiply,
    /// Maps of equal height and width, their channels one after the other.
    Concat,
    /// The channels from this one on, as many as the layer's shape has.
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
    /// A dense layer at each position of a map, or at each token: a 1 × 1 convolution that its library stores as a
    /// dense layer.
    DenseMap {
        out: usize,
        bias: bool,
    },
    /// A map becomes tokens. A second input, a vector, becomes the first token.
    Tokens(TokenTensors),
    /// Attention between the positions of its input, whose channels are queries, keys and values of all heads.
    Attention(Attention),
    /// Rotary position embedding of the queries and keys in tokens of queries, keys and values of so many heads: x ·
    /// cos + (−second half of x, first half of x) · sin for each vector x. The constants cos and sin are `(tokens,
    /// channels of a head)`.
    Turn {
        heads: usize,
    },
    /// A vector: one learned query attends to all tokens, whose channels are keys and values of so many heads.
    AttentionPool {
        heads: usize,
    },
    /// The tokens from this one on, as many as the layer's shape has positions.
    Select(usize),
    /// The channels of 2 × 2 positions of a map become those of one, in the order of columns: Swin's patch merging.
    Merge,
}

/// A named step of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name in the library whose network it is. Where one layer of Keras is several layers here, the parts before
    /// the last have its name and a slash: `block1_conv1/BiasAdd`, then `block1_conv1`.
    pub name: String,
    /// The part before the dot in the names of its tensors: the layer's name, unless a framework holds two layers as
    /// one. Empty if the names have no dot.
    pub owner: String,
    pub op: Op,
    pub inputs: Vec<LayerId>,
    pub shape: Shape,
}

impl Layer {
    /// The full name of the layer's tensor `word`, such as `weight`.
    pub fn tensor(&self, word: &str) -> String {
        match self.owner.as_str() {
            "" => word.to_string(),
            // PyTorch's `MultiheadAttention` has tensors `in_proj_weight` and `in_proj_bias`
            owner if owner.ends_with(".in_proj") => format!("{owner}_{word}"),
            owner => format!("{owner}.{word}"),
        }
    }
}

/// A tensor that a weight file must have for a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The layer's `owner`, a dot, and PyTorch's name of the tensor: `bn1.running_mean`.
    pub name: String,
    /// PyTorch's layout: convolutions `(out, in / groups, kh, kw)`, dense `(out, in)`.
    pub shape: Vec<usize>,
}

/// A network cannot be built for an input, or it has no layer of a name.
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

    /// The last feature map: Keras' output for `include_top=False`. For transformers, the vector that their library
    /// computes from the tokens.
    pub fn features(&self) -> LayerId {
        self.features
    }

    /// The tokens or the map from which that vector is computed.
    pub fn pooled(&self) -> Option<LayerId> {
        self.pooled
    }

    /// For a layer that is computed from tokens: the tensors of these, the shape of the map from which they were made,
    /// and the shape of all tokens.
    fn tokens(&self, id: LayerId) -> Option<(TokenTensors, [Shape; 2])> {
        let needed = self.needed_for(&[id]);
        let layers = self.layers.iter().zip(needed).filter(|(_, needed)| *needed);
        layers.rev().find_map(|(layer, _)| match layer.op {
            Op::Tokens(tensors) => Some((tensors, [self.input_shape(layer), layer.shape])),
            _ => None,
        })
    }

    /// The class token in the output of a layer, as a new layer; none where there is no class token.
    pub fn class_token(&mut self, id: LayerId) -> Option<LayerId> {
        let (tensors, _) = self.tokens(id)?;
        let Shape::Tokens { c, .. } = self.layer(id).shape else { return None };
        tensors.class.map(|_| self.select(id, "class token", 0, Shape::Vector(c)))
    }

    /// The positions in the output of a layer as a map, without class and register tokens; a map is returned as it is.
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

    /// Prefixes of the names of tensors that files have for training only: auxiliary heads.
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// The layer called `name`.
    pub fn find(&self, name: &str) -> Option<LayerId> {
        self.names.get(name).copied()
    }

    /// The name of a layer for users: that of the module that ends in it if the layer is its last part (`bn2` for
    /// `bn2.act`), else its own name.
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

    /// Shape of the first input of a layer, or the layer's own if it has none.
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
