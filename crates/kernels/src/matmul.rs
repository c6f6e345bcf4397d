//! The direct convolution: an implicit GEMM, a matrix product of windows × filters that never builds the matrix of
//! windows (no im2col).
//!
//! Maps are stored channels last. The values that one row of the kernel sees at an output position then lie side by
//! side, kernel width × channels of them, and the rows of the kernel are one row of the padded map apart: position p,
//! kernel row y, value i is at `window_starts[p] + y · row_stride + i`. The product is Σ over (y, i) of a broadcast
//! input times a vector of packed weights. A 1 × 1 convolution and a dense layer are products with a kernel of one row.
//! (XNNPACK's indirect convolution reads its windows through such offsets.) In a grouped convolution each group is a
//! product of its own; the channels of the other groups lie between the columns of its windows, see [`Columns`].
//!
//! The loops are those of BLIS and oneDNN: blocks of positions whose inputs stay in the second-level cache; in a block,
//! panels of filters whose weights stay in the first-level cache; in a panel, tiles of `Simd::TILE_ROWS` positions ×
//! two vectors of filters, whose sums the micro-kernel keeps in registers. The micro-kernel prefetches its weights, and
//! each tile a share of those of the next panel, which otherwise come late from memory. k is not blocked: the sum of a
//! position runs in one fixed order, so its bits do not depend on the positions around it. (On a Xeon with 48 KB of
//! first-level and 2 MB of second-level cache, neither blocks of k nor packed inputs made ViT-B's products faster.)

mod kernel;

use std::ops::Range;

use self::kernel::tile;
pub(crate) use self::kernel::{Panel, TileRows};
use super::activation::Function;
use super::aligned::{Aligned, LINE};
use super::elements::Element;
use super::parallel::{self, GemmRange, split};
use super::residual::Residual;
use super::simd::{Isa, Simd, SimdKernel, WeightsAhead};
use crate::{Activation, clamp_bounds};

/// A direct convolution with its weights packed for an instruction set.
#[derive(Clone, Debug)]
pub struct DirectConv {
    isa: Isa,
    filters: usize,
    /// Rows of the kernel.
    kernel_rows: usize,
    columns: Columns,
    /// Values in a row of the kernel, its width × channels, or in one of its columns where these lie apart.
    depth: usize,
    /// (panels, kernel rows, columns that lie apart, values, filters of a panel): a panel is two vectors of filters;
    /// behind the last filter it is zero.
    weights: Aligned,
    /// (filters), zero behind the last one to the end of its panel.
    bias: Vec<f32>,
}

/// The columns of a kernel, where they do not lie side by side in a window because other channels lie between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    pub count: usize,
    /// Elements from one column to the next.
    pub stride: usize,
}

impl Columns {
    /// The columns of a kernel whose values all lie side by side.
    pub const ADJACENT: Self = Self { count: 1, stride: 0 };

    /// Returns the elements from the first to the last value of a window.
    pub(crate) fn span(self, kernel_rows: usize, row_stride: usize, depth: usize) -> usize {
        (kernel_rows - 1) * row_stride + (self.count - 1) * self.stride + depth
    }
}

/// Where a matrix product reads and writes: offsets in elements from the beginnings of its slices, one for each output
/// position.
#[derive(Clone, Copy, Debug)]
pub struct GemmOffsets<'a> {
    /// The first value of each window, in the input.
    pub window_starts: &'a [u32],
    /// From a row of a window to the next, in the input.
    pub row_stride: usize,
    /// The first filter of each position, in the output.
    pub output_starts: &'a [u32],
    /// The first filter of each position, in the residual.
    pub residual: Residual<&'a [u32]>,
}

/// The lengths of the slices that a run is given.
pub(crate) struct SliceLens {
    pub input: usize,
    pub residual: usize,
    pub output: usize,
}

impl DirectConv {
    /// Packs weights `(filters, kernel_rows, depth)`, row-major, for the vectors of `isa`.
    pub fn new(isa: Isa, weight: &[f32], bias: &[f32], kernel_rows: usize, depth: usize) -> Self {
        Self::of_group(isa, weight, bias, kernel_rows, Columns::ADJACENT, depth)
    }

