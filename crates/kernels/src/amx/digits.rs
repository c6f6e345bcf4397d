//! Maps of f32, multiplied as integers: the values of a window are a multiple of a common unit, 24 bits each, and the three digits of 8 bits of that
//! number are multiplied by those of the weights, which have a unit for each filter. Products of digits and their sums are exact.
//!
//! Ozaki, Ogita, Oishi and Rump, "Error-free transformations of matrix multiplication by using fast routines of matrix multiplication and its
//! applications" (2012); Ootomo, Ozaki and Yokota, "DGEMM on integer matrix multiplication unit" (2024).
//!
//! With the first digits at 2¹⁶, the products of two digits stand at 2³², 2²⁴, 2¹⁶, 2⁸ and 1. The six at 2¹⁶ and above are summed, an order each
//! power; the three below are left out. The unit is the largest value of the window over 2²³: a value loses half of it at most, where f32 keeps 24
//! bits of each value, and what is left out is of the same size. `tests` derives what both may come to, and holds sums to it.

use std::arch::asm;
use std::arch::x86_64::*;

use super::values::{Values, first};
use super::{LINE, ROWS, TILE};

/// f32 as three digits.
#[derive(Clone, Copy, Debug)]
pub struct Digits;

/// The values of a window for which digits are worth while: of fewer most of a line would be zeros (measured). Of more the sums of an order, three
/// products of up to 2¹⁴ for each, would be no 32-bit integers.
pub const WINDOWS: std::ops::RangeInclusive<usize> = 40..=(i32::MAX / (3 << 14)) as usize;

/// The largest number of three digits, of -128 to 127 each, is a little more: no rounding may go beyond.
const LARGEST: f32 = (127 * 65_536 + 127 * 256 + 124) as f32;
/// Windows of which no value is larger are zero.
const LEAST: f32 = 1e-30;
/// Half of each digit's range: added, all digits are bytes from zero on.
const HALF: i32 = 0x80_8080;
/// The sign of a digit in every byte.
const SIGNS: i8 = -128;

/// The digits of a number, the first one first.
pub fn digits(number: i32) -> [i8; 3] {
    let bytes = number + HALF;
    [16, 8, 0].map(|shift| ((bytes >> shift) as u8 ^ 0x80).cast_signed())
}

/// Unit of values whose largest size has these bits: not a number where one of the values is none.
fn unit(largest: u32) -> f32 {
    match f32::from_bits(largest) {
        size if size < LEAST => 0.0,
        size if size < f32::INFINITY => size / LARGEST,
        _ => f32::NAN,
    }
}

/// What values are multiplied by to be numbers, which are zero where there is no unit.
fn numbers(unit: f32) -> f32 {
    if unit > 0.0 { 1.0 / unit } else { 0.0 }
}

/// Where in two vectors of numbers lie the first digits, then the second ones.
static FIRST_AND_SECOND: [u8; 64] = places([2, 1]);
/// Where the third ones lie, twice.
static THIRD: [u8; 64] = places([0, 0]);

const fn places(of: [u8; 2]) -> [u8; 64] {
    let (mut places, mut i) = ([0; 64], 0);
    while i < 64 {
        places[i] = 4 * (i % 32) as u8 + of[i / 32];
        i += 1;
    }
    places
}

