//! The direct convolution of [`matmul`](crate::matmul) over bytes: the same blocks, panels and tiles, but the
//! micro-kernel multiplies four values of a window at a time.
//!
//! A row of a window is read to the next multiple of four values; the weights behind its end are zero. With AMX the
//! sums come from [`amx`](crate::amx), and the epilogue is the same.

#[cfg(target_arch = "x86_64")]
mod tiles;

use super::simd::{Int8Kernel, Int8Simd, Vector};
use super::{Int8Input, Int8Isa, Int8Output, Requant, Source, Target};
use crate::aligned::Aligned;
#[cfg(target_arch = "x86_64")]
use crate::amx::{Bytes, ConvShape, TileProduct};
use crate::matmul::{GemmOffsets, NEAR, SliceLens, block_positions};
use crate::parallel::{self, GemmRange};
use crate::residual::Residual;
use crate::simd::{Simd, by_rows};

/// A direct convolution over bytes with its weights packed for an [`Int8Isa`].
#[derive(Clone, Debug)]
pub struct Int8Conv {
    filters: usize,
    weights: PackedWeights,
    requant: Requant,
}

#[derive(Clone, Debug)]
enum PackedWeights {
    Panels(Panels),
    #[cfg(target_arch = "x86_64")]
    Tiles(TileProduct<Bytes>),
}

/// The weights as vectors of filters.
#[derive(Clone, Debug)]
struct Panels {
    isa: Int8Isa,
    /// Rows of the kernel.
    kernel_rows: usize,
    /// Groups of four values in a row of the kernel.
    groups: usize,
    /// (panels, kernel rows, groups, filters of a panel), four signed bytes each: a panel is two vectors of filters;
    /// behind the last filter it is zero, and so are the last values of an incomplete group.
    weights: Aligned,
    /// (filters): the value that each sum begins with.
    starts: Vec<i32>,
}

impl Panels {
    /// Packs weights `(filters, kernel_rows, depth)`, row-major.
    fn new(isa: Int8Isa, weight: &[i8], filters: usize, kernel_rows: usize, depth: usize) -> Self {
        let (panel, groups, window) = (2 * isa.isa().lanes(), depth.div_ceil(4), kernel_rows * depth);
        let padded = filters.next_multiple_of(panel);
        let mut weights = Aligned::zeros(padded * kernel_rows * groups);
        let bytes = weights.as_bytes_mut();
        for (f, filter) in weight.chunks_exact(window).enumerate() {
            let target = &mut bytes[f / panel * panel * kernel_rows * groups * 4..];
            for (i, group) in filter.chunks_exact(depth).flat_map(|row| row.chunks(4)).enumerate() {
                let at = 4 * (i * panel + f % panel);
                target[at..].iter_mut().zip(group).for_each(|(to, w)| *to = w.cast_unsigned());
            }
        }
        let starts = isa.starts(weight.chunks_exact(window), padded);
        Self { isa, kernel_rows, groups, weights, starts }
    }
}

impl Int8Conv {
    /// Packs weights `(filters, kernel_rows, depth)`, row-major.
    ///
    /// Panics when the number of weights is wrong.
    pub fn new(isa: Int8Isa, weight: &[i8], requant: Requant, kernel_rows: usize, depth: usize) -> Self {
        let (filters, window) = (requant.scale.len(), kernel_rows * depth);
        let is_whole = window > 0 && weight.len() == filters * window;
        assert!(is_whole, "weights are (filters, kernel rows, depth)");
        let weights = match isa {
            #[cfg(target_arch = "x86_64")]
            Int8Isa::Amx => {
                let weight: Vec<f32> = weight.iter().map(|&w| f32::from(w)).collect();
                let shape = ConvShape { kernel: [kernel_rows, 1], channels: depth, stride: 1 };
                PackedWeights::Tiles(TileProduct::new(&weight, filters, shape).0)
            }
            _ => PackedWeights::Panels(Panels::new(isa, weight, filters, kernel_rows, depth)),
        };
        Self { filters, weights, requant: requant.padded(filters.next_multiple_of(2 * isa.isa().lanes())) }
    }

    /// Returns the floats of scratch that [`Int8Conv::run`] needs for `threads`.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
    pub fn scratch_len(&self, threads: usize) -> usize {
        match &self.weights {
            PackedWeights::Panels(_) => 0,
            #[cfg(target_arch = "x86_64")]
            PackedWeights::Tiles(tiles) => tiles.scratch_len(threads),
        }
    }

