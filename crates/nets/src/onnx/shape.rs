//! The arithmetic of sizes: the dimensions that reshapes, slices and their like give, for constants and layers alike.

use std::ops::Range;

use super::array::Array;
use super::node::Node;
use super::view::View;

/// Most elements of anything: a file may say what it likes.
const MOST: usize = 1 << 31;

/// The number of elements. The product of the sizes that are not 0 is bounded, too, so that no product of some of them
/// overflows.
pub(super) fn count(dims: &[usize]) -> Result<usize, String> {
    let count = dims.iter().filter(|&&size| size > 0).try_fold(1usize, |count, &size| count.checked_mul(size));
    let count = count.filter(|&count| count <= MOST).ok_or_else(|| format!("{dims:?} are too many values"))?;
    Ok(if dims.contains(&0) { 0 } else { count })
}

/// Sizes in a file, none of them negative.
pub(super) fn sizes(dims: &[i64]) -> Result<Vec<usize>, String> {
    let sizes: Option<Vec<usize>> = dims.iter().map(|&size| usize::try_from(size).ok()).collect();
    let sizes = sizes.ok_or_else(|| format!("{dims:?} are no sizes"))?;
    count(&sizes).map(|_| sizes)
}

/// A dimension that may be counted from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let at = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    let at = usize::try_from(at).ok().filter(|&at| at < rank);
    at.ok_or_else(|| format!("there is no dimension {axis} among {rank}"))
}

/// Elements from one step of each dimension to the next.
pub(super) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        strides[i - 1] = strides[i] * dims[i];
    }
    strides
}

/// The place of element `i` of an array of `dims` where its dimensions have those strides.
pub(super) fn place(mut i: usize, dims: &[usize], strides: &[usize]) -> usize {
    let mut at = 0;
    for (size, stride) in dims.iter().zip(strides).rev() {
        at += i % size * stride;
        i /= size;
    }
    at
}

/// The sizes that two arrays have together.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let size = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    let both = |i| match (size(a, i), size(b, i)) {
        (a, b) if a == b || b == 1 => Ok(a),
        (1, b) => Ok(b),
        _ => Err(format!("{a:?} and {b:?} do not go together")),
    };
    let dims = (0..rank).map(both).collect::<Result<Vec<_>, _>>()?;
    count(&dims).map(|_| dims)
}

/// The strides of an array of sizes `from` that is read as one of sizes `to`.
pub(super) fn broadcast_strides(from: &[usize], to: &[usize]) -> Result<Vec<usize>, String> {
    if broadcast(from, to)? != to {
        return Err(format!("{from:?} does not become {to:?}"));
    }
    let own = strides(from);
    let extra = to.len() - from.len();
    let stride = |i: usize| if i < extra || from[i - extra] == 1 { 0 } else { own[i - extra] };
    Ok((0..to.len()).map(stride).collect())
}

/// The result of the operator `Shape`.
pub(super) fn of(node: &Node, dims: &[usize]) -> Result<Array, String> {
    let rank = dims.len() as i64;
    let end = |i: i64| (if i < 0 { i.saturating_add(rank) } else { i }).clamp(0, rank) as usize;
    let (start, end) = (end(node.int("start", 0)), end(node.int("end", rank)));
    Ok(Array::ints(dims[start.min(end)..end].iter().map(|&size| size as i64).collect()))
}

/// The axes of a node: an attribute in old opsets, an input in later ones.
pub(super) fn axes(node: &Node, input: Option<&Array>) -> Result<Option<Vec<i64>>, String> {
    match (input, node.ints("axes")) {
        (Some(array), _) => Ok(Some(array.to_ints()?.to_vec())),
        (None, Some(axes)) => Ok(Some(axes.to_vec())),
        (None, None) => Ok(None),
    }
}

/// The sizes that `Reshape`, `Squeeze`, `Unsqueeze` or `Flatten` give.
pub(super) fn reshaped(node: &Node, dims: &[usize], input: Option<&Array>) -> Result<Vec<usize>, String> {
    match node.op.as_str() {
        "Reshape" => {
            let target = input.ok_or("the new sizes are missing")?.to_ints()?;
            reshape(dims, target, node.int("allowzero", 0) == 1)
        }
        "Flatten" => {
            let rank = dims.len();
            let at = node.int("axis", 1);
            let at = if at == rank as i64 { rank } else { axis(at, rank.max(1))?.min(rank) };
            Ok(vec![dims[..at].iter().product(), dims[at..].iter().product()])
        }
        "Squeeze" => {
            let axes = axes(node, input)?.map(|axes| named(&axes, dims.len())).transpose()?;
            let goes = |i: usize| axes.as_ref().map_or(dims[i] == 1, |axes| axes.contains(&i));
            if let Some(i) = (0..dims.len()).find(|&i| goes(i) && dims[i] != 1) {
                return Err(format!("dimension {i} of {dims:?} is not 1 and cannot be left out"));
            }
            Ok((0..dims.len()).filter(|&i| !goes(i)).map(|i| dims[i]).collect())
        }
        _ => {
            let axes = axes(node, input)?.ok_or("the new dimensions are missing")?;
            let rank = dims.len() + axes.len();
            let new = named(&axes, rank)?;
            let mut old = dims.iter();
            let size = |i: usize| if new.contains(&i) { Some(1) } else { old.next().copied() };
            (0..rank).map(size).collect::<Option<_>>().ok_or_else(|| "a dimension is named twice".to_string())
        }
    }
}

