//! Vectors of pairs of bf16: the operations that the matrix product over bf16 needs of an instruction set beside those
//! of [`Simd`].

use super::{bf16, rounded};
use crate::simd::{MOST_LANES, Portable, Simd};

/// Multiplies pairs of bf16 and adds the products to sums of f32, one lane for each pair.
pub(crate) trait Bf16Simd: Copy {
    /// The vectors of the sums.
    type Simd: Simd;
    /// As many pairs as `Simd` has lanes.
    type Pairs: Copy;

    /// # Safety
    /// The CPU has the instruction set of `Self`; `from` points to as many readable pairs as there are lanes.
    unsafe fn load(from: *const u32) -> Self::Pairs;
    /// # Safety
    /// The CPU has the instruction set of `Self`.
    unsafe fn splat(pair: u32) -> Self::Pairs;
    /// Adds the product of the upper values of each pair to the sum, then the product of the lower values.
    ///
    /// # Safety
    /// The CPU has the instruction set of `Self`.
    unsafe fn dot(sum: SumVector<Self>, a: Self::Pairs, b: Self::Pairs) -> SumVector<Self>;
    /// Loads `n` values as f32; the other lanes are zero.
    ///
    /// # Safety
    /// The CPU has the instruction set of `Self`; `from` points to `n` readable values; there are at least `n` lanes.
    unsafe fn widen(from: *const bf16, n: usize) -> SumVector<Self>;
    /// Rounds and stores the first `n` values.
    ///
    /// # Safety
    /// The CPU has the instruction set of `Self`; `to` points to `n` writable values; there are at least `n` lanes.
    #[inline(always)]
    unsafe fn narrow(to: *mut bf16, n: usize, v: SumVector<Self>) {
        let mut values = [0.0f32; MOST_LANES];
        // SAFETY: the array holds a vector of any instruction set; this function's contract allows `n` values to be
        // written, and `i` is below `n`.
        unsafe {
            Self::Simd::store(values.as_mut_ptr(), v);
            for (i, &value) in values[..n].iter().enumerate() {
                to.add(i).write(rounded(value));
            }
        }
    }
}

/// The vector of f32 that holds the sums.
pub(crate) type SumVector<B> = <<B as Bf16Simd>::Simd as Simd>::Vector;

/// A computation over bf16 written once for every instruction set, with its arguments; see
/// [`Bf16Isa::run`](super::Bf16Isa::run).
pub(crate) trait Bf16Kernel {
    /// # Safety
    /// The CPU has the instruction set of `B`, and the arguments are as the implementing type demands.
    unsafe fn run<B: Bf16Simd>(self);
}

/// Pairs widened to two vectors of f32: the lower values, then the upper ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Widened<S>(std::marker::PhantomData<S>);

/// Returns the lower and the upper value of a pair as f32.
fn split(pair: u32) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)]
}

impl Bf16Simd for Widened<Portable> {
    type Simd = Portable;
    type Pairs = [[f32; 8]; 2];

    #[inline(always)]
    unsafe fn load(from: *const u32) -> [[f32; 8]; 2] {
        // SAFETY: the trait demands eight readable pairs.
        let pairs = unsafe { from.cast::<[u32; 8]>().read_unaligned() };
        [pairs.map(|pair| split(pair)[0]), pairs.map(|pair| split(pair)[1])]
    }

    #[inline(always)]
    unsafe fn splat(pair: u32) -> [[f32; 8]; 2] {
        split(pair).map(|value| [value; 8])
    }

    #[inline(always)]
    unsafe fn dot(sum: [f32; 8], a: [[f32; 8]; 2], b: [[f32; 8]; 2]) -> [f32; 8] {
        // SAFETY: `Portable` needs no instruction set.
        unsafe { Portable::mul_add(a[0], b[0], Portable::mul_add(a[1], b[1], sum)) }
    }

    #[inline(always)]
    unsafe fn widen(from: *const bf16, n: usize) -> [f32; 8] {
        let mut out = [0.0; 8];
        for (i, out) in out.iter_mut().enumerate().take(n) {
            // SAFETY: the trait demands `n` readable values, and `i` is below `n`.
            *out = unsafe { (*from.add(i)).to_f32() };
        }
        out
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::{Bf16Simd, Widened, bf16};
    use crate::simd::{Neon, by_intrinsics};
    use std::arch::aarch64::*;

    impl Bf16Simd for Widened<Neon> {
        type Simd = Neon;
        type Pairs = [float32x4_t; 2];

        by_intrinsics! {
            load(from: *const u32) -> [float32x4_t; 2] { split(vld1q_u32(from)) }
            splat(pair: u32) -> [float32x4_t; 2] { split(vdupq_n_u32(pair)) }
            dot(sum: float32x4_t, a: [float32x4_t; 2], b: [float32x4_t; 2]) -> float32x4_t {
                vfmaq_f32(vfmaq_f32(sum, a[1], b[1]), a[0], b[0])
            }
        }

        #[inline(always)]
        unsafe fn widen(from: *const bf16, n: usize) -> float32x4_t {
            let mut values = [bf16::ZERO; 4];
            // SAFETY: NEON is part of aarch64; the trait demands `n` ≤ 4 readable values, which are copied where four
            // can be read.
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
    }

    /// Returns the lower values, then the upper ones.
    ///
    /// # Safety
    /// The CPU has NEON.
    #[inline(always)]
    unsafe fn split(pairs: uint32x4_t) -> [float32x4_t; 2] {
        // SAFETY: by this function's contract; the intrinsics touch no memory.
        unsafe {
            let upper = vandq_u32(pairs, vdupq_n_u32(0xffff_0000));
            [vreinterpretq_f32_u32(vshlq_n_u32::<16>(pairs)), vreinterpretq_f32_u32(upper)]
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Avx512Bf16;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Bf16Simd, Widened, bf16};
    use crate::simd::{Avx2, Avx512, by_intrinsics};
    use std::arch::x86_64::*;
    use std::mem::transmute;

    /// AVX512-BF16.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Avx512Bf16;

    impl Bf16Simd for Avx512Bf16 {
        type Simd = Avx512;
        type Pairs = __m512bh;

        // A vector of 32 bf16 has the same bits as a vector of 16 integers of 32 bits.
        by_intrinsics! {
            load(from: *const u32) -> __m512bh { transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.cast())) }
            splat(pair: u32) -> __m512bh { transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair.cast_signed())) }
            dot(sum: __m512, a: __m512bh, b: __m512bh) -> __m512 { _mm512_dpbf16_ps(sum, a, b) }
            widen(from: *const bf16, n: usize) -> __m512 { widen_512(from, n) }
        }

