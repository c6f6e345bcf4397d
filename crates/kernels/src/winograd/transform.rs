//! The transforms of Winograd's convolution over one tile, a vector of channels or filters at a time.
//!
//! Along each dimension the inputs of a tile and the three weights are coefficients of polynomials, and the outputs are
//! coefficients of their product (of its transposed form). The product follows from its values at 0, ∞ and pairs of
//! points ±p: K pairs give 2 K outputs from 2 K + 2 inputs. A tile is transformed by columns, then by rows; in between
//! it is half-transformed. The weights are evaluated at the points without the divisors of the interpolation; the
//! transform of the sums divides by them. So a tile at the edge of the map, which needs fewer outputs, takes fewer
//! pairs of the same points and shares the weights with the others.
//!
//! The points decide how much rounding errors grow: see [`points`].

use super::super::aligned::LINE;
use super::super::simd::Simd;

/// The most outputs of a tile along a side.
pub(super) const MOST_OUTPUTS: usize = 2 * MOST_PAIRS;
/// The most inputs of a tile along a side, and the most points.
pub(super) const MOST_INPUTS: usize = MOST_OUTPUTS + 2;
/// The most pairs of points along a side.
const MOST_PAIRS: usize = 3;

/// The positive point of each pair ±p, for tiles of 4 outputs (two pairs) and of 6 (three).
///
/// They were found by measuring, among points with few bits, so that the transform of the inputs multiplies by exact
/// numbers. On 32 channels of values between −1 and 1 the error of the sums is 5.8e-7 of their norm (with ±1, ±2:
/// 1.3e-6), with tiles of 6 it is 2.3e-6 (with ±1/2, ±1, ±3/2: 3.2e-6). The first pair alone, and the first two, serve
/// the tiles at the edge, with errors no larger.
const fn points(tile_pairs: usize) -> [f64; MOST_PAIRS] {
    if tile_pairs == 2 { [0.6875, 1.5, 0.0] } else { [1.0, 0.5, 2.0] }
}

/// The constants of the transforms along a line with some pairs of points.
struct LineConstants {
    /// The coefficients of ∏ (x² − pᵢ²), by powers of x².
    product: [f32; MOST_PAIRS + 1],
    /// The coefficients of the product without pair i.
    product_without: [[f32; MOST_PAIRS + 1]; MOST_PAIRS],
    points: [f32; MOST_PAIRS],
    /// The factor of the value at 0 in output 0.
    zero_factor: f32,
    /// The factors of the values at ±pᵢ in output j.
    factors: [[f32; MOST_OUTPUTS]; MOST_PAIRS],
}

