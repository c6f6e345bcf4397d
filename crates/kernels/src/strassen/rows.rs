//! Rows at the left of products: where they lie, and sums of them.

use std::ops::Range;

use super::super::aligned::LINE;
use super::super::simd::Simd;
use super::Work;

/// Rows at the left of a product.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    /// Windows of the map, from position `first` on and none behind `last`, `skip` values into each.
    Map {
        input: *const f32,
        starts: &'a [u32],
        first: usize,
        last: usize,
        skip: usize,
    },
    Dense {
        from: *const f32,
        pitch: usize,
    },
}

impl Rows<'_> {
    /// # Safety
    /// Row `i` is there.
    #[inline(always)]
    pub(super) unsafe fn at(&self, i: usize) -> *const f32 {
        match *self {
            // SAFETY: positions up to `last` are there.
            Rows::Map { input, starts, first, last, skip } => unsafe {
                input.add(*starts.get_unchecked((first + i).min(last)) as usize + skip)
            },
            // SAFETY: as the caller's.
            Rows::Dense { from, pitch } => unsafe { from.add(i * pitch) },
        }
    }

    /// One of four quarters, of `rows` × `depth`.
    #[inline(always)]
    pub(super) fn quarter(self, quarter: usize, rows: usize, depth: usize) -> Self {
        let (down, right) = (quarter / 2 * rows, quarter % 2 * depth);
        match self {
            Rows::Map { input, starts, first, last, skip } => {
                Rows::Map { input, starts, first: first + down, last, skip: skip + right }
            }
            Rows::Dense { from, pitch } => Rows::Dense { from: from.wrapping_add(down * pitch + right), pitch },
        }
    }
}

/// The four [sums](super::table::SUMS) of the quarters of `from`, `rows` × `depth` each, room for a whole tile from one to the next.
///
/// # Safety
/// The CPU has the instruction set; the quarters can be read, and the sums written.
#[inline(always)]
pub(super) unsafe fn all_sums<S: Simd>(from: Rows, [rows, depth]: [usize; 2], to: *mut f32, pitch: usize) {
    for i in 0..rows {
        // SAFETY: the caller's quarters can be read, and the sums written.
        unsafe {
            let from: [*const f32; 4] = [0, 1, 2, 3].map(|q| from.quarter(q, rows, depth).at(i));
            for k in (0..depth).step_by(S::W) {
                let lanes = S::W.min(depth - k);
                let v = |q: usize| {
                    if lanes == S::W { S::load(from[q].add(k)) } else { S::load_part(from[q].add(k), lanes) }
                };
                let v = [v(0), v(1), v(2), v(3)];
                // what they have in common is computed once
                let all = [sum_of::<S, 0>(v), sum_of::<S, 1>(v), sum_of::<S, 2>(v), sum_of::<S, 3>(v)];
                for (s, &sum) in all.iter().enumerate() {
                    // the pitch is whole vectors
                    S::store(to.add((s * S::ROWS + i) * pitch + k), sum);
                }
            }
        }
    }
}

/// One of [sums](super::table::SUMS) of the quarters of `from`, `rows` × `depth` each.
///
/// # Safety
/// As of [`all_sums`].
#[inline(always)]
pub(super) unsafe fn sum<S: Simd>(which: usize, from: Rows, [rows, depth]: [usize; 2], to: *mut f32, pitch: usize) {
    for i in 0..rows {
        // SAFETY: the caller's quarters can be read, and the sum written.
        unsafe {
            let from: [*const f32; 4] = [0, 1, 2, 3].map(|q| from.quarter(q, rows, depth).at(i));
            let to = to.add(i * pitch);
            match which {
                0 => line::<S, 0>(from, depth, to),
                1 => line::<S, 1>(from, depth, to),
                2 => line::<S, 2>(from, depth, to),
                _ => line::<S, 3>(from, depth, to),
            }
        }
    }
}

#[inline(always)]
unsafe fn line<S: Simd, const SUM: usize>(from: [*const f32; 4], depth: usize, to: *mut f32) {
    let mut k = 0;
    // SAFETY: as the caller's.
    unsafe {
        while k + S::W <= depth {
            S::store(to.add(k), sum_of::<S, SUM>(from.map(|from| S::load(from.add(k)))));
            k += S::W;
        }
        if k < depth {
            let lanes = depth - k;
            S::store_part(to.add(k), lanes, sum_of::<S, SUM>(from.map(|from| S::load_part(from.add(k), lanes))));
        }
    }
}

#[inline(always)]
unsafe fn sum_of<S: Simd, const SUM: usize>([a, b, c, d]: [S::V; 4]) -> S::V {
    // SAFETY: as the caller's.
    unsafe {
        match SUM {
            0 => S::sub(S::add(c, d), a),
            1 => S::sub(a, c),
            2 => S::add(c, d),
            _ => S::sub(b, S::sub(S::add(c, d), a)),
        }
    }
}

/// The windows of the next groups, which are asked for a few lines at a time while these are computed: sums are made faster than
/// memory answers.
pub(super) struct Ahead {
    position: usize,
    last: usize,
    line: usize,
    /// Cache lines of a window, and how many are asked for at a time.
    lines: usize,
    some: usize,
}

impl Ahead {
    #[inline(always)]
    pub(super) fn of<S: Simd>(work: &Work, groups: Range<usize>, times: usize) -> Self {
        let Work { packed, groups: cut, .. } = work;
        let lines = (packed.rows * packed.depth).div_ceil(LINE);
        let (position, last) = match groups.is_empty() || packed.rows > 1 {
            true => (0, 0),
            false => (
                cut.group(groups.start).first,
                (cut.group(groups.end - 1).first + cut.parts * S::ROWS).min(work.places.starts.len()),
            ),
        };
        Self { position, last, line: 0, lines, some: ((last - position) * lines).div_ceil(times.max(1)) }
    }

    #[inline(always)]
    pub(super) fn some<S: Simd>(&mut self, work: &Work) {
        let mut left = self.some;
        while left > 0 && self.position < self.last {
            let n = left.min(self.lines - self.line);
            let from = work.input.wrapping_add(work.places.starts[self.position] as usize + self.line * LINE);
            (0..n).for_each(|i| S::prefetch_near(from.wrapping_add(i * LINE)));
            left -= n;
            self.line += n;
            if self.line == self.lines {
                (self.position, self.line) = (self.position + 1, 0);
            }
        }
    }
}
