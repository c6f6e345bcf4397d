//! How the dimensions of an ONNX value stand for the axes of a layer.
//!
//! A layer gives a map of channels, rows and columns, tokens, or a vector. The values of a file are the same numbers
//! under dimensions that reshapes, transposes and the like have changed: channels last in files of TensorFlow, channels
//! cut into groups and read in another order by ShuffleNet, all axes in one before a dense layer, heads and windows of
//! attention. None of this moves a number: a [`View`] follows it, and only where a layer has to read another order, or
//! a part, is a layer made for it.

use std::ops::Range;

use crate::models::Shape;

/// An axis of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// Of a vector the only one.
    C,
    H,
    /// Of tokens the only one beside the channels.
    W,
    /// The keys among the scores of attention.
    K,
}

/// Some of an axis: `size` steps of `stride` along it. One of size 1 is left out of every view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub axis: Axis,
    pub size: usize,
    pub stride: usize,
}

/// For each dimension the parts of axes that it runs over, the slowest first. The first dimension, of pictures, has
/// none: a network is built for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    dims: Vec<Vec<Part>>,
    /// For each axis the step at which the view begins.
    first: [usize; 4],
    /// For each axis so many of its first steps that stand at its end: step i of the view is step i + `roll` of the
    /// layer, and behind the last step comes the first.
    roll: [usize; 4],
}

/// The axes in the order of PyTorch and of TensorFlow.
pub(super) const CHANNELS_FIRST: [Axis; 3] = [Axis::C, Axis::H, Axis::W];
pub(super) const CHANNELS_LAST: [Axis; 3] = [Axis::H, Axis::W, Axis::C];

/// All of an axis of a layer of that shape; nothing where it has one step.
pub(super) fn whole(shape: Shape, axis: Axis) -> Vec<Part> {
    let size = match (shape, axis) {
        (shape, Axis::C) => shape.channels(),
        (Shape::Map { h, .. }, Axis::H) => h,
        (Shape::Map { w, .. } | Shape::Tokens { n: w, .. }, Axis::W) => w,
        _ => 1,
    };
    if size == 1 { Vec::new() } else { vec![Part { axis, size, stride: 1 }] }
}

impl View {
    fn new(dims: Vec<Vec<Part>>) -> Self {
        Self { dims, first: [0; 4], roll: [0; 4] }
    }

    /// Pictures, then those axes, each a dimension.
    pub(super) fn of(shape: Shape, axes: &[Axis]) -> Self {
        Self::new(std::iter::once(Vec::new()).chain(axes.iter().map(|&axis| whole(shape, axis))).collect())
    }

    /// `(N, C, H, W)`, `(N, n, C)` or `(N, n)`.
    pub(super) fn plain(shape: Shape) -> Self {
        match shape {
            Shape::Map { .. } => Self::of(shape, &CHANNELS_FIRST),
            Shape::Tokens { .. } => Self::of(shape, &[Axis::W, Axis::C]),
            Shape::Vector(_) => Self::of(shape, &[Axis::C]),
        }
    }

    /// The sizes.
    pub(super) fn dims(&self) -> Vec<usize> {
        self.dims.iter().map(|parts| parts.iter().map(|part| part.size).product()).collect()
    }

    pub(super) fn rank(&self) -> usize {
        self.dims.len()
    }

    /// The parts of a dimension.
    pub(super) fn parts(&self, dim: usize) -> &[Part] {
        &self.dims[dim]
    }

    /// The parts of an axis in all dimensions.
    pub(super) fn of_axis(&self, axis: Axis) -> impl Iterator<Item = &Part> {
        self.dims.iter().flatten().filter(move |part| part.axis == axis)
    }

    /// The parts of some dimensions, one after the other.
    pub(super) fn parts_of(&self, dims: Range<usize>) -> Vec<Part> {
        self.dims[dims].concat()
    }

    /// The step of an axis at which the view begins.
    pub(super) fn first(&self, axis: Axis) -> usize {
        self.first[axis as usize]
    }

    /// Rows and columns that stand at the end instead of the beginning.
    pub(super) fn roll(&self) -> [usize; 2] {
        [self.roll[Axis::H as usize], self.roll[Axis::W as usize]]
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.dims.iter().flatten().map(|part| part.size).product()
    }

    /// The same from the beginning of an axis on.
    pub(super) fn begun_at(&self, axis: Axis) -> Self {
        let mut view = self.clone();
        view.first[axis as usize] = 0;
        view
    }

