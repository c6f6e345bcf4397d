//! A network as data: named layers with inputs and inferred shapes, built by a builder that reads like the Keras source.
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

/// How a window is padded, before it is resolved for an input size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    Fixed(Pad),
    /// TensorFlow's `SAME`: the output has ceil(input / stride) positions, the odd zero goes to the bottom and the right.
    Same,
}

/// A sliding window: kernel and stride in (height, width), and the zeros around the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: Pad,
}

/// A convolution (cross-correlation, as every framework means it) without its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    out: Option<usize>,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    bias: bool,
}

impl Conv {
    /// `out` filters of 1 × 1, stride 1, no padding, no bias.
    pub fn new(out: usize) -> Self {
        Self { out: Some(out), kernel: [1, 1], stride: [1, 1], padding: Padding::Fixed(Pad::default()), bias: false }
    }

    /// One filter for each input channel.
    pub fn depthwise() -> Self {
        Self { out: None, ..Self::new(0) }
    }

    /// A square kernel.
    pub fn kernel(mut self, k: usize) -> Self {
        self.kernel = [k, k];
        self
    }

    /// The same stride down and across.
    pub fn stride(mut self, s: usize) -> Self {
        self.stride = [s, s];
        self
    }

    /// `p` zeros on every side, as PyTorch's `padding=p`.
    pub fn pad(mut self, p: usize) -> Self {
        self.padding = Padding::Fixed(Pad { top: p, bottom: p, left: p, right: p });
        self
    }

    /// TensorFlow's `padding="same"`.
    pub fn same(mut self) -> Self {
        self.padding = Padding::Same;
        self
    }

    /// With a bias a filter.
    pub fn bias(mut self) -> Self {
        self.bias = true;
        self
    }
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
    layers: Vec<Layer>,
    names: BTreeMap<String, LayerId>,
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

/// Builds a [`Graph`] layer by layer. The first mistake is kept and told by [`Builder::finish`], so that a network reads without `?`.
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
    error: Option<GraphError>,
}

impl Builder {
    /// A network of pictures with `c` channels, `h` × `w`; its input layer is called `input`.
    pub fn new(c: usize, h: usize, w: usize) -> (Self, LayerId) {
        let mut builder = Self { graph: Graph { layers: Vec::new(), names: BTreeMap::new() }, error: None };
        let input = builder.push("input", Op::Input, &[], Shape::Map { c, h, w });
        (builder, input)
    }

    /// The network, or the first mistake made in it.
    pub fn finish(self) -> Result<Graph, GraphError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.graph),
        }
    }

    /// Shape of a layer built so far.
    pub fn shape(&self, id: LayerId) -> Shape {
        self.graph.layer(id).shape
    }

    pub fn conv(&mut self, name: &str, x: LayerId, conv: Conv) -> LayerId {
        let Some((c, h, w)) = self.map(name, x) else { return x };
        let out = conv.out.unwrap_or(c);
        let groups = if conv.out.is_none() { c } else { 1 };
        let Some((window, h, w)) = self.slide(name, conv, h, w) else { return x };
        self.push(name, Op::Conv { out, window, groups, bias: conv.bias }, &[x], Shape::Map { c: out, h, w })
    }

    pub fn batch_norm(&mut self, name: &str, x: LayerId, eps: f64) -> LayerId {
        if self.map(name, x).is_none() {
            return x;
        }
        self.push(name, Op::BatchNorm { eps }, &[x], self.shape(x))
    }

    pub fn activation(&mut self, name: &str, x: LayerId, activation: Activation) -> LayerId {
        self.push(name, Op::Activation(activation), &[x], self.shape(x))
    }

    pub fn add(&mut self, name: &str, a: LayerId, b: LayerId) -> LayerId {
        if self.shape(a) != self.shape(b) {
            let reason = format!("{:?} cannot be added to {:?}", self.shape(a), self.shape(b));
            return self.fail(GraphError::Invalid { layer: name.into(), reason }, a);
        }
        self.push(name, Op::Add, &[a, b], self.shape(a))
    }

    pub fn global_avg_pool(&mut self, name: &str, x: LayerId) -> LayerId {
        let Some((c, _, _)) = self.map(name, x) else { return x };
        self.push(name, Op::GlobalAvgPool, &[x], Shape::Vector(c))
    }

    pub fn dense(&mut self, name: &str, x: LayerId, out: usize) -> LayerId {
        if let Shape::Map { .. } = self.shape(x) {
            let reason = "a dense layer takes a vector".to_string();
            return self.fail(GraphError::Invalid { layer: name.into(), reason }, x);
        }
        self.push(name, Op::Dense { out }, &[x], Shape::Vector(out))
    }

    /// A second name for a layer: a block is called after its last layer's output.
    pub fn alias(&mut self, name: &str, id: LayerId) {
        if self.graph.names.insert(name.to_string(), id).is_some() {
            self.error.get_or_insert(GraphError::DuplicateName(name.to_string()));
        }
    }

    /// Batch norm and activation that the framework holds as one module `name` (timm's `BatchNormAct2d`): its tensors and its output bear
    /// that name, the values before the activation are `name.drop` and those after it `name.act`, as timm's own children are called.
    pub fn batch_norm_act(&mut self, name: &str, x: LayerId, eps: f64, activation: Activation) -> LayerId {
        let norm = self.batch_norm(&format!("{name}.drop"), x, eps);
        self.graph.layers[norm.0].owner = name.to_string();
        let out = self.activation(&format!("{name}.act"), norm, activation);
        self.alias(name, out);
        out
    }

    fn push(&mut self, name: &str, op: Op, inputs: &[LayerId], shape: Shape) -> LayerId {
        let id = LayerId(self.graph.layers.len());
        if self.graph.names.insert(name.to_string(), id).is_some() {
            self.error.get_or_insert(GraphError::DuplicateName(name.to_string()));
        }
        let (name, owner) = (name.to_string(), name.to_string());
        self.graph.layers.push(Layer { name, owner, op, inputs: inputs.to_vec(), shape });
        id
    }

    fn fail(&mut self, error: GraphError, stand_in: LayerId) -> LayerId {
        self.error.get_or_insert(error);
        stand_in
    }

    fn map(&mut self, name: &str, x: LayerId) -> Option<(usize, usize, usize)> {
        match self.shape(x) {
            Shape::Map { c, h, w } => Some((c, h, w)),
            Shape::Vector(_) => {
                let reason = "takes a feature map, not a vector".to_string();
                self.error.get_or_insert(GraphError::Invalid { layer: name.into(), reason });
                None
            }
        }
    }

    /// Resolves the padding for an input of `h` × `w`; gives the window and the size of the output.
    fn slide(&mut self, name: &str, conv: Conv, h: usize, w: usize) -> Option<(Window, usize, usize)> {
        let (kernel, stride) = (conv.kernel, conv.stride);
        let pad = match conv.padding {
            Padding::Fixed(pad) => pad,
            Padding::Same => same_padding([h, w], kernel, stride),
        };
        let (tall, wide) = (h + pad.top + pad.bottom, w + pad.left + pad.right);
        if tall < kernel[0] || wide < kernel[1] {
            let error = GraphError::TooSmall { layer: name.into(), kernel, height: h, width: w };
            self.error.get_or_insert(error);
            return None;
        }
        let out = [(tall - kernel[0]) / stride[0] + 1, (wide - kernel[1]) / stride[1] + 1];
        Some((Window { kernel, stride, pad }, out[0], out[1]))
    }
}

