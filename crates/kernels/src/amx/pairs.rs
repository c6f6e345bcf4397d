//! Maps of bf16. `TDPBF16PS` sums the products of the values at even places of a tile row, sums those at odd places,
//! adds both sums, and adds that to the sum in the tile; each addition is rounded once.

use std::arch::asm;
use std::arch::x86_64::*;

use half::bf16;

use super::format::{TileFormat, first_of_32};
use super::{ROW_BYTES, TILE_BYTES};
use crate::Activation;
use crate::activation::Function;
use crate::bf16::Bf16Isa;

/// bf16, which the instruction takes in pairs. There is no scale.
#[derive(Clone, Copy, Debug)]
pub struct Bf16Pairs;

/// Sixteen bf16 as f32.
///
/// # Safety
/// The CPU has AVX-512F.
#[inline(always)]
unsafe fn widen(halves: __m256i) -> __m512 {
    // SAFETY: by this function's contract; the intrinsics touch no memory.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves))) }
}

impl TileFormat for Bf16Pairs {
    type Value = bf16;
    const VALUES_PER_ROW: usize = 32;
    const SLICES: usize = 1;
    const ORDERS: usize = 1;
    const IN_PLACE: bool = true;

    fn pack_filter(filter: &[f32], mut put: impl FnMut(usize, usize, &[u8])) -> f32 {
        filter.iter().enumerate().for_each(|(i, &w)| put(i, 0, &bf16::from_f32(w).to_le_bytes()));
        1.0
    }

    #[inline(always)]
    unsafe fn max_abs_bits(_: *const bf16, _: usize, so_far: u32) -> u32 {
        so_far
    }

    #[inline(always)]
    fn scale(_: u32) -> f32 {
        1.0
    }

    #[inline(always)]
    unsafe fn pack_rows(from: *const bf16, n: usize, _: f32, to: *mut u8) {
        for i in (0..n).step_by(Self::VALUES_PER_ROW) {
            // SAFETY: the trait demands the instructions, `n` readable values, all that the mask lets read, and whole
            // tile rows to write.
            unsafe {
                let row = _mm512_maskz_loadu_epi16(first_of_32(n - i), from.add(i).cast());
                _mm512_storeu_si512(to.add(i / Self::VALUES_PER_ROW * ROW_BYTES).cast(), row);
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply(_: usize, inputs: [*const u8; 2], strides: [usize; 2], weights: *const u8, steps: usize) {
        let ([mut a, mut b], mut weights) = (inputs, weights);
        for _ in 0..steps {
            // SAFETY: the trait demands configured tiles and `steps` steps of tile rows and of weights, two tiles each;
            // the instructions read those and change tile registers alone.
            unsafe {
                asm!(
                    "tileloadd tmm6, [{w} + {line}*1]",
                    "tileloadd tmm4, [{a} + {stride_a}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{w} + {line}*1 + 1024]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{b} + {stride_b}*1]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    w = in(reg) weights, line = in(reg) ROW_BYTES,
                    a = in(reg) a, stride_a = in(reg) strides[0], b = in(reg) b, stride_b = in(reg) strides[1],
                    options(nostack, readonly),
                );
            }
            (a, b) = (a.wrapping_add(ROW_BYTES), b.wrapping_add(ROW_BYTES));
            weights = weights.wrapping_add(2 * TILE_BYTES);
        }
    }

    #[inline(always)]
    unsafe fn dequantize(sums: *const f32, _: usize, _: f32, _: __m512, bias: __m512) -> __m512 {
        // SAFETY: the trait demands the instructions and 16 readable sums, aligned.
        unsafe { _mm512_add_ps(_mm512_load_ps(sums), bias) }
    }

    #[inline(always)]
    unsafe fn load(from: *const bf16, n: usize) -> [__m512; 2] {
        // SAFETY: the trait demands the instructions and `n` readable values, all that the mask lets read.
        unsafe {
            let halves = _mm512_maskz_loadu_epi16(first_of_32(n), from.cast());
            [widen(_mm512_castsi512_si256(halves)), widen(_mm512_extracti64x4_epi64::<1>(halves))]
        }
    }

    #[inline(always)]
    unsafe fn store(to: *mut bf16, n: usize, v: [__m512; 2]) {
        // SAFETY: the trait demands the instructions and `n` writable values, all that the mask lets write; 32 bf16 are
        // 512 bits.
        unsafe {
            let halves = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(v[1], v[0]));
            _mm512_mask_storeu_epi16(to.cast(), first_of_32(n), halves);
        }
    }

    unsafe fn activate(activation: Activation, to: *mut bf16, starts: &[u32], n: usize) {
        // SAFETY: the contract of `TileFormat::activate` is that of `Function::apply`.
        unsafe { Function { isa: Bf16Isa::Amx, activation }.apply(to, starts, n) }
    }
}