/// The coefficients of ∏ (x² − pᵢ²) over the first `pairs` points but `skip`, by powers of x².
const fn product(points: [f64; MOST_PAIRS], pairs: usize, skip: usize) -> [f64; MOST_PAIRS + 1] {
    let mut out = [0.0; MOST_PAIRS + 1];
    out[0] = 1.0;
    let mut i = 0;
    while i < pairs {
        if i != skip {
            let mut j = MOST_PAIRS;
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

const fn to_f32(values: [f64; MOST_PAIRS + 1]) -> [f32; MOST_PAIRS + 1] {
    let mut out = [0.0; MOST_PAIRS + 1];
    let mut i = 0;
    while i <= MOST_PAIRS {
        out[i] = values[i] as f32;
        i += 1;
    }
    out
}

/// The constants for the first `pairs` pairs of points of a tile with `tile_pairs`.
const fn line_constants(tile_pairs: usize, pairs: usize) -> LineConstants {
    let points = points(tile_pairs);
    let all = product(points, pairs, MOST_PAIRS);
    let mut line = LineConstants {
        product: to_f32(all),
        product_without: [[0.0; MOST_PAIRS + 1]; MOST_PAIRS],
        points: [0.0; MOST_PAIRS],
        zero_factor: (1.0 / all[0]) as f32,
        factors: [[0.0; MOST_OUTPUTS]; MOST_PAIRS],
    };
    let mut i = 0;
    while i < pairs {
        let p = points[i];
        let without = product(points, pairs, i);
        line.product_without[i] = to_f32(without);
        line.points[i] = p as f32;
        // The divisor of the interpolation is the derivative of x ∏ (x² − pⱼ²) at p.
        let (mut divisor, mut power, mut j) = (0.0, 2.0 * p * p, 0);
        while j < pairs {
            divisor += without[j] * power;
            power *= p * p;
            j += 1;
        }
        let (mut power, mut j) = (1.0, 0);
        while j < 2 * pairs {
            line.factors[i][j] = (power / divisor) as f32;
            power *= p;
            j += 1;
        }
        i += 1;
    }
    line
}

/// The kernels that are transformed together: their values at a point fill a cache line.
pub(super) const KERNELS: usize = LINE;

/// Calls `set(point, values)` with the values of 3 × 3 kernels, row-major, at 0, ∞ and `tile_pairs` pairs of points in
/// both dimensions: (2 · tile_pairs + 2)² points, row-major.
#[inline(always)]
pub(super) fn transform_kernels(
    tile_pairs: usize,
    kernels: &[[f64; KERNELS]; 9],
    mut set: impl FnMut(usize, [f32; KERNELS]),
) {
    let side = 2 * tile_pairs + 2;
    let mut rows = [[0.0; KERNELS]; 3];
    for i in 0..side {
        for (x, row) in rows.iter_mut().enumerate() {
            *row = evaluate(tile_pairs, [&kernels[x], &kernels[3 + x], &kernels[6 + x]], i);
        }
        for j in 0..side {
            let values = evaluate(tile_pairs, [&rows[0], &rows[1], &rows[2]], j);
            let mut narrow = [0.0; KERNELS];
            narrow.iter_mut().zip(values).for_each(|(to, value)| *to = value as f32);
            set(i * side + j, narrow);
        }
    }
}

/// Evaluates the polynomials with the coefficients `g` at point `i`.
#[inline(always)]
fn evaluate(tile_pairs: usize, g: [&[f64; KERNELS]; 3], i: usize) -> [f64; KERNELS] {
    let points = points(tile_pairs);
    let p = match i {
        0 => return *g[0],
        1 => return *g[2],
        i if i.is_multiple_of(2) => points[i / 2 - 1],
        i => -points[i / 2 - 1],
    };
    let mut values = [0.0; KERNELS];
    for (k, value) in values.iter_mut().enumerate() {
        *value = g[0][k] + p * g[1][k] + p * p * g[2][k];
    }
    values
}

/// Transforms the 2 K + 2 inputs of a line to their values at 0, ∞, p₁, −p₁, p₂, …
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn transform_input_line<S: Simd, const PAIRS: usize, const K: usize>(
    d: [S::Vector; MOST_INPUTS],
) -> [S::Vector; MOST_INPUTS] {
    // SAFETY: by this function's contract; the operations touch no memory.
    unsafe {
        let line = const { line_constants(PAIRS, K) };
        let mut out = d;
        let (mut zero, mut infinity) = (d[2 * K], d[2 * K + 1]);
        for j in (0..K).rev() {
            let factor = S::splat(line.product[j]);
            zero = S::mul_add(factor, d[2 * j], zero);
            infinity = S::mul_add(factor, d[2 * j + 1], infinity);
        }
        (out[0], out[1]) = (zero, infinity);
        for i in 0..K {
            let (mut even, mut odd) = (d[2 * K], d[2 * K - 1]);
            for j in (0..K - 1).rev() {
                let factor = S::splat(line.product_without[i][j]);
                even = S::mul_add(factor, d[2 * j + 2], even);
                odd = S::mul_add(factor, d[2 * j + 1], odd);
            }
            out[2 + 2 * i] = S::mul_add(S::splat(line.points[i]), odd, even);
            out[3 + 2 * i] = S::mul_add(S::splat(-line.points[i]), odd, even);
        }
        out
    }
}

/// Transforms sums at 0, ∞, p₁, −p₁, p₂, … to the 2 K outputs of a line.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn transform_sum_line<S: Simd, const PAIRS: usize, const K: usize>(
    m: [S::Vector; MOST_INPUTS],
) -> [S::Vector; MOST_OUTPUTS] {
    // SAFETY: by this function's contract; the operations touch no memory.
    unsafe {
        let line = const { line_constants(PAIRS, K) };
        let mut out = [m[1]; MOST_OUTPUTS];
        let (mut sums, mut differences) = ([m[0]; MOST_PAIRS], [m[0]; MOST_PAIRS]);
        for i in 0..K {
            sums[i] = S::add(m[2 + 2 * i], m[3 + 2 * i]);
            differences[i] = S::sub(m[2 + 2 * i], m[3 + 2 * i]);
        }
        for j in 0..2 * K {
            let terms = if j % 2 == 0 { &sums } else { &differences };
            let first = S::splat(line.factors[0][j]);
            let mut sum = if j == 0 {
                S::mul_add(first, terms[0], S::mul(S::splat(line.zero_factor), m[0]))
            } else if j + 1 == 2 * K {
                S::mul_add(first, terms[0], m[1])
            } else {
                S::mul(first, terms[0])
            };
            for i in 1..K {
                sum = S::mul_add(S::splat(line.factors[i][j]), terms[i], sum);
            }
            out[j] = sum;
        }
        out
    }
}

/// The inputs of a tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct InputTile {
    /// The first channel of the first pixel.
    pub from: *const f32,
    pub row_stride: usize,
    pub pixel_stride: usize,
    /// Pairs of points that the tile takes, down and across.
    pub pairs: [usize; 2],
    /// Rows and columns that can be read; the others are zero.
    pub available: [usize; 2],
}

/// Vectors of a half-transformed tile.
pub(super) const HALF_VECTORS: usize = MOST_INPUTS * MOST_INPUTS;

/// Transforms `lanes` channels of a tile with at most `PAIRS` pairs of points. The values at neighbouring points are
/// `point_stride` floats apart. `FULL` says that all rows and columns of the tile are available and that `lanes` is a
/// whole vector.
///
/// # Safety
/// The CPU has the instruction set of `S`; `lanes` channels of the available inputs can be read; a vector can be
/// written at each point from `to` on, and [`HALF_VECTORS`] of them at `half`.
#[inline(always)]
pub(super) unsafe fn transform_input<S: Simd, const PAIRS: usize, const FULL: bool>(
    tile: &InputTile,
    lanes: usize,
    half: *mut f32,
    to: *mut f32,
    point_stride: usize,
) {
    // SAFETY: the contract of this function is that of the functions that it calls; a tile takes one pair, two, or all
    // `PAIRS` of them.
    unsafe {
        match tile.pairs[0] {
            1 => transform_input_columns::<S, PAIRS, 1, FULL>(tile, lanes, half),
            2 => transform_input_columns::<S, PAIRS, 2, FULL>(tile, lanes, half),
            _ => transform_input_columns::<S, PAIRS, PAIRS, FULL>(tile, lanes, half),
        }
        let rows = 2 * tile.pairs[0] + 2;
        match tile.pairs[1] {
            1 => transform_input_rows::<S, PAIRS, 1>(half, rows, to, point_stride),
            2 => transform_input_rows::<S, PAIRS, 2>(half, rows, to, point_stride),
            _ => transform_input_rows::<S, PAIRS, PAIRS>(half, rows, to, point_stride),
        }
    }
}

/// The first pass over the inputs: by columns, with `K` pairs of points.
///
/// # Safety
/// The same as for [`transform_input`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn transform_input_columns<S: Simd, const PAIRS: usize, const K: usize, const FULL: bool>(
    tile: &InputTile,
    lanes: usize,
    half: *mut f32,
) {
    // SAFETY: by this function's contract; only available inputs are read, and a column has at most `MOST_INPUTS`
    // points.
    unsafe {
        for x in 0..2 * tile.pairs[1] + 2 {
            let mut column = [S::splat(0.0); MOST_INPUTS];
            for y in 0..2 * K + 2 {
                let from = tile.from.wrapping_add(y * tile.row_stride + x * tile.pixel_stride);
                if FULL {
                    column[y] = S::load(from);
                } else if y < tile.available[0] && x < tile.available[1] {
                    column[y] = S::load_partial(from, lanes);
                }
            }
            let column = transform_input_line::<S, PAIRS, K>(column);
            for i in 0..2 * K + 2 {
                S::store(half.add((i * MOST_INPUTS + x) * S::LANES), column[i]);
            }
        }
    }
}

