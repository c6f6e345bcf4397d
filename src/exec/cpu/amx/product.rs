//! Convolutions as a product of tiles, see [`matmul`](super::super::matmul) for what is computed.
//!
//! A tile is 16 rows of 64 bytes as far apart as one likes. Maps of bf16 are read where they lie if the windows of neighbouring positions lie as
//! far apart as each other: what lies between two rows of the map is computed with them and not written. Other windows are written as lines side
//! by side first, once for all filters, zeros behind their end: what follows a window in memory may be no number.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use super::values::Values;
use super::{LINE, ROWS, TILE, configure, release};
use crate::exec::cpu::aligned::Aligned;
use crate::exec::cpu::limits;
use crate::exec::cpu::matmul::Places;
use crate::exec::cpu::share::{self, Part};
use crate::models::graph::Activation;

/// Filters of a panel: two tiles.
const PANEL: usize = 2 * ROWS;
/// Sums of an order of two groups × a panel: four tiles.
const SUMS: usize = 2 * ROWS * PANEL;
/// Bytes of the windows of a block: they stay in the second cache, beside the weights of a panel.
const NEAR: usize = 640 << 10;
/// The least and the most groups of positions in a block.
const LEAST: usize = 4;
const MOST: usize = 64;
/// Bytes of weights up to which they stay in the second cache from one block to the next.
const STAY: usize = 1 << 20;
/// Positions that are to share weights which do not stay.
const SHARE: usize = 256;
/// Bytes of sums that wait in the second cache.
const WAIT: usize = 768 << 10;

/// Weights as tiles: panels of two tiles of filters; in a panel, for each line of values of a window, the two tiles of every plane; zeros behind the
/// last filter and the last value.
#[derive(Clone, Debug)]
pub struct Packed<T> {
    filters: usize,
    /// Kernel rows, and values in each.
    rows: usize,
    depth: usize,
    values: Aligned,
    /// A bias a filter, zeros behind the last; and what its sums are multiplied by.
    bias: Aligned,
    units: Aligned,
    kind: std::marker::PhantomData<T>,
}

impl<T: Values> Packed<T> {
    /// Packs weights `(filters, rows, depth)`, row-major. Only where tiles are [`available`](super::available).
    ///
    /// Panics when there are not as many.
    pub fn new(weight: &[f32], bias: &[f32], rows: usize, depth: usize) -> Self {
        let (filters, window) = (bias.len(), rows * depth);
        assert!(window > 0 && weight.len() == filters * window, "weights are (filters, rows, depth)");
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
        Self { filters, rows, depth, values, bias: padded_bias, units, kind: std::marker::PhantomData }
    }

    /// Steps, lines of values, that lie one behind the other, and how many such rows.
    fn steps(&self) -> [usize; 2] {
        let Packed { rows, depth, .. } = *self;
        if depth.is_multiple_of(T::STEP) { [rows, depth / T::STEP] } else { [1, (rows * depth).div_ceil(T::STEP)] }
    }

    /// Steps whose windows are written at a time: all of them, or as many as [`SHARE`] positions have room for. Sums wait between them, and go on
    /// as if they had not.
    fn chunk(&self) -> usize {
        let [lines, steps] = self.steps();
        let all = lines * steps;
        if size_of_val(&self.values[..]) <= STAY || lines < self.rows {
            return all;
        }
        all.div_ceil(all.div_ceil(NEAR / (SHARE * T::PLANES * LINE)))
    }

    /// Bytes from one window to the next where they are written: an odd number of lines, so that those of a group do not compete for the same sets of
    /// the cache.
    fn pitch(&self) -> usize {
        (self.chunk() * T::PLANES | 1) * LINE
    }

    /// Groups of a block.
    fn groups(&self) -> usize {
        (NEAR / (ROWS * self.pitch())).clamp(LEAST, MOST)
    }

    /// Filters whose sums a block has room for.
    fn filters_at_once(&self) -> usize {
        let [lines, steps] = self.steps();
        let panel = self.groups().div_ceil(2) * T::ORDERS * SUMS * size_of::<f32>();
        if self.chunk() < lines * steps { (WAIT / panel).max(1) * PANEL } else { PANEL }
    }

    /// Floats of scratch for each thread: sums, the values of a window, and the windows that are written.
    fn room(&self) -> [usize; 3] {
        let pairs = if self.filters_at_once() > PANEL { self.groups().div_ceil(2) } else { 1 };
        let flat = (self.rows * self.depth).next_multiple_of(T::STEP) + T::STEP;
        let windows = self.groups() * ROWS * self.pitch() / size_of::<f32>();
        [pairs * self.filters_at_once() / PANEL * T::ORDERS * SUMS, flat, windows]
    }

