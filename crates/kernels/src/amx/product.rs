//! Convolutions as a product of tiles, see [`matmul`](super::super::matmul) for what is computed.
//!
//! A tile is 16 rows of 64 bytes as far apart as one likes: the windows of a group of up to 16 positions. Maps of bf16 are read where they lie if
//! the windows of neighbouring positions lie as far apart as each other. Other windows are written as lines first, once for all filters: each by
//! itself, zeros behind its end, since what follows it in memory may be no number; or, where windows share most of their values, the part of the map
//! that a group sees (a strip), which then is read like the map. What lies between two rows of a map is computed with them and not written.

mod groups;

use std::arch::asm;
use std::arch::x86_64::*;

use self::groups::{Group, Windows};
use super::values::Values;
use super::{LINE, ROWS, TILE, configure, release};
use crate::Activation;
use crate::aligned::Aligned;
use crate::limits;
use crate::matmul::Places;
use crate::share::{self, Part};

/// Filters of a panel: two tiles.
const PANEL: usize = 2 * ROWS;
/// Sums of an order of two groups × a panel: four tiles.
const SUMS: usize = 2 * ROWS * PANEL;
/// Bytes of the windows of a block: they stay in the second cache, beside the weights of a panel.
const NEAR: usize = 1200 << 10;
/// The least and the most groups of positions in a block.
const LEAST: usize = 4;
const MOST: usize = 64;

/// The window of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    pub channels: usize,
    /// Columns from one window to the next.
    pub stride: usize,
}

/// Weights as tiles: panels of two tiles of filters; in a panel, for each line of values of a window, the two tiles of every plane; zeros behind the
/// last filter and the last value.
#[derive(Clone, Debug)]
pub struct Packed<T> {
    filters: usize,
    shape: Shape,
    values: Aligned,
    /// A bias a filter, zeros behind the last; and what its sums are multiplied by.
    bias: Aligned,
    units: Aligned,
    kind: std::marker::PhantomData<T>,
}

impl<T: Values> Packed<T> {
    /// Packs weights `(filters, kernel rows, kernel columns, channels)`, row-major. Only where tiles are [`available`](super::available).
    ///
    /// Panics when there are not as many.
    pub fn new(weight: &[f32], bias: &[f32], shape: Shape) -> Self {
        let (filters, window) = (bias.len(), shape.kernel[0] * shape.kernel[1] * shape.channels);
        assert!(window > 0 && weight.len() == filters * window, "weights are (filters, rows, columns, channels)");
        let (steps, padded) = (window.div_ceil(T::STEP), filters.next_multiple_of(PANEL));
        let (value, step) = (LINE / T::STEP, T::PLANES * 2 * TILE);
        let mut values = Aligned::zeros(padded / PANEL * steps * step / size_of::<f32>());
        let (mut padded_bias, mut units) = (Aligned::zeros(padded), Aligned::zeros(padded));
        padded_bias[..filters].copy_from_slice(bias);
        for (f, filter) in weight.chunks_exact(window).enumerate() {
            let panel = &mut values.bytes_mut()[f / PANEL * steps * step..][..steps * step];
            units[f] = T::weights(filter, |i, plane, bytes| {
                // a row holds four bytes for each of its filters
                let (tile, byte) = (2 * plane + f % PANEL / ROWS, i % T::STEP * value);
                let at = i / T::STEP * step + tile * TILE + byte / 4 * LINE + f % ROWS * 4 + byte % 4;
                panel[at..at + value].copy_from_slice(bytes);
            });
        }
        Self { filters, shape, values, bias: padded_bias, units, kind: std::marker::PhantomData }
    }

    /// Kernel rows, and values in each.
    fn rows(&self) -> [usize; 2] {
        [self.shape.kernel[0], self.shape.kernel[1] * self.shape.channels]
    }

    /// Steps, lines of values, that lie one behind the other, and how many such rows.
    fn steps(&self) -> [usize; 2] {
        let [rows, depth] = self.rows();
        if depth.is_multiple_of(T::STEP) { [rows, depth / T::STEP] } else { [1, (rows * depth).div_ceil(T::STEP)] }
    }

    /// Whether groups are written as strips.
    pub(super) fn has_strips(&self) -> bool {
        !T::IN_PLACE && self.shape.kernel[1] > self.shape.stride && self.shape.channels.is_multiple_of(T::STEP)
    }

