//! Attention: two products with a softmax between them.
//!
//! Exporters write it as a dozen nodes. Queries, keys and values are views of dense layers, one for all of them or one
//! for each. The softmax of the product of queries and keys, times the values, is a layer of attention over the dense
//! layer of all three. Where the file has no such layer, or scales its scores by another factor, one is made of the
//! file's dense layers.

use super::array::{CHANGES, changeable};
use super::network::{Importer, Pending, Seen, Value};
use super::node::Node;
use super::scores::{Queries, Scores, Vectors};
use super::turn::Turn;
use super::view::{Axis, Part, View, whole};
use crate::models::graph::{Attention, AttentionWindow, Layer, LayerId, Op, RelativeBias, Shape};
use crate::weights::Tensor;

/// Most biases of a layer.
const BIASES: usize = 1 << 26;

/// A dense layer behind which is nothing but factors and sums of its channels.
struct Projection {
    input: LayerId,
    /// `(out, in)`
    weight: Tensor,
    bias: Tensor,
}

/// Where in the channels of a layer the vectors of the heads lie.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Heads {
    count: usize,
    /// Channels of a head.
    size: usize,
    /// From one head to the next, and from one channel to the next.
    strides: [usize; 2],
}

/// Scores with the product of all their factors, and the windows in which they are computed.
struct Weighting<'s> {
    scores: &'s Scores,
    factor: f64,
    window: Option<AttentionWindow>,
}

impl Heads {
    fn channels(self) -> usize {
        self.count * self.size
    }

    /// Whether the vectors stand one behind the other.
    fn are_plain(self) -> bool {
        self.strides == [self.size, 1]
    }
}

impl<'a> Importer<'a> {
    /// A product of two values.
    pub(super) fn product(&mut self, node: &'a Node) -> Result<Value, String> {
        let queries = match (self.value(node, 0)?, self.value(node, 1)?) {
            (Value::Scores(scores), Value::Layer(_)) => {
                let values = self.vectors(node, 1)?;
                return self.attend(node, &scores, &values).map(Value::Layer);
            }
            (Value::Layer(_), Value::Layer(_)) => Queries::Layer(self.vectors(node, 0)?),
            (Value::Constant(query), Value::Layer(_)) => Queries::Constant(query),
            _ => return Err("it is a product of two values that is not computed here".to_string()),
        };
        let keys = self.vectors(node, 1)?;
        scores(queries, keys).map(|scores| Value::Scores(Box::new(scores)))
    }

    /// An input as queries, keys or values.
    pub(super) fn vectors(&mut self, node: &'a Node, i: usize) -> Result<Vectors, String> {
        let seen = self.seen(node, i)?;
        let held = seen.pending.held().to_vec();
        let plain = Vectors { id: seen.id, view: seen.view, factor: 1.0, unit: false, turned: None, held };
        match &seen.pending {
            Pending::Nothing => Ok(plain),
            Pending::Unit(_) => Ok(Vectors { unit: true, ..plain }),
            Pending::Turn(Turn::Turned(turned), _) => {
                Ok(Vectors { factor: turned.factor, turned: Some(turned.clone()), ..plain })
            }
            Pending::Turn(..) => Err("a rotary embedding is not complete".to_string()),
            Pending::Curve(curve) => match curve.recognise() {
                Some(found) if found.activation.is_none() && found.shift == 0.0 => {
                    Ok(Vectors { factor: found.scale, ..plain })
                }
                _ => self.vectors_of(node, i),
            },
            Pending::Affine(_) => self.vectors_of(node, i),
        }
    }

    /// An input as vectors, its arithmetic done.
    fn vectors_of(&mut self, node: &'a Node, i: usize) -> Result<Vectors, String> {
        let seen = self.done(node.input(i).unwrap_or_default())?;
        Ok(Vectors { id: seen.id, view: seen.view, factor: 1.0, unit: false, turned: None, held: Vec::new() })
    }

