//! The direct convolution by tiles; [`matmul`](crate::matmul) has the definition.
//!
//! A tile holds the windows of a group of up to 16 positions: a load takes 16 rows of 64 bytes that are a constant
//! distance apart. Windows of bf16 are loaded from the map itself where neighbouring windows are a constant distance
//! apart. All others are packed as tile rows first, once for all filters, in one of two ways. Where windows overlap
//! little, each window is packed by itself, with zeros behind its end, since the values behind it in memory may be NaN.
//! Where windows share most of their values, the part of the map that the windows of a group cover is packed once, as a
//! strip, and the windows are loaded from the strip. A strip over several rows of a map also has windows across the end
//! of a row; their sums are computed and not written.

mod windows;

use std::arch::asm;
use std::arch::x86_64::*;

use self::windows::{InputWindows, WindowGroup};
use super::format::TileFormat;
use super::{ROW_BYTES, TILE_BYTES, TILE_ROWS, configure_tiles, release_tiles};
use crate::aligned::Aligned;
use crate::matmul::{GemmOffsets, SliceLens};
use crate::parallel::{self, GemmRange};
use crate::{Activation, clamp_bounds};

/// Filters of a panel: two tiles.
const PANEL: usize = 2 * TILE_ROWS;
/// Sums of an order of two groups × a panel: four tiles.
const SUMS: usize = 2 * TILE_ROWS * PANEL;
/// Bytes of the packed windows of a block: they stay in the second-level cache, beside the weights of a panel.
const BLOCK_BYTES: usize = 1200 << 10;
/// The least and the most groups of positions in a block.
const LEAST_GROUPS: usize = 4;
const MOST_GROUPS: usize = 64;

/// The shape of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct ConvShape {
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    pub channels: usize,
    /// Columns of the input from one window to the next.
    pub stride: usize,
}

/// A direct convolution with its weights packed as tiles of the format `T`.
#[derive(Clone, Debug)]
pub struct AmxConv<T> {
    filters: usize,
    shape: ConvShape,
    /// (panels, tile rows of a window, slices, two tiles): the tiles of 32 filters; zero behind the last filter and the
    /// last value.
    weights: Aligned,
    /// (filters), zero behind the last one to the end of its panel.
    bias: Aligned,
    /// The scale of each filter.
    scales: Aligned,
    format: std::marker::PhantomData<T>,
}

/// The values of a window in tile rows: `runs` times `steps` tile rows that are side by side in memory.
struct WindowSteps {
    runs: usize,
    steps: usize,
}

/// The scratch of a thread, in floats.
struct ScratchLens {
    /// The sums of two groups × a panel, of every order.
    sums: usize,
    /// The values of a window.
    window: usize,
    /// The packed windows of a block.
    block: usize,
}

impl ScratchLens {
    fn total(&self) -> usize {
        self.sums + self.window + self.block
    }
}

impl<T: TileFormat> AmxConv<T> {
    /// Packs weights `(filters, kernel rows, kernel columns, channels)`, row-major. AMX must be
    /// [`available`](super::available) where it runs.
    ///
    /// Panics when the number of weights is wrong.
    pub fn new(weight: &[f32], bias: &[f32], shape: ConvShape) -> Self {
        let (filters, window) = (bias.len(), shape.kernel[0] * shape.kernel[1] * shape.channels);
        assert!(window > 0 && weight.len() == filters * window, "weights are (filters, rows, columns, channels)");
        let (steps, padded) = (window.div_ceil(T::VALUES_PER_ROW), filters.next_multiple_of(PANEL));
        let (value_bytes, step_bytes) = (ROW_BYTES / T::VALUES_PER_ROW, T::SLICES * 2 * TILE_BYTES);
        let mut weights = Aligned::zeros(padded / PANEL * steps * step_bytes / size_of::<f32>());
        let (mut padded_bias, mut scales) = (Aligned::zeros(padded), Aligned::zeros(padded));
        padded_bias[..filters].copy_from_slice(bias);
        for (f, filter) in weight.chunks_exact(window).enumerate() {
            let panel = &mut weights.as_bytes_mut()[f / PANEL * steps * step_bytes..][..steps * step_bytes];
            scales[f] = T::pack_filter(filter, |i, slice, bytes| {
                // a row of a tile of weights holds four bytes for each of its 16 filters
                let (tile, byte) = (2 * slice + f % PANEL / TILE_ROWS, i % T::VALUES_PER_ROW * value_bytes);
                let row = i / T::VALUES_PER_ROW * step_bytes + tile * TILE_BYTES + byte / 4 * ROW_BYTES;
                let at = row + f % TILE_ROWS * 4 + byte % 4;
                panel[at..at + value_bytes].copy_from_slice(bytes);
            });
        }
        Self { filters, shape, weights, bias: padded_bias, scales, format: std::marker::PhantomData }
    }

