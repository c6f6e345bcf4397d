//! Builds a [`Graph`] by code that reads like the Keras source: `let x = g.conv("conv_stem", x,
//! Conv::new(32).kernel(3).stride(2).same());`.

use std::collections::BTreeMap;
use std::ops::Range;

use super::graph::{
    Activation, Attention, AttentionWindow, FlattenOrder, Graph, GraphError, Layer, LayerId, Op, Pad, Shape,
    TokenTensors,
};
use super::spec::BuildOptions;
use super::window::Placed;
pub(crate) use super::window::{Conv, Pool};

/// Builds a [`Graph`] layer by layer. The first error is kept and returned by [`Builder::finish`], so that code needs
/// no `?`.
#[derive(Debug)]
pub(crate) struct Builder {
    graph: Graph,
    error: Option<GraphError>,
}

impl Builder {
    /// A network of pictures with `c` channels, `h` × `w`; its input layer is called `input`.
    pub(crate) fn new(c: usize, h: usize, w: usize) -> (Self, LayerId) {
        let (layers, names, dropped) = (Vec::new(), BTreeMap::new(), Vec::new());
        let graph = Graph { layers, names, features: LayerId(0), logits: LayerId(0), pooled: None, dropped };
        let mut builder = Self { graph, error: None };
        let input = builder.push("input", Op::Input, &[], Shape::Map { c, h, w });
        (builder, input)
    }

    /// A network for `options`.
    pub(super) fn of(options: &BuildOptions) -> (Self, LayerId) {
        let [h, w] = options.size;
        Self::new(options.channels, h, w)
    }

