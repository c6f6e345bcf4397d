//! The small transforms of Winograd's convolution, a vector of channels or filters at a time.
//!
//! In each dimension the inputs of a tile and the three weights are the coefficients of polynomials. What is wanted of their product is known
//! from its values at 0, ∞ and pairs of points ±p: K pairs give 2 K outputs from 2 K + 2 inputs. A tile is transformed by columns, then by
//! rows. The weights are evaluated at the points and not divided by what interpolation divides by; the way back does that. So a tile at the
//! edge of the map, which needs fewer outputs, takes fewer pairs of the same points, and shares the weights with the others.
//!
//! The points decide how much rounding is amplified: see [`pairs`].

use super::super::simd::Simd;

/// Outputs of a tile in each dimension, at most.
pub(super) const MOST_OUT: usize = 2 * MOST;
/// Inputs of a tile in each dimension, at most.
pub(super) const MOST_IN: usize = MOST_OUT + 2;
/// Pairs of points, at most.
const MOST: usize = 3;

/// The pairs ±p for tiles of 4 outputs (two) and of 6 (three).
///
/// Found by measuring, among points with few bits, so that the way in multiplies by exact numbers: on 32 channels of values between −1 and 1
/// the sums are off by 5.8e-7 of their norm (±1, ±2: 1.3e-6), with tiles of 6 by 2.3e-6 (±1/2, ±1, ±3/2: 3.2e-6). The first pair alone, and
/// the first two, serve the tiles at the edge, with errors no larger.
const fn pairs(family: usize) -> [f64; MOST] {
    if family == 2 { [0.6875, 1.5, 0.0] } else { [1.0, 0.5, 2.0] }
}

/// The constants of a line with `k` pairs.
struct Line {
    /// ∏ (x² − pᵢ²), by powers of x².
    all: [f32; MOST + 1],
    /// The same without pair i.
    without: [[f32; MOST + 1]; MOST],
    points: [f32; MOST],
    /// What the values at 0 and at ±pᵢ add to output j.
    zero: f32,
    outs: [[f32; MOST_OUT]; MOST],
}

/// ∏ (x² − pᵢ²) over the first `k` pairs but `skip`, by powers of x².
const fn product(points: [f64; MOST], k: usize, skip: usize) -> [f64; MOST + 1] {
    let mut out = [0.0; MOST + 1];
    out[0] = 1.0;
    let mut i = 0;
    while i < k {
        if i != skip {
            let mut j = MOST;
            while j > 0 {
                out[j] = out[j - 1] - points[i] * points[i] * out[j];
                j -= 1;
            }
            out[0] *= -points[i] * points[i];
        }
        i += 1;
    }
    out
}

const fn rounded(values: [f64; MOST + 1]) -> [f32; MOST + 1] {
    let mut out = [0.0; MOST + 1];
    let mut i = 0;
    while i <= MOST {
        out[i] = values[i] as f32;
        i += 1;
    }
    out
}

const fn line(family: usize, k: usize) -> Line {
    let points = pairs(family);
    let all = product(points, k, MOST);
    let mut line = Line {
        all: rounded(all),
        without: [[0.0; MOST + 1]; MOST],
        points: [0.0; MOST],
        zero: (1.0 / all[0]) as f32,
        outs: [[0.0; MOST_OUT]; MOST],
    };
    let mut i = 0;
    while i < k {
        let p = points[i];
        let without = product(points, k, i);
        line.without[i] = rounded(without);
        line.points[i] = p as f32;
        // the derivative of x ∏ (x² − pⱼ²) at p
        let (mut divisor, mut power, mut j) = (0.0, 2.0 * p * p, 0);
        while j < k {
            divisor += without[j] * power;
            power *= p * p;
            j += 1;
        }
        let (mut power, mut j) = (1.0, 0);
        while j < 2 * k {
            line.outs[i][j] = (power / divisor) as f32;
            power *= p;
            j += 1;
        }
        i += 1;
    }
    line
}

