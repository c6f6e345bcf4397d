//! Constants of a file: weights, whose values are read when they are asked for, and small arrays, with which nodes
//! compute shapes and factors at load.

use std::cmp::Ordering;

use super::computed::{collected, product, resized, scattered, tiled};
use super::curve::sigmoid;
use super::node::Node;
use super::proto::dtype;
use super::shape;
use crate::weights::Tensor;

/// Most elements of an array whose values are computed with at load; of larger ones they are computed when they are
/// asked for.
pub(super) const MOST: usize = 1 << 20;
/// Most values that are put together, or made of fewer.
pub(super) const JOINED: usize = 1 << 24;
/// Most changes that are computed when a tensor of weights is read.
pub(super) const CHANGES: usize = 64;
pub(super) const TRAINS: &str = "it is in training mode; export the network for inference (`model.eval()`)";

/// A constant.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub dims: Vec<usize>,
    pub data: Data,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    /// Integers of every width, and booleans.
    Ints(Vec<i64>),
    Floats(Tensor),
    /// Elements of a type that nothing here computes with.
    Unread(String),
}

impl Array {
    /// Integers along one dimension.
    pub(super) fn ints(values: Vec<i64>) -> Self {
        Self { dims: vec![values.len()], data: Data::Ints(values) }
    }

    pub(super) fn floats(dims: Vec<usize>, values: &[f64]) -> Self {
        let values = values.iter().map(|&value| value as f32).collect();
        Self { data: Data::Floats(Tensor::ready(dims.clone(), values)), dims }
    }

    pub(super) fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// The integers.
    pub(super) fn to_ints(&self) -> Result<&[i64], String> {
        match &self.data {
            Data::Ints(values) => Ok(values),
            Data::Floats(_) => Err("integers were expected, not floating-point numbers".to_string()),
            Data::Unread(kind) => Err(format!("elements of type {kind} are not read")),
        }
    }

    /// The values as numbers, when they are few.
    pub(super) fn numbers(&self) -> Result<Vec<f64>, String> {
        self.numbers_up_to(MOST)
    }

    /// The values as numbers, when they are no more than `most`.
    pub(super) fn numbers_up_to(&self, most: usize) -> Result<Vec<f64>, String> {
        if self.len() > most {
            return Err(format!("a constant of {} values is too large to be computed with", self.len()));
        }
        match &self.data {
            Data::Ints(values) => Ok(values.iter().map(|&value| value as f64).collect()),
            _ => Ok(self.tensor()?.values().map_err(|error| error.to_string())?.into_iter().map(f64::from).collect()),
        }
    }

    /// The floating-point numbers.
    pub(super) fn tensor(&self) -> Result<&Tensor, String> {
        match &self.data {
            Data::Floats(tensor) => Ok(tensor),
            Data::Ints(_) => Err("floating-point numbers were expected, not integers".to_string()),
            Data::Unread(kind) => Err(format!("elements of type {kind} are not read")),
        }
    }

    /// The same values under other sizes.
    pub(super) fn with_dims(&self, dims: Vec<usize>) -> Result<Self, String> {
        if dims.iter().product::<usize>() != self.len() {
            return Err(format!("{:?} does not become {dims:?}", self.dims));
        }
        let data = match &self.data {
            Data::Floats(tensor) => Data::Floats(changeable(tensor)?.map(dims.clone(), |values| values)),
            other => other.clone(),
        };
        Ok(Self { dims, data })
    }

    /// The array of `dims` whose value `i` is this one's at place `at(i)`.
    pub(super) fn picked(
        &self,
        dims: Vec<usize>,
        at: impl Fn(usize) -> usize + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let len = shape::count(&dims)?;
        let data = match &self.data {
            Data::Ints(values) if len <= MOST => Data::Ints((0..len).map(|i| values[at(i)]).collect()),
            Data::Floats(tensor) if len <= JOINED.max(self.len()) => {
                let change = move |values: Vec<f32>| (0..len).map(|i| values[at(i)]).collect();
                Data::Floats(changeable(tensor)?.map(dims.clone(), change))
            }
            Data::Unread(kind) => Data::Unread(kind.clone()),
            _ => return Err(format!("a constant of {dims:?} is too large to be computed")),
        };
        Ok(Self { dims, data })
    }

