//! The place of a value in a buffer: channels last, with zeros around it, alone or as some of the channels of a
//! concatenation.

use std::ops::Range;

use crate::models::Shape;
use crate::models::graph::Pad;

/// A map in a buffer; a vector is a map of one position, tokens are a map of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Map {
    pub buffer: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    /// Elements from one position to the next: more than `c` inside a concatenation.
    pub pixel: usize,
    /// The first channel of the map within `pixel`.
    pub channel: usize,
    /// Zeros around it.
    pub halo: Pad,
    /// Bytes of an element.
    pub bytes: usize,
    /// Whether the buffer holds a map for each picture of a micro-batch, or one that all pictures use in turn.
    pub batched: bool,
}

impl Map {
    /// The same map with `h` rows.
    pub(crate) fn rows(&self, h: usize) -> Self {
        Self { h, ..*self }
    }

    /// A map of f32, alone in a buffer, without a halo.
    pub(crate) fn of(shape: Shape) -> Self {
        let (c, h, w) = match shape {
            Shape::Map { c, h, w } => (c, h, w),
            Shape::Tokens { n, c } => (c, 1, n),
            Shape::Vector(n) => (n, 1, 1),
        };
        Self { buffer: 0, h, w, c, pixel: c, channel: 0, halo: Pad::default(), bytes: size_of::<f32>(), batched: false }
    }

    /// True when the channels of neighbouring positions follow one another.
    pub(crate) fn is_dense(&self) -> bool {
        self.pixel == self.c
    }

    /// Elements from one row to the next.
    pub(crate) fn row(&self) -> usize {
        (self.w + self.halo.left + self.halo.right) * self.pixel
    }

    /// Elements of the buffer that one picture takes.
    pub(crate) fn picture(&self) -> usize {
        (self.h + self.halo.top + self.halo.bottom) * self.row()
    }

    /// Elements before the map of picture `p`.
    pub(crate) fn base(&self, p: usize) -> usize {
        if self.batched { p * self.picture() } else { 0 }
    }

    /// Returns the offset of position (y, x), counted from `pad` above and left of the map.
    pub(crate) fn at(&self, y: usize, x: usize, pad: Pad) -> usize {
        let (y, x) = (y + self.halo.top - pad.top, x + self.halo.left - pad.left);
        y * self.row() + x * self.pixel + self.channel
    }

    /// The values of the map in runs without a gap: by rows where `whole_rows` says so, for which it must be dense,
    /// else by positions.
    pub(crate) fn runs(&self, whole_rows: bool) -> impl Iterator<Item = Range<usize>> + use<> {
        let map = *self;
        let (runs, len) = if whole_rows { (1, map.w * map.c) } else { (map.w, map.c) };
        (0..map.h).flat_map(move |y| {
            (0..runs).map(move |x| {
                let start = map.at(y, x, Pad::default());
                start..start + len
            })
        })
    }

    /// Returns the offset of each position, picture after picture.
    pub(crate) fn positions(&self, pad: Pad, stride: [usize; 2], [h, w]: [usize; 2], pictures: usize) -> Vec<u32> {
        let all = (0..pictures).flat_map(|p| (0..h).flat_map(move |y| (0..w).map(move |x| (p, y, x))));
        all.map(|(p, y, x)| (self.base(p) + self.at(y * stride[0], x * stride[1], pad)) as u32).collect()
    }

    /// Writes zeros around the map, where another value may have lain.
    pub(crate) fn clear_halo<T: Copy + Default>(&self, buffer: &mut [T]) {
        self.around(|range| buffer[range].fill(T::default()));
    }

    /// Writes `position`, which has all channels of the buffer, to each position around the map.
    pub(crate) fn fill_halo<T: Copy>(&self, buffer: &mut [T], position: &[T]) {
        self.around(|range| {
            buffer[range].chunks_exact_mut(position.len()).for_each(|to| to.copy_from_slice(position));
        });
    }

    /// Calls `visit` with the runs of positions around the map.
    fn around(&self, mut visit: impl FnMut(Range<usize>)) {
        if self.halo.is_zero() {
            return;
        }
        let mut at = 0;
        for y in 0..self.h {
            let start = self.at(y, 0, Pad::default()) - self.channel;
            visit(at..start);
            at = start + self.w * self.pixel;
        }
        visit(at..self.picture());
    }
}
