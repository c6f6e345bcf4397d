//! The epilogue of products by AMX.

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

use super::super::Source;
use super::super::simd::Int8Simd;
use super::super::x86::Avx512VnniBytes;
use super::Epilogue;
use crate::amx::{self, PANEL, ROW_BYTES, TILE_ROWS, WindowGroup};

impl amx::Epilogue for Epilogue<'_> {
    #[inline(always)]
    fn prefetch(&self, position: usize, first: usize) {
        let prefetch = |from: Source, at: usize| {
            let (from, bytes) = match from {
                Source::Bytes(from) => (from.wrapping_add(at).cast::<i8>(), PANEL),
                Source::Floats(from) => (from.wrapping_add(at).cast::<i8>(), PANEL * size_of::<f32>()),
            };
            for byte in (0..bytes).step_by(ROW_BYTES) {
                // SAFETY: a prefetch accesses no memory, and SSE is part of x86-64.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(byte)) };
            }
        };
        prefetch(self.output.source(), self.output_starts[position] as usize + first);
        if let Some((starts, residual)) = self.residual {
            prefetch(residual, starts[position] as usize + first);
        }
    }

    #[inline(always)]
    unsafe fn write(&self, group: &WindowGroup, first: usize, sums: *const f32) {
        let vectors = if self.conv.filters - first > TILE_ROWS { 2 } else { 1 };
        // SAFETY: the trait demands the instructions and the access to the outputs and residuals of the group, and the
        // sums of two tiles, integers of 32 bits.
        unsafe {
            for j in 0..vectors {
                let filters = self.filters::<Avx512VnniBytes>(first + j * TILE_ROWS);
                let (mut rows, mut position) = (group.rows, group.first);
                while rows != 0 {
                    let row = j * TILE_ROWS + rows.trailing_zeros() as usize;
                    let sums = Avx512VnniBytes::load_sums(sums.add(row * TILE_ROWS).cast());
                    Epilogue::write::<Avx512VnniBytes>(self, position, &filters, sums);
                    rows &= rows - 1;
                    position += 1;
                }
            }
        }
    }
}
