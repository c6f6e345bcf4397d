//! x86-64: AVX-512F, and AVX2 with FMA.

use super::{Simd, by_intrinsics};
use std::arch::x86_64::*;

/// AVX-512F: 32 registers of 16 lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512;

impl Simd for Avx512 {
    const LANES: usize = 16;
    const TILE_ROWS: usize = 14;
    type Vector = __m512;
    type Half = Avx2;
    const HAS_HALF: bool = true;

    by_intrinsics! {
        low_half(v: __m512) -> __m256 { _mm512_castps512_ps256(v) }
        splat(value: f32) -> __m512 { _mm512_set1_ps(value) }
        load(from: *const f32) -> __m512 { _mm512_loadu_ps(from) }
        load_partial(from: *const f32, n: usize) -> __m512 { _mm512_maskz_loadu_ps(first_of_16(n), from) }
        store_partial(to: *mut f32, n: usize, v: __m512) { _mm512_mask_storeu_ps(to, first_of_16(n), v) }
        store(to: *mut f32, v: __m512) { _mm512_storeu_ps(to, v) }
        mul_add(a: __m512, b: __m512, c: __m512) -> __m512 { _mm512_fmadd_ps(a, b, c) }
        add(a: __m512, b: __m512) -> __m512 { _mm512_add_ps(a, b) }
        mul(a: __m512, b: __m512) -> __m512 { _mm512_mul_ps(a, b) }
        sub(a: __m512, b: __m512) -> __m512 { _mm512_sub_ps(a, b) }
        div(a: __m512, b: __m512) -> __m512 { _mm512_div_ps(a, b) }
        max(a: __m512, b: __m512) -> __m512 { _mm512_max_ps(a, b) }
        min(a: __m512, b: __m512) -> __m512 { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn power_of_two(a: __m512) -> __m512 {
        // SAFETY: the trait demands AVX-512F.
        unsafe {
            let n = _mm512_slli_epi32::<23>(_mm512_castps_si512(a));
            _mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_castps_si512(_mm512_set1_ps(1.0))))
        }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for (i, j) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
            // SAFETY: AVX-512F includes AVX2; the quarters lie within the square that the trait demands.
            unsafe {
                Avx2::transpose(from.add(i * from_stride + j), from_stride, to.add(j * to_stride + i), to_stride);
            }
        }
    }

    #[inline(always)]
    fn prefetch_l1(at: *const f32) {
        prefetch_line::<_MM_HINT_T0>(at);
    }

    #[inline(always)]
    fn prefetch_l2(at: *const f32) {
        prefetch_line::<_MM_HINT_T1>(at);
    }
}

/// Returns the mask of the first `n` of 16 lanes.
#[inline(always)]
pub(crate) fn first_of_16(n: usize) -> __mmask16 {
    (((1u32 << n) - 1) & 0xffff) as __mmask16
}

/// Prefetches a cache line into the cache of `HINT`: a hint for any address.
#[inline(always)]
fn prefetch_line<const HINT: i32>(at: *const f32) {
    // SAFETY: a prefetch accesses no memory, and SSE is part of x86-64.
    unsafe { _mm_prefetch::<HINT>(at.cast()) }
}

/// AVX2 with FMA: 16 registers of 8 lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2;

impl Simd for Avx2 {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;
    type Vector = __m256;
    type Half = Self;

    #[inline(always)]
    unsafe fn low_half(v: __m256) -> __m256 {
        v
    }

    /// Whole vectors are stored without a mask: a masked store took 6 ns on an AMD EPYC (Zen 3), an unmasked one 0.7
    /// ns.
    #[inline(always)]
    unsafe fn store_partial(to: *mut f32, n: usize, v: __m256) {
        // SAFETY: the trait demands AVX2 and `n` writable f32.
        unsafe {
            if n == 8 {
                _mm256_storeu_ps(to, v);
            } else {
                _mm256_maskstore_ps(to, first_of_8(n), v);
            }
        }
    }

    by_intrinsics! {
        splat(value: f32) -> __m256 { _mm256_set1_ps(value) }
        load(from: *const f32) -> __m256 { _mm256_loadu_ps(from) }
        load_partial(from: *const f32, n: usize) -> __m256 { _mm256_maskload_ps(from, first_of_8(n)) }
        store(to: *mut f32, v: __m256) { _mm256_storeu_ps(to, v) }
        mul_add(a: __m256, b: __m256, c: __m256) -> __m256 { _mm256_fmadd_ps(a, b, c) }
        add(a: __m256, b: __m256) -> __m256 { _mm256_add_ps(a, b) }
        mul(a: __m256, b: __m256) -> __m256 { _mm256_mul_ps(a, b) }
        sub(a: __m256, b: __m256) -> __m256 { _mm256_sub_ps(a, b) }
        div(a: __m256, b: __m256) -> __m256 { _mm256_div_ps(a, b) }
        max(a: __m256, b: __m256) -> __m256 { _mm256_max_ps(a, b) }
        min(a: __m256, b: __m256) -> __m256 { _mm256_min_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn power_of_two(a: __m256) -> __m256 {
        // SAFETY: the trait demands AVX2.
        unsafe {
            let n = _mm256_slli_epi32::<23>(_mm256_castps_si256(a));
            _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_castps_si256(_mm256_set1_ps(1.0))))
        }
    }

    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the trait demands AVX2, and eight values at each of eight rows.
        unsafe {
            let (mut a, mut b) = ([_mm256_setzero_ps(); 8], [_mm256_setzero_ps(); 8]);
            for i in 0..8 {
                a[i] = _mm256_loadu_ps(from.add(i * from_stride));
            }
            // This transposes pairs of rows, then fours, in each half of the registers; then it exchanges the halves.
            for i in 0..4 {
                b[2 * i] = _mm256_unpacklo_ps(a[2 * i], a[2 * i + 1]);
                b[2 * i + 1] = _mm256_unpackhi_ps(a[2 * i], a[2 * i + 1]);
            }
            for i in [0, 4] {
                a[i] = _mm256_shuffle_ps::<0x44>(b[i], b[i + 2]);
                a[i + 1] = _mm256_shuffle_ps::<0xee>(b[i], b[i + 2]);
                a[i + 2] = _mm256_shuffle_ps::<0x44>(b[i + 1], b[i + 3]);
                a[i + 3] = _mm256_shuffle_ps::<0xee>(b[i + 1], b[i + 3]);
            }
            for i in 0..4 {
                _mm256_storeu_ps(to.add(i * to_stride), _mm256_permute2f128_ps::<0x20>(a[i], a[i + 4]));
                _mm256_storeu_ps(to.add((i + 4) * to_stride), _mm256_permute2f128_ps::<0x31>(a[i], a[i + 4]));
            }
        }
    }

    #[inline(always)]
    fn prefetch_l1(at: *const f32) {
        prefetch_line::<_MM_HINT_T0>(at);
    }

    #[inline(always)]
    fn prefetch_l2(at: *const f32) {
        prefetch_line::<_MM_HINT_T1>(at);
    }
}

/// Eight lanes of ones, then eight of zeros: the eight lanes from lane `8 - n` on are the mask of the first `n`.
static ONES_THEN_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// Returns the mask of the first `n` of 8 lanes.
///
/// # Safety
/// The CPU has AVX2; `n` ≤ 8.
#[inline(always)]
unsafe fn first_of_8(n: usize) -> __m256i {
    // SAFETY: lanes `8 - n` to `16 - n` lie within the sixteen, since n ≤ 8.
    unsafe { _mm256_loadu_si256(ONES_THEN_ZEROS.as_ptr().add(8 - n).cast()) }
}