    /// Returns the number of rows of the kernel, and of values in each.
    fn window_rows(&self) -> [usize; 2] {
        [self.shape.kernel[0], self.shape.kernel[1] * self.shape.channels]
    }

    /// Returns how the values of a window are divided into tile rows: row by row where the rows of the kernel fill tile
    /// rows, else all together.
    fn window_steps(&self) -> WindowSteps {
        let [rows, depth] = self.window_rows();
        if depth.is_multiple_of(T::VALUES_PER_ROW) {
            WindowSteps { runs: rows, steps: depth / T::VALUES_PER_ROW }
        } else {
            WindowSteps { runs: 1, steps: (rows * depth).div_ceil(T::VALUES_PER_ROW) }
        }
    }

    /// Whether the windows of a group are packed together, as a strip.
    pub(super) fn has_strips(&self) -> bool {
        !T::IN_PLACE
            && self.shape.kernel[1] > self.shape.stride
            && self.shape.channels.is_multiple_of(T::VALUES_PER_ROW)
    }

    /// Returns the bytes from one packed window to the next: an odd number of cache lines, so that the windows of a
    /// group do not compete for the same sets of the cache.
    fn window_stride(&self) -> usize {
        let WindowSteps { runs, steps } = self.window_steps();
        ((runs * steps * T::SLICES) | 1) * ROW_BYTES
    }

    /// Returns the bytes of a packed group.
    fn group_bytes(&self) -> usize {
        let ConvShape { kernel, channels, stride } = self.shape;
        if self.has_strips() {
            let values = kernel[0] * ((TILE_ROWS - 1) * stride + kernel[1]) * channels;
            values / T::VALUES_PER_ROW * T::SLICES * ROW_BYTES
        } else {
            TILE_ROWS * self.window_stride()
        }
    }

    /// Returns the number of groups of a block.
    fn block_groups(&self) -> usize {
        (BLOCK_BYTES / self.group_bytes()).clamp(LEAST_GROUPS, MOST_GROUPS)
    }

    fn thread_scratch(&self) -> ScratchLens {
        let [rows, depth] = self.window_rows();
        ScratchLens {
            sums: T::ORDERS * SUMS,
            window: (rows * depth).next_multiple_of(T::VALUES_PER_ROW) + T::VALUES_PER_ROW,
            block: self.block_groups() * self.group_bytes() / size_of::<f32>(),
        }
    }

    /// Returns the floats of scratch that [`AmxConv::run`] needs for `threads`.
    pub fn scratch_len(&self, threads: usize) -> usize {
        // one cache line more, so that the scratch can begin at one
        threads * self.thread_scratch().total() + ROW_BYTES / size_of::<f32>()
    }

    /// Computes the same as [`DirectConv::run`](crate::matmul::DirectConv::run), for whole pictures of `map` (height,
    /// width) positions each. The contents of `scratch` do not matter.
    ///
    /// Panics when AMX is not available, when a window, an output or a residual lies outside its slice, when the
    /// scratch is shorter than [`AmxConv::scratch_len`], when the positions are not whole pictures, when the windows
    /// are not where the shape says, or when outputs overlap that several threads would write.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        threads: usize,
        offsets: &GemmOffsets,
        map: [usize; 2],
        input: &[T::Value],
        residual: &[T::Value],
        activation: Option<Activation>,
        output: &mut [T::Value],
        scratch: &mut [f32],
    ) {
        if offsets.output_starts.is_empty() {
            return;
        }
        assert!(super::available(), "this CPU has no AMX");
        let [rows, depth] = self.window_rows();
        let lens = SliceLens { input: input.len(), residual: residual.len(), output: output.len() };
        offsets.check(threads, self.filters, (rows - 1) * offsets.row_stride + depth, lens);
        assert!(scratch.len() >= self.scratch_len(threads), "the scratch is too short");
        let windows = InputWindows::of(self, offsets, map, input);
        let aligned = scratch.as_ptr().align_offset(ROW_BYTES);
        let output = output.as_mut_ptr();
        let (residual_starts, residual) = offsets.residual.source(residual, offsets.output_starts, output);
        let args = RunArgs {
            conv: self,
            windows,
            output_starts: offsets.output_starts,
            residual_starts,
            residual,
            output,
            scratch: scratch[aligned..].as_mut_ptr(),
            clamp: clamp_bounds(activation),
            function: activation.filter(|activation| activation.limits().is_none()),
        };
        parallel::run_parts(threads, &args, |args, i| {
            let range = args.windows.range(i, threads, self.filters);
            // SAFETY: AMX and its vectors are available, and every window, output and residual lies within its slice,
            // as asserted; output and scratch are borrowed mutably, the ranges of the threads are disjoint, and each
            // thread has a part of the scratch of its own.
            unsafe { compute_range(args, range, args.scratch.add(i * self.thread_scratch().total())) }
        });
    }
}

