//! The operators that name, join and cut axes: most of them are views, the others layers over channels.

use super::array::{Array, Data};
use super::network::{Importer, Kind, Pending, Seen, Value};
use super::node::Node;
use super::proto::dtype;
use super::shape;
use super::view::{Axis, CHANNELS_FIRST, View, whole};
use crate::models::graph::{LayerId, Shape};
use crate::weights::Tensor;

/// The largest matrix that chooses values of a vector.
const CHOICE: usize = 1 << 26;

impl<'a> Importer<'a> {
    pub(super) fn cast(&mut self, node: &'a Node) -> Result<Value, String> {
        let floats = [dtype::FLOAT, dtype::FLOAT16, dtype::DOUBLE, dtype::BFLOAT16].map(i64::from);
        match node.int("to", 0) {
            to if floats.contains(&to) => self.value(node, 0),
            to => Err(format!("values of the network become numbers of type {to} of ONNX")),
        }
    }

    pub(super) fn reshape(&mut self, node: &'a Node) -> Result<Value, String> {
        if node.input(1).is_some() && self.constant(node, 1).is_none() {
            return Err("its sizes depend on the picture".to_string());
        }
        let sizes = self.constant(node, 1).cloned();
        self.viewed(node, |view| {
            let before = view.dims();
            let dims = shape::reshaped(node, &before, sizes.as_ref())?;
            view.reshape(&dims).ok_or_else(|| format!("{before:?} as {dims:?} cuts axes of a map"))
        })
    }

    pub(super) fn transpose(&mut self, node: &'a Node) -> Result<Value, String> {
        self.viewed(node, |view| {
            let order = shape::order(node, view.rank())?;
            view.transpose(&order).ok_or_else(|| "its order does not fit".to_string())
        })
    }

