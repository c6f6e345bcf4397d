//! The nodes of a file in one list: calls of its local functions are replaced by the nodes of these functions.

use std::collections::HashMap;

use prost::Message;

use super::array::Array;
use super::proto::{AttributeProto, FunctionProto, NodeProto, TensorProto};

/// Most nodes of a network, the nodes of functions counted at each call, and most calls.
const MOST: usize = 1 << 17;
/// Most bytes of the nodes of functions, counted at each call.
const COPIED: usize = 1 << 28;
/// How deep functions may call functions.
const DEPTH: usize = 32;

/// A node, its tensors read.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub name: String,
    pub op: String,
    pub domain: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    attributes: Vec<AttributeProto>,
    /// The tensor among its attributes.
    pub value: Option<Array>,
    /// The graphs among its attributes.
    branches: Vec<Branch>,
}

/// A graph inside a node, which reads values of the graph around it.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    name: String,
    pub nodes: Vec<Node>,
    pub outputs: Vec<String>,
}

impl Node {
    pub(super) fn has(&self, attribute: &str) -> bool {
        self.attribute(attribute).is_some()
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).and_then(|attribute| attribute.i).unwrap_or(default)
    }

    pub(super) fn float(&self, name: &str) -> Option<f64> {
        self.attribute(name).and_then(|attribute| attribute.f).map(f64::from)
    }

    pub(super) fn floats(&self, name: &str) -> Option<&[f32]> {
        self.attribute(name).map(|attribute| attribute.floats.as_slice())
    }

    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(super) fn text(&self, name: &str) -> &str {
        let bytes = self.attribute(name).and_then(|attribute| attribute.s.as_deref());
        bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The input of that number; an optional one may be left out.
    pub(super) fn input(&self, i: usize) -> Option<&str> {
        self.inputs.get(i).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The graph that is that attribute.
    pub(super) fn branch(&self, name: &str) -> Option<&Branch> {
        self.branches.iter().find(|branch| branch.name == name)
    }

    /// The values that it reads, and those that the graphs inside it read.
    pub(super) fn reads(&self) -> Vec<&str> {
        let inside = self.branches.iter().flat_map(|branch| branch.nodes.iter().flat_map(Node::reads));
        let ends = self.branches.iter().flat_map(|branch| &branch.outputs).map(String::as_str);
        self.inputs.iter().map(String::as_str).chain(inside).chain(ends).collect()
    }

    /// The node, and the nodes of the graphs inside it.
    pub(super) fn with_inner(&self) -> Vec<&Self> {
        let inner = self.branches.iter().flat_map(|branch| branch.nodes.iter().flat_map(Self::with_inner));
        std::iter::once(self).chain(inner).collect()
    }

    /// Whether that value is one of its outputs.
    pub(super) fn gives(&self, value: &str) -> bool {
        self.outputs.iter().any(|output| output == value)
    }

    /// Whether it is an operator of ONNX itself.
    pub(super) fn is_standard(&self) -> bool {
        ["", "ai.onnx"].contains(&self.domain.as_str())
    }
}

/// Replaces the calls of `functions` and reads the tensors of the nodes.
pub(super) fn inline(
    nodes: Vec<NodeProto>,
    functions: &[FunctionProto],
    read: &mut Read<'_>,
) -> Result<Vec<Node>, String> {
    let functions = functions.iter().map(|f| ((f.domain.as_str(), f.name.as_str(), f.overload.as_str()), f)).collect();
    let mut inliner = Inliner { functions, read, calls: 0, copied: 0, out: Vec::with_capacity(nodes.len()) };
    for node in nodes {
        inliner.call(node, DEPTH)?;
    }
    Ok(inliner.out)
}

/// Reads a tensor.
type Read<'r> = dyn FnMut(&TensorProto) -> Result<Array, String> + 'r;

struct Inliner<'a, 'r> {
    functions: HashMap<(&'a str, &'a str, &'a str), &'a FunctionProto>,
    read: &'a mut Read<'r>,
    /// Calls of functions so far.
    calls: usize,
    /// Bytes of the nodes of functions so far, at each call.
    copied: usize,
    out: Vec<Node>,
}

impl Inliner<'_, '_> {
    /// Appends a node, or the nodes of the function that it calls.
    fn call(&mut self, node: NodeProto, depth: usize) -> Result<(), String> {
        let key = (node.domain.as_str(), node.op_type.as_str(), node.overload.as_str());
        let Some(&function) = self.functions.get(&key) else {
            if self.out.len() >= MOST {
                return Err(format!("it has more than {MOST} nodes"));
            }
            let NodeProto { name, op_type: op, domain, input, output, mut attribute, .. } = node;
            let tensor = attribute.iter_mut().find_map(|attribute| attribute.t.take());
            let value = tensor.map(|tensor| (self.read)(&tensor)).transpose()?;
            let mut branches = Vec::new();
            for inner in &mut attribute {
                // names inside a function's graph are not those outside
                if let Some(graph) = inner.g.take().filter(|_| depth == DEPTH) {
                    let before = self.out.len();
                    let outputs = graph.output.into_iter().map(|output| output.name).collect();
                    graph.node.into_iter().try_for_each(|node| self.call(node, depth))?;
                    branches.push(Branch { name: inner.name.clone(), nodes: self.out.split_off(before), outputs });
                }
            }
            let (inputs, outputs) = (input, output);
            self.out.push(Node { name, op, domain, inputs, outputs, attributes: attribute, value, branches });
            return Ok(());
        };
        let Some(depth) = depth.checked_sub(1) else {
            return Err(format!("its functions call one another more than {DEPTH} deep"));
        };
        self.calls += 1;
        if self.calls > MOST {
            return Err(format!("it calls functions more than {MOST} times"));
        }
        let title =
            [&node.name, node.output.first().unwrap_or(&node.op_type)].into_iter().find(|name| !name.is_empty());
        let title = title.cloned().unwrap_or_default();
        let pairs = |formal: &[String], actual: &[String]| -> Vec<(String, String)> {
            let rest = std::iter::repeat(String::new());
            formal.iter().cloned().zip(actual.iter().cloned().chain(rest)).collect()
        };
        let outside: HashMap<String, String> =
            [pairs(&function.input, &node.input), pairs(&function.output, &node.output)].concat().into_iter().collect();
        // an output that the caller leaves out still has a name inside
        let rename = |name: &String| match outside.get(name) {
            Some(actual) if !actual.is_empty() || function.input.contains(name) => actual.clone(),
            _ if name.is_empty() => String::new(),
            _ => format!("{title}/{name}"),
        };
        for inner in &function.node {
            let mut inner = inner.clone();
            inner.input = inner.input.iter().map(rename).collect();
            inner.output = inner.output.iter().map(rename).collect();
            inner.name = format!("{title}/{}", if inner.name.is_empty() { &inner.op_type } else { &inner.name });
            inner.attribute =
                inner.attribute.into_iter().filter_map(|attribute| given(attribute, &node, function)).collect();
            let tensors = inner.attribute.iter().filter_map(|attribute| attribute.t.as_ref());
            // the raw bytes of tensors are shared
            self.copied += inner.encoded_len() - tensors.map(|tensor| tensor.raw_data.len()).sum::<usize>();
            if self.copied > COPIED {
                return Err(format!("the nodes of its functions, at each call, take more than {COPIED} bytes"));
            }
            self.call(inner, depth)?;
        }
        Ok(())
    }
}

/// An attribute of a node inside a function, which may be one of the call or have a default.
fn given(attribute: AttributeProto, call: &NodeProto, function: &FunctionProto) -> Option<AttributeProto> {
    if attribute.ref_attr_name.is_empty() {
        return Some(attribute);
    }
    let mut all = call.attribute.iter().chain(&function.attribute_proto);
    let found = all.find(|found| found.name == attribute.ref_attr_name)?.clone();
    Some(AttributeProto { name: attribute.name, ..found })
}