    /// Dimensions in another order: the first is `order[0]` of this array.
    pub(super) fn transpose(&self, order: &[usize]) -> Result<Self, String> {
        let (dims, strides) = (self.dims.clone(), shape::strides(&self.dims));
        let new: Vec<usize> = order.iter().map(|&dim| dims[dim]).collect();
        let (sizes, steps) = (new.clone(), order.iter().map(|&dim| strides[dim]).collect::<Vec<_>>());
        self.picked(new, move |i| shape::place(i, &sizes, &steps))
    }

    /// The values at `places` along `axis`, in whose stead stand the sizes `inner`.
    fn gathered(&self, axis: usize, places: Vec<usize>, inner: &[usize]) -> Result<Self, String> {
        let (size, after) = (self.dims[axis], self.dims[axis + 1..].iter().product::<usize>());
        let dims = [&self.dims[..axis], inner, &self.dims[axis + 1..]].concat();
        let run = places.len() * after;
        self.picked(dims, move |i| (i / run * size + places[i % run / after]) * after + i % after)
    }

    /// The array that as many copies of size-1 dimensions give as `dims` says.
    pub(super) fn expanded(&self, dims: Vec<usize>) -> Result<Self, String> {
        if self.dims == dims {
            return Ok(self.clone());
        }
        let strides = shape::broadcast_strides(&self.dims, &dims)?;
        let sizes = dims.clone();
        self.picked(dims, move |i| shape::place(i, &sizes, &strides))
    }
}

/// A tensor that one more change may be made to: each waits inside the one before it.
pub(super) fn changeable(tensor: &Tensor) -> Result<&Tensor, String> {
    if tensor.changes() < CHANGES { Ok(tensor) } else { Err(format!("more than {CHANGES} nodes change one constant")) }
}

/// Whether a constant says that a network is trained.
pub(super) fn trains(mode: &Array) -> bool {
    mode.to_ints().map_or(true, |values| values.iter().any(|&value| value != 0))
}

/// The outputs of a node all of whose inputs are constants; none where it is no operator that is computed at load.
pub(super) fn fold(node: &Node, inputs: &[Option<&Array>]) -> Option<Result<Vec<Array>, String>> {
    let input = |i: usize| inputs.get(i).copied().flatten().ok_or_else(|| format!("input {i} is missing"));
    let one = |array: Result<Array, String>| Some(array.map(|array| vec![array]));
    match node.op.as_str() {
        "Dropout" if inputs.get(2).copied().flatten().is_some_and(trains) => Some(Err(TRAINS.to_string())),
        "Identity" | "Dropout" => one(input(0).cloned()),
        "Shape" => one(input(0).and_then(|x| shape::of(node, &x.dims))),
        "Size" => one(input(0).map(|x| Array { dims: Vec::new(), ..Array::ints(vec![x.len() as i64]) })),
        "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" => one(input(0).and_then(|x| {
            let dims = shape::reshaped(node, &x.dims, inputs.get(1).copied().flatten())?;
            x.with_dims(dims)
        })),
        "Transpose" => one(input(0).and_then(|x| x.transpose(&shape::order(node, x.dims.len())?))),
        "Cast" => one(input(0).and_then(|x| cast(x, node.int("to", 0)))),
        "ConstantOfShape" => one(input(0).and_then(|x| constant_of_shape(node, x))),
        "Concat" => one(concat(node, inputs)),
        "Gather" => one(input(0).and_then(|x| gather(node, x, input(1)?))),
        "Slice" => one(input(0).and_then(|x| sliced(node, x, inputs))),
        "Split" => Some(input(0).and_then(|x| {
            let axis = shape::axis(node.int("axis", 0), x.dims.len())?;
            let ranges = shape::split(node, x.dims[axis], inputs.get(1).copied().flatten())?;
            ranges.into_iter().map(|range| x.gathered(axis, range.clone().collect(), &[range.len()])).collect()
        })),
        "Expand" => one(input(0).and_then(|x| {
            let dims = shape::sizes(input(1)?.to_ints()?)?;
            x.expanded(shape::broadcast(&x.dims, &dims)?)
        })),
        "Range" => one(range(inputs)),
        "Where" => one(input(0).and_then(|condition| select(condition, input(1)?, input(2)?))),
        "ReduceProd" => one(input(0).and_then(|x| {
            let product = x.to_ints()?.iter().try_fold(1i64, |product, &value| product.checked_mul(value));
            let product = product.ok_or("a product of sizes is too large")?;
            let dims = if node.int("keepdims", 1) == 1 { vec![1; x.dims.len()] } else { Vec::new() };
            Ok(Array { dims, data: Data::Ints(vec![product]) })
        })),
        "Clip" => one(input(0).and_then(|x| {
            let low = inputs.get(1).copied().flatten().map(|low| binary("Max", x, low)).transpose()?;
            let x = low.as_ref().unwrap_or(x);
            let high = inputs.get(2).copied().flatten().map(|high| binary("Min", x, high)).transpose()?;
            Ok(high.unwrap_or_else(|| x.clone()))
        })),
        "MatMul" => one(input(0).and_then(|a| product(a, input(1)?))),
        "Tile" => one(input(0).and_then(|x| tiled(x, input(1)?))),
        "Resize" => one(input(0).and_then(|x| resized(node, x, inputs))),
        "Neg" | "Sqrt" | "Reciprocal" | "Floor" | "Ceil" | "Exp" | "Relu" | "Sigmoid" | "Cos" | "Sin" => {
            one(input(0).and_then(|x| unary(&node.op, x)))
        }
        "Not" => one(input(0).and_then(|x| {
            let values = x.to_ints()?.iter().map(|&value| i64::from(value == 0)).collect();
            Ok(Array { dims: x.dims.clone(), data: Data::Ints(values) })
        })),
        "GatherND" if node.int("batch_dims", 0) == 0 => one(input(0).and_then(|x| collected(x, input(1)?))),
        "ScatterND" if matches!(node.text("reduction"), "" | "none") => {
            one(input(0).and_then(|x| scattered(x, input(1)?, input(2)?)))
        }
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Pow" | "Min" | "Max" | "Equal" | "Less" | "LessOrEqual"
        | "Greater" | "GreaterOrEqual" | "And" | "Or" => one(input(0).and_then(|a| binary(&node.op, a, input(1)?))),
        _ => None,
    }
}