/// The second pass over the inputs: by rows, with `K` pairs of points.
///
/// # Safety
/// The same as for [`transform_input`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn transform_input_rows<S: Simd, const PAIRS: usize, const K: usize>(
    half: *const f32,
    rows: usize,
    to: *mut f32,
    point_stride: usize,
) {
    for i in 0..rows {
        // SAFETY: by this function's contract; `half` has `MOST_INPUTS` vectors for each row.
        unsafe {
            let row = load_line::<S, K>(half.add(i * MOST_INPUTS * S::LANES), S::LANES);
            let row = transform_input_line::<S, PAIRS, K>(row);
            for j in 0..2 * K + 2 {
                S::store(to.add((i * (2 * PAIRS + 2) + j) * point_stride), row[j]);
            }
        }
    }
}

/// Loads 2 K + 2 vectors, `stride` floats from one to the next.
///
/// # Safety
/// The CPU has the instruction set of `S`; the vectors can be read.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn load_line<S: Simd, const K: usize>(from: *const f32, stride: usize) -> [S::Vector; MOST_INPUTS] {
    // SAFETY: by this function's contract.
    unsafe {
        let mut line = [S::splat(0.0); MOST_INPUTS];
        for j in 0..2 * K + 2 {
            line[j] = S::load(from.add(j * stride));
        }
        line
    }
}

