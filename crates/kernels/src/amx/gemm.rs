//! The matrix product of a convolution by tiles; [`matmul`](crate::matmul) has the definition.
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

use self::windows::InputWindows;
pub(crate) use self::windows::WindowGroup;
use super::format::TileFormat;
use super::{ROW_BYTES, TILE_BYTES, TILE_ROWS, configure_tiles, release_tiles};
use crate::aligned::Aligned;
use crate::matmul::{GemmOffsets, SliceLens};
use crate::parallel::{self, GemmRange};

/// Filters of a panel: two tiles.
pub(crate) const PANEL: usize = 2 * TILE_ROWS;
/// Sums of an order of two groups × a panel: four tiles.
pub(crate) const SUMS: usize = 2 * TILE_ROWS * PANEL;
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

/// The weights of a convolution, packed as tiles of the format `T`. It computes the sums of all positions and filters;
/// an [`Epilogue`] makes outputs of them.
#[derive(Clone, Debug)]
pub(crate) struct TileProduct<T> {
    filters: usize,
    shape: ConvShape,
    /// (panels, tile rows of a window, slices, two tiles): the tiles of 32 filters; zero behind the last filter and the
    /// last value.
    weights: Aligned,
    format: std::marker::PhantomData<T>,
}

/// The last step of a convolution by tiles.
pub(crate) trait Epilogue: Sync {
    /// Prefetches the outputs and the residual of a position, from filter `first` on.
    fn prefetch(&self, position: usize, first: usize);

    /// Turns the sums of a group and a panel into outputs, and writes those of the group's positions. The sums are two
    /// tiles one behind the other; those of each order begin [`SUMS`] behind those of the order before.
    ///
    /// # Safety
    /// The CPU has the vectors of AMX's [`available`](super::available); the group belongs to the run whose outputs and
    /// residuals were checked; `first` begins a panel of its filters; nobody else accesses the outputs of the group
    /// and the panel; `sums` points to the sums of every order, from a cache line on.
    unsafe fn write(&self, group: &WindowGroup, first: usize, sums: *const f32);
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

impl<T: TileFormat> TileProduct<T> {
    /// Packs weights `(filters, kernel rows, kernel columns, channels)`, row-major. Returns the product, and the scale
    /// of each filter, zero behind the last one to the end of its panel.
    ///
    /// Panics when the number of weights is wrong.
    pub(crate) fn new(weight: &[f32], filters: usize, shape: ConvShape) -> (Self, Aligned) {
        let window = shape.kernel[0] * shape.kernel[1] * shape.channels;
        assert!(window > 0 && weight.len() == filters * window, "weights are (filters, rows, columns, channels)");
        let (steps, padded) = (window.div_ceil(T::VALUES_PER_ROW), filters.next_multiple_of(PANEL));
        let (value_bytes, step_bytes) = (ROW_BYTES / T::VALUES_PER_ROW, T::SLICES * 2 * TILE_BYTES);
        let mut weights = Aligned::zeros(padded / PANEL * steps * step_bytes / size_of::<f32>());
        let mut scales = Aligned::zeros(padded);
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
        (Self { filters, shape, weights, format: std::marker::PhantomData }, scales)
    }