    /// Attention: scores behind their softmax, times the values.
    pub(super) fn attend(&mut self, node: &'a Node, scores: &Scores, values: &Vectors) -> Result<Seen, String> {
        let (rank, own) = (scores.view.rank(), scores.keys.view.rank());
        let wrong = || {
            let (a, b) = (scores.view.dims(), values.view.dims());
            format!("{a:?} times {b:?} is no mean of values, weighted by a softmax of scores")
        };
        if rank < 3 || values.view.rank() != rank {
            return Err(wrong());
        }
        let same = scores.is_softmax
            && scores.view.parts(rank - 1).iter().all(|part| part.axis == Axis::K)
            && (0..rank - 2).all(|dim| scores.view.parts(dim) == values.view.parts(dim))
            && scores.view.roll() == values.view.roll()
            && !values.unit
            && values.turned.is_none()
            && values.factor == 1.0;
        let (positions, vector) = (values.view.parts(rank - 2).to_vec(), values.view.parts(rank - 1).to_vec());
        let keys = scores.keys.view.parts(own - 1) == positions && scores.keys.view.parts(own - 2) == vector;
        if !same || !keys {
            return Err(wrong());
        }
        let leading = scores.view.parts_of(0..rank - 2);
        let heads = heads(&leading, &vector).ok_or("its heads are not known")?;
        let shape = self.graph.shape(values.id);
        let places = positions.iter().chain(&leading).filter(|part| part.axis != Axis::C);
        if places.map(|part| part.size).product::<usize>() != shape.len() / shape.channels().max(1) {
            return Err("attention over a part of the positions is not computed here".to_string());
        }
        let factor = scores.factor * scores.keys.factor;
        let id = match &scores.queries {
            Queries::Constant(query) => {
                if !scores.is_plain() || !matches!(shape, Shape::Tokens { .. }) {
                    return Err("something is added to the scores of one query".to_string());
                }
                let query = query.with_dims(vec![heads.channels()])?.tensor()?.clone();
                self.pool_tokens(node, [&scores.keys, values], heads, (query, factor))?
            }
            Queries::Layer(queries) => {
                if scores.view.parts(rank - 2) != positions {
                    return Err("queries and keys are at different positions".to_string());
                }
                let window = windows(&leading, &positions, shape, scores.view.roll());
                let window = window.ok_or("its windows are not known")?;
                let weighting = Weighting { scores, factor: factor * queries.factor, window };
                self.attention_of(node, [queries, &scores.keys, values], heads, weighting)?
            }
        };
        let shape = self.graph.shape(id);
        let parts = [(heads.count, heads.size), (heads.size, 1)]
            .map(|(size, stride)| Part { axis: Axis::C, size, stride })
            .map(|part| if part.size > 1 { vec![part] } else { Vec::new() });
        let [head, vector] = parts;
        let mut view = scores.view.begun_at(Axis::C).replaced(rank - 1, vector);
        for dim in 0..rank - 2 {
            if view.parts(dim).iter().any(|part| part.axis == Axis::C) {
                let parts = view.parts(dim).iter().flat_map(|part| match part.axis {
                    Axis::C => head.clone(),
                    _ => vec![*part],
                });
                let parts = parts.collect();
                view = view.replaced(dim, parts);
            }
        }
        if let Shape::Vector(_) = shape {
            view = view.begun_at(Axis::W);
        }
        Ok(Seen { id, view, pending: Pending::Nothing })
    }