/// The first pass over the sums of a tile, which takes `pairs` of points, and a vector of filters: by columns.
///
/// # Safety
/// The CPU has the instruction set of `S`; a vector can be read at each point from `from` on, and [`HALF_VECTORS`] of
/// them be written at `half`.
#[inline(always)]
pub(super) unsafe fn transform_sum_columns<S: Simd, const PAIRS: usize>(
    from: *const f32,
    point_stride: usize,
    pairs: [usize; 2],
    half: *mut f32,
) {
    // SAFETY: the contract of this function is that of the functions that it calls; a tile takes one pair, two, or all
    // `PAIRS` of them.
    unsafe {
        match pairs[0] {
            1 => transform_sum_columns_by::<S, PAIRS, 1>(from, point_stride, pairs[1], half),
            2 => transform_sum_columns_by::<S, PAIRS, 2>(from, point_stride, pairs[1], half),
            _ => transform_sum_columns_by::<S, PAIRS, PAIRS>(from, point_stride, pairs[1], half),
        }
    }
}

/// The first pass over the sums with `K` pairs of points down and `pairs_across`.
///
/// # Safety
/// The same as for [`transform_sum_columns`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn transform_sum_columns_by<S: Simd, const PAIRS: usize, const K: usize>(
    from: *const f32,
    point_stride: usize,
    pairs_across: usize,
    half: *mut f32,
) {
    // SAFETY: by this function's contract; a row of points has 2 · PAIRS + 2 of them, however many the tile takes.
    unsafe {
        for x in 0..2 * pairs_across + 2 {
            let column = load_line::<S, K>(from.add(x * point_stride), (2 * PAIRS + 2) * point_stride);
            let column = transform_sum_line::<S, PAIRS, K>(column);
            for i in 0..2 * K {
                S::store(half.add((i * MOST_INPUTS + x) * S::LANES), column[i]);
            }
        }
    }
}

/// The second pass over the sums: the outputs of a row, two for each of `pairs`.
///
/// # Safety
/// The CPU has the instruction set of `S`; [`HALF_VECTORS`] vectors can be read at `half`; `row` is below
/// [`MOST_INPUTS`].
#[inline(always)]
pub(super) unsafe fn transform_sum_row<S: Simd, const PAIRS: usize>(
    half: *const f32,
    row: usize,
    pairs: usize,
) -> [S::Vector; MOST_OUTPUTS] {
    // SAFETY: by this function's contract; a tile takes one pair, two, or all `PAIRS` of them.
    unsafe {
        let from = half.add(row * MOST_INPUTS * S::LANES);
        match pairs {
            1 => transform_sum_line::<S, PAIRS, 1>(load_line::<S, 1>(from, S::LANES)),
            2 => transform_sum_line::<S, PAIRS, 2>(load_line::<S, 2>(from, S::LANES)),
            _ => transform_sum_line::<S, PAIRS, PAIRS>(load_line::<S, PAIRS>(from, S::LANES)),
        }
    }
}
