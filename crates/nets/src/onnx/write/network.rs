//! The steps of a network as nodes. Maps are (n, c, h, w), tokens (n, tokens, c).

use std::collections::BTreeMap;

use super::{Attribute, WriteError, Writer};
use crate::exec::Features;
use crate::exec::lower::{Kernel, Program, Step};
use crate::models::Shape;
use crate::models::graph::{Activation, FlattenOrder, Pad, Pooling, Window};

/// Channels to the end, and back.
const TO_LAST: [(&str, Attribute); 1] = [("perm", Attribute::Ints(&[0, 2, 3, 1]))];
const TO_FIRST: [(&str, Attribute); 1] = [("perm", Attribute::Ints(&[0, 3, 1, 2]))];
/// A value for each channel of tokens.
const OVER_TOKENS: [(&str, Attribute); 2] = [("axes", Attribute::Ints(&[1])), ("keepdims", Attribute::Int(0))];
/// A value for each channel of a map. ONNX Runtime adds up the values of `GlobalAveragePool` one after the other: of a
/// map of 32 × 32 that mean is ten times less exact.
const OVER_POSITIONS: [(&str, Attribute); 2] = [("axes", Attribute::Ints(&[2, 3])), ("keepdims", Attribute::Int(1))];
/// Along the channels.
const CHANNELS: [(&str, Attribute); 1] = [("axis", Attribute::Int(1))];

/// A pool on a map of that size, with windows at so many places.
#[derive(Clone, Copy)]
struct Pool {
    pooling: Pooling,
    window: Window,
    /// The padding is zeros that count.
    zeros: bool,
    size: [usize; 2],
    out: [usize; 2],
}

impl Writer {
    /// Writes the steps of a network on the value `input` and returns the value of each tap, maps as (n, c, h, w) and
    /// tokens as (n, tokens, c).
    ///
    /// # Errors
    /// A step does not have the inputs or shapes that its kind has.
    pub fn network(&mut self, program: &Program, input: &str) -> Result<Vec<String>, WriteError> {
        let mut values = vec![String::new(); program.last_use.len()];
        let mut turned: BTreeMap<usize, (&str, [&[f32]; 2])> = BTreeMap::new();
        let alone = |layer: &str| {
            let (layer, reason) = (layer.to_string(), "attention alone takes turned queries and keys");
            Err(WriteError::Layer { layer, reason })
        };
        values[0] = input.to_string();
        for step in &program.steps {
            let inputs: Vec<&str> = step.inputs.iter().map(|&value| values[value].as_str()).collect();
            let reads_turned = step.inputs.iter().any(|value| turned.contains_key(value));
            if reads_turned && !matches!(step.kernel, Kernel::Attention(_)) {
                return alone(&step.layer);
            }
            if let Kernel::Turn { cos, sin, .. } = &step.kernel {
                // attention turns queries and keys
                turned.insert(step.output, (&step.layer, [cos, sin]));
                values[step.output] = inputs[0].to_string();
                continue;
            }
            let angles = step.inputs.first().and_then(|value| turned.get(value)).map(|(_, angles)| *angles);
            let before = self.graph.node.len();
            let mut value = self.step(step, &inputs, angles)?;
            if let Some(activation) = joined(&step.kernel) {
                value = self.activation(&value, activation);
            }
            // the last of its nodes has the layer's name
            if let Some(node) = self.graph.node[before..].last_mut() {
                node.name = step.layer.clone();
            }
            values[step.output] = value;
        }
        if let Some((layer, _)) = program.taps.iter().find_map(|value| turned.get(value)) {
            return alone(layer);
        }
        Ok(program.taps.iter().map(|&value| values[value].clone()).collect())
    }

    /// Writes the features of `taps`, the values of layers with their shapes, one after the other in a row for each
    /// picture: the value `output` (n, width).
    pub fn features(&mut self, kind: Features, taps: &[(String, Shape)], output: &str) {
        let one = |(tap, shape): &(String, Shape)| match (kind, shape) {
            (_, Shape::Vector(_)) => tap.to_string(),
            (Features::Pooled | Features::Avg, Shape::Tokens { .. }) => self.op("ReduceMean", &[tap], &OVER_TOKENS),
            (Features::Max, Shape::Tokens { .. }) => self.op("ReduceMax", &[tap], &OVER_TOKENS),
            (_, Shape::Tokens { .. }) => self.op("Flatten", &[tap], &[]),
            (Features::Pooled | Features::Cls | Features::Avg, _) => self.op("ReduceMean", &[tap], &OVER_POSITIONS),
            (Features::Max, _) => self.op("GlobalMaxPool", &[tap], &[]),
            (Features::Flatten | Features::Map, _) => self.flat(tap, FlattenOrder::ChannelsLast),
        };
        let mut parts: Vec<String> = taps.iter().map(one).collect();
        // maps of one position can be put beside each other as they are
        let pooled = matches!(kind, Features::Pooled | Features::Avg | Features::Max);
        if !pooled || taps.iter().any(|(_, shape)| !matches!(shape, Shape::Map { .. })) {
            parts = parts.iter().map(|part| self.op("Flatten", &[part], &[])).collect();
        }
        let whole = match parts.as_slice() {
            [one] => one.clone(),
            several => {
                let several: Vec<&str> = several.iter().map(String::as_str).collect();
                self.op("Concat", &several, &CHANNELS)
            }
        };
        self.named("Flatten", &[&whole], &[], output);
    }

