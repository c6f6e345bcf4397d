//! x86-64: AVX-512F, and AVX2 with FMA.

use super::Simd;
use std::arch::x86_64::*;

/// AVX-512F: 32 registers of 16 lanes.
#[derive(Clone, Copy, Debug)]
pub struct Avx512;

// SAFETY of every block below: the trait's callers answer for the instruction set and for the pointers.
impl Simd for Avx512 {
    const W: usize = 16;
    const ROWS: usize = 14;
    type V = __m512;
    type Half = Avx2;
    const HALVES: bool = true;

    #[inline(always)]
    unsafe fn low(v: __m512) -> __m256 {
        unsafe { _mm512_castps512_ps256(v) }
    }

    #[inline(always)]
    fn prefetch(at: *const f32) {
        // SAFETY: a hint, which touches nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    fn prefetch_near(at: *const f32) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(mask(n), from) }
    }

    #[inline(always)]
    unsafe fn store_part(to: *mut f32, n: usize, v: __m512) {
        unsafe { _mm512_mask_storeu_ps(to, mask(n), v) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
}

/// The first `n` of 16 lanes.
#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    (((1u32 << n) - 1) & 0xffff) as __mmask16
}

/// AVX2 with FMA: 16 registers of 8 lanes.
#[derive(Clone, Copy, Debug)]
pub struct Avx2;

/// Ones, then zeros: a window of eight that begins at `8 - n` masks the first `n` lanes.
static LANES: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

// SAFETY of every block below: as above.
impl Simd for Avx2 {
    const W: usize = 8;
    const ROWS: usize = 6;
    type V = __m256;
    type Half = Self;

    #[inline(always)]
    unsafe fn low(v: __m256) -> __m256 {
        v
    }

    #[inline(always)]
    fn prefetch(at: *const f32) {
        // SAFETY: a hint, which touches nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    fn prefetch_near(at: *const f32) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> __m256 {
        unsafe { _mm256_maskload_ps(from, lanes(n)) }
    }

    #[inline(always)]
    unsafe fn store_part(to: *mut f32, n: usize, v: __m256) {
        unsafe { _mm256_maskstore_ps(to, lanes(n), v) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
}

#[inline(always)]
unsafe fn lanes(n: usize) -> __m256i {
    // SAFETY: n ≤ 8, so the window of eight lies within the sixteen.
    unsafe { _mm256_loadu_si256(LANES.as_ptr().add(8 - n).cast()) }
}
