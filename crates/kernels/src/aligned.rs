//! Buffers of f32 that begin at a cache line, so that no load of a vector from an aligned offset touches two lines.

use std::ops::{Deref, DerefMut};

use half::bf16;

/// Floats in a cache line.
pub const LINE: usize = 16;

/// A slice of f32 on the heap that begins at a cache line; its length is fixed.
#[derive(Debug, Default)]
pub struct Aligned {
    /// The slice, with padding before and behind it, so that it can begin at a line. `vec![0.0; n]` gets large buffers
    /// as zero pages, which cost nothing until they are written; an aligned allocation would have to be zeroed.
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// Makes a slice of `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut values = vec![0.0f32; len + LINE];
        prefer_huge_pages(&mut values);
        let start = values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Self { values, start, len }
    }

    /// Returns the same memory as twice as many bf16.
    pub fn as_bf16(&self) -> &[bf16] {
        // SAFETY: `len` f32 are 2 · `len` bf16, and every pattern of 16 bits is a bf16.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast(), 2 * self.len) }
    }

    /// Returns the same memory as twice as many bf16.
    pub fn as_bf16_mut(&mut self) -> &mut [bf16] {
        // SAFETY: as for `as_bf16`; every pattern of 32 bits is an f32, and `self` is borrowed mutably for as long as
        // the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), 2 * self.len) }
    }

    /// Returns the same memory as four times as many bytes.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: `len` f32 are 4 · `len` bytes, and every pattern of bits is a byte.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast(), 4 * self.len) }
    }

    /// Returns the same memory as four times as many bytes.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: `len` f32 are 4 · `len` bytes, every pattern of bits is an f32, and `self` is borrowed mutably for as
        // long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), 4 * self.len) }
    }
}

/// Asks the system for huge pages behind a long vector that has not been written yet. Writing it the first time then
/// takes one page fault instead of 512: 256 MiB took 0.06 s instead of 0.24 s on a virtual machine. Where the system
/// has no such pages, nothing happens.
#[cfg_attr(any(miri, not(target_os = "linux")), allow(unused_variables))]
pub fn prefer_huge_pages(values: &mut Vec<f32>) {
    /// Bytes of a huge page on x86-64, and on aarch64 with pages of 4 KiB.
    const HUGE: usize = 2 << 20;
    let (at, bytes) = (values.as_mut_ptr(), values.capacity() * size_of::<f32>());
    let first = at.addr().next_multiple_of(HUGE) - at.addr();
    let whole = bytes.saturating_sub(first) / HUGE * HUGE;
    #[cfg(all(target_os = "linux", not(miri)))]
    if whole > 0 {
        // SAFETY: the pages lie within the memory of the vector; the hint changes none of their contents.
        unsafe { libc::madvise(at.wrapping_byte_add(first).cast(), whole, libc::MADV_HUGEPAGE) };
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..self.start + self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..self.start + self.len]
    }
}

impl Clone for Aligned {
    fn clone(&self) -> Self {
        let mut clone = Self::zeros(self.len);
        clone.copy_from_slice(self);
        clone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_at_a_line_and_keeps_its_values() {
        for len in [0, 1, 16, 17, 1000] {
            let mut values = Aligned::zeros(len);
            assert!(values.len() == len && values.iter().all(|&v| v == 0.0));
            assert_eq!(values.as_ptr() as usize % 64, 0);
            values.iter_mut().enumerate().for_each(|(i, v)| *v = i as f32);
            values.as_bf16_mut().iter_mut().for_each(|v| *v = bf16::from_bits(v.to_bits() ^ 0x8000));
            assert_eq!(values.as_bf16().len(), 2 * len);
            values.as_bf16_mut().iter_mut().for_each(|v| *v = bf16::from_bits(v.to_bits() ^ 0x8000));
            let copy = values.clone();
            assert_eq!(copy.as_ptr() as usize % 64, 0);
            assert!(copy.iter().enumerate().all(|(i, &v)| v == i as f32));
        }
    }
}
