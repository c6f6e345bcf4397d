//! Networks and whatever stands behind them as ONNX files of opset 17.
//!
//! A [`Writer`] takes node after node. [`Writer::network`] writes the steps of a lowered network, batch norm folded into
//! its convolutions; whoever fits something on the features writes its nodes with [`Writer::op`].

use prost::Message;

use super::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, dtype,
};
use crate::exec::Features;
use crate::exec::lower::{Kernel, Program, Step};
use crate::models::Shape;
use crate::models::graph::{Activation, FlattenOrder, Pad, Pooling, Window};

/// The opset, and the version of the format that goes with it.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;
/// The largest file that protobuf allows.
const LARGEST: usize = (1 << 31) - 1;

/// An attribute of a node.
#[derive(Clone, Copy, Debug)]
pub enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
}

/// The type of the values of an input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F32,
    U8,
}

/// A file in the making.
#[derive(Debug, Default)]
pub struct Writer {
    graph: GraphProto,
    /// Counts the values, whose names are numbers where nobody names them.
    count: usize,
}

/// A file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("layer `{layer}` cannot be written as ONNX: {reason}")]
    Layer { layer: String, reason: String },
    #[error("the network has {0} bytes; an ONNX file has 2 GB at most")]
    Large(usize),
}

impl Writer {
    /// An input called `name`; its first size is the number of pictures, which is open.
    pub fn input(&mut self, name: &str, element: Element, sizes: &[usize]) {
        self.graph.input.push(info(name, element, sizes));
    }

    /// Makes the value `name` an output.
    pub fn output(&mut self, name: &str, element: Element, sizes: &[usize]) {
        self.graph.output.push(info(name, element, sizes));
    }

