//! The direct convolution of [`matmul`](crate::matmul) over bf16: the same blocks, panels and tiles, but the
//! micro-kernel multiplies two values of a window at a time.
//!
//! Where a row of a window has an odd number of values, the last one is read by itself, so that nothing outside the
//! window is read.

use super::simd::{Bf16Kernel, Bf16Simd, SumVector};
use super::{Bf16Isa, bf16, rounded};
use crate::Activation;
use crate::matmul::{self, Columns, ComputeRange, GemmOffsets, NEAR, RunSizes, block_positions, run_ranges};
use crate::parallel::GemmRange;
use crate::simd::{Simd, by_rows};

/// A direct convolution over bf16 with its weights packed for the vectors of a [`Bf16Isa`].
#[derive(Clone, Debug)]
pub struct Bf16DirectConv {
    isa: Bf16Isa,
    filters: usize,
    /// Rows of the kernel.
    kernel_rows: usize,
    columns: Columns,
    /// Values in a row of the kernel, its width × channels, or in one of its columns where these lie apart.
    depth: usize,
    /// (panels, kernel rows, columns that lie apart, pairs of values, filters of a panel), two bf16 each: a panel is
    /// two vectors of filters; behind the last filter it is zero, and so is the second value of an incomplete pair.
    weights: Vec<u32>,
    /// (filters), zero behind the last one to the end of its panel.
    bias: Vec<f32>,
}

impl Bf16DirectConv {
    /// Rounds and packs weights `(filters, kernel_rows, columns, depth)`, row-major.
    ///
    /// Panics when the number of weights is wrong.
    pub(crate) fn new(
        isa: Bf16Isa,
        weight: &[f32],
        bias: &[f32],
        kernel_rows: usize,
        columns: Columns,
        depth: usize,
    ) -> Self {
        let segments = kernel_rows * columns.count;
        let window = segments * depth;
        let is_whole = window > 0 && weight.len() == bias.len() * window;
        assert!(is_whole, "weights are (filters, kernel rows, columns, depth)");
        let (filters, panel, pairs) = (bias.len(), 2 * isa.isa().lanes(), depth.div_ceil(2));
        let padded = filters.next_multiple_of(panel);
        let mut weights = vec![0; padded * segments * pairs];
        for (f, filter) in weight.chunks_exact(window).enumerate() {
            let target = &mut weights[f / panel * panel * segments * pairs..];
            for (i, pair) in filter.chunks_exact(depth).flat_map(|row| row.chunks(2)).enumerate() {
                let bits = |w: &f32| u32::from(rounded(*w).to_bits());
                target[i * panel + f % panel] = bits(&pair[0]) | pair.get(1).map_or(0, bits) << 16;
            }
        }
        let mut padded_bias = bias.to_vec();
        padded_bias.resize(padded, 0.0);
        Self { isa, filters, kernel_rows, columns, depth, weights, bias: padded_bias }
    }

    /// Computes the sums of [`DirectConv::run`](crate::matmul::DirectConv::run) and rounds them to bf16.
    ///
    /// Panics when a window, an output or a residual lies outside its slice, or when outputs overlap that several
    /// threads would write.
    pub(crate) fn run(
        &self,
        threads: usize,
        offsets: &GemmOffsets,
        input: &[bf16],
        residual: &[bf16],
        activation: Option<Activation>,
        output: &mut [bf16],
    ) {
        let sizes = RunSizes {
            filters: self.filters,
            window: self.columns.span(self.kernel_rows, offsets.row_stride, self.depth),
            tile: [self.isa.isa().tile_rows(), 2 * self.isa.isa().lanes()],
        };
        let maps = (&[input, residual], output);
        run_ranges((self, self.isa.isa()), sizes, threads, offsets, maps, activation, |range| {
            // SAFETY: `run_ranges` fulfils what `ComputeRange` demands.
            unsafe { self.isa.run(range) }
        });
    }
}

type RunArgs<'a> = matmul::RunArgs<'a, Bf16DirectConv, bf16>;

impl Bf16Kernel for ComputeRange<'_, Bf16DirectConv, bf16> {
    /// Computes block after block of positions; in a block, panel after panel of filters; in a panel, tile after tile.
    #[inline(always)]
    unsafe fn run<B: Bf16Simd>(self) {
        let Self { args, range: GemmRange { positions, filters } } = self;
        let mut begin = positions.start;
        while begin < positions.end {
            let starts = &args.offsets.window_starts[begin..positions.end];
            let end = begin + block_positions(starts, B::Simd::TILE_ROWS, NEAR / size_of::<bf16>());
            for first in filters.clone().step_by(2 * B::Simd::LANES) {
                let mut at = begin;
                while at < end {
                    let n = B::Simd::TILE_ROWS.min(end - at);
                    // SAFETY: the caller of `Bf16Kernel::run` checked the instruction set; `n` positions from `at` on
                    // belong to the range, and `first` is the first filter of one of its panels.
                    unsafe { tile::<B>(args, first, at, n) };
                    at += n;
                }
            }
            begin = end;
        }
    }
}