/// The values of a 3 × 3 kernel, row-major, at 0, ∞ and `family` pairs of points in both dimensions: (2 · family + 2)² places, row-major.
pub(super) fn weight(family: usize, kernel: &[f32], mut set: impl FnMut(usize, f32)) {
    let side = 2 * family + 2;
    let points = pairs(family);
    let at = |g: [f64; 3], i: usize| match i {
        0 => g[0],
        1 => g[2],
        _ => {
            let p = if i.is_multiple_of(2) { points[i / 2 - 1] } else { -points[i / 2 - 1] };
            g[0] + p * g[1] + p * p * g[2]
        }
    };
    for i in 0..side {
        let row = [0, 1, 2].map(|x| at([0, 3, 6].map(|y| f64::from(kernel[y + x])), i));
        for j in 0..side {
            set(i * side + j, at(row, j) as f32);
        }
    }
}

/// 2 K + 2 inputs of a line to its values at 0, ∞, p₁, −p₁, p₂, …
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn input_line<S: Simd, const F: usize, const K: usize>(d: [S::V; MOST_IN]) -> [S::V; MOST_IN] {
    // SAFETY: as the caller's.
    unsafe {
        let line = const { line(F, K) };
        let mut out = d;
        let (mut zero, mut infinity) = (d[2 * K], d[2 * K + 1]);
        for j in (0..K).rev() {
            let factor = S::splat(line.all[j]);
            zero = S::mul_add(factor, d[2 * j], zero);
            infinity = S::mul_add(factor, d[2 * j + 1], infinity);
        }
        (out[0], out[1]) = (zero, infinity);
        for i in 0..K {
            let (mut even, mut odd) = (d[2 * K], d[2 * K - 1]);
            for j in (0..K - 1).rev() {
                let factor = S::splat(line.without[i][j]);
                even = S::mul_add(factor, d[2 * j + 2], even);
                odd = S::mul_add(factor, d[2 * j + 1], odd);
            }
            out[2 + 2 * i] = S::mul_add(S::splat(line.points[i]), odd, even);
            out[3 + 2 * i] = S::mul_add(S::splat(-line.points[i]), odd, even);
        }
        out
    }
}

/// Values at 0, ∞, p₁, −p₁, p₂, … to the 2 K outputs of a line.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn output_line<S: Simd, const F: usize, const K: usize>(m: [S::V; MOST_IN]) -> [S::V; MOST_OUT] {
    // SAFETY: as the caller's.
    unsafe {
        let line = const { line(F, K) };
        let mut out = [m[1]; MOST_OUT];
        let (mut sums, mut differences) = ([m[0]; MOST], [m[0]; MOST]);
        for i in 0..K {
            sums[i] = S::add(m[2 + 2 * i], m[3 + 2 * i]);
            differences[i] = S::sub(m[2 + 2 * i], m[3 + 2 * i]);
        }
        for j in 0..2 * K {
            let terms = if j % 2 == 0 { &sums } else { &differences };
            let first = S::splat(line.outs[0][j]);
            let mut sum = if j == 0 {
                S::mul_add(first, terms[0], S::mul(S::splat(line.zero), m[0]))
            } else if j + 1 == 2 * K {
                S::mul_add(first, terms[0], m[1])
            } else {
                S::mul(first, terms[0])
            };
            for i in 1..K {
                sum = S::mul_add(S::splat(line.outs[i][j]), terms[i], sum);
            }
            out[j] = sum;
        }
        out
    }
}

/// The inputs of a tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub from: *const f32,
    pub row: usize,
    pub pixel: usize,
    /// Pairs of points taken, down and across.
    pub pairs: [usize; 2],
    /// Rows and columns that are there; the others are zero.
    pub there: [usize; 2],
}

/// Vectors between the two passes over a tile.
pub(super) const HALF: usize = MOST_IN * MOST_IN;

