//! What maps hold, read and written as vectors of f32: for kernels that compute in f32 whatever it is.

use std::marker::PhantomData;

use half::bf16;

use super::bf16::lanes::Pairs;
use super::simd::Simd;

/// Values of maps, as vectors of `S`.
pub(crate) trait Elements: Copy {
    type S: Simd;
    type E: Copy;

    /// # Safety
    /// The CPU has the instruction set; as many values as lanes can be read.
    unsafe fn load(from: *const Self::E) -> <Self::S as Simd>::V;
    /// # Safety
    /// The CPU has the instruction set; `n` values can be read, not more than lanes; the other lanes are zero.
    unsafe fn load_part(from: *const Self::E, n: usize) -> <Self::S as Simd>::V;
    /// # Safety
    /// The CPU has the instruction set; `n` values can be written, not more than lanes.
    unsafe fn store_part(to: *mut Self::E, n: usize, v: <Self::S as Simd>::V);
}

/// f32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floats<S>(PhantomData<S>);

// SAFETY of both blocks: the trait's callers answer for the instruction set and the pointers.
impl<S: Simd> Elements for Floats<S> {
    type S = S;
    type E = f32;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> S::V {
        unsafe { S::load(from) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> S::V {
        unsafe { S::load_part(from, n) }
    }

    #[inline(always)]
    unsafe fn store_part(to: *mut f32, n: usize, v: S::V) {
        unsafe { S::store_part(to, n, v) }
    }
}

/// bf16.
impl<D: Pairs> Elements for D {
    type S = D::S;
    type E = bf16;

    #[inline(always)]
    unsafe fn load(from: *const bf16) -> <D::S as Simd>::V {
        unsafe { D::widen(from, D::S::W) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const bf16, n: usize) -> <D::S as Simd>::V {
        unsafe { D::widen(from, n) }
    }

    #[inline(always)]
    unsafe fn store_part(to: *mut bf16, n: usize, v: <D::S as Simd>::V) {
        unsafe { D::narrow(to, n, v) }
    }
}