    pub(super) fn expand(&mut self, node: &'a Node) -> Result<Value, String> {
        let dims = shape::sizes(self.constant(node, 1).ok_or("its sizes depend on the picture")?.to_ints()?)?;
        if let Value::Moment(moment) = self.value(node, 0)?
            && moment.kind == Kind::Length
            && dims == moment.view.dims()
        {
            return Ok(Value::Moment(moment));
        }
        self.viewed(node, |view| {
            let before = view.dims();
            if shape::broadcast(&before, &dims)? == before {
                Ok(view.clone())
            } else {
                Err(format!("{before:?} is copied to {dims:?}"))
            }
        })
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
        let last = node.inputs.len().saturating_sub(1);
        let rank = self.seen(node, last)?.view.rank();
        let axis = shape::axis(node.int("axis", 1), rank)?;
        if let Some(tokens) = self.prefixed(node, axis)? {
            return Ok(tokens);
        }
        if let Some(tokens) = self.after_vector(node, axis)? {
            return Ok(tokens);
        }
        if let Some(seen) = self.rejoined(node, axis) {
            return Ok(seen);
        }
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

    /// The pieces of one layer, put together so that no number is another: rows or columns behind one another that a
    /// shift moved, or the channels of the four positions of squares.
    fn rejoined(&self, node: &'a Node, axis: usize) -> Option<Seen> {
        let parts = (0..node.inputs.len()).map(|i| self.seen(node, i).ok()).collect::<Option<Vec<_>>>()?;
        let first = parts.first()?;
        let shape = self.graph.shape(first.id);
        if parts.iter().any(|part| part.view.rank() != first.view.rank()) || axis >= first.view.rank() {
            return None;
        }
        if let Some(turned) = self.turned_pieces(&parts, axis) {
            return Some(turned);
        }
        if parts.iter().any(|part| part.id != first.id || part.pending != first.pending) {
            return None;
        }
        let view = match parts.as_slice() {
            [a, b] => a.view.swapped(&b.view, axis, shape),
            _ if axis + 1 == first.view.rank() => {
                let views: Vec<&View> = parts.iter().map(|part| &part.view).collect();
                View::squared(&views, shape).filter(|_| first.pending == Pending::Nothing)
            }
            _ => None,
        };
        view.map(|view| Seen { view, ..first.clone() })
    }

    /// Whether a dimension is the channels of a map: parts of it are layers.
    fn is_of_map(&self, seen: &Seen, axis: usize) -> bool {
        let shape = self.graph.shape(seen.id);
        let channels = whole(shape, Axis::C);
        let is_axis = seen.view.parts(axis) == channels || axis == 1 && seen.view.shuffled(shape).is_some();
        matches!(shape, Shape::Map { .. }) && seen.view.is_whole(shape) && is_axis
    }

    pub(super) fn split(&mut self, node: &'a Node) -> Result<Vec<Value>, String> {
        let rank = self.seen(node, 0)?.view.rank();
        let axis = shape::axis(node.int("axis", 0), rank)?;
        let own = self.seen(node, 0)?;
        let ranges = shape::split(node, own.view.dims()[axis], self.constant(node, 1))?;
        if !self.is_of_map(&own, axis) {
            let cut = |range: std::ops::Range<usize>| {
                let view = own.view.cut(axis, range.start, 1, range.len());
                let view = view.ok_or_else(|| format!("dimension {axis} of {:?} is not cut", own.view.dims()))?;
                own.clone().under(view).map(Value::Layer)
            };
            return ranges.into_iter().map(cut).collect();
        }
        let seen = self.by_channel(node, 0, axis)?;
        let cut = |(range, output): (std::ops::Range<usize>, &'a String)| {
            let name = self.name(output);
            let id = self.graph.slice(&name, seen.id, range);
            let view = seen.view.replaced(axis, whole(self.graph.shape(id), Axis::C));
            Value::Layer(Seen { id, view, pending: Pending::Nothing })
        };
        Ok(ranges.into_iter().zip(&node.outputs).map(cut).collect())
    }

    pub(super) fn slice(&mut self, node: &'a Node) -> Result<Value, String> {
        let seen = self.seen(node, 0)?;
        let dims = seen.view.dims();
        let inputs: Vec<Option<Array>> = (0..node.inputs.len()).map(|i| self.constant(node, i).cloned()).collect();
        let cuts = shape::cuts(node, &dims, &inputs.iter().map(Option::as_ref).collect::<Vec<_>>())?;
        let real: Vec<_> = cuts.into_iter().filter(|cut| cut.range() != Some(0..dims[cut.axis])).collect();
        let cut = match real.as_slice() {
            [] => return Ok(Value::Layer(seen)),
            [cut] if self.is_of_map(&seen, cut.axis) => cut,
            cuts => {
                let view = cuts.iter().try_fold(seen.view.clone(), |view, cut| cut.of(&view));
                let view = view.ok_or_else(|| format!("{dims:?} are cut where they cannot be"))?;
                return match self.of_prefix(&seen, &view) {
                    Some(constant) => Ok(constant),
                    None => seen.under(view).map(Value::Layer),
                };
            }
        };
        let range = cut.range().ok_or("it takes channels with steps between them")?;
        let seen = self.by_channel(node, 0, cut.axis)?;
        let name = self.name(&node.outputs[0]);
        let id = self.graph.slice(&name, seen.id, range);
        let view = seen.view.replaced(cut.axis, whole(self.graph.shape(id), Axis::C));
        Ok(Value::Layer(Seen { id, view, ..seen }))
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
            return whole_axis.under(view);
        }
        let n = dims[axis] as i64;
        let places: Vec<i64> = places.iter().map(|&i| if i < 0 { i.saturating_add(n) } else { i }).collect();
        let first = places.first().copied().unwrap_or(-1);
        let follows = (0..).zip(&places).all(|(i, &place)| place == first.saturating_add(i));
        if !self.is_of_map(&whole_axis, axis) && (0..n).contains(&first) && indices.dims.len() < 2 {
            let turned = (0..).zip(&places).all(|(i, &place)| place == (first + i) % n) && places.len() as i64 == n;
            let shape = self.graph.shape(whole_axis.id);
            let view = match (turned, follows) {
                (true, _) => whole_axis.view.rolled(axis, first as usize, shape),
                (false, true) => whole_axis.view.cut(axis, first as usize, 1, places.len()),
                _ => None,
            };
            if let Some(view) = view {
                let view = if indices.dims.is_empty() { view.squeezed(axis) } else { view };
                return whole_axis.under(view);
            }
        }
        let seen = self.by_channel(node, 0, axis);
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
                Axis::C | Axis::K => return Err("it adds channels".to_string()),
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
