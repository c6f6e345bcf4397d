//! Convolutions by tiles over maps of floats: their bias, residual and activation.

use std::arch::x86_64::*;

use super::format::FloatFormat;
use super::gemm::{ConvShape, Epilogue, PANEL, SUMS, TileProduct, WindowGroup};
use super::{ROW_BYTES, TILE_ROWS};
use crate::aligned::Aligned;
use crate::matmul::{GemmOffsets, SliceLens};
use crate::{Activation, clamp_bounds};

/// A direct convolution with its weights packed as tiles of the format `T`.
#[derive(Clone, Debug)]
pub struct AmxConv<T> {
    pub(super) product: TileProduct<T>,
    /// (filters), zero behind the last one to the end of its panel.
    bias: Aligned,
    /// The scale of each filter.
    scales: Aligned,
}

impl<T: FloatFormat> AmxConv<T> {
    /// Packs weights `(filters, kernel rows, kernel columns, channels)`, row-major. AMX must be
    /// [`available`](super::available) where it runs.
    ///
    /// Panics when the number of weights is wrong.
    pub fn new(weight: &[f32], bias: &[f32], shape: ConvShape) -> Self {
        let (product, scales) = TileProduct::new(weight, bias.len(), shape);
        let mut padded = Aligned::zeros(scales.len());
        padded[..bias.len()].copy_from_slice(bias);
        Self { product, bias: padded, scales }
    }

    /// Returns the floats of scratch that [`AmxConv::run`] needs for `threads`.
    pub fn scratch_len(&self, threads: usize) -> usize {
        self.product.scratch_len(threads)
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
        let lens = SliceLens { input: input.len(), residual: residual.len(), output: output.len() };
        let output = output.as_mut_ptr();
        let (residual_starts, residual) = offsets.residual.source(residual, offsets.output_starts, output);
        let epilogue = FloatEpilogue {
            conv: self,
            output_starts: offsets.output_starts,
            residual_starts,
            residual,
            output,
            clamp: clamp_bounds(activation),
            function: activation.filter(|activation| activation.limits().is_none()),
        };
        // SAFETY: the epilogue reads and writes by the starts of `offsets` in the slices of these lengths; the output
        // is borrowed mutably until all threads are done.
        unsafe { self.product.run(threads, (offsets, map), input, lens, &epilogue, scratch) }
    }
}

/// Adds bias and residual, and applies the activation.
struct FloatEpilogue<'a, T: FloatFormat> {
    conv: &'a AmxConv<T>,
    output_starts: &'a [u32],
    /// Where the residual of each position begins, in `residual`, which may be the output.
    residual_starts: Option<&'a [u32]>,
    residual: *const T::Value,
    output: *mut T::Value,
    clamp: [f32; 2],
    /// The activation; none where it only clamps.
    function: Option<Activation>,
}

// SAFETY: each thread writes the outputs of its own groups alone, and a residual in place is read by the thread that
// overwrites it; the rest is only read.
unsafe impl<T: FloatFormat> Sync for FloatEpilogue<'_, T> {}

impl<T: FloatFormat> Epilogue for FloatEpilogue<'_, T> {
    #[inline(always)]
    fn prefetch(&self, position: usize, first: usize) {
        let prefetch = |at: *const T::Value| {
            for line in 0..PANEL * size_of::<T::Value>() / ROW_BYTES {
                // SAFETY: a prefetch accesses no memory, and SSE is part of x86-64.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(line * ROW_BYTES)) };
            }
        };
        prefetch(self.output.wrapping_add(self.output_starts[position] as usize + first));
        if let Some(starts) = self.residual_starts {
            prefetch(self.residual.wrapping_add(starts[position] as usize + first));
        }
    }

    #[inline(always)]
    unsafe fn write(&self, group: &WindowGroup, first: usize, sums: *const f32) {
        let Self { conv, output_starts, residual_starts, residual, output, clamp, function } = *self;
        let n = PANEL.min(conv.product.filters() - first);
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
            if let Some(function) = function {
                T::activate(function, output.add(first), &output_starts[group.positions()], n);
            }
        }
    }
}