    /// Floats of scratch that [`Packed::run`] wants for `threads`.
    pub fn scratch_len(&self, threads: usize) -> usize {
        // what it takes to begin at a cache line
        threads * self.room().iter().sum::<usize>() + LINE / size_of::<f32>()
    }

    /// What [`matmul::Packed::run`](super::super::matmul::Packed::run) computes.
    ///
    /// `scratch` may hold anything. Panics when a place lies outside its slice, when the scratch is shorter than [`Packed::scratch_len`], or when
    /// several threads would write one output.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        threads: usize,
        places: &Places,
        input: &[T::V],
        added: &[T::V],
        activation: Option<Activation>,
        output: &mut [T::V],
        scratch: &mut [f32],
    ) {
        let span = (self.rows - 1) * places.row + self.depth;
        places.check(threads, self.filters, span, [input.len(), added.len(), output.len()]);
        assert!(scratch.len() >= self.scratch_len(threads), "the scratch is too short");
        let start = scratch.as_ptr().align_offset(LINE);
        let output = output.as_mut_ptr();
        let (adds, added) = places.adds.read(added, places.outs, output);
        let scratch = scratch[start..].as_mut_ptr();
        let work = Work { packed: self, places, input, adds, added, output, scratch, limits: limits(activation), span };
        share::share(threads, |i| {
            // all of it: a closure takes what it names by field
            let work = &work;
            let part = Part::of(i, threads, [places.outs.len(), self.filters], [2 * ROWS, PANEL]);
            // SAFETY: tiles are available; every window, output and addend lies within its slice, as asserted; output and scratch are borrowed
            // alone, no two parts write one value of the output, and each has a room of its own.
            unsafe { blocks(work, part, work.scratch.add(i * self.room().iter().sum::<usize>())) }
        });
    }
}

/// What a run works on.
struct Work<'a, T: Values> {
    packed: &'a Packed<T>,
    places: &'a Places<'a>,
    input: &'a [T::V],
    /// Where the values to add lie, of `added`, which may be the output.
    adds: Option<&'a [u32]>,
    added: *const T::V,
    output: *mut T::V,
    scratch: *mut f32,
    limits: [f32; 2],
    /// Values from the first of a window to behind its last.
    span: usize,
}

// SAFETY: what is only read nobody writes; what is written, and what is added where it lies, is divided among the threads, see `run`.
unsafe impl<T: Values> Sync for Work<'_, T> {}

/// The windows of up to 16 positions, in order.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// Where step 0 of the windows lies, or would lie if it were written.
    from: *const u8,
    /// Bytes from one row of a tile to the next, and from one row of the kernel to the next.
    pitch: usize,
    row: usize,
    /// The first position, and which rows of the tile are those from there on.
    first: usize,
    rows: u16,
    /// Whether they lie in the map.
    in_place: bool,
    /// What the sums of each position are multiplied by.
    units: [f32; ROWS],
}

impl Group {
    const NONE: Self =
        Self { from: std::ptr::null(), pitch: 0, row: 0, first: 0, rows: 0, in_place: false, units: [1.0; ROWS] };

    fn positions(&self) -> Range<usize> {
        self.first..self.first + self.rows.count_ones() as usize
    }
}

