//! Tokens: the positions of a map behind constants, what is added to them, and parts of layers.
//!
//! Exporters put constants before the positions of a map (class and register tokens; CLIP's ResNet puts their mean
//! there) and add constants to all of them (embeddings), in any order. Each step makes a new layer of tokens of
//! the same map. Nothing reads the layers before it, and they are not computed.

use super::array::{Array, Data, changeable};
use super::network::{Importer, Pending, Seen, Value};
use super::node::Node;
use super::view::{Axis, View};
use crate::models::graph::{LayerId, Op, PositionResize, Shape, TokenTensors};
use crate::weights::Tensor;

/// The parts of tokens.
#[derive(Clone, Debug)]
pub(super) struct Made {
    map: LayerId,
    /// A vector that is added to the first token.
    given: Option<LayerId>,
    /// `(tokens, channels)`: those before the positions of the map.
    first: Tensor,
    /// `(positions, channels)`, added to the positions of the map.
    positions: Tensor,
}

impl Made {
    /// Tokens before those of the map.
    fn prefix(&self) -> usize {
        self.first.shape()[0]
    }

    fn channels(&self) -> usize {
        self.first.shape()[1]
    }

    fn len(&self) -> usize {
        self.prefix() + self.positions.shape()[0]
    }
}

impl<'a> Importer<'a> {
    /// A value (n, tokens, channels) as tokens of a map, as long as nothing has been computed of them.
    fn made(&self, seen: &Seen) -> Option<Made> {
        let shape = self.graph.shape(seen.id);
        let c = shape.channels();
        if !matches!(seen.pending, Pending::Nothing) || seen.view.rank() != 3 || seen.view.roll() != [0, 0] {
            return None;
        }
        if let Some(made) = self.made.get(&seen.id) {
            let range = seen.view.stretch(Axis::W)?;
            let plain = seen.view.begun_at(Axis::W) == View::plain(shape.with_tokens(range.len()));
            if !plain || range.end != made.len() || range.start > made.prefix() {
                return None;
            }
            let left = made.prefix() - range.start;
            let skipped = range.start * c;
            let first = made.first.map(vec![left, c], move |values| values[skipped..].to_vec());
            return Some(Made { first, given: made.given.filter(|_| range.start == 0), ..made.clone() });
        }
        let Shape::Map { h, w, .. } = shape else { return None };
        let view = View::of(shape, &[Axis::H, Axis::W, Axis::C]).reshape(&[1, h * w, c]);
        let zeros = move |n: usize| Tensor::later(vec![n, c], move || Ok(vec![0.0; n * c]));
        (view.as_ref() == Some(&seen.view)).then(|| Made {
            map: seen.id,
            given: None,
            first: zeros(0),
            positions: zeros(h * w),
        })
    }

    /// A layer of tokens.
    fn make(&mut self, node: &'a Node, made: Made) -> Result<Seen, String> {
        for tensor in [&made.first, &made.positions] {
            changeable(tensor)?;
        }
        let (n, c, prefix) = (made.len(), made.channels(), made.prefix());
        let name = self.name(&node.outputs[0]);
        let tensors = TokenTensors {
            class: (prefix > 0).then_some("class"),
            registers: (prefix > 1).then_some(("registers", prefix - 1)),
            positions: "positions",
            class_position: false,
            resize: PositionResize::Plain,
        };
        let inputs: Vec<LayerId> = std::iter::once(made.map).chain(made.given).collect();
        let id = self.graph.push(&name, Op::Tokens(tensors), &inputs, Shape::Tokens { n, c });
        if prefix > 0 {
            self.tensor(&name, "class", made.first.map(vec![1, 1, c], move |values| values[..c].to_vec()));
        }
        if prefix > 1 {
            let others = made.first.map(vec![1, prefix - 1, c], move |values| values[c..].to_vec());
            self.tensor(&name, "registers", others);
        }
        self.tensor(&name, "positions", made.positions.map(vec![1, n - prefix, c], |values| values));
        self.made.insert(id, made);
        Ok(self.plain(id))
    }