    /// Computes for every position p and filter f
    ///
    /// ```text
    /// sum = Σ weight[f, y, i] · input[window_starts[p] + y · row_stride + i]
    /// output[output_starts[p] + f] = sum · scale[f] + bias[f] + residual scale[f] · residual[residual_starts[p] + f]
    /// ```
    ///
    /// by `threads` threads of the pool that it is called on. For [`Residual::InPlace`] it adds to the output and does
    /// not read `residual`. The contents of `scratch` do not matter.
    ///
    /// Panics when a window, each of its rows to a multiple of four bytes, an output or a residual lies outside its
    /// slice, when outputs overlap that several threads would write, or when the scratch is shorter than
    /// [`Int8Conv::scratch_len`].
    pub fn run(
        &self,
        threads: usize,
        offsets: &GemmOffsets,
        input: &[u8],
        residual: Int8Input,
        output: Int8Output,
        scratch: &mut [f32],
    ) {
        let lens = SliceLens { input: input.len(), residual: residual.len(), output: output.len() };
        let output = output.target();
        let residual = match offsets.residual {
            Residual::None => None,
            Residual::At(starts) => Some((starts, residual.source())),
            // This is the pointer through which the kernel also writes.
            Residual::InPlace => Some((offsets.output_starts, output.source())),
        };
        let epilogue = Epilogue { conv: self, output_starts: offsets.output_starts, residual, output };
        let panels = match &self.weights {
            PackedWeights::Panels(panels) => panels,
            #[cfg(target_arch = "x86_64")]
            PackedWeights::Tiles(tiles) => {
                // A product of bytes has no strips, so its positions need no shape.
                let map = [1, offsets.output_starts.len()];
                // SAFETY: the epilogue reads and writes by the starts of `offsets` in the slices of these lengths; the
                // output is borrowed mutably until all threads are done.
                return unsafe { tiles.run(threads, (offsets, map), input, lens, &epilogue, scratch) };
            }
        };
        let window = (panels.kernel_rows - 1) * offsets.row_stride + 4 * panels.groups;
        offsets.check(threads, self.filters, window, lens);
        let args = RunArgs { panels, offsets, input: input.as_ptr(), epilogue };
        let tile = [panels.isa.shape().0, 2 * panels.isa.isa().lanes()];
        parallel::run_parts(threads, &args, |args, i| {
            let range = GemmRange::of(i, threads, [args.offsets.output_starts.len(), self.filters], tile);
            // SAFETY: `check` asserted that every window, output and residual lies within its slice; the output is
            // borrowed mutably; the ranges of the threads are disjoint, and where there are several, the outputs of
            // different positions do not overlap, as asserted.
            unsafe { args.panels.isa.run(ComputeRange { args, range }) }
        });
    }
}

/// Scales the sums, adds bias and residual, and writes them.
struct Epilogue<'a> {
    conv: &'a Int8Conv,
    output_starts: &'a [u32],
    /// Where the residual of each position begins, in memory that may be the output.
    residual: Option<(&'a [u32], Source)>,
    output: Target,
}

// SAFETY: each thread writes the outputs of its own range alone, and a residual in place is read by the thread that
// overwrites it.
unsafe impl Sync for Epilogue<'_> {}

/// The factors of a vector of filters in the epilogue.
#[derive(Clone, Copy)]
struct FilterVector<B: Int8Simd> {
    first: usize,
    filters: usize,
    scale: Vector<B>,
    bias: Vector<B>,
    residual: Vector<B>,
}

impl Epilogue<'_> {
    /// Loads the factors of the vector of filters that begins with `first`.
    ///
    /// # Safety
    /// The CPU has the instruction set of `B`; `first` begins a vector of a panel.
    #[inline(always)]
    unsafe fn filters<B: Int8Simd>(&self, first: usize) -> FilterVector<B> {
        let Requant { scale, bias, residual } = &self.conv.requant;
        // SAFETY: by this function's contract; each part of the epilogue has whole panels.
        unsafe {
            FilterVector {
                first,
                filters: B::Simd::LANES.min(self.conv.filters - first),
                scale: B::Simd::load(scale.as_ptr().add(first)),
                bias: B::Simd::load(bias.as_ptr().add(first)),
                residual: B::Simd::load(residual.as_ptr().add(first)),
            }
        }
    }

    /// Writes the outputs of a position from its sums. There is no fused multiply-add, so that all instruction sets
    /// round alike.
    ///
    /// # Safety
    /// The CPU has the instruction set of `B`; the outputs and residuals of the position and these filters can be
    /// accessed, and nobody else accesses the outputs.
    #[inline(always)]
    unsafe fn write<B: Int8Simd>(&self, position: usize, filters: &FilterVector<B>, sums: B::Sums) {
        let FilterVector { first, filters, scale, bias, residual } = *filters;
        // SAFETY: by this function's contract: `filters` values can be accessed from each output and residual on.
        unsafe {
            let mut sum = B::Simd::add(B::Simd::mul(B::to_f32(sums), scale), bias);
            if let Some((starts, from)) = self.residual {
                let more = from.load::<B>(*starts.get_unchecked(position) as usize + first, filters);
                sum = B::Simd::add(sum, B::Simd::mul(more, residual));
            }
            let start = *self.output_starts.get_unchecked(position) as usize + first;
            self.output.store::<B>(start, filters, sum);
        }
    }
}

