//! Vectors of pairs of bf16: what the matrix product asks of an instruction set beside [`Simd`].

use super::{bf16, rounded};
use crate::simd::{Portable, Simd};

/// Sums of products of pairs, a lane of `S` each.
pub(crate) trait Pairs: Copy {
    type S: Simd;
    /// As many pairs as `S` has lanes.
    type P: Copy;

    /// # Safety
    /// The CPU has the instruction set; as many pairs as lanes can be read.
    unsafe fn load(from: *const u32) -> Self::P;
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn splat(pair: u32) -> Self::P;
    /// sum + the product of the upper values, then + that of the lower ones.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn dot(sum: V<Self>, a: Self::P, b: Self::P) -> V<Self>;
    /// # Safety
    /// The CPU has the instruction set; `n` values can be read, not more than lanes; the other lanes are zero.
    unsafe fn widen(from: *const bf16, n: usize) -> V<Self>;
    /// # Safety
    /// The CPU has the instruction set; `n` values can be written, not more than lanes.
    unsafe fn narrow(to: *mut bf16, n: usize, v: V<Self>);
}

/// The vector of f32 that sums are in.
pub(crate) type V<D> = <<D as Pairs>::S as Simd>::V;

/// A pair's lower and upper value as f32.
fn split(pair: u32) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)]
}

/// Pairs widened to two vectors of f32: the lower values, the upper ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Widened<S>(std::marker::PhantomData<S>);

// SAFETY of every block in this file: the trait's callers answer for the instruction set and for the pointers.
impl Pairs for Widened<Portable> {
    type S = Portable;
    type P = [[f32; 8]; 2];

    #[inline(always)]
    unsafe fn load(from: *const u32) -> [[f32; 8]; 2] {
        // SAFETY: see above.
        let pairs = unsafe { from.cast::<[u32; 8]>().read_unaligned() };
        [pairs.map(|pair| split(pair)[0]), pairs.map(|pair| split(pair)[1])]
    }

    #[inline(always)]
    unsafe fn splat(pair: u32) -> [[f32; 8]; 2] {
        split(pair).map(|value| [value; 8])
    }

    #[inline(always)]
    unsafe fn dot(sum: [f32; 8], a: [[f32; 8]; 2], b: [[f32; 8]; 2]) -> [f32; 8] {
        // SAFETY: plain Rust.
        unsafe { Portable::mul_add(a[0], b[0], Portable::mul_add(a[1], b[1], sum)) }
    }

    #[inline(always)]
    unsafe fn widen(from: *const bf16, n: usize) -> [f32; 8] {
        let mut out = [0.0; 8];
        for (i, out) in out.iter_mut().enumerate().take(n) {
            // SAFETY: see above.
            *out = unsafe { (*from.add(i)).to_f32() };
        }
        out
    }

    #[inline(always)]
    unsafe fn narrow(to: *mut bf16, n: usize, v: [f32; 8]) {
        // SAFETY: see above.
        unsafe { write(to, &v[..n]) };
    }
}

