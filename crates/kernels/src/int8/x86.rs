//! x86-64: AVX512-VNNI, AVX-VNNI, and AVX2 without either.

use super::simd::{Int8Kernel, Int8Simd};
use crate::simd::{Avx2, Avx512, by_intrinsics, first_of_16};
use std::arch::x86_64::*;

/// Whether the CPU has AVX512-VNNI and the vectors that it works on.
pub(super) fn has_avx512_vnni() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

/// # Safety
/// The CPU has AVX512-VNNI with AVX-512F, BW and VL; the arguments of the kernel are as its type demands.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn run_avx512_vnni<K: Int8Kernel>(kernel: K) {
    // SAFETY: this function may only be called where the CPU has these instructions, and with arguments that the kernel
    // accepts.
    unsafe { kernel.run::<Avx512VnniBytes>() }
}

/// # Safety
/// The CPU has AVX-VNNI, AVX2 and FMA; the arguments of the kernel are as its type demands.
#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) unsafe fn run_avx_vnni<K: Int8Kernel>(kernel: K) {
    // SAFETY: this function may only be called where the CPU has these instructions, and with arguments that the kernel
    // accepts.
    unsafe { kernel.run::<AvxVnniBytes>() }
}

/// # Safety
/// The CPU has AVX2 and FMA; the arguments of the kernel are as its type demands.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run_avx2<K: Int8Kernel>(kernel: K) {
    // SAFETY: this function may only be called where the CPU has these instructions, and with arguments that the kernel
    // accepts.
    unsafe { kernel.run::<Avx2Bytes>() }
}

/// AVX512-VNNI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512VnniBytes;

/// Within each quarter of a vector the bytes 0, 4, 8 and 12, then 1, 5, 9 and 13, and so on: groups of four bytes from
/// each of four positions become groups of one byte from each.
const TRANSPOSED: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];

impl Int8Simd for Avx512VnniBytes {
    type Simd = Avx512;
    const TILE_ROWS: usize = 14;
    type Sums = __m512i;
    type Weights = __m512i;
    type Inputs = __m512i;

    by_intrinsics! {
        load_sums(from: *const i32) -> __m512i { _mm512_loadu_si512(from.cast()) }
        load(from: *const i8) -> __m512i { _mm512_loadu_si512(from.cast()) }
        splat(from: *const u8) -> __m512i { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
        dot(sums: __m512i, x: __m512i, w: __m512i) -> __m512i { _mm512_dpbusd_epi32(sums, x, w) }
        to_f32(sums: __m512i) -> __m512 { _mm512_cvtepi32_ps(sums) }
        widen(from: *const u8, n: usize) -> __m512 { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load_16(from, n))) }
    }

    #[inline(always)]
    unsafe fn gather(from: [*const u8; 4], n: usize) -> __m512i {
        // SAFETY: the trait demands AVX-512 with BW and VL, and `n` ≤ 16 readable bytes at each position.
        unsafe {
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let [a, b, c, d] = [load_16(from[0], n), load_16(from[1], n), load_16(from[2], n), load_16(from[3], n)];
            let ab = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(a), b);
            let all = _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(ab, c), d);
            let bytes = _mm512_broadcast_i32x4(_mm_loadu_si128(TRANSPOSED.as_ptr().cast()));
            _mm512_shuffle_epi8(_mm512_permutexvar_epi32(order, all), bytes)
        }
    }

    #[inline(always)]
    unsafe fn narrow(to: *mut u8, n: usize, v: __m512) {
        // SAFETY: the trait demands AVX-512 with BW and VL, and `n` ≤ 16 writable bytes, which are all that the mask
        // lets write.
        unsafe {
            // the conversion rounds ties to even; both bounds are whole
            let v = _mm512_min_ps(_mm512_set1_ps(255.0), _mm512_max_ps(v, _mm512_setzero_ps()));
            let bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v));
            if n == 16 {
                _mm_storeu_si128(to.cast(), bytes);
            } else {
                _mm_mask_storeu_epi8(to.cast(), first_of_16(n), bytes);
            }
        }
    }
}

/// Loads `n` bytes, then zeros.
///
/// # Safety
/// The CPU has AVX-512 with BW and VL; `from` points to `n` readable bytes; `n` ≤ 16.
#[inline(always)]
unsafe fn load_16(from: *const u8, n: usize) -> __m128i {
    // SAFETY: by this function's contract; sixteen bytes are read where `n` is 16.
    unsafe { if n == 16 { _mm_loadu_si128(from.cast()) } else { _mm_maskz_loadu_epi8(first_of_16(n), from.cast()) } }
}