    /// Packs weights `(filters, kernel_rows, columns, depth)`, row-major, of a kernel whose columns lie apart.
    pub fn of_group(
        isa: Isa,
        weight: &[f32],
        bias: &[f32],
        kernel_rows: usize,
        columns: Columns,
        depth: usize,
    ) -> Self {
        let (filters, panel, window) = (bias.len(), 2 * isa.lanes(), kernel_rows * columns.count * depth);
        let panels = filters.div_ceil(panel);
        let mut weights = Aligned::zeros(panels * panel * window);
        pack_panels(weight, window, panel, &mut weights);
        let mut padded_bias = bias.to_vec();
        padded_bias.resize(panels * panel, 0.0);
        Self { isa, filters, kernel_rows, columns, depth, weights, bias: padded_bias }
    }

    /// Computes for every position p and filter f
    ///
    /// ```text
    /// sum = bias[f] + Σ weight[f, y, i] · input[window_starts[p] + y · row_stride + i]
    /// output[output_starts[p] + f] = activation(sum + residual[residual_starts[p] + f])
    /// ```
    ///
    /// by `threads` threads of the pool that it is called on. For [`Residual::InPlace`] it adds to the output and does
    /// not read `residual`.
    ///
    /// Panics when a window, an output or a residual lies outside its slice, or when outputs overlap that several
    /// threads would write.
    pub fn run(
        &self,
        threads: usize,
        offsets: &GemmOffsets,
        input: &[f32],
        residual: &[f32],
        activation: Option<Activation>,
        output: &mut [f32],
    ) {
        let sizes = RunSizes {
            filters: self.filters,
            window: self.columns.span(self.kernel_rows, offsets.row_stride, self.depth),
            tile: [self.isa.tile_rows(), 2 * self.isa.lanes()],
        };
        let maps = (&[input, residual], output);
        run_ranges((self, self.isa), sizes, threads, offsets, maps, activation, |range| {
            // SAFETY: `run_ranges` fulfils what `ComputeRange` demands.
            unsafe { compute_range(range) }
        });
    }
}

/// The sizes by which the run of a convolution is checked and divided among threads.
pub(crate) struct RunSizes {
    pub filters: usize,
    /// Values of the input from the first one of a window to its last.
    pub window: usize,
    /// Positions and filters of a tile.
    pub tile: [usize; 2],
}

/// Calls `compute` on each of `threads` threads, with the thread's range of the product of all windows and filters.
/// `conv` is the convolution and its instructions, `maps` are the input and the residual, and the output.
///
/// Panics when a window, an output or a residual lies outside its slice, or when outputs overlap that several threads
/// would write.
pub(crate) fn run_ranges<C: Sync, E: Element>(
    conv: (&C, Isa),
    sizes: RunSizes,
    threads: usize,
    offsets: &GemmOffsets,
    maps: (&[&[E]; 2], &mut [E]),
    activation: Option<Activation>,
    compute: impl Fn(ComputeRange<C, E>) + Sync,
) {
    let ((conv, isa), (&[input, residual], output)) = (conv, maps);
    let lens = SliceLens { input: input.len(), residual: residual.len(), output: output.len() };
    offsets.check(threads, sizes.filters, sizes.window, lens);
    // the output is borrowed mutably until all threads are done
    let output = output.as_mut_ptr();
    let (residual_starts, residual) = offsets.residual.source(residual, offsets.output_starts, output);
    let args = RunArgs {
        conv,
        offsets,
        input: input.as_ptr(),
        residual_starts,
        residual,
        output,
        clamp: clamp_bounds(activation),
        function: Function::of(isa, activation),
    };
    parallel::run_parts(threads, &args, |args, i| {
        let product = [args.offsets.output_starts.len(), sizes.filters];
        compute(ComputeRange { args, range: GemmRange::of(i, threads, product, sizes.tile) });
    });
}

