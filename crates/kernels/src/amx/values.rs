//! What a product of tiles asks of the values of maps.

use std::arch::x86_64::*;

use super::LINE;

/// Values of maps, and how tiles are made of them.
pub trait Values: Copy + std::fmt::Debug + Send + Sync + 'static {
    type V: Copy + Send + Sync;
    /// Values of a line of a tile.
    const STEP: usize;
    /// Lines that as many values take.
    const PLANES: usize;
    /// Sums of a position and a filter, which are combined at the end.
    const ORDERS: usize;
    /// Whether a map may serve as lines as it is.
    const IN_PLACE: bool;

    /// Gives the bytes of each weight of a filter in each plane to `put(index, plane, bytes)`, and what its sums are multiplied by.
    fn weights(filter: &[f32], put: impl FnMut(usize, usize, &[u8])) -> f32;

    /// The larger of `so_far` and the largest bits of a size among `n` values, where a scale is made of them.
    ///
    /// # Safety
    /// The CPU has the instructions; `n` values can be read.
    unsafe fn largest(from: *const Self::V, n: usize, so_far: u32) -> u32;

    /// What sums of a window are multiplied by whose largest bits are these.
    fn unit(largest: u32) -> f32;

    /// Writes `n` values as lines: for each [`STEP`](Self::STEP) of them a line of every plane; zeros behind the last. `unit` is the window's.
    ///
    /// # Safety
    /// The CPU has the instructions; `n` values can be read, whole lines be written.
    unsafe fn lines(from: *const Self::V, n: usize, unit: f32, to: *mut u8);

    /// Adds to the sums of an order in tiles 0 to 3, two groups of positions × two tiles of filters: `steps` steps from `from` on, their rows
    /// `pitch` bytes apart, by the weights behind `weight`.
    ///
    /// # Safety
    /// Tiles are configured, and all of them can be read.
    unsafe fn multiply(order: usize, from: [*const u8; 2], pitch: [usize; 2], weight: *const u8, steps: usize);

    /// The sums of a position and 16 filters, those of an order `orders` apart, in the position's unit and the filters', with their bias.
    ///
    /// # Safety
    /// The CPU has the instructions; all of them can be read.
    unsafe fn sums(from: *const f32, orders: usize, unit: f32, units: __m512, bias: __m512) -> __m512;

    /// 32 values, the first `n` of which count.
    ///
    /// # Safety
    /// The CPU has the instructions; `n` values can be read.
    unsafe fn load(from: *const Self::V, n: usize) -> [__m512; 2];

    /// # Safety
    /// The CPU has the instructions; `n` values can be written.
    unsafe fn store(to: *mut Self::V, n: usize, v: [__m512; 2]);

    /// Copies `n` values, and perhaps others up to the end of a line.
    ///
    /// # Safety
    /// The CPU has the instructions; `n` values can be read, whole lines be written.
    #[inline(always)]
    unsafe fn copy(from: *const Self::V, n: usize, to: *mut Self::V) {
        let (n, from, to) = (n * size_of::<Self::V>(), from.cast::<i8>(), to.cast::<i8>());
        for i in (0..n).step_by(LINE) {
            let mask = if n - i >= LINE { u64::MAX } else { (1 << (n - i)) - 1 };
            // SAFETY: as the caller's.
            unsafe { _mm512_storeu_si512(to.add(i).cast(), _mm512_maskz_loadu_epi8(mask, from.add(i))) };
        }
    }
}

/// The first `n` of 32 lanes.
#[inline(always)]
pub fn first(n: usize) -> u32 {
    if n >= 32 { u32::MAX } else { (1 << n) - 1 }
}