    /// A layer of attention.
    fn attention_of(
        &mut self,
        node: &'a Node,
        parts: [&Vectors; 3],
        heads: Heads,
        Weighting { scores, factor, window }: Weighting,
    ) -> Result<LayerId, String> {
        let shape = self.graph.shape(parts[2].id);
        let size = match shape {
            Shape::Map { h, w, .. } => [h, w],
            _ => [1, shape.len() / shape.channels().max(1)],
        };
        let (bias, factors) = (scores.bias(window, size)?, scores.factors()?);
        let cosine = parts[0].unit;
        let plain = 1.0 / (heads.size as f64).sqrt();
        let own = match cosine || factors.iter().all(|&factor| factor == 1.0) {
            true => factor / plain,
            false => return Err("a head of scores has a factor of its own".to_string()),
        };
        // the factor of cosine attention is a tensor of the layer
        let mut x = self.joint(node, &parts, heads, if cosine { 1.0 } else { own })?;
        if let [Some(queries), Some(keys)] = [&parts[0].turned, &parts[1].turned] {
            if cosine || !heads.size.is_multiple_of(2) {
                return Err("vectors of length 1 are turned".to_string());
            }
            x = self.turned_layer(node, x, heads.count, [queries, keys])?;
        }
        let relative = if cosine || bias.is_some() { RelativeBias::Given { cosine } } else { RelativeBias::None };
        let keys = window.map_or(size[0] * size[1], |window| window.size[0] * window.size[1]);
        if relative != RelativeBias::None && heads.count.saturating_mul(keys * keys) > BIASES {
            return Err(format!("{} heads of {keys} positions have too many biases", heads.count));
        }
        let name = self.name(&node.outputs[0]);
        if relative != RelativeBias::None {
            let dims = vec![heads.count, keys, keys];
            let values = bias.unwrap_or_else(|| vec![0.0; heads.count * keys * keys]);
            self.tensor(&name, "bias", Tensor::ready(dims, values));
        }
        if cosine {
            let factors = factors.iter().map(|&own| (own * factor) as f32).collect();
            self.tensor(&name, "scale", Tensor::ready(vec![heads.count], factors));
        }
        let attention = Attention { heads: heads.count, window, bias: relative };
        Ok(self.graph.attention(&name, &name, x, attention))
    }

    /// A layer in which one query a head attends to all tokens.
    fn pool_tokens(
        &mut self,
        node: &'a Node,
        parts: [&Vectors; 2],
        heads: Heads,
        (query, factor): (Tensor, f64),
    ) -> Result<LayerId, String> {
        let c = heads.channels();
        let x = self.joint(node, &parts, heads, 1.0)?;
        let name = self.name(&node.outputs[0]);
        // the layer divides by the root of a head's channels
        let own = factor * (heads.size as f64).sqrt();
        let scaled = query.map(vec![c], move |values| values.iter().map(|&v| (f64::from(v) * own) as f32).collect());
        self.tensor(&name, "latent", Tensor::ready(vec![1, 1, c], vec![0.0; c]));
        self.tensor(&name, "q.weight", Tensor::later(vec![c, c], move || Ok(vec![0.0; c * c])));
        self.tensor(&name, "q.bias", scaled);
        Ok(self.graph.attention_pool(&name, &name, x, heads.count))
    }