/// The arguments of a run, which its threads share. [`GemmOffsets::check`] has accepted the offsets for the slices
/// behind the pointers.
struct RunArgs<'a, T: TileFormat> {
    conv: &'a AmxConv<T>,
    windows: InputWindows<'a, T>,
    output_starts: &'a [u32],
    /// Where the residual of each position begins, in `residual`, which may be the output.
    residual_starts: Option<&'a [u32]>,
    residual: *const T::Value,
    output: *mut T::Value,
    scratch: *mut f32,
    clamp: [f32; 2],
    /// The activation; none where it only clamps.
    function: Option<Activation>,
}

// SAFETY: each thread writes the outputs of its own range and its own part of the scratch alone, and a residual in
// place is read by the thread that overwrites it; the rest is only read.
unsafe impl<T: TileFormat> Sync for RunArgs<'_, T> {}

/// Computes block after block of positions; in a block, panel after panel of filters; in a panel, two groups of
/// positions at a time.
///
/// # Safety
/// AMX is available; the offsets of `args` were accepted by [`GemmOffsets::check`]; no other thread accesses the
/// outputs of the range; `scratch` points to [`AmxConv::thread_scratch`] floats from a cache line on, which nobody else
/// uses.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512bf16")]
unsafe fn compute_range<T: TileFormat>(
    args: &RunArgs<T>,
    GemmRange { positions, filters }: GemmRange,
    scratch: *mut f32,
) {
    let conv = args.conv;
    let lens = conv.thread_scratch();
    // SAFETY: by this function's contract: the scratch holds sums, a window and the packed groups of a block; each
    // group comes from the range; the tiles are configured before they are used.
    unsafe {
        let (window, packed) = (scratch.add(lens.sums), scratch.add(lens.sums + lens.window).cast::<u8>());
        configure_tiles();
        let mut at = positions.start;
        while at < positions.end {
            let (mut groups, mut n) = ([WindowGroup::NONE; MOST_GROUPS], 0);
            while at < positions.end && n < conv.block_groups() {
                let to = packed.add(n * conv.group_bytes());
                groups[n] = args.windows.group(&mut at, positions.end, window.cast(), to);
                n += 1;
            }
            for first in filters.clone().step_by(PANEL) {
                for pair in groups[..n].chunks(2) {
                    pair.iter().for_each(|group| prefetch_group(args, group, first));
                    // A group without a second one is multiplied twice and written once.
                    multiply(conv, first, [&pair[0], &pair[pair.len() - 1]], scratch);
                    epilogue(args, &pair[0], first, scratch);
                    if let [_, group] = pair {
                        epilogue(args, group, first, scratch.add(SUMS / 2));
                    }
                    if let Some(function) = args.function {
                        let n = PANEL.min(conv.filters - first);
                        for group in pair {
                            T::activate(function, args.output.add(first), &args.output_starts[group.positions()], n);
                        }
                    }
                }
            }
        }
        release_tiles();
    }
}

/// Prefetches the lines of the outputs and residuals of a group, from filter `first` on.
#[inline(always)]
fn prefetch_group<T: TileFormat>(args: &RunArgs<T>, group: &WindowGroup, first: usize) {
    let prefetch = |at: *const T::Value| {
        for line in 0..PANEL * size_of::<T::Value>() / ROW_BYTES {
            // SAFETY: a prefetch accesses no memory, and SSE is part of x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(line * ROW_BYTES)) };
        }
    };
    for position in group.positions() {
        prefetch(args.output.wrapping_add(args.output_starts[position] as usize + first));
        if let Some(starts) = args.residual_starts {
            prefetch(args.residual.wrapping_add(starts[position] as usize + first));
        }
    }
}

