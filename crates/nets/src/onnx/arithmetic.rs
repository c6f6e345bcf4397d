//! Sums, products and the like of two values: of layers, of a layer and a constant, and the steps of a layer norm that
//! is written as single nodes.

use super::array::{Array, number};
use super::curve::Curve;
use super::network::{Affine, Importer, Kind, Moment, Pending, Seen, Value};
use super::node::Node;
use super::shape;
use super::turn::{Turn, Turned};
use super::view::{Axis, Part, View, whole};
use crate::models::graph::{Op, Shape};
use crate::weights::Tensor;

impl<'a> Importer<'a> {
    /// An operator of two values.
    pub(super) fn binary(&mut self, node: &'a Node) -> Result<Value, String> {
        match (self.value(node, 0)?, self.value(node, 1)?) {
            (Value::Scores(scores), Value::Constant(constant)) => self.scored(node, *scores, &constant, 1),
            (Value::Constant(constant), Value::Scores(scores)) => self.scored(node, *scores, &constant, 0),
            (Value::Scores(_), _) | (_, Value::Scores(_)) => {
                Err("something that depends on the picture is added to scores of attention".to_string())
            }
            (Value::Moment(moment), other) => self.norm_step(node, moment, &other),
            (Value::Layer(seen), Value::Moment(Moment { id, view, kind: Kind::Length })) => {
                if node.op != "Div" || (seen.id, &seen.view) != (id, &view) || seen.pending != Pending::Nothing {
                    return Err("it is no vector divided by its length".to_string());
                }
                if seen.view.dims().last() == Some(&seen.view.len()) {
                    return self.over_vector(node, -1, Op::Normalize).map(Value::Layer);
                }
                Ok(Value::Layer(unit(seen)))
            }
            (Value::Layer(_), Value::Moment(moment)) => self.centred(node, moment),
            (Value::Layer(_), Value::Constant(constant)) => self.with_constant(node, 0, &constant).map(Value::Layer),
            (Value::Constant(constant), Value::Layer(_)) => self.with_constant(node, 1, &constant).map(Value::Layer),
            (Value::Layer(x), Value::Layer(y)) => self.of_layers(node, x, &y).map(Value::Layer),
            (Value::Constant(_), _) => Err("it is not computed of constants".to_string()),
        }
    }

    /// A layer, input `i`, and a constant, the other input.
    fn with_constant(&mut self, node: &'a Node, i: usize, constant: &Array) -> Result<Seen, String> {
        let function = number(&node.op).ok_or("the operator is not known")?;
        if let Some(seen) = self.embedded(node, i, constant)? {
            return Ok(seen);
        }
        if let Some(seen) = self.turn_scaled(node, i, constant)? {
            return Ok(seen);
        }
        let (values, seen) = (constant.numbers()?, self.seen(node, i)?);
        if constant.dims.len() > seen.view.rank() {
            return Err(format!("a constant of {:?} has more dimensions than {:?}", constant.dims, seen.view.dims()));
        }
        if let [value] = values[..] {
            if let Pending::Turn(Turn::Turned(turned), held) = &seen.pending {
                let factor = match (node.op.as_str(), i) {
                    ("Mul", _) => value,
                    ("Div", 0) => 1.0 / value,
                    _ => return Err("it is no step of a rotary embedding".to_string()),
                };
                let turned = Turned { factor: turned.factor * factor, ..turned.clone() };
                return Ok(Seen { pending: Pending::Turn(Turn::Turned(turned), held.clone()), ..seen });
            }
            let (seen, curve) = self.curved(node, i)?;
            let curve = if i == 0 { curve.then(|x| function(x, value)) } else { curve.then(|x| function(value, x)) };
            return Ok(Seen { pending: Pending::Curve(curve), ..seen });
        }
        let is_whole = seen.view.is_whole(self.graph.shape(seen.id));
        let seen = if let (Pending::Nothing | Pending::Affine(_), true) = (&seen.pending, is_whole) {
            seen
        } else {
            self.layer(node, i)?
        };
        let n = self.channels(seen.id);
        let found = seen.view.by_channel(self.graph.shape(seen.id), &constant.dims, &values);
        let (dims, wide) = (seen.view.dims(), &constant.dims);
        let values = found.ok_or_else(|| format!("a constant of {wide:?} is no factor a channel of {dims:?}"))?;
        let Affine { mut scale, mut shift } = match seen.pending {
            Pending::Affine(affine) => affine,
            _ => Affine { scale: vec![1.0; n], shift: vec![0.0; n] },
        };
        for ((scale, shift), &value) in scale.iter_mut().zip(&mut shift).zip(&values) {
            match (node.op.as_str(), i) {
                ("Add", _) => *shift += value,
                ("Sub", 0) => *shift -= value,
                ("Sub", _) => (*scale, *shift) = (-*scale, value - *shift),
                ("Mul", _) => (*scale, *shift) = (*scale * value, *shift * value),
                ("Div", 0) => (*scale, *shift) = (*scale / value, *shift / value),
                _ => return Err("the operator is not known for constants that differ by channel".to_string()),
            }
        }
        Ok(Seen { pending: Pending::Affine(Affine { scale, shift }), ..seen })
    }