/// TensorFlow's `SAME`: in all max((ceil(n / s) − 1) · s + k − n, 0) zeros, the odd one at the end.
fn same_padding(size: [usize; 2], kernel: [usize; 2], stride: [usize; 2]) -> Pad {
    let total = |i: usize| ((size[i].div_ceil(stride[i]) - 1) * stride[i] + kernel[i]).saturating_sub(size[i]);
    let (v, h) = (total(0), total(1));
    Pad { top: v / 2, bottom: v - v / 2, left: h / 2, right: h - h / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_puts_the_odd_zero_at_the_end() {
        let pad = same_padding([224, 225], [3, 3], [2, 2]);
        assert_eq!(pad, Pad { top: 0, bottom: 1, left: 1, right: 1 });
        assert_eq!(same_padding([7, 7], [5, 5], [1, 1]), Pad { top: 2, bottom: 2, left: 2, right: 2 });
        assert_eq!(same_padding([8, 8], [1, 1], [2, 2]), Pad::default());
    }

    #[test]
    fn shapes_and_parameters_follow_from_the_layers() {
        let (mut g, x) = Builder::new(3, 224, 224);
        let x = g.conv("stem", x, Conv::new(32).kernel(3).stride(2).same());
        let y = g.conv("dw", x, Conv::depthwise().kernel(3).pad(1).bias());
        let x = g.add("sum", x, y);
        let x = g.global_avg_pool("pool", x);
        g.dense("fc", x, 10);
        let g = g.finish().expect("a sound network");
        assert_eq!(g.layer(g.find("dw").expect("dw")).shape, Shape::Map { c: 32, h: 112, w: 112 });
        let names: Vec<_> = g.parameters().into_iter().map(|p| (p.name, p.shape)).collect();
        assert_eq!(names[1], ("dw.weight".to_string(), vec![32, 1, 3, 3]));
        assert_eq!(names[4], ("fc.bias".to_string(), vec![10]));
        let stem = g.layer(g.find("stem").expect("stem"));
        assert_eq!(g.macs_of(stem), 112 * 112 * 32 * 27);
    }

    #[test]
    fn the_first_mistake_is_told() {
        let (mut g, x) = Builder::new(3, 4, 4);
        let y = g.conv("wide", x, Conv::new(8).kernel(7));
        g.add("sum", x, y);
        let error = g.finish().expect_err("a 7×7 window in a 4×4 picture");
        assert!(matches!(error, GraphError::TooSmall { .. }), "{error}");
        let (mut g, x) = Builder::new(3, 4, 4);
        g.activation("a", x, Activation::Relu);
        g.activation("a", x, Activation::Relu);
        assert_eq!(g.finish(), Err(GraphError::DuplicateName("a".into())));
    }
}
