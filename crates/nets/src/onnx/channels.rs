//! The operators that name, join and cut axes: most of them are views, the others layers over channels.

use super::array::{Array, Data};
use super::network::{Importer, Pending, Seen, Value};
use super::node::Node;
use super::proto::dtype;
use super::shape;
use super::view::{Axis, CHANNELS_FIRST, View, whole};
use crate::models::graph::{LayerId, Shape};
use crate::weights::Tensor;

/// The largest matrix that chooses values of a vector.
const CHOICE: usize = 1 << 26;

impl<'a> Importer<'a> {
    pub(super) fn cast(&mut self, node: &'a Node) -> Result<Seen, String> {
        let floats = [dtype::FLOAT, dtype::FLOAT16, dtype::DOUBLE, dtype::BFLOAT16].map(i64::from);
        match node.int("to", 0) {
            to if floats.contains(&to) => self.seen(node, 0),
            to => Err(format!("values of the network become numbers of type {to} of ONNX")),
        }
    }

    pub(super) fn reshape(&mut self, node: &'a Node) -> Result<Seen, String> {
        let seen = self.seen(node, 0)?;
        let before = seen.view.dims();
        let dims = shape::reshaped(node, &before, self.constant(node, 1))?;
        if node.input(1).is_some() && self.constant(node, 1).is_none() {
            return Err("its sizes depend on the picture".to_string());
        }
        let view = seen.view.reshape(&dims).ok_or_else(|| format!("{before:?} as {dims:?} cuts axes of a map"))?;
        Ok(Seen { view, ..seen })
    }

    pub(super) fn transpose(&mut self, node: &'a Node) -> Result<Seen, String> {
        let seen = self.seen(node, 0)?;
        let order = shape::order(node, seen.view.rank())?;
        let view = seen.view.transpose(&order).ok_or("its order does not fit")?;
        Ok(Seen { view, ..seen })
    }

    pub(super) fn expand(&mut self, node: &'a Node) -> Result<Seen, String> {
        let seen = self.seen(node, 0)?;
        let dims = shape::sizes(self.constant(node, 1).ok_or("its sizes depend on the picture")?.to_ints()?)?;
        let before = seen.view.dims();
        if shape::broadcast(&before, &dims)? == before {
            Ok(seen)
        } else {
            Err(format!("{before:?} is copied to {dims:?}"))
        }
    }

    /// An input whose dimension `axis` is the channels of a map.
    pub(super) fn by_channel(&mut self, node: &'a Node, i: usize, axis: usize) -> Result<Seen, String> {
        let mut seen = self.layer(node, i)?;
        let is_channels = |seen: &Seen, shape: Shape| {
            axis < seen.view.rank() && seen.view.is_permutation(shape) && seen.view.covers(&[axis], &[Axis::C], shape)
        };
        if !is_channels(&seen, self.graph.shape(seen.id)) {
            let id = self.map(node, i)?;
            seen = self.plain(id);
        }
        let shape = self.graph.shape(seen.id);
        let found = is_channels(&seen, shape) && matches!(shape, Shape::Map { .. });
        if found {
            Ok(seen)
        } else {
            Err(format!("dimension {axis} of {:?} is not the channels of a map", seen.view.dims()))
        }
    }

    pub(super) fn concat(&mut self, node: &'a Node) -> Result<Seen, String> {
        let rank = self.seen(node, 0)?.view.rank();
        let axis = shape::axis(node.int("axis", 1), rank)?;
        let parts = (0..node.inputs.len()).map(|i| self.by_channel(node, i, axis)).collect::<Result<Vec<_>, _>>()?;
        let first = &parts[0];
        let positions = |seen: &Seen| seen.view.replaced(axis, Vec::new());
        if let Some(other) = parts.iter().find(|part| positions(part) != positions(first)) {
            return Err(format!("{:?} is put beside {:?}", first.view.dims(), other.view.dims()));
        }
        let ids: Vec<LayerId> = parts.iter().map(|part| part.id).collect();
        let name = self.name(&node.outputs[0]);
        let id = self.graph.concat(&name, &ids);
        Ok(Seen {
            id,
            view: first.view.replaced(axis, whole(self.graph.shape(id), Axis::C)),
            pending: Pending::Nothing,
        })
    }

