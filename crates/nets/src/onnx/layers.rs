//! The operators that become layers: convolutions, norms, dense layers, pools, softmax.

use super::array::{Array, Data};
use super::network::{Affine, Importer, Pending, Seen};
use super::node::Node;
use super::view::{Axis, View, whole};
use super::{shape, window};
use crate::models::graph::{LayerId, Op, Pad, Pooling, Shape, Window};
use crate::weights::Tensor;

impl<'a> Importer<'a> {
    /// A tensor of weights.
    pub(super) fn weights(&self, node: &Node, i: usize) -> Result<Array, String> {
        let array = self.constant(node, i).ok_or_else(|| format!("input {i} is no constant: weights were expected"))?;
        array.tensor()?;
        Ok(array.clone())
    }

    /// A tensor of `n` weights.
    pub(super) fn weights_of(&self, node: &Node, i: usize, n: usize) -> Result<Tensor, String> {
        let array = self.weights(node, i)?;
        if array.len() != n {
            return Err(format!("input {i} is {:?}; {n} values were expected", array.dims));
        }
        Ok(array.with_dims(vec![n])?.tensor()?.clone())
    }

    /// A new layer, and how its values are seen.
    pub(super) fn plain(&self, id: LayerId) -> Seen {
        Seen { id, view: View::plain(self.graph.shape(id)), pending: Pending::Nothing }
    }

    pub(super) fn conv(&mut self, node: &'a Node) -> Result<Seen, String> {
        let x = self.map(node, 0)?;
        let Shape::Map { c, h, w } = self.graph.shape(x) else { return Err("a map was expected".to_string()) };
        let weight = self.weights(node, 1)?;
        let [out, each, kh, kw] = weight.dims[..] else {
            return Err(format!("weights of {:?}: convolutions over two dimensions are known", weight.dims));
        };
        let groups =
            usize::try_from(node.int("group", 1)).ok().filter(|&groups| groups > 0).ok_or("its group is no number")?;
        if groups.checked_mul(each) != Some(c) || out == 0 || out % groups > 0 {
            return Err(format!("weights of {:?} in {groups} groups do not go with {c} channels", weight.dims));
        }
        let placed = window::place(node, [kh, kw], [h, w])?;
        let bias = node.input(2).map(|_| self.weights_of(node, 2, out)).transpose()?;
        let name = self.name(&node.outputs[0]);
        let op = Op::Conv { out, window: placed.window, groups, bias: bias.is_some() };
        let [h, w] = placed.out;
        let id = self.graph.push(&name, op, &[x], Shape::Map { c: out, h, w });
        self.tensor(&name, "weight", weight.tensor()?.clone());
        if let Some(bias) = bias {
            self.tensor(&name, "bias", bias);
        }
        Ok(self.plain(id))
    }

    pub(super) fn batch_norm(&mut self, node: &'a Node) -> Result<Seen, String> {
        if node.int("training_mode", 0) == 1 {
            return Err("it is in training mode; export the network for inference (`model.eval()`)".to_string());
        }
        let seen = self.seen(node, 0)?;
        let x = if seen.view.rank() == 2 { self.vector(node, 0)? } else { self.map(node, 0)? };
        let n = self.channels(x);
        let words = ["weight", "bias", "running_mean", "running_var"];
        let tensors = (1..5).map(|i| self.weights_of(node, i, n)).collect::<Result<Vec<_>, _>>()?;
        let name = self.name(&node.outputs[0]);
        words.iter().zip(tensors).for_each(|(word, tensor)| self.tensor(&name, word, tensor));
        let id = self.graph.batch_norm(&name, x, node.float("epsilon").unwrap_or(f64::from(1e-5f32)));
        Ok(self.plain(id))
    }

    /// A layer x · scale + shift.
    pub(super) fn affine(&mut self, name: &str, id: LayerId, affine: &Affine) -> LayerId {
        let n = affine.scale.len();
        let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
        self.tensor(name, "weight", Tensor::ready(vec![n], narrow(&affine.scale)));
        self.tensor(name, "bias", Tensor::ready(vec![n], narrow(&affine.shift)));
        self.tensor(name, "running_mean", Tensor::ready(vec![n], vec![0.0; n]));
        self.tensor(name, "running_var", Tensor::ready(vec![n], vec![1.0; n]));
        self.graph.batch_norm(name, id, 0.0)
    }

    pub(super) fn layer_norm(&mut self, node: &'a Node) -> Result<Seen, String> {
        let seen = self.layer(node, 0)?;
        let axis = shape::axis(node.int("axis", -1), seen.view.rank())?;
        let n = self.channels(seen.id);
        if axis + 1 != seen.view.rank() || seen.view.parts(axis) != whole(self.graph.shape(seen.id), Axis::C) {
            return Err(
                "layer norm over something else than the channels of a position is not computed here".to_string()
            );
        }
        let weight = self.weights_of(node, 1, n)?;
        let bias = match node.input(2) {
            Some(_) => self.weights_of(node, 2, n)?,
            None => Tensor::ready(vec![n], vec![0.0; n]),
        };
        let name = self.name(&node.outputs[0]);
        self.tensor(&name, "weight", weight);
        self.tensor(&name, "bias", bias);
        let id = self.graph.layer_norm(&name, seen.id, node.float("epsilon").unwrap_or(f64::from(1e-5f32)));
        Ok(Seen { id, ..seen })
    }