    /// Bytes from one window to the next where they are written: an odd number of lines, so that those of a group do not compete for the same sets of
    /// the cache.
    fn pitch(&self) -> usize {
        let [rows, steps] = self.steps();
        ((rows * steps * T::PLANES) | 1) * LINE
    }

    /// Bytes of what is written for a group.
    fn written(&self) -> usize {
        let Shape { kernel, channels, stride } = self.shape;
        if self.has_strips() {
            kernel[0] * ((ROWS - 1) * stride + kernel[1]) * channels / T::STEP * T::PLANES * LINE
        } else {
            ROWS * self.pitch()
        }
    }

    /// Groups of a block.
    fn groups(&self) -> usize {
        (NEAR / self.written()).clamp(LEAST, MOST)
    }

    /// Floats of scratch for each thread: sums, the values of a window, and what is written for a block.
    fn room(&self) -> [usize; 3] {
        let [rows, depth] = self.rows();
        let flat = (rows * depth).next_multiple_of(T::STEP) + T::STEP;
        [T::ORDERS * SUMS, flat, self.groups() * self.written() / size_of::<f32>()]
    }

    /// Floats of scratch that [`Packed::run`] wants for `threads`.
    pub fn scratch_len(&self, threads: usize) -> usize {
        // what it takes to begin at a cache line
        threads * self.room().iter().sum::<usize>() + LINE / size_of::<f32>()
    }

    /// What [`matmul::Packed::run`](super::super::matmul::Packed::run) computes, for whole pictures of `map` (height, width) positions each.
    ///
    /// `scratch` may hold anything. Panics when a place lies outside its slice, when the scratch is shorter than [`Packed::scratch_len`], when the
    /// positions are not whole pictures or not where their shape says, or when several threads would write one output.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        threads: usize,
        places: &Places,
        map: [usize; 2],
        input: &[T::V],
        added: &[T::V],
        activation: Option<Activation>,
        output: &mut [T::V],
        scratch: &mut [f32],
    ) {
        if places.outs.is_empty() {
            return;
        }
        let [rows, depth] = self.rows();
        let span = (rows - 1) * places.row + depth;
        places.check(threads, self.filters, span, [input.len(), added.len(), output.len()]);
        assert!(scratch.len() >= self.scratch_len(threads), "the scratch is too short");
        let windows = Windows::of(self, places, map, input);
        let start = scratch.as_ptr().align_offset(LINE);
        let output = output.as_mut_ptr();
        let (adds, added) = places.adds.read(added, places.outs, output);
        let scratch = scratch[start..].as_mut_ptr();
        let work =
            Work { packed: self, windows, outs: places.outs, adds, added, output, scratch, limits: limits(activation) };
        share::share(threads, |i| {
            // all of it: a closure takes what it names by field
            let work = &work;
            let part = work.windows.part(i, threads, self.filters);
            // SAFETY: tiles are available; every window, output and addend lies within its slice, as asserted; output and scratch are borrowed
            // alone, no two parts write one value of the output, and each has a room of its own.
            unsafe { blocks(work, part, work.scratch.add(i * self.room().iter().sum::<usize>())) }
        });
    }
}

/// What a run works on.
struct Work<'a, T: Values> {
    packed: &'a Packed<T>,
    windows: Windows<'a, T>,
    outs: &'a [u32],
    /// Where the values to add lie, of `added`, which may be the output.
    adds: Option<&'a [u32]>,
    added: *const T::V,
    output: *mut T::V,
    scratch: *mut f32,
    limits: [f32; 2],
}

// SAFETY: what is only read nobody writes; what is written, and what is added where it lies, is divided among the threads, see `run`.
unsafe impl<T: Values> Sync for Work<'_, T> {}

