//! Pooling over windows, channels last: one vector of channels of one output position at a time. Positions of a window
//! outside the map are skipped, so the map needs no zeros around it. [`Mean`] is the mean of a part of a map.

use std::ops::Range;

use super::elements::{Element, ElementsKernel, MapElements};
use super::simd::Simd;
use crate::{Pooling, Window};

/// A pooling layer.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    pub pooling: Pooling,
    pub window: Window,
    /// Whether the zeros of the padding count in a maximum.
    pub zeros: bool,
    pub channels: usize,
}

/// The map of one picture, some rows of which are in memory. Strides are in elements.
#[derive(Clone, Debug)]
pub struct PoolMap {
    /// The first element of the first row in memory.
    pub start: usize,
    /// From one position to the next.
    pub pixel_stride: usize,
    pub row_stride: usize,
    /// Height and width of the whole map.
    pub size: [usize; 2],
    /// The rows in memory.
    pub rows: Range<usize>,
}

impl PoolMap {
    /// Returns the offset behind the last element of the rows before row `end`, with `channels` at each position.
    fn end(&self, end: usize, channels: usize) -> usize {
        let (rows, width) = (end.saturating_sub(self.rows.start), self.size[1]);
        if rows == 0 || width == 0 {
            self.start
        } else {
            self.start + (rows - 1) * self.row_stride + (width - 1) * self.pixel_stride + channels
        }
    }
}

/// The mean over some rows and columns of a map, channel by channel.
#[derive(Clone, Debug)]
pub struct Mean<'a> {
    pub map: &'a PoolMap,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    pub channels: usize,
}

impl Mean<'_> {
    /// Writes the mean of each channel.
    ///
    /// Panics when the rows are not in memory, when there are no positions, or when the output does not have a value
    /// for each channel.
    pub fn run<E: Element>(&self, isa: E::Isa, input: &[E], output: &mut [E]) {
        self.check(input.len(), output.len());
        // SAFETY: `check` asserted that the positions lie within the input, and the output has all channels.
        unsafe { E::run(isa, MeanOf { mean: self, input: input.as_ptr(), output: output.as_mut_ptr() }) }
    }

    fn check(&self, input_len: usize, output_len: usize) {
        let Mean { map, rows, columns, channels } = self;
        let is_there = map.rows.start <= rows.start && rows.end <= map.rows.end && columns.end <= map.size[1];
        assert!(is_there && !rows.is_empty() && !columns.is_empty(), "the positions are not there");
        assert!(map.end(rows.end, *channels) <= input_len, "the map lies outside the input");
        assert!(output_len == *channels, "a mean for each channel");
    }
}

/// A mean and its memory, which [`Mean::check`] must have accepted; nobody else may access the output.
struct MeanOf<'a, E> {
    mean: &'a Mean<'a>,
    input: *const E,
    output: *mut E,
}

impl<E: Element> ElementsKernel<E> for MeanOf<'_, E> {
    #[inline(always)]
    unsafe fn run<M: MapElements<Element = E>>(self) {
        const TOGETHER: usize = 4;
        let (channels, mut first) = (self.mean.channels, 0);
        // SAFETY: the caller of `ElementsKernel::run` checked the instruction set; the loops stay within the channels.
        unsafe {
            while first + TOGETHER * M::Simd::LANES <= channels {
                self.vectors::<M, TOGETHER>(first, M::Simd::LANES);
                first += TOGETHER * M::Simd::LANES;
            }
            while first < channels {
                let lanes = M::Simd::LANES.min(channels - first);
                self.vectors::<M, 1>(first, lanes);
                first += lanes;
            }
        }
    }
}

impl<E: Element> MeanOf<'_, E> {
    /// Writes the means of `N` vectors of channels from `first` on, each of `lanes` lanes. The sums of the rows are
    /// summed, which rounds less than one long sum.
    ///
    /// # Safety
    /// The CPU has the instruction set; the memory is as [`MeanOf`] demands and has these channels.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn vectors<M: MapElements<Element = E>, const N: usize>(&self, first: usize, lanes: usize) {
        let Mean { map, rows, columns, .. } = self.mean;
        let factor = 1.0 / (rows.len() * columns.len()) as f32;
        // SAFETY: by this function's contract.
        unsafe {
            let mut sums = [M::Simd::splat(0.0); N];
            for y in rows.clone() {
                let mut row = [M::Simd::splat(0.0); N];
                let line = self.input.add(map.start + (y - map.rows.start) * map.row_stride + first);
                for x in columns.clone() {
                    for i in 0..N {
                        let at = line.add(x * map.pixel_stride + i * M::Simd::LANES);
                        row[i] = M::Simd::add(row[i], M::load_partial(at, lanes));
                    }
                }
                for i in 0..N {
                    sums[i] = M::Simd::add(sums[i], row[i]);
                }
            }
            for i in 0..N {
                let mean = M::Simd::mul(sums[i], M::Simd::splat(factor));
                M::store_partial(self.output.add(first + i * M::Simd::LANES), lanes, mean);
            }
        }
    }
}