    pub(super) fn gemm(&mut self, node: &'a Node) -> Result<Seen, String> {
        if node.int("transA", 0) != 0 {
            return Err("its first matrix is transposed".to_string());
        }
        let weight = self.weights(node, 1)?;
        let weight = if node.int("transB", 0) == 0 { transposed(&weight)? } else { weight };
        let seen = self.seen(node, 0)?;
        let (alpha, beta) = (node.float("alpha").unwrap_or(1.0), node.float("beta").unwrap_or(1.0));
        let out = weight.dims.first().copied().unwrap_or(0);
        let bias = match node.input(2) {
            Some(_) if self.constant(node, 2).is_some_and(|array| array.len() == 1) => {
                let one = self.weights_of(node, 2, 1)?.values().map_err(|error| error.to_string())?;
                Tensor::ready(vec![out], vec![one[0]; out])
            }
            Some(_) => self.weights_of(node, 2, out)?,
            None => Tensor::ready(vec![out], vec![0.0; out]),
        };
        let scaled = |tensor: &Tensor, factor: f64| {
            if factor == 1.0 {
                return tensor.clone();
            }
            let scale = move |value: f32| (f64::from(value) * factor) as f32;
            tensor.map(tensor.shape().to_vec(), move |values| values.into_iter().map(scale).collect())
        };
        let (weight, bias) =
            (Array { data: Data::Floats(scaled(weight.tensor()?, alpha)), ..weight }, scaled(&bias, beta));
        if seen.view.dims().first() != Some(&1) {
            return self.at_positions(node, &weight, &bias)?.ok_or_else(|| "a vector was expected".to_string());
        }
        let x = self.vector(node, 0)?;
        self.dense(node, x, &weight, bias).map(|id| self.plain(id))
    }

    /// A dense layer at each position, where the last dimension of the first input is all channels.
    fn at_positions(&mut self, node: &'a Node, weight: &Array, bias: &Tensor) -> Result<Option<Seen>, String> {
        let seen = self.layer(node, 0)?;
        let (shape, last) = (self.graph.shape(seen.id), seen.view.rank().saturating_sub(1));
        let [out, len] = weight.dims[..] else { return Err("a matrix was expected".to_string()) };
        let is_map = !matches!(shape, Shape::Vector(_)) && shape.len() > shape.channels();
        if !is_map || seen.view.parts(last) != whole(shape, Axis::C) || self.channels(seen.id) != len || out == 0 {
            return Ok(None);
        }
        let name = self.name(&node.outputs[0]);
        let id = self.graph.dense_map(&name, seen.id, out);
        self.tensor(&name, "weight", weight.tensor()?.clone());
        self.tensor(&name, "bias", bias.clone());
        let view = seen.view.replaced(last, whole(self.graph.shape(id), Axis::C));
        Ok(Some(Seen { id, view, ..seen }))
    }

    pub(super) fn matmul(&mut self, node: &'a Node) -> Result<Seen, String> {
        let weight = transposed(&self.weights(node, 1)?)?;
        let [out, len] = weight.dims[..] else { return Err("a matrix was expected".to_string()) };
        let bias = Tensor::ready(vec![out], vec![0.0; out]);
        if let Some(seen) = self.at_positions(node, &weight, &bias)? {
            return Ok(seen);
        }
        let seen = self.layer(node, 0)?;
        let last = seen.view.rank().saturating_sub(1);
        if seen.view.dims().last() != Some(&len) {
            return Err(format!("{:?} is not multiplied by {len} × {out} weights", seen.view.dims()));
        }
        let x = self.vector(node, 0)?;
        let id = self.dense(node, x, &weight, bias)?;
        let view = View::of(Shape::Vector(1), &vec![Axis::C; last]).replaced(last, whole(Shape::Vector(out), Axis::C));
        Ok(Seen { id, view, ..seen })
    }

    /// A dense layer with `weight` (out, in) on the vector `x`.
    pub(super) fn dense(
        &mut self,
        node: &'a Node,
        x: LayerId,
        weight: &Array,
        bias: Tensor,
    ) -> Result<LayerId, String> {
        let [out, len] = weight.dims[..] else { return Err("a matrix was expected".to_string()) };
        let found = self.graph.shape(x).len();
        if found != len || out == 0 {
            return Err(format!("a vector of {found} values is not multiplied by {len} × {out} weights"));
        }
        let name = self.name(&node.outputs[0]);
        self.tensor(&name, "weight", weight.tensor()?.clone());
        self.tensor(&name, "bias", bias);
        Ok(self.graph.dense(&name, x, out))
    }

