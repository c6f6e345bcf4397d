//! Convolutions of 3 × 3 with stride 1 by Winograd's F(6 × 6, 3 × 3) and F(4 × 4, 3 × 3): 64 products for 36 outputs instead of 324, or 36 for 16
//! instead of 144.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015). The output is cut into tiles. The inputs that a tile sees are
//! transformed, channel by channel, to as many places; at each place tiles × channels are multiplied by channels × filters; the sums of a tile
//! and a filter are transformed back to its outputs. The weights are transformed once. A tile's bits depend on its own inputs only, never on
//! how many tiles or pictures are computed together.

mod cut;
mod product;
#[cfg(test)]
mod tests;
mod transform;

pub use self::cut::{Grid, Places};

use self::cut::{Cut, Spot};
use self::product::Block;
use self::transform::{HALF, MOST_OUT, Window};
use super::added::Added;
use super::aligned::{Aligned, LINE};
use super::share;
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Isa, Portable, Simd};
use crate::Activation;
use std::ops::Range;

/// Transformed weights, in the order in which the kernel reads them: for each place panels of two vectors of filters; in a panel, for each
/// channel, one weight for each of its filters, zeros behind the last.
#[derive(Clone, Debug)]
pub struct Packed {
    isa: Isa,
    tile: Tile,
    filters: usize,
    c: usize,
    values: Aligned,
    /// A bias a filter, zeros behind the last.
    bias: Aligned,
}

/// Outputs of a tile, in each dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tile {
    Four,
    Six,
}

impl Tile {
    /// The tile for a convolution of `c` channels by `filters` whose output has `size` (height, width); none where the direct convolution is
    /// faster.
    ///
    /// Depends on the shape alone, never on how many pictures are there, so that the bits of a picture do not either. The limits are
    /// measured, with one to eight pictures.
    pub fn choose(c: usize, filters: usize, size: [usize; 2]) -> Option<Self> {
        // the transforms take longer than they save when few channels share them, or few tiles the weights
        let area = size[0] * size[1];
        if c.min(filters) < 16 || size[0].min(size[1]) < 4 || area < 25 {
            return None;
        }
        let products = |tile: Tile| size.iter().map(|&n| tile.points(n)).product::<usize>();
        // tiles of six have 64 weights to read for the 36 of tiles of four
        let few = area < 100 && c * filters > 64 * 64;
        let six = !few && products(Tile::Six) * 10 < products(Tile::Four) * 9;
        Some(if six { Tile::Six } else { Tile::Four })
    }

    /// Points taken by the tiles along a side of `n` outputs.
    fn points(self, n: usize) -> usize {
        let (whole, rest) = (n / self.outputs(), n % self.outputs());
        whole * (self.outputs() + 2) + if rest > 0 { 2 * rest.div_ceil(2) + 2 } else { 0 }
    }

    fn pairs(self) -> usize {
        match self {
            Tile::Four => 2,
            Tile::Six => 3,
        }
    }

    /// Rows, and columns, of the output that a tile gives.
    pub fn outputs(self) -> usize {
        2 * self.pairs()
    }

    fn places(self) -> usize {
        (self.outputs() + 2).pow(2)
    }
}

impl Packed {
    /// Transforms and packs weights `(filters, c, 3, 3)`, row-major, for the vectors of `isa`.
    ///
    /// Panics when there are not `bias.len() · c · 9` weights.
    pub fn new(isa: Isa, tile: Tile, weight: &[f32], bias: &[f32], c: usize) -> Self {
        let (filters, panel) = (bias.len(), 2 * isa.lanes());
        assert!(c > 0 && weight.len() == filters * c * 9, "weights are (filters, c, 3, 3)");
        let padded = filters.next_multiple_of(panel);
        let mut values = Aligned::zeros(tile.places() * padded * c);
        // the filters of a panel innermost: they share the cache lines that are written
        for first in (0..filters).step_by(panel) {
            for k in 0..c {
                for f in first..filters.min(first + panel) {
                    let at = first * c + k * panel + f - first;
                    let kernel = &weight[(f * c + k) * 9..][..9];
                    transform::weight(tile.pairs(), kernel, |place, w| values[place * padded * c + at] = w);
                }
            }
        }
        let mut padded_bias = Aligned::zeros(padded);
        padded_bias[..filters].copy_from_slice(bias);
        Self { isa, tile, filters, c, values, bias: padded_bias }
    }

