//! Maps of f32, multiplied as int8 (the Ozaki scheme): the values of a window become integers of 24 bits, multiples of
//! a common scale; each integer is split into three slices of 8 bits, and the slices are multiplied by those of the
//! weights, which have a scale for each filter. Products of slices and their sums are exact.
//!
//! Ozaki, Ogita, Oishi and Rump, "Error-free transformations of matrix multiplication by using fast routines of matrix
//! multiplication and its applications" (2012); Ootomo, Ozaki and Yokota, "DGEMM on integer matrix multiplication unit"
//! (2024).
//!
//! Since the first slices count multiples of 2¹⁶, the products of two slices count multiples of 2³², 2²⁴, 2¹⁶, 2⁸ or
//! 2⁰. The six products of 2¹⁶ and above are summed, one order for each power; the three products below are left out.
//! The scale is the largest value of the window over 2²³. So the rounding error of a value is at most half a scale,
//! while f32 keeps 24 bits of each value, and the products that are left out are of the size of this error. `tests`
//! derives the bound of both errors and checks sums against it.

use std::arch::asm;
use std::arch::x86_64::*;

use super::format::{FloatFormat, TileFormat, first_of_32};
use super::{ROW_BYTES, TILE_BYTES, TILE_ROWS};
use crate::Activation;
use crate::activation::Function;
use crate::simd::Isa;

/// f32 as three slices of 8 bits.
#[derive(Clone, Copy, Debug)]
pub struct Int8Slices;

impl Int8Slices {
    /// The sizes of windows (k) that this format is used for. In smaller windows most of a tile row would be padding,
    /// which is slower than the vector kernels (measured). In larger ones the sums of an order could overflow int32: it
    /// has three products of up to 2¹⁴ for each value.
    pub const WINDOWS: std::ops::RangeInclusive<usize> = 40..=(i32::MAX / (3 << 14)) as usize;
}

/// A little less than the largest integer of three slices of -128 to 127 each, so that no value is rounded beyond it.
const LARGEST: f32 = (127 * 65_536 + 127 * 256 + 124) as f32;
/// Windows whose largest absolute value is below this are treated as zeros.
const LEAST: f32 = 1e-30;
/// 128 in each byte: added to an integer, it makes each slice a byte from 0 to 255.
const HALF_RANGES: i32 = 0x80_8080;
/// The sign bit of every byte.
const SIGNS: i8 = -128;

/// Returns the slices of an integer, the most significant one first.
pub(super) fn slices(integer: i32) -> [i8; 3] {
    let bytes = integer + HALF_RANGES;
    [16, 8, 0].map(|shift| ((bytes >> shift) as u8 ^ 0x80).cast_signed())
}

/// Returns the scale of values whose largest absolute value has these bits; NaN where a value is infinite or NaN.
fn scale(max_abs_bits: u32) -> f32 {
    match f32::from_bits(max_abs_bits) {
        size if size < LEAST => 0.0,
        size if size < f32::INFINITY => size / LARGEST,
        _ => f32::NAN,
    }
}

/// Returns the factor that turns values into integers; zero where the scale is zero or NaN.
fn to_integers(scale: f32) -> f32 {
    if scale > 0.0 { 1.0 / scale } else { 0.0 }
}

/// The bytes of two vectors of integers that are their first slices, then those that are their second slices.
static FIRST_AND_SECOND: [u8; 64] = byte_positions([2, 1]);
/// The bytes of two vectors of integers that are their third slices, twice.
static THIRD: [u8; 64] = byte_positions([0, 0]);

/// For each integer of two vectors the position of its byte `of[0]`, then that of its byte `of[1]`.
const fn byte_positions(of: [u8; 2]) -> [u8; 64] {
    let (mut positions, mut i) = ([0; 64], 0);
    while i < 64 {
        positions[i] = 4 * (i % 32) as u8 + of[i / 32];
        i += 1;
    }
    positions
}