    pub(super) fn pool(&mut self, node: &'a Node) -> Result<Seen, String> {
        let x = self.map(node, 0)?;
        let Shape::Map { c, h, w } = self.graph.shape(x) else { return Err("a map was expected".to_string()) };
        let placed = window::place(node, window::kernel(node)?, [h, w])?;
        if placed.window.is_dilated() {
            return Err("its window is dilated, which is computed for convolutions alone".to_string());
        }
        let pooling = match (node.op.as_str(), node.int("count_include_pad", 0)) {
            ("MaxPool", _) if node.outputs.len() > 1 => return Err("the places of its maxima are read".to_string()),
            ("MaxPool", _) => Pooling::Max,
            (_, 0) => Pooling::Avg,
            _ => Pooling::AvgWithPad,
        };
        let name = self.name(&node.outputs[0]);
        let [h, w] = placed.out;
        let id = self.graph.push(&name, Op::Pool { pooling, window: placed.window }, &[x], Shape::Map { c, h, w });
        Ok(self.plain(id))
    }

    pub(super) fn global_pool(&mut self, node: &'a Node, pooling: Pooling) -> Result<Seen, String> {
        let seen = self.layer(node, 0)?;
        let dims: Vec<usize> = (2..seen.view.rank()).collect();
        if seen.view == View::plain(self.graph.shape(seen.id)) || seen.view.rank() < 3 {
            let x = self.map(node, 0)?;
            let id = self.over_positions(node, x, pooling);
            return Ok(self.plain(id));
        }
        self.reduced(node, (&dims, true), pooling)
    }

    /// The mean or the largest value over all positions of a map.
    pub(super) fn over_positions(&mut self, node: &'a Node, x: LayerId, pooling: Pooling) -> LayerId {
        let name = self.name(&node.outputs[0]);
        match (pooling, self.graph.shape(x)) {
            (Pooling::Max, Shape::Map { c, h, w }) => {
                let window = Window::new([h, w], [1, 1], Pad::default());
                self.graph.push(&name, Op::Pool { pooling, window }, &[x], Shape::Map { c, h: 1, w: 1 })
            }
            _ => self.graph.adaptive_avg_pool(&name, x, 1),
        }
    }

    pub(super) fn reduce(&mut self, node: &'a Node, pooling: Pooling) -> Result<Seen, String> {
        let keep = node.int("keepdims", 1) == 1;
        let axes = shape::axes(node, self.constant(node, 1))?.filter(|axes| !axes.is_empty());
        let rank = self.seen(node, 0)?.view.rank();
        let dims: Vec<usize> = axes.map_or_else(|| Ok((0..rank).collect()), |axes| shape::named(&axes, rank))?;
        self.reduced(node, (&dims, keep), pooling)
    }

    /// The mean or the largest value over dimensions, which may be kept with size 1.
    fn reduced(&mut self, node: &'a Node, (dims, keep): (&[usize], bool), pooling: Pooling) -> Result<Seen, String> {
        self.seen(node, 0)?;
        let own = self.done(node.input(0).unwrap_or_default())?;
        let over_tokens = dims.iter().all(|&dim| own.view.parts(dim).iter().all(|part| part.axis == Axis::W));
        let seen = match over_tokens.then(|| self.row_of_tokens(node, &own)).flatten() {
            Some(id) => Seen { id, view: own.view.begun_at(Axis::W), ..own },
            None => self.layer(node, 0)?,
        };
        let shape = self.graph.shape(seen.id);
        if !seen.view.covers(dims, &[Axis::H, Axis::W], shape) || !matches!(shape, Shape::Map { .. }) {
            return Err(format!(
                "it goes over dimensions {dims:?} of {:?}; rows and columns were expected",
                seen.view.dims()
            ));
        }
        let id =
            if shape.len() == self.channels(seen.id) { seen.id } else { self.over_positions(node, seen.id, pooling) };
        Ok(Seen { id, view: seen.view.reduced(dims, keep), pending: Pending::Nothing })
    }

    /// A function of all values of a vector; `axis` is the dimension where the node names none.
    pub(super) fn over_vector(&mut self, node: &'a Node, axis: i64, op: Op) -> Result<Seen, String> {
        let seen = self.seen(node, 0)?;
        let dims = seen.view.dims();
        let axis = shape::axis(node.int("axis", axis), dims.len())?;
        if dims[axis] != dims.iter().product::<usize>() {
            return Err(format!("it goes over dimension {axis} of {dims:?}; a vector was expected"));
        }
        let x = self.vector(node, 0)?;
        let seen = self.seen(node, 0)?;
        let name = self.name(&node.outputs[0]);
        Ok(Seen { id: self.graph.push(&name, op, &[x], self.graph.shape(x)), ..seen })
    }
}

/// Weights (in, out) as (out, in).
fn transposed(weight: &Array) -> Result<Array, String> {
    let flat = match weight.dims[..] {
        [1, rows, columns] => weight.with_dims(vec![rows, columns])?,
        _ => weight.clone(),
    };
    if flat.dims.len() != 2 {
        return Err(format!("weights of {:?}: a matrix was expected", weight.dims));
    }
    flat.transpose(&[1, 0])
}
