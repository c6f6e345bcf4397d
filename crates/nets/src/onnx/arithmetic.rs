//! Sums, products and the like of two values: of layers, of a layer and a constant, and the steps of a layer norm that
//! is written as single nodes.

use super::array::{Array, number};
use super::curve::Curve;
use super::network::{Affine, Importer, Kind, Moment, Pending, Seen, Value};
use super::node::Node;
use super::shape;
use super::view::{Axis, View, whole};
use crate::models::graph::Shape;
use crate::weights::Tensor;

impl<'a> Importer<'a> {
    /// An operator of two values.
    pub(super) fn binary(&mut self, node: &'a Node) -> Result<Value, String> {
        match (self.value(node, 0)?, self.value(node, 1)?) {
            (Value::Moment(moment), other) => self.norm_step(node, moment, &other),
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
        let (values, seen) = (constant.numbers()?, self.seen(node, i)?);
        if constant.dims.len() > seen.view.rank() {
            return Err(format!("a constant of {:?} has more dimensions than {:?}", constant.dims, seen.view.dims()));
        }
        if let [value] = values[..] {
            let (seen, curve) = self.curved(node, i)?;
            let curve = if i == 0 { curve.then(|x| function(x, value)) } else { curve.then(|x| function(value, x)) };
            return Ok(Seen { pending: Pending::Curve(curve), ..seen });
        }
        let seen = if let Pending::Curve(_) = seen.pending { self.layer(node, i)? } else { seen };
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
        let curve = |seen: &Seen| match &seen.pending {
            Pending::Nothing => Some(Curve::identity()),
            Pending::Curve(curve) => Some(curve.clone()),
            Pending::Affine(_) => None,
        };
        // two functions of the same values are one
        if (x.id, &x.view) == (y.id, &y.view)
            && let (Some(a), Some(b), Some(function)) = (curve(&x), curve(y), number(&node.op))
        {
            return Ok(Seen { pending: Pending::Curve(a.with(&b, function)), ..x });
        }
        match node.op.as_str() {
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
        let (value, keep) = (self.value(node, 0)?, node.int("keepdims", 1) == 1);
        let axes = shape::axes(node, self.constant(node, 1))?.unwrap_or_default();
        let (id, view, kind) = match &value {
            Value::Moment(moment) if moment.kind == Kind::Squares => (moment.id, &moment.view, Kind::Variance(0.0)),
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