    /// Number of filters.
    pub fn filters(&self) -> usize {
        self.filters
    }

    /// Floats of scratch that [`Packed::run`] wants for `threads`.
    pub fn scratch_len(&self, threads: usize, places: &Places) -> usize {
        if places.is_empty() {
            return 0;
        }
        let block = self.block(places);
        // what it takes to begin at a cache line
        threads * HALF * self.isa.lanes() + self.tile.places() * (block.input_place + block.sum_place) + LINE
    }

    /// The first block of tiles; no other is larger.
    fn block(&self, places: &Places) -> Block {
        // an odd number of cache lines from one to the next, so that neighbours do not compete for the same sets of the cache
        let odd = |n: usize| (n.div_ceil(LINE) | 1) * LINE;
        let (input_tile, sum_tile) = (odd(self.c), odd(self.filters.next_multiple_of(2 * self.isa.lanes())));
        let all = places.pictures * places.cut(self.tile).count();
        let tiles = block_tiles(self.tile.places() * (input_tile + sum_tile), self.values.len(), all);
        let (input_place, sum_place) = (odd(tiles * input_tile), odd(tiles * sum_tile));
        let (c, filters) = (self.c, self.filters);
        Block { begin: 0, tiles, c, filters, input_tile, input_place, sum_tile, sum_place }
    }

    /// `output(y, x, f) = activation(bias[f] + Σ weight[f, c, i, j] · input(y + i, x + j, c) + added(y, x, f))` for every picture, computed by
    /// `threads` of the pool that this is called on.
    ///
    /// `scratch` may hold anything. Panics when a place lies outside its slice, or when the scratch is shorter than [`Packed::scratch_len`].
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        threads: usize,
        places: &Places,
        input: &[f32],
        added: &[f32],
        activation: Option<Activation>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        if places.is_empty() || self.filters == 0 {
            return;
        }
        let (pictures, size) = (places.pictures, places.size);
        let read = size.map(|n| n + 2);
        assert!(places.input.within(pictures, read, self.c, input.len()), "a window lies outside the input");
        assert!(places.output.within(pictures, size, self.filters, output.len()), "a position lies outside the output");
        if let Added::At(grid) = &places.added {
            assert!(grid.within(pictures, size, self.filters, added.len()), "nothing to add");
        }
        assert!(scratch.len() >= self.scratch_len(threads, places), "the scratch is too short");
        if threads > 1 {
            assert!(places.output.apart(pictures, size, self.filters), "several threads would write one output");
        }
        let start = scratch.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        let output = output.as_mut_ptr();
        let (adds, added) = places.added.read(added, places.output, output);
        let work = Work {
            packed: self,
            places,
            input: input.as_ptr(),
            adds,
            added,
            limits: super::limits(activation),
            output,
            half: HALF * self.isa.lanes(),
            scratch: scratch[start..].as_mut_ptr(),
            tiles: scratch[start + threads * HALF * self.isa.lanes()..].as_mut_ptr(),
        };
        let cut = places.cut(self.tile);
        let all = pictures * cut.count();
        let largest = self.block(places);
        for begin in (0..all).step_by(largest.tiles) {
            let block = Block { begin, tiles: largest.tiles.min(all - begin), ..largest };
            let (spots, ends) = cut.spots(&block);
            let block = Cutout { block, cut, spots, ends };
            for phase in [Phase::Inputs, Phase::Products, Phase::Outputs] {
                let n = if phase == Phase::Products { self.tile.places() } else { block.spots.len() };
                share::share(threads.min(n), |thread| {
                    let part = Part { phase, of: share::range(n, thread, threads.min(n)), thread };
                    // SAFETY: the instruction set was detected; everything that is read or written lies within its slice, as asserted; output
                    // and scratch are borrowed alone, and in a phase every thread writes other tiles or places, and its own half of a
                    // transform.
                    unsafe { self.part(&work, &block, part) }
                });
            }
        }
    }

    /// # Safety
    /// The CPU has the instruction set; what `work` points to is there, and nobody else writes what the part does.
    unsafe fn part(&self, work: &Work, block: &Cutout, part: Part) {
        // SAFETY: as the caller's.
        unsafe {
            match self.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => run_avx512(work, block, part),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => run_avx2(work, block, part),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => of_tile::<Neon>(work, block, part),
                Isa::Portable => of_tile::<Portable>(work, block, part),
            }
        }
    }
}

