//! Rotary embeddings: queries and keys whose pairs of channels are turned by angles that differ by position.
//!
//! Exporters write x · cos + (−second half, first half) · sin with constants for the positions of the map, and put the
//! tokens before these back in front. The steps wait beside the layer until attention reads queries and keys.

use super::array::Array;
use super::curve::Curve;
use super::network::{Importer, Pending, Seen};
use super::node::Node;
use super::view::{Axis, Part, View};
use crate::models::graph::{LayerId, Op, Shape};
use crate::weights::Tensor;

/// A step on the way. Constants are named.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Turn {
    /// x · cos.
    Straight(String),
    /// (−second half, first half).
    Across,
    /// (−second half, first half) · sin.
    AcrossScaled(String),
    /// The sum of `Straight` and `AcrossScaled`. Tokens before those of the constants stay as they are.
    Turned(Turned),
}

/// The names of cosines and sines, and a factor of the vectors.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turned {
    pub cos: String,
    pub sin: String,
    pub factor: f64,
}

impl<'a> Importer<'a> {
    /// Vectors, input `i`, times a constant that differs by position; none where the node is no such product.
    pub(super) fn turn_scaled(&mut self, node: &'a Node, i: usize, constant: &Array) -> Result<Option<Seen>, String> {
        let mut seen = self.seen(node, i)?;
        let rank = seen.view.rank();
        let is_vector = rank > 2
            && matches!(seen.view.parts(rank - 1), [Part { axis: Axis::C, .. }])
            && matches!(seen.view.parts(rank - 2), [Part { axis: Axis::W, .. }])
            && matches!(self.graph.shape(seen.id), Shape::Tokens { .. });
        let dims = seen.view.dims();
        let by_position = constant.dims.len() >= 2
            && constant.dims.ends_with(&dims[rank.saturating_sub(2)..])
            && constant.len() == dims[rank.saturating_sub(2)..].iter().product::<usize>();
        if node.op != "Mul" || !is_vector || !by_position {
            return Ok(None);
        }
        let name = node.input(1 - i).unwrap_or_default().to_string();
        let held = [rank - 1, rank - 2].map(|dim| seen.view.parts(dim).to_vec()).to_vec();
        let turn = match &seen.pending {
            Pending::Turn(Turn::Across, across) if held.starts_with(across) => Turn::AcrossScaled(name),
            Pending::Turn(..) => return Err("it is no step of a rotary embedding".to_string()),
            _ => {
                seen = self.done(node.input(i).unwrap_or_default())?;
                Turn::Straight(name)
            }
        };
        Ok(Some(Seen { pending: Pending::Turn(turn, held), ..seen }))
    }

    /// The sum of both terms of a rotary embedding.
    pub(super) fn turned(&self, x: &Seen, y: &Seen) -> Option<Seen> {
        let turned = match (&x.pending, &y.pending) {
            (Pending::Turn(Turn::Straight(cos), _), Pending::Turn(Turn::AcrossScaled(sin), _))
            | (Pending::Turn(Turn::AcrossScaled(sin), _), Pending::Turn(Turn::Straight(cos), _)) => {
                Turned { cos: cos.clone(), sin: sin.clone(), factor: 1.0 }
            }
            _ => return None,
        };
        let held = x.pending.held();
        let same = (x.id, &x.view) == (y.id, &y.view) && held == y.pending.held();
        same.then(|| Seen { pending: Pending::Turn(Turn::Turned(turned), held.to_vec()), ..x.clone() })
    }

    /// Two pieces of one layer, of which one is turned: halves of vectors, the second of them negative, or tokens
    /// before those that are turned.
    pub(super) fn turned_pieces(&self, parts: &[Seen], axis: usize) -> Option<Seen> {
        let [a, b] = parts else { return None };
        if a.id != b.id {
            return None;
        }
        let negative = Curve::identity().then(|x| -x);
        match (&a.pending, &b.pending) {
            (Pending::Curve(curve), Pending::Nothing) if *curve == negative && axis + 1 == a.view.rank() => {
                let view = b.view.appended(&a.view, axis, Axis::C)?;
                let halves = a.view.dims()[axis] == b.view.dims()[axis];
                let held = vec![view.parts(axis).to_vec()];
                halves.then(|| Seen { view, pending: Pending::Turn(Turn::Across, held), ..a.clone() })
            }
            (Pending::Nothing, Pending::Turn(Turn::Turned(turned), held)) => {
                let view = a.view.appended(&b.view, axis, Axis::W)?;
                let [vector, positions] = held.as_slice() else { return None };
                let held = vec![vector.clone(), view.parts(axis).to_vec()];
                let pending = Pending::Turn(Turn::Turned(turned.clone()), held);
                (b.view.parts(axis) == positions).then(|| Seen { view, pending, ..b.clone() })
            }
            _ => None,
        }
    }

    /// A layer of queries, keys and values, one behind the other, of which queries and keys are turned.
    pub(super) fn turned_layer(
        &mut self,
        node: &'a Node,
        x: LayerId,
        heads: usize,
        turned: [&Turned; 2],
    ) -> Result<LayerId, String> {
        let Shape::Tokens { n, c } = self.graph.shape(x) else { return Err("tokens were expected".to_string()) };
        let size = c / 3 / heads;
        let read = |name: &str| {
            let array = self.constant_called(name).ok_or("the angles depend on the picture")?;
            array.with_dims(vec![array.len()])?.tensor()?.values().map_err(|error| error.to_string())
        };
        let [queries, keys] = turned.map(|Turned { cos, sin, .. }| Ok::<_, String>([read(cos)?, read(sin)?]));
        let ([cos, sin], keys) = (queries?, keys?);
        if keys != [cos.clone(), sin.clone()] || cos.len() != sin.len() {
            return Err("queries and keys are turned by different angles".to_string());
        }
        let before = n.checked_sub(cos.len() / size).filter(|_| cos.len().is_multiple_of(size));
        let before = before.ok_or("there are more angles than tokens")? * size;
        let whole = |values: Vec<f32>, first: f32| [vec![first; before], values].concat();
        let name = self.inside(&node.outputs[0]);
        self.tensor(&name, "cos", Tensor::ready(vec![n, size], whole(cos, 1.0)));
        self.tensor(&name, "sin", Tensor::ready(vec![n, size], whole(sin, 0.0)));
        Ok(self.graph.push(&name, Op::Turn { heads }, &[x], Shape::Tokens { n, c }))
    }
}

impl View {
    /// The view that two pieces of a layer give that follow one another along an axis in a dimension.
    fn appended(&self, behind: &Self, dim: usize, axis: Axis) -> Option<Self> {
        let size = |view: &Self| match view.parts(dim) {
            [] => Some(1),
            [part] if part.axis == axis && part.stride == 1 => Some(part.size),
            _ => None,
        };
        let (before, after) = (size(self)?, size(behind)?);
        let part = Part { axis, size: before + after, stride: 1 };
        let follows = behind.first(axis) == self.first(axis) + before;
        let [view, other] = [self, behind].map(|view| view.begun_at(axis).replaced(dim, vec![part]));
        let whole = self.replaced(dim, vec![part]);
        (follows && view == other).then_some(whole)
    }
}
