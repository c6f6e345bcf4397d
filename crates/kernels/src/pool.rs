//! Pooling windows, channels last: a vector of channels of one output position at a time. Positions outside the map are passed over, so that a
//! map needs no zeros around it.

use std::ops::Range;

use super::bf16::lanes::Widened;
use super::bf16::{Unit, bf16};
use super::elements::{Elements, Floats};
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
use super::simd::{Isa, Portable, Simd};
#[cfg(target_arch = "x86_64")]
use super::{
    bf16::lanes::Native,
    simd::{Avx2, Avx512},
};
use crate::{Pooling, Window};

/// What is pooled.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    pub isa: Isa,
    pub pooling: Pooling,
    pub window: Window,
    /// Padded zeros take part in a maximum.
    pub zeros: bool,
    pub channels: usize,
}

/// A map of one picture: elements to the next position and the next row, height and width.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The first element of the first row that is there.
    pub start: usize,
    pub pixel: usize,
    pub row: usize,
    pub size: [usize; 2],
    /// The rows that are there.
    pub rows: Range<usize>,
}

impl Grid {
    /// One past the last element of the rows up to `last`, `channels` at each position.
    fn end(&self, last: usize, channels: usize) -> usize {
        let (rows, w) = (last.saturating_sub(self.rows.start), self.size[1]);
        if rows == 0 || w == 0 {
            self.start
        } else {
            self.start + (rows - 1) * self.row + (w - 1) * self.pixel + channels
        }
    }
}

impl Pool {
    /// Pools the map `from` of `input` into the rows of the map `to` of `output`. Panics when a row that is read or written is not there or lies
    /// outside its slice.
    pub fn run(&self, from: &Grid, input: &[f32], to: &Grid, output: &mut [f32]) {
        self.check(from, input.len(), to, output.len());
        let (input, output) = (input.as_ptr(), output.as_mut_ptr());
        // SAFETY: the instruction set was detected; both maps lie within their slices, as asserted, windows are cut to the map, and the output
        // is borrowed alone.
        unsafe {
            match self.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => run_avx512::<Floats<Avx512>>(self, from, input, to, output),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => run_avx2::<Floats<Avx2>>(self, from, input, to, output),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => positions::<Floats<Neon>>(self, from, input, to, output),
                Isa::Portable => positions::<Floats<Portable>>(self, from, input, to, output),
            }
        }
    }

    /// The same over bf16, in the vectors of `unit`: computed in f32 and rounded.
    pub fn run_bf16(&self, unit: Unit, from: &Grid, input: &[bf16], to: &Grid, output: &mut [bf16]) {
        self.check(from, input.len(), to, output.len());
        let (input, output) = (input.as_ptr(), output.as_mut_ptr());
        // SAFETY: as above.
        unsafe {
            match unit {
                #[cfg(target_arch = "x86_64")]
                Unit::Tiles | Unit::Native => run_native(self, from, input, to, output),
                #[cfg(target_arch = "x86_64")]
                Unit::Widened(Isa::Avx512) => run_avx512::<Widened<Avx512>>(self, from, input, to, output),
                #[cfg(target_arch = "x86_64")]
                Unit::Widened(Isa::Avx2) => run_avx2::<Widened<Avx2>>(self, from, input, to, output),
                #[cfg(target_arch = "aarch64")]
                Unit::Widened(Isa::Neon) => positions::<Widened<Neon>>(self, from, input, to, output),
                Unit::Widened(Isa::Portable) => positions::<Widened<Portable>>(self, from, input, to, output),
            }
        }
    }

    /// Panics when a row that is read or written is not there or lies outside its slice.
    fn check(&self, from: &Grid, input: usize, to: &Grid, output: usize) {
        if to.rows.is_empty() {
            return;
        }
        let [first, last] =
            [self.span(0, to.rows.start, from.size[0]).0, self.span(0, to.rows.end - 1, from.size[0]).1];
        assert!(from.rows.start <= first && last <= from.rows.end, "a row of the input is not there");
        assert!(from.end(last, self.channels) <= input, "the map lies outside the input");
        assert!(to.end(to.rows.end, self.channels) <= output, "the map lies outside the output");
    }

    /// The part of the window of output `i` that lies inside, and how many of its positions count, along one side.
    fn span(&self, side: usize, i: usize, size: usize) -> (usize, usize, usize) {
        let Window { kernel, stride, pad } = self.window;
        let (before, after) = if side == 0 { (pad.top, pad.bottom) } else { (pad.left, pad.right) };
        // counted from the first padded position
        let (start, end) = (i * stride[side], i * stride[side] + kernel[side]);
        let (first, last) = (start.max(before) - before, end.min(before + size).max(before) - before);
        let counted = match self.pooling {
            Pooling::AvgWithPad => end.min(before + size + after) - start,
            Pooling::Max | Pooling::Avg => last.saturating_sub(first),
        };
        (first, last, counted)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run_avx512<M: Elements>(pool: &Pool, from: &Grid, input: *const M::E, to: &Grid, output: *mut M::E) {
    // SAFETY: as the caller's.
    unsafe { positions::<M>(pool, from, input, to, output) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn run_native(pool: &Pool, from: &Grid, input: *const bf16, to: &Grid, output: *mut bf16) {
    // SAFETY: as the caller's.
    unsafe { positions::<Native>(pool, from, input, to, output) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<M: Elements>(pool: &Pool, from: &Grid, input: *const M::E, to: &Grid, output: *mut M::E) {
    // SAFETY: as the caller's.
    unsafe { positions::<M>(pool, from, input, to, output) }
}

#[inline(always)]
unsafe fn positions<M: Elements>(pool: &Pool, from: &Grid, input: *const M::E, to: &Grid, output: *mut M::E) {
    let [kh, kw] = pool.window.kernel;
    for y in to.rows.clone() {
        let (top, bottom, tall) = pool.span(0, y, from.size[0]);
        for x in 0..to.size[1] {
            let (left, right, wide) = pool.span(1, x, from.size[1]);
            let cut = (bottom - top.min(bottom)) * (right - left.min(right)) < kh * kw;
            let (first, factor) = match pool.pooling {
                Pooling::Max if cut && pool.zeros => (0.0, 1.0),
                Pooling::Max => (f32::NEG_INFINITY, 1.0),
                Pooling::Avg | Pooling::AvgWithPad => (0.0, 1.0 / (tall * wide) as f32),
            };
            for channel in (0..pool.channels).step_by(M::S::W) {
                let lanes = M::S::W.min(pool.channels - channel);
                // SAFETY: rows and columns are cut to the map, `lanes` channels are left at each of them and at the output.
                unsafe {
                    let mut sum = M::S::splat(first);
                    for row in top..bottom {
                        let line = input.add(from.start + (row - from.rows.start) * from.row + channel);
                        for column in left..right {
                            let v = M::load_part(line.add(column * from.pixel), lanes);
                            sum = if pool.pooling == Pooling::Max { M::S::max(sum, v) } else { M::S::add(sum, v) };
                        }
                    }
                    if pool.pooling != Pooling::Max {
                        sum = M::S::mul_add(sum, M::S::splat(factor), M::S::splat(0.0));
                    }
                    let to = output.add(to.start + (y - to.rows.start) * to.row + x * to.pixel + channel);
                    M::store_part(to, lanes, sum);
                }
            }
        }
    }
}