/// Tiles in a block, of `all`, where a tile takes `tile` floats of the scratch: as many as stay near the core, but enough to use each of
/// `weights` a few times, the more the farther away they are.
fn block_tiles(tile: usize, weights: usize, all: usize) -> usize {
    const NEAR: usize = (700 << 10) / size_of::<f32>();
    const FAR: usize = (8 << 20) / size_of::<f32>();
    let enough = if weights > FAR { 42 } else { 14 };
    let most = (NEAR / tile).max(enough);
    all.div_ceil(all.div_ceil(most))
}

/// What a run works on.
struct Work<'a> {
    packed: &'a Packed,
    places: &'a Places,
    input: *const f32,
    /// Where the values to add lie, of `added`, which may be the output.
    adds: Option<Grid>,
    added: *const f32,
    limits: [f32; 2],
    output: *mut f32,
    /// Room for half a transform, `half` floats for each thread.
    half: usize,
    scratch: *mut f32,
    /// Inputs and sums of a block, one behind the other.
    tiles: *mut f32,
}

// SAFETY: what is only read nobody writes; what is written, and what is added where it lies, is divided among the threads, see `run`.
unsafe impl Sync for Work<'_> {}

/// A block and its tiles.
struct Cutout {
    block: Block,
    cut: Cut,
    spots: Vec<Spot>,
    ends: [usize; 4],
}

/// The three steps; each begins when the one before is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Inputs,
    Products,
    Outputs,
}

