//! Plain Rust, eight lanes.

use super::Simd;

/// Plain Rust.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Simd for Portable {
    const W: usize = 8;
    const ROWS: usize = 4;
    type V = [f32; 8];
    type Half = Self;

    #[inline(always)]
    unsafe fn low(v: [f32; 8]) -> [f32; 8] {
        v
    }

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