/// Computes the sums of two groups × the panel that begins with filter `first`: four contiguous tiles for each order.
///
/// # Safety
/// The tiles of the thread are configured; the windows of both groups can be read, 16 of each; `sums` points to
/// [`SUMS`] writable floats for each order.
#[inline(always)]
unsafe fn multiply<T: TileFormat>(conv: &AmxConv<T>, first: usize, [a, b]: [&WindowGroup; 2], sums: *mut f32) {
    let WindowSteps { runs, steps } = conv.window_steps();
    let run_bytes = steps * T::SLICES * 2 * TILE_BYTES;
    for order in 0..T::ORDERS {
        // SAFETY: by this function's contract; a panel has `runs` · `run_bytes` bytes of weights; four tiles of sums
        // are 4,096 bytes, `SUMS` floats.
        unsafe {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
            let panel = conv.weights.as_ptr().cast::<u8>().add(first / PANEL * runs * run_bytes);
            for y in 0..runs {
                let inputs = [a.start.add(y * a.run_stride), b.start.add(y * b.run_stride)];
                T::multiply(order, inputs, [a.row_stride, b.row_stride], panel.add(y * run_bytes), steps);
            }
            asm!(
                "tilestored [{to} + {line}*1], tmm0",
                "tilestored [{to} + {line}*1 + 1024], tmm1",
                "tilestored [{to} + {line}*1 + 2048], tmm2",
                "tilestored [{to} + {line}*1 + 3072], tmm3",
                to = in(reg) sums.add(order * SUMS), line = in(reg) ROW_BYTES, options(nostack),
            );
        }
    }
}

/// The epilogue: scales the sums of a group, two tiles one behind the other, adds bias and residual, clamps them and
/// writes them.
///
/// # Safety
/// The CPU has the vectors of AMX's [`available`](super::available); the outputs and the residuals of the group's
/// positions can be accessed, from filter `first` on up to the end of its panel or the last one, and nobody else
/// accesses the outputs; `sums` points to the sums of every order.
#[inline(always)]
unsafe fn epilogue<T: TileFormat>(args: &RunArgs<T>, group: &WindowGroup, first: usize, sums: *const f32) {
    let RunArgs { conv, output_starts, residual_starts, residual, output, clamp, .. } = *args;
    let n = PANEL.min(conv.filters - first);
    // SAFETY: by this function's contract: `n` values can be accessed from each output and residual on; biases and
    // scales have whole panels and begin at cache lines; `row` is one of the 16 rows of a tile.
    unsafe {
        let (low, high) = (_mm512_set1_ps(clamp[0]), _mm512_set1_ps(clamp[1]));
        let (bias, scales) = (conv.bias.as_ptr().add(first), conv.scales.as_ptr().add(first));
        let bias = [_mm512_load_ps(bias), _mm512_load_ps(bias.add(TILE_ROWS))];
        let scales = [_mm512_load_ps(scales), _mm512_load_ps(scales.add(TILE_ROWS))];
        let (mut rows, mut position) = (group.rows, group.first);
        while rows != 0 {
            let row = rows.trailing_zeros() as usize;
            let from = sums.add(row * TILE_ROWS);
            let mut v = [
                T::dequantize(from, SUMS, group.scales[row], scales[0], bias[0]),
                T::dequantize(from.add(TILE_ROWS * TILE_ROWS), SUMS, group.scales[row], scales[1], bias[1]),
            ];
            if let Some(starts) = residual_starts {
                let more = T::load(residual.add(*starts.get_unchecked(position) as usize + first), n);
                v = [_mm512_add_ps(v[0], more[0]), _mm512_add_ps(v[1], more[1])];
            }
            // The sum is the second argument, so that NaN stays NaN.
            v = [_mm512_max_ps(low, v[0]), _mm512_max_ps(low, v[1])];
            v = [_mm512_min_ps(high, v[0]), _mm512_min_ps(high, v[1])];
            T::store(output.add(*output_starts.get_unchecked(position) as usize + first), n, v);
            rows &= rows - 1;
            position += 1;
        }
    }
}