/// Writes 64 values as a line of each plane.
#[inline(always)]
unsafe fn line([a, b, c, d]: [__m512; 4], scale: __m512, to: *mut u8) {
    // SAFETY: as the caller's.
    unsafe {
        let (half, signs) = (_mm512_set1_epi32(HALF), _mm512_set1_epi8(SIGNS));
        let two = _mm512_loadu_si512(FIRST_AND_SECOND.as_ptr().cast());
        let third = _mm512_loadu_si512(THIRD.as_ptr().cast());
        let a = _mm512_add_epi32(half, _mm512_cvtps_epi32(_mm512_mul_ps(a, scale)));
        let b = _mm512_add_epi32(half, _mm512_cvtps_epi32(_mm512_mul_ps(b, scale)));
        let c = _mm512_add_epi32(half, _mm512_cvtps_epi32(_mm512_mul_ps(c, scale)));
        let d = _mm512_add_epi32(half, _mm512_cvtps_epi32(_mm512_mul_ps(d, scale)));
        let (ab, cd) = (_mm512_permutex2var_epi8(a, two, b), _mm512_permutex2var_epi8(c, two, d));
        let (ab3, cd3) = (_mm512_permutex2var_epi8(a, third, b), _mm512_permutex2var_epi8(c, third, d));
        let first = _mm512_inserti64x4::<1>(ab, _mm512_castsi512_si256(cd));
        let second = _mm512_shuffle_i64x2::<0b11_10_11_10>(ab, cd);
        let third = _mm512_inserti64x4::<1>(ab3, _mm512_castsi512_si256(cd3));
        _mm512_storeu_si512(to.cast(), _mm512_xor_si512(first, signs));
        _mm512_storeu_si512(to.add(LINE).cast(), _mm512_xor_si512(second, signs));
        _mm512_storeu_si512(to.add(2 * LINE).cast(), _mm512_xor_si512(third, signs));
    }
}

/// The tiles of plane `A` of two groups by those of plane `B` of two tiles of filters.
#[inline(always)]
unsafe fn planes<const A: usize, const B: usize>(from: [*const u8; 2], pitch: [usize; 2], weight: *const u8) {
    // SAFETY: as the caller's.
    unsafe {
        asm!(
            "tileloadd tmm6, [{w} + {line}*1 + {first}]",
            "tileloadd tmm4, [{a} + {pitch_a}*1 + {plane}]",
            "tdpbssd tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{w} + {line}*1 + {second}]",
            "tdpbssd tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{b} + {pitch_b}*1 + {plane}]",
            "tdpbssd tmm2, tmm5, tmm6",
            "tdpbssd tmm3, tmm5, tmm7",
            w = in(reg) weight, line = in(reg) LINE,
            a = in(reg) from[0], pitch_a = in(reg) pitch[0], b = in(reg) from[1], pitch_b = in(reg) pitch[1],
            plane = const A * LINE, first = const 2 * B * TILE, second = const (2 * B + 1) * TILE,
            options(nostack, readonly),
        );
    }
}

// SAFETY of every block below: the trait's callers answer for the instructions, the tiles and the pointers.
impl Values for Digits {
    type V = f32;
    const STEP: usize = 64;
    const PLANES: usize = 3;
    const ORDERS: usize = 3;
    const IN_PLACE: bool = false;

    fn weights(filter: &[f32], mut put: impl FnMut(usize, usize, &[u8])) -> f32 {
        let unit = unit(filter.iter().map(|w| w.abs().to_bits()).max().unwrap_or(0));
        let number = f64::from(unit).recip();
        for (i, &w) in filter.iter().enumerate() {
            // zero where there is no unit
            let digits = digits((f64::from(w) * number).round_ties_even() as i32);
            digits.iter().enumerate().for_each(|(plane, digit)| put(i, plane, &[digit.cast_unsigned()]));
        }
        // of the numbers that sums are made of
        unit * 65_536.0
    }

    #[inline(always)]
    unsafe fn largest(from: *const f32, n: usize, so_far: u32) -> u32 {
        unsafe {
            let size = _mm512_set1_epi32(i32::MAX);
            let mut largest = [_mm512_setzero_si512(); 2];
            let mut i = 0;
            while i + 32 <= n {
                let low = _mm512_and_si512(size, _mm512_loadu_si512(from.add(i).cast()));
                let high = _mm512_and_si512(size, _mm512_loadu_si512(from.add(i + 16).cast()));
                largest = [_mm512_max_epu32(largest[0], low), _mm512_max_epu32(largest[1], high)];
                i += 32;
            }
            if i < n {
                let [low, high] = Self::load(from.add(i), n - i);
                let low = _mm512_and_si512(size, _mm512_castps_si512(low));
                let high = _mm512_and_si512(size, _mm512_castps_si512(high));
                largest = [_mm512_max_epu32(largest[0], low), _mm512_max_epu32(largest[1], high)];
            }
            so_far.max(_mm512_reduce_max_epu32(_mm512_max_epu32(largest[0], largest[1])))
        }
    }

