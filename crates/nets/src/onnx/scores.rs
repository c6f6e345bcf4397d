//! The scores of attention on their way to the softmax: factors, and what is added to them.

use super::array::Array;
use super::network::{Importer, Pending, Seen, Value};
use super::node::Node;
use super::shape;
use super::turn::Turned;
use super::view::{Axis, Part, View};
use crate::models::LayerId;
use crate::models::graph::AttentionWindow;

/// Most scores that are looked through for the bias of one layer.
const MOST: usize = 1 << 27;
/// Two positions whose scores are lowered by so much do not see each other.
const APART: f32 = 50.0;

/// Queries, keys or values: vectors in the last dimension, or with the keys of a product in the last but one.
#[derive(Clone, Debug)]
pub(super) struct Vectors {
    pub id: LayerId,
    pub view: View,
    pub factor: f64,
    /// They are divided by their lengths.
    pub unit: bool,
    /// A rotary embedding.
    pub turned: Option<Turned>,
    /// The parts of the dimensions that one of the two reads as a whole, see [`Pending::held`].
    pub held: Vec<Vec<Part>>,
}

/// The queries of a product.
#[derive(Clone, Debug)]
pub(super) enum Queries {
    Layer(Vectors),
    /// One for each head.
    Constant(Array),
}

/// Products of queries and keys.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    pub queries: Queries,
    pub keys: Vectors,
    /// Windows and heads, then queries, then keys.
    pub view: View,
    pub factor: f64,
    /// A factor of each head.
    by_head: Option<(Array, View)>,
    /// The values that are added, under the view that the scores had then.
    added: Vec<(Array, View)>,
    pub is_softmax: bool,
}

impl Scores {
    pub(super) fn new(queries: Queries, keys: Vectors, view: View) -> Self {
        Self { queries, keys, view, factor: 1.0, by_head: None, added: Vec::new(), is_softmax: false }
    }

    /// The number of heads.
    pub(super) fn heads(&self) -> usize {
        self.view.of_axis(Axis::C).map(|part| part.size).product()
    }

    /// Whether something is added to them, or a head has a factor of its own.
    pub(super) fn is_plain(&self) -> bool {
        self.added.is_empty() && self.by_head.is_none()
    }

    /// The scores and a constant.
    pub(super) fn with_constant(mut self, op: &str, constant: &Array) -> Result<Self, String> {
        let dims = self.view.dims();
        if self.is_softmax || shape::broadcast(&constant.dims, &dims)? != dims {
            return Err(format!("a constant of {:?} is no step of attention of {dims:?}", constant.dims));
        }
        match (op, constant.len()) {
            ("Mul" | "Div", 1) if self.added.is_empty() => {
                let values = constant.numbers()?;
                let &value = values.first().ok_or("a constant has no values")?;
                self.factor *= if op == "Mul" { value } else { 1.0 / value };
            }
            ("Mul", _) if self.added.is_empty() && self.by_head.is_none() => {
                self.by_head = Some((constant.clone(), self.view.clone()));
            }
            ("Add", _) => self.added.push((constant.clone(), self.view.clone())),
            _ => return Err("it is no step of attention".to_string()),
        }
        Ok(self)
    }

    /// The factor of each head.
    pub(super) fn factors(&self) -> Result<Vec<f64>, String> {
        let heads = self.heads();
        let Some((array, view)) = &self.by_head else { return Ok(vec![1.0; heads]) };
        let [0, 0, head, 0, 0, 0] = strides(array, view, [1, 1])? else {
            return Err("a factor of the scores differs by position".to_string());
        };
        let values = array.numbers()?;
        Ok((0..heads).map(|at| values[at * head]).collect())
    }

    /// The bias that is added to the scores of every window, `(heads, queries, keys)`; none where nothing is added.
    /// Where windows are shifted over a map of that size, positions from its two ends must not see each other.
    pub(super) fn bias(&self, window: Option<AttentionWindow>, size: [usize; 2]) -> Result<Option<Vec<f32>>, String> {
        let whole = AttentionWindow { size, shift: [0, 0] };
        let AttentionWindow { size: [wh, ww], shift } = window.unwrap_or(whole);
        if self.added.is_empty() && shift == [0, 0] {
            return Ok(None);
        }
        let not_known = || Err("its windows are masked in a way that is not known".to_string());
        if self.added.is_empty() {
            return not_known();
        }
        let counts = [size[0] / wh, size[1] / ww];
        let (heads, keys) = (self.heads(), wh * ww);
        let each = heads.saturating_mul(keys).saturating_mul(keys);
        if each.saturating_mul(counts[0] * counts[1] * self.added.len()) > MOST {
            return Err(format!("the biases of {heads} heads and {keys} positions are too many"));
        }
        let mut terms = Vec::with_capacity(self.added.len());
        for (array, view) in &self.added {
            let values = array.tensor()?.values().map_err(|error| error.to_string())?;
            terms.push((strides(array, view, [wh, ww])?, values));
        }
        let value = |window: [usize; 2], head: usize, query: usize, key: usize| -> f32 {
            let at = [window[0], window[1], head, query / ww, query % ww, key];
            let place = |strides: &[usize; 6]| strides.iter().zip(at).map(|(stride, at)| stride * at).sum::<usize>();
            terms.iter().map(|(strides, values)| values[place(strides)]).sum()
        };
        let all = || (0..heads).flat_map(move |head| (0..keys * keys).map(move |i| (head, i / keys, i % keys)));
        let base: Vec<f32> = all().map(|(head, query, key)| value([0, 0], head, query, key)).collect();
        let by_window = terms.iter().any(|(strides, _)| strides[..2] != [0, 0]);
        if shift != [0, 0] || by_window {
            let apart = AttentionWindow { size: [wh, ww], shift }.apart(size);
            for (top, left) in (0..counts[0]).flat_map(|y| (0..counts[1]).map(move |x| (y, x))) {
                let apart = &apart[(top * counts[1] + left) * keys * keys..];
                let is_masked = |((head, query, key), base): ((usize, usize, usize), &f32)| {
                    let found = value([top, left], head, query, key);
                    match apart[query * keys + key] {
                        true => found <= base - APART,
                        false => (found - base).abs() <= 1e-6 * base.abs().max(1.0),
                    }
                };
                if !all().zip(&base).all(is_masked) {
                    return not_known();
                }
            }
        }
        let is_odd = |value: &f32| value.is_nan() || *value == f32::INFINITY;
        let is_hidden = |row: &[f32]| row.iter().all(|&value| value == f32::NEG_INFINITY);
        if base.iter().any(is_odd) || base.chunks(keys.max(1)).any(is_hidden) {
            return Err("what is added to its scores leaves positions without shares".to_string());
        }
        Ok(base.iter().any(|&value| value != 0.0).then_some(base))
    }
}