    fn of_layers(&mut self, node: &'a Node, x: Seen, y: &Seen) -> Result<Seen, String> {
        if node.input(0) == node.input(1) && matches!(x.pending, Pending::Affine(_)) {
            let x = self.done(node.input(0).unwrap_or_default())?;
            return self.of_layers(node, x.clone(), &x);
        }
        let curve = |seen: &Seen| match &seen.pending {
            Pending::Nothing => Some(Curve::identity()),
            Pending::Curve(curve) => Some(curve.clone()),
            Pending::Affine(_) | Pending::Unit(_) | Pending::Turn(..) => None,
        };
        // two functions of the same values are one
        if (x.id, &x.view) == (y.id, &y.view)
            && let (Some(a), Some(b), Some(function)) = (curve(&x), curve(y), number(&node.op))
        {
            return Ok(Seen { pending: Pending::Curve(a.with(&b, function)), ..x });
        }
        match node.op.as_str() {
            "Add" if let Some(turned) = self.turned(&x, y) => Ok(turned),
            "Add" => self.sum(node),
            "Mul" => self.gated(node),
            _ => Err("the operator is not known for two values that depend on the picture".to_string()),
        }
    }

    fn sum(&mut self, node: &'a Node) -> Result<Seen, String> {
        let (x, y) = (self.layer(node, 0)?, self.layer(node, 1)?);
        let (a, b) = (self.graph.shape(x.id), self.graph.shape(y.id));
        let (ids, view) = if (&x.view, a) == (&y.view, b) {
            ([x.id, y.id], x.view)
        } else if x.view.dims() != y.view.dims() {
            return Err(format!("{:?} is added to {:?}", y.view.dims(), x.view.dims()));
        } else if x.view.rank() == 2 {
            let ids = [self.vector(node, 0)?, self.vector(node, 1)?];
            (ids, View::plain(self.graph.shape(ids[0])))
        } else {
            let ids = [self.map(node, 0)?, self.map(node, 1)?];
            (ids, View::plain(self.graph.shape(ids[0])))
        };
        let name = self.name(&node.outputs[0]);
        Ok(Seen { id: self.graph.add(&name, ids[0], ids[1]), view, pending: Pending::Nothing })
    }

