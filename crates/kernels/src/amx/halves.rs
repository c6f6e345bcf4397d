//! Maps of bf16. The instruction adds the products of the values at even places of a line, those at odd ones, both together, and that to the sum,
//! each rounded once.

use std::arch::asm;
use std::arch::x86_64::*;

use half::bf16;

use super::values::{Values, first};
use super::{LINE, TILE};

/// bf16.
#[derive(Clone, Copy, Debug)]
pub struct Halves;

/// Sixteen bf16 as f32.
#[inline(always)]
unsafe fn widen(halves: __m256i) -> __m512 {
    // SAFETY: as the caller's.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves))) }
}

// SAFETY of every block below: the trait's callers answer for the instructions, the tiles and the pointers.
impl Values for Halves {
    type V = bf16;
    const STEP: usize = 32;
    const PLANES: usize = 1;
    const ORDERS: usize = 1;
    const IN_PLACE: bool = true;

    fn weights(filter: &[f32], mut put: impl FnMut(usize, usize, &[u8])) -> f32 {
        filter.iter().enumerate().for_each(|(i, &w)| put(i, 0, &bf16::from_f32(w).to_le_bytes()));
        1.0
    }

    #[inline(always)]
    unsafe fn largest(_: *const bf16, _: usize, so_far: u32) -> u32 {
        so_far
    }

    #[inline(always)]
    fn unit(_: u32) -> f32 {
        1.0
    }

    #[inline(always)]
    unsafe fn lines(from: *const bf16, n: usize, _: f32, to: *mut u8) {
        for i in (0..n).step_by(Self::STEP) {
            unsafe {
                let line = _mm512_maskz_loadu_epi16(first(n - i), from.add(i).cast());
                _mm512_storeu_si512(to.add(i / Self::STEP * LINE).cast(), line);
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply(_: usize, from: [*const u8; 2], pitch: [usize; 2], weight: *const u8, steps: usize) {
        let ([mut a, mut b], mut weight) = (from, weight);
        for _ in 0..steps {
            unsafe {
                asm!(
                    "tileloadd tmm6, [{w} + {line}*1]",
                    "tileloadd tmm4, [{a} + {pitch_a}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{w} + {line}*1 + 1024]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{b} + {pitch_b}*1]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    w = in(reg) weight, line = in(reg) LINE,
                    a = in(reg) a, pitch_a = in(reg) pitch[0], b = in(reg) b, pitch_b = in(reg) pitch[1],
                    options(nostack, readonly),
                );
            }
            (a, b, weight) = (a.wrapping_add(LINE), b.wrapping_add(LINE), weight.wrapping_add(2 * TILE));
        }
    }

    #[inline(always)]
    unsafe fn sums(from: *const f32, _: usize, _: f32, _: __m512, bias: __m512) -> __m512 {
        unsafe { _mm512_add_ps(_mm512_load_ps(from), bias) }
    }

    #[inline(always)]
    unsafe fn load(from: *const bf16, n: usize) -> [__m512; 2] {
        unsafe {
            let halves = _mm512_maskz_loadu_epi16(first(n), from.cast());
            [widen(_mm512_castsi512_si256(halves)), widen(_mm512_extracti64x4_epi64::<1>(halves))]
        }
    }

    #[inline(always)]
    unsafe fn store(to: *mut bf16, n: usize, v: [__m512; 2]) {
        unsafe {
            let halves: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(v[1], v[0]));
            _mm512_mask_storeu_epi16(to.cast(), first(n), halves);
        }
    }
}
