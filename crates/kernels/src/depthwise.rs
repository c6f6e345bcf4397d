//! Depthwise convolution, channels last, direct: the sums of one vector of channels at several output positions stay in
//! registers while the window runs over them; then the kernel goes on to the next vector of channels at the same
//! positions, so that memory is read in order.
//!
//! A window of 3 × 3 keeps its weights in registers, too, and loads each input once for all outputs whose window holds
//! it. Every sum runs in the order of the window, however many positions are computed together.

mod kernel;

use std::ops::Range;

use self::kernel::convolve_rows;
use super::activation::Function;
use super::elements::{Element, ElementsKernel, MapElements};
use super::parallel;
use crate::layer::reach;
use crate::{Activation, clamp_bounds};

/// A depthwise convolution with its packed weights.
#[derive(Clone, Debug)]
pub struct DepthwiseConv {
    kernel: [usize; 2],
    /// Rows and columns of the input from one value of the kernel to the next.
    dilation: [usize; 2],
    channels: usize,
    /// (kernel rows, kernel columns, channels)
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// Where a depthwise convolution reads and writes; offsets and strides are in elements.
#[derive(Clone, Copy, Debug)]
pub struct DepthwiseLayout {
    /// The first value of the first window, in the input.
    pub input_start: usize,
    /// From one row of the input to the next; its positions are as many elements apart as there are channels.
    pub input_row_stride: usize,
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// The first value of the output.
    pub output_start: usize,
    pub output_row_stride: usize,
    /// From one position of the output to the next.
    pub output_pixel_stride: usize,
    /// Height and width of the output.
    pub output_size: [usize; 2],
}

impl DepthwiseConv {
    /// Packs weights `(channels, kernel rows, kernel columns)`, row-major.
    pub fn new(weight: &[f32], bias: &[f32], kernel: [usize; 2]) -> Self {
        let (channels, taps) = (bias.len(), kernel[0] * kernel[1]);
        let weights = (0..taps).flat_map(|tap| (0..channels).map(move |c| weight[c * taps + tap])).collect();
        Self { kernel, dilation: [1, 1], channels, weights, bias: bias.to_vec() }
    }

    /// Sets the dilation: the rows and the columns of the input from one value of the kernel to the next.
    pub fn dilated(self, dilation: [usize; 2]) -> Self {
        Self { dilation, ..self }
    }

    /// Computes `output = activation(bias + Σ weight · input)` at every position with the vectors of `isa`, by
    /// `threads` threads of the pool that it is called on.
    ///
    /// Panics when a window or an output lies outside its slice, or when output rows overlap that several threads would
    /// write.
    pub fn run<E: Element>(
        &self,
        isa: E::Isa,
        threads: usize,
        layout: &DepthwiseLayout,
        input: &[E],
        activation: Option<Activation>,
        output: &mut [E],
    ) {
        let reach = reach(self.kernel, self.dilation);
        let threads = layout.check(threads, reach, self.channels, [input.len(), output.len()]);
        let args = RunArgs {
            conv: self,
            input: input.as_ptr(),
            clamp: clamp_bounds(activation),
            function: Function::of(isa, activation),
            output: output.as_mut_ptr(),
        };
        parallel::run_parts(threads, &args, |args, i| {
            let layout = layout.rows(parallel::split(layout.output_size[0], i, threads));
            // SAFETY: these rows lie within the slices, as asserted; the output is borrowed mutably, and each thread
            // has other rows of it.
            unsafe { E::run(isa, ConvolveRows { args, layout }) };
        });
    }
}

impl DepthwiseLayout {
    /// Returns the number of threads to use, at most one for each row. Panics when a window of `reach` rows and columns
    /// or an output of `channels` values lies outside its slice, or when output rows overlap that several threads would
    /// write.
    pub(crate) fn check(
        &self,
        threads: usize,
        reach: [usize; 2],
        channels: usize,
        [input_len, output_len]: [usize; 2],
    ) -> usize {
        let [height, width] = self.output_size;
        if height == 0 || width == 0 {
            return 1;
        }
        let last_row = ((height - 1) * self.stride[0] + reach[0] - 1) * self.input_row_stride;
        let row_end = ((width - 1) * self.stride[1] + reach[1]) * channels;
        assert!(self.input_start + last_row + row_end <= input_len, "a window lies outside the input");
        let last_row = self.output_start + (height - 1) * self.output_row_stride;
        let row_end = (width - 1) * self.output_pixel_stride + channels;
        assert!(last_row + row_end <= output_len, "a position lies outside the output");
        let threads = threads.min(height);
        if threads > 1 {
            assert!(row_end <= self.output_row_stride, "several threads would write one output");
        }
        threads
    }

    /// Returns the layout of some of the rows of the output.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Self {
        let input_start = self.input_start + rows.start * self.stride[0] * self.input_row_stride;
        let output_start = self.output_start + rows.start * self.output_row_stride;
        Self { input_start, output_start, output_size: [rows.len(), self.output_size[1]], ..*self }
    }
}

/// The arguments of a run, which its threads share.
struct RunArgs<'a, E: Element> {
    conv: &'a DepthwiseConv,
    input: *const E,
    clamp: [f32; 2],
    function: Option<Function<E::Isa>>,
    output: *mut E,
}

// SAFETY: the threads only read through `input`, and each of them writes rows of the output that no other thread
// accesses.
unsafe impl<E: Element> Sync for RunArgs<'_, E> {}

/// Computes the rows of `layout`, whose windows and outputs must lie in the memory behind the pointers; nobody else may
/// access these outputs.
struct ConvolveRows<'a, E: Element> {
    args: &'a RunArgs<'a, E>,
    layout: DepthwiseLayout,
}

impl<E: Element> ElementsKernel<E> for ConvolveRows<'_, E> {
    #[inline(always)]
    unsafe fn run<M: MapElements<Element = E>>(self) {
        // SAFETY: the caller of `ElementsKernel::run` checked the instruction set, and the arguments are as
        // `ConvolveRows` demands.
        unsafe { convolve_rows::<M>(self.args, &self.layout) }
    }
}
