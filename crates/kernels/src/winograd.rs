//! Convolutions of 3 × 3 with stride 1 by Winograd's F(6 × 6, 3 × 3) and F(4 × 4, 3 × 3): 64 multiplications for 36
//! outputs instead of 324, or 36 for 16 instead of 144.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015). The output is divided into tiles. For a
//! block of them there are three phases: the inputs of a tile are transformed, channel by channel, to their values at
//! as many points; at each point, tiles × channels are multiplied by channels × filters; the sums of a tile and a
//! filter are transformed back to its outputs. The weights are transformed once, when they are packed. The bits of a
//! tile depend on its own inputs only, never on how many tiles or pictures are computed together.

mod gemm;
mod phases;
#[cfg(test)]
mod tests;
mod tiling;
mod transform;

pub use self::tiling::{BatchLayout, WinogradLayout};

use self::gemm::TileBlock;
use self::phases::compute_part;
use self::tiling::{SortedTiles, Tiling};
use self::transform::HALF_VECTORS;
use super::activation::Function;
use super::aligned::{Aligned, LINE};
use super::parallel;
use super::residual::Residual;
use super::simd::{Isa, Simd, SimdKernel};
use crate::{Activation, clamp_bounds};
use std::ops::Range;

/// A convolution of 3 × 3 with its weights transformed and packed for an instruction set.
#[derive(Clone, Debug)]
pub struct WinogradConv {
    isa: Isa,
    tile: TileSize,
    filters: usize,
    channels: usize,
    /// (points, panels, channels, filters of a panel): a panel is two vectors of filters; behind the last filter it is
    /// zero.
    weights: Aligned,
    /// (filters), zero behind the last one to the end of its panel.
    bias: Aligned,
}

/// The outputs of a tile along each side: F(4 × 4, 3 × 3) or F(6 × 6, 3 × 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileSize {
    Four,
    Six,
}

impl TileSize {
    /// Returns the tile for a convolution of `channels` by `filters` whose output has `size` (height, width); none
    /// where the direct convolution is faster.
    ///
    /// The choice depends on the shape alone, never on the number of pictures, so that the bits of a picture do not
    /// either. The limits are measured, with one to eight pictures.
    pub fn choose(channels: usize, filters: usize, size: [usize; 2]) -> Option<Self> {
        // With few channels, or few tiles for each weight, the transforms take longer than they save.
        let area = size[0] * size[1];
        if channels.min(filters) < 16 || size[0].min(size[1]) < 4 || area < 25 {
            return None;
        }
        let products = |tile: TileSize| size.iter().map(|&n| tile.points_along(n)).product::<usize>();
        // Tiles of six read 64 weights where tiles of four read 36.
        let has_few_tiles = area < 100 && channels * filters > 64 * 64;
        // Tiles of six save at most a sixth of the time of a layer with few channels, which are a small part of a
        // network, and round four times as much. Such layers stand first, and those behind enlarge their errors.
        let has_few_channels = channels < 64;
        let six = !has_few_channels && !has_few_tiles && products(TileSize::Six) * 10 < products(TileSize::Four) * 9;
        Some(if six { TileSize::Six } else { TileSize::Four })
    }

    /// Returns the number of points that the tiles along a side of `n` outputs take.
    fn points_along(self, n: usize) -> usize {
        let (whole, rest) = (n / self.outputs(), n % self.outputs());
        whole * (self.outputs() + 2) + if rest > 0 { 2 * rest.div_ceil(2) + 2 } else { 0 }
    }

    /// Returns the number of pairs of points along a side.
    fn pairs(self) -> usize {
        match self {
            TileSize::Four => 2,
            TileSize::Six => 3,
        }
    }

    /// Returns the number of rows, and of columns, of outputs.
    pub fn outputs(self) -> usize {
        2 * self.pairs()
    }

    /// Returns the number of points of the transform in both dimensions.
    fn points(self) -> usize {
        (self.outputs() + 2).pow(2)
    }
}

impl WinogradConv {
    /// Transforms and packs weights `(filters, channels, 3, 3)`, row-major, for the vectors of `isa`.
    ///
    /// Panics when there are not `bias.len() · channels · 9` weights.
    pub fn new(isa: Isa, tile: TileSize, weight: &[f32], bias: &[f32], channels: usize) -> Self {
        let (filters, panel) = (bias.len(), 2 * isa.lanes());
        let is_whole = channels > 0 && weight.len() == filters * channels * 9;
        assert!(is_whole, "weights are (filters, channels, 3, 3)");
        let padded = filters.next_multiple_of(panel);
        let mut weights = Aligned::zeros(tile.points() * padded * channels);
        let kernel = PackWeights { tile, panel, weight, filters, channels, weights: &mut weights };
        // SAFETY: the kernel has no demands.
        unsafe { isa.run(kernel) };
        let mut padded_bias = Aligned::zeros(padded);
        padded_bias[..filters].copy_from_slice(bias);
        Self { isa, tile, filters, channels, weights, bias: padded_bias }
    }

