//! Nodes over constants, which are computed when a file is imported, and how much they may compute.

use std::cell::Cell;

use super::array::{Array, Data, fold};
use super::computed::multiplications;
use super::network::{Importer, Value};
use super::node::Node;
use crate::weights::Tensor;

const TOO_MANY: &str = "too many values are computed of constants; export the network with them folded";

/// Values that may still be computed.
#[derive(Debug)]
pub(super) struct Budget {
    integers: usize,
    floats: usize,
    products: Cell<usize>,
    /// Places that nodes pick values from. They stay in memory until the values are asked for.
    places: Cell<usize>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { integers: 1 << 24, floats: 1 << 28, products: Cell::new(1 << 30), places: Cell::new(1 << 24) }
    }
}

impl Budget {
    /// Whether a node over constants may still be computed: matrices are multiplied, or values are picked.
    fn spend(&self, node: &Node, inputs: &[Option<&Array>]) -> bool {
        let (budget, cost) = match (node.op.as_str(), inputs) {
            ("MatMul", &[Some(a), Some(b)]) => (&self.products, multiplications(a, b).unwrap_or_default()),
            ("Gather" | "GatherND" | "ScatterND", &[_, Some(indices), ..]) => (&self.places, indices.len()),
            ("Slice" | "Split", &[Some(x), ..]) => (&self.places, x.dims.iter().copied().max().unwrap_or_default()),
            _ => return true,
        };
        let left = budget.get().checked_sub(cost);
        budget.set(left.unwrap_or_default());
        left.is_some()
    }

    /// The values that a node gives: constants that were computed, as long as they are not too many.
    pub(super) fn keep(&mut self, arrays: Vec<Array>) -> Result<Vec<Value>, String> {
        for array in &arrays {
            let left = match &array.data {
                Data::Ints(_) => &mut self.integers,
                Data::Floats(tensor) if tensor.is_ready() => &mut self.floats,
                // values that lie in the file, or are computed when they are asked for
                Data::Floats(_) | Data::Unread(_) => continue,
            };
            *left = left.checked_sub(array.len()).ok_or(TOO_MANY)?;
        }
        Ok(arrays.into_iter().map(Value::Constant).collect())
    }
}

impl Importer<'_> {
    /// The outputs of a node over constants, or over sizes of layers.
    pub(super) fn folded(&self, node: &Node) -> Option<Result<Vec<Array>, String>> {
        if !node.is_standard() {
            return None;
        }
        let first = node.input(0).and_then(|name| self.values.get(name));
        let dims = match first {
            Some(Value::Layer(seen)) => Some(seen.view.dims()),
            Some(Value::Scores(scores)) => Some(scores.view.dims()),
            _ => None,
        };
        if let Some(dims) = dims.filter(|_| ["Shape", "Size"].contains(&node.op.as_str())) {
            return fold(node, &[Some(&Array { dims, data: Data::Ints(Vec::new()) })]);
        }
        if node.op == "Constant" {
            return Some(constant(node).map(|array| vec![array]));
        }
        let inputs: Vec<Option<&Array>> = (0..node.inputs.len()).map(|i| self.constant(node, i)).collect();
        let all = (0..inputs.len()).all(|i| inputs[i].is_some() || node.input(i).is_none());
        if !all || !inputs.iter().any(Option::is_some) {
            return None;
        }
        if !self.budget.spend(node, &inputs) {
            return Some(Err(TOO_MANY.to_string()));
        }
        fold(node, &inputs)
    }
}

/// The value of a node `Constant`.
fn constant(node: &Node) -> Result<Array, String> {
    if let Some(array) = &node.value {
        return Ok(array.clone());
    }
    let floats =
        |values: Vec<f32>, dims: Vec<usize>| Array { data: Data::Floats(Tensor::ready(dims.clone(), values)), dims };
    if let Some(values) = node.ints("value_ints") {
        Ok(Array::ints(values.to_vec()))
    } else if let Some(value) = node.float("value_float") {
        Ok(floats(vec![value as f32], Vec::new()))
    } else if let Some(values) = node.floats("value_floats") {
        Ok(floats(values.to_vec(), vec![values.len()]))
    } else if node.has("value_int") {
        Ok(Array { dims: Vec::new(), ..Array::ints(vec![node.int("value_int", 0)]) })
    } else {
        Err("its value is of a kind that is not read".to_string())
    }
}
