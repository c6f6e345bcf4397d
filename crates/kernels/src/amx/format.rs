//! The trait of the formats: how the values of a map are packed into tiles, and how sums of tiles become values.

use std::arch::x86_64::*;

use super::ROW_BYTES;
use crate::Activation;

/// The AMX format of the values of a map. A window of `n` values is packed as `n / VALUES_PER_ROW` groups of
/// [`SLICES`](Self::SLICES) tile rows.
///
/// Its unsafe methods need the vector instructions of AVX-512F, BW, VL, VBMI and BF16.
pub trait TileFormat: Copy + std::fmt::Debug + Send + Sync + 'static {
    /// The type of a value in memory.
    type Value: Copy + Send + Sync;
    /// Values in a row of a tile.
    const VALUES_PER_ROW: usize;
    /// Tile rows that [`VALUES_PER_ROW`](Self::VALUES_PER_ROW) values are packed into.
    const SLICES: usize;
    /// Partial sums of a position and a filter, which [`FloatFormat::dequantize`] combines.
    const ORDERS: usize;
    /// Whether a map is stored as tile rows already, so that tiles may be loaded from it.
    const IN_PLACE: bool;

    /// Calls `put(index, slice, bytes)` with the bytes of each weight of a filter in each slice; returns the scale of
    /// the filter.
    fn pack_filter(filter: &[f32], put: impl FnMut(usize, usize, &[u8])) -> f32;

    /// Returns the larger of `so_far` and the bits of the largest absolute value among `n` values; `so_far` where the
    /// format has no scale.
    ///
    /// # Safety
    /// The CPU has the instructions of the trait; `from` points to `n` readable values.
    unsafe fn max_abs_bits(from: *const Self::Value, n: usize, so_far: u32) -> u32;

    /// Returns the scale of a window whose largest absolute value has the bits `max_abs_bits`; its sums are multiplied
    /// by the scale.
    fn scale(max_abs_bits: u32) -> f32;

    /// Packs `n` values of a window with this scale: the tile rows of every slice for each
    /// [`VALUES_PER_ROW`](Self::VALUES_PER_ROW) values, zeros behind the last value.
    ///
    /// # Safety
    /// The CPU has the instructions of the trait; `from` points to `n` readable values, `to` to the writable bytes of
    /// whole tile rows.
    unsafe fn pack_rows(from: *const Self::Value, n: usize, scale: f32, to: *mut u8);

    /// Adds products to the sums of an order in tiles 0 to 3, which are two groups of positions × two tiles of filters:
    /// `steps` groups of tile rows from each of `inputs` on, where the rows of a tile are `strides` bytes apart, times
    /// the tiles of `weights`.
    ///
    /// # Safety
    /// The tiles of the thread are configured; 16 tile rows of each step can be read from both inputs, and the weights
    /// of each step.
    unsafe fn multiply(order: usize, inputs: [*const u8; 2], strides: [usize; 2], weights: *const u8, steps: usize);

    /// Copies `n` values and fills the last 64 bytes with zeros.
    ///
    /// # Safety
    /// The CPU has the instructions of the trait; `from` points to `n` readable values, `to` to as many writable ones
    /// and up to a multiple of 64 bytes.
    #[inline(always)]
    unsafe fn copy(from: *const Self::Value, n: usize, to: *mut Self::Value) {
        let (n, from, to) = (n * size_of::<Self::Value>(), from.cast::<i8>(), to.cast::<i8>());
        for i in (0..n).step_by(ROW_BYTES) {
            let mask = if n - i >= ROW_BYTES { u64::MAX } else { (1 << (n - i)) - 1 };
            // SAFETY: the mask lets bytes below `n` be read; by this function's contract whole 64 bytes can be written.
            unsafe { _mm512_storeu_si512(to.add(i).cast(), _mm512_maskz_loadu_epi8(mask, from.add(i))) };
        }
    }
}

/// A [`TileFormat`] of floats.
pub trait FloatFormat: TileFormat {
    /// Combines the partial sums of a position and 16 filters, and returns them times the scales of the window and of
    /// the filters, plus the bias. The sums of each order begin `order_stride` floats behind those of the order before.
    ///
    /// # Safety
    /// The CPU has the instructions of the trait; 16 sums of each order can be read, from aligned addresses.
    unsafe fn dequantize(
        sums: *const f32,
        order_stride: usize,
        scale: f32,
        filter_scales: __m512,
        bias: __m512,
    ) -> __m512;

    /// Loads `n` values as f32, and zeros up to 32.
    ///
    /// # Safety
    /// The CPU has the instructions of the trait; `from` points to `n` readable values.
    unsafe fn load(from: *const Self::Value, n: usize) -> [__m512; 2];

    /// Stores the first `n` of 32 values.
    ///
    /// # Safety
    /// The CPU has the instructions of the trait; `to` points to `n` writable values.
    unsafe fn store(to: *mut Self::Value, n: usize, v: [__m512; 2]);

    /// Applies an activation to the `n` values at each of `starts`.
    ///
    /// # Safety
    /// The CPU has the instructions of the trait; these values can be read and written, and nobody else accesses them.
    unsafe fn activate(activation: Activation, to: *mut Self::Value, starts: &[u32], n: usize);
}

/// Returns the mask of the first `n` of 32 lanes.
#[inline(always)]
pub(super) fn first_of_32(n: usize) -> u32 {
    if n >= 32 { u32::MAX } else { (1 << n) - 1 }
}

/// Multiplies tiles of two groups of positions by two tiles of filters, step by step, for a format with one slice and
/// one order; the arguments are those of [`TileFormat::multiply`], behind the name of the instruction.
///
/// # Safety
/// The same as for [`TileFormat::multiply`].
macro_rules! multiply_two_by_two {
    ($instruction:literal, $inputs:ident, $strides:ident, $weights:ident, $steps:ident) => {{
        let ([mut a, mut b], mut weights) = ($inputs, $weights);
        for _ in 0..$steps {
            // The instructions read the tiles of a step and change tile registers alone.
            std::arch::asm!(
                "tileloadd tmm6, [{w} + {line}*1]",
                "tileloadd tmm4, [{a} + {stride_a}*1]",
                concat!($instruction, " tmm0, tmm4, tmm6"),
                "tileloadd tmm7, [{w} + {line}*1 + 1024]",
                concat!($instruction, " tmm1, tmm4, tmm7"),
                "tileloadd tmm5, [{b} + {stride_b}*1]",
                concat!($instruction, " tmm2, tmm5, tmm6"),
                concat!($instruction, " tmm3, tmm5, tmm7"),
                w = in(reg) weights, line = in(reg) $crate::amx::ROW_BYTES,
                a = in(reg) a, stride_a = in(reg) $strides[0], b = in(reg) b, stride_b = in(reg) $strides[1],
                options(nostack, readonly),
            );
            (a, b) = (a.wrapping_add($crate::amx::ROW_BYTES), b.wrapping_add($crate::amx::ROW_BYTES));
            weights = weights.wrapping_add(2 * $crate::amx::TILE_BYTES);
        }
    }};
}
pub(super) use multiply_two_by_two;
