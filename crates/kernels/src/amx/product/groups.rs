//! The windows of a product, in groups of up to 16 positions: a tile each.

use std::ops::Range;

use super::super::values::Values;
use super::super::{LINE, ROWS};
use super::{PANEL, Packed};
use crate::matmul::Places;
use crate::share::{self, Part};

/// The windows of up to 16 positions, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// Where the first one lies.
    pub from: *const u8,
    /// Bytes from one row of a tile to the next, and from one row of the kernel to the next.
    pub pitch: usize,
    pub row: usize,
    /// The first position, and which rows of the tile are those from there on.
    pub first: usize,
    pub rows: u16,
    /// What the sums of each row of the tile are multiplied by.
    pub units: [f32; ROWS],
}

impl Group {
    pub(super) const NONE: Self =
        Self { from: std::ptr::null(), pitch: 0, row: 0, first: 0, rows: 0, units: [1.0; ROWS] };

    pub(super) fn positions(&self) -> Range<usize> {
        self.first..self.first + self.rows.count_ones() as usize
    }
}

/// Where the windows lie.
pub(super) struct Windows<'a, T: Values> {
    packed: &'a Packed<T>,
    places: &'a Places<'a>,
    input: &'a [T::V],
    /// How pictures are cut into strips, where they are.
    cut: Option<Cut>,
}

/// A picture in groups of neighbouring positions. It is cut by its shape alone: what a group's values have in common depends on nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    /// Height and width of the output.
    map: [usize; 2],
    /// Rows of the output in a group, and groups across.
    down: usize,
    across: usize,
    /// Rows of a tile from one row of the output to the next, where a group has several.
    apart: usize,
}

impl Cut {
    /// `apart`: positions from one row of the output to the next, as far apart as those in a row are, if they are a whole number.
    fn of(map: [usize; 2], apart: Option<usize>) -> Self {
        let [h, w] = map;
        let more = apart.filter(|&apart| w <= ROWS && apart >= w).map_or(0, |apart| (ROWS - w) / apart);
        Self { map, down: (1 + more).min(h), across: w.div_ceil(ROWS), apart: apart.unwrap_or(0) }
    }

    /// Groups of a picture.
    fn count(&self) -> usize {
        self.map[0].div_ceil(self.down) * self.across
    }

    /// The rows of a group, and its columns.
    fn group(&self, index: usize) -> [Range<usize>; 2] {
        let first = index / self.across * self.down;
        [first..self.map[0].min(first + self.down), share::range(self.map[1], index % self.across, self.across)]
    }
}

impl<'a, T: Values> Windows<'a, T> {
    /// Panics when the positions are not whole pictures of `map`, or where strips are made of them do not lie in rows.
    pub(super) fn of(packed: &'a Packed<T>, places: &'a Places<'a>, map: [usize; 2], input: &'a [T::V]) -> Self {
        let (each, [h, w]) = (map[0] * map[1], map);
        assert!(each > 0 && places.starts.len().is_multiple_of(each), "the positions are not whole pictures");
        let step = packed.shape.stride * packed.shape.channels;
        let cut = packed.has_strips().then(|| {
            let rows = places.starts.chunks_exact(w);
            let in_rows = |row: &[u32]| row.windows(2).all(|pair| pair[0] as usize + step == pair[1] as usize);
            assert!(rows.clone().all(in_rows), "the positions of a row lie elsewhere");
            // the rows of a picture, and those of the kernel
            let down = if h > 1 { (places.starts[w] as usize).checked_sub(places.starts[0] as usize) } else { None };
            let even = |starts: &[u32]| {
                let mut rows = starts.chunks_exact(w).zip(starts.chunks_exact(w).skip(1));
                rows.all(|(row, next)| Some(next[0] as usize) == down.map(|down| row[0] as usize + down))
            };
            let even = places.starts.chunks_exact(each).all(even) && places.row.is_multiple_of(T::STEP);
            let whole = |down: &usize| down.is_multiple_of(step) && down.is_multiple_of(places.row);
            let apart = down.filter(|down| even && whole(down)).map(|down| down / step);
            Cut::of(map, apart)
        });
        Self { packed, places, input, cut }
    }

    /// What thread `i` computes: positions, or groups of strips; and filters.
    pub(super) fn part(&self, i: usize, threads: usize, filters: usize) -> Part {
        match self.cut {
            Some(cut) => {
                let groups = self.places.starts.len() / (cut.map[0] * cut.map[1]) * cut.count();
                Part::of(i, threads, [groups, filters], [2, PANEL])
            }
            None => Part::of(i, threads, [self.places.starts.len(), filters], [2 * ROWS, PANEL]),
        }
    }

    /// The group that begins at `at` of a part that ends at `end`, written to `to` if it must be; goes on behind it.
    ///
    /// # Safety
    /// The CPU has the instructions; there is room for a group at `to` and for the values of a window at `flat`; the windows lie within the input.
    #[inline(always)]
    pub(super) unsafe fn group(&self, at: &mut usize, end: usize, flat: *mut T::V, to: *mut u8) -> Group {
        // SAFETY: as the caller's.
        unsafe {
            if let Some(cut) = self.cut {
                *at += 1;
                return self.strip(&cut, *at - 1, to);
            }
            let group = match self.in_place(*at, end) {
                Some(group) => group,
                None => self.written(*at, end, flat, to),
            };
            *at = group.positions().end;
            group
        }
    }