fn cast(x: &Array, to: i64) -> Result<Array, String> {
    let floats = [dtype::FLOAT, dtype::FLOAT16, dtype::DOUBLE, dtype::BFLOAT16].map(i64::from);
    let dims = x.dims.clone();
    match &x.data {
        Data::Floats(_) if floats.contains(&to) => Ok(x.clone()),
        Data::Ints(_) if floats.contains(&to) => Ok(Array::floats(dims, &x.numbers()?)),
        Data::Ints(values) if to == i64::from(dtype::BOOL) => {
            Ok(Array { dims, data: Data::Ints(values.iter().map(|&value| i64::from(value != 0)).collect()) })
        }
        Data::Ints(_) => Ok(x.clone()),
        _ => Ok(Array { dims, data: Data::Ints(x.numbers()?.iter().map(|&value| value as i64).collect()) }),
    }
}

fn constant_of_shape(node: &Node, x: &Array) -> Result<Array, String> {
    let dims = shape::sizes(x.to_ints()?)?;
    let zero = || Array { dims: vec![1], data: Data::Floats(Tensor::ready(vec![1], vec![0.0])) };
    let value = node.value.clone().unwrap_or_else(zero);
    value.with_dims(Vec::new())?.expanded(dims)
}

fn concat(node: &Node, inputs: &[Option<&Array>]) -> Result<Array, String> {
    let all: Vec<&Array> = inputs.iter().copied().flatten().collect();
    let first = all.first().ok_or("nothing is concatenated")?;
    let axis = shape::axis(node.int("axis", 0), first.dims.len())?;
    let mut dims = first.dims.clone();
    dims[axis] = 0;
    for array in &all {
        let same = array.dims.len() == dims.len() && (0..dims.len()).all(|i| i == axis || array.dims[i] == dims[i]);
        if !same {
            return Err(format!("{:?} is not concatenated to {:?}", array.dims, first.dims));
        }
        dims[axis] += array.dims[axis];
    }
    let count = shape::count(&dims)?;
    let outer: usize = dims[..axis].iter().product();
    if count > MOST && count <= JOINED {
        let tensors: Vec<Tensor> =
            all.iter().map(|array| array.tensor().and_then(changeable).cloned()).collect::<Result<_, _>>()?;
        let joined = Tensor::joined(tensors, dims.clone(), move |all| interleaved::<f32, _>(&all, outer));
        return Ok(Array { dims, data: Data::Floats(joined) });
    }
    if count > MOST {
        return Err(format!("a constant of {dims:?} is too large to be computed"));
    }
    if let Data::Floats(_) = first.data {
        let values: Vec<Vec<f64>> = all.iter().map(|array| array.numbers()).collect::<Result<_, _>>()?;
        return Ok(Array::floats(dims, &interleaved::<f64, _>(&values, outer)));
    }
    let values: Vec<&[i64]> = all.iter().map(|array| array.to_ints()).collect::<Result<_, _>>()?;
    Ok(Array { dims, data: Data::Ints(interleaved::<i64, _>(&values, outer)) })
}