/// The arguments of a run, which its threads share. [`GemmOffsets::check`] has accepted the offsets for the slices
/// behind the pointers.
struct RunArgs<'a> {
    panels: &'a Panels,
    offsets: &'a GemmOffsets<'a>,
    input: *const u8,
    epilogue: Epilogue<'a>,
}

// SAFETY: the threads only read through `input`; the epilogue may be shared.
unsafe impl Sync for RunArgs<'_> {}

/// Computes a range of the product.
///
/// The offsets must have been accepted by [`GemmOffsets::check`], and no other thread may access the outputs of the
/// range.
struct ComputeRange<'a> {
    args: &'a RunArgs<'a>,
    range: GemmRange,
}

impl Int8Kernel for ComputeRange<'_> {
    /// Computes block after block of positions; in a block, panel after panel of filters; in a panel, tile after tile.
    #[inline(always)]
    unsafe fn run<B: Int8Simd>(self) {
        let Self { args, range: GemmRange { positions, filters } } = self;
        let mut begin = positions.start;
        while begin < positions.end {
            let starts = &args.offsets.window_starts[begin..positions.end];
            let end = begin + block_positions(starts, B::TILE_ROWS, NEAR / size_of::<u8>());
            for first in filters.clone().step_by(2 * B::Simd::LANES) {
                let mut at = begin;
                while at < end {
                    let n = B::TILE_ROWS.min(end - at);
                    // SAFETY: the caller of `Int8Kernel::run` checked the instruction set; `n` positions from `at` on
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
unsafe fn tile<B: Int8Simd>(args: &RunArgs, first: usize, at: usize, n: usize) {
    let has_two = args.epilogue.conv.filters - first > B::Simd::LANES;
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
unsafe fn micro_kernel<B: Int8Simd, const M: usize, const N: usize>(args: &RunArgs, first: usize, at: usize) {
    let panels = args.panels;
    let (offsets, groups, lanes) = (args.offsets, panels.groups, B::Simd::LANES);
    // SAFETY: by this function's contract: the loops read `kernel_rows` × `groups` × four values of `M` windows, and
    // two vectors of weights for each group, which are zero behind the last filter; `wrapping_add` moves a pointer
    // beyond its window only after the last row.
    unsafe {
        let mut sums = [[B::load_sums(panels.starts.as_ptr().add(first)); N]; M];
        for j in 1..N {
            for i in 0..M {
                sums[i][j] = B::load_sums(panels.starts.as_ptr().add(first + j * lanes));
            }
        }
        let mut weights = panels.weights.as_ptr().cast::<i8>().add(4 * first * panels.kernel_rows * groups);
        let mut inputs = [args.input; M];
        for i in 0..M {
            inputs[i] = args.input.add(*offsets.window_starts.get_unchecked(at + i) as usize);
        }
        for _ in 0..panels.kernel_rows {
            for k in 0..groups {
                let mut w = [B::load(weights); N];
                for j in 1..N {
                    w[j] = B::load(weights.add(4 * j * lanes));
                }
                for i in 0..M {
                    let x = B::splat(inputs[i].add(4 * k));
                    for j in 0..N {
                        sums[i][j] = B::dot(sums[i][j], x, w[j]);
                    }
                }
                weights = weights.add(8 * lanes);
            }
            for i in 0..M {
                inputs[i] = inputs[i].wrapping_add(offsets.row_stride);
            }
        }
        // This is a copy: the sums stay in registers only if their address is never taken.
        let mut done = [[sums[0][0]; N]; M];
        for i in 0..M {
            for j in 0..N {
                done[i][j] = sums[i][j];
            }
        }
        for j in 0..N {
            let filters = args.epilogue.filters::<B>(first + j * lanes);
            for i in 0..M {
                args.epilogue.write(at + i, &filters, done[i][j]);
            }
        }
    }
}
