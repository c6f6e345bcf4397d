//! Projects rows on components, with the same order of sums for a row whatever the other rows are.
//!
//! A general matrix product divides its sums according to the shape of the whole product, so a picture's numbers would
//! change with the size of its batch. Here every (row, component) pair is summed in one fixed order: `CHUNK` features
//! one after the other in `f32`, the chunks in `f64`. Speed comes from tiles of `ROWS` × `COMPONENTS` pairs that are
//! summed side by side, in the widest registers that the machine has; the places of a tile beyond the last row or
//! component hold zeros. The width of the registers does not change the result, because products and sums are rounded
//! one by one.

use faer::traits::pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// Rows of a tile.
const ROWS: usize = 4;
/// Components of a tile.
const COMPONENTS: usize = 8;
/// The number of features that are summed in `f32` before the sum is added in `f64`, so that 100,352 features are as
/// exact as 512.
const CHUNK: usize = 512;
/// Rows that share one packing of the components.
const GROUP: usize = 64;

/// The components that rows are projected on.
#[derive(Clone, Copy)]
pub(super) struct Axes<'a> {
    /// Features of a row, d.
    pub features: usize,
    /// (k, d), row-major
    pub components: &'a [f32],
    /// The mean that is subtracted from every row (d); none for a decomposition that is not centred.
    pub mean: Option<&'a [f64]>,
}

/// Fills `out` (n, k) from `rows` (n, d), both row-major; every component is multiplied by its `scale` (k) where there
/// is one.
pub(super) fn project(directions: &Axes, scale: Option<&[f64]>, rows: &[f32], out: &mut [f32]) {
    let d = directions.features;
    let k = directions.components.len().checked_div(d).unwrap_or(0);
    if d == 0 || k == 0 {
        return;
    }
    let arch = Arch::new();
    out.par_chunks_mut(GROUP * k).zip(rows.par_chunks(GROUP * d)).for_each(|(out, rows)| {
        let sums = arch.dispatch(Group { directions, rows });
        for (at, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            *out = scale.map_or(sum, |scale| sum * scale[at % k]) as f32;
        }
    });
}

/// Returns the factor that scales a component to unit variance; 0 for a component without variance.
pub(super) fn whitening(variance: &f64) -> f64 {
    if *variance > 0.0 { variance.sqrt().recip() } else { 0.0 }
}

/// Up to `GROUP` rows to project.
struct Group<'a> {
    directions: &'a Axes<'a>,
    rows: &'a [f32],
}

impl NullaryFnOnce for Group<'_> {
    type Output = Vec<f64>;

    /// Always inlined, to be compiled once for each width of registers that `dispatch` chooses from.
    #[inline(always)]
    fn call(self) -> Vec<f64> {
        project_group(self.directions, self.rows)
    }
}

/// Returns the projections (rows, k) of up to `GROUP` rows.
#[inline(always)]
fn project_group(directions: &Axes, rows: &[f32]) -> Vec<f64> {
    let d = directions.features;
    let k = directions.components.len() / d;
    let count = rows.len() / d;
    let mut sums = vec![0.0; count * k];
    let mut left: Vec<Vec<[f32; ROWS]>> = vec![Vec::with_capacity(CHUNK); count.div_ceil(ROWS)];
    let mut right: Vec<[f32; COMPONENTS]> = Vec::with_capacity(CHUNK);
    for start in (0..d).step_by(CHUNK) {
        let width = CHUNK.min(d - start);
        for (panel, rows) in left.iter_mut().zip(rows.chunks(ROWS * d)) {
            pack(panel, width, rows, d, start);
            if let Some(mean) = directions.mean {
                for (values, mean) in panel.iter_mut().zip(&mean[start..start + width]) {
                    values.iter_mut().for_each(|value| *value = (f64::from(*value) - mean) as f32);
                }
            }
        }
        for (c, components) in directions.components.chunks(COMPONENTS * d).enumerate() {
            pack(&mut right, width, components, d, start);
            for (i, panel) in left.iter().enumerate() {
                add(&tile(panel, &right), (i * ROWS, c * COMPONENTS), k, &mut sums);
            }
        }
    }
    sums
}

/// Packs the features `start..start + width` of up to `N` rows of `d` into `panel`: entry i holds feature i of every
/// row.
fn pack<const N: usize>(panel: &mut Vec<[f32; N]>, width: usize, rows: &[f32], d: usize, start: usize) {
    panel.clear();
    panel.resize(width, [0.0; N]);
    for (lane, row) in rows.chunks_exact(d).enumerate() {
        panel.iter_mut().zip(&row[start..start + width]).for_each(|(values, &value)| values[lane] = value);
    }
}

/// Returns the products of a panel of rows and a panel of components, summed over one feature after the other.
#[inline(always)]
fn tile(left: &[[f32; ROWS]], right: &[[f32; COMPONENTS]]) -> [[f32; COMPONENTS]; ROWS] {
    let mut sums = [[0.0; COMPONENTS]; ROWS];
    for (x, y) in left.iter().zip(right) {
        for (sums, x) in sums.iter_mut().zip(x) {
            for (sum, y) in sums.iter_mut().zip(y) {
                *sum += x * y;
            }
        }
    }
    sums
}

/// Adds a tile, as far as there are rows and components, to `sums` (rows, k) from a row and a component on.
fn add(tile: &[[f32; COMPONENTS]; ROWS], (row, component): (usize, usize), k: usize, sums: &mut [f64]) {
    for (sums, tile) in sums.chunks_exact_mut(k).skip(row).zip(tile) {
        sums[component..].iter_mut().zip(tile).for_each(|(sum, &part)| *sum += f64::from(part));
    }
}
