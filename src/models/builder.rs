//! Builds a [`Graph`] by code that reads like the Keras source: `let x = g.conv("conv_stem", x, Conv::new(32).kernel(3).stride(2).same());`.

use std::collections::BTreeMap;

use super::graph::{Activation, Graph, GraphError, Layer, LayerId, Op, Pad, Shape, Window};

/// How a window is padded, before it is resolved for an input size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    Fixed(Pad),
    /// TensorFlow's `SAME`: the output has ceil(input / stride) positions, the odd zero goes to the bottom and the right.
    Same,
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