    /// Tokens, input `i`, to which a constant is added that differs by position; none where the node is no such sum.
    pub(super) fn embedded(&mut self, node: &'a Node, i: usize, constant: &Array) -> Result<Option<Seen>, String> {
        let seen = self.seen(node, i)?;
        let dims = seen.view.dims();
        let [1, n, c] = dims[..] else { return Ok(None) };
        let by_position = constant.dims.len().checked_sub(2).is_some_and(|at| constant.dims[at] == n && n > 1);
        if node.op != "Add" || !by_position {
            return Ok(None);
        }
        let seen = self.done(node.input(i).unwrap_or_default())?;
        let Some(made) = self.made(&seen) else { return Ok(None) };
        let constant = constant.expanded(dims)?.tensor()?.clone();
        let skipped = made.prefix() * c;
        let sum = |tensor: &Tensor, skipped: usize| {
            let sum = move |mut all: Vec<Vec<f32>>| {
                let mut values = all.swap_remove(0);
                let added = all.iter().flatten().skip(skipped);
                values.iter_mut().zip(added).for_each(|(value, added)| *value += added);
                values
            };
            Tensor::joined(vec![tensor.clone(), constant.clone()], tensor.shape().to_vec(), sum)
        };
        let (first, positions) = (sum(&made.first, 0), sum(&made.positions, skipped));
        self.make(node, Made { first, positions, ..made }).map(Some)
    }

    /// A vector before the positions of a map; none where the node puts something else together.
    pub(super) fn after_vector(&mut self, node: &'a Node, axis: usize) -> Result<Option<Seen>, String> {
        if axis != 1 || node.inputs.len() != 2 || self.constant(node, 0).is_some() {
            return Ok(None);
        }
        let &[1, 1, c] = self.seen(node, 0)?.view.dims().as_slice() else { return Ok(None) };
        let Ok(map) = self.done(node.input(1).unwrap_or_default()) else { return Ok(None) };
        let made = self.made(&map).filter(|made| made.prefix() == 0 && made.channels() == c);
        let Some(made) = made else { return Ok(None) };
        let given = Some(self.vector(node, 0)?);
        let first = Tensor::ready(vec![1, c], vec![0.0; c]);
        self.make(node, Made { given, first, ..made }).map(Some)
    }

    /// Constants before tokens; none where the node puts something else together.
    pub(super) fn prefixed(&mut self, node: &'a Node, axis: usize) -> Result<Option<Seen>, String> {
        let Some(last) = node.inputs.len().checked_sub(1) else { return Ok(None) };
        let constants: Option<Vec<Array>> = (0..last).map(|i| self.constant(node, i).cloned()).collect();
        let Some(constants) = constants.filter(|constants| axis == 1 && !constants.is_empty()) else { return Ok(None) };
        self.seen(node, last)?;
        let seen = self.done(node.input(last).unwrap_or_default())?;
        let Some(made) = self.made(&seen).filter(|made| made.given.is_none()) else { return Ok(None) };
        let c = made.channels();
        let mut tokens = made.prefix();
        let mut tensors = Vec::with_capacity(constants.len() + 1);
        for constant in &constants {
            let [1, n, width] = constant.dims[..] else { return Ok(None) };
            if width != c {
                return Err(format!("{:?} is put before tokens of {c} channels", constant.dims));
            }
            tensors.push(changeable(constant.tensor()?)?.clone());
            tokens += n;
        }
        tensors.push(made.first.clone());
        let first = Tensor::joined(tensors, vec![tokens, c], |all| all.concat());
        self.make(node, Made { first, ..made }).map(Some)
    }

    /// Some of the constants before the positions of a map.
    pub(super) fn of_prefix(&self, seen: &Seen, view: &View) -> Option<Value> {
        let made = self.made.get(&seen.id).filter(|_| seen.pending == Pending::Nothing)?;
        let (shape, range, c) = (self.graph.shape(seen.id), view.stretch(Axis::W)?, made.channels());
        let plain = view.begun_at(Axis::W) == View::plain(shape.with_tokens(range.len()));
        if !plain || range.end > made.prefix() || made.given.is_some() || changeable(&made.first).is_err() {
            return None;
        }
        let dims = vec![1, range.len(), c];
        let tensor = made.first.map(dims.clone(), move |values| values[range.start * c..range.end * c].to_vec());
        Some(Value::Constant(Array { dims, data: Data::Floats(tensor) }))
    }

