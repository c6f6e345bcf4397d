//! Depthwise convolution over bytes, channels last. For each channel the bytes of four neighbouring positions of a row
//! are interleaved into a group, and one instruction multiplies a group by four weights of a row of the kernel. Every
//! output whose window overlaps a group uses it, with weights shifted to the places of the window in the group. So each
//! input is loaded and interleaved once for several outputs of a row, and for all rows that are computed together.

use super::simd::{Int8Kernel, Int8Simd};
use super::{Int8Isa, Int8Output, Requant, Target};
use crate::aligned::Aligned;
use crate::depthwise::DepthwiseLayout;
use crate::parallel;
use crate::simd::Simd;

/// A depthwise convolution over bytes with its packed weights.
#[derive(Clone, Debug)]
pub struct Int8Depthwise {
    isa: Int8Isa,
    kernel: [usize; 2],
    /// Columns from one window to the next.
    across: usize,
    channels: usize,
    block: ColumnBlock,
    /// (vectors of channels, kernel rows, columns of a block, groups, channels of a vector), four signed bytes each.
    weights: Aligned,
    /// (channels): the value that each sum begins with.
    starts: Vec<i32>,
    requant: Requant,
}

/// Outputs of a row that are computed together, and the groups of four positions that their windows overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ColumnBlock {
    columns: usize,
    groups: usize,
}

impl ColumnBlock {
    /// Returns the cheapest block for a kernel of `width` columns: a group costs about as much as five products.
    fn choose(width: usize, across: usize) -> Self {
        let block = |columns: usize| Self { columns, groups: ((columns - 1) * across + width).div_ceil(4) };
        let cost = |block: &Self| (4 / block.columns) * block.groups * (5 + block.columns);
        [1, 2, 4].map(block).into_iter().filter(|block| block.groups <= 2).min_by_key(cost).unwrap_or(block(1))
    }
}

impl Int8Depthwise {
    /// Columns of the widest kernel.
    pub const WIDEST: usize = 8;

    /// Packs weights `(channels, kernel rows, kernel columns)`, row-major, for windows `across` columns apart.
    ///
    /// Panics when the number of weights is wrong, or the kernel is too wide.
    pub fn new(isa: Int8Isa, weight: &[i8], requant: Requant, kernel: [usize; 2], across: usize) -> Self {
        let (channels, lanes) = (requant.scale.len(), isa.isa().lanes());
        let [rows, width] = kernel;
        assert!(weight.len() == channels * rows * width, "weights are (channels, kernel rows, kernel columns)");
        assert!(width <= Self::WIDEST, "a kernel of {width} columns is too wide");
        let block = ColumnBlock::choose(width, across);
        let padded = channels.next_multiple_of(lanes);
        let mut weights = Aligned::zeros(padded * rows * block.columns * block.groups);
        let bytes = weights.as_bytes_mut();
        for (c, filter) in weight.chunks_exact(rows * width).enumerate() {
            for (y, o) in (0..rows).flat_map(|y| (0..block.columns).map(move |o| (y, o))) {
                for (x, w) in filter[y * width..][..width].iter().enumerate() {
                    let position = o * across + x;
                    let vector = ((c / lanes * rows + y) * block.columns + o) * block.groups + position / 4;
                    bytes[4 * (vector * lanes + c % lanes) + position % 4] = w.cast_unsigned();
                }
            }
        }
        let starts = isa.starts(weight.chunks_exact(rows * width), padded);
        Self { isa, kernel, across, channels, block, weights, starts, requant: requant.padded(padded) }
    }

    /// Computes `output = Σ weight · input · scale + bias` at every position, by `threads` threads of the pool that it
    /// is called on. The windows are as many columns apart as the weights were packed for.
    ///
    /// Panics when a window or an output lies outside its slice, or when output rows overlap that several threads would
    /// write.
    pub fn run(&self, threads: usize, layout: &DepthwiseLayout, input: &[u8], output: Int8Output) {
        assert!(layout.stride[1] == self.across, "weights are packed for windows {} columns apart", self.across);
        let threads = layout.check(threads, self.kernel, self.channels, [input.len(), output.len()]);
        let args = RunArgs { conv: self, layout, input: input.as_ptr(), output: output.target() };
        parallel::run_parts(threads, &args, |args, i| {
            let part = parallel::split(args.layout.output_size[0], i, threads);
            let rows = ConvolveRows { args, layout: args.layout.rows(part) };
            // SAFETY: `check` asserted that the layout lies within the slices; the output is borrowed mutably, and each
            // thread has other rows of it.
            unsafe { self.isa.run(rows) }
        });
    }
}

/// The arguments of a run, which its threads share.
struct RunArgs<'a> {
    conv: &'a Int8Depthwise,
    layout: &'a DepthwiseLayout,
    input: *const u8,
    output: Target,
}

// SAFETY: the threads only read through `input`, and each of them writes rows of the output that no other thread
// accesses.
unsafe impl Sync for RunArgs<'_> {}

/// Computes the rows of `layout`, whose windows and outputs must lie in the memory behind the pointers; nobody else may
/// access these outputs.
struct ConvolveRows<'a> {
    args: &'a RunArgs<'a>,
    layout: DepthwiseLayout,
}