    pub(super) fn split(&mut self, node: &'a Node) -> Result<Vec<Value>, String> {
        let rank = self.seen(node, 0)?.view.rank();
        let axis = shape::axis(node.int("axis", 0), rank)?;
        let seen = self.by_channel(node, 0, axis)?;
        let ranges = shape::split(node, self.channels(seen.id), self.constant(node, 1))?;
        let cut = |(range, output): (std::ops::Range<usize>, &'a String)| {
            let name = self.name(output);
            let id = self.graph.slice(&name, seen.id, range);
            let view = seen.view.replaced(axis, whole(self.graph.shape(id), Axis::C));
            Value::Layer(Seen { id, view, pending: Pending::Nothing })
        };
        Ok(ranges.into_iter().zip(&node.outputs).map(cut).collect())
    }

    pub(super) fn slice(&mut self, node: &'a Node) -> Result<Seen, String> {
        let seen = self.seen(node, 0)?;
        let dims = seen.view.dims();
        let inputs: Vec<Option<Array>> = (0..node.inputs.len()).map(|i| self.constant(node, i).cloned()).collect();
        let cuts = shape::cuts(node, &dims, &inputs.iter().map(Option::as_ref).collect::<Vec<_>>())?;
        let real: Vec<_> = cuts.into_iter().filter(|cut| cut.range() != Some(0..dims[cut.axis])).collect();
        let cut = match real.as_slice() {
            [] => return Ok(seen),
            [cut] => cut,
            _ => return Err("it cuts more than channels".to_string()),
        };
        let range = cut.range().ok_or("it takes channels with steps between them")?;
        let seen = self.by_channel(node, 0, cut.axis)?;
        let name = self.name(&node.outputs[0]);
        let id = self.graph.slice(&name, seen.id, range);
        Ok(Seen { id, view: seen.view.replaced(cut.axis, whole(self.graph.shape(id), Axis::C)), ..seen })
    }

    pub(super) fn gather(&mut self, node: &'a Node) -> Result<Seen, String> {
        let rank = self.seen(node, 0)?.view.rank();
        let axis = shape::axis(node.int("axis", 0), rank)?;
        let indices = self.constant(node, 1).ok_or("its indices depend on the picture")?.clone();
        let places = indices.to_ints()?;
        let whole_axis = self.seen(node, 0)?;
        let dims = whole_axis.view.dims();
        // all of a dimension in its order, perhaps as several dimensions: torch's `as_strided`
        if places.len() == dims[axis] && (0..).zip(places).all(|(i, &place)| place == i) {
            let dims = [&dims[..axis], &indices.dims, &dims[axis + 1..]].concat();
            let view = whole_axis.view.reshape(&dims).ok_or("it cuts axes of a map")?;
            return Ok(Seen { view, ..whole_axis });
        }
        let (seen, n) = (self.by_channel(node, 0, axis), dims[axis] as i64);
        let places: Vec<i64> = places.iter().map(|&i| if i < 0 { i.saturating_add(n) } else { i }).collect();
        let first = places.first().copied().unwrap_or(-1);
        let follows = (0..).zip(&places).all(|(i, &place)| place == first.saturating_add(i));
        if (rank, axis, indices.dims.len()) == (2, 1, 1) && (seen.is_err() || !follows) {
            return self.chosen(node, &places);
        }
        let seen = seen?;
        if !follows || indices.dims.len() > 1 || first < 0 || first >= n {
            return Err("it takes channels in another order".to_string());
        }
        let range = first as usize..first as usize + places.len();
        let name = self.name(&node.outputs[0]);
        let id = self.graph.slice(&name, seen.id, range);
        let view = seen.view.replaced(axis, whole(self.graph.shape(id), Axis::C));
        // one index leaves the dimension out
        let view = if indices.dims.is_empty() { view.reduced(&[axis], false) } else { view };
        Ok(Seen { id, view, ..seen })
    }

