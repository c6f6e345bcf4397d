//! Pooling over windows, channels last: one vector of channels of one output position at a time. Positions of a window
//! outside the map are skipped, so the map needs no zeros around it.

use std::ops::Range;

use super::bf16::simd::{Bf16Kernel, Bf16Simd};
use super::bf16::{Bf16Isa, bf16};
use super::elements::{F32Elements, MapElements};
use super::simd::{Isa, Simd, SimdKernel};
use crate::{Pooling, Window};

/// A pooling layer.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    pub isa: Isa,
    pub pooling: Pooling,
    pub window: Window,
    /// Whether the zeros of the padding take part in a maximum.
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
    /// One past the last element of the rows before row `end`, with `channels` at each position.
    fn end(&self, end: usize, channels: usize) -> usize {
        let (rows, width) = (end.saturating_sub(self.rows.start), self.size[1]);
        if rows == 0 || width == 0 {
            self.start
        } else {
            self.start + (rows - 1) * self.row_stride + (width - 1) * self.pixel_stride + channels
        }
    }
}

/// One side of a window.
struct WindowSide {
    /// The first position inside the map, and the one behind the last; no position where `end` ≤ `first`.
    first: usize,
    end: usize,
    /// Positions that a mean divides by.
    counted: usize,
}

impl Pool {
    /// Pools the map `from` of `input` into the rows of the map `to` of `output`.
    ///
    /// Panics when a row that is read or written is not in memory or lies outside its slice.
    pub fn run(&self, from: &PoolMap, input: &[f32], to: &PoolMap, output: &mut [f32]) {
        self.check(from, input.len(), to, output.len());
        let maps = PoolRows { pool: self, from, input: input.as_ptr(), to, output: output.as_mut_ptr() };
        // SAFETY: `check` asserted that the rows lie within their slices; the output is borrowed mutably.
        unsafe { self.isa.run(maps) }
    }

    /// The same over bf16, in the vectors of `isa`: each value is widened, computed with in f32, and the result
    /// rounded.
    pub fn run_bf16(&self, isa: Bf16Isa, from: &PoolMap, input: &[bf16], to: &PoolMap, output: &mut [bf16]) {
        self.check(from, input.len(), to, output.len());
        let maps = PoolRows { pool: self, from, input: input.as_ptr(), to, output: output.as_mut_ptr() };
        // SAFETY: `check` asserted that the rows lie within their slices; the output is borrowed mutably.
        unsafe { isa.run(maps) }
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

    /// The window of output `i` along dimension `side` (0: rows, 1: columns) of a map of `size`.
    fn side(&self, side: usize, i: usize, size: usize) -> WindowSide {
        let Window { kernel, stride, pad } = self.window;
        let (before, after) = if side == 0 { (pad.top, pad.bottom) } else { (pad.left, pad.right) };
        // counted from the first padded position
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

impl SimdKernel for PoolRows<'_, f32> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller of `SimdKernel::run` checked the instruction set, and the arguments are as `PoolRows`
        // demands.
        unsafe { pool_rows::<F32Elements<S>>(self) }
    }
}

impl Bf16Kernel for PoolRows<'_, bf16> {
    #[inline(always)]
    unsafe fn run<B: Bf16Simd>(self) {
        // SAFETY: the caller of `Bf16Kernel::run` checked the instruction set, and the arguments are as `PoolRows`
        // demands.
        unsafe { pool_rows::<B>(self) }
    }
}

/// Pools every position of the rows.
///
/// # Safety
/// The CPU has the instruction set of `E`; `maps` is as [`PoolRows`] demands.
#[inline(always)]
unsafe fn pool_rows<E: MapElements>(maps: PoolRows<E::Element>) {
    let PoolRows { pool, from, input, to, output } = maps;
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
            for channel in (0..pool.channels).step_by(E::Simd::LANES) {
                let lanes = E::Simd::LANES.min(pool.channels - channel);
                // SAFETY: `side` cuts rows and columns to the map, whose rows `check` accepted; `lanes` channels are
                // left at each position of the map and of the output.
                unsafe {
                    let mut sum = E::Simd::splat(initial);
                    for row in rows.first..rows.end {
                        let line = input.add(from.start + (row - from.rows.start) * from.row_stride + channel);
                        for column in columns.first..columns.end {
                            let v = E::load_partial(line.add(column * from.pixel_stride), lanes);
                            sum =
                                if pool.pooling == Pooling::Max { E::Simd::max(sum, v) } else { E::Simd::add(sum, v) };
                        }
                    }
                    if pool.pooling != Pooling::Max {
                        sum = E::Simd::mul_add(sum, E::Simd::splat(factor), E::Simd::splat(0.0));
                    }
                    let line = output.add(to.start + (y - to.rows.start) * to.row_stride + channel);
                    E::store_partial(line.add(x * to.pixel_stride), lanes, sum);
                }
            }
        }
    }
}
