//! Maps of bf16. `TDPBF16PS` sums the products of the values at even places of a tile row, sums those at odd places,
//! adds both sums, and adds that to the sum in the tile; each addition is rounded once.

use std::arch::x86_64::*;

use half::bf16;

use super::format::{FloatFormat, TileFormat, first_of_32, multiply_two_by_two};
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
        // SAFETY: the trait demands the same, and whole tile rows to write.
        unsafe { Self::copy(from, n, to.cast()) }
    }

    #[inline(always)]
    unsafe fn multiply(_: usize, inputs: [*const u8; 2], strides: [usize; 2], weights: *const u8, steps: usize) {
        // SAFETY: the contract of this function is that of the macro.
        unsafe { multiply_two_by_two!("tdpbf16ps", inputs, strides, weights, steps) }
    }
}

impl FloatFormat for Bf16Pairs {
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
        // SAFETY: the contract of `FloatFormat::activate` is that of `Function::apply`.
        unsafe { Function { isa: Bf16Isa::Amx, activation }.apply(to, starts, n) }
    }
}
