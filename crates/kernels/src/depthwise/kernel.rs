//! The kernels of the depthwise convolution: one for windows of 3 × 3, one for 5 × 5 and 7 × 7, and one for all others.

use super::{DepthwiseConv, DepthwiseLayout, RunArgs};
use crate::elements::MapElements;
use crate::simd::Simd;

/// Columns of the output that are computed together.
const BLOCK_COLUMNS: usize = 4;
/// The most rows of the output that are computed together.
const MOST_ROWS: usize = 2;

/// Chooses the kernel for the window.
///
/// # Safety
/// The CPU has the instruction set of `E`; the arguments are as [`ConvolveRows`](super::ConvolveRows) demands.
#[inline(always)]
pub(super) unsafe fn convolve_rows<E: MapElements>(args: &RunArgs<E::Element>, layout: &DepthwiseLayout) {
    // SAFETY: the contract of this function is that of `blocks`, and each kernel supports the window of its arm.
    unsafe {
        match (args.conv.kernel, layout.stride) {
            _ if args.conv.dilation != [1, 1] => blocks::<E, 1>(args, layout, AnyWindow),
            // Sums and weights of two rows fit into 32 registers, not into 16.
            ([3, 3], [1, 1]) if E::Simd::LANES == 16 => blocks::<E, 2>(args, layout, Window3::<1>),
            ([3, 3], [1, 1]) => blocks::<E, 1>(args, layout, Window3::<1>),
            ([3, 3], [2, 2]) => blocks::<E, 1>(args, layout, Window3::<2>),
            ([5, 5], [1, 1]) if E::Simd::LANES == 16 => blocks::<E, 2>(args, layout, WindowRows::<5, 1>),
            ([5, 5], [1, 1]) => blocks::<E, 1>(args, layout, WindowRows::<5, 1>),
            ([5, 5], [2, 2]) => blocks::<E, 1>(args, layout, WindowRows::<5, 2>),
            ([7, 7], [1, 1]) if E::Simd::LANES == 16 => blocks::<E, 2>(args, layout, WindowRows::<7, 1>),
            ([7, 7], [1, 1]) => blocks::<E, 1>(args, layout, WindowRows::<7, 1>),
            _ => blocks::<E, 1>(args, layout, AnyWindow),
        }
    }
}

/// One vector of channels of a block of output positions.
struct Block<'a, E> {
    conv: &'a DepthwiseConv,
    layout: &'a DepthwiseLayout,
    /// The first channel; `input` points to it in the first window, `output` in the first output.
    first_channel: usize,
    input: *const E,
    output: *mut E,
    clamp: [f32; 2],
}

/// A kernel for windows of some sizes: it computes `R` × `C` positions.
trait WindowKernel: Copy {
    /// Computes the first `lanes` channels of a block; `FULL` says that they fill a vector.
    ///
    /// # Safety
    /// The CPU has the instruction set of `E`; the kernel supports the window of the convolution; `lanes` channels can
    /// be read at every position of the windows of `R` × `C` outputs and be written at these outputs; `lanes` is at
    /// most the lanes of a vector, and equal to them for `FULL`.
    unsafe fn compute<E: MapElements, const R: usize, const C: usize, const FULL: bool>(
        block: &Block<E::Element>,
        lanes: usize,
    );
}

/// Computes block after block of `R` rows and a few columns, each through all channels.
///
/// # Safety
/// The CPU has the instruction set of `E`; the arguments are as [`ConvolveRows`](super::ConvolveRows) demands; the
/// kernel supports the window of the convolution.
#[inline(always)]
unsafe fn blocks<E: MapElements, const R: usize>(
    args: &RunArgs<E::Element>,
    layout: &DepthwiseLayout,
    kernel: impl WindowKernel,
) {
    let RunArgs { conv, input, clamp, function, output } = *args;
    let [height, width] = layout.output_size;
    let mut y = 0;
    while y < height {
        let rows = if height - y < R { 1 } else { R };
        let mut x = 0;
        while x < width {
            // The blocks are as equal as possible: a block of few columns has few independent sums.
            let columns = (width - x).div_ceil((width - x).div_ceil(BLOCK_COLUMNS));
            let input_row = layout.input_start + y * layout.stride[0] * layout.input_row_stride;
            let output_row = layout.output_start + y * layout.output_row_stride;
            // SAFETY: `rows` rows and `columns` columns are left in the layout, so their windows and outputs are there,
            // by this function's contract.
            unsafe {
                let input = input.add(input_row + x * layout.stride[1] * conv.channels);
                let output = output.add(output_row + x * layout.output_pixel_stride);
                let block = Block { conv, layout, first_channel: 0, input, output, clamp };
                match (rows, columns) {
                    (1, 1) => channels::<E, 1, 1>(block, kernel),
                    (1, 2) => channels::<E, 1, 2>(block, kernel),
                    (1, 3) => channels::<E, 1, 3>(block, kernel),
                    (1, _) => channels::<E, 1, 4>(block, kernel),
                    (_, 1) => channels::<E, R, 1>(block, kernel),
                    (_, 2) => channels::<E, R, 2>(block, kernel),
                    (_, 3) => channels::<E, R, 3>(block, kernel),
                    _ => channels::<E, R, 4>(block, kernel),
                }
                if let Some(function) = function {
                    let mut starts = [0; MOST_ROWS * BLOCK_COLUMNS];
                    for (i, start) in starts.iter_mut().enumerate() {
                        let (row, column) = (i / columns, i % columns);
                        *start = (row * layout.output_row_stride + column * layout.output_pixel_stride) as u32;
                    }
                    function.apply(output, &starts[..rows * columns], conv.channels);
                }
            }
            x += columns;
        }
        y += rows;
    }
}

