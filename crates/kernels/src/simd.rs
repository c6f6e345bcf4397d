//! Vectors of f32, one trait for every instruction set, and the choice among them at run time.
//!
//! Kernels are generic over [`Simd`] and `inline(always)`; each is entered through a function compiled for the features of its vectors, so that
//! no `RUSTFLAGS` are needed. The features are checked once, by [`Isa::available`]; those that every CPU of an architecture has, NEON on aarch64,
//! need neither: the whole program is compiled for them.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// A vector of `W` f32. Every method needs the instruction set that it is implemented for, and pointers to as many values as it touches.
pub trait Simd: Copy {
    /// Lanes.
    const W: usize;
    /// Rows of a tile of the matrix product: as many as the registers hold beside two vectors of weights.
    const ROWS: usize;
    type V: Copy;
    /// Vectors half as wide, where they take half the time; else the same.
    type Half: Simd;
    const HALVES: bool = false;

    /// The lower lanes of a vector, as many as a half has.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn low(v: Self::V) -> <Self::Half as Simd>::V;
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
    /// NaN where `b` is one.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// NaN where `b` is one.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// The first steps of a product, `sums[i][j] += Σ from[i][k] · weight[k][j]` in the order of k, where an instruction set takes several at a
    /// time; gives how many of `depth` it took. Where it takes one at a time none: they are left to the caller, as the last ones are.
    ///
    /// # Safety
    /// The CPU has the instruction set; `depth` values can be read from each of `from`, and as many times two vectors of weights.
    #[inline(always)]
    unsafe fn steps<const M: usize, const N: usize>(
        _depth: usize,
        _from: &[*const f32; M],
        _weight: *const f32,
        _sums: &mut [[Self::V; N]; M],
    ) -> usize {
        0
    }
    /// Asks for the cache line of an address, which need not be one; a hint, for those that have it.
    #[inline(always)]
    fn prefetch(_at: *const f32) {}
    /// The same for the second cache.
    #[inline(always)]
    fn prefetch_near(_at: *const f32) {}
}

/// After how many values of a product the lines of another row of its results are asked for: all at once they would keep the inputs waiting, later
/// they would not be there in time.
pub const PREFETCH_EVERY: usize = 4;

/// Asks for the lines of `N` vectors and `H` halves, the first of which may begin within one.
#[inline(always)]
pub fn prefetch<S: Simd, const N: usize, const H: usize>(at: *const f32) {
    (0..N + H).for_each(|j| S::prefetch(at.wrapping_add(j * S::W)));
    S::prefetch(at.wrapping_add(N * S::W + H * S::W / 2 - 1));
}

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Plain Rust, eight lanes: SSE2 or what else the compiler makes of it.
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
        // part of the base of the architecture: there is nothing to detect
        #[cfg(target_arch = "aarch64")]
        all.push(Isa::Neon);
        all.push(Isa::Portable);
        all
    }

    /// As its makers call it.
    pub fn word(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "AVX2",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => "NEON",
            Isa::Portable => "portable",
        }
    }

    /// Lanes of a vector.
    pub fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::W,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::W,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Neon::W,
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
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Neon::ROWS,
            Isa::Portable => Portable::ROWS,
        }
    }
}