/// Rounds `values` to where `to` points.
#[inline(always)]
unsafe fn write(to: *mut bf16, values: &[f32]) {
    for (i, &value) in values.iter().enumerate() {
        // SAFETY: as the caller's.
        unsafe { to.add(i).write(rounded(value)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::{Pairs, Widened, bf16, write};
    use crate::simd::Neon;
    use std::arch::aarch64::*;

    impl Pairs for Widened<Neon> {
        type S = Neon;
        type P = [float32x4_t; 2];

        #[inline(always)]
        unsafe fn load(from: *const u32) -> [float32x4_t; 2] {
            unsafe { split(vld1q_u32(from)) }
        }

        #[inline(always)]
        unsafe fn splat(pair: u32) -> [float32x4_t; 2] {
            unsafe { split(vdupq_n_u32(pair)) }
        }

        #[inline(always)]
        unsafe fn dot(sum: float32x4_t, a: [float32x4_t; 2], b: [float32x4_t; 2]) -> float32x4_t {
            unsafe { vfmaq_f32(vfmaq_f32(sum, a[1], b[1]), a[0], b[0]) }
        }

        #[inline(always)]
        unsafe fn widen(from: *const bf16, n: usize) -> float32x4_t {
            let mut values = [bf16::ZERO; 4];
            unsafe {
                let from = if n == 4 {
                    from
                } else {
                    std::ptr::copy_nonoverlapping(from, values.as_mut_ptr(), n);
                    values.as_ptr()
                };
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.cast())))
            }
        }

        #[inline(always)]
        unsafe fn narrow(to: *mut bf16, n: usize, v: float32x4_t) {
            let mut values = [0.0f32; 4];
            unsafe {
                vst1q_f32(values.as_mut_ptr(), v);
                write(to, &values[..n]);
            }
        }
    }

    /// The lower values, the upper ones.
    #[inline(always)]
    unsafe fn split(pairs: uint32x4_t) -> [float32x4_t; 2] {
        unsafe {
            let upper = vandq_u32(pairs, vdupq_n_u32(0xffff_0000));
            [vreinterpretq_f32_u32(vshlq_n_u32::<16>(pairs)), vreinterpretq_f32_u32(upper)]
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Native;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Pairs, Widened, bf16, write};
    use crate::simd::{Avx2, Avx512};
    use std::arch::x86_64::*;

    /// AVX-512 with BF16.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Native;

    impl Pairs for Native {
        type S = Avx512;
        type P = __m512bh;

        #[inline(always)]
        unsafe fn load(from: *const u32) -> __m512bh {
            unsafe { std::mem::transmute(_mm512_loadu_si512(from.cast())) }
        }

        #[inline(always)]
        unsafe fn splat(pair: u32) -> __m512bh {
            unsafe { std::mem::transmute(_mm512_set1_epi32(pair.cast_signed())) }
        }

        #[inline(always)]
        unsafe fn dot(sum: __m512, a: __m512bh, b: __m512bh) -> __m512 {
            unsafe { _mm512_dpbf16_ps(sum, a, b) }
        }

        #[inline(always)]
        unsafe fn widen(from: *const bf16, n: usize) -> __m512 {
            unsafe { widen_512(from, n) }
        }

        #[inline(always)]
        unsafe fn narrow(to: *mut bf16, n: usize, v: __m512) {
            unsafe {
                let half: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(v));
                if n == 16 {
                    _mm256_storeu_si256(to.cast(), half);
                } else {
                    _mm256_mask_storeu_epi16(to.cast(), ((1u32 << n) - 1) as __mmask16, half);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn widen_512(from: *const bf16, n: usize) -> __m512 {
        unsafe {
            let half = if n == 16 { _mm256_loadu_si256(from.cast()) } else { part(from, n) };
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)))
        }
    }

    /// `n` values, then zeros.
    #[inline(always)]
    unsafe fn part(from: *const bf16, n: usize) -> __m256i {
        let mut values = [bf16::ZERO; 16];
        unsafe {
            std::ptr::copy_nonoverlapping(from, values.as_mut_ptr(), n);
            _mm256_loadu_si256(values.as_ptr().cast())
        }
    }

    impl Pairs for Widened<Avx512> {
        type S = Avx512;
        type P = [__m512; 2];

        #[inline(always)]
        unsafe fn load(from: *const u32) -> [__m512; 2] {
            unsafe { split_512(_mm512_loadu_si512(from.cast())) }
        }

        #[inline(always)]
        unsafe fn splat(pair: u32) -> [__m512; 2] {
            unsafe { split_512(_mm512_set1_epi32(pair.cast_signed())) }
        }

        #[inline(always)]
        unsafe fn dot(sum: __m512, a: [__m512; 2], b: [__m512; 2]) -> __m512 {
            unsafe { _mm512_fmadd_ps(a[0], b[0], _mm512_fmadd_ps(a[1], b[1], sum)) }
        }

        #[inline(always)]
        unsafe fn widen(from: *const bf16, n: usize) -> __m512 {
            unsafe { widen_512(from, n) }
        }

        #[inline(always)]
        unsafe fn narrow(to: *mut bf16, n: usize, v: __m512) {
            let mut values = [0.0f32; 16];
            unsafe {
                _mm512_storeu_ps(values.as_mut_ptr(), v);
                write(to, &values[..n]);
            }
        }
    }

    #[inline(always)]
    unsafe fn split_512(pairs: __m512i) -> [__m512; 2] {
        unsafe {
            let upper = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000u32.cast_signed()));
            [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)), _mm512_castsi512_ps(upper)]
        }
    }

    impl Pairs for Widened<Avx2> {
        type S = Avx2;
        type P = [__m256; 2];

        #[inline(always)]
        unsafe fn load(from: *const u32) -> [__m256; 2] {
            unsafe { split_256(_mm256_loadu_si256(from.cast())) }
        }

        #[inline(always)]
        unsafe fn splat(pair: u32) -> [__m256; 2] {
            unsafe { split_256(_mm256_set1_epi32(pair.cast_signed())) }
        }

        #[inline(always)]
        unsafe fn dot(sum: __m256, a: [__m256; 2], b: [__m256; 2]) -> __m256 {
            unsafe { _mm256_fmadd_ps(a[0], b[0], _mm256_fmadd_ps(a[1], b[1], sum)) }
        }

        #[inline(always)]
        unsafe fn widen(from: *const bf16, n: usize) -> __m256 {
            unsafe {
                let half = if n == 8 { _mm_loadu_si128(from.cast()) } else { _mm256_castsi256_si128(part(from, n)) };
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(half)))
            }
        }

        #[inline(always)]
        unsafe fn narrow(to: *mut bf16, n: usize, v: __m256) {
            let mut values = [0.0f32; 8];
            unsafe {
                _mm256_storeu_ps(values.as_mut_ptr(), v);
                write(to, &values[..n]);
            }
        }
    }

    #[inline(always)]
    unsafe fn split_256(pairs: __m256i) -> [__m256; 2] {
        unsafe {
            let upper = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000u32.cast_signed()));
            [_mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs)), _mm256_castsi256_ps(upper)]
        }
    }
}