    /// A constant of floating-point numbers.
    pub fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(dtype::FLOAT, dims, bytes)
    }

    /// A constant of integers.
    pub fn ints(&mut self, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(dtype::INT64, &[values.len()], bytes)
    }

    fn constant(&mut self, data_type: i32, dims: &[usize], bytes: Vec<u8>) -> String {
        let name = self.fresh("c");
        let dims = dims.iter().map(|&size| size as i64).collect();
        let tensor = TensorProto { name: name.clone(), dims, data_type, raw_data: bytes.into(), ..Default::default() };
        self.graph.initializer.push(tensor);
        name
    }

    fn fresh(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}{}", self.count)
    }

    /// A node, and the name of what it gives.
    pub fn op(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let output = self.fresh("v");
        self.named(op, inputs, attributes, &output);
        output
    }

    /// A node with two outputs, and the name of the second.
    pub fn second(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let first = self.op(op, inputs, attributes);
        let second = self.fresh("v");
        if let Some(node) = self.graph.node.last_mut().filter(|node| node.output == [first]) {
            node.output.push(second.clone());
        }
        second
    }

    /// A node that gives the value `output`.
    pub fn named(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)], output: &str) {
        let attribute = attributes.iter().map(|&(name, value)| attribute(name, value)).collect();
        let input = inputs.iter().map(ToString::to_string).collect();
        let (name, op_type) = (output.to_string(), op.to_string());
        let node =
            NodeProto { name, op_type, input, output: vec![output.to_string()], attribute, ..Default::default() };
        self.graph.node.push(node);
    }

    /// The steps of a network on `input` (n, c, h, w); gives the value of each tap, maps as (n, c, h, w).
    ///
    /// # Errors
    /// A step has shapes that no such step has.
    pub fn network(&mut self, program: &Program, input: &str) -> Result<Vec<String>, WriteError> {
        let mut values = vec![String::new(); program.last_use.len()];
        values[0] = input.to_string();
        for step in &program.steps {
            let inputs: Vec<&str> = step.inputs.iter().map(|&value| values[value].as_str()).collect();
            let before = self.graph.node.len();
            let value = self.step(step, &inputs)?;
            // the last of its nodes has the layer's name
            if self.graph.node.len() > before
                && let Some(node) = self.graph.node.last_mut()
            {
                node.name = step.layer.clone();
            }
            values[step.output] = value;
        }
        Ok(program.taps.iter().map(|&value| values[value].clone()).collect())
    }

    /// The features of a tap of that shape as a row a picture (n, width).
    pub fn features(&mut self, kind: Features, shape: Shape, tap: &str) -> String {
        match (kind, shape) {
            (_, Shape::Vector(_)) => tap.to_string(),
            (Features::Avg, _) => {
                let mean = self.op("GlobalAveragePool", &[tap], &[]);
                self.op("Flatten", &[&mean], &[])
            }
            (Features::Max, _) => {
                let most = self.op("GlobalMaxPool", &[tap], &[]);
                self.op("Flatten", &[&most], &[])
            }
            _ => self.flat(tap, FlattenOrder::ChannelsLast),
        }
    }

    /// The bytes of the file. `notes` are its metadata.
    pub fn finish(mut self, name: &str, notes: &[(String, String)]) -> Result<Vec<u8>, WriteError> {
        self.graph.name = name.to_string();
        let entry = |(key, value): &(String, String)| StringStringEntryProto { key: key.clone(), value: value.clone() };
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "featurize".to_string(),
            producer_version: env!("CARGO_PKG_VERSION").to_string(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto { version: OPSET, ..Default::default() }],
            metadata_props: notes.iter().map(entry).collect(),
            functions: Vec::new(),
        };
        match model.encoded_len() {
            len if len > LARGEST => Err(WriteError::Large(len)),
            _ => Ok(model.encode_to_vec()),
        }
    }

    fn step(&mut self, step: &Step, inputs: &[&str]) -> Result<String, WriteError> {
        let x = *inputs.first().unwrap_or(&"");
        let wrong = |reason: &str| WriteError::Layer { layer: step.layer.clone(), reason: reason.to_string() };
        let (from, to) = (step.in_shape, step.out_shape);
        let value = match &step.kernel {
            Kernel::Conv { groups, window, weight, bias, .. } => {
                self.conv(x, [bias.len(), *groups], window, weight, bias)
            }
            Kernel::Depthwise { window, weight, bias, .. } => self.conv(x, [bias.len(); 2], window, weight, bias),
            Kernel::Scale { scale, shift, .. } => {
                let dims = by_channel(from, scale.len());
                let scale = self.floats(&dims, scale);
                let shift = self.floats(&dims, shift);
                let product = self.op("Mul", &[x, &scale], &[]);
                self.op("Add", &[&product, &shift], &[])
            }
            Kernel::LayerNorm { eps, weight, bias } => self.layer_norm(x, from, *eps, [weight, bias]),
            Kernel::Activation(activation) => self.activation(x, *activation),
            Kernel::Softmax => self.op("Softmax", &[x], &[("axis", Attribute::Int(1))]),
            Kernel::ZeroPad(pad) => self.pad(x, *pad),
            Kernel::Add => self.op("Add", inputs, &[]),
            Kernel::Multiply => {
                let gate = inputs.get(1).ok_or_else(|| wrong("it has one input"))?;
                let dims = self.ints(&[0, -1, 1, 1]);
                let gate = self.op("Reshape", &[gate, &dims], &[]);
                self.op("Mul", &[x, &gate], &[])
            }
            Kernel::Concat => self.op("Concat", inputs, &[("axis", Attribute::Int(1))]),
            Kernel::Slice(first) => {
                let n = if let Shape::Map { c, .. } = to { c } else { to.len() };
                let ends = [*first, first + n].map(|end| self.ints(&[end as i64]));
                let axis = self.ints(&[1]);
                self.op("Slice", &[x, &ends[0], &ends[1], &axis], &[])
            }
            Kernel::Shuffle(groups) => {
                let Shape::Map { c, h, w } = to else { return Err(wrong("it shuffles no map")) };
                let table = self.ints(&[0, *groups as i64, (c / groups) as i64, h as i64, w as i64]);
                let back = self.ints(&[0, c as i64, h as i64, w as i64]);
                let table = self.op("Reshape", &[x, &table], &[]);
                let turned = self.op("Transpose", &[&table], &[("perm", Attribute::Ints(&[0, 2, 1, 3, 4]))]);
                self.op("Reshape", &[&turned, &back], &[])
            }
            Kernel::Pool { pooling, window, zeros } => {
                let (Shape::Map { h, w, .. }, Shape::Map { h: oh, w: ow, .. }) = (from, to) else {
                    return Err(wrong("it pools no map"));
                };
                self.pool(x, *pooling, (*window, *zeros), [h, w], [oh, ow])
            }
            Kernel::GlobalAvgPool => self.features(Features::Avg, from, x),
            Kernel::AdaptiveAvgPool => {
                let (Shape::Map { h, w, .. }, Shape::Map { h: oh, w: ow, .. }) = (from, to) else {
                    return Err(wrong("it pools no map"));
                };
                self.cells(x, [h, w], [oh, ow])
            }
            Kernel::Flatten(order) => self.flat(x, *order),
            Kernel::Dense { weight, bias, .. } => {
                let weight = self.floats(&[bias.len(), weight.len() / bias.len().max(1)], weight);
                let bias = self.floats(&[bias.len()], bias);
                self.op("Gemm", &[x, &weight, &bias], &[("transB", Attribute::Int(1))])
            }
        };
        let activation = step.kernel.joined();
        Ok(activation.map_or(value.clone(), |activation| self.activation(&value, activation)))
    }

    fn conv(&mut self, x: &str, [out, groups]: [usize; 2], window: &Window, weight: &[f32], bias: &[f32]) -> String {
        let [kh, kw] = window.kernel;
        let weight = self.floats(&[out, weight.len() / (out * kh * kw).max(1), kh, kw], weight);
        let bias = self.floats(&[bias.len()], bias);
        let attributes = [("group", Attribute::Int(groups as i64))];
        self.windowed("Conv", &[x, &weight, &bias], window, &attributes)
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
        if let Shape::Vector(_) = shape {
            return self.op("LayerNormalization", &[x, &weight, &bias], &attributes);
        }
        let last = self.op("Transpose", &[x], &[("perm", Attribute::Ints(&[0, 2, 3, 1]))]);
        let norm = self.op("LayerNormalization", &[&last, &weight, &bias], &attributes);
        self.op("Transpose", &[&norm], &[("perm", Attribute::Ints(&[0, 3, 1, 2]))])
    }

    fn activation(&mut self, x: &str, activation: Activation) -> String {
        match activation {
            Activation::Relu => self.op("Relu", &[x], &[]),
            Activation::Relu6 => {
                let limits = [0.0, 6.0].map(|limit| self.floats(&[], &[limit]));
                self.op("Clip", &[x, &limits[0], &limits[1]], &[])
            }
            Activation::Sigmoid => self.op("Sigmoid", &[x], &[]),
            Activation::Silu => {
                let gate = self.op("Sigmoid", &[x], &[]);
                self.op("Mul", &[x, &gate], &[])
            }
            Activation::HardSigmoid => {
                let sixth = Attribute::Float(1.0 / 6.0);
                self.op("HardSigmoid", &[x], &[("alpha", sixth), ("beta", Attribute::Float(0.5))])
            }
            Activation::HardSwish => self.op("HardSwish", &[x], &[]),
            Activation::Gelu => {
                let factors = [std::f32::consts::FRAC_1_SQRT_2, 1.0, 0.5].map(|factor| self.floats(&[], &[factor]));
                let scaled = self.op("Mul", &[x, &factors[0]], &[]);
                let erf = self.op("Erf", &[&scaled], &[]);
                let more = self.op("Add", &[&erf, &factors[1]], &[]);
                let product = self.op("Mul", &[x, &more], &[]);
                self.op("Mul", &[&product, &factors[2]], &[])
            }
        }
    }

    fn pad(&mut self, x: &str, Pad { top, bottom, left, right }: Pad) -> String {
        let pads = self.ints(&[0, 0, top, left, 0, 0, bottom, right].map(|pad| pad as i64));
        self.op("Pad", &[x, &pads], &[])
    }

    /// A pool whose windows stand `out` times on a map of that size. Where the last ones hang over, the padding behind
    /// the map is as large as they need; it never wins and never counts.
    fn pool(
        &mut self,
        x: &str,
        pooling: Pooling,
        (window, zeros): (Window, bool),
        size: [usize; 2],
        out: [usize; 2],
    ) -> String {
        let (mut x, mut window, mut size) = (x.to_string(), window, size);
        if (zeros || pooling == Pooling::AvgWithPad) && !window.pad.is_zero() {
            let pad = std::mem::take(&mut window.pad);
            x = self.pad(&x, pad);
            size = [size[0] + pad.top + pad.bottom, size[1] + pad.left + pad.right];
        }
        let behind = |i: usize, before: usize| {
            ((out[i] - 1) * window.stride[i] + window.kernel[i]).saturating_sub(size[i] + before)
        };
        window.pad.bottom = behind(0, window.pad.top);
        window.pad.right = behind(1, window.pad.left);
        let op = if pooling == Pooling::Max { "MaxPool" } else { "AveragePool" };
        self.windowed(op, &[&x], &window, &[])
    }

    /// Means of cells: cell i of n covers positions ⌊i·size/n⌋ to ⌈(i+1)·size/n⌉.
    fn cells(&mut self, x: &str, size: [usize; 2], out: [usize; 2]) -> String {
        if out == [1, 1] {
            return self.op("GlobalAveragePool", &[x], &[]);
        }
        if size[0].is_multiple_of(out[0]) && size[1].is_multiple_of(out[1]) {
            let side = [size[0] / out[0], size[1] / out[1]];
            let window = Window { kernel: side, stride: side, pad: Pad::default() };
            return self.windowed("AveragePool", &[x], &window, &[]);
        }
        // cells that overlap: a matrix of shares for the rows, and one for the columns
        let shares = |i: usize| -> Vec<f32> {
            let (size, n) = (size[i], out[i]);
            let cell = |at: usize| at * size / n..((at + 1) * size).div_ceil(n);
            (0..n)
                .flat_map(|at| (0..size).map(move |place| (cell(at), place)))
                .map(|(cell, place)| if cell.contains(&place) { 1.0 / cell.len() as f32 } else { 0.0 })
                .collect()
        };
        let (rows, columns) =
            (self.floats(&[out[0], size[0]], &shares(0)), self.floats(&[out[1], size[1]], &shares(1)));
        let columns = self.op("Transpose", &[&columns], &[]);
        let narrow = self.op("MatMul", &[x, &columns], &[]);
        self.op("MatMul", &[&rows, &narrow], &[])
    }

    fn flat(&mut self, x: &str, order: FlattenOrder) -> String {
        match order {
            FlattenOrder::ChannelsFirst => self.op("Flatten", &[x], &[]),
            FlattenOrder::ChannelsLast => {
                let last = self.op("Transpose", &[x], &[("perm", Attribute::Ints(&[0, 2, 3, 1]))]);
                self.op("Flatten", &[&last], &[])
            }
        }
    }
}