    /// The network, or the first error. `features` is its last feature map, `logits` its class scores before softmax.
    pub(crate) fn finish(mut self, features: LayerId, logits: LayerId) -> Result<Graph, GraphError> {
        (self.graph.features, self.graph.logits) = (features, logits);
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.graph),
        }
    }

    /// Names the tokens or the map from which the features are computed; `features: map` gives them.
    pub(crate) fn pools(&mut self, id: LayerId) {
        self.graph.pooled = Some(id);
    }

    /// Names a prefix of tensors that files have for training only, such as an auxiliary head.
    pub(crate) fn drop_tensors(&mut self, prefix: &str) {
        self.graph.dropped.push(prefix.to_string());
    }

    /// A layer built so far.
    pub(crate) fn layer(&self, id: LayerId) -> &Layer {
        self.graph.layer(id)
    }

    /// Shape of a layer built so far.
    pub(crate) fn shape(&self, id: LayerId) -> Shape {
        self.graph.layer(id).shape
    }

    pub(crate) fn conv(&mut self, name: &str, x: LayerId, conv: Conv) -> LayerId {
        let Some((c, h, w)) = self.map(name, x) else { return x };
        let out = conv.out.unwrap_or(c);
        let groups = if conv.out.is_none() { c } else { conv.groups };
        if c % groups + out % groups > 0 {
            return self.invalid(
                name,
                x,
                format!("{c} channels and {out} filters are not divided into {groups} groups"),
            );
        }
        let placed = self.slid(name, conv.place([h, w]), conv.kernel, [h, w]);
        let Some(Placed { window, out: [h, w] }) = placed else { return x };
        self.push(name, Op::Conv { out, window, groups, bias: conv.bias }, &[x], Shape::Map { c: out, h, w })
    }

    /// Batch norm of a map by channel, or of a vector by value.
    pub(crate) fn batch_norm(&mut self, name: &str, x: LayerId, eps: f64) -> LayerId {
        self.push(name, Op::BatchNorm { eps, scale: true }, &[x], self.shape(x))
    }

    /// Batch norm without a weight: Keras' `scale=False`.
    pub(crate) fn batch_norm_unscaled(&mut self, name: &str, x: LayerId, eps: f64) -> LayerId {
        let norm = self.batch_norm(name, x, eps);
        if let Op::BatchNorm { scale, .. } = &mut self.graph.layers[norm.0].op {
            *scale = false;
        }
        norm
    }

    /// Layer norm over the channels of each position, or over a vector.
    pub(crate) fn layer_norm(&mut self, name: &str, x: LayerId, eps: f64) -> LayerId {
        self.push(name, Op::LayerNorm { eps }, &[x], self.shape(x))
    }

    /// A learned factor a channel: the tensor `owner.word`.
    pub(crate) fn layer_scale(&mut self, name: &str, owner: &str, word: &'static str, x: LayerId) -> LayerId {
        let x = self.push(name, Op::LayerScale(word), &[x], self.shape(x));
        self.graph.layers[x.0].owner = owner.to_string();
        x
    }

    /// A dense layer at each position of a map, or at each token.
    pub(crate) fn dense_map(&mut self, name: &str, x: LayerId, out: usize) -> LayerId {
        self.push(name, Op::DenseMap { out, bias: true }, &[x], self.shape(x).with_channels(out))
    }

    /// The same as [`dense_map`](Self::dense_map) without a bias.
    pub(crate) fn dense_map_unbiased(&mut self, name: &str, x: LayerId, out: usize) -> LayerId {
        self.push(name, Op::DenseMap { out, bias: false }, &[x], self.shape(x).with_channels(out))
    }

    /// A map becomes tokens; the names of their tensors have no owner.
    pub(crate) fn tokens(&mut self, name: &str, x: LayerId, tensors: TokenTensors) -> LayerId {
        self.tokens_of(name, &[x], tensors)
    }

    /// The same with a vector as the first token, instead of a class token and registers.
    pub(crate) fn tokens_after(&mut self, name: &str, first: LayerId, x: LayerId, tensors: TokenTensors) -> LayerId {
        self.tokens_of(name, &[x, first], tensors)
    }

    fn tokens_of(&mut self, name: &str, inputs: &[LayerId], tensors: TokenTensors) -> LayerId {
        let Some((c, h, w)) = self.map(name, inputs[0]) else { return inputs[0] };
        let n = inputs.len() - 1 + tensors.prefix() + h * w;
        let x = self.push(name, Op::Tokens(tensors), inputs, Shape::Tokens { n, c });
        self.graph.layers[x.0].owner.clear();
        x
    }

    /// Attention over `x`, whose channels are queries, keys and values.
    pub(crate) fn attention(&mut self, name: &str, owner: &str, x: LayerId, attention: Attention) -> LayerId {
        let shape = self.shape(x);
        let c = shape.channels() / 3;
        let reason = match (attention.window, shape) {
            _ if !c.is_multiple_of(attention.heads) => {
                Some(format!("{c} channels are not divided into {} heads", attention.heads))
            }
            (Some(AttentionWindow { size, .. }), Shape::Map { h, w, .. }) if h % size[0] + w % size[1] > 0 => {
                Some(format!("a map of {h}×{w} is not divided into windows of {}×{}", size[0], size[1]))
            }
            _ => None,
        };
        if let Some(reason) = reason {
            return self.invalid(name, x, reason);
        }
        let x = self.push(name, Op::Attention(attention), &[x], shape.with_channels(c));
        self.graph.layers[x.0].owner = owner.to_string();
        x
    }

    /// One learned query attends to tokens, whose channels are keys and values: timm's `AttentionPoolLatent`.
    pub(crate) fn attention_pool(&mut self, name: &str, owner: &str, x: LayerId, heads: usize) -> LayerId {
        let x = self.push(name, Op::AttentionPool { heads }, &[x], Shape::Vector(self.shape(x).channels() / 2));
        self.graph.layers[x.0].owner = owner.to_string();
        x
    }

    /// The token at index `at` as a vector.
    pub(crate) fn token(&mut self, name: &str, x: LayerId, at: usize) -> LayerId {
        self.push(name, Op::Select(at), &[x], Shape::Vector(self.shape(x).channels()))
    }

    /// The channels of 2 × 2 positions become those of one: Swin's patch merging.
    pub(crate) fn merge(&mut self, name: &str, x: LayerId) -> LayerId {
        let Some((c, h, w)) = self.map(name, x) else { return x };
        if h % 2 + w % 2 > 0 {
            return self.invalid(name, x, format!("a map of {h}×{w} is not divided into squares of 2×2"));
        }
        self.push(name, Op::Merge, &[x], Shape::Map { c: 4 * c, h: h / 2, w: w / 2 })
    }

    /// Zeros around a map, `[top, bottom, left, right]`: Keras' `ZeroPadding2D`.
    pub(crate) fn zero_pad(&mut self, name: &str, x: LayerId, [top, bottom, left, right]: [usize; 4]) -> LayerId {
        let Some((c, h, w)) = self.map(name, x) else { return x };
        let pad = Pad { top, bottom, left, right };
        self.push(name, Op::ZeroPad(pad), &[x], Shape::Map { c, h: h + top + bottom, w: w + left + right })
    }

    /// Keras' `correct_pad` for a square window of stride 2: where the height is even, one row of zeros less above than
    /// below, and likewise for the width.
    pub(crate) fn correct_pad(&mut self, name: &str, x: LayerId, kernel: usize) -> LayerId {
        let Some((_, h, w)) = self.map(name, x) else { return x };
        let half = kernel / 2;
        self.zero_pad(name, x, [half - (1 - h % 2), half, half - (1 - w % 2), half])
    }

    /// x · scale + shift with constants of the network: for each of three channels, or with the first constants for a
    /// single channel. torchvision's `transform_input`.
    pub(crate) fn rescale(&mut self, name: &str, x: LayerId, scale: [f64; 3], shift: [f64; 3]) -> LayerId {
        match self.map(name, x) {
            Some((1 | 3, _, _)) => self.push(name, Op::Rescale { scale, shift }, &[x], self.shape(x)),
            Some(_) => self.invalid(name, x, "one channel or three are rescaled"),
            None => x,
        }
    }

    /// x times a constant of the network.
    pub(crate) fn scale(&mut self, name: &str, x: LayerId, factor: f64) -> LayerId {
        self.push(name, Op::Scale(factor), &[x], self.shape(x))
    }

    /// A map without its first row and its first column: Keras' `Cropping2D(((1, 0), (1, 0)))`.
    pub(crate) fn crop(&mut self, name: &str, x: LayerId) -> LayerId {
        match self.map(name, x) {
            Some((c, h @ 2.., w @ 2..)) => self.push(name, Op::Crop, &[x], Shape::Map { c, h: h - 1, w: w - 1 }),
            Some((_, height, width)) => {
                self.fail(GraphError::TooSmall { layer: name.into(), kernel: [2, 2], height, width }, x)
            }
            None => x,
        }
    }

    pub(crate) fn relu(&mut self, name: &str, x: LayerId) -> LayerId {
        self.activation(name, x, Activation::Relu)
    }

    pub(crate) fn pool(&mut self, name: &str, x: LayerId, pool: Pool) -> LayerId {
        let Some((c, h, w)) = self.map(name, x) else { return x };
        let placed = self.slid(name, pool.place([h, w]), [pool.kernel; 2], [h, w]);
        let Some(Placed { window, out: [oh, ow] }) = placed else { return x };
        self.push(name, Op::Pool { pooling: pool.pooling, window }, &[x], Shape::Map { c, h: oh, w: ow })
    }

    /// PyTorch's `AdaptiveAvgPool2d(size)`.
    pub(crate) fn adaptive_avg_pool(&mut self, name: &str, x: LayerId, size: usize) -> LayerId {
        self.adaptive_avg_pool2(name, x, [size, size])
    }

    /// PyTorch's `AdaptiveAvgPool2d((height, width))`.
    pub(crate) fn adaptive_avg_pool2(&mut self, name: &str, x: LayerId, size: [usize; 2]) -> LayerId {
        let Some((c, _, _)) = self.map(name, x) else { return x };
        self.push(name, Op::AdaptiveAvgPool(size), &[x], Shape::Map { c, h: size[0], w: size[1] })
    }

    /// Concatenates the channels of maps of equal height and width.
    pub(crate) fn concat(&mut self, name: &str, parts: &[LayerId]) -> LayerId {
        let Some(&first) = parts.first() else {
            return self.invalid(name, LayerId(0), "there is nothing to concatenate");
        };
        let Some((_, h, w)) = self.map(name, first) else { return first };
        let mut channels = 0;
        for &part in parts {
            match self.shape(part) {
                Shape::Map { c, h: ph, w: pw } if (ph, pw) == (h, w) => channels += c,
                other => {
                    return self.invalid(name, first, format!("{other:?} cannot be put beside a map of {h}×{w}"));
                }
            }
        }
        self.push(name, Op::Concat, parts, Shape::Map { c: channels, h, w })
    }

    pub(crate) fn flatten(&mut self, name: &str, x: LayerId, order: FlattenOrder) -> LayerId {
        self.push(name, Op::Flatten(order), &[x], Shape::Vector(self.shape(x).len()))
    }

    pub(crate) fn activation(&mut self, name: &str, x: LayerId, activation: Activation) -> LayerId {
        self.push(name, Op::Activation(activation), &[x], self.shape(x))
    }

    pub(crate) fn softmax(&mut self, name: &str, x: LayerId) -> LayerId {
        self.push(name, Op::Softmax, &[x], self.shape(x))
    }

    pub(crate) fn add(&mut self, name: &str, a: LayerId, b: LayerId) -> LayerId {
        if self.shape(a) != self.shape(b) {
            return self.invalid(name, a, format!("{:?} cannot be added to {:?}", self.shape(a), self.shape(b)));
        }
        self.push(name, Op::Add, &[a, b], self.shape(a))
    }

    /// A map `x` times `gate`, which has one value for each channel: the end of squeeze-and-excitation.
    pub(crate) fn multiply(&mut self, name: &str, x: LayerId, gate: LayerId) -> LayerId {
        let Some((c, _, _)) = self.map(name, x) else { return x };
        if self.shape(gate).len() != c {
            return self.invalid(
                name,
                x,
                format!("{:?} cannot be multiplied by {:?}", self.shape(x), self.shape(gate)),
            );
        }
        self.push(name, Op::Multiply, &[x, gate], self.shape(x))
    }

    /// A range of the channels of a map or of tokens.
    pub(crate) fn slice(&mut self, name: &str, x: LayerId, channels: Range<usize>) -> LayerId {
        let (shape, c) = (self.shape(x), self.shape(x).channels());
        if channels.end > c || channels.is_empty() {
            return self.invalid(name, x, format!("a layer of {c} channels has no channels {channels:?}"));
        }
        self.push(name, Op::Slice(channels.start), &[x], shape.with_channels(channels.len()))
    }

    /// Channels as a table of `groups` rows, read column by column: ShuffleNet's `channel_shuffle`.
    pub(crate) fn shuffle(&mut self, name: &str, x: LayerId, groups: usize) -> LayerId {
        let Some((c, _, _)) = self.map(name, x) else { return x };
        if c % groups > 0 {
            return self.invalid(name, x, format!("{c} channels are not divided into {groups} groups"));
        }
        self.push(name, Op::Shuffle(groups), &[x], self.shape(x))
    }

    pub(crate) fn global_avg_pool(&mut self, name: &str, x: LayerId) -> LayerId {
        let Some((c, _, _)) = self.map(name, x) else { return x };
        self.push(name, Op::GlobalAvgPool, &[x], Shape::Vector(c))
    }

    pub(crate) fn dense(&mut self, name: &str, x: LayerId, out: usize) -> LayerId {
        let Shape::Vector(_) = self.shape(x) else {
            return self.invalid(name, x, "a dense layer takes a vector");
        };
        self.push(name, Op::Dense { out, bias: true }, &[x], Shape::Vector(out))
    }

    /// A second name for a layer: a block has the name of its last layer's output.
    pub(crate) fn alias(&mut self, name: &str, id: LayerId) {
        if self.graph.names.insert(name.to_string(), id).is_some() {
            self.error.get_or_insert(GraphError::DuplicateName(name.to_string()));
        }
    }

    /// Batch norm and activation that are one module `name` (timm's `BatchNormAct2d`): its tensors and its output have
    /// that name; the values before the activation are `name.drop` and those after it `name.act`, like timm's children.
    pub(crate) fn batch_norm_act(&mut self, name: &str, x: LayerId, eps: f64, activation: Activation) -> LayerId {
        let norm = self.batch_norm(&format!("{name}.drop"), x, eps);
        self.graph.layers[norm.0].owner = name.to_string();
        let out = self.activation(&format!("{name}.act"), norm, activation);
        self.alias(name, out);
        out
    }

    /// A convolution and its activation that are one layer `name` in Keras: the values before the activation are
    /// `name/BiasAdd`.
    pub(crate) fn conv_act(&mut self, name: &str, x: LayerId, conv: Conv, activation: Activation) -> LayerId {
        let x = self.conv(&format!("{name}/BiasAdd"), x, conv);
        self.graph.layers[x.0].owner = name.to_string();
        self.activation(name, x, activation)
    }

    /// A dense layer and its activation that are one layer `name` in Keras: the values before the activation are
    /// `name/BiasAdd`.
    pub(crate) fn dense_act(&mut self, name: &str, x: LayerId, out: usize, activation: Activation) -> LayerId {
        let before = self.dense_before(name, x, out);
        self.activation(name, before, activation)
    }

    /// A dense layer and its softmax that are one layer `name` in Keras. Returns the class scores before softmax,
    /// `name/BiasAdd`.
    pub(crate) fn dense_softmax(&mut self, name: &str, x: LayerId, out: usize) -> LayerId {
        let scores = self.dense_before(name, x, out);
        self.softmax(name, scores);
        scores
    }

    fn dense_before(&mut self, name: &str, x: LayerId, out: usize) -> LayerId {
        let before = self.dense(&format!("{name}/BiasAdd"), x, out);
        self.graph.layers[before.0].owner = name.to_string();
        before
    }

    /// Keras' `SeparableConv2D` without bias: depthwise `name/depthwise`, then 1 × 1 to `out` channels; tensors are
    /// `name/depthwise.weight` and `name/pointwise.weight`.
    pub(crate) fn separable(&mut self, name: &str, x: LayerId, depthwise: Conv, out: usize) -> LayerId {
        let x = self.conv(&format!("{name}/depthwise"), x, depthwise);
        let x = self.conv(name, x, Conv::new(out));
        self.graph.layers[x.0].owner = format!("{name}/pointwise");
        x
    }

    /// A layer of any kind; the caller gives its shape.
    pub(crate) fn push(&mut self, name: &str, op: Op, inputs: &[LayerId], shape: Shape) -> LayerId {
        let id = LayerId(self.graph.layers.len());
        self.alias(name, id);
        let (name, owner) = (name.to_string(), name.to_string());
        self.graph.layers.push(Layer { name, owner, op, inputs: inputs.to_vec(), shape });
        id
    }

    fn fail(&mut self, error: GraphError, stand_in: LayerId) -> LayerId {
        self.error.get_or_insert(error);
        stand_in
    }

    fn invalid(&mut self, layer: &str, stand_in: LayerId, reason: impl Into<String>) -> LayerId {
        self.fail(GraphError::Invalid { layer: layer.into(), reason: reason.into() }, stand_in)
    }

    fn map(&mut self, name: &str, x: LayerId) -> Option<(usize, usize, usize)> {
        match self.shape(x) {
            Shape::Map { c, h, w } => Some((c, h, w)),
            Shape::Vector(_) | Shape::Tokens { .. } => {
                self.invalid(name, x, "takes a feature map, not a vector or tokens");
                None
            }
        }
    }

    /// Keeps the error of a window that does not fit.
    fn slid(&mut self, name: &str, placed: Option<Placed>, kernel: [usize; 2], [h, w]: [usize; 2]) -> Option<Placed> {
        if placed.is_none() {
            let error = GraphError::TooSmall { layer: name.into(), kernel, height: h, width: w };
            self.error.get_or_insert(error);
        }
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_parameters_follow_from_the_layers() {
        let (mut g, x) = Builder::new(3, 224, 224);
        let x = g.conv("stem", x, Conv::new(32).kernel(3).stride(2).same());
        let y = g.conv("dw", x, Conv::depthwise().kernel(3).pad(1).bias());
        let x = g.add("sum", x, y);
        let x = g.global_avg_pool("pool", x);
        let fc = g.dense("fc", x, 10);
        let g = g.finish(x, fc).expect("a sound network");
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
        let error = g.finish(x, y).expect_err("a 7×7 window in a 4×4 picture");
        assert!(matches!(error, GraphError::TooSmall { .. }), "{error}");
        let (mut g, x) = Builder::new(3, 4, 4);
        g.activation("a", x, Activation::Relu);
        g.activation("a", x, Activation::Relu);
        assert_eq!(g.finish(x, x), Err(GraphError::DuplicateName("a".into())));
    }
}
