//! Vectors of f32: one trait, `Simd`, implemented for each instruction set, and [`Isa`], the instruction set chosen at
//! run time.
//!
//! A kernel is written once, generic over `Simd`, with every function `inline(always)`. It implements `SimdKernel`;
//! `Isa::run` checks that the CPU has the instruction set and inlines the kernel into a function compiled for its
//! features. So no `RUSTFLAGS` are needed. (The crate pulp dispatches in the same way.) NEON is part of every aarch64
//! CPU and needs neither check nor attribute.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, first_of_16};

use super::aligned::LINE;

/// Vectors of [`LANES`](Self::LANES) f32 of one instruction set.
pub(crate) trait Simd: Copy {
    const LANES: usize;
    /// Rows of a tile of the matrix product, the MR of BLIS: as many as the registers hold beside two vectors of
    /// weights.
    const TILE_ROWS: usize;
    type Vector: Copy;
    /// Vectors of half as many lanes where a half takes half the time, else `Self`.
    type Half: Simd;
    /// Whether `Half` has half as many lanes.
    const HAS_HALF: bool = false;

    /// Returns the lower lanes, as many as `Half` has.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn low_half(v: Self::Vector) -> <Self::Half as Simd>::Vector;
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn splat(value: f32) -> Self::Vector;
    /// # Safety
    /// The CPU has the instruction set; `from` points to `LANES` readable f32.
    unsafe fn load(from: *const f32) -> Self::Vector;
    /// Loads `n` values; the other lanes are zero.
    ///
    /// # Safety
    /// The CPU has the instruction set; `from` points to `n` readable f32; `n` ≤ `LANES`.
    unsafe fn load_partial(from: *const f32, n: usize) -> Self::Vector;
    /// # Safety
    /// The CPU has the instruction set; `to` points to `n` writable f32; `n` ≤ `LANES`.
    unsafe fn store_partial(to: *mut f32, n: usize, v: Self::Vector);
    /// # Safety
    /// The CPU has the instruction set; `to` points to `LANES` writable f32.
    unsafe fn store(to: *mut f32, v: Self::Vector);
    /// a · b + c, rounded once where the instruction set has a fused multiply-add.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn mul_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn div(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// 2ⁿ, where the lowest bits of `a` are the integer n, as they are in the sum of n and 3 · 2²²; −127 < n < 128.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn power_of_two(a: Self::Vector) -> Self::Vector;
    /// The larger of both, NaN where `b` is NaN.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The smaller of both, NaN where `b` is NaN.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn min(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Adds the first products of a dot product, `sums[i][j] += Σ inputs[i][k] · weights[k][j]` in the order of k, and
    /// returns how many of the `depth` values it took. An instruction set that multiplies by element takes several
    /// values at once and leaves the last ones; the others take none. The caller computes those that are left.
    ///
    /// # Safety
    /// The CPU has the instruction set; each of `inputs` points to `depth` readable f32, and `weights` to `depth` times
    /// two vectors.
    #[inline(always)]
    unsafe fn dot_blocked<const M: usize, const N: usize>(
        _depth: usize,
        _inputs: &[*const f32; M],
        _weights: *const f32,
        _sums: &mut [[Self::Vector; N]; M],
    ) -> usize {
        0
    }
    /// Transposes a square of `LANES` × `LANES` values: its rows lie `from_stride` apart at `from`, its columns become
    /// rows `to_stride` apart at `to`.
    ///
    /// # Safety
    /// The CPU has the instruction set; `LANES` values can be read at each row of `from` and written at each row of
    /// `to`.
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for (i, j) in (0..Self::LANES).flat_map(|i| (0..Self::LANES).map(move |j| (i, j))) {
            // SAFETY: by this function's contract.
            unsafe { to.add(j * to_stride + i).write(from.add(i * from_stride + j).read()) };
        }
    }
    /// Prefetches the cache line of `at` into the first-level cache. It is a hint: any address is allowed.
    #[inline(always)]
    fn prefetch_l1(_at: *const f32) {}
    /// The same into the second-level cache.
    #[inline(always)]
    fn prefetch_l2(_at: *const f32) {}
}

/// A micro-kernel prefetches the output lines of one row of its tile each time it has multiplied this many values: all
/// rows at once would delay the loads of the inputs, and later prefetches would come too late.
pub(crate) const PREFETCH_EVERY: usize = 4;

/// Prefetches the lines of `N` vectors and `H` half vectors, the first of which may begin within a line.
#[inline(always)]
pub(crate) fn prefetch_output<S: Simd, const N: usize, const H: usize>(at: *const f32) {
    (0..N + H).for_each(|j| S::prefetch_l1(at.wrapping_add(j * S::LANES)));
    S::prefetch_l1(at.wrapping_add(N * S::LANES + H * S::LANES / 2 - 1));
}

/// Prefetches weights, two vectors for a value of a window, into the first-level cache: those that are multiplied 16
/// values after the weights at `weights`. In that time a line comes from the second-level cache, often from memory.
#[inline(always)]
pub(crate) fn prefetch_weights<S: Simd>(weights: *const f32) {
    let later = weights.wrapping_add(16 * 2 * S::LANES);
    (0..2 * S::LANES).step_by(LINE).for_each(|at| S::prefetch_l1(later.wrapping_add(at)));
}

/// The share of the next panel that a tile prefetches into the second-level cache, so that weights come from memory
/// while the panel before is multiplied.
#[derive(Clone, Copy)]
pub(crate) struct WeightsAhead {
    at: *const f32,
    /// Lines that are prefetched each time [`PREFETCH_EVERY`] values of a window have been multiplied.
    lines: usize,
}