        #[inline(always)]
        unsafe fn narrow(to: *mut bf16, n: usize, v: __m512) {
            // SAFETY: the trait demands AVX512-BF16 with BW and VL, and `n` ≤ 16 writable values, which are all that
            // the mask lets write; 16 bf16 are 256 bits.
            unsafe {
                let half = transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
                if n == 16 {
                    _mm256_storeu_si256(to.cast(), half);
                } else {
                    _mm256_mask_storeu_epi16(to.cast(), ((1u32 << n) - 1) as __mmask16, half);
                }
            }
        }
    }

    /// Loads `n` values as f32, then zeros.
    ///
    /// # Safety
    /// The CPU has AVX-512F; `from` points to `n` readable values; `n` ≤ 16.
    #[inline(always)]
    unsafe fn widen_512(from: *const bf16, n: usize) -> __m512 {
        // SAFETY: by this function's contract; sixteen values are read where `n` is 16.
        unsafe {
            let half = if n == 16 { _mm256_loadu_si256(from.cast()) } else { load_first(from, n) };
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)))
        }
    }

    /// Loads `n` values, then zeros.
    ///
    /// # Safety
    /// The CPU has AVX; `from` points to `n` readable values; `n` ≤ 16.
    #[inline(always)]
    unsafe fn load_first(from: *const bf16, n: usize) -> __m256i {
        let mut values = [bf16::ZERO; 16];
        // SAFETY: by this function's contract; the array holds sixteen values, and `n` are copied to it.
        unsafe {
            std::ptr::copy_nonoverlapping(from, values.as_mut_ptr(), n);
            _mm256_loadu_si256(values.as_ptr().cast())
        }
    }

    impl Bf16Simd for Widened<Avx512> {
        type Simd = Avx512;
        type Pairs = [__m512; 2];

        by_intrinsics! {
            load(from: *const u32) -> [__m512; 2] { split_512(_mm512_loadu_si512(from.cast())) }
            splat(pair: u32) -> [__m512; 2] { split_512(_mm512_set1_epi32(pair.cast_signed())) }
            dot(sum: __m512, a: [__m512; 2], b: [__m512; 2]) -> __m512 {
                _mm512_fmadd_ps(a[0], b[0], _mm512_fmadd_ps(a[1], b[1], sum))
            }
            widen(from: *const bf16, n: usize) -> __m512 { widen_512(from, n) }
        }
    }

    /// Returns the lower values, then the upper ones.
    ///
    /// # Safety
    /// The CPU has AVX-512F.
    #[inline(always)]
    unsafe fn split_512(pairs: __m512i) -> [__m512; 2] {
        // SAFETY: by this function's contract; the intrinsics touch no memory.
        unsafe {
            let upper = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000u32.cast_signed()));
            [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)), _mm512_castsi512_ps(upper)]
        }
    }

    impl Bf16Simd for Widened<Avx2> {
        type Simd = Avx2;
        type Pairs = [__m256; 2];

        by_intrinsics! {
            load(from: *const u32) -> [__m256; 2] { split_256(_mm256_loadu_si256(from.cast())) }
            splat(pair: u32) -> [__m256; 2] { split_256(_mm256_set1_epi32(pair.cast_signed())) }
            dot(sum: __m256, a: [__m256; 2], b: [__m256; 2]) -> __m256 {
                _mm256_fmadd_ps(a[0], b[0], _mm256_fmadd_ps(a[1], b[1], sum))
            }
        }

        #[inline(always)]
        unsafe fn widen(from: *const bf16, n: usize) -> __m256 {
            // SAFETY: the trait demands AVX2 and `n` ≤ 8 readable values; eight are read where `n` is 8.
            unsafe {
                let half =
                    if n == 8 { _mm_loadu_si128(from.cast()) } else { _mm256_castsi256_si128(load_first(from, n)) };
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(half)))
            }
        }
    }

    /// Returns the lower values, then the upper ones.
    ///
    /// # Safety
    /// The CPU has AVX2.
    #[inline(always)]
    unsafe fn split_256(pairs: __m256i) -> [__m256; 2] {
        // SAFETY: by this function's contract; the intrinsics touch no memory.
        unsafe {
            let upper = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000u32.cast_signed()));
            [_mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs)), _mm256_castsi256_ps(upper)]
        }
    }
}
