//! Maps of unsigned bytes, multiplied by signed bytes. The sums are integers of 32 bits, exact in any order.

use super::format::{TileFormat, multiply_two_by_two};

/// Unsigned bytes; weights are integers from -128 to 127. There is no scale: the epilogue of
/// [`int8`](crate::int8) knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes;

impl TileFormat for Bytes {
    type Value = u8;
    const VALUES_PER_ROW: usize = 64;
    const SLICES: usize = 1;
    const ORDERS: usize = 1;
    const IN_PLACE: bool = true;

    fn pack_filter(filter: &[f32], mut put: impl FnMut(usize, usize, &[u8])) -> f32 {
        filter.iter().enumerate().for_each(|(i, &w)| put(i, 0, &[(w as i8).cast_unsigned()]));
        1.0
    }

    #[inline(always)]
    unsafe fn max_abs_bits(_: *const u8, _: usize, so_far: u32) -> u32 {
        so_far
    }

    #[inline(always)]
    fn scale(_: u32) -> f32 {
        1.0
    }

    #[inline(always)]
    unsafe fn pack_rows(from: *const u8, n: usize, _: f32, to: *mut u8) {
        // SAFETY: the trait demands the same, and whole tile rows to write.
        unsafe { Self::copy(from, n, to) }
    }

    #[inline(always)]
    unsafe fn multiply(_: usize, inputs: [*const u8; 2], strides: [usize; 2], weights: *const u8, steps: usize) {
        // SAFETY: the contract of this function is that of the macro.
        unsafe { multiply_two_by_two!("tdpbusd", inputs, strides, weights, steps) }
    }
}