/// Computes all channels of a block, vector after vector.
///
/// # Safety
/// The CPU has the instruction set of `E`; the windows of the `R` × `C` positions from `block` on can be read and their
/// outputs written; the kernel supports the window.
#[inline(always)]
unsafe fn channels<E: MapElements, const R: usize, const C: usize>(
    block: Block<E::Element>,
    kernel: impl WindowKernel,
) {
    /// Calls the kernel; the unused argument lets the compiler infer its type.
    ///
    /// # Safety
    /// The same as for [`WindowKernel::compute`].
    #[inline(always)]
    unsafe fn compute<K: WindowKernel, E: MapElements, const R: usize, const C: usize, const FULL: bool>(
        _: K,
        block: &Block<E::Element>,
        lanes: usize,
    ) {
        // SAFETY: the contract of this function is that of the functions that it calls.
        unsafe { K::compute::<E, R, C, FULL>(block, lanes) }
    }
    let (all, mut block) = (block.conv.channels, block);
    // SAFETY: by this function's contract every position has `all` channels; a vector of them, or those that are left,
    // begin at `first_channel`.
    unsafe {
        while block.first_channel + E::Simd::LANES <= all {
            compute::<_, E, R, C, true>(kernel, &block, E::Simd::LANES);
            block.first_channel += E::Simd::LANES;
            (block.input, block.output) = (block.input.add(E::Simd::LANES), block.output.add(E::Simd::LANES));
        }
        if block.first_channel < all {
            compute::<_, E, R, C, false>(kernel, &block, all - block.first_channel);
        }
    }
}

/// Windows of 3 × 3 with a stride of `STRIDE` in both dimensions.
#[derive(Clone, Copy)]
struct Window3<const STRIDE: usize>;

impl<const STRIDE: usize> WindowKernel for Window3<STRIDE> {
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn compute<E: MapElements, const R: usize, const C: usize, const FULL: bool>(
        block: &Block<E::Element>,
        lanes: usize,
    ) {
        let Block { conv, layout, .. } = *block;
        // SAFETY: the trait demands `lanes` channels at each position of the windows, within which the loops stay;
        // there are as many weights and biases.
        unsafe {
            let mut sums = [[load::<E::Simd, FULL>(conv.bias.as_ptr().add(block.first_channel), lanes); C]; R];
            let mut taps = [[sums[0][0]; 3]; 3];
            for ky in 0..3 {
                for kx in 0..3 {
                    let tap = conv.weights.as_ptr().add((ky * 3 + kx) * conv.channels + block.first_channel);
                    taps[ky][kx] = load::<E::Simd, FULL>(tap, lanes);
                }
            }
            // The inputs come in the order of the window, so that each sum is in that order.
            for y in 0..(R - 1) * STRIDE + 3 {
                for x in 0..(C - 1) * STRIDE + 3 {
                    let from = block.input.add(y * layout.input_row_stride + x * conv.channels);
                    let v = load_elements::<E, FULL>(from, lanes);
                    for r in 0..R {
                        for i in 0..C {
                            let (ky, kx) = (y.wrapping_sub(r * STRIDE), x.wrapping_sub(i * STRIDE));
                            if ky < 3 && kx < 3 {
                                sums[r][i] = E::Simd::mul_add(v, taps[ky][kx], sums[r][i]);
                            }
                        }
                    }
                }
            }
            epilogue::<E, R, C>(block, lanes, sums);
        }
    }
}

/// Windows of `K` × `K` with a stride of `STRIDE` in both dimensions; the registers hold one row of their weights.
#[derive(Clone, Copy)]
struct WindowRows<const K: usize, const STRIDE: usize>;

