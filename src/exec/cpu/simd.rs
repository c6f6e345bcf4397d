//! Vectors of f32, one trait for every instruction set, and the choice among them at run time.
//!
//! Kernels are generic over [`Simd`] and `inline(always)`; each is entered through a function compiled for the features of its vectors, so that
//! no `RUSTFLAGS` are needed. The features are checked once, by [`Isa::detect`].

/// A vector of `W` f32. Every method needs the instruction set that it is implemented for, and pointers to as many values as it touches.
pub trait Simd: Copy {
    /// Lanes.
    const W: usize;
    /// Rows of a tile of the matrix product: as many as the registers hold beside two vectors of weights.
    const ROWS: usize;
    type V: Copy;

    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn splat(value: f32) -> Self::V;
    /// # Safety
    /// The CPU has the instruction set; `W` values can be read.
    unsafe fn load(from: *const f32) -> Self::V;
    /// # Safety
    /// The CPU has the instruction set; `n` values can be read, `n` ≤ `W`; the other lanes are zero.
    unsafe fn load_part(from: *const f32, n: usize) -> Self::V;
    /// # Safety
    /// The CPU has the instruction set; `n` values can be written, `n` ≤ `W`.
    unsafe fn store_part(to: *mut f32, n: usize, v: Self::V);
    /// # Safety
    /// The CPU has the instruction set; `W` values can be written.
    unsafe fn store(to: *mut f32, v: Self::V);
    /// a · b + c, rounded once where the instruction set can.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// Asks for the cache line of an address, which need not be one; a hint, for those that have it.
    #[inline(always)]
    fn prefetch(_at: *const f32) {}
    /// The same for the second cache.
    #[inline(always)]
    fn prefetch_near(_at: *const f32) {}
}

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain Rust, eight lanes: SSE2 or NEON as the compiler makes it.
    Portable,
}

impl Isa {
    /// The best that this CPU has.
    pub fn detect() -> Self {
        Self::available().first().copied().unwrap_or(Isa::Portable)
    }

    /// All that this CPU has, the best first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                all.push(Isa::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Isa::Avx2);
            }
        }
        all.push(Isa::Portable);
        all
    }

    /// Lanes of a vector.
    pub fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::W,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::W,
            Isa::Portable => Portable::W,
        }
    }

    /// Positions of a tile.
    pub fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::ROWS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::ROWS,
            Isa::Portable => Portable::ROWS,
        }
    }
}

/// Plain Rust.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Simd for Portable {
    const W: usize = 8;
    const ROWS: usize = 4;
    type V = [f32; 8];

    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 8] {
        // SAFETY: the caller lets eight values be read; f32 arrays have the alignment of f32.
        unsafe { from.cast::<[f32; 8]>().read() }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> [f32; 8] {
        let mut v = [0.0; 8];
        // SAFETY: the caller lets `n` values be read.
        (0..n).for_each(|i| v[i] = unsafe { from.add(i).read() });
        v
    }

    #[inline(always)]
    unsafe fn store_part(to: *mut f32, n: usize, v: [f32; 8]) {
        // SAFETY: the caller lets `n` values be written.
        (0..n).for_each(|i| unsafe { to.add(i).write(v[i]) });
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: [f32; 8]) {
        // SAFETY: the caller lets eight values be written; f32 arrays have the alignment of f32.
        unsafe { to.cast::<[f32; 8]>().write(v) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    unsafe fn add(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    unsafe fn mul(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    unsafe fn sub(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    unsafe fn max(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    unsafe fn min(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
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
}