    /// The same numbers under other sizes, when no part has to be cut where it cannot be.
    pub(super) fn reshape(&self, dims: &[usize]) -> Option<Self> {
        let mut left: Vec<Part> = self.dims.iter().flatten().rev().copied().collect();
        let mut all = Vec::with_capacity(dims.len());
        for &size in dims {
            let (mut parts, mut wanted) = (Vec::new(), size);
            while wanted > 1 {
                let part = left.pop()?;
                if wanted.is_multiple_of(part.size) {
                    wanted /= part.size;
                    parts.push(part);
                } else if part.size.is_multiple_of(wanted) {
                    let inner = part.size / wanted;
                    parts.push(Part { size: wanted, stride: part.stride * inner, ..part });
                    left.push(Part { size: inner, ..part });
                    wanted = 1;
                } else {
                    return None;
                }
            }
            all.push(joined(parts));
        }
        left.is_empty().then_some(Self { dims: all, ..*self })
    }

    /// Dimensions in another order: the first is `order[0]` of this view.
    pub(super) fn transpose(&self, order: &[usize]) -> Option<Self> {
        let dims: Option<Vec<_>> = order.iter().map(|&dim| self.dims.get(dim).cloned()).collect();
        dims.filter(|dims| dims.len() == self.rank()).map(|dims| Self { dims, ..*self })
    }

    /// The same with other parts in a dimension.
    pub(super) fn replaced(&self, dim: usize, parts: Vec<Part>) -> Self {
        let mut view = self.clone();
        view.dims[dim] = parts;
        view
    }

    /// Without these dimensions, or with size 1 in their places: nothing is left of their axes.
    pub(super) fn reduced(&self, dims: &[usize], keep: bool) -> Self {
        let mut view = self.clone();
        for part in dims.iter().flat_map(|&dim| &self.dims[dim]) {
            (view.first[part.axis as usize], view.roll[part.axis as usize]) = (0, 0);
        }
        let kept = self.dims.iter().enumerate().filter(|(dim, _)| keep || !dims.contains(dim));
        view.dims = kept.map(|(dim, parts)| if dims.contains(&dim) { Vec::new() } else { parts.clone() }).collect();
        view
    }

    /// Without a dimension of size 1.
    pub(super) fn squeezed(&self, dim: usize) -> Self {
        let mut view = self.clone();
        view.dims.remove(dim);
        view
    }

    /// So many of the places of a dimension, `start` and each `step` behind it, where the dimension is one part.
    pub(super) fn cut(&self, dim: usize, start: usize, step: usize, len: usize) -> Option<Self> {
        let mut view = self.clone();
        match self.dims[dim][..] {
            [] => (start == 0 && len == 1).then_some(view),
            [part] if len > 0 && start + (len - 1) * step < part.size => {
                view.first[part.axis as usize] += start * part.stride;
                let part = Part { size: len, stride: part.stride * step, ..part };
                view.dims[dim] = if len == 1 { Vec::new() } else { vec![part] };
                Some(view)
            }
            _ => None,
        }
    }

    /// The same with `steps` of a dimension, which is all of an axis, moved from its beginning to its end.
    pub(super) fn rolled(&self, dim: usize, steps: usize, shape: Shape) -> Option<Self> {
        let [part] = self.dims[dim][..] else { return None };
        if part.axis == Axis::C || whole(shape, part.axis) != [part] || steps >= part.size {
            return None;
        }
        let mut view = self.clone();
        let roll = &mut view.roll[part.axis as usize];
        *roll = (*roll + steps) % part.size;
        Some(view)
    }

    /// The view that two pieces of a layer give one behind the other in a dimension: the end of an axis, then its
    /// beginning.
    pub(super) fn swapped(&self, behind: &Self, dim: usize, shape: Shape) -> Option<Self> {
        let axis = self.dims[dim].iter().chain(&behind.dims[dim]).next()?.axis;
        let all = whole(shape, axis);
        let size = |view: &Self| view.dims[dim].iter().map(|part| part.size).product::<usize>();
        let is_part = |view: &Self| match view.dims[dim][..] {
            [] => true,
            [part] => part.axis == axis && part.stride == 1,
            _ => false,
        };
        let steps = size(behind);
        let all_there = size(self) + steps == all.first().map_or(1, |part| part.size)
            && [self.first(axis), behind.first(axis)] == [steps, 0]
            && is_part(self)
            && is_part(behind);
        let [view, other] = [self, behind].map(|view| view.begun_at(axis).replaced(dim, all.clone()));
        if all_there && view == other { view.rolled(dim, steps, shape) } else { None }
    }