/// Writes weights `(filters, window)` as `(panels, window, filters of a panel)`, one cache line of a filter after the
/// other, so that source and target stay in the first-level cache.
fn pack_panels(weight: &[f32], window: usize, panel: usize, to: &mut [f32]) {
    for (filters, to) in weight.chunks(panel * window).zip(to.chunks_mut(panel * window)) {
        for first in (0..window).step_by(LINE) {
            for (f, filter) in filters.chunks_exact(window).enumerate() {
                let line = &filter[first..window.min(first + LINE)];
                line.iter().enumerate().for_each(|(i, &w)| to[(first + i) * panel + f] = w);
            }
        }
    }
}

impl GemmOffsets<'_> {
    /// Panics when a window of `window` values lies outside the input, when `filters` values at an output or a residual
    /// lie outside their slice, or when outputs overlap that several of `threads` would write.
    pub(crate) fn check(&self, threads: usize, filters: usize, window: usize, lens: SliceLens) {
        let within = |starts: &[u32], span: usize, len: usize| starts.iter().all(|&at| at as usize + span <= len);
        assert!(within(self.window_starts, window, lens.input), "a window lies outside the input");
        assert!(within(self.output_starts, filters, lens.output), "a position lies outside the output");
        assert!(self.output_starts.len() == self.window_starts.len(), "as many outputs as windows");
        if let Residual::At(starts) = self.residual {
            let fits = starts.len() == self.output_starts.len() && within(starts, filters, lens.residual);
            assert!(fits, "a position lies outside the residual");
        }
        if threads > 1 {
            parallel::assert_disjoint(self.output_starts, filters);
        }
    }
}

/// The arguments of a run of the convolution `C` over values of type `E`, which its threads share.
/// [`GemmOffsets::check`] has accepted the offsets for the slices behind the pointers.
pub(crate) struct RunArgs<'a, C, E: Element> {
    pub conv: &'a C,
    pub offsets: &'a GemmOffsets<'a>,
    pub input: *const E,
    /// Where the residual of each position begins, in `residual`, which may be the output.
    pub residual_starts: Option<&'a [u32]>,
    pub residual: *const E,
    pub output: *mut E,
    pub clamp: [f32; 2],
    pub function: Option<Function<Isa>>,
}

// SAFETY: the threads only read through `input`. Each thread writes the outputs of its own range alone, and a residual
// in place is read by the thread that overwrites it.
unsafe impl<C: Sync, E: Element> Sync for RunArgs<'_, C, E> {}

/// Computes a range of the product.
///
/// The offsets must have been accepted by [`GemmOffsets::check`], and no other thread may access the outputs of the
/// range.
pub(crate) struct ComputeRange<'a, C, E: Element> {
    pub args: &'a RunArgs<'a, C, E>,
    pub range: GemmRange,
}

/// Bytes of the inputs of a block that stay in the second-level cache.
pub(crate) const NEAR: usize = 512 << 10;

/// The fewest tiles of a block, so that each weight that is loaded is used a few times.
pub(crate) const ENOUGH_TILES: usize = 4;

/// Returns the number of positions in the block that begins with the window `starts[0]`: whole tiles of `tile_rows`
/// positions, as many as begin within `reach` elements, but at least [`ENOUGH_TILES`].
pub(crate) fn block_positions(starts: &[u32], tile_rows: usize, reach: usize) -> usize {
    let is_near = |tile: &usize| starts[tile_rows * tile].abs_diff(starts[0]) as usize <= reach;
    let tiles = 1..starts.len().div_ceil(tile_rows);
    let tiles = tiles.take_while(|tile| *tile < ENOUGH_TILES || is_near(tile)).count() + 1;
    starts.len().min(tiles * tile_rows)
}