    /// The windows from position `first` on, before `end`, where they lie; none if they are few or no whole lines.
    fn in_place(&self, first: usize, end: usize) -> Option<Group> {
        let [rows, depth] = self.packed.rows();
        let (&base, rest) = self.places.starts[first..end].split_first()?;
        let step = rest.first()?.checked_sub(base).filter(|&step| step > 0)?;
        let reach = base as usize + (ROWS - 1) * step as usize + (rows - 1) * self.places.row + depth;
        if !T::IN_PLACE || !depth.is_multiple_of(T::STEP) || reach > self.input.len() {
            return None;
        }
        let (mut rows, mut next) = (1u16, 1);
        for &start in rest {
            let Some(far) = start.checked_sub(base) else { break };
            let row = (far / step) as usize;
            if !far.is_multiple_of(step) || row >= ROWS || row < next {
                break;
            }
            rows |= 1 << row;
            next = row + 1;
        }
        let enough = rows.count_ones() as usize >= ROWS * 3 / 4;
        let from = self.input[base as usize..].as_ptr().cast();
        let bytes = |values: usize| values * size_of::<T::V>();
        let (pitch, row) = (bytes(step as usize), bytes(self.places.row));
        enough.then_some(Group { from, pitch, row, first, rows, ..Group::NONE })
    }

    /// The windows from position `first` on, before `end`, written one by one.
    ///
    /// # Safety
    /// As of [`Self::group`].
    #[inline(always)]
    unsafe fn written(&self, first: usize, end: usize, flat: *mut T::V, to: *mut u8) -> Group {
        let [rows, depth] = self.packed.rows();
        let [lines, steps] = self.packed.steps();
        let (row, pitch) = (steps * T::PLANES * LINE, self.packed.pitch());
        let n = ROWS.min(end - first);
        let mut group = Group { from: to, pitch, row, first, rows: ((1u32 << n) - 1) as u16, ..Group::NONE };
        for (i, &start) in self.places.starts[first..first + n].iter().enumerate() {
            let at = |y: usize| self.input.as_ptr().wrapping_add(start as usize + y * self.places.row);
            // SAFETY: as the caller's.
            unsafe {
                let to = to.add(i * pitch);
                if lines < rows {
                    (0..rows).for_each(|y| T::copy(at(y), depth, flat.add(y * depth)));
                    group.units[i] = T::unit(T::largest(flat, rows * depth, 0));
                    T::lines(flat, rows * depth, group.units[i], to);
                } else {
                    let largest = (0..rows).fold(0, |largest, y| T::largest(at(y), depth, largest));
                    group.units[i] = T::unit(largest);
                    (0..rows).for_each(|y| T::lines(at(y), depth, group.units[i], to.add(y * row)));
                }
            }
        }
        group
    }

    /// What a group sees of its map, written in one unit: where any of it is no number, none of the group's sums is.
    ///
    /// # Safety
    /// As of [`Self::group`].
    #[inline(always)]
    unsafe fn strip(&self, cut: &Cut, index: usize, to: *mut u8) -> Group {
        let ([h, w], [kernel, depth]) = (cut.map, self.packed.rows());
        let [rows, columns] = cut.group(index % cut.count());
        let first = index / cut.count() * h * w + rows.start * w + columns.start;
        let step = self.packed.shape.stride * self.packed.shape.channels;
        // rows of the input, values of each, and values from one to the next where they are written; the last one ends with the last window
        let last = (columns.len() - 1) * step + depth;
        let start = self.places.starts[first] as usize;
        let below = (self.places.starts[first + (rows.len() - 1) * w] as usize - start) / self.places.row.max(1);
        let (lines, row) = (below + kernel, if rows.len() > 1 { self.places.row } else { last });
        let at = |y: usize| self.input.as_ptr().wrapping_add(start + y * self.places.row);
        let values = |y: usize| if y + 1 == lines { last } else { row };
        let bytes = |values: usize| values / T::STEP * T::PLANES * LINE;
        // SAFETY: as the caller's: all that lies between the first value of the first window and the last one of the last can be read.
        unsafe {
            let unit = T::unit((0..lines).fold(0, |largest, y| T::largest(at(y), values(y), largest)));
            (0..lines).for_each(|y| T::lines(at(y), values(y), unit, to.add(bytes(y * row))));
            let mask = (1u32 << columns.len()) - 1;
            let mask = (0..rows.len()).fold(0, |all, y| all | mask << (y * cut.apart)) as u16;
            Group { from: to, pitch: bytes(step), row: bytes(row), first, rows: mask, units: [unit; ROWS] }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_is_in_one_group() {
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
            let cut = Cut::of(map, apart);
            assert_eq!(cut.count(), groups, "{cut:?}");
            let mut seen = vec![0; map[0] * map[1]];
            for [rows, columns] in (0..groups).map(|i| cut.group(i)) {
                assert!((rows.len() - 1) * cut.apart + columns.len() <= ROWS, "{cut:?}");
                rows.for_each(|y| columns.clone().for_each(|x| seen[y * map[1] + x] += 1));
            }
            assert!(seen.iter().all(|&n| n == 1), "{cut:?}");
        }
    }
}
