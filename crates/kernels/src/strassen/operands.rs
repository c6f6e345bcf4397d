//! The left operands of the products: where their rows lie, and sums of quarters of them.

use std::ops::Range;

use super::super::aligned::LINE;
use super::super::simd::Simd;
use super::RunArgs;

/// The rows of a left operand.
#[derive(Clone, Copy)]
pub(super) enum LeftRows<'a> {
    /// Windows of one kernel row, where they lie in the map: those of position `first` and the following ones, and
    /// again the last one behind position `last`; `skip` values into each window.
    Map { input: *const f32, starts: &'a [u32], first: usize, last: usize, skip: usize },
    /// Rows in the scratch, `stride` floats apart.
    Scratch { start: *const f32, stride: usize },
}

impl LeftRows<'_> {
    /// The address of row `i`.
    ///
    /// # Safety
    /// For a map, position `last` has an offset in `starts`, and its window lies within the memory of `input`; for
    /// scratch, row `i` lies within it.
    #[inline(always)]
    pub(super) unsafe fn row(&self, i: usize) -> *const f32 {
        match *self {
            // SAFETY: no position behind `last` is looked up, by this function's contract.
            LeftRows::Map { input, starts, first, last, skip } => unsafe {
                input.add(*starts.get_unchecked((first + i).min(last)) as usize + skip)
            },
            // SAFETY: row `i` lies within the scratch, by this function's contract.
            LeftRows::Scratch { start, stride } => unsafe { start.add(i * stride) },
        }
    }

    /// One of the four quarters, each of `rows` × `depth`.
    #[inline(always)]
    pub(super) fn quarter(self, quarter: usize, rows: usize, depth: usize) -> Self {
        let (down, right) = (quarter / 2 * rows, quarter % 2 * depth);
        match self {
            LeftRows::Map { input, starts, first, last, skip } => {
                LeftRows::Map { input, starts, first: first + down, last, skip: skip + right }
            }
            LeftRows::Scratch { start, stride } => {
                LeftRows::Scratch { start: start.wrapping_add(down * stride + right), stride }
            }
        }
    }
}

/// Writes the four [sums](super::schedule::SUMS) of the quarters of `from`, each of `rows` × `depth`. A sum has
/// `stride` floats for each row and room for the rows of a whole tile.
///
/// # Safety
/// The CPU has the instruction set of `S`; the quarters can be read; `to` points to four writable sums; `stride` is at
/// least `depth` and a multiple of the vector's lanes.
#[inline(always)]
pub(super) unsafe fn write_all_sums<S: Simd>(from: LeftRows, [rows, depth]: [usize; 2], to: *mut f32, stride: usize) {
    for i in 0..rows {
        // SAFETY: by this function's contract; the last vector of a row ends within its stride.
        unsafe {
            let from: [*const f32; 4] = [0, 1, 2, 3].map(|q| from.quarter(q, rows, depth).row(i));
            for k in (0..depth).step_by(S::LANES) {
                let lanes = S::LANES.min(depth - k);
                let v = |q: usize| {
                    if lanes == S::LANES { S::load(from[q].add(k)) } else { S::load_partial(from[q].add(k), lanes) }
                };
                let v = [v(0), v(1), v(2), v(3)];
                // the compiler computes the terms that the sums share once
                let all = [add::<S, 0>(v), add::<S, 1>(v), add::<S, 2>(v), add::<S, 3>(v)];
                for (s, &sum) in all.iter().enumerate() {
                    S::store(to.add((s * S::TILE_ROWS + i) * stride + k), sum);
                }
            }
        }
    }
}

/// Writes sum `which` of the [sums](super::schedule::SUMS) of the quarters of `from`, each of `rows` × `depth`.
///
/// # Safety
/// The same as for [`write_all_sums`], for one sum.
#[inline(always)]
pub(super) unsafe fn write_sum<S: Simd>(
    which: usize,
    from: LeftRows,
    [rows, depth]: [usize; 2],
    to: *mut f32,
    stride: usize,
) {
    for i in 0..rows {
        // SAFETY: by this function's contract.
        unsafe {
            let from: [*const f32; 4] = [0, 1, 2, 3].map(|q| from.quarter(q, rows, depth).row(i));
            let to = to.add(i * stride);
            match which {
                0 => write_row::<S, 0>(from, depth, to),
                1 => write_row::<S, 1>(from, depth, to),
                2 => write_row::<S, 2>(from, depth, to),
                _ => write_row::<S, 3>(from, depth, to),
            }
        }
    }
}

/// Writes a row of a sum.
///
/// # Safety
/// The CPU has the instruction set of `S`; each of `from` points to `depth` readable values, `to` to as many writable
/// ones.
#[inline(always)]
unsafe fn write_row<S: Simd, const SUM: usize>(from: [*const f32; 4], depth: usize, to: *mut f32) {
    let mut k = 0;
    // SAFETY: by this function's contract; no vector goes beyond `depth`.
    unsafe {
        while k + S::LANES <= depth {
            S::store(to.add(k), add::<S, SUM>(from.map(|from| S::load(from.add(k)))));
            k += S::LANES;
        }
        if k < depth {
            let lanes = depth - k;
            let v = from.map(|from| S::load_partial(from.add(k), lanes));
            S::store_partial(to.add(k), lanes, add::<S, SUM>(v));
        }
    }
}

/// One of the [sums](super::schedule::SUMS) of four quarters.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn add<S: Simd, const SUM: usize>([a, b, c, d]: [S::Vector; 4]) -> S::Vector {
    // SAFETY: by this function's contract; the operations touch no memory.
    unsafe {
        match SUM {
            0 => S::sub(S::add(c, d), a),
            1 => S::sub(a, c),
            2 => S::add(c, d),
            _ => S::sub(b, S::sub(S::add(c, d), a)),
        }
    }
}

/// Prefetches the windows of the next groups, a few lines at a time while the current groups are computed: sums of
/// inputs are made faster than memory answers.
pub(super) struct Prefetcher {
    /// The position whose window comes next, and the line of the window.
    position: usize,
    line: usize,
    /// One past the last position.
    end: usize,
    /// Cache lines of a window.
    lines: usize,
    /// Lines that each call of [`Prefetcher::next`] asks for.
    per_call: usize,
}

impl Prefetcher {
    /// For windows of `groups`, which are to be prefetched in `calls` calls.
    #[inline(always)]
    pub(super) fn of<S: Simd>(args: &RunArgs, groups: Range<usize>, calls: usize) -> Self {
        let RunArgs { conv, groups: grid, .. } = args;
        let lines = (conv.kernel_rows * conv.depth).div_ceil(LINE);
        let (position, end) = if groups.is_empty() || conv.kernel_rows > 1 {
            (0, 0)
        } else {
            let last = grid.group(groups.end - 1).first + grid.parts * S::TILE_ROWS;
            (grid.group(groups.start).first, last.min(args.offsets.window_starts.len()))
        };
        Self { position, line: 0, end, lines, per_call: ((end - position) * lines).div_ceil(calls.max(1)) }
    }

    #[inline(always)]
    pub(super) fn next<S: Simd>(&mut self, args: &RunArgs) {
        let mut left = self.per_call;
        while left > 0 && self.position < self.end {
            let n = left.min(self.lines - self.line);
            let start = args.offsets.window_starts[self.position] as usize + self.line * LINE;
            let from = args.input.wrapping_add(start);
            (0..n).for_each(|i| S::prefetch_l2(from.wrapping_add(i * LINE)));
            left -= n;
            self.line += n;
            if self.line == self.lines {
                (self.position, self.line) = (self.position + 1, 0);
            }
        }
    }
}
