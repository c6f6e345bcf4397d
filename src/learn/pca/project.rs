//! Projection of rows on components: one order of sums per row, whatever rows stand beside it.
//!
//! A general matrix product cuts its sums according to the shape of the whole product, so a picture's numbers would change
//! with the size of its batch. Here each (row, component) pair is a dot product of fixed order: `LANES` partial sums in
//! `f32` over `CHUNK` features, the chunks added up in `f64`. Pairs are computed in tiles only for speed.

use rayon::prelude::*;

use super::Pca;

/// Partial sums of a dot product: one SIMD register.
const LANES: usize = 4;
/// Features summed in `f32` before they are added in `f64`: keeps 100,352 features as exact as 1,024.
const CHUNK: usize = 1024;
/// Rows that share one reading of the components.
const GROUP: usize = 32;
/// Rows and components of a tile.
const TILE: (usize, usize) = (4, 2);

/// Fills `out` (n, k) from `rows` (n, d), both row-major.
pub fn project(pca: &Pca, rows: &[f32], out: &mut [f32]) {
    let (d, k) = (pca.features, pca.k());
    if d == 0 || k == 0 {
        return;
    }
    let scale: Option<Vec<f64>> = pca.whiten.then(|| pca.explained_variance.iter().map(whitening).collect());
    out.par_chunks_mut(GROUP * k).zip(rows.par_chunks(GROUP * d)).for_each(|(out, rows)| {
        let sums = project_group(pca, rows, rows.len() / d);
        for (at, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            *out = scale.as_ref().map_or(sum, |scale| sum * scale[at % k]) as f32;
        }
    });
}

/// Factor that brings a component to unit variance; none for a component that has no variance.
fn whitening(variance: &f64) -> f64 {
    if *variance > 0.0 { variance.sqrt().recip() } else { 0.0 }
}

/// Projections (rows, k) of up to `GROUP` rows.
fn project_group(pca: &Pca, rows: &[f32], count: usize) -> Vec<f64> {
    let (d, k) = (pca.features, pca.k());
    let mut sums = vec![0.0; count * k];
    let mut centred = vec![0.0_f32; GROUP * CHUNK];
    for start in (0..d).step_by(CHUNK) {
        let width = CHUNK.min(d - start);
        let mean = &pca.mean[start..start + width];
        for (i, row) in rows.chunks_exact(d).enumerate() {
            let target = &mut centred[i * CHUNK..i * CHUNK + width];
            let values = row[start..start + width].iter().zip(mean);
            target.iter_mut().zip(values).for_each(|(t, (&x, mean))| *t = (f64::from(x) - mean) as f32);
        }
        let row = |i: usize| &centred[i * CHUNK..i * CHUNK + width];
        let component = |c: usize| &pca.components[c * d + start..c * d + start + width];
        let mut c = 0;
        while c < k {
            let two = c + TILE.1 <= k;
            let mut i = 0;
            while i < count {
                let four = i + TILE.0 <= count;
                match (four, two) {
                    (true, true) => add::<4, 2>(i, c, k, row, component, &mut sums),
                    (true, false) => add::<4, 1>(i, c, k, row, component, &mut sums),
                    (false, true) => add::<1, 2>(i, c, k, row, component, &mut sums),
                    (false, false) => add::<1, 1>(i, c, k, row, component, &mut sums),
                }
                i += if four { TILE.0 } else { 1 };
            }
            c += if two { TILE.1 } else { 1 };
        }
    }
    sums
}

/// Adds one chunk's dot products of R rows from `i` and C components from `c` to `sums` (rows, k).
fn add<'a, const R: usize, const C: usize>(
    i: usize,
    c: usize,
    k: usize,
    row: impl Fn(usize) -> &'a [f32],
    component: impl Fn(usize) -> &'a [f32],
    sums: &mut [f64],
) {
    let rows: [&[f32]; R] = std::array::from_fn(|r| row(i + r));
    let components: [&[f32]; C] = std::array::from_fn(|j| component(c + j));
    let products = dots(rows, components);
    for (r, products) in products.iter().enumerate() {
        for (j, product) in products.iter().enumerate() {
            sums[(i + r) * k + c + j] += f64::from(*product);
        }
    }
}

/// Dot products of every row with every component. The order of sums within a pair is the same for every R and C.
fn dots<const R: usize, const C: usize>(rows: [&[f32]; R], components: [&[f32]; C]) -> [[f32; C]; R] {
    let mut lanes = [[[0.0_f32; LANES]; C]; R];
    let rows = rows.map(|row| row.as_chunks::<LANES>());
    let components = components.map(|component| component.as_chunks::<LANES>());
    let steps = rows[0].0.len();
    let row_steps = rows.map(|(steps_of_row, _)| &steps_of_row[..steps]);
    let component_steps = components.map(|(steps_of_component, _)| &steps_of_component[..steps]);
    for step in 0..steps {
        let x = row_steps.map(|row| row[step]);
        let y = component_steps.map(|component| component[step]);
        for r in 0..R {
            for c in 0..C {
                for lane in 0..LANES {
                    lanes[r][c][lane] += x[r][lane] * y[c][lane];
                }
            }
        }
    }
    let mut out = [[0.0; C]; R];
    for r in 0..R {
        for c in 0..C {
            let rest: f32 = rows[r].1.iter().zip(components[c].1).map(|(x, y)| x * y).sum();
            let [a, b, e, f] = lanes[r][c];
            out[r][c] = (a + b) + (e + f) + rest;
        }
    }
    out
}
