//! The windows of a convolution in groups of up to 16 positions, a tile each.

use std::ops::Range;

use super::super::format::TileFormat;
use super::super::{ROW_BYTES, TILE_ROWS};
use super::{PANEL, TileProduct, WindowSteps};
use crate::matmul::GemmOffsets;
use crate::parallel::{self, GemmRange};

/// The windows of up to 16 positions, in order: the rows of a tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowGroup {
    /// The first byte of the first window.
    pub start: *const u8,
    /// Bytes from one row of a tile to the next.
    pub row_stride: usize,
    /// Bytes from one run of tile rows of a window to the next.
    pub run_stride: usize,
    /// The first position.
    pub first: usize,
    /// A bit for each row of the tile that is a position, in the order of the positions; the other rows are computed
    /// and not written.
    pub rows: u16,
    /// The scale of the window in each row of the tile.
    pub scales: [f32; TILE_ROWS],
}

impl WindowGroup {
    pub(super) const NONE: Self =
        Self { start: std::ptr::null(), row_stride: 0, run_stride: 0, first: 0, rows: 0, scales: [1.0; TILE_ROWS] };

    pub(crate) fn positions(&self) -> Range<usize> {
        self.first..self.first + self.rows.count_ones() as usize
    }
}

/// The windows of a run. [`GemmOffsets::check`] has accepted the offsets for the input.
pub(super) struct InputWindows<'a, T: TileFormat> {
    product: &'a TileProduct<T>,
    offsets: &'a GemmOffsets<'a>,
    input: &'a [T::Value],
    /// How pictures are divided into strips, for a convolution that packs strips.
    strips: Option<StripGrid>,
}

/// A picture divided into groups of neighbouring positions, the strips. The values of a strip have one scale, so the
/// division depends on the shape of the picture alone and not on the other pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StripGrid {
    /// Height and width of the output.
    map: [usize; 2],
    /// Rows of the output in a strip.
    rows: usize,
    /// The number of strips across.
    across: usize,
    /// Tile rows from one row of the output to the next, where a strip has several rows.
    tile_rows_apart: usize,
}

impl StripGrid {
    /// `apart` is the distance from a window to the one below it, in units of the distance from a window to the one
    /// beside it; none where that is no whole number.
    fn of(map: [usize; 2], apart: Option<usize>) -> Self {
        let [height, width] = map;
        let fits = apart.filter(|&apart| width <= TILE_ROWS && apart >= width);
        let more = fits.map_or(0, |apart| (TILE_ROWS - width) / apart);
        let (rows, across) = ((1 + more).min(height), width.div_ceil(TILE_ROWS));
        Self { map, rows, across, tile_rows_apart: apart.unwrap_or(0) }
    }

    /// Returns the number of strips of a picture.
    fn count(&self) -> usize {
        self.map[0].div_ceil(self.rows) * self.across
    }

    /// Returns the rows and the columns of a strip.
    fn strip(&self, index: usize) -> [Range<usize>; 2] {
        let first = index / self.across * self.rows;
        let rows = first..self.map[0].min(first + self.rows);
        [rows, parallel::split(self.map[1], index % self.across, self.across)]
    }
}

impl<'a, T: TileFormat> InputWindows<'a, T> {
    /// Panics when the positions are not whole pictures of `map`, or, for strips, when the positions of a row are not
    /// as far apart as the shape says.
    pub(super) fn of(
        product: &'a TileProduct<T>,
        offsets: &'a GemmOffsets<'a>,
        map: [usize; 2],
        input: &'a [T::Value],
    ) -> Self {
        let picture = map[0] * map[1];
        let is_whole = picture > 0 && offsets.window_starts.len().is_multiple_of(picture);
        assert!(is_whole, "the positions are not whole pictures");
        let strips = product.has_strips().then(|| StripGrid::of(map, Self::rows_apart(product, offsets, map)));
        Self { product, offsets, input, strips }
    }

