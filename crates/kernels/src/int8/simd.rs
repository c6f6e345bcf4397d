//! Vectors of groups of four bytes: the operations that the products of bytes need of an instruction set.

use super::{Portable, Simd, to_byte};

/// Multiplies groups of four unsigned by four signed bytes and adds the products to sums of 32 bits, one lane for each
/// group.
pub(crate) trait Int8Simd: Copy {
    /// The vectors of the epilogue.
    type Simd: Simd;
    /// Rows of a tile of the matrix product.
    const TILE_ROWS: usize;
    /// `dot` takes inputs less this number; sums begin with its product with the weights.
    const MOVED_BY: i32 = 0;
    /// A sum of 32 bits for each lane.
    type Sums: Copy;
    /// Four signed bytes for each lane.
    type Weights: Copy;
    /// Four unsigned bytes for each lane.
    type Inputs: Copy;

    /// # Safety
    /// The CPU has the instruction set of `Self`; `from` points to a readable sum for each lane.
    unsafe fn load_sums(from: *const i32) -> Self::Sums;
    /// # Safety
    /// The CPU has the instruction set of `Self`; `from` points to four readable bytes for each lane.
    unsafe fn load(from: *const i8) -> Self::Weights;
    /// Loads the same four bytes into every lane.
    ///
    /// # Safety
    /// The CPU has the instruction set of `Self`; `from` points to four readable bytes.
    unsafe fn splat(from: *const u8) -> Self::Inputs;
    /// Loads for each of the first `n` lanes a byte of each of four positions; the other lanes may hold anything.
    ///
    /// # Safety
    /// The CPU has the instruction set of `Self`; each of `from` points to `n` readable bytes; there are at least `n`
    /// lanes.
    unsafe fn gather(from: [*const u8; 4], n: usize) -> Self::Inputs;
    /// # Safety
    /// The CPU has the instruction set of `Self`.
    unsafe fn dot(sums: Self::Sums, x: Self::Inputs, w: Self::Weights) -> Self::Sums;
    /// # Safety
    /// The CPU has the instruction set of `Self`.
    unsafe fn to_f32(sums: Self::Sums) -> Vector<Self>;
    /// Loads `n` bytes as f32; the other lanes are zero.
    ///
    /// # Safety
    /// The CPU has the instruction set of `Self`; `from` points to `n` readable bytes; there are at least `n` lanes.
    unsafe fn widen(from: *const u8, n: usize) -> Vector<Self>;
    /// Rounds to the nearest byte, ties to even, and stores the first `n`.
    ///
    /// # Safety
    /// The CPU has the instruction set of `Self`; `to` points to `n` writable bytes; there are at least `n` lanes.
    unsafe fn narrow(to: *mut u8, n: usize, v: Vector<Self>);
}

/// The vector of f32 of the epilogue.
pub(crate) type Vector<B> = <<B as Int8Simd>::Simd as Simd>::Vector;

/// A computation over bytes written once for every instruction set, with its arguments; see
/// [`Int8Isa::run`](super::Int8Isa::run).
pub(crate) trait Int8Kernel {
    /// # Safety
    /// The CPU has the instruction set of `B`, and the arguments are as the implementing type demands.
    unsafe fn run<B: Int8Simd>(self);
}

/// Plain Rust.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortableBytes;

impl Int8Simd for PortableBytes {
    type Simd = Portable;
    const TILE_ROWS: usize = 4;
    type Sums = [i32; 8];
    type Weights = [[i8; 4]; 8];
    type Inputs = [[u8; 4]; 8];

    #[inline(always)]
    unsafe fn load_sums(from: *const i32) -> [i32; 8] {
        // SAFETY: the trait demands eight readable sums.
        unsafe { from.cast::<[i32; 8]>().read() }
    }

    #[inline(always)]
    unsafe fn load(from: *const i8) -> [[i8; 4]; 8] {
        // SAFETY: the trait demands 32 readable bytes.
        unsafe { from.cast::<[[i8; 4]; 8]>().read() }
    }

    #[inline(always)]
    unsafe fn splat(from: *const u8) -> [[u8; 4]; 8] {
        // SAFETY: the trait demands four readable bytes.
        [unsafe { from.cast::<[u8; 4]>().read() }; 8]
    }

    #[inline(always)]
    unsafe fn gather(from: [*const u8; 4], n: usize) -> [[u8; 4]; 8] {
        let mut lanes = [[0; 4]; 8];
        for (i, lane) in lanes.iter_mut().enumerate().take(n) {
            // SAFETY: the trait demands `n` readable bytes, and `i` is below `n`.
            *lane = from.map(|from| unsafe { from.add(i).read() });
        }
        lanes
    }

    #[inline(always)]
    unsafe fn dot(sums: [i32; 8], x: [[u8; 4]; 8], w: [[i8; 4]; 8]) -> [i32; 8] {
        let product = |i: usize, k: usize| i32::from(x[i][k]) * i32::from(w[i][k]);
        std::array::from_fn(|i| sums[i] + (product(i, 0) + product(i, 1)) + (product(i, 2) + product(i, 3)))
    }

    #[inline(always)]
    unsafe fn to_f32(sums: [i32; 8]) -> [f32; 8] {
        sums.map(|sum| sum as f32)
    }

    #[inline(always)]
    unsafe fn widen(from: *const u8, n: usize) -> [f32; 8] {
        let mut out = [0.0; 8];
        for (i, out) in out.iter_mut().enumerate().take(n) {
            // SAFETY: the trait demands `n` readable bytes, and `i` is below `n`.
            *out = f32::from(unsafe { from.add(i).read() });
        }
        out
    }

    #[inline(always)]
    unsafe fn narrow(to: *mut u8, n: usize, v: [f32; 8]) {
        for (i, &value) in v.iter().enumerate().take(n) {
            // SAFETY: the trait demands `n` writable bytes, and `i` is below `n`.
            unsafe { to.add(i).write(to_byte(value)) };
        }
    }
}