    /// Writes the nodes of a step without the activation that is joined to it; `angles` are the cosines and sines by
    /// which its queries and keys are turned.
    fn step(&mut self, step: &Step, inputs: &[&str], angles: Option<[&[f32]; 2]>) -> Result<String, WriteError> {
        let wrong = |reason| WriteError::Layer { layer: step.layer.clone(), reason };
        let x = *inputs.first().ok_or_else(|| wrong("it has no input"))?;
        let sizes = |shape: Shape| match shape {
            Shape::Map { h, w, .. } => Ok([h, w]),
            Shape::Vector(_) | Shape::Tokens { .. } => Err(wrong("a map was expected")),
        };
        let (from, to) = (step.in_shape, step.out_shape);
        Ok(match &step.kernel {
            Kernel::Conv { weight, bias, .. } if matches!(from, Shape::Tokens { .. }) => {
                self.dense_tokens(x, weight, bias)
            }
            Kernel::Conv { groups, window, weight, bias, .. } => self.conv(x, *groups, window, [weight, bias]),
            Kernel::Depthwise { window, weight, bias, .. } => self.conv(x, bias.len(), window, [weight, bias]),
            Kernel::Scale { scale, shift, .. } => {
                let [scale, shift] = [scale, shift].map(|values| self.by_channel(from, values));
                let product = self.op("Mul", &[x, &scale], &[]);
                self.op("Add", &[&product, &shift], &[])
            }
            Kernel::LayerNorm { eps, weight, bias } => self.layer_norm(x, from, *eps, [weight, bias]),
            Kernel::Activation(activation) => self.activation(x, *activation),
            Kernel::Softmax => self.op("Softmax", &[x], &CHANNELS),
            Kernel::Normalize => self.op("LpNormalization", &[x], &CHANNELS),
            Kernel::Responses(eps) => {
                let positions = [("axes", Attribute::Ints(&[2, 3])), ("keepdims", Attribute::Int(0))];
                let lengths = self.op("ReduceL2", &[x], &positions);
                let mean = self.op("ReduceMean", &[&lengths], &[("axes", Attribute::Ints(&[1]))]);
                let eps = self.float(*eps);
                let mean = self.op("Add", &[&mean, &eps], &[]);
                self.op("Div", &[&lengths, &mean], &[])
            }
            Kernel::ZeroPad(pad) => self.pad(x, *pad),
            Kernel::Add => self.op("Add", inputs, &[]),
            Kernel::Multiply => {
                let gate = inputs.get(1).ok_or_else(|| wrong("it has one input"))?;
                let dims = self.ints(&[0, -1, 1, 1]);
                let gate = self.op("Reshape", &[gate, &dims], &[]);
                self.op("Mul", &[x, &gate], &[])
            }
            Kernel::Concat => self.op("Concat", inputs, &CHANNELS),
            Kernel::Slice(first) => {
                let axis = if let Shape::Tokens { .. } = to { 2 } else { 1 };
                self.cut(x, axis, *first..first + to.channels())
            }
            Kernel::Shuffle(groups) => {
                let ([h, w], c) = (sizes(to)?.map(|side| side as i64), to.channels() as i64);
                let rows = *groups as i64;
                let table = self.ints(&[0, rows, c / rows.max(1), h, w]);
                let table = self.op("Reshape", &[x, &table], &[]);
                let turned = self.op("Transpose", &[&table], &[("perm", Attribute::Ints(&[0, 2, 1, 3, 4]))]);
                let whole = self.ints(&[0, c, h, w]);
                self.op("Reshape", &[&turned, &whole], &[])
            }
            &Kernel::Pool { pooling, window, zeros } => {
                let (size, out) = (sizes(from)?, sizes(to)?);
                self.pool(x, Pool { pooling, window, zeros, size, out })
            }
            Kernel::GlobalAvgPool => {
                let mean = self.op("ReduceMean", &[x], &OVER_POSITIONS);
                self.op("Flatten", &[&mean], &[])
            }
            Kernel::AdaptiveAvgPool => self.cells(x, sizes(from)?, sizes(to)?),
            Kernel::Flatten(order) => self.flat(x, *order),
            Kernel::Dense { weight, bias, .. } => {
                let weight = self.floats(&[bias.len(), weight.len() / bias.len().max(1)], weight);
                let bias = self.floats(&[bias.len()], bias);
                self.op("Gemm", &[x, &weight, &bias], &[("transB", Attribute::Int(1))])
            }
            Kernel::Tokens { first, positions } => self.tokens(inputs, from, [first, positions]),
            Kernel::Attention(kernel) => self.attention(x, from, kernel, angles),
            Kernel::Turn { .. } => return Err(wrong("attention alone takes turned queries and keys")),
            Kernel::AttentionPool { heads, query } => self.attention_pool(x, from, *heads, query),
            Kernel::Select(first) => self.select(x, *first, to),
            Kernel::Merge => self.merge(x, to),
        })
    }

