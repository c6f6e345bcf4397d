//! Maps of f32 or of bf16 for kernels that compute in f32: an element is widened when it is loaded and rounded when it
//! is stored.

use std::marker::PhantomData;

use half::bf16;

use super::bf16::simd::Bf16Simd;
use super::simd::Simd;

/// The elements of a map, loaded and stored as vectors of f32.
pub(crate) trait MapElements: Copy {
    /// The vectors that the kernel computes with.
    type Simd: Simd;
    /// The type of an element in memory.
    type Element: Copy;

    /// # Safety
    /// The CPU has the instruction set of `Self`; `from` points to as many readable elements as the vector has lanes.
    unsafe fn load(from: *const Self::Element) -> <Self::Simd as Simd>::Vector;
    /// The other lanes are zero.
    ///
    /// # Safety
    /// The CPU has the instruction set of `Self`; `from` points to `n` readable elements, and the vector has at least
    /// `n` lanes.
    unsafe fn load_partial(from: *const Self::Element, n: usize) -> <Self::Simd as Simd>::Vector;
    /// # Safety
    /// The CPU has the instruction set of `Self`; `to` points to `n` writable elements, and the vector has at least `n`
    /// lanes.
    unsafe fn store_partial(to: *mut Self::Element, n: usize, v: <Self::Simd as Simd>::Vector);
}

/// Maps of f32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct F32Elements<S>(PhantomData<S>);

impl<S: Simd> MapElements for F32Elements<S> {
    type Simd = S;
    type Element = f32;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> S::Vector {
        // SAFETY: the contract of `MapElements::load` is that of `Simd::load`.
        unsafe { S::load(from) }
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const f32, n: usize) -> S::Vector {
        // SAFETY: the contract of `MapElements::load_partial` is that of `Simd::load_partial`.
        unsafe { S::load_partial(from, n) }
    }

    #[inline(always)]
    unsafe fn store_partial(to: *mut f32, n: usize, v: S::Vector) {
        // SAFETY: the contract of `MapElements::store_partial` is that of `Simd::store_partial`.
        unsafe { S::store_partial(to, n, v) }
    }
}

/// Maps of bf16, by the instructions of `B`.
impl<B: Bf16Simd> MapElements for B {
    type Simd = B::Simd;
    type Element = bf16;

    #[inline(always)]
    unsafe fn load(from: *const bf16) -> <B::Simd as Simd>::Vector {
        // SAFETY: `MapElements::load` demands `LANES` readable elements.
        unsafe { B::widen(from, B::Simd::LANES) }
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const bf16, n: usize) -> <B::Simd as Simd>::Vector {
        // SAFETY: the contract of `MapElements::load_partial` is that of `Bf16Simd::widen`.
        unsafe { B::widen(from, n) }
    }

    #[inline(always)]
    unsafe fn store_partial(to: *mut bf16, n: usize, v: <B::Simd as Simd>::Vector) {
        // SAFETY: the contract of `MapElements::store_partial` is that of `Bf16Simd::narrow`.
        unsafe { B::narrow(to, n, v) }
    }
}