/// One side of a window.
struct WindowSide {
    /// The first position inside the map, and the one behind the last; no position where `end` ≤ `first`.
    first: usize,
    end: usize,
    /// The number of positions by which a mean is divided.
    counted: usize,
}

impl Pool {
    /// Pools the map `from` of `input` into the rows of the map `to` of `output`, with the vectors of `isa`.
    ///
    /// Panics when a row that is read or written is not in memory or lies outside its slice.
    pub fn run<E: Element>(&self, isa: E::Isa, from: &PoolMap, input: &[E], to: &PoolMap, output: &mut [E]) {
        self.check(from, input.len(), to, output.len());
        let maps = PoolRows { pool: self, from, input: input.as_ptr(), to, output: output.as_mut_ptr() };
        // SAFETY: `check` asserted that the rows lie within their slices; the output is borrowed mutably.
        unsafe { E::run(isa, maps) }
    }

    /// Panics when a row that is read or written is not in memory or lies outside its slice.
    fn check(&self, from: &PoolMap, input_len: usize, to: &PoolMap, output_len: usize) {
        if to.rows.is_empty() {
            return;
        }
        let first = self.side(0, to.rows.start, from.size[0]).first;
        let end = self.side(0, to.rows.end - 1, from.size[0]).end;
        assert!(from.rows.start <= first && end <= from.rows.end, "a row of the input is not there");
        assert!(from.end(end, self.channels) <= input_len, "the map lies outside the input");
        assert!(to.end(to.rows.end, self.channels) <= output_len, "the map lies outside the output");
    }

    /// Returns the window of output `i` along dimension `side` (0: rows, 1: columns) of a map of `size`.
    fn side(&self, side: usize, i: usize, size: usize) -> WindowSide {
        let Window { kernel, stride, pad, .. } = self.window;
        let (before, after) = if side == 0 { (pad.top, pad.bottom) } else { (pad.left, pad.right) };
        // These are counted from the first padded position.
        let (start, end) = (i * stride[side], i * stride[side] + kernel[side]);
        let (first, last) = (start.max(before) - before, end.min(before + size).max(before) - before);
        let counted = match self.pooling {
            Pooling::AvgWithPad => end.min(before + size + after) - start,
            Pooling::Max | Pooling::Avg => last.saturating_sub(first),
        };
        WindowSide { first, end: last, counted }
    }
}

/// The rows that a run reads and writes; [`Pool::check`] must have accepted both maps for the memory behind the
/// pointers, and nobody else may access the rows of `to`.
struct PoolRows<'a, E> {
    pool: &'a Pool,
    from: &'a PoolMap,
    input: *const E,
    to: &'a PoolMap,
    output: *mut E,
}

impl<E: Element> ElementsKernel<E> for PoolRows<'_, E> {
    /// Pools every position of the rows.
    #[inline(always)]
    unsafe fn run<M: MapElements<Element = E>>(self) {
        let PoolRows { pool, from, input, to, output } = self;
        let [kernel_rows, kernel_columns] = pool.window.kernel;
        for y in to.rows.clone() {
            let rows = pool.side(0, y, from.size[0]);
            for x in 0..to.size[1] {
                let columns = pool.side(1, x, from.size[1]);
                let inside = (rows.end - rows.first.min(rows.end)) * (columns.end - columns.first.min(columns.end));
                let is_cut = inside < kernel_rows * kernel_columns;
                let (initial, factor) = match pool.pooling {
                    Pooling::Max if is_cut && pool.zeros => (0.0, 1.0),
                    Pooling::Max => (f32::NEG_INFINITY, 1.0),
                    Pooling::Avg | Pooling::AvgWithPad => (0.0, 1.0 / (rows.counted * columns.counted) as f32),
                };
                for channel in (0..pool.channels).step_by(M::Simd::LANES) {
                    let lanes = M::Simd::LANES.min(pool.channels - channel);
                    // SAFETY: the caller of `ElementsKernel::run` checked the instruction set; `side` cuts rows and
                    // columns to the map, whose rows `check` accepted; `lanes` channels are left at each position of
                    // the map and of the output.
                    unsafe {
                        let mut sum = M::Simd::splat(initial);
                        for row in rows.first..rows.end {
                            let line = input.add(from.start + (row - from.rows.start) * from.row_stride + channel);
                            for column in columns.first..columns.end {
                                let v = M::load_partial(line.add(column * from.pixel_stride), lanes);
                                sum = if pool.pooling == Pooling::Max {
                                    M::Simd::max(sum, v)
                                } else {
                                    M::Simd::add(sum, v)
                                };
                            }
                        }
                        if pool.pooling != Pooling::Max {
                            sum = M::Simd::mul_add(sum, M::Simd::splat(factor), M::Simd::splat(0.0));
                        }
                        let line = output.add(to.start + (y - to.rows.start) * to.row_stride + channel);
                        M::store_partial(line.add(x * to.pixel_stride), lanes, sum);
                    }
                }
            }
        }
    }
}