    /// A constant with a value for each channel of `shape`.
    fn by_channel(&mut self, shape: Shape, values: &[f32]) -> String {
        let ones = if let Shape::Map { .. } = shape { &[1, 1][..] } else { &[] };
        self.floats(&[&[1, values.len()][..], ones].concat(), values)
    }

    fn conv(&mut self, x: &str, groups: usize, window: &Window, [weight, bias]: [&[f32]; 2]) -> String {
        let ([kh, kw], out) = (window.kernel, bias.len());
        let weight = self.floats(&[out, weight.len() / (out * kh * kw).max(1), kh, kw], weight);
        let bias = self.floats(&[out], bias);
        let dilations = window.dilation.map(|step| step as i64);
        let more = [("group", Attribute::Int(groups as i64)), ("dilations", Attribute::Ints(&dilations))];
        self.windowed("Conv", &[x, &weight, &bias], window, &more)
    }

    fn windowed(&mut self, op: &str, inputs: &[&str], window: &Window, more: &[(&str, Attribute)]) -> String {
        let Window { kernel, stride, pad: Pad { top, bottom, left, right }, .. } = *window;
        let (kernel, stride) = (kernel.map(|side| side as i64), stride.map(|side| side as i64));
        let pads = [top, left, bottom, right].map(|pad| pad as i64);
        let own = [
            ("kernel_shape", Attribute::Ints(&kernel)),
            ("strides", Attribute::Ints(&stride)),
            ("pads", Attribute::Ints(&pads)),
        ];
        self.op(op, inputs, &[&own[..], more].concat())
    }

