//! The operators: which of them becomes a layer, a view of one, or a part of an activation.

use super::curve::{Curve, gelu, gelu_tanh, sigmoid};
use super::network::{Importer, Kind, Moment, Pending, Seen, Value};
use super::node::Node;
use crate::models::graph::{Op, Pooling};

impl<'a> Importer<'a> {
    /// The values that a node gives.
    pub(super) fn operator(&mut self, node: &'a Node) -> Result<Vec<Value>, String> {
        if !node.is_standard() {
            return Err("the operator is not known".to_string());
        }
        let one = match node.op.as_str() {
            "Identity" | "Dropout" => return self.value(node, 0).map(|value| vec![value]),
            "Split" => return self.split(node),
            "Cast" => self.cast(node),
            "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" => self.reshape(node),
            "Transpose" => self.transpose(node),
            "Expand" => self.expand(node),
            "Conv" => self.conv(node),
            "BatchNormalization" => self.batch_norm(node),
            "LayerNormalization" => self.layer_norm(node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.matmul(node),
            "MaxPool" | "AveragePool" => self.pool(node),
            "GlobalAveragePool" => self.global_pool(node, Pooling::Avg),
            "GlobalMaxPool" => self.global_pool(node, Pooling::Max),
            "ReduceMean" => match self.mean(node)? {
                Some(value) => return Ok(vec![value]),
                None => self.reduce(node, Pooling::Avg),
            },
            "ReduceMax" => self.reduce(node, Pooling::Max),
            "Concat" => self.concat(node),
            "Slice" => self.slice(node),
            "Gather" => self.gather(node),
            "Pad" => self.pad(node),
            "Softmax" => {
                let last = if self.file.opset < 13 { 1 } else { -1 };
                self.over_vector(node, last, Op::Softmax)
            }
            "LpNormalization" if node.int("p", 2) == 2 => self.over_vector(node, -1, Op::Normalize),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" => return self.binary(node).map(|value| vec![value]),
            "Sqrt" | "Reciprocal" if let Ok(Value::Moment(moment)) = self.value(node, 0) => {
                return self.root(node, moment).map(|value| vec![value]);
            }
            _ => self.elementwise(node),
        };
        one.map(|seen| vec![Value::Layer(seen)])
    }

    /// A function of single values.
    fn elementwise(&mut self, node: &'a Node) -> Result<Seen, String> {
        let (alpha, beta) = (node.float("alpha"), node.float("beta"));
        match node.op.as_str() {
            "Relu" => self.curve(node, |x| x.max(0.0)),
            "Sigmoid" => self.curve(node, sigmoid),
            "Tanh" => self.curve(node, f64::tanh),
            "Erf" => self.curve(node, libm::erf),
            "Exp" => self.curve(node, f64::exp),
            "Neg" => self.curve(node, |x| -x),
            "Abs" => self.curve(node, f64::abs),
            "Sqrt" => self.curve(node, f64::sqrt),
            "Reciprocal" => self.curve(node, f64::recip),
            "Gelu" if node.text("approximate") == "tanh" => self.curve(node, gelu_tanh),
            "Gelu" => self.curve(node, gelu),
            "HardSigmoid" => {
                let (alpha, beta) = (alpha.unwrap_or(f64::from(0.2f32)), beta.unwrap_or(0.5));
                self.curve(node, |x| (alpha * x + beta).clamp(0.0, 1.0))
            }
            "HardSwish" => self.curve(node, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
            "Swish" => self.curve(node, |x| x * sigmoid(alpha.unwrap_or(1.0) * x)),
            "LeakyRelu" => {
                let alpha = alpha.unwrap_or(f64::from(0.01f32));
                self.curve(node, |x| x.max(0.0) + alpha * x.min(0.0))
            }
            "Clip" => {
                let limit = |i: usize, name: &str, default: f64| match self.constant(node, i) {
                    Some(array) => Ok(array.numbers()?.first().copied().unwrap_or(default)),
                    None if node.input(i).is_some() => Err("a bound depends on the picture".to_string()),
                    None => Ok(node.float(name).unwrap_or(default)),
                };
                let (low, high) = (limit(1, "min", f64::NEG_INFINITY)?, limit(2, "max", f64::INFINITY)?);
                self.curve(node, |x| x.max(low).min(high))
            }
            _ => Err("the operator is not known".to_string()),
        }
    }

    /// The first input with `function` behind what is still to be done to it.
    pub(super) fn curve(&mut self, node: &'a Node, function: impl Fn(f64) -> f64) -> Result<Seen, String> {
        let (seen, curve) = self.curved(node, 0)?;
        Ok(Seen { pending: Pending::Curve(curve.then(function)), ..seen })
    }

    /// An input as a curve over a layer.
    pub(super) fn curved(&mut self, node: &'a Node, i: usize) -> Result<(Seen, Curve), String> {
        let seen = self.seen(node, i)?;
        match &seen.pending {
            Pending::Nothing => Ok((seen, Curve::identity())),
            Pending::Curve(curve) => {
                let curve = curve.clone();
                Ok((seen, curve))
            }
            Pending::Affine(_) => Ok((self.layer(node, i)?, Curve::identity())),
        }
    }

    /// A root of a variance, or one over it.
    fn root(&mut self, node: &'a Node, moment: Moment) -> Result<Value, String> {
        let kind = match (node.op.as_str(), moment.kind) {
            ("Sqrt", Kind::Variance(eps)) => Kind::Deviation(eps),
            ("Reciprocal", Kind::Deviation(eps)) => Kind::Inverse(eps),
            _ => return Err("it is no step of a layer norm".to_string()),
        };
        Ok(Value::Moment(Moment { kind, ..moment }))
    }
}