/// Calls the micro-kernel for `n` positions and one or two vectors of filters.
///
/// # Safety
/// The same as for [`micro_kernel`] with `M` = `n`.
#[inline(always)]
unsafe fn tile<B: Bf16Simd>(args: &RunArgs, first: usize, at: usize, n: usize) {
    let has_two = args.conv.filters - first > B::Simd::LANES;
    // SAFETY: the contract of this function is that of the micro-kernel for `n` rows, and the literal is `n`.
    unsafe { by_rows!(n, has_two, micro_kernel::<B>(args, first, at)) }
}

/// The micro-kernel: `M` positions from `at` on × `N` vectors of filters from `first` on, with all sums in registers.
/// It has plain loops and no closures, as in [`matmul`](crate::matmul).
///
/// # Safety
/// The CPU has the instruction set of `B`; the arguments are as [`ComputeRange`] demands for `M` positions from `at` on
/// and the filters from `first`, which begins a panel, up to the last one or to `N` vectors of them.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn micro_kernel<B: Bf16Simd, const M: usize, const N: usize>(args: &RunArgs, first: usize, at: usize) {
    let conv = args.conv;
    let (offsets, pairs, lanes) = (args.offsets, conv.depth.div_ceil(2), B::Simd::LANES);
    // SAFETY: by this function's contract: the loops read every value of `M` windows, and two vectors of weights for
    // each pair, which are zero behind the last filter; `wrapping_add` moves a pointer beyond its window only after the
    // last row.
    unsafe {
        let mut sums = [[B::Simd::splat(0.0); N]; M];
        for i in 0..M {
            for j in 0..N {
                sums[i][j] = B::Simd::load(conv.bias.as_ptr().add(first + j * lanes));
                let start = *offsets.output_starts.get_unchecked(at + i) as usize;
                B::Simd::prefetch_l1(args.output.wrapping_add(start + first + j * lanes).cast());
                if let Some(starts) = args.residual_starts {
                    let start = *starts.get_unchecked(at + i) as usize;
                    B::Simd::prefetch_l1(args.residual.wrapping_add(start + first + j * lanes).cast());
                }
            }
        }
        let mut weights = conv.weights.as_ptr().add(first * conv.kernel_rows * conv.columns.count * pairs);
        let mut inputs = [args.input; M];
        for i in 0..M {
            inputs[i] = args.input.add(*offsets.window_starts.get_unchecked(at + i) as usize);
        }
        // The step from behind the last column of a row to the first column of the next.
        let row_step = offsets.row_stride.wrapping_sub((conv.columns.count - 1) * conv.columns.stride);
        for segment in 1..=conv.kernel_rows * conv.columns.count {
            for k in 0..conv.depth / 2 {
                let mut w = [B::load(weights); N];
                for j in 1..N {
                    w[j] = B::load(weights.add(j * lanes));
                }
                for i in 0..M {
                    let x = B::splat(inputs[i].add(2 * k).cast::<u32>().read_unaligned());
                    for j in 0..N {
                        sums[i][j] = B::dot(sums[i][j], x, w[j]);
                    }
                }
                weights = weights.add(2 * lanes);
            }
            if conv.depth % 2 == 1 {
                for i in 0..M {
                    let x = B::splat(u32::from((*inputs[i].add(conv.depth - 1)).to_bits()));
                    for j in 0..N {
                        sums[i][j] = B::dot(sums[i][j], x, B::load(weights.add(j * lanes)));
                    }
                }
                weights = weights.add(2 * lanes);
            }
            let step = if segment % conv.columns.count > 0 { conv.columns.stride } else { row_step };
            for i in 0..M {
                inputs[i] = inputs[i].wrapping_add(step);
            }
        }
        epilogue::<B, M, N>(args, first, at, &sums);
    }
}

/// The epilogue: adds the residual to the sums, applies the activation, rounds them and writes them.
///
/// # Safety
/// The same as for [`micro_kernel`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn epilogue<B: Bf16Simd, const M: usize, const N: usize>(
    args: &RunArgs,
    first: usize,
    at: usize,
    sums: &[[SumVector<B>; N]; M],
) {
    let offsets = args.offsets;
    // SAFETY: by this function's contract: `lanes` values can be accessed from each output and residual on.
    unsafe {
        // This is a copy: the sums stay in registers only if their address is never taken.
        let mut done = [[B::Simd::splat(0.0); N]; M];
        for i in 0..M {
            for j in 0..N {
                done[i][j] = sums[i][j];
            }
        }
        let lanes = |j: usize| B::Simd::LANES.min(args.conv.filters - first - j * B::Simd::LANES);
        if let Some(starts) = args.residual_starts {
            for i in 0..M {
                for j in 0..N {
                    let start = *starts.get_unchecked(at + i) as usize + first + j * B::Simd::LANES;
                    done[i][j] = B::Simd::add(done[i][j], B::widen(args.residual.add(start), lanes(j)));
                }
            }
        }
        if let Some(function) = args.function {
            function.apply_to_vectors(done.as_flattened_mut());
        }
        let (low, high) = (B::Simd::splat(args.clamp[0]), B::Simd::splat(args.clamp[1]));
        for i in 0..M {
            for j in 0..N {
                let start = *offsets.output_starts.get_unchecked(at + i) as usize + first + j * B::Simd::LANES;
                // The sum is the second argument, so that NaN stays NaN.
                B::narrow(args.output.add(start), lanes(j), B::Simd::min(high, B::Simd::max(low, done[i][j])));
            }
        }
    }
}