    /// Returns the distance from a window to the one below it, in units of the distance from a window to the one beside
    /// it. None where it differs between rows, or is no whole number of these units or of rows of the input. Panics
    /// when the windows of a row are not one stride apart.
    fn rows_apart(product: &TileProduct<T>, offsets: &GemmOffsets, [height, width]: [usize; 2]) -> Option<usize> {
        let (starts, step) = (offsets.window_starts, product.shape.stride * product.shape.channels);
        let in_row = |row: &[u32]| row.windows(2).all(|pair| pair[0] as usize + step == pair[1] as usize);
        assert!(starts.chunks_exact(width).all(in_row), "the windows of a row are not one stride apart");
        let first = if height > 1 { (starts[width] as usize).checked_sub(starts[0] as usize) } else { None };
        let is_even = |starts: &[u32]| {
            let mut rows = starts.chunks_exact(width).zip(starts.chunks_exact(width).skip(1));
            rows.all(|(row, next)| Some(next[0] as usize) == first.map(|apart| row[0] as usize + apart))
        };
        let is_even =
            starts.chunks_exact(height * width).all(is_even) && offsets.row_stride.is_multiple_of(T::VALUES_PER_ROW);
        let is_whole = |apart: &usize| apart.is_multiple_of(step) && apart.is_multiple_of(offsets.row_stride);
        first.filter(|apart| is_even && is_whole(apart)).map(|apart| apart / step)
    }

    /// Returns the range of thread `i`: positions, or strips; and filters.
    pub(super) fn range(&self, i: usize, threads: usize, filters: usize) -> GemmRange {
        let positions = self.offsets.window_starts.len();
        match self.strips {
            Some(strips) => {
                let strips = positions / (strips.map[0] * strips.map[1]) * strips.count();
                GemmRange::of(i, threads, [strips, filters], [2, PANEL])
            }
            None => GemmRange::of(i, threads, [positions, filters], [2 * TILE_ROWS, PANEL]),
        }
    }

    /// Returns the group that begins at `at`, in a range that ends at `end`, packed to `to` if it is not read in place;
    /// moves `at` behind the group.
    ///
    /// # Safety
    /// The CPU has the vectors of AMX's [`available`](super::super::available); `at` and `end` lie within the
    /// [`range`](Self::range) of a thread; the bytes of a packed group can be written to `to`, and those of a window
    /// and one tile row more to `window`.
    #[inline(always)]
    pub(super) unsafe fn group(&self, at: &mut usize, end: usize, window: *mut T::Value, to: *mut u8) -> WindowGroup {
        // SAFETY: the contract of this function is that of the functions that it calls.
        unsafe {
            if let Some(strips) = self.strips {
                *at += 1;
                return self.pack_strip(&strips, *at - 1, to);
            }
            let group = match self.in_place(*at, end) {
                Some(group) => group,
                None => self.pack_windows(*at, end, window, to),
            };
            *at = group.positions().end;
            group
        }
    }

    /// Returns the windows from position `first` on, before `end`, to be read in place; none where few of them are
    /// equally far apart or their rows do not fill tile rows.
    fn in_place(&self, first: usize, end: usize) -> Option<WindowGroup> {
        let [kernel_rows, depth] = self.product.window_rows();
        let (&base, rest) = self.offsets.window_starts[first..end].split_first()?;
        let step = rest.first()?.checked_sub(base).filter(|&step| step > 0)?;
        let last_window = base as usize + (TILE_ROWS - 1) * step as usize;
        let reach = last_window + (kernel_rows - 1) * self.offsets.row_stride + depth;
        if !T::IN_PLACE || !depth.is_multiple_of(T::VALUES_PER_ROW) || reach > self.input.len() {
            return None;
        }
        let (mut rows, mut next) = (1u16, 1);
        for &start in rest {
            let Some(distance) = start.checked_sub(base) else { break };
            let row = (distance / step) as usize;
            if !distance.is_multiple_of(step) || row >= TILE_ROWS || row < next {
                break;
            }
            rows |= 1 << row;
            next = row + 1;
        }
        let are_enough = rows.count_ones() as usize >= TILE_ROWS * 3 / 4;
        let start = self.input[base as usize..].as_ptr().cast();
        let bytes = |values: usize| values * size_of::<T::Value>();
        let (row_stride, run_stride) = (bytes(step as usize), bytes(self.offsets.row_stride));
        are_enough.then_some(WindowGroup { start, row_stride, run_stride, first, rows, ..WindowGroup::NONE })
    }