impl<T: Values> Work<'_, T> {
    /// The windows from position `first` on, before `end`, where they lie; none if they are few or no whole lines.
    fn in_place(&self, first: usize, end: usize) -> Option<Group> {
        let depth = self.packed.depth;
        let (&base, rest) = self.places.starts[first..end].split_first()?;
        let step = rest.first()?.checked_sub(base).filter(|&step| step > 0)?;
        let reach = base as usize + (ROWS - 1) * step as usize + self.span;
        if !T::IN_PLACE || !depth.is_multiple_of(T::STEP) || reach > self.input.len() {
            return None;
        }
        let (mut rows, mut next) = (1u16, 1);
        for &start in rest {
            let Some(far) = start.checked_sub(base) else { break };
            let row = (far / step) as usize;
            if !far.is_multiple_of(step) || row >= ROWS || row < next {
                break;
            }
            rows |= 1 << row;
            next = row + 1;
        }
        let enough = rows.count_ones() as usize >= ROWS * 3 / 4;
        let from = self.input[base as usize..].as_ptr().cast();
        let bytes = |values: usize| values * size_of::<T::V>();
        let (pitch, row) = (bytes(step as usize), bytes(self.places.row));
        enough.then_some(Group { from, pitch, row, first, rows, in_place: true, ..Group::NONE })
    }

    /// The windows from position `first` on, before `end`, to be written.
    ///
    /// # Safety
    /// The CPU has the instructions; the windows lie within the input.
    #[inline(always)]
    unsafe fn to_write(&self, first: usize, end: usize) -> Group {
        let rows = ((1u32 << ROWS.min(end - first)) - 1) as u16;
        let row = self.packed.steps()[1] * T::PLANES * LINE;
        let mut group = Group { pitch: self.packed.pitch(), row, first, rows, ..Group::NONE };
        for (unit, &start) in group.units.iter_mut().zip(&self.places.starts[group.first..end]) {
            let mut largest = 0;
            for y in 0..self.packed.rows {
                let from = self.input.as_ptr().wrapping_add(start as usize + y * self.places.row);
                // SAFETY: as the caller's.
                largest = unsafe { T::largest(from, self.packed.depth, largest) };
            }
            *unit = T::unit(largest);
        }
        group
    }

    /// Writes the steps `chunk` of a group's windows to `to`.
    ///
    /// # Safety
    /// The CPU has the instructions; there is room for 16 windows at `to` and for the values of one at `flat`; the windows lie within the input.
    #[inline(always)]
    unsafe fn write(&self, group: &mut Group, chunk: Range<usize>, flat: *mut T::V, to: *mut u8) {
        let Packed { rows, depth, .. } = *self.packed;
        let [lines, steps] = self.packed.steps();
        let step = T::PLANES * LINE;
        for (i, &start) in self.places.starts[group.positions()].iter().enumerate() {
            let unit = group.units[i];
            // SAFETY: as the caller's.
            unsafe {
                let (from, to) = (self.input.as_ptr().add(start as usize), to.add(i * group.pitch));
                if lines < rows {
                    (0..rows).for_each(|y| T::copy(from.add(y * self.places.row), depth, flat.add(y * depth)));
                    T::lines(flat, rows * depth, unit, to);
                    continue;
                }
                let mut at = chunk.start;
                while at < chunk.end {
                    let (y, first) = (at / steps, at % steps);
                    let n = (steps - first).min(chunk.end - at);
                    let values = (n * T::STEP).min(depth - first * T::STEP);
                    let from = from.add(y * self.places.row + first * T::STEP);
                    T::lines(from, values, unit, to.add((at - chunk.start) * step));
                    at += n;
                }
            }
        }
        group.from = to.wrapping_sub(chunk.start * step);
    }

    /// Asks for the lines that the filters from `first` on of a group are read from and written to.
    #[inline(always)]
    fn ask(&self, group: &Group, first: usize) {
        for position in group.positions() {
            let at = self.output.wrapping_add(self.places.outs[position] as usize + first);
            ask(at.cast_const());
            if let Some(adds) = self.adds {
                ask(self.added.wrapping_add(adds[position] as usize + first));
            }
        }
    }
}

/// Asks for the lines of a panel's values.
#[inline(always)]
fn ask<V>(at: *const V) {
    let mut line = at.cast::<i8>();
    for _ in 0..PANEL * size_of::<V>() / LINE {
        // SAFETY: a hint, which touches nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
        line = line.wrapping_add(LINE);
    }
}

/// Block after block of positions; in a block chunk after chunk of windows, if not all at once; then panel after panel of filters; in a panel two
/// groups at a time.
///
/// # Safety
/// Tiles are available; all that `work` points to is there, nobody else writes what the part does, and the room is its own.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512bf16")]
unsafe fn blocks<T: Values>(work: &Work<T>, Part { positions, filters }: Part, room: *mut f32) {
    let packed = work.packed;
    let [lines, steps] = packed.steps();
    let (all, chunk) = (lines * steps, packed.chunk());
    // where sums wait, all at once for some filters; else one panel after the other for all of them
    let slab = if chunk < all { packed.filters_at_once() } else { filters.len().max(1) };
    let [sums, flat, _] = packed.room();
    // SAFETY: as the caller's; the room holds sums, a window, and the windows of a block.
    unsafe {
        let (flat, windows) = (room.add(sums), room.add(sums + flat).cast::<u8>());
        configure();
        let mut at = positions.start;
        while at < positions.end {
            let (mut groups, mut n) = ([Group::NONE; MOST], 0);
            while at < positions.end && n < packed.groups() {
                let group = work.in_place(at, positions.end);
                groups[n] = match group {
                    Some(group) => group,
                    None => work.to_write(at, positions.end),
                };
                at = groups[n].positions().end;
                n += 1;
            }
            for slab in filters.clone().step_by(slab).map(|first| first..filters.end.min(first + slab)) {
                for begin in (0..all).step_by(chunk) {
                    let chunk = begin..all.min(begin + chunk);
                    for (i, group) in groups[..n].iter_mut().enumerate().filter(|(_, group)| !group.in_place) {
                        work.write(group, chunk.clone(), flat.cast(), windows.add(i * ROWS * packed.pitch()));
                    }
                    for first in slab.clone().step_by(PANEL) {
                        for (i, pair) in groups[..n].chunks(2).enumerate() {
                            // a group alone is computed twice and written once
                            let two = [&pair[0], &pair[pair.len() - 1]];
                            let waits = (first - slab.start) / PANEL * n.div_ceil(2) + i;
                            let sums = if chunk.len() < all { room.add(waits * T::ORDERS * SUMS) } else { room };
                            if chunk.end == all {
                                pair.iter().for_each(|group| work.ask(group, first));
                            }
                            multiply(packed, first, two, chunk.clone(), sums);
                            if chunk.end == all {
                                give(work, &pair[0], first, sums);
                                if let [_, group] = pair {
                                    give(work, group, first, sums.add(SUMS / 2));
                                }
                            }
                        }
                    }
                }
            }
        }
        release();
    }
}