    /// Layer norm over the channels, which stand last for it.
    fn layer_norm(&mut self, x: &str, shape: Shape, eps: f32, tensors: [&[f32]; 2]) -> String {
        let [weight, bias] = tensors.map(|values| self.floats(&[values.len()], values));
        let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(eps))];
        if let Shape::Vector(_) | Shape::Tokens { .. } = shape {
            return self.op("LayerNormalization", &[x, &weight, &bias], &attributes);
        }
        let last = self.op("Transpose", &[x], &TO_LAST);
        let norm = self.op("LayerNormalization", &[&last, &weight, &bias], &attributes);
        self.op("Transpose", &[&norm], &TO_FIRST)
    }

    fn activation(&mut self, x: &str, activation: Activation) -> String {
        match activation {
            Activation::Relu => self.op("Relu", &[x], &[]),
            Activation::Relu6 => {
                let limits = [0.0, 6.0].map(|limit| self.float(limit));
                self.op("Clip", &[x, &limits[0], &limits[1]], &[])
            }
            Activation::Sigmoid => self.op("Sigmoid", &[x], &[]),
            Activation::Silu => {
                let gate = self.op("Sigmoid", &[x], &[]);
                self.op("Mul", &[x, &gate], &[])
            }
            Activation::HardSigmoid => {
                let attributes = [("alpha", Attribute::Float(1.0 / 6.0)), ("beta", Attribute::Float(0.5))];
                self.op("HardSigmoid", &[x], &attributes)
            }
            Activation::HardSwish => self.op("HardSwish", &[x], &[]),
            Activation::Gelu => {
                let [root, one, half] = [std::f32::consts::FRAC_1_SQRT_2, 1.0, 0.5].map(|factor| self.float(factor));
                let scaled = self.op("Mul", &[x, &root], &[]);
                let erf = self.op("Erf", &[&scaled], &[]);
                let more = self.op("Add", &[&erf, &one], &[]);
                let product = self.op("Mul", &[x, &more], &[]);
                self.op("Mul", &[&product, &half], &[])
            }
            Activation::QuickGelu => {
                let steep = self.float(1.702);
                let scaled = self.op("Mul", &[x, &steep], &[]);
                let gate = self.op("Sigmoid", &[&scaled], &[]);
                self.op("Mul", &[x, &gate], &[])
            }
            Activation::GeluTanh => {
                let root = (2.0 / std::f64::consts::PI).sqrt();
                let factors = [root as f32, (root * 0.044_715) as f32, 1.0, 0.5];
                let [linear, cubic, one, half] = factors.map(|factor| self.float(factor));
                let square = self.op("Mul", &[x, x], &[]);
                let factor = self.op("Mul", &[&square, &cubic], &[]);
                let factor = self.op("Add", &[&factor, &linear], &[]);
                let inner = self.op("Mul", &[x, &factor], &[]);
                let tanh = self.op("Tanh", &[&inner], &[]);
                let more = self.op("Add", &[&tanh, &one], &[]);
                let product = self.op("Mul", &[x, &more], &[]);
                self.op("Mul", &[&product, &half], &[])
            }
        }
    }

    fn pad(&mut self, x: &str, Pad { top, bottom, left, right }: Pad) -> String {
        let pads = self.ints(&[0, 0, top, left, 0, 0, bottom, right].map(|pad| pad as i64));
        self.op("Pad", &[x, &pads], &[])
    }

    /// Where the last windows hang over the map, the padding behind it is as large as they need; it never wins and
    /// never counts.
    fn pool(&mut self, x: &str, Pool { pooling, mut window, zeros, mut size, out }: Pool) -> String {
        let mut x = x.to_string();
        if (zeros || pooling == Pooling::AvgWithPad) && !window.pad.is_zero() {
            let pad = std::mem::take(&mut window.pad);
            x = self.pad(&x, pad);
            size = [size[0] + pad.top + pad.bottom, size[1] + pad.left + pad.right];
        }
        let behind = |i: usize, before: usize| {
            ((out[i] - 1) * window.stride[i] + window.kernel[i]).saturating_sub(size[i] + before)
        };
        (window.pad.bottom, window.pad.right) = (behind(0, window.pad.top), behind(1, window.pad.left));
        let op = if pooling == Pooling::Max { "MaxPool" } else { "AveragePool" };
        self.windowed(op, &[&x], &window, &[])
    }

    /// Means of cells: cell i of n covers positions ⌊i·size/n⌋ to ⌈(i+1)·size/n⌉.
    fn cells(&mut self, x: &str, size: [usize; 2], out: [usize; 2]) -> String {
        if out == [1, 1] {
            return self.op("ReduceMean", &[x], &OVER_POSITIONS);
        }
        if size[0].is_multiple_of(out[0]) && size[1].is_multiple_of(out[1]) {
            let side = [size[0] / out[0], size[1] / out[1]];
            let window = Window::new(side, side, Pad::default());
            return self.windowed("AveragePool", &[x], &window, &[]);
        }
        // cells that overlap: a matrix of shares for the rows, and one for the columns
        let [rows, columns] = [0, 1].map(|i| shares(size[i], out[i]));
        let rows = self.floats(&[out[0], size[0]], &rows);
        let columns = self.floats(&[out[1], size[1]], &columns);
        let columns = self.op("Transpose", &[&columns], &[]);
        let narrow = self.op("MatMul", &[x, &columns], &[]);
        self.op("MatMul", &[&rows, &narrow], &[])
    }

    fn flat(&mut self, x: &str, order: FlattenOrder) -> String {
        match order {
            FlattenOrder::ChannelsFirst => self.op("Flatten", &[x], &[]),
            FlattenOrder::ChannelsLast => {
                let last = self.op("Transpose", &[x], &TO_LAST);
                self.op("Flatten", &[&last], &[])
            }
        }
    }
}

/// The activation that is joined to a kernel.
fn joined(kernel: &Kernel) -> Option<Activation> {
    match kernel {
        Kernel::Conv { activation, .. }
        | Kernel::Depthwise { activation, .. }
        | Kernel::Scale { activation, .. }
        | Kernel::Dense { activation, .. } => *activation,
        _ => None,
    }
}

/// The share of each of `size` positions in each of `n` cells: (n, size).
fn shares(size: usize, n: usize) -> Vec<f32> {
    let cell = move |at: usize| at * size / n..((at + 1) * size).div_ceil(n);
    let share =
        move |at: usize, place: usize| if cell(at).contains(&place) { 1.0 / cell(at).len() as f32 } else { 0.0 };
    (0..n).flat_map(|at| (0..size).map(move |place| share(at, place))).collect()
}