    #[inline(always)]
    fn unit(largest: u32) -> f32 {
        unit(largest)
    }

    #[inline(always)]
    unsafe fn lines(from: *const f32, n: usize, unit: f32, to: *mut u8) {
        unsafe {
            let (scale, mut i, mut to) = (_mm512_set1_ps(numbers(unit)), 0, to);
            while i + Self::STEP <= n {
                let from = from.add(i);
                let load = [
                    _mm512_loadu_ps(from),
                    _mm512_loadu_ps(from.add(ROWS)),
                    _mm512_loadu_ps(from.add(2 * ROWS)),
                    _mm512_loadu_ps(from.add(3 * ROWS)),
                ];
                line(load, scale, to);
                (i, to) = (i + Self::STEP, to.wrapping_add(3 * LINE));
            }
            if i < n {
                let [a, b] = Self::load(from.add(i), n - i);
                let [c, d] = Self::load(from.wrapping_add(i + 2 * ROWS), (n - i).saturating_sub(2 * ROWS));
                line([a, b, c, d], scale, to);
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply(order: usize, from: [*const u8; 2], pitch: [usize; 2], weight: *const u8, steps: usize) {
        let at = |i: usize| {
            let step = i * 3 * LINE;
            ([from[0].wrapping_add(step), from[1].wrapping_add(step)], weight.wrapping_add(i * 6 * TILE))
        };
        unsafe {
            match order {
                0 => {
                    for i in 0..steps {
                        let (from, weight) = at(i);
                        planes::<0, 0>(from, pitch, weight);
                    }
                }
                1 => {
                    for i in 0..steps {
                        let (from, weight) = at(i);
                        planes::<0, 1>(from, pitch, weight);
                        planes::<1, 0>(from, pitch, weight);
                    }
                }
                _ => {
                    for i in 0..steps {
                        let (from, weight) = at(i);
                        planes::<0, 2>(from, pitch, weight);
                        planes::<1, 1>(from, pitch, weight);
                        planes::<2, 0>(from, pitch, weight);
                    }
                }
            }
        }
    }

    /// Each order is 2⁸ times the next.
    #[inline(always)]
    unsafe fn sums(from: *const f32, orders: usize, unit: f32, units: __m512, bias: __m512) -> __m512 {
        unsafe {
            let order = [
                _mm512_cvtepi32_ps(_mm512_load_si512(from.cast())),
                _mm512_cvtepi32_ps(_mm512_load_si512(from.add(orders).cast())),
                _mm512_cvtepi32_ps(_mm512_load_si512(from.add(2 * orders).cast())),
            ];
            let more = _mm512_set1_ps(256.0);
            let sum = _mm512_fmadd_ps(_mm512_fmadd_ps(order[0], more, order[1]), more, order[2]);
            _mm512_fmadd_ps(_mm512_mul_ps(sum, _mm512_set1_ps(unit)), units, bias)
        }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32, n: usize) -> [__m512; 2] {
        unsafe {
            let mask = first(n);
            let high = _mm512_maskz_loadu_ps((mask >> ROWS) as __mmask16, from.wrapping_add(ROWS));
            [_mm512_maskz_loadu_ps(mask as __mmask16, from), high]
        }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, n: usize, v: [__m512; 2]) {
        unsafe {
            let mask = first(n);
            _mm512_mask_storeu_ps(to, mask as __mmask16, v[0]);
            _mm512_mask_storeu_ps(to.wrapping_add(ROWS), (mask >> ROWS) as __mmask16, v[1]);
        }
    }
}