    /// The view whose last dimension is the channels of the four positions of each square of a map, column by column,
    /// where these are the four views.
    pub(super) fn squared(parts: &[&Self], shape: Shape) -> Option<Self> {
        let corners = [[0, 0], [1, 0], [0, 1], [1, 1]];
        let plain = |view: &Self| view.begun_at(Axis::H).begun_at(Axis::W);
        let view = plain(parts.first()?);
        let all_there = parts.len() == 4
            && parts
                .iter()
                .zip(corners)
                .all(|(part, corner)| [part.first(Axis::H), part.first(Axis::W)] == corner && plain(part) == view)
            && view.dims.iter().flatten().all(|part| part.axis == Axis::C || part.stride == 2)
            && 4 * view.len() == shape.len()
            && view.roll() == [0, 0];
        let last = view.rank().checked_sub(1)?;
        if !all_there || view.parts(last) != whole(shape, Axis::C) {
            return None;
        }
        let pair = |axis: Axis| Part { axis, size: 2, stride: 1 };
        Some(view.replaced(last, [vec![pair(Axis::W), pair(Axis::H)], whole(shape, Axis::C)].concat()))
    }

    /// The view of the map whose positions are the squares of this one, where a dimension is the channels of squares,
    /// see [`View::squared`].
    pub(super) fn merged(&self, shape: Shape) -> Option<Self> {
        let Shape::Map { c, .. } = shape else { return None };
        let pair = |axis: Axis| Part { axis, size: 2, stride: 1 };
        let squares = [vec![pair(Axis::W), pair(Axis::H)], whole(shape, Axis::C)].concat();
        let at = self.dims.iter().position(|parts| *parts == squares)?;
        let mut view = self.replaced(at, vec![Part { axis: Axis::C, size: 4 * c, stride: 1 }]);
        let others = || view.dims.iter().enumerate().filter(|(dim, _)| *dim != at).flat_map(|(_, parts)| parts);
        let even = others().all(|part| part.axis != Axis::C && part.stride.is_multiple_of(2));
        if !even || !self.is_whole(shape) || self.roll() != [0, 0] {
            return None;
        }
        view.dims.iter_mut().flatten().filter(|part| part.axis != Axis::C).for_each(|part| part.stride /= 2);
        Some(view)
    }

    /// The steps of an axis that the view runs over, where they follow one another.
    pub(super) fn stretch(&self, axis: Axis) -> Option<Range<usize>> {
        let mut parts: Vec<Part> = self.of_axis(axis).copied().collect();
        parts.sort_by_key(|part| part.stride);
        let mut len = 1;
        for part in parts {
            if part.stride != len {
                return None;
            }
            len *= part.size;
        }
        let first = self.first(axis);
        Some(first..first + len)
    }

    /// The map whose rows and columns the view makes of tokens that follow one another, and its view of that map.
    pub(super) fn grid(&self, shape: Shape) -> Option<(Shape, Self)> {
        let Shape::Tokens { c, .. } = shape else { return None };
        let mut parts: Vec<Part> = self.of_axis(Axis::W).copied().collect();
        parts.sort_by_key(|part| part.stride);
        let [w, h] = match parts[..] {
            [] => [1, 1],
            [across] => [across.size, 1],
            [across, down] if down.stride == across.size => [across.size, down.size],
            _ => return None,
        };
        let mut view = self.begun_at(Axis::W);
        for part in view.dims.iter_mut().flatten().filter(|part| part.axis == Axis::W && part.stride == w && h > 1) {
            *part = Part { axis: Axis::H, size: h, stride: 1 };
        }
        self.stretch(Axis::W).map(|_| (Shape::Map { c, h, w }, view))
    }

    /// Whether all values of a layer of that shape are there.
    pub(super) fn is_whole(&self, shape: Shape) -> bool {
        self.len() == shape.len()
    }

    /// Whether these dimensions run over all of those axes of a layer of that shape, and over nothing else.
    pub(super) fn covers(&self, dims: &[usize], axes: &[Axis], shape: Shape) -> bool {
        let mut found: Vec<Part> = dims.iter().filter_map(|&dim| self.dims.get(dim)).flatten().copied().collect();
        let size = |axis: Axis, parts: &[Part]| -> usize {
            parts.iter().filter(|part| part.axis == axis).map(|part| part.size).product()
        };
        let complete = axes.iter().all(|&axis| size(axis, &found) == size(axis, &whole(shape, axis)));
        found.retain(|part| !axes.contains(&part.axis));
        complete && found.is_empty()
    }

    /// Whether each dimension is an axis, all of it, in any order; rows and columns may be one.
    pub(super) fn is_permutation(&self, shape: Shape) -> bool {
        let is_axis = |parts: &Vec<Part>| match parts.as_slice() {
            [] => true,
            [part] => whole(shape, part.axis) == [*part],
            parts => [whole(shape, Axis::H), whole(shape, Axis::W)].concat() == parts,
        };
        self.dims.iter().all(is_axis) && self.is_whole(shape) && self.roll() == [0, 0]
    }

