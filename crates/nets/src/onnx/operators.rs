//! The operators: which of them becomes a layer, a view of one, or a part of an activation.

use super::array::{Array, Data, TRAINS, trains};
use super::curve::{Curve, gelu, gelu_tanh, sigmoid};
use super::network::{Importer, Kind, Moment, Pending, Seen, Value};
use super::node::Node;
use super::shape;
use crate::models::graph::{Op, Pooling};

impl<'a> Importer<'a> {
    /// The values that a node gives.
    pub(super) fn operator(&mut self, node: &'a Node) -> Result<Vec<Value>, String> {
        if !node.is_standard() {
            return Err("the operator is not known".to_string());
        }
        let one = match node.op.as_str() {
            "Dropout" if node.input(2).is_some() && self.constant(node, 2).is_none_or(trains) => {
                return Err(TRAINS.to_string());
            }
            "Identity" | "Dropout" => return self.value(node, 0).map(|value| vec![value]),
            "Split" => return self.split(node),
            "Cast" => return self.cast(node).map(|value| vec![value]),
            "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" => return self.reshape(node).map(|value| vec![value]),
            "Transpose" => return self.transpose(node).map(|value| vec![value]),
            "Expand" => return self.expand(node).map(|value| vec![value]),
            "Slice" => return self.slice(node).map(|value| vec![value]),
            "MatMul" if self.constant(node, 1).is_none() => return self.product(node).map(|value| vec![value]),
            "ReduceL2" => return self.length(node).map(|value| vec![value]),
            "Softmax" if let Ok(Value::Scores(scores)) = self.value(node, 0) => {
                return self.weighted(node, *scores).map(|value| vec![value]);
            }
            // attention refuses a bias that gives other shares than numbers: see `Scores::bias`
            "IsNaN"
                if let Ok(Value::Scores(scores)) = self.value(node, 0)
                    && scores.is_softmax =>
            {
                let never = Array { dims: Vec::new(), data: Data::Ints(vec![0]) };
                return Ok(vec![Value::Constant(never)]);
            }
            "If" => return self.branch(node),
            "Where" => return self.chosen_value(node).map(|value| vec![value]),
            "Clip" | "Max" if let Ok(Value::Moment(moment)) = self.value(node, 0) => {
                return self.at_least(node, moment).map(|value| vec![value]);
            }
            "Attention" => self.fused_attention(node),
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
            "Gather" => self.gather(node),
            "Pad" => self.pad(node),
            "Softmax" => self.over_vector(node, self.softmax_axis(), Op::Softmax),
            "LpNormalization" if node.int("p", 2) == 2 => self.normalize(node),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" => return self.binary(node).map(|value| vec![value]),
            "Sqrt" | "Reciprocal" if let Ok(Value::Moment(moment)) = self.value(node, 0) => {
                return self.root(node, moment).map(|value| vec![value]);
            }
            _ => self.elementwise(node),
        };
        one.map(|seen| vec![Value::Layer(seen)])
    }

    /// The dimension of a softmax that names none.
    pub(super) fn softmax_axis(&self) -> i64 {
        if self.file.opset < 13 { 1 } else { -1 }
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
            Pending::Affine(_) | Pending::Unit(_) | Pending::Turn(..) => {
                Ok((self.done(node.input(i).unwrap_or_default())?, Curve::identity()))
            }
        }
    }

    /// The values of one of two graphs, by a condition that does not depend on the picture.
    fn branch(&mut self, node: &'a Node) -> Result<Vec<Value>, String> {
        let condition = self.constant(node, 0).ok_or("its condition depends on the picture")?;
        let is_true = condition.to_ints()?.first().is_some_and(|&value| value != 0);
        let branch = node.branch(if is_true { "then_branch" } else { "else_branch" }).ok_or("its graph is missing")?;
        branch.nodes.iter().for_each(|node| self.step(node));
        let value = |name: &String| {
            let constant = || self.constant_called(name).cloned().map(Value::Constant);
            self.values.get(name.as_str()).cloned().or_else(constant)
        };
        branch.outputs.iter().map(|name| value(name).ok_or_else(|| format!("its graph gives no `{name}`"))).collect()
    }

    /// One of two values, by a condition that is the same everywhere.
    fn chosen_value(&self, node: &'a Node) -> Result<Value, String> {
        let condition = self.constant(node, 0).ok_or("its condition depends on the picture")?;
        let all = condition.to_ints()?;
        let first = all.first().map_or(0, |&value| i64::from(value != 0));
        if all.iter().any(|&value| i64::from(value != 0) != first) {
            return Err("its condition differs by place".to_string());
        }
        let (chosen, other) = if first == 1 { (1, 2) } else { (2, 1) };
        let value = self.value(node, chosen)?;
        let dims = match &value {
            Value::Layer(seen) => seen.view.dims(),
            Value::Scores(scores) => scores.view.dims(),
            _ => return Err("something is chosen that is no layer".to_string()),
        };
        let sizes = match self.value(node, other)? {
            Value::Layer(seen) => seen.view.dims(),
            Value::Constant(array) => array.dims,
            Value::Scores(scores) => scores.view.dims(),
            Value::Moment(moment) => moment.view.dims(),
        };
        let whole = shape::broadcast(&shape::broadcast(&condition.dims, &sizes)?, &dims)?;
        if whole == dims { Ok(value) } else { Err(format!("{dims:?} are copied to {whole:?}")) }
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