/// Block after block of positions; in a block panel after panel of filters; in a panel two groups at a time.
///
/// # Safety
/// Tiles are available; all that `work` points to is there, nobody else writes what the part does, and the room is its own.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512bf16")]
unsafe fn blocks<T: Values>(work: &Work<T>, Part { positions, filters }: Part, room: *mut f32) {
    let packed = work.packed;
    let [sums, flat, _] = packed.room();
    // SAFETY: as the caller's; the room holds sums, a window, and what is written for a block.
    unsafe {
        let (flat, written) = (room.add(sums), room.add(sums + flat).cast::<u8>());
        configure();
        let mut at = positions.start;
        while at < positions.end {
            let (mut groups, mut n) = ([Group::NONE; MOST], 0);
            while at < positions.end && n < packed.groups() {
                groups[n] = work.windows.group(&mut at, positions.end, flat.cast(), written.add(n * packed.written()));
                n += 1;
            }
            for first in filters.clone().step_by(PANEL) {
                for pair in groups[..n].chunks(2) {
                    pair.iter().for_each(|group| ask(work, group, first));
                    // a group alone is computed twice and written once
                    multiply(packed, first, [&pair[0], &pair[pair.len() - 1]], room);
                    give(work, &pair[0], first, room);
                    if let [_, group] = pair {
                        give(work, group, first, room.add(SUMS / 2));
                    }
                }
            }
        }
        release();
    }
}

/// Asks for the lines that the filters from `first` on of a group are read from and written to.
#[inline(always)]
fn ask<T: Values>(work: &Work<T>, group: &Group, first: usize) {
    let line = |at: *const T::V| {
        for line in 0..PANEL * size_of::<T::V>() / LINE {
            // SAFETY: a hint, which touches nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(line * LINE)) };
        }
    };
    for position in group.positions() {
        line(work.output.wrapping_add(work.outs[position] as usize + first));
        if let Some(adds) = work.adds {
            line(work.added.wrapping_add(adds[position] as usize + first));
        }
    }
}

/// The sums of two groups × the panel that begins with filter `first`, four tiles of each order one behind the other.
#[inline(always)]
unsafe fn multiply<T: Values>(packed: &Packed<T>, first: usize, [a, b]: [&Group; 2], sums: *mut f32) {
    let [lines, steps] = packed.steps();
    let weights = steps * T::PLANES * 2 * TILE;
    for order in 0..T::ORDERS {
        // SAFETY: as the caller's.
        unsafe {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
            let panel = packed.values.as_ptr().cast::<u8>().add(first / PANEL * lines * weights);
            for y in 0..lines {
                let from = [a.from.add(y * a.row), b.from.add(y * b.row)];
                T::multiply(order, from, [a.pitch, b.pitch], panel.add(y * weights), steps);
            }
            asm!(
                "tilestored [{to} + {line}*1], tmm0",
                "tilestored [{to} + {line}*1 + 1024], tmm1",
                "tilestored [{to} + {line}*1 + 2048], tmm2",
                "tilestored [{to} + {line}*1 + 3072], tmm3",
                to = in(reg) sums.add(order * SUMS), line = in(reg) LINE, options(nostack),
            );
        }
    }
}

/// Bias, addend and activation of a group's sums, two tiles one behind the other, and writes them.
#[inline(always)]
unsafe fn give<T: Values>(work: &Work<T>, group: &Group, first: usize, sums: *const f32) {
    let Work { packed, outs, adds, added, output, limits, .. } = *work;
    let n = PANEL.min(packed.filters - first);
    // SAFETY: as the caller's: `n` values can be read and written at each place, a panel of biases is there.
    unsafe {
        let (low, high) = (_mm512_set1_ps(limits[0]), _mm512_set1_ps(limits[1]));
        let (bias, units) = (packed.bias.as_ptr().add(first), packed.units.as_ptr().add(first));
        let bias = [_mm512_load_ps(bias), _mm512_load_ps(bias.add(ROWS))];
        let units = [_mm512_load_ps(units), _mm512_load_ps(units.add(ROWS))];
        let (mut rows, mut position) = (group.rows, group.first);
        while rows != 0 {
            let row = rows.trailing_zeros() as usize;
            let from = sums.add(row * ROWS);
            let mut v = [
                T::sums(from, SUMS, group.units[row], units[0], bias[0]),
                T::sums(from.add(ROWS * ROWS), SUMS, group.units[row], units[1], bias[1]),
            ];
            if let Some(adds) = adds {
                let more = T::load(added.add(*adds.get_unchecked(position) as usize + first), n);
                v = [_mm512_add_ps(v[0], more[0]), _mm512_add_ps(v[1], more[1])];
            }
            // in this order a NaN stays one
            v = [_mm512_max_ps(low, v[0]), _mm512_max_ps(low, v[1])];
            v = [_mm512_min_ps(high, v[0]), _mm512_min_ps(high, v[1])];
            T::store(output.add(*outs.get_unchecked(position) as usize + first), n, v);
            rows &= rows - 1;
            position += 1;
        }
    }
}