/// The dimensions of one value a channel.
fn by_channel(shape: Shape, n: usize) -> Vec<usize> {
    if let Shape::Map { .. } = shape { vec![1, n, 1, 1] } else { vec![1, n] }
}

fn attribute(name: &str, value: Attribute) -> AttributeProto {
    let mut attribute = AttributeProto { name: name.to_string(), ..Default::default() };
    match value {
        Attribute::Float(f) => (attribute.f, attribute.r#type) = (Some(f), 1),
        Attribute::Int(i) => (attribute.i, attribute.r#type) = (Some(i), 2),
        Attribute::Ints(ints) => (attribute.ints, attribute.r#type) = (ints.to_vec(), 7),
    }
    attribute
}

fn info(name: &str, element: Element, sizes: &[usize]) -> ValueInfoProto {
    let elem_type = match element {
        Element::F32 => dtype::FLOAT,
        Element::U8 => dtype::UINT8,
    };
    let open = DimensionProto { dim_param: Some("n".to_string()), ..Default::default() };
    let fixed = sizes.iter().map(|&size| DimensionProto { dim_value: Some(size as i64), ..Default::default() });
    let shape = Some(TensorShapeProto { dim: std::iter::once(open).chain(fixed).collect() });
    let tensor_type = Some(TensorTypeProto { elem_type, shape });
    ValueInfoProto { name: name.to_string(), r#type: Some(TypeProto { tensor_type }) }
}