/// The values of several arrays, a stretch of each in turn, so many times.
fn interleaved<T: Copy, V: AsRef<[T]>>(all: &[V], outer: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(all.iter().map(|values| values.as_ref().len()).sum());
    for i in 0..outer {
        for own in all.iter().map(V::as_ref) {
            let run = own.len() / outer;
            values.extend_from_slice(&own[i * run..(i + 1) * run]);
        }
    }
    values
}

fn gather(node: &Node, x: &Array, indices: &Array) -> Result<Array, String> {
    let axis = shape::axis(node.int("axis", 0), x.dims.len())?;
    let size = x.dims[axis] as i64;
    let place = |&i: &i64| {
        let at = if i < 0 { i + size } else { i };
        usize::try_from(at).ok().filter(|_| at < size).ok_or_else(|| format!("there is no place {i} in {:?}", x.dims))
    };
    let places = indices.to_ints()?.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    x.gathered(axis, places, &indices.dims)
}

fn sliced(node: &Node, x: &Array, inputs: &[Option<&Array>]) -> Result<Array, String> {
    let mut out = x.clone();
    for cut in shape::cuts(node, &x.dims, inputs)? {
        let places: Vec<usize> = cut.places().collect();
        let len = places.len();
        out = out.gathered(cut.axis, places, &[len])?;
    }
    Ok(out)
}

fn range(inputs: &[Option<&Array>]) -> Result<Array, String> {
    if let &[Some(Array { data: Data::Floats(_), .. }), ..] = inputs {
        let ends = inputs.iter().flatten().map(|x| Ok::<_, String>(x.numbers()?.first().copied().unwrap_or(0.0)));
        let ends: Vec<f64> = ends.collect::<Result<_, _>>()?;
        let [start, limit, step] = ends[..] else { return Err("a range has a start, a limit and a step".to_string()) };
        let steps = ((limit - start) / step).ceil();
        if !(0.0..MOST as f64).contains(&steps) {
            return Err("a range is too large".to_string());
        }
        let values: Vec<f64> = (0..steps as usize).map(|i| start + i as f64 * step).collect();
        return Ok(Array::floats(vec![values.len()], &values));
    }
    let ends: Vec<i64> = inputs
        .iter()
        .flatten()
        .map(|x| x.to_ints().map(|values| values.first().copied().unwrap_or(0)))
        .collect::<Result<_, _>>()?;
    let [start, limit, step] = ends[..] else { return Err("a range has a start, a limit and a step".to_string()) };
    let steps = limit.checked_sub(start).and_then(|span| span.checked_div(step));
    if steps.is_none_or(|steps| steps >= MOST as i64) {
        return Err("a range is too large".to_string());
    }
    let inside = |value: &i64| if step > 0 { *value < limit } else { *value > limit };
    Ok(Array::ints(std::iter::successors(Some(start), |v| v.checked_add(step)).take_while(inside).collect()))
}

fn select(condition: &Array, a: &Array, b: &Array) -> Result<Array, String> {
    let dims = shape::broadcast(&condition.dims, &shape::broadcast(&a.dims, &b.dims)?)?;
    let (condition, a, b) = (condition.expanded(dims.clone())?, a.expanded(dims.clone())?, b.expanded(dims.clone())?);
    let condition = condition.to_ints()?;
    if let (Data::Ints(a), Data::Ints(b)) = (&a.data, &b.data) {
        let values = condition.iter().zip(a.iter().zip(b)).map(|(&c, (&a, &b))| if c != 0 { a } else { b });
        return Ok(Array { dims, data: Data::Ints(values.collect()) });
    }
    let (a, b) = (a.numbers()?, b.numbers()?);
    let values = condition.iter().zip(a.iter().zip(&b)).map(|(&c, (&a, &b))| if c != 0 { a } else { b });
    Ok(Array::floats(dims, &values.collect::<Vec<f64>>()))
}