/// Transforms `lanes` channels of a tile; `place` floats from one place of the result to the next. `FULL` when all its rows, columns and lanes
/// are there.
///
/// # Safety
/// The CPU has the instruction set; the inputs that are there can be read; a vector can be written at each place of the tile, and `HALF` of
/// them at `half`.
#[inline(always)]
pub(super) unsafe fn input<S: Simd, const F: usize, const FULL: bool>(
    window: &Window,
    lanes: usize,
    half: *mut f32,
    to: *mut f32,
    place: usize,
) {
    // SAFETY: as the caller's; there are no more pairs than those of the family.
    unsafe {
        match window.pairs[0] {
            1 => input_columns::<S, F, 1, FULL>(window, lanes, half),
            2 => input_columns::<S, F, 2, FULL>(window, lanes, half),
            _ => input_columns::<S, F, F, FULL>(window, lanes, half),
        }
        let rows = 2 * window.pairs[0] + 2;
        match window.pairs[1] {
            1 => input_rows::<S, F, 1>(half, rows, to, place),
            2 => input_rows::<S, F, 2>(half, rows, to, place),
            _ => input_rows::<S, F, F>(half, rows, to, place),
        }
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn input_columns<S: Simd, const F: usize, const K: usize, const FULL: bool>(
    window: &Window,
    lanes: usize,
    half: *mut f32,
) {
    // SAFETY: as the caller's.
    unsafe {
        for x in 0..2 * window.pairs[1] + 2 {
            let mut column = [S::splat(0.0); MOST_IN];
            for y in 0..2 * K + 2 {
                let from = window.from.wrapping_add(y * window.row + x * window.pixel);
                if FULL {
                    column[y] = S::load(from);
                } else if y < window.there[0] && x < window.there[1] {
                    column[y] = S::load_part(from, lanes);
                }
            }
            let column = input_line::<S, F, K>(column);
            for i in 0..2 * K + 2 {
                S::store(half.add((i * MOST_IN + x) * S::W), column[i]);
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn input_rows<S: Simd, const F: usize, const K: usize>(
    half: *const f32,
    rows: usize,
    to: *mut f32,
    place: usize,
) {
    for i in 0..rows {
        // SAFETY: as the caller's.
        unsafe {
            let line = input_line::<S, F, K>(load_line::<S, K>(half.add(i * MOST_IN * S::W), S::W));
            for j in 0..2 * K + 2 {
                S::store(to.add((i * (2 * F + 2) + j) * place), line[j]);
            }
        }
    }
}

/// 2 K + 2 vectors, `step` floats from one to the next.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn load_line<S: Simd, const K: usize>(from: *const f32, step: usize) -> [S::V; MOST_IN] {
    // SAFETY: as the caller's.
    unsafe {
        let mut line = [S::splat(0.0); MOST_IN];
        for j in 0..2 * K + 2 {
            line[j] = S::load(from.add(j * step));
        }
        line
    }
}

/// The first pass of the way back: the sums of a tile with `pairs` of points and a vector of filters, by columns.
///
/// # Safety
/// The CPU has the instruction set; a vector can be read at each place of the tile and `HALF` of them written at `half`.
#[inline(always)]
pub(super) unsafe fn output_columns<S: Simd, const F: usize>(
    from: *const f32,
    place: usize,
    pairs: [usize; 2],
    half: *mut f32,
) {
    // SAFETY: as the caller's; there are no more pairs than those of the family.
    unsafe {
        match pairs[0] {
            1 => output_columns_of::<S, F, 1>(from, place, pairs[1], half),
            2 => output_columns_of::<S, F, 2>(from, place, pairs[1], half),
            _ => output_columns_of::<S, F, F>(from, place, pairs[1], half),
        }
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn output_columns_of<S: Simd, const F: usize, const K: usize>(
    from: *const f32,
    place: usize,
    across: usize,
    half: *mut f32,
) {
    // SAFETY: as the caller's.
    unsafe {
        for x in 0..2 * across + 2 {
            let column = load_line::<S, K>(from.add(x * place), (2 * F + 2) * place);
            let column = output_line::<S, F, K>(column);
            for i in 0..2 * K {
                S::store(half.add((i * MOST_IN + x) * S::W), column[i]);
            }
        }
    }
}

/// The second pass: a row of outputs, as many as two for each of `pairs`.
///
/// # Safety
/// The CPU has the instruction set; `HALF` vectors can be read at `half`.
#[inline(always)]
pub(super) unsafe fn output_row<S: Simd, const F: usize>(
    half: *const f32,
    row: usize,
    pairs: usize,
) -> [S::V; MOST_OUT] {
    // SAFETY: as the caller's; there are no more pairs than those of the family.
    unsafe {
        let from = half.add(row * MOST_IN * S::W);
        match pairs {
            1 => output_line::<S, F, 1>(load_line::<S, 1>(from, S::W)),
            2 => output_line::<S, F, 2>(load_line::<S, 2>(from, S::W)),
            _ => output_line::<S, F, F>(load_line::<S, F>(from, S::W)),
        }
    }
}