    /// A map times one value for each of its channels.
    fn gated(&mut self, node: &'a Node) -> Result<Seen, String> {
        let (x, y) = (self.layer(node, 0)?, self.layer(node, 1)?);
        let is_gate = |map: &Seen, gate: &Seen| {
            let (shape, own, n) = (self.graph.shape(map.id), self.graph.shape(gate.id), self.channels(gate.id));
            let places: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let each = map.view.by_channel(shape, &gate.view.dims(), &places);
            matches!(shape, Shape::Map { .. })
                && own.len() == n
                && gate.view.is_permutation(own)
                && each == Some(places)
        };
        let (map, gate) = match (is_gate(&x, &y), is_gate(&y, &x)) {
            (true, _) => (x, y),
            (_, true) => (y, x),
            _ => return Err(format!("{:?} is multiplied by {:?}", x.view.dims(), y.view.dims())),
        };
        let name = self.name(&node.outputs[0]);
        Ok(Seen { id: self.graph.multiply(&name, map.id, gate.id), ..map })
    }

    /// A mean over the channels of each position; none where the node is no such mean.
    pub(super) fn mean(&mut self, node: &'a Node) -> Result<Option<Value>, String> {
        if let Value::Layer(seen) = self.value(node, 0)?
            && seen.view.merged(self.graph.shape(seen.id)).is_some()
        {
            self.layer(node, 0)?;
        }
        let (value, keep) = (self.value(node, 0)?, node.int("keepdims", 1) == 1);
        let axes = shape::axes(node, self.constant(node, 1))?.unwrap_or_default();
        let (id, view, kind) = match &value {
            Value::Moment(moment) if moment.kind == Kind::Squares => (moment.id, &moment.view, Kind::Variance(0.0)),
            Value::Moment(moment) if moment.kind == Kind::Lengths => (moment.id, &moment.view, Kind::MeanLength(0.0)),
            Value::Layer(seen) => (seen.id, &seen.view, Kind::Mean),
            _ => return Ok(None),
        };
        let dims = shape::named(&axes, view.rank())?;
        if !keep || self.channels(id) == 1 || !view.covers(&dims, &[Axis::C], self.graph.shape(id)) {
            return Ok(None);
        }
        match value {
            Value::Moment(moment) => Ok(Some(Value::Moment(Moment { kind, ..moment }))),
            _ => self.layer(node, 0).map(|Seen { id, view, .. }| Some(Value::Moment(Moment { id, view, kind }))),
        }
    }

    /// The length of the vectors in the last dimension.
    pub(super) fn length(&mut self, node: &'a Node) -> Result<Value, String> {
        let (seen, keep) = (self.seen(node, 0)?, node.int("keepdims", 1) == 1);
        let axes = shape::axes(node, self.constant(node, 1))?.unwrap_or_default();
        let last = seen.view.rank().checked_sub(1).ok_or("it has no dimension")?;
        let dims = shape::named(&axes, seen.view.rank())?;
        let shape = self.graph.shape(seen.id);
        if matches!(shape, Shape::Map { .. }) && seen.view.covers(&dims, &[Axis::H, Axis::W], shape) {
            let Seen { id, view, .. } = self.layer(node, 0)?;
            return Ok(Value::Moment(Moment { id, view: view.reduced(&dims, keep), kind: Kind::Lengths }));
        }
        let is_vector = is_of_channels(seen.view.parts(last)) || seen.view.dims()[last] == seen.view.len();
        if !keep || dims != [last] || !is_vector {
            return Err("lengths of vectors in the last dimension are known".to_string());
        }
        let Seen { id, view, .. } = self.done(node.input(0).unwrap_or_default())?;
        Ok(Value::Moment(Moment { id, view, kind: Kind::Length }))
    }

    /// Lengths that are at least as long as a constant, so that nothing is divided by 0.
    pub(super) fn at_least(&self, node: &'a Node, moment: Moment) -> Result<Value, String> {
        let least = self.constant(node, 1).map(Array::numbers).transpose()?.unwrap_or_default();
        let is_small = least.iter().all(|&least| (0.0..=1e-6).contains(&least)) && least.len() == 1;
        if moment.kind != Kind::Length || !is_small || node.input(2).is_some() {
            return Err("it is no step of a norm".to_string());
        }
        Ok(Value::Moment(moment))
    }

