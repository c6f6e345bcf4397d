//! How the dimensions of an ONNX value stand for the axes of a layer.
//!
//! A layer gives a map of channels, rows and columns, or a vector. The values of a file are the same numbers under
//! dimensions that reshapes, transposes and the like have changed: channels last in files of TensorFlow, channels cut
//! into groups and read in another order by ShuffleNet, all axes in one before a dense layer. None of this moves a
//! number: a [`View`] follows it, and only where a layer has to read another order is a layer made for it.

use crate::models::Shape;

/// An axis of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// Of a vector the only one.
    C,
    H,
    W,
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
pub(super) struct View(Vec<Vec<Part>>);

/// The axes in the order of PyTorch and of TensorFlow.
pub(super) const CHANNELS_FIRST: [Axis; 3] = [Axis::C, Axis::H, Axis::W];
pub(super) const CHANNELS_LAST: [Axis; 3] = [Axis::H, Axis::W, Axis::C];

/// All of an axis of a layer of that shape; nothing where it has one step.
pub(super) fn whole(shape: Shape, axis: Axis) -> Vec<Part> {
    let size = match (shape, axis) {
        (shape, Axis::C) => shape.channels(),
        (Shape::Map { h, .. }, Axis::H) => h,
        (Shape::Map { w, .. } | Shape::Tokens { n: w, .. }, Axis::W) => w,
        (Shape::Vector(_) | Shape::Tokens { .. }, _) => 1,
    };
    if size == 1 { Vec::new() } else { vec![Part { axis, size, stride: 1 }] }
}

impl View {
    /// Pictures, then those axes, each a dimension.
    pub(super) fn of(shape: Shape, axes: &[Axis]) -> Self {
        Self(std::iter::once(Vec::new()).chain(axes.iter().map(|&axis| whole(shape, axis))).collect())
    }

    /// `(N, C, H, W)`, or `(N, n)`.
    pub(super) fn plain(shape: Shape) -> Self {
        match shape {
            Shape::Map { .. } => Self::of(shape, &CHANNELS_FIRST),
            Shape::Tokens { .. } => Self::of(shape, &[Axis::W, Axis::C]),
            Shape::Vector(_) => Self::of(shape, &[Axis::C]),
        }
    }

    /// The sizes.
    pub(super) fn dims(&self) -> Vec<usize> {
        self.0.iter().map(|parts| parts.iter().map(|part| part.size).product()).collect()
    }

    pub(super) fn rank(&self) -> usize {
        self.0.len()
    }

    /// The parts of a dimension.
    pub(super) fn parts(&self, dim: usize) -> &[Part] {
        &self.0[dim]
    }

    /// The same numbers under other sizes, when no part has to be cut where it cannot be.
    pub(super) fn reshape(&self, dims: &[usize]) -> Option<Self> {
        let mut left: Vec<Part> = self.0.iter().flatten().rev().copied().collect();
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
        left.is_empty().then_some(Self(all))
    }

    /// Dimensions in another order: the first is `order[0]` of this view.
    pub(super) fn transpose(&self, order: &[usize]) -> Option<Self> {
        let dims: Option<Vec<_>> = order.iter().map(|&dim| self.0.get(dim).cloned()).collect();
        dims.filter(|dims| dims.len() == self.rank()).map(Self)
    }

    /// The same with other parts in a dimension.
    pub(super) fn replaced(&self, dim: usize, parts: Vec<Part>) -> Self {
        let mut dims = self.0.clone();
        dims[dim] = parts;
        Self(dims)
    }

    /// Without these dimensions, or with size 1 in their places.
    pub(super) fn reduced(&self, dims: &[usize], keep: bool) -> Self {
        let kept = self.0.iter().enumerate().filter(|(dim, _)| keep || !dims.contains(dim));
        Self(kept.map(|(dim, parts)| if dims.contains(&dim) { Vec::new() } else { parts.clone() }).collect())
    }

    /// Whether these dimensions run over all of those axes of a layer of that shape, and over nothing else.
    pub(super) fn covers(&self, dims: &[usize], axes: &[Axis], shape: Shape) -> bool {
        let mut found: Vec<Part> = dims.iter().filter_map(|&dim| self.0.get(dim)).flatten().copied().collect();
        let size = |axis: Axis, parts: &[Part]| -> usize {
            parts.iter().filter(|part| part.axis == axis).map(|part| part.size).product()
        };
        let complete = axes.iter().all(|&axis| size(axis, &found) == size(axis, &whole(shape, axis)));
        found.retain(|part| !axes.contains(&part.axis));
        complete && found.is_empty()
    }

    /// Whether each dimension is an axis, all of it, in any order.
    pub(super) fn is_permutation(&self, shape: Shape) -> bool {
        self.0.iter().all(|parts| match parts.as_slice() {
            [] => true,
            [part] => whole(shape, part.axis) == [*part],
            _ => false,
        })
    }

    /// The rows of the table as which channels are read column by column, where that is all that has happened to
    /// `(N, C, H, W)`.
    pub(super) fn shuffled(&self, shape: Shape) -> Option<usize> {
        let [outer, inner] = *self.0.get(1)?.as_slice() else { return None };
        let table = outer.axis == Axis::C && outer.stride == 1 && inner.axis == Axis::C && inner.stride == outer.size;
        let rest = self.replaced(1, whole(shape, Axis::C)) == Self::plain(shape);
        (table && rest).then_some(inner.size)
    }

    /// The values of a constant of `dims` for each of the channels, when it differs along nothing else and the sizes go
    /// together.
    pub(super) fn by_channel(&self, shape: Shape, dims: &[usize], values: &[f64]) -> Option<Vec<f64>> {
        let extra = self.rank().checked_sub(dims.len())?;
        let (mut places, mut covered) = (vec![0], 1);
        for (parts, &size) in self.0[extra..].iter().zip(dims) {
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