/// Computes block after block of positions.
///
/// # Safety
/// The range is as [`ComputeRange`] demands.
unsafe fn compute_range(ComputeRange { args, range: GemmRange { positions, filters } }: ComputeRange<DirectConv, f32>) {
    let RunArgs { conv, offsets, input, residual_starts, residual, output, clamp, function } = *args;
    // Few weights stay in the cache from block to block; small blocks leave room for the outputs.
    let near = if WeightsAhead::is_needed(conv.weights.len()) { NEAR } else { NEAR / 4 };
    let mut begin = positions.start;
    while begin < positions.end {
        let starts = &offsets.window_starts[begin..positions.end];
        let block = begin..begin + block_positions(starts, conv.isa.tile_rows(), near / size_of::<f32>());
        let panels = Panel {
            kernel_rows: conv.kernel_rows,
            columns: conv.columns,
            depth: conv.depth,
            row_stride: offsets.row_stride,
            weights: conv.weights.as_ptr(),
            bias: conv.bias.as_ptr(),
            filters: conv.filters,
            clamp,
            function,
        };
        let rows = TileRows {
            input,
            window_starts: &offsets.window_starts[block.clone()],
            output,
            output_starts: &offsets.output_starts[block.clone()],
            residual,
            residual_starts: residual_starts.map(|starts| &starts[block.clone()]),
        };
        // SAFETY: the offsets of the block lie within the range, whose windows and outputs can be accessed, the outputs
        // by nobody else; the weights are packed for the instruction set.
        unsafe { conv.isa.run(BlockProduct { panels, rows, filters: filters.clone() }) }
        begin = block.end;
    }
}

/// The product of a block of positions, whose inputs stay in the second-level cache, with some `filters`, which begin
/// with a panel.
///
/// `panels` has the weights of every panel of `panels.filters` filters, packed for the instruction set, and their bias;
/// `rows` has the offsets of all positions of the block: their windows can be read, and all filters at their outputs be
/// written and at their residuals be read, and nobody else accesses the outputs of `filters`.
pub(crate) struct BlockProduct<'a> {
    pub panels: Panel,
    pub rows: TileRows<'a>,
    pub filters: Range<usize>,
}

impl SimdKernel for BlockProduct<'_> {
    type Output = ();

    /// Computes panel after panel of filters; in a panel, tile after tile.
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { panels, rows, filters } = self;
        // The tiles are as equal as possible: one of a single position takes as long as one of four.
        let positions = rows.window_starts.len();
        let tiles = positions.div_ceil(S::TILE_ROWS);
        let window = panels.kernel_rows * panels.columns.count * panels.depth;
        let is_ahead = WeightsAhead::is_needed(filters.len() * window);
        for first in filters.clone().step_by(2 * S::LANES) {
            let panel = Panel {
                weights: panels.weights.wrapping_add(first * window),
                bias: panels.bias.wrapping_add(first),
                filters: (2 * S::LANES).min(panels.filters - first),
                ..panels
            };
            // The next block begins with the first panel.
            let next = if first + 2 * S::LANES < filters.end { first + 2 * S::LANES } else { filters.start };
            let next = is_ahead.then(|| panels.weights.wrapping_add(next * window));
            for i in 0..tiles {
                let at = split(positions, i, tiles);
                let rows = TileRows {
                    input: rows.input,
                    window_starts: &rows.window_starts[at.clone()],
                    output: rows.output.wrapping_add(first),
                    output_starts: &rows.output_starts[at.clone()],
                    residual: rows.residual.wrapping_add(first),
                    residual_starts: rows.residual_starts.map(|starts| &starts[at.clone()]),
                };
                let ahead = WeightsAhead::of_tile::<S>(next, 2 * S::LANES * window, [i, tiles]);
                // SAFETY: the caller of `SimdKernel::run` checked the instruction set; the slices above cut the offsets
                // of a tile, and the rest is as `BlockProduct` demands.
                unsafe { tile::<S>(&panel, &rows, ahead, at.len()) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of the blocks of a map of `n` × `n` positions with `channels` values each.
    fn blocks(n: usize, channels: u32) -> Vec<usize> {
        let starts: Vec<u32> = (0..(n * n) as u32).map(|i| i * channels).collect();
        let mut left = starts.as_slice();
        let mut all = Vec::new();
        while !left.is_empty() {
            let n = block_positions(left, 14, NEAR / size_of::<f32>());
            all.push(n);
            left = &left[n..];
        }
        all
    }

    #[test]
    fn a_block_is_whole_tiles_that_stay_in_the_cache() {
        assert_eq!(blocks(1, 64), [1]);
        assert_eq!(blocks(7, 2048), [49]);
        // 512 KiB are 128 positions of 1024 channels: ten tiles begin there
        assert_eq!(blocks(14, 1024), [140, 56]);
        // A block has four tiles at least.
        assert_eq!(blocks(12, 8192), [56, 56, 32]);
    }
}
