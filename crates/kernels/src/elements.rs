//! Maps of f32, of bf16 or of bytes for kernels that compute in f32: an element is widened when it is loaded and
//! rounded when it is stored.

#![allow(private_bounds, reason = "`Element` is public, but only this crate has kernels and can implement it")]

use std::marker::PhantomData;

use half::bf16;

use super::bf16::Bf16Isa;
use super::bf16::simd::{Bf16Kernel, Bf16Simd};
use super::int8::Int8Isa;
use super::int8::simd::{Int8Kernel, Int8Simd};
use super::simd::{Isa, Simd, SimdKernel};

/// A number format of maps: f32, bf16, or bytes, which are 8-bit integers. Values are widened to f32, and results are
/// rounded.
pub trait Element: Copy + Sync {
    /// The instructions by which kernels over such maps compute.
    type Isa: Copy + Send + Sync;

    /// Runs `kernel` in a function compiled for `isa`. Panics when the CPU does not have it.
    ///
    /// # Safety
    /// The arguments of the kernel are as its type demands.
    unsafe fn run<K: ElementsKernel<Self>>(isa: Self::Isa, kernel: K);
}

/// A computation written once for maps of every number format and for every vector type, with its arguments.
pub(crate) trait ElementsKernel<E> {
    /// # Safety
    /// The CPU has the instruction set of `M`, and the arguments are as the implementing type demands.
    unsafe fn run<M: MapElements<Element = E>>(self);
}

/// Adapts a kernel over elements to a kernel over vectors.
struct OverVectors<K>(K);

impl<K: ElementsKernel<f32>> SimdKernel for OverVectors<K> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller of `SimdKernel::run` checked the instruction set and is responsible for the arguments.
        unsafe { self.0.run::<F32Elements<S>>() }
    }
}

impl<K: ElementsKernel<bf16>> Bf16Kernel for OverVectors<K> {
    #[inline(always)]
    unsafe fn run<B: Bf16Simd>(self) {
        // SAFETY: the caller of `Bf16Kernel::run` checked the instruction set and is responsible for the arguments.
        unsafe { self.0.run::<B>() }
    }
}

impl Element for f32 {
    type Isa = Isa;

    #[inline]
    unsafe fn run<K: ElementsKernel<f32>>(isa: Isa, kernel: K) {
        // SAFETY: the caller is responsible for the arguments.
        unsafe { isa.run(OverVectors(kernel)) }
    }
}

impl Element for bf16 {
    type Isa = Bf16Isa;

    #[inline]
    unsafe fn run<K: ElementsKernel<bf16>>(isa: Bf16Isa, kernel: K) {
        // SAFETY: the caller is responsible for the arguments.
        unsafe { isa.run(OverVectors(kernel)) }
    }
}

impl<K: ElementsKernel<u8>> Int8Kernel for OverVectors<K> {
    #[inline(always)]
    unsafe fn run<B: Int8Simd>(self) {
        // SAFETY: the caller of `Int8Kernel::run` checked the instruction set and is responsible for the arguments.
        unsafe { self.0.run::<ByteElements<B>>() }
    }
}

impl Element for u8 {
    type Isa = Int8Isa;

    #[inline]
    unsafe fn run<K: ElementsKernel<u8>>(isa: Int8Isa, kernel: K) {
        // SAFETY: the caller is responsible for the arguments.
        unsafe { isa.run(OverVectors(kernel)) }
    }
}

/// The elements of a map, loaded and stored as vectors of f32.
pub(crate) trait MapElements: Copy {
    /// The vectors that the kernel computes with.
    type Simd: Simd;
    /// The type of an element in memory.
    type Element: Element;

    /// # Safety
    /// The CPU has the instruction set of `Self`; `from` points to as many readable elements as the vector has lanes.
    unsafe fn load(from: *const Self::Element) -> <Self::Simd as Simd>::Vector;
    /// Loads `n` elements; the other lanes are zero.
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

/// Maps of bytes, by the instructions of `B`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteElements<B>(PhantomData<B>);

impl<B: Int8Simd> MapElements for ByteElements<B> {
    type Simd = B::Simd;
    type Element = u8;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> <B::Simd as Simd>::Vector {
        // SAFETY: `MapElements::load` demands `LANES` readable elements.
        unsafe { B::widen(from, B::Simd::LANES) }
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const u8, n: usize) -> <B::Simd as Simd>::Vector {
        // SAFETY: the contract of `MapElements::load_partial` is that of `Int8Simd::widen`.
        unsafe { B::widen(from, n) }
    }

    #[inline(always)]
    unsafe fn store_partial(to: *mut u8, n: usize, v: <B::Simd as Simd>::Vector) {
        // SAFETY: the contract of `MapElements::store_partial` is that of `Int8Simd::narrow`.
        unsafe { B::narrow(to, n, v) }
    }
}