/// Adds the steps `chunk` to the sums of two groups × the panel that begins with filter `first`, four tiles of each order one behind the other, or begins them.
#[inline(always)]
unsafe fn multiply<T: Values>(
    packed: &Packed<T>,
    first: usize,
    [a, b]: [&Group; 2],
    chunk: Range<usize>,
    sums: *mut f32,
) {
    let [lines, steps] = packed.steps();
    let (step, weights) = (T::PLANES * LINE, 2 * T::PLANES * TILE);
    for order in 0..T::ORDERS {
        // SAFETY: as the caller's.
        unsafe {
            let sums = sums.add(order * SUMS);
            if chunk.start == 0 {
                asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
            } else {
                asm!(
                    "tileloadd tmm0, [{from} + {line}*1]",
                    "tileloadd tmm1, [{from} + {line}*1 + 1024]",
                    "tileloadd tmm2, [{from} + {line}*1 + 2048]",
                    "tileloadd tmm3, [{from} + {line}*1 + 3072]",
                    from = in(reg) sums, line = in(reg) LINE, options(nostack, readonly),
                );
            }
            let panel = packed.values.as_ptr().cast::<u8>().add(first / PANEL * lines * steps * weights);
            let mut at = chunk.start;
            while at < chunk.end {
                let (y, before) = (at / steps, at % steps);
                let n = (steps - before).min(chunk.end - at);
                let from = |group: &Group| group.from.wrapping_add(y * group.row + before * step);
                T::multiply(order, [from(a), from(b)], [a.pitch, b.pitch], panel.add(at * weights), n);
                at += n;
            }
            asm!(
                "tilestored [{to} + {line}*1], tmm0",
                "tilestored [{to} + {line}*1 + 1024], tmm1",
                "tilestored [{to} + {line}*1 + 2048], tmm2",
                "tilestored [{to} + {line}*1 + 3072], tmm3",
                to = in(reg) sums, line = in(reg) LINE, options(nostack),
            );
        }
    }
}

/// Bias, addend and activation of a group's sums, two tiles one behind the other, and writes them.
#[inline(always)]
unsafe fn give<T: Values>(work: &Work<T>, group: &Group, first: usize, sums: *const f32) {
    let Work { packed, places, adds, added, output, limits, .. } = *work;
    let n = PANEL.min(packed.filters - first);
    // SAFETY: as the caller's: `n` values can be read and written at each place, a panel of biases is there.
    unsafe {
        let (low, high) = (_mm512_set1_ps(limits[0]), _mm512_set1_ps(limits[1]));
        let (bias, units) = (packed.bias.as_ptr().add(first), packed.units.as_ptr().add(first));
        let bias = [_mm512_load_ps(bias), _mm512_load_ps(bias.add(ROWS))];
        let (mut rows, mut position) = (group.rows, group.first);
        while rows != 0 {
            let row = rows.trailing_zeros() as usize;
            let unit = group.units[row];
            let mut v = T::sums(sums.add(row * ROWS), ROWS * ROWS, SUMS, unit, units);
            v = [_mm512_add_ps(v[0], bias[0]), _mm512_add_ps(v[1], bias[1])];
            if let Some(adds) = adds {
                let more = T::load(added.add(*adds.get_unchecked(position) as usize + first), n);
                v = [_mm512_add_ps(v[0], more[0]), _mm512_add_ps(v[1], more[1])];
            }
            // in this order a NaN stays one
            v = [_mm512_max_ps(low, v[0]), _mm512_max_ps(low, v[1])];
            v = [_mm512_min_ps(high, v[0]), _mm512_min_ps(high, v[1])];
            T::store(output.add(*places.outs.get_unchecked(position) as usize + first), n, v);
            rows &= rows - 1;
            position += 1;
        }
    }
}