/// Packs 64 values as one tile row of each slice.
///
/// # Safety
/// The CPU has AVX-512F, BW and VBMI; `to` points to three writable tile rows.
#[inline(always)]
unsafe fn pack_row([a, b, c, d]: [__m512; 4], factor: __m512, to: *mut u8) {
    // SAFETY: by this function's contract; the tables are 64 bytes long.
    unsafe {
        let (half, signs) = (_mm512_set1_epi32(HALF_RANGES), _mm512_set1_epi8(SIGNS));
        let two = _mm512_loadu_si512(FIRST_AND_SECOND.as_ptr().cast());
        let third = _mm512_loadu_si512(THIRD.as_ptr().cast());
        let a = _mm512_add_epi32(half, _mm512_cvtps_epi32(_mm512_mul_ps(a, factor)));
        let b = _mm512_add_epi32(half, _mm512_cvtps_epi32(_mm512_mul_ps(b, factor)));
        let c = _mm512_add_epi32(half, _mm512_cvtps_epi32(_mm512_mul_ps(c, factor)));
        let d = _mm512_add_epi32(half, _mm512_cvtps_epi32(_mm512_mul_ps(d, factor)));
        let (ab, cd) = (_mm512_permutex2var_epi8(a, two, b), _mm512_permutex2var_epi8(c, two, d));
        let (ab3, cd3) = (_mm512_permutex2var_epi8(a, third, b), _mm512_permutex2var_epi8(c, third, d));
        let first = _mm512_inserti64x4::<1>(ab, _mm512_castsi512_si256(cd));
        let second = _mm512_shuffle_i64x2::<0b11_10_11_10>(ab, cd);
        let third = _mm512_inserti64x4::<1>(ab3, _mm512_castsi512_si256(cd3));
        _mm512_storeu_si512(to.cast(), _mm512_xor_si512(first, signs));
        _mm512_storeu_si512(to.add(ROW_BYTES).cast(), _mm512_xor_si512(second, signs));
        _mm512_storeu_si512(to.add(2 * ROW_BYTES).cast(), _mm512_xor_si512(third, signs));
    }
}

/// Multiplies the tiles of slice `A` of two groups of positions by those of slice `B` of two tiles of filters, into
/// tiles 0 to 3.
///
/// # Safety
/// The tiles of the thread are configured; 16 tile rows of the slice can be read from both inputs, and the six tiles of
/// weights of a step.
#[inline(always)]
unsafe fn multiply_slices<const A: usize, const B: usize>(
    inputs: [*const u8; 2],
    strides: [usize; 2],
    weights: *const u8,
) {
    // SAFETY: by this function's contract; the instructions read those tiles, and change tile registers alone.
    unsafe {
        asm!(
            "tileloadd tmm6, [{w} + {line}*1 + {first}]",
            "tileloadd tmm4, [{a} + {stride_a}*1 + {slice}]",
            "tdpbssd tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{w} + {line}*1 + {second}]",
            "tdpbssd tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{b} + {stride_b}*1 + {slice}]",
            "tdpbssd tmm2, tmm5, tmm6",
            "tdpbssd tmm3, tmm5, tmm7",
            w = in(reg) weights, line = in(reg) ROW_BYTES,
            a = in(reg) inputs[0], stride_a = in(reg) strides[0], b = in(reg) inputs[1], stride_b = in(reg) strides[1],
            slice = const A * ROW_BYTES, first = const 2 * B * TILE_BYTES, second = const (2 * B + 1) * TILE_BYTES,
            options(nostack, readonly),
        );
    }
}

impl TileFormat for Int8Slices {
    type Value = f32;
    const VALUES_PER_ROW: usize = 64;
    const SLICES: usize = 3;
    const ORDERS: usize = 3;
    const IN_PLACE: bool = false;

    fn pack_filter(filter: &[f32], mut put: impl FnMut(usize, usize, &[u8])) -> f32 {
        let scale = scale(filter.iter().map(|w| w.abs().to_bits()).max().unwrap_or(0));
        // without a scale every slice is zero: the cast turns NaN into zero
        let factor = if scale > 0.0 { f64::from(scale).recip() } else { 0.0 };
        for (i, &w) in filter.iter().enumerate() {
            let slices = slices((f64::from(w) * factor).round_ties_even() as i32);
            slices.iter().enumerate().for_each(|(slice, byte)| put(i, slice, &[byte.cast_unsigned()]));
        }
        // The combined sums count multiples of 2¹⁶.
        scale * 65_536.0
    }

    #[inline(always)]
    unsafe fn max_abs_bits(from: *const f32, n: usize, so_far: u32) -> u32 {
        // SAFETY: the trait demands the instructions and `n` readable values, within which the loads stay.
        unsafe {
            let without_sign = _mm512_set1_epi32(i32::MAX);
            let mut largest = [_mm512_setzero_si512(); 2];
            let mut i = 0;
            while i + 32 <= n {
                let low = _mm512_and_si512(without_sign, _mm512_loadu_si512(from.add(i).cast()));
                let high = _mm512_and_si512(without_sign, _mm512_loadu_si512(from.add(i + 16).cast()));
                largest = [_mm512_max_epu32(largest[0], low), _mm512_max_epu32(largest[1], high)];
                i += 32;
            }
            if i < n {
                let [low, high] = Self::load(from.add(i), n - i);
                let low = _mm512_and_si512(without_sign, _mm512_castps_si512(low));
                let high = _mm512_and_si512(without_sign, _mm512_castps_si512(high));
                largest = [_mm512_max_epu32(largest[0], low), _mm512_max_epu32(largest[1], high)];
            }
            so_far.max(_mm512_reduce_max_epu32(_mm512_max_epu32(largest[0], largest[1])))
        }
    }