    /// Vectors divided by their lengths: those of attention are a step of it.
    pub(super) fn normalize(&mut self, node: &'a Node) -> Result<Seen, String> {
        let seen = self.seen(node, 0)?;
        let last = seen.view.rank().saturating_sub(1);
        let axis = shape::axis(node.int("axis", -1), seen.view.rank())?;
        let is_one = seen.view.dims().get(last) == Some(&seen.view.len());
        if is_one || axis != last || !is_of_channels(seen.view.parts(last)) {
            return self.over_vector(node, -1, Op::Normalize);
        }
        self.done(node.input(0).unwrap_or_default()).map(unit)
    }

    /// x − mean of x.
    fn centred(&mut self, node: &'a Node, moment: Moment) -> Result<Value, String> {
        let x = self.layer(node, 0)?;
        let same = (x.id, &x.view) == (moment.id, &moment.view);
        if node.op != "Sub" || moment.kind != Kind::Mean || !same {
            return Err("it is no step of a layer norm".to_string());
        }
        Ok(Value::Moment(Moment { kind: Kind::Centred, ..moment }))
    }

    /// The next step of a layer norm.
    fn norm_step(&mut self, node: &'a Node, moment: Moment, other: &Value) -> Result<Value, String> {
        let number = match other {
            Value::Constant(array) if array.len() == 1 => array.numbers()?.first().copied(),
            _ => None,
        };
        let other = match other {
            Value::Moment(other) if (other.id, &other.view) == (moment.id, &moment.view) => Some(other.kind),
            _ => None,
        };
        let kind = match (node.op.as_str(), moment.kind, other, number) {
            ("Pow", Kind::Centred, _, Some(2.0)) | ("Mul", Kind::Centred, Some(Kind::Centred), _) => Kind::Squares,
            ("Add", Kind::Variance(eps), _, Some(more)) => Kind::Variance(eps + more),
            ("Add", Kind::MeanLength(eps), _, Some(more)) => Kind::MeanLength(eps + more),
            ("Div", Kind::Lengths, Some(Kind::MeanLength(eps)), _) => {
                let name = self.name(&node.outputs[0]);
                let n = self.channels(moment.id);
                let id = self.graph.push(&name, Op::Responses { eps }, &[moment.id], Shape::Vector(n));
                return Ok(Value::Layer(Seen { id, view: moment.view, pending: Pending::Nothing }));
            }
            ("Pow", Kind::Variance(eps), _, Some(0.5)) => Kind::Deviation(eps),
            ("Pow", Kind::Variance(eps), _, Some(-0.5)) => Kind::Inverse(eps),
            ("Div", Kind::Centred, Some(Kind::Deviation(eps)), _)
            | ("Mul", Kind::Centred, Some(Kind::Inverse(eps)), _)
            | ("Mul", Kind::Inverse(eps), Some(Kind::Centred), _) => {
                let n = whole(self.graph.shape(moment.id), Axis::C).first().map_or(1, |part| part.size);
                let name = self.name(&node.outputs[0]);
                self.tensor(&name, "weight", Tensor::ready(vec![n], vec![1.0; n]));
                self.tensor(&name, "bias", Tensor::ready(vec![n], vec![0.0; n]));
                let id = self.graph.layer_norm(&name, moment.id, eps);
                return Ok(Value::Layer(Seen { id, view: moment.view, pending: Pending::Nothing }));
            }
            _ => return Err("it is no step of a layer norm".to_string()),
        };
        Ok(Value::Moment(Moment { kind, ..moment }))
    }
}

/// Whether a dimension is channels alone.
fn is_of_channels(parts: &[Part]) -> bool {
    !parts.is_empty() && parts.iter().all(|part| part.axis == Axis::C)
}

/// The vectors in the last dimension, divided by their lengths.
fn unit(seen: Seen) -> Seen {
    let vector = seen.view.parts(seen.view.rank() - 1).to_vec();
    Seen { pending: Pending::Unit(vector), ..seen }
}