impl Int8Kernel for ConvolveRows<'_> {
    #[inline(always)]
    unsafe fn run<B: Int8Simd>(self) {
        let ColumnBlock { columns, groups } = self.args.conv.block;
        // SAFETY: the caller of `Int8Kernel::run` checked the instruction set, and the arguments are as `ConvolveRows`
        // demands; `C` and `G` are those that the weights are packed for.
        unsafe {
            match (columns, groups) {
                (1, 1) => blocks::<B, 1, 1>(&self),
                (2, 1) => blocks::<B, 2, 1>(&self),
                (4, 1) => blocks::<B, 4, 1>(&self),
                (1, 2) => blocks::<B, 1, 2>(&self),
                (2, 2) => blocks::<B, 2, 2>(&self),
                (4, 2) => blocks::<B, 4, 2>(&self),
                // `new` refuses wider kernels.
                _ => {}
            }
        }
    }
}

/// Computes block after block of rows and columns, each through all channels.
///
/// # Safety
/// The CPU has the instruction set of `B`; the arguments are as [`ConvolveRows`] demands; the weights are packed for
/// `C` columns and `G` groups.
#[inline(always)]
unsafe fn blocks<B: Int8Simd, const C: usize, const G: usize>(rows: &ConvolveRows) {
    let [height, width] = rows.layout.output_size;
    // With sixteen registers, the sums of more rows would not fit.
    let many = if B::Simd::LANES == 16 { 4 } else { 2 };
    let mut y = 0;
    while y < height {
        let n = if height - y < many { 1 } else { many };
        for x in (0..width).step_by(C) {
            let columns = C.min(width - x);
            // SAFETY: `n` rows and `columns` columns are left in the layout, so their windows and outputs are there, by
            // this function's contract.
            unsafe {
                match n {
                    4 => channels::<B, 4, C, G>(rows, [y, x], columns),
                    2 => channels::<B, 2, C, G>(rows, [y, x], columns),
                    _ => channels::<B, 1, C, G>(rows, [y, x], columns),
                }
            }
        }
        y += n;
    }
}

/// Computes `R` rows of the first `columns` of `C` outputs, vector after vector of channels.
///
/// # Safety
/// The CPU has the instruction set of `B`; the windows and the outputs of `R` × `columns` positions from (y, x) on are
/// there; the weights are packed for `C` columns and `G` groups.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn channels<B: Int8Simd, const R: usize, const C: usize, const G: usize>(
    rows: &ConvolveRows,
    [y, x]: [usize; 2],
    columns: usize,
) {
    let ConvolveRows { args, layout } = rows;
    let (conv, lanes) = (args.conv, B::Simd::LANES);
    let [height, width] = conv.kernel;
    let [down, across] = layout.stride;
    // the last position that a window of these columns overlaps
    let last = (columns - 1) * across + width - 1;
    let vectors = height * C * G;
    // SAFETY: by this function's contract every position of the windows up to `last` has all channels, of which `n` are
    // left from `channel` on; the weights have `vectors` vectors for each vector of channels, and the epilogue a
    // vector.
    unsafe {
        let mut input = args.input.add(layout.input_start + y * down * layout.input_row_stride);
        input = input.add(x * across * conv.channels);
        let output = layout.output_start + y * layout.output_row_stride + x * layout.output_pixel_stride;
        let mut weights = conv.weights.as_ptr().cast::<i8>();
        for channel in (0..conv.channels).step_by(lanes) {
            let n = lanes.min(conv.channels - channel);
            let mut sums = [[B::load_sums(conv.starts.as_ptr().add(channel)); C]; R];
            for line in 0..(R - 1) * down + height {
                let row = input.add(line * layout.input_row_stride + channel);
                let mut x = [B::splat([0u8; 4].as_ptr()); G];
                for g in 0..G {
                    let at = [4 * g, 4 * g + 1, 4 * g + 2, 4 * g + 3];
                    let mut from = [row; 4];
                    for i in 0..4 {
                        // The weights behind the last position are zero.
                        from[i] = row.add(at[i].min(last) * conv.channels);
                    }
                    x[g] = B::gather(from, n);
                }
                for r in 0..R {
                    let ky = line.wrapping_sub(r * down);
                    if ky < height {
                        for o in 0..C {
                            for g in 0..G {
                                let w = B::load(weights.add(4 * lanes * ((ky * C + o) * G + g)));
                                sums[r][o] = B::dot(sums[r][o], x[g], w);
                            }
                        }
                    }
                }
            }
            weights = weights.add(4 * lanes * vectors);
            let scale = B::Simd::load(conv.requant.scale.as_ptr().add(channel));
            let bias = B::Simd::load(conv.requant.bias.as_ptr().add(channel));
            for r in 0..R {
                for o in 0..C {
                    if o < columns {
                        let to = output + r * layout.output_row_stride + o * layout.output_pixel_stride + channel;
                        let sum = B::Simd::mul(B::to_f32(sums[r][o]), scale);
                        args.output.store::<B>(to, n, B::Simd::add(sum, bias));
                    }
                }
            }
        }
    }
}