    /// The rows of the table as which channels are read column by column, where that is all that has happened to
    /// `(N, C, H, W)`.
    pub(super) fn shuffled(&self, shape: Shape) -> Option<usize> {
        let [outer, inner] = *self.dims.get(1)?.as_slice() else { return None };
        let table = outer.axis == Axis::C && outer.stride == 1 && inner.axis == Axis::C && inner.stride == outer.size;
        let table = table && self.is_whole(shape);
        let rest = self.replaced(1, whole(shape, Axis::C)) == Self::plain(shape);
        (table && rest).then_some(inner.size)
    }

    /// The values of a constant of `dims` for each of the channels, when it differs along nothing else and the sizes go
    /// together.
    pub(super) fn by_channel(&self, shape: Shape, dims: &[usize], values: &[f64]) -> Option<Vec<f64>> {
        let extra = self.rank().checked_sub(dims.len())?;
        let (mut places, mut covered) = (vec![0], 1);
        for (parts, &size) in self.dims[extra..].iter().zip(dims) {
            if size == 1 {
                continue;
            }
            if parts.iter().map(|part| part.size).product::<usize>() != size {
                return None;
            }
            for part in parts {
                if part.axis != Axis::C {
                    return None;
                }
                covered *= part.size;
                places = places.iter().flat_map(|at| (0..part.size).map(move |i| at + i * part.stride)).collect();
            }
        }
        let channels = whole(shape, Axis::C).first().map_or(1, |part| part.size);
        if covered != channels || places.len() != values.len() {
            return None;
        }
        let mut out = vec![0.0; channels];
        places.iter().zip(values).for_each(|(&at, &value)| out[at] = value);
        Some(out)
    }
}

/// Parts that follow one another along their axis become one.
fn joined(parts: Vec<Part>) -> Vec<Part> {
    let mut all: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        match all.last_mut() {
            Some(last) if last.axis == part.axis && last.stride == part.stride * part.size => {
                *last = Part { size: last.size * part.size, ..part };
            }
            _ => all.push(part),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: Shape = Shape::Map { c: 12, h: 5, w: 7 };

    #[test]
    fn channels_that_are_cut_turned_and_joined_are_shuffled() {
        let cut = View::plain(MAP).reshape(&[1, 3, 4, 5, 7]).expect("12 = 3 · 4");
        let turned = cut.transpose(&[0, 2, 1, 3, 4]).expect("five dimensions");
        let joined = turned.reshape(&[1, 12, 5, 7]).expect("joined");
        assert_eq!(joined.shuffled(MAP), Some(3));
        assert_eq!(joined.dims(), [1, 12, 5, 7]);
        // turned back they are as they were
        let back = joined.reshape(&[1, 4, 3, 5, 7]).expect("cut").transpose(&[0, 2, 1, 3, 4]).expect("turned");
        assert_eq!(back.reshape(&[1, 12, 5, 7]), Some(View::plain(MAP)));
        assert_eq!(View::plain(MAP).shuffled(MAP), None);
    }

    #[test]
    fn rows_and_columns_in_one_are_still_positions() {
        let view = View::plain(MAP).reshape(&[1, 12, 35]).expect("joined");
        assert!(view.covers(&[2], &[Axis::H, Axis::W], MAP) && !view.covers(&[1], &[Axis::H, Axis::W], MAP));
        let last = view.transpose(&[0, 2, 1]).expect("three dimensions");
        assert!(last.covers(&[2], &[Axis::C], MAP));
        assert_eq!(last.reshape(&[1, 5, 7, 12]), Some(View::of(MAP, &CHANNELS_LAST)));
        assert_eq!(View::plain(MAP).reshape(&[1, 5, 12, 7]), None, "that would cut 12 into 5");
        assert_eq!(View::plain(MAP).reshape(&[1, 12, 5]), None);
    }

    #[test]
    fn constants_belong_to_channels_wherever_these_stand() {
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        let last = View::of(MAP, &CHANNELS_LAST);
        assert_eq!(last.by_channel(MAP, &[12], &values).as_deref(), Some(values.as_slice()));
        assert_eq!(View::plain(MAP).by_channel(MAP, &[12, 1, 1], &values).as_deref(), Some(values.as_slice()));
        assert_eq!(View::plain(MAP).by_channel(MAP, &[12], &values), None, "columns are 7");
        assert_eq!(View::plain(MAP).by_channel(MAP, &[1, 7], &values[..7]), None);
        let turned = View::plain(MAP).reshape(&[1, 3, 4, 35]).and_then(|view| view.transpose(&[0, 2, 1, 3]));
        let by_channel = turned.expect("turned").by_channel(MAP, &[4, 3, 1], &values).expect("of channels");
        assert_eq!(by_channel[..5], [0.0, 3.0, 6.0, 9.0, 1.0]);
    }
}
