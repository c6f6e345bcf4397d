//! Networks, and the classifiers behind them, as ONNX files of opset 17.
//!
//! A [`Writer`] takes node after node. [`Writer::network`] writes the steps of a lowered network, one node or a few for
//! each kind of step (`network`); whoever fits something on the features writes its nodes with [`Writer::op`].

mod network;
#[cfg(test)]
mod tests;
mod tokens;

use prost::Message;

use super::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, dtype,
};

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
    Layer { layer: String, reason: &'static str },
    #[error(
        "the ONNX file would have {0} bytes, and the format allows 2 GB; export the classifier alone with `--head`"
    )]
    Large(usize),
}

impl Writer {
    /// Declares the input `name`. Its first size, the number of pictures, is open, and `sizes` follow it.
    pub fn input(&mut self, name: &str, element: Element, sizes: &[usize]) {
        self.graph.input.push(info(name, element, sizes));
    }

    /// Makes the value `name` an output of those sizes behind the number of pictures.
    pub fn output(&mut self, name: &str, element: Element, sizes: &[usize]) {
        self.graph.output.push(info(name, element, sizes));
    }

    /// Adds a constant of floating-point numbers and returns its name.
    pub fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(dtype::FLOAT, dims, bytes)
    }

    /// Adds a constant of one floating-point number and returns its name.
    pub fn float(&mut self, value: f32) -> String {
        self.floats(&[], &[value])
    }

    /// Adds a constant list of integers and returns its name.
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

    /// Adds a node and returns the name of its output.
    pub fn op(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let output = self.fresh("v");
        self.named(op, inputs, attributes, &output);
        output
    }

    /// Adds a node with two outputs and returns the name of the second.
    pub fn second(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let outputs = [self.fresh("v"), self.fresh("v")];
        self.node(op, inputs, attributes, &outputs);
        let [_, second] = outputs;
        second
    }

    /// Adds a node whose output is called `output`.
    pub fn named(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)], output: &str) {
        self.node(op, inputs, attributes, &[output.to_string()]);
    }

    fn node(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)], outputs: &[String]) {
        self.graph.node.push(NodeProto {
            name: outputs[0].clone(),
            op_type: op.to_string(),
            input: inputs.iter().map(ToString::to_string).collect(),
            output: outputs.to_vec(),
            attribute: attributes.iter().map(|&(name, value)| attribute(name, value)).collect(),
            ..Default::default()
        });
    }

    /// Returns the bytes of the file; `notes` become its metadata.
    ///
    /// # Errors
    /// The file would be larger than 2 GB.
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