fn unary(op: &str, x: &Array) -> Result<Array, String> {
    if let Data::Ints(values) = &x.data {
        let function = |value: i64| match op {
            "Neg" => value.wrapping_neg(),
            "Relu" => value.max(0),
            _ => value,
        };
        let values = values.iter().map(|&value| function(value)).collect();
        return Ok(Array { dims: x.dims.clone(), data: Data::Ints(values) });
    }
    let function = match op {
        "Neg" => |v: f64| -v,
        "Sqrt" => f64::sqrt,
        "Reciprocal" => f64::recip,
        "Floor" => f64::floor,
        "Ceil" => f64::ceil,
        "Exp" => f64::exp,
        "Cos" => f64::cos,
        "Sin" => f64::sin,
        "Relu" => |v: f64| v.max(0.0),
        _ => sigmoid,
    };
    let dims = x.dims.clone();
    if x.len() > MOST {
        let change = move |values: Vec<f32>| values.into_iter().map(|v| function(f64::from(v)) as f32).collect();
        return Ok(Array { data: Data::Floats(changeable(x.tensor()?)?.map(dims.clone(), change)), dims });
    }
    Ok(Array::floats(dims, &x.numbers()?.into_iter().map(function).collect::<Vec<_>>()))
}

fn binary(op: &str, a: &Array, b: &Array) -> Result<Array, String> {
    let dims = shape::broadcast(&a.dims, &b.dims)?;
    let (a, b) = (a.expanded(dims.clone())?, b.expanded(dims.clone())?);
    if let (Data::Ints(a), Data::Ints(b)) = (&a.data, &b.data) {
        let values = a.iter().zip(b).map(|(&a, &b)| integer(op, a, b));
        let values = values.collect::<Option<Vec<_>>>().ok_or_else(|| format!("{op} of integers overflows"))?;
        return Ok(Array { dims, data: Data::Ints(values) });
    }
    if let Some(function) = number(op).filter(|_| (MOST + 1..=JOINED).contains(&a.len())) {
        let tensors = [a, b].iter().map(|array| changeable(array.tensor()?).cloned()).collect::<Result<Vec<_>, _>>()?;
        let change = move |all: Vec<Vec<f32>>| {
            let pairs = all[0].iter().zip(&all[1]);
            pairs.map(|(&a, &b)| function(f64::from(a), f64::from(b)) as f32).collect()
        };
        return Ok(Array { data: Data::Floats(Tensor::joined(tensors, dims.clone(), change)), dims });
    }
    let (a, b) = (a.numbers()?, b.numbers()?);
    if compared(op, None).is_some() {
        let values = a.iter().zip(&b).map(|(a, b)| i64::from(compared(op, a.partial_cmp(b)) == Some(true)));
        return Ok(Array { dims, data: Data::Ints(values.collect()) });
    }
    let function = number(op).ok_or_else(|| format!("{op} of floating-point constants is not computed"))?;
    Ok(Array::floats(dims, &a.iter().zip(&b).map(|(&a, &b)| function(a, b)).collect::<Vec<_>>()))
}

fn integer(op: &str, a: i64, b: i64) -> Option<i64> {
    match op {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        "Mod" => a.checked_rem_euclid(b),
        "Pow" => a.checked_pow(u32::try_from(b).ok()?),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        "And" => Some(i64::from(a != 0 && b != 0)),
        "Or" => Some(i64::from(a != 0 || b != 0)),
        _ => compared(op, a.partial_cmp(&b)).map(i64::from),
    }
}

/// The comparison of two numbers in that order; none where the operator is none.
fn compared(op: &str, order: Option<Ordering>) -> Option<bool> {
    Some(match op {
        "Equal" => order == Some(Ordering::Equal),
        "Less" => order == Some(Ordering::Less),
        "LessOrEqual" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        "Greater" => order == Some(Ordering::Greater),
        "GreaterOrEqual" => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        _ => return None,
    })
}

/// The function of two numbers that an operator is.
pub(super) fn number(op: &str) -> Option<fn(f64, f64) -> f64> {
    Some(match op {
        "Add" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        "Pow" => f64::powf,
        "Min" => f64::min,
        "Max" => f64::max,
        _ => return None,
    })
}