/// What a thread does of a step: some of the tiles, or of the places.
struct Part {
    phase: Phase,
    of: Range<usize>,
    thread: usize,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run_avx512(work: &Work, block: &Cutout, part: Part) {
    // SAFETY: as the caller's.
    unsafe { of_tile::<Avx512>(work, block, part) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2(work: &Work, block: &Cutout, part: Part) {
    // SAFETY: as the caller's.
    unsafe { of_tile::<Avx2>(work, block, part) }
}

#[inline(always)]
unsafe fn of_tile<S: Simd>(work: &Work, block: &Cutout, part: Part) {
    // SAFETY: as the caller's.
    unsafe {
        match work.packed.tile {
            Tile::Four => steps::<S, 2>(work, block, part),
            Tile::Six => steps::<S, 3>(work, block, part),
        }
    }
}

#[inline(always)]
unsafe fn steps<S: Simd, const F: usize>(work: &Work, block: &Cutout, Part { phase, of, thread }: Part) {
    let Cutout { block, cut, spots, ends } = block;
    let places = work.packed.tile.places();
    let weights = work.packed.values.len() / places;
    // SAFETY: as the caller's; inputs and sums lie one behind the other in the scratch.
    unsafe {
        let half = work.scratch.add(thread * work.half);
        let sums = work.tiles.add(places * block.input_place);
        match phase {
            Phase::Inputs => inputs::<S, F>(work, block, (spots, of), half, work.tiles),
            Phase::Products => {
                for place in of {
                    let weight = work.packed.values.as_ptr().add(place * weights);
                    let (from, to) = (work.tiles.add(place * block.input_place), sums.add(place * block.sum_place));
                    product::product::<S>(block, cut.part(*ends, place), weight, from, to);
                }
            }
            Phase::Outputs => outputs::<S, F>(work, block, (spots, of), half, sums),
        }
    }
}

/// Transforms the inputs of a block.
#[inline(always)]
unsafe fn inputs<S: Simd, const F: usize>(
    work: &Work,
    block: &Block,
    (spots, of): (&[Spot], Range<usize>),
    half: *mut f32,
    to: *mut f32,
) {
    let grid = &work.places.input;
    for i in of {
        let spot = &spots[i];
        let there = spot.there.map(|n| n + 2);
        let whole = [0, 1].iter().all(|&d| there[d] >= 2 * spot.pairs[d] + 2);
        for c in (0..block.c).step_by(S::W) {
            let lanes = S::W.min(block.c - c);
            // SAFETY: as the caller's: rows and columns that are there can be read, and the block has room for all its tiles.
            unsafe {
                let from = work.input.add(grid.at(spot) + c);
                let window = Window { from, row: grid.row, pixel: grid.pixel, pairs: spot.pairs, there };
                let to = to.add(i * block.input_tile + c);
                if whole && lanes == S::W {
                    transform::input::<S, F, true>(&window, lanes, half, to, block.input_place);
                } else {
                    transform::input::<S, F, false>(&window, lanes, half, to, block.input_place);
                }
            }
        }
    }
}

/// Transforms the sums of a block back and writes its outputs.
#[inline(always)]
unsafe fn outputs<S: Simd, const F: usize>(
    work: &Work,
    block: &Block,
    (spots, of): (&[Spot], Range<usize>),
    half: *mut f32,
    sums: *const f32,
) {
    for i in of {
        let spot = &spots[i];
        for f in (0..block.filters).step_by(S::W) {
            // SAFETY: as the caller's.
            unsafe {
                let from = sums.add(i * block.sum_tile + f);
                transform::output_columns::<S, F>(from, block.sum_place, spot.pairs, half);
                if f + S::W <= block.filters {
                    finish::<S, F, true>(work, spot, f, half);
                } else {
                    finish::<S, F, false>(work, spot, f, half);
                }
            }
        }
    }
}

/// The outputs of a tile for the vector of filters that begins at `f`: bias, addend, activation; `FULL` when all its lanes are filters.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn finish<S: Simd, const F: usize, const FULL: bool>(work: &Work, spot: &Spot, f: usize, half: *const f32) {
    let lanes = S::W.min(work.packed.filters - f);
    let grid = &work.places.output;
    // SAFETY: as the caller's: rows and columns that are there can be read and written.
    unsafe {
        let to = work.output.add(grid.at(spot) + f);
        let added = work.adds.map(|grid| (work.added.wrapping_add(grid.at(spot) + f), grid));
        let bias = S::load(work.packed.bias.as_ptr().add(f));
        let (low, high) = (S::splat(work.limits[0]), S::splat(work.limits[1]));
        for y in 0..spot.there[0] {
            let row = transform::output_row::<S, F>(half, y, spot.pairs[1]);
            for x in 0..MOST_OUT {
                if x >= spot.there[1] {
                    break;
                }
                let mut v = S::add(row[x], bias);
                if let Some((added, grid)) = added {
                    let added = added.add(y * grid.row + x * grid.pixel);
                    v = S::add(v, if FULL { S::load(added) } else { S::load_part(added, lanes) });
                }
                // in this order a NaN stays one
                let v = S::min(high, S::max(low, v));
                let to = to.add(y * grid.row + x * grid.pixel);
                if FULL {
                    S::store(to, v);
                } else {
                    S::store_part(to, lanes, v);
                }
            }
        }
    }
}