/// Loads `n` bytes, then zeros.
///
/// # Safety
/// The CPU has SSE2; `from` points to `n` readable bytes; `n` ≤ 8.
#[inline(always)]
unsafe fn load_8(from: *const u8, n: usize) -> __m128i {
    let mut bytes = [0u8; 8];
    // SAFETY: by this function's contract; eight bytes are read where `n` is 8, else `n` are copied to the array.
    unsafe {
        if n == 8 {
            return _mm_loadl_epi64(from.cast());
        }
        std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), n);
        _mm_loadl_epi64(bytes.as_ptr().cast())
    }
}

/// Loads a byte of each of four positions for each of eight lanes.
///
/// # Safety
/// The CPU has AVX2; each of `from` points to `n` readable bytes; `n` ≤ 8.
#[inline(always)]
unsafe fn gather_8(from: [*const u8; 4], n: usize) -> __m256i {
    // SAFETY: by this function's contract.
    unsafe {
        let [a, b, c, d] = [load_8(from[0], n), load_8(from[1], n), load_8(from[2], n), load_8(from[3], n)];
        let all = _mm256_set_m128i(_mm_unpacklo_epi64(c, d), _mm_unpacklo_epi64(a, b));
        let all = _mm256_permutevar8x32_epi32(all, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
        _mm256_shuffle_epi8(all, _mm256_broadcastsi128_si256(_mm_loadu_si128(TRANSPOSED.as_ptr().cast())))
    }
}

/// Rounds and stores the first `n` of eight values.
///
/// # Safety
/// The CPU has AVX2; `to` points to `n` writable bytes; `n` ≤ 8.
#[inline(always)]
unsafe fn narrow_8(to: *mut u8, n: usize, v: __m256) {
    let mut bytes = [0u8; 8];
    // SAFETY: by this function's contract; the array holds the eight bytes, of which `n` are copied where these are
    // fewer.
    unsafe {
        // the conversion rounds ties to even; both bounds are whole
        let v = _mm256_min_ps(_mm256_set1_ps(255.0), _mm256_max_ps(v, _mm256_setzero_ps()));
        let words = _mm256_cvtps_epi32(v);
        let words = _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
        let packed = _mm_packus_epi16(words, words);
        if n == 8 {
            _mm_storel_epi64(to.cast(), packed);
        } else {
            _mm_storel_epi64(bytes.as_mut_ptr().cast(), packed);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, n);
        }
    }
}

/// Implements the trait for vectors of 256 bits.
macro_rules! of_256_bits {
    ($name:ident, $rows:literal, $doc:literal, |$sums:ident, $x:ident, $w:ident| $dot:expr) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name;

        impl Int8Simd for $name {
            type Simd = Avx2;
            const TILE_ROWS: usize = $rows;
            type Sums = __m256i;
            type Weights = __m256i;
            type Inputs = __m256i;

            by_intrinsics! {
                load_sums(from: *const i32) -> __m256i { _mm256_loadu_si256(from.cast()) }
                load(from: *const i8) -> __m256i { _mm256_loadu_si256(from.cast()) }
                splat(from: *const u8) -> __m256i { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
                gather(from: [*const u8; 4], n: usize) -> __m256i { gather_8(from, n) }
                dot($sums: __m256i, $x: __m256i, $w: __m256i) -> __m256i { $dot }
                to_f32(sums: __m256i) -> __m256 { _mm256_cvtepi32_ps(sums) }
                widen(from: *const u8, n: usize) -> __m256 { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load_8(from, n))) }
                narrow(to: *mut u8, n: usize, v: __m256) { narrow_8(to, n, v) }
            }
        }
    };
}

of_256_bits!(AvxVnniBytes, 6, "AVX-VNNI.", |sums, x, w| _mm256_dpbusd_avx_epi32(sums, x, w));
of_256_bits!(
    Avx2Bytes,
    4,
    "AVX2: products of values widened to 16 bits, those at even and at odd places.",
    |sums, x, w| {
        let even = _mm256_madd_epi16(
            _mm256_and_si256(x, _mm256_set1_epi16(0xff)),
            _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w)),
        );
        let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(x), _mm256_srai_epi16::<8>(w));
        _mm256_add_epi32(sums, _mm256_add_epi32(even, odd))
    }
);