    pub(crate) fn filters(&self) -> usize {
        self.filters
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

    /// Returns the floats of scratch that [`TileProduct::run`] needs for `threads`.
    pub(crate) fn scratch_len(&self, threads: usize) -> usize {
        // one cache line more, so that the scratch can begin at one
        threads * self.thread_scratch().total() + ROW_BYTES / size_of::<f32>()
    }

    /// Computes the sums for whole pictures of `map` (height, width) positions each, by `threads` threads of the pool
    /// that it is called on; `epilogue` makes outputs of them. `lens` has the lengths of the slices that it reads and
    /// writes. The contents of `scratch` do not matter.
    ///
    /// Panics when AMX is not available, when a window, an output or a residual lies outside its slice, when the
    /// scratch is shorter than [`TileProduct::scratch_len`], when the positions are not whole pictures, when the
    /// windows are not where the shape says, or when outputs overlap that several threads would write.
    ///
    /// # Safety
    /// The epilogue accesses the outputs and residuals of `offsets` alone, in slices of the lengths `lens`, the outputs
    /// borrowed mutably; each position and filter is written by its own outputs.
    pub(crate) unsafe fn run(
        &self,
        threads: usize,
        (offsets, map): (&GemmOffsets, [usize; 2]),
        input: &[T::Value],
        lens: SliceLens,
        epilogue: &impl Epilogue,
        scratch: &mut [f32],
    ) {
        if offsets.output_starts.is_empty() {
            return;
        }
        assert!(super::available(), "this CPU has no AMX");
        let [rows, depth] = self.window_rows();
        offsets.check(threads, self.filters, (rows - 1) * offsets.row_stride + depth, lens);
        assert!(scratch.len() >= self.scratch_len(threads), "the scratch is too short");
        let windows = InputWindows::of(self, offsets, map, input);
        let aligned = scratch.as_ptr().align_offset(ROW_BYTES);
        let args = RunArgs { product: self, windows, epilogue, scratch: scratch[aligned..].as_mut_ptr() };
        parallel::run_parts(threads, &args, |args, i| {
            let range = args.windows.range(i, threads, self.filters);
            // SAFETY: AMX and its vectors are available, and every window, output and residual lies within its slice,
            // as asserted; the scratch is borrowed mutably, the ranges of the threads are disjoint, and each thread
            // has a part of the scratch of its own.
            unsafe { compute_range(args, range, args.scratch.add(i * self.thread_scratch().total())) }
        });
    }
}

/// The arguments of a run, which its threads share. [`GemmOffsets::check`] has accepted the offsets for the slices
/// behind the pointers.
struct RunArgs<'a, T: TileFormat, E> {
    product: &'a TileProduct<T>,
    windows: InputWindows<'a, T>,
    epilogue: &'a E,
    scratch: *mut f32,
}

// SAFETY: each thread writes its own part of the scratch alone; the rest is only read, or may be shared as `Epilogue`
// demands.
unsafe impl<T: TileFormat, E: Epilogue> Sync for RunArgs<'_, T, E> {}

/// Computes block after block of positions; in a block, panel after panel of filters; in a panel, two groups of
/// positions at a time.
///
/// # Safety
/// AMX is available; the offsets of `args` were accepted by [`GemmOffsets::check`]; no other thread accesses the
/// outputs of the range; `scratch` points to [`TileProduct::thread_scratch`] floats from a cache line on, which nobody
/// else uses.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512bf16")]
unsafe fn compute_range<T: TileFormat, E: Epilogue>(
    args: &RunArgs<T, E>,
    GemmRange { positions, filters }: GemmRange,
    scratch: *mut f32,
) {
    let RunArgs { product, windows, epilogue, .. } = args;
    let lens = product.thread_scratch();
    // SAFETY: by this function's contract: the scratch holds sums, a window and the packed groups of a block; each
    // group comes from the range; the tiles are configured before they are used.
    unsafe {
        let (window, packed) = (scratch.add(lens.sums), scratch.add(lens.sums + lens.window).cast::<u8>());
        configure_tiles();
        let mut at = positions.start;
        while at < positions.end {
            let (mut groups, mut n) = ([WindowGroup::NONE; MOST_GROUPS], 0);
            while at < positions.end && n < product.block_groups() {
                let to = packed.add(n * product.group_bytes());
                groups[n] = windows.group(&mut at, positions.end, window.cast(), to);
                n += 1;
            }
            for first in filters.clone().step_by(PANEL) {
                for pair in groups[..n].chunks(2) {
                    let positions = pair.iter().flat_map(WindowGroup::positions);
                    positions.for_each(|position| epilogue.prefetch(position, first));
                    // A group without a second one is multiplied twice and written once.
                    multiply(product, first, [&pair[0], &pair[pair.len() - 1]], scratch);
                    epilogue.write(&pair[0], first, scratch);
                    if let [_, group] = pair {
                        epilogue.write(group, first, scratch.add(SUMS / 2));
                    }
                }
            }
        }
        release_tiles();
    }
}

/// Computes the sums of two groups × the panel that begins with filter `first`: four contiguous tiles for each order.
///
/// # Safety
/// The tiles of the thread are configured; the windows of both groups can be read, 16 of each; `sums` points to
/// [`SUMS`] writable floats for each order.
#[inline(always)]
unsafe fn multiply<T: TileFormat>(product: &TileProduct<T>, first: usize, [a, b]: [&WindowGroup; 2], sums: *mut f32) {
    let WindowSteps { runs, steps } = product.window_steps();
    let run_bytes = steps * T::SLICES * 2 * TILE_BYTES;
    for order in 0..T::ORDERS {
        // SAFETY: by this function's contract; a panel has `runs` · `run_bytes` bytes of weights; four tiles of sums
        // are 4,096 bytes, `SUMS` floats.
        unsafe {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
            let panel = product.weights.as_ptr().cast::<u8>().add(first / PANEL * runs * run_bytes);
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