    /// The value `name`, its arithmetic done; where it is a part of a layer, or its positions become channels, as a
    /// layer of its own.
    pub(super) fn settled(&mut self, name: &'a str) -> Result<Seen, String> {
        let mut seen = self.done(name)?;
        let shape = self.graph.shape(seen.id);
        if let Some(view) = seen.view.merged(shape) {
            let layer = self.inside(name);
            seen = Seen { id: self.graph.merge(&layer, seen.id), view, ..seen };
        } else if seen.view.is_whole(shape) {
            return Ok(seen);
        } else {
            seen = self.part(name, seen)?;
        }
        self.values.insert(name, Value::Layer(seen.clone()));
        Ok(seen)
    }

    /// A layer of a stretch of channels, of a stretch of tokens, or of both, or of a map without its first row and
    /// column.
    fn part(&mut self, name: &'a str, mut seen: Seen) -> Result<Seen, String> {
        let wrong = || Err("it takes a part of a layer that is not computed alone".to_string());
        let shape = self.graph.shape(seen.id);
        let (Some(channels), [0, 0]) = (seen.view.stretch(Axis::C), seen.view.roll()) else { return wrong() };
        if channels.len() < shape.channels() {
            let layer = self.inside(name);
            let id = self.graph.slice(&layer, seen.id, channels);
            seen = Seen { id, view: seen.view.begun_at(Axis::C), ..seen };
        }
        let shape = self.graph.shape(seen.id);
        if seen.view.is_whole(shape) {
            return Ok(seen);
        }
        if let Shape::Map { h, w, .. } = shape
            && [(Axis::H, h), (Axis::W, w)].iter().all(|&(axis, size)| seen.view.stretch(axis) == Some(1..size))
        {
            let layer = self.inside(name);
            let id = self.graph.crop(&layer, seen.id);
            return Ok(Seen { id, view: seen.view.begun_at(Axis::H).begun_at(Axis::W), ..seen });
        }
        let (Shape::Tokens { c, .. }, Some(tokens)) = (shape, seen.view.stretch(Axis::W)) else { return wrong() };
        if seen.view.of_axis(Axis::W).count() > 1 {
            return self.grid(name, &seen).ok_or_else(|| "tokens are put together in an odd way".to_string());
        }
        let layer = self.inside(name);
        let shape = if tokens.len() == 1 { Shape::Vector(c) } else { shape.with_tokens(tokens.len()) };
        let id = self.graph.push(&layer, Op::Select(tokens.start), &[seen.id], shape);
        Ok(Seen { id, view: seen.view.begun_at(Axis::W), ..seen })
    }

    /// The map whose rows and columns a view makes of tokens.
    pub(super) fn grid(&mut self, name: &str, seen: &Seen) -> Option<Seen> {
        let (shape, view) = seen.view.grid(self.graph.shape(seen.id))?;
        let layer = self.inside(name);
        let id = self.graph.push(&layer, Op::Select(seen.view.first(Axis::W)), &[seen.id], shape);
        Some(Seen { id, view, ..seen.clone() })
    }

    /// The map `(1, n, c)` of a value that runs over all channels and a stretch of tokens; none where it does not.
    pub(super) fn row_of_tokens(&mut self, node: &'a Node, seen: &Seen) -> Option<LayerId> {
        let shape = self.graph.shape(seen.id);
        let (Shape::Tokens { c, .. }, Some(tokens)) = (shape, seen.view.stretch(Axis::W)) else { return None };
        if seen.view.stretch(Axis::C) != Some(0..c) || seen.view.roll() != [0, 0] {
            return None;
        }
        let name = self.inside(&node.outputs[0]);
        let shape = Shape::Map { c, h: 1, w: tokens.len() };
        Some(self.graph.push(&name, Op::Select(tokens.start), &[seen.id], shape))
    }
}

impl Shape {
    /// As many tokens of as many channels.
    fn with_tokens(self, n: usize) -> Self {
        Shape::Tokens { n, c: self.channels() }
    }
}