/// How far apart in an array, broadcast to the scores, are two windows down and across, two heads, two queries down and
/// across, and two keys; windows have that size.
fn strides(array: &Array, view: &View, [wh, ww]: [usize; 2]) -> Result<[usize; 6], String> {
    let own = shape::broadcast_strides(&array.dims, &view.dims())?;
    let mut all = [0; 6];
    let is_split = [Axis::C, Axis::K].into_iter().any(|axis| view.of_axis(axis).count() > 1);
    for (dim, &stride) in own.iter().enumerate().filter(|(_, stride)| **stride > 0) {
        let mut inner = 1;
        for &Part { axis, size, stride: step } in view.parts(dim).iter().rev() {
            let place = match axis {
                _ if is_split => return Err("heads or keys are split".to_string()),
                Axis::C => 2,
                Axis::K => 5,
                Axis::H if wh > 1 && step == 1 && size == wh => 3,
                Axis::W if ww > 1 && step == 1 && size == ww => 4,
                Axis::H if step == wh => 0,
                Axis::W if step == ww => 1,
                _ => return Err("it belongs to no window".to_string()),
            };
            if all[place] > 0 {
                return Err("it differs twice by the same position".to_string());
            }
            all[place] = stride * inner;
            inner *= size;
        }
    }
    Ok(all)
}

impl<'a> Importer<'a> {
    /// The scores, and a constant as input `i`.
    pub(super) fn scored(&self, node: &'a Node, scores: Scores, constant: &Array, i: usize) -> Result<Value, String> {
        match node.op.as_str() {
            "Add" | "Mul" => {}
            "Div" if i == 1 => {}
            _ => return Err("it is no step of attention".to_string()),
        }
        scores.with_constant(&node.op, constant).map(|scores| Value::Scores(Box::new(scores)))
    }

    /// The softmax over the keys.
    pub(super) fn weighted(&self, node: &'a Node, scores: Scores) -> Result<Value, String> {
        let last = scores.view.rank().checked_sub(1).ok_or("it has no dimension")?;
        let axis = shape::axis(node.int("axis", self.softmax_axis()), last + 1)?;
        // before opset 13 it goes over all dimensions from there on
        let is_last = axis == last || self.file.opset < 13 && (axis..last).all(|dim| scores.view.parts(dim).is_empty());
        let is_key = |part: &Part| part.axis == Axis::K;
        let is_keys = scores.view.parts(last).iter().all(is_key) && !scores.view.parts_of(0..last).iter().any(is_key);
        if !is_last || !is_keys || scores.is_softmax {
            return Err("it goes over something else than the keys of attention".to_string());
        }
        Ok(Value::Scores(Box::new(Scores { is_softmax: true, ..scores })))
    }

    /// A value under another view. Factors and sums of channels become a layer before, which all views share.
    pub(super) fn viewed(
        &mut self,
        node: &'a Node,
        view: impl FnOnce(&View) -> Result<View, String>,
    ) -> Result<Value, String> {
        Ok(match self.value(node, 0)? {
            Value::Layer(Seen { pending: Pending::Affine(_), .. }) => {
                let seen = self.done(node.input(0).unwrap_or_default())?;
                Value::Layer(Seen { view: view(&seen.view)?, ..seen })
            }
            Value::Layer(seen) => {
                let view = view(&seen.view)?;
                Value::Layer(seen.under(view)?)
            }
            Value::Scores(scores) => Value::Scores(Box::new(Scores { view: view(&scores.view)?, ..*scores })),
            _ => return Err("mean, variance and length are known in norms alone".to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Shape;

    #[test]
    fn shifted_windows_without_a_mask_are_refused() {
        let view = View::plain(Shape::Map { c: 4, h: 1 << 12, w: 1 << 12 });
        let keys = Vectors { id: LayerId(0), view: view.clone(), factor: 1.0, unit: false, turned: None, held: vec![] };
        let scores = Scores::new(Queries::Layer(keys.clone()), keys, view);
        let size = [1 << 12, 1 << 12];
        let window = |shift| Some(AttentionWindow { size: [8, 8], shift });
        assert_eq!(scores.bias(window([0, 0]), size), Ok(None));
        let error = scores.bias(window([4, 4]), size).expect_err("no mask");
        assert!(error.contains("masked in a way that is not known"), "{error}");
    }
}