    /// Returns the floats of a tile after the first half of its transform: each thread has scratch for one.
    fn half_len(&self) -> usize {
        HALF_VECTORS * self.isa.lanes()
    }

    /// Returns the floats of scratch that [`WinogradConv::run`] needs for `threads`.
    pub fn scratch_len(&self, threads: usize, layout: &WinogradLayout) -> usize {
        if layout.is_empty() {
            return 0;
        }
        let block = self.first_block(layout);
        let tiles = self.tile.points() * (block.input_point_stride + block.sum_point_stride);
        // one cache line more, so that the scratch can begin at one
        threads * self.half_len() + tiles + LINE
    }

    /// Returns the first block of tiles; no other is larger.
    fn first_block(&self, layout: &WinogradLayout) -> TileBlock {
        // an odd number of cache lines from one to the next, so that neighbours do not compete for the same sets of the
        // cache
        let odd_lines = |n: usize| (n.div_ceil(LINE) | 1) * LINE;
        let input_tile_stride = odd_lines(self.channels);
        let sum_tile_stride = odd_lines(self.filters.next_multiple_of(2 * self.isa.lanes()));
        let all = layout.pictures * layout.tiling(self.tile).count();
        let tile_floats = self.tile.points() * (input_tile_stride + sum_tile_stride);
        let tiles = block_tiles(tile_floats, self.weights.len(), all);
        TileBlock {
            begin: 0,
            tiles,
            channels: self.channels,
            filters: self.filters,
            input_tile_stride,
            input_point_stride: odd_lines(tiles * input_tile_stride),
            sum_tile_stride,
            sum_point_stride: odd_lines(tiles * sum_tile_stride),
        }
    }

    /// Computes for every picture
    ///
    /// ```text
    /// output(y, x, f) = activation(bias[f] + Σ weight[f, c, i, j] · input(y + i, x + j, c) + residual(y, x, f))
    /// ```
    ///
    /// by `threads` threads of the pool that it is called on. For [`Residual::InPlace`] it adds to the output and does
    /// not read `residual`. The contents of `scratch` do not matter.
    ///
    /// Panics when a window, an output or a residual lies outside its slice, when the scratch is shorter than
    /// [`WinogradConv::scratch_len`], or when outputs overlap that several threads would write.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        threads: usize,
        layout: &WinogradLayout,
        input: &[f32],
        residual: &[f32],
        activation: Option<Activation>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        if layout.is_empty() || self.filters == 0 {
            return;
        }
        let (pictures, size) = (layout.pictures, layout.size);
        let read = size.map(|n| n + 2);
        assert!(layout.input.fits(pictures, read, self.channels, input.len()), "a window lies outside the input");
        assert!(layout.output.fits(pictures, size, self.filters, output.len()), "a position lies outside the output");
        if let Residual::At(at) = &layout.residual {
            let fits = at.fits(pictures, size, self.filters, residual.len());
            assert!(fits, "a position lies outside the residual");
        }
        assert!(scratch.len() >= self.scratch_len(threads, layout), "the scratch is too short");
        if threads > 1 {
            let is_disjoint = layout.output.is_disjoint(pictures, size, self.filters);
            assert!(is_disjoint, "several threads would write one output");
        }
        let aligned = scratch.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        let output = output.as_mut_ptr();
        let (residual_layout, residual) = layout.residual.source(residual, layout.output, output);
        let args = RunArgs {
            conv: self,
            layout,
            input: input.as_ptr(),
            residual_layout,
            residual,
            clamp: clamp_bounds(activation),
            function: Function::of(self.isa, activation),
            output,
            halves: scratch[aligned..].as_mut_ptr(),
            transformed: scratch[aligned + threads * self.half_len()..].as_mut_ptr(),
        };
        let tiling = layout.tiling(self.tile);
        let all = pictures * tiling.count();
        let largest = self.first_block(layout);
        for begin in (0..all).step_by(largest.tiles) {
            let block = TileBlock { begin, tiles: largest.tiles.min(all - begin), ..largest };
            let tiles = tiling.sorted(&block);
            for phase in [Phase::TransformInputs, Phase::Multiply, Phase::TransformOutputs] {
                let n = if phase == Phase::Multiply { self.tile.points() } else { tiles.tiles.len() };
                parallel::run_parts(threads.min(n), &args, |args, thread| {
                    let range = parallel::split(n, thread, threads.min(n));
                    let part = PhasePart { args, block: &block, tiling, tiles: &tiles, phase, range, thread };
                    // SAFETY: maps and scratch lie within their slices, as asserted; output and scratch are borrowed
                    // mutably; in a phase each thread writes other tiles or points, and a half-transformed tile of its
                    // own.
                    unsafe { self.isa.run(part) }
                });
            }
        }
    }
}