    /// The layer whose channels are those of the parts, one after the other; the first part times `factor`.
    fn joint(&mut self, node: &'a Node, parts: &[&Vectors], heads: Heads, factor: f64) -> Result<LayerId, String> {
        let (c, id) = (heads.channels(), parts[0].id);
        let follow = parts.iter().enumerate().all(|(i, part)| part.id == id && part.view.first(Axis::C) == i * c);
        let same = (factor - 1.0).abs() <= 1e-6;
        if follow && same && heads.are_plain() && self.channels(id) == parts.len() * c {
            return Ok(id);
        }
        let mut all = Vec::with_capacity(parts.len());
        for part in parts {
            let found = self.projection(part.id);
            all.push(found.ok_or("queries, keys or values are not those of a dense layer")?);
        }
        let input = all[0].input;
        if all.iter().any(|projection| projection.input != input) {
            return Err("queries, keys and values are made of different layers".to_string());
        }
        let inputs = self.channels(input);
        let rows: Vec<Vec<usize>> = parts
            .iter()
            .map(|part| {
                let first = part.view.first(Axis::C);
                let [head, channel] = heads.strides;
                (0..c).map(|i| first + i / heads.size * head + i % heads.size * channel).collect()
            })
            .collect();
        let picked = |width: usize| {
            let rows = rows.clone();
            move |all: Vec<Vec<f32>>| {
                let mut picked = Vec::with_capacity(rows.len() * c * width);
                for (part, (values, rows)) in all.iter().zip(&rows).enumerate() {
                    let factor = if part == 0 { factor } else { 1.0 };
                    let row = |row: &usize| &values[row * width..(row + 1) * width];
                    picked.extend(rows.iter().flat_map(row).map(|&value| (f64::from(value) * factor) as f32));
                }
                picked
            }
        };
        let out = parts.len() * c;
        let name = self.inside(&node.outputs[0]);
        let weights = all.iter().map(|projection| projection.weight.clone()).collect();
        let biases = all.iter().map(|projection| projection.bias.clone()).collect();
        self.tensor(&name, "weight", Tensor::joined(weights, vec![out, inputs], picked(inputs)));
        self.tensor(&name, "bias", Tensor::joined(biases, vec![out], picked(1)));
        Ok(self.graph.dense_map(&name, input, out))
    }

    /// The dense layer that a layer is.
    fn projection(&self, id: LayerId) -> Option<Projection> {
        let mut layer = self.graph.layer(id);
        let tensor = |layer: &Layer, word: &str| self.tensors.get(&layer.tensor(word)).cloned();
        // norms behind the dense layer, the last one first
        let mut norms = Vec::new();
        while let Op::BatchNorm { eps, scale: true } = layer.op {
            if norms.len() == CHANGES {
                return None;
            }
            let words = ["weight", "bias", "running_mean", "running_var"];
            norms.push((words.into_iter().map(|word| tensor(layer, word)).collect::<Option<Vec<Tensor>>>()?, eps));
            layer = self.graph.layer(*layer.inputs.first()?);
        }
        let Op::DenseMap { bias: true, .. } = layer.op else { return None };
        let input = *layer.inputs.first()?;
        let (mut weight, mut bias) = (tensor(layer, "weight")?, tensor(layer, "bias")?);
        for (norm, eps) in norms.iter().rev() {
            weight = normed(norm, *eps, changeable(&weight).ok()?, (self.channels(input), false));
            bias = normed(norm, *eps, changeable(&bias).ok()?, (1, true));
        }
        Some(Projection { input, weight, bias })
    }
}

/// Weights with rows of that `width`, or biases, behind which stands a norm with tensors of its own.
fn normed(norm: &[Tensor], eps: f64, tensor: &Tensor, (width, is_bias): (usize, bool)) -> Tensor {
    let change = move |mut all: Vec<Vec<f32>>| {
        let mut values = all.swap_remove(4);
        for (i, row) in values.chunks_exact_mut(width.max(1)).enumerate() {
            let [gamma, beta, mean, variance] = [0, 1, 2, 3].map(|word| f64::from(all[word][i]));
            let scale = gamma / (variance + eps).sqrt();
            let shift = if is_bias { beta - mean * scale } else { 0.0 };
            row.iter_mut().for_each(|v| *v = (f64::from(*v) * scale + shift) as f32);
        }
        values
    };
    Tensor::joined([norm, std::slice::from_ref(tensor)].concat(), tensor.shape().to_vec(), change)
}

/// Whether a dimension is the channels of a head.
fn is_head(parts: &[Part]) -> bool {
    matches!(parts, [Part { axis: Axis::C, .. }])
}