    /// Some values of a vector in any order: a dense layer whose weights are 0 and 1.
    fn chosen(&mut self, node: &'a Node, places: &[i64]) -> Result<Seen, String> {
        let x = self.vector(node, 0)?;
        let (n, out) = (self.graph.shape(x).len(), places.len());
        if n.saturating_mul(out) > CHOICE {
            return Err(format!("it takes {out} of {n} values, more than is computed here"));
        }
        let mut weights = vec![0.0; n * out];
        for (row, &place) in weights.chunks_exact_mut(n.max(1)).zip(places) {
            let place = usize::try_from(place).ok().filter(|&place| place < n);
            row[place.ok_or("an index is beyond the dimension")?] = 1.0;
        }
        let weights = Array { dims: vec![out, n], data: Data::Floats(Tensor::ready(vec![out, n], weights)) };
        let id = self.dense(node, x, &weights, Tensor::ready(vec![out], vec![0.0; out]))?;
        Ok(self.plain(id))
    }

    pub(super) fn pad(&mut self, node: &'a Node) -> Result<Seen, String> {
        if !["", "constant"].contains(&node.text("mode")) {
            return Err(format!("its mode is `{}`; zeros are put around a map", node.text("mode")));
        }
        let value = match self.constant(node, 2) {
            Some(array) => array.numbers()?.first().copied().unwrap_or(0.0),
            None => node.float("value").unwrap_or(0.0),
        };
        let pads = match self.constant(node, 1) {
            Some(array) => array.to_ints()?.to_vec(),
            None => node.ints("pads").ok_or("its pads are missing")?.to_vec(),
        };
        let seen = self.layer(node, 0)?;
        let (rank, shape) = (seen.view.rank(), self.graph.shape(seen.id));
        let dims = match self.constant(node, 3) {
            Some(axes) => shape::named(axes.to_ints()?, rank)?,
            None => (0..rank).collect(),
        };
        let pads = shape::sizes(&pads)?;
        if pads.len() != 2 * dims.len() || pads.iter().any(|&pad| pad > 1 << 12) {
            return Err(format!("its pads are {pads:?}"));
        }
        let (mut around, mut places) = ([0; 4], Vec::new());
        for (i, &dim) in dims.iter().enumerate() {
            let both = [pads[i], pads[i + dims.len()]];
            if both == [0, 0] {
                continue;
            }
            let axis = match seen.view.parts(dim) {
                [part] if whole(shape, part.axis) == [*part] => part.axis,
                [] if dim > 0 && seen.view == View::plain(shape) => CHANNELS_FIRST[(dim - 1).min(2)],
                _ => return Err(format!("dimension {dim} of {:?} is no row or column of a map", seen.view.dims())),
            };
            match axis {
                Axis::H => around[..2].copy_from_slice(&both),
                Axis::W => around[2..].copy_from_slice(&both),
                Axis::C => return Err("it adds channels".to_string()),
            }
            places.push((dim, axis));
        }
        if places.is_empty() {
            return Ok(seen);
        }
        if value != 0.0 {
            return Err(format!("it puts {value} around a map; zeros were expected"));
        }
        let name = self.name(&node.outputs[0]);
        let id = self.graph.zero_pad(&name, seen.id, around);
        let shape = self.graph.shape(id);
        let view = places.iter().fold(seen.view, |view, &(dim, axis)| view.replaced(dim, whole(shape, axis)));
        Ok(Seen { id, view, pending: Pending::Nothing })
    }
}