impl<const K: usize, const STRIDE: usize> WindowKernel for WindowRows<K, STRIDE> {
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn compute<E: MapElements, const R: usize, const C: usize, const FULL: bool>(
        block: &Block<E::Element>,
        lanes: usize,
    ) {
        let Block { conv, layout, .. } = *block;
        // SAFETY: the trait demands `lanes` channels at each position of the windows, within which the loops stay;
        // there are as many weights and biases.
        unsafe {
            let mut sums = [[load::<E::Simd, FULL>(conv.bias.as_ptr().add(block.first_channel), lanes); C]; R];
            for ky in 0..K {
                let mut taps = [sums[0][0]; K];
                for kx in 0..K {
                    let tap = conv.weights.as_ptr().add((ky * K + kx) * conv.channels + block.first_channel);
                    taps[kx] = load::<E::Simd, FULL>(tap, lanes);
                }
                for r in 0..R {
                    let line = block.input.add((r * STRIDE + ky) * layout.input_row_stride);
                    for x in 0..(C - 1) * STRIDE + K {
                        let v = load_elements::<E, FULL>(line.add(x * conv.channels), lanes);
                        for i in 0..C {
                            let kx = x.wrapping_sub(i * STRIDE);
                            if kx < K {
                                sums[r][i] = E::Simd::mul_add(v, taps[kx], sums[r][i]);
                            }
                        }
                    }
                }
            }
            epilogue::<E, R, C>(block, lanes, sums);
        }
    }
}

/// Windows of any size, stride and dilation.
#[derive(Clone, Copy)]
struct AnyWindow;

impl WindowKernel for AnyWindow {
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn compute<E: MapElements, const R: usize, const C: usize, const FULL: bool>(
        block: &Block<E::Element>,
        lanes: usize,
    ) {
        let Block { conv, layout, .. } = *block;
        let (channels, [down, across], [apart_rows, apart]) = (conv.channels, layout.stride, conv.dilation);
        // SAFETY: the trait demands `lanes` channels at each position of the windows, within which the loops stay;
        // there are as many weights and biases; `wrapping_add` moves `weight` beyond them only after the last one.
        unsafe {
            let mut sums = [[load::<E::Simd, FULL>(conv.bias.as_ptr().add(block.first_channel), lanes); C]; R];
            let mut weight = conv.weights.as_ptr().add(block.first_channel);
            for ky in 0..conv.kernel[0] {
                for kx in 0..conv.kernel[1] {
                    let tap = load::<E::Simd, FULL>(weight, lanes);
                    for r in 0..R {
                        let row = (r * down + ky * apart_rows) * layout.input_row_stride;
                        let line = block.input.add(row + kx * apart * channels);
                        for i in 0..C {
                            let v = load_elements::<E, FULL>(line.add(i * across * channels), lanes);
                            sums[r][i] = E::Simd::mul_add(v, tap, sums[r][i]);
                        }
                    }
                    weight = weight.wrapping_add(channels);
                }
            }
            epilogue::<E, R, C>(block, lanes, sums);
        }
    }
}

/// The epilogue: clamps the sums of a block and writes them.
///
/// # Safety
/// The CPU has the instruction set of `E`; `lanes` channels can be written at each of the `R` × `C` outputs of the
/// block.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn epilogue<E: MapElements, const R: usize, const C: usize>(
    block: &Block<E::Element>,
    lanes: usize,
    sums: [[<E::Simd as Simd>::Vector; C]; R],
) {
    let layout = block.layout;
    // SAFETY: by this function's contract.
    unsafe {
        let (low, high) = (E::Simd::splat(block.clamp[0]), E::Simd::splat(block.clamp[1]));
        for r in 0..R {
            for i in 0..C {
                let to = block.output.add(r * layout.output_row_stride + i * layout.output_pixel_stride);
                E::store_partial(to, lanes, E::Simd::min(high, E::Simd::max(low, sums[r][i])));
            }
        }
    }
}

/// Loads `lanes` f32, which fill a vector if `FULL`.
///
/// # Safety
/// The same as for [`Simd::load`] if `FULL`, else for [`Simd::load_partial`] with `lanes`.
#[inline(always)]
unsafe fn load<S: Simd, const FULL: bool>(from: *const f32, lanes: usize) -> S::Vector {
    // SAFETY: the contract of this function is that of the functions that it calls.
    unsafe { if FULL { S::load(from) } else { S::load_partial(from, lanes) } }
}

/// Loads `lanes` elements of a map, which fill a vector if `FULL`.
///
/// # Safety
/// The same as for [`MapElements::load`] if `FULL`, else for [`MapElements::load_partial`] with `lanes`.
#[inline(always)]
unsafe fn load_elements<E: MapElements, const FULL: bool>(
    from: *const E::Element,
    lanes: usize,
) -> <E::Simd as Simd>::Vector {
    // SAFETY: the contract of this function is that of the functions that it calls.
    unsafe { if FULL { E::load(from) } else { E::load_partial(from, lanes) } }
}