    /// Packs the windows from position `first` on, before `end`, one by one.
    ///
    /// # Safety
    /// The same as for [`Self::group`].
    #[inline(always)]
    unsafe fn pack_windows(&self, first: usize, end: usize, window: *mut T::Value, to: *mut u8) -> WindowGroup {
        let [kernel_rows, depth] = self.product.window_rows();
        let WindowSteps { runs, steps } = self.product.window_steps();
        let (run_stride, row_stride) = (steps * T::SLICES * ROW_BYTES, self.product.window_stride());
        let n = TILE_ROWS.min(end - first);
        let rows = ((1u32 << n) - 1) as u16;
        let mut group = WindowGroup { start: to, row_stride, run_stride, first, rows, ..WindowGroup::NONE };
        for (i, &start) in self.offsets.window_starts[first..first + n].iter().enumerate() {
            let row = |y: usize| self.input.as_ptr().wrapping_add(start as usize + y * self.offsets.row_stride);
            // SAFETY: `check` accepted this window, `kernel_rows` rows of `depth` values; by this function's contract
            // there is room for it at `window`, and for 16 packed windows at `to`.
            unsafe {
                let to = to.add(i * row_stride);
                if runs < kernel_rows {
                    (0..kernel_rows).for_each(|y| T::copy(row(y), depth, window.add(y * depth)));
                    group.scales[i] = T::scale(T::max_abs_bits(window, kernel_rows * depth, 0));
                    T::pack_rows(window, kernel_rows * depth, group.scales[i], to);
                } else {
                    let largest = (0..kernel_rows).fold(0, |largest, y| T::max_abs_bits(row(y), depth, largest));
                    group.scales[i] = T::scale(largest);
                    (0..kernel_rows).for_each(|y| T::pack_rows(row(y), depth, group.scales[i], to.add(y * run_stride)));
                }
            }
        }
        group
    }

    /// Packs the part of the map that the windows of a strip cover, with one scale: if any of its values is infinite or
    /// NaN, all sums of the strip are NaN.
    ///
    /// # Safety
    /// The same as for [`Self::group`].
    #[inline(always)]
    unsafe fn pack_strip(&self, strips: &StripGrid, index: usize, to: *mut u8) -> WindowGroup {
        let ([height, width], [kernel_rows, depth]) = (strips.map, self.product.window_rows());
        let [rows, columns] = strips.strip(index % strips.count());
        let first = index / strips.count() * height * width + rows.start * width + columns.start;
        let step = self.product.shape.stride * self.product.shape.channels;
        let (starts, map_row) = (self.offsets.window_starts, self.offsets.row_stride);
        // The packed rows of the input are contiguous; the last row ends with the last window.
        let last_values = (columns.len() - 1) * step + depth;
        let start = starts[first] as usize;
        let below = (starts[first + (rows.len() - 1) * width] as usize - start) / map_row.max(1);
        let (lines, line_values) = (below + kernel_rows, if rows.len() > 1 { map_row } else { last_values });
        let line = |y: usize| self.input.as_ptr().wrapping_add(start + y * map_row);
        let values = |y: usize| if y + 1 == lines { last_values } else { line_values };
        let bytes = |values: usize| values / T::VALUES_PER_ROW * T::SLICES * ROW_BYTES;
        // SAFETY: `check` accepted the first and the last window of the strip, so all values between them lie within
        // the input; by this function's contract there is room for a packed group at `to`.
        unsafe {
            let largest = (0..lines).fold(0, |largest, y| T::max_abs_bits(line(y), values(y), largest));
            let scale = T::scale(largest);
            (0..lines).for_each(|y| T::pack_rows(line(y), values(y), scale, to.add(bytes(y * line_values))));
            let mask = (1u32 << columns.len()) - 1;
            let rows = (0..rows.len()).fold(0, |all, y| all | mask << (y * strips.tile_rows_apart)) as u16;
            let (row_stride, run_stride) = (bytes(step), bytes(line_values));
            WindowGroup { start: to, row_stride, run_stride, first, rows, scales: [scale; TILE_ROWS] }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_is_in_one_strip() {
        for (map, apart, groups) in [
            ([56, 56], Some(58), 56 * 4),
            ([14, 14], Some(16), 14),
            ([7, 7], Some(9), 4),
            ([7, 7], Some(16), 7),
            ([4, 4], Some(6), 2),
            ([7, 7], None, 7),
            ([1, 40], None, 3),
            ([5, 1], Some(3), 1),
        ] {
            let strips = StripGrid::of(map, apart);
            assert_eq!(strips.count(), groups, "{strips:?}");
            let mut seen = vec![0; map[0] * map[1]];
            for [rows, columns] in (0..groups).map(|i| strips.strip(i)) {
                assert!((rows.len() - 1) * strips.tile_rows_apart + columns.len() <= TILE_ROWS, "{strips:?}");
                rows.for_each(|y| columns.clone().for_each(|x| seen[y * map[1] + x] += 1));
            }
            assert!(seen.iter().all(|&n| n == 1), "{strips:?}");
        }
    }
}