/// The products of queries and keys, whose vectors lie in their last dimension but one.
pub(super) fn scores(queries: Queries, keys: Vectors) -> Result<Scores, String> {
    let rank = keys.view.rank();
    let view = match &queries {
        Queries::Layer(queries) => {
            let same = rank > 2
                && queries.view.rank() == rank
                && is_head(queries.view.parts(rank - 1))
                && (0..rank - 2).all(|dim| queries.view.parts(dim) == keys.view.parts(dim))
                && queries.view.parts(rank - 2) == keys.view.parts(rank - 1)
                && queries.view.parts(rank - 1) == keys.view.parts(rank - 2)
                && queries.view.roll() == keys.view.roll()
                && queries.unit == keys.unit
                && [queries, &keys].into_iter().all(|vectors| {
                    let whole = [rank - 1, rank - 2].map(|dim| queries.view.parts(dim).to_vec());
                    whole.starts_with(&vectors.held)
                })
                && queries.turned.is_some() == keys.turned.is_some();
            if !same {
                let (a, b) = (queries.view.dims(), keys.view.dims());
                return Err(format!("{a:?} times {b:?} is no product of queries and keys"));
            }
            products(&queries.view, &keys.view)
        }
        Queries::Constant(query) => {
            let is_query = rank > 2
                && query.dims.len() == rank
                && !keys.unit
                && keys.turned.is_none()
                && is_head(keys.view.parts(rank - 2));
            if !is_query {
                return Err(format!("a constant of {:?} is no query", query.dims));
            }
            let one = keys.view.replaced(rank - 1, keys.view.parts(rank - 2).to_vec());
            let one = one.replaced(rank - 2, Vec::new());
            if query.dims != one.dims() {
                return Err(format!("a constant of {:?} is no query of {:?}", query.dims, one.dims()));
            }
            products(&one, &keys.view)
        }
    };
    Ok(Scores::new(queries, keys, view))
}

/// The view of the products of queries and keys.
fn products(queries: &View, keys: &View) -> View {
    let last = queries.rank() - 1;
    let count: usize = keys.parts(last).iter().map(|part| part.size).product();
    let part = Part { axis: Axis::K, size: count, stride: 1 };
    queries.replaced(last, if count > 1 { vec![part] } else { Vec::new() })
}

/// The heads among the leading dimensions of vectors.
fn heads(leading: &[Part], vector: &[Part]) -> Option<Heads> {
    let [Part { size, stride, .. }] = *vector else { return None };
    let mut parts = leading.iter().filter(|part| part.axis == Axis::C);
    let (count, apart) = parts.next().map_or((1, size), |part| (part.size, part.stride));
    parts.next().is_none().then_some(Heads { count, size, strides: [apart, stride] })
}

/// The windows that positions attend within: none where they attend to all. The outer value is none where the
/// dimensions are no windows of a map.
fn windows(leading: &[Part], positions: &[Part], shape: Shape, shift: [usize; 2]) -> Option<Option<AttentionWindow>> {
    let outer: Vec<Part> = leading.iter().filter(|part| part.axis != Axis::C).copied().collect();
    let all = [Axis::H, Axis::W].map(|axis| whole(shape, axis)).concat();
    if outer.is_empty() && positions == all && shift == [0, 0] {
        return Some(None);
    }
    let Shape::Map { h, w, .. } = shape else { return None };
    let side = |axis: Axis| positions.iter().find(|part| part.axis == axis).map_or(1, |part| part.size);
    let size = [side(Axis::H), side(Axis::W)];
    let parts = |counts: [usize; 2], strides: [usize; 2]| -> Vec<Part> {
        let part = |i: usize| Part { axis: [Axis::H, Axis::W][i], size: counts[i], stride: strides[i] };
        [part(0), part(1)].into_iter().filter(|part| part.size > 1).collect()
    };
    let fits = h.is_multiple_of(size[0]) && w.is_multiple_of(size[1]);
    let counts = [h / size[0], w / size[1]];
    let shifted = (0..2).all(|i| shift[i] < size[i]);
    let found = fits && shifted && positions == parts(size, [1, 1]) && outer == parts(counts, size);
    found.then_some(Some(AttentionWindow { size, shift }))
}