/// Dimensions by number.
pub(super) fn named(axes: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    axes.iter().map(|&at| axis(at, rank)).collect()
}

fn reshape(dims: &[usize], target: &[i64], zeros: bool) -> Result<Vec<usize>, String> {
    let wrong = || format!("{dims:?} does not become {target:?}");
    let size = |(i, &size): (usize, &i64)| match size {
        0 if !zeros => dims.get(i).copied().ok_or_else(wrong),
        // to be found out
        -1 => Ok(1),
        size => usize::try_from(size).map_err(|_| wrong()),
    };
    let mut new = target.iter().enumerate().map(size).collect::<Result<Vec<_>, _>>()?;
    let (all, known) = (count(dims)?, count(&new)?);
    if let Some(at) = target.iter().position(|&size| size == -1) {
        new[at] = all.checked_div(known).ok_or_else(wrong)?;
    }
    if count(&new)? != all { Err(wrong()) } else { Ok(new) }
}

/// The order of `Transpose`.
pub(super) fn order(node: &Node, rank: usize) -> Result<Vec<usize>, String> {
    let Some(order) = node.ints("perm") else { return Ok((0..rank).rev().collect()) };
    let order = named(order, rank)?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted.iter().copied().eq(0..rank) {
        Ok(order)
    } else {
        Err(format!("{order:?} is no order of {rank} dimensions"))
    }
}

/// A stretch of a dimension.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    pub axis: usize,
    start: usize,
    step: i64,
    len: usize,
}

impl Cut {
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        let (start, step) = (self.start as i64, self.step);
        (0..self.len as i64).map(move |i| (start + i * step) as usize)
    }

    /// The places of a view; none where they cannot be told from the others, or go backwards.
    pub(super) fn of(&self, view: &View) -> Option<View> {
        let step = usize::try_from(self.step).ok()?;
        view.cut(self.axis, self.start, step, self.len)
    }

    /// The places, where they follow one another.
    pub(super) fn range(&self) -> Option<Range<usize>> {
        (self.step == 1).then(|| self.start..self.start + self.len)
    }
}

/// The stretches of `Slice`: starts, ends, axes and steps are inputs, in old opsets attributes.
pub(super) fn cuts(node: &Node, dims: &[usize], inputs: &[Option<&Array>]) -> Result<Vec<Cut>, String> {
    let read = |i: usize, name: &str| match inputs.get(i).copied().flatten() {
        Some(array) => Ok(Some(array.to_ints()?.to_vec())),
        None => Ok::<_, String>(node.ints(name).map(<[i64]>::to_vec)),
    };
    let (starts, ends) = (read(1, "starts")?, read(2, "ends")?);
    let (Some(starts), Some(ends)) = (starts, ends) else { return Err("its starts or ends are missing".to_string()) };
    let axes = read(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = read(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("its starts, ends, axes and steps differ in number".to_string());
    }
    let cut = |i: usize| {
        let axis = axis(axes[i], dims.len())?;
        let (size, step) = (dims[axis] as i64, steps[i]);
        if step == 0 {
            return Err("a step is 0".to_string());
        }
        if size == 0 {
            return Ok(Cut { axis, start: 0, step, len: 0 });
        }
        let from_end = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
        let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
        let (start, end) = (from_end(starts[i]).clamp(low.max(0), high), from_end(ends[i]).clamp(low, high));
        let span = if step > 0 { end - start } else { start - end };
        let len = span.max(0) as u64;
        let len = len.div_ceil(step.unsigned_abs()) as usize;
        Ok(Cut { axis, start: start.max(0) as usize, step, len })
    };
    let cuts = (0..starts.len()).map(cut).collect::<Result<Vec<_>, _>>()?;
    let twice = cuts.iter().enumerate().any(|(i, cut)| cuts[..i].iter().any(|before| before.axis == cut.axis));
    if twice { Err("a dimension is cut twice".to_string()) } else { Ok(cuts) }
}

/// The stretches of a dimension of that size that `Split` gives: of the sizes in its input or attribute, else equal.
pub(super) fn split(node: &Node, size: usize, input: Option<&Array>) -> Result<Vec<Range<usize>>, String> {
    let given = match (input, node.ints("split")) {
        (Some(array), _) => Some(sizes(array.to_ints()?)?),
        (None, Some(given)) => Some(sizes(given)?),
        (None, None) => None,
    };
    let parts = given.unwrap_or_else(|| {
        let n = node.outputs.len().max(1);
        let each = size.div_ceil(n);
        (0..n).map(|i| each.min(size.saturating_sub(i * each))).collect()
    });
    let mut start: usize = 0;
    let ranges: Option<Vec<Range<usize>>> = parts
        .iter()
        .map(|&len| {
            let range = start..start.checked_add(len)?;
            start = range.end;
            Some(range)
        })
        .collect();
    match ranges {
        Some(ranges) if start == size && ranges.len() == node.outputs.len() => Ok(ranges),
        _ => Err(format!("{size} are not split into {parts:?}")),
    }
}