impl WeightsAhead {
    /// Whether `len` weights are more than stay in the second-level cache beside the maps.
    pub(crate) fn is_needed(len: usize) -> bool {
        len * size_of::<f32>() > 256 << 10
    }

    /// Returns the share of tile `tile` of `tiles` in the next panel, of `len` weights; nothing where there is none.
    #[inline(always)]
    pub(crate) fn of_tile<S: Simd>(next: Option<*const f32>, len: usize, [tile, tiles]: [usize; 2]) -> Self {
        let lines = if next.is_some() { (PREFETCH_EVERY * 2 * S::LANES / LINE).div_ceil(tiles) } else { 0 };
        Self { at: next.unwrap_or(std::ptr::null()).wrapping_add(len * tile / tiles), lines }
    }

    /// Prefetches the next lines.
    #[inline(always)]
    pub(crate) fn prefetch<S: Simd>(&mut self) {
        for _ in 0..self.lines {
            S::prefetch_l2(self.at);
            self.at = self.at.wrapping_add(LINE);
        }
    }
}

/// Lanes of the widest vector.
pub(crate) const MOST_LANES: usize = 16;

/// Returns the sum of the lanes.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
pub(crate) unsafe fn total<S: Simd>(v: S::Vector) -> f32 {
    let mut lanes = [0.0f32; MOST_LANES];
    // SAFETY: no vector has more lanes than the array.
    unsafe { S::store(lanes.as_mut_ptr(), v) };
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

/// A computation written once for every vector type, with its arguments; see [`Isa::run`].
pub(crate) trait SimdKernel {
    type Output;

    /// # Safety
    /// The CPU has the instruction set of `S`, and the arguments are as the implementing type demands.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Plain Rust, eight lanes, which the compiler turns into the vectors of the architecture's base (SSE2).
    Portable,
}

impl Isa {
    /// Returns the best instruction set of this CPU.
    pub fn detect() -> Self {
        Self::available().first().copied().unwrap_or(Isa::Portable)
    }

    /// Returns all instruction sets of this CPU, the best first.
    pub fn available() -> Vec<Self> {
        let all = [
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon,
            Isa::Portable,
        ];
        all.into_iter().filter(|isa| isa.is_available()).collect()
    }

    pub(crate) fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => true,
            Isa::Portable => true,
        }
    }

    /// Runs `kernel` in a function compiled for this instruction set. Panics when the CPU does not have it.
    ///
    /// # Safety
    /// The arguments of the kernel are as its type demands.
    #[inline]
    pub(crate) unsafe fn run<K: SimdKernel>(self, kernel: K) -> K::Output {
        assert!(self.is_available(), "this CPU has no {}", self.name());
        // SAFETY: the CPU has the instruction set, as asserted; the caller is responsible for the arguments.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => run_avx512(kernel),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => run_avx2(kernel),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => kernel.run::<Neon>(),
                Isa::Portable => kernel.run::<Portable>(),
            }
        }
    }

    /// Returns the vendor's name.
    pub fn name(self) -> &'static str {
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

    /// Returns the number of lanes of a vector.
    pub fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::LANES,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Neon::LANES,
            Isa::Portable => Portable::LANES,
        }
    }

    /// Returns the number of rows of a tile of the matrix product, see [`Simd::TILE_ROWS`].
    pub(crate) fn tile_rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::TILE_ROWS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::TILE_ROWS,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Neon::TILE_ROWS,
            Isa::Portable => Portable::TILE_ROWS,
        }
    }
}

/// # Safety
/// The CPU has AVX-512F; the arguments of the kernel are as its type demands.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run_avx512<K: SimdKernel>(kernel: K) -> K::Output {
    // SAFETY: this function may only be called where the CPU has the instructions of `Avx512`, and with arguments that
    // the kernel accepts.
    unsafe { kernel.run::<Avx512>() }
}

/// # Safety
/// The CPU has AVX2 and FMA; the arguments of the kernel are as its type demands.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<K: SimdKernel>(kernel: K) -> K::Output {
    // SAFETY: this function may only be called where the CPU has the instructions of `Avx2`, and with arguments that
    // the kernel accepts.
    unsafe { kernel.run::<Avx2>() }
}

/// Implements methods of a trait, each of which is an expression of intrinsics.
macro_rules! by_intrinsics {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? { $body:expr })*) => {
        $(
            #[inline(always)]
            unsafe fn $name($($argument: $type),*) $(-> $result)? {
                // SAFETY: the trait demands of the caller that the CPU has the instruction set and that each pointer
                // leads to as many elements as the method reads or writes; the intrinsics demand nothing else.
                unsafe { $body }
            }
        )*
    };
}
pub(crate) use by_intrinsics;

/// Calls a micro-kernel that is generic over the rows and the vectors of its tile, for `n` rows, up to 14, and two
/// vectors where `has_two` is true, else one.
macro_rules! by_rows {
    ($n:expr, $has_two:expr, $kernel:ident::<$simd:ident>$arguments:tt) => {
        by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14; $n, $has_two, $kernel, $simd, $arguments)
    };
    ($($rows:literal)*; $n:expr, $has_two:expr, $kernel:ident, $simd:ident, $arguments:tt) => {
        match ($n, $has_two) {
            $(($rows, true) => $kernel::<$simd, $rows, 2> $arguments,
              ($rows, false) => $kernel::<$simd, $rows, 1> $arguments,)*
            _ => {}
        }
    };
}
pub(crate) use by_rows;