/// Transforms and packs the weights `(filters, channels, 3, 3)` of a convolution.
struct PackWeights<'a> {
    tile: TileSize,
    /// Filters of a panel.
    panel: usize,
    weight: &'a [f32],
    filters: usize,
    channels: usize,
    weights: &'a mut [f32],
}

impl SimdKernel for PackWeights<'_> {
    type Output = ();

    /// Plain loops, which the compiler vectorises.
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { tile, panel, weight, filters, channels, weights } = self;
        let point_stride = filters.next_multiple_of(panel) * channels;
        for first in (0..filters).step_by(transform::KERNELS) {
            let n = transform::KERNELS.min(filters - first);
            for c in 0..channels {
                let mut kernels = [[0.0; transform::KERNELS]; 9];
                for f in 0..n {
                    let kernel = &weight[((first + f) * channels + c) * 9..][..9];
                    kernels.iter_mut().zip(kernel).for_each(|(to, &w)| to[f] = f64::from(w));
                }
                // On some instruction sets a panel has fewer filters than `KERNELS`.
                let at = |f: usize| (first + f) / panel * panel * channels + c * panel + (first + f) % panel;
                transform::transform_kernels(tile.pairs(), &kernels, |point, values| {
                    for f in (0..n).step_by(panel) {
                        let values = &values[f..n.min(f + panel)];
                        weights[point * point_stride + at(f)..][..values.len()].copy_from_slice(values);
                    }
                });
            }
        }
    }
}

/// Returns the number of tiles in a block, of `all`, where a tile takes `tile` floats of the scratch: as many as stay
/// in the second-level cache, but enough to use each of `weights` several times, and more often if the weights are
/// larger than 8 MiB.
fn block_tiles(tile: usize, weights: usize, all: usize) -> usize {
    const NEAR: usize = (700 << 10) / size_of::<f32>();
    const FAR: usize = (8 << 20) / size_of::<f32>();
    let enough = if weights > FAR { 42 } else { 14 };
    let most = (NEAR / tile).max(enough);
    all.div_ceil(all.div_ceil(most))
}

/// The arguments of a run, which its threads share. [`BatchLayout::fits`] has accepted the layouts for the slices
/// behind the pointers, and the scratch is as long as [`WinogradConv::scratch_len`] says.
struct RunArgs<'a> {
    conv: &'a WinogradConv,
    layout: &'a WinogradLayout,
    input: *const f32,
    /// How the residual lies in `residual`, which may be the output.
    residual_layout: Option<BatchLayout>,
    residual: *const f32,
    clamp: [f32; 2],
    function: Option<Function<Isa>>,
    output: *mut f32,
    /// A half-transformed tile for each thread, one behind the other.
    halves: *mut f32,
    /// The transformed inputs and, behind them, the sums of a block.
    transformed: *mut f32,
}

// SAFETY: in a phase each thread writes its own tiles or points and its own half-transformed tile alone, and a residual
// in place is read by the thread that overwrites it; the rest is only read.
unsafe impl Sync for RunArgs<'_> {}

/// The three phases of a block; each begins when the one before is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    TransformInputs,
    Multiply,
    TransformOutputs,
}

/// The part of a phase that one thread computes: a range of tiles, or of points for [`Phase::Multiply`].
///
/// `args` must be as [`RunArgs`] says; nobody else may access the outputs of the range, nor the half-transformed tile
/// of `thread`; the phases before must be done.
struct PhasePart<'a> {
    args: &'a RunArgs<'a>,
    block: &'a TileBlock,
    tiling: Tiling,
    tiles: &'a SortedTiles,
    phase: Phase,
    range: Range<usize>,
    thread: usize,
}

impl SimdKernel for PhasePart<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller of `SimdKernel::run` checked the instruction set, and the arguments are as `PhasePart`
        // demands.
        unsafe {
            match self.args.conv.tile {
                TileSize::Four => compute_part::<S, 2>(self),
                TileSize::Six => compute_part::<S, 3>(self),
            }
        }
    }
}