    #[inline(always)]
    fn scale(max_abs_bits: u32) -> f32 {
        scale(max_abs_bits)
    }

    #[inline(always)]
    unsafe fn pack_rows(from: *const f32, n: usize, scale: f32, to: *mut u8) {
        // SAFETY: the trait demands the instructions, `n` readable values, within which the loads stay, and three
        // writable tile rows for each 64 of them.
        unsafe {
            let (factor, mut i, mut to) = (_mm512_set1_ps(to_integers(scale)), 0, to);
            while i + Self::VALUES_PER_ROW <= n {
                let from = from.add(i);
                let values = [
                    _mm512_loadu_ps(from),
                    _mm512_loadu_ps(from.add(TILE_ROWS)),
                    _mm512_loadu_ps(from.add(2 * TILE_ROWS)),
                    _mm512_loadu_ps(from.add(3 * TILE_ROWS)),
                ];
                pack_row(values, factor, to);
                (i, to) = (i + Self::VALUES_PER_ROW, to.wrapping_add(3 * ROW_BYTES));
            }
            if i < n {
                let [a, b] = Self::load(from.add(i), n - i);
                let [c, d] = Self::load(from.wrapping_add(i + 2 * TILE_ROWS), (n - i).saturating_sub(2 * TILE_ROWS));
                pack_row([a, b, c, d], factor, to);
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply(order: usize, inputs: [*const u8; 2], strides: [usize; 2], weights: *const u8, steps: usize) {
        let at = |i: usize| {
            let step = i * 3 * ROW_BYTES;
            ([inputs[0].wrapping_add(step), inputs[1].wrapping_add(step)], weights.wrapping_add(i * 6 * TILE_BYTES))
        };
        // SAFETY: the trait demands configured tiles and `steps` steps of tile rows and of weights, six tiles each; `i`
        // is below `steps`.
        unsafe {
            match order {
                0 => {
                    for i in 0..steps {
                        let (inputs, weights) = at(i);
                        multiply_slices::<0, 0>(inputs, strides, weights);
                    }
                }
                1 => {
                    for i in 0..steps {
                        let (inputs, weights) = at(i);
                        multiply_slices::<0, 1>(inputs, strides, weights);
                        multiply_slices::<1, 0>(inputs, strides, weights);
                    }
                }
                _ => {
                    for i in 0..steps {
                        let (inputs, weights) = at(i);
                        multiply_slices::<0, 2>(inputs, strides, weights);
                        multiply_slices::<1, 1>(inputs, strides, weights);
                        multiply_slices::<2, 0>(inputs, strides, weights);
                    }
                }
            }
        }
    }
}

impl FloatFormat for Int8Slices {
    /// The sums of an order count multiples of 2⁸ times those of the next.
    #[inline(always)]
    unsafe fn dequantize(
        sums: *const f32,
        order_stride: usize,
        scale: f32,
        filter_scales: __m512,
        bias: __m512,
    ) -> __m512 {
        // SAFETY: the trait demands the instructions and 16 readable sums of each of the three orders, aligned; those
        // of int8 products are int32.
        unsafe {
            let order = [
                _mm512_cvtepi32_ps(_mm512_load_si512(sums.cast())),
                _mm512_cvtepi32_ps(_mm512_load_si512(sums.add(order_stride).cast())),
                _mm512_cvtepi32_ps(_mm512_load_si512(sums.add(2 * order_stride).cast())),
            ];
            let base = _mm512_set1_ps(256.0);
            let sum = _mm512_fmadd_ps(_mm512_fmadd_ps(order[0], base, order[1]), base, order[2]);
            _mm512_fmadd_ps(_mm512_mul_ps(sum, _mm512_set1_ps(scale)), filter_scales, bias)
        }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32, n: usize) -> [__m512; 2] {
        // SAFETY: the trait demands the instructions and `n` readable values, all that the masks let read.
        unsafe {
            let mask = first_of_32(n);
            let high = _mm512_maskz_loadu_ps((mask >> TILE_ROWS) as __mmask16, from.wrapping_add(TILE_ROWS));
            [_mm512_maskz_loadu_ps(mask as __mmask16, from), high]
        }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, n: usize, v: [__m512; 2]) {
        // SAFETY: the trait demands the instructions and `n` writable values, all that the masks let write.
        unsafe {
            let mask = first_of_32(n);
            _mm512_mask_storeu_ps(to, mask as __mmask16, v[0]);
            _mm512_mask_storeu_ps(to.wrapping_add(TILE_ROWS), (mask >> TILE_ROWS) as __mmask16, v[1]);
        }
    }

    unsafe fn activate(activation: Activation, to: *mut f32, starts: &[u32], n: usize) {
        // SAFETY: the contract of `FloatFormat::activate` is that of `Function::apply`.
        unsafe { Function { isa: Isa::Avx512, activation }.apply(to, starts, n) }
    }
}
