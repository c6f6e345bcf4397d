//! The micro-kernel of the direct convolution, and its epilogue.

use super::Columns;
use crate::activation::Function;
use crate::simd::{Isa, PREFETCH_EVERY, Simd, WeightsAhead, prefetch_output, prefetch_weights};

/// The weights of a tile: a panel from its first filter on, two vectors of weights for each value of a window.
#[derive(Clone, Copy)]
pub(crate) struct Panel {
    pub kernel_rows: usize,
    pub columns: Columns,
    pub depth: usize,
    pub row_stride: usize,
    pub weights: *const f32,
    pub bias: *const f32,
    /// The filters of the panel, at most two vectors of them.
    pub filters: usize,
    pub clamp: [f32; 2],
    pub function: Option<Function<Isa>>,
}

/// The positions of a tile. Output and residual point to the first filter of the panel.
pub(crate) struct TileRows<'a> {
    pub input: *const f32,
    pub window_starts: &'a [u32],
    pub output: *mut f32,
    pub output_starts: &'a [u32],
    pub residual: *const f32,
    pub residual_starts: Option<&'a [u32]>,
}

/// Calls the micro-kernel for `n` positions and as many vectors of filters as there are: two, one and a half, or one.
///
/// # Safety
/// The same as for [`micro_kernel`] with `M` = `n`.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd>(panel: &Panel, rows: &TileRows, ahead: WeightsAhead, n: usize) {
    macro_rules! by_rows {
        ($($n:literal)*) => {
            match (n, half_vectors::<S>(panel.filters)) {
                $(($n, 4) => micro_kernel::<S, $n, 2, 0>(panel, rows, ahead),
                  ($n, 3) if S::HAS_HALF => micro_kernel::<S, $n, 1, 1>(panel, rows, ahead),
                  ($n, 2) => micro_kernel::<S, $n, 1, 0>(panel, rows, ahead),)*
                _ => {}
            }
        };
    }
    // SAFETY: the contract of this function is that of the micro-kernel for `n` rows, and the literal is `n`; a panel
    // has two vectors of weights.
    unsafe { by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

/// Returns the number of half vectors that `filters`, up to two vectors of them, take. One half alone gains nothing,
/// since its inputs take as long to load.
#[inline(always)]
fn half_vectors<S: Simd>(filters: usize) -> usize {
    if S::HAS_HALF && filters > S::LANES { filters.div_ceil(S::LANES / 2) } else { 2 * filters.div_ceil(S::LANES) }
}

/// The micro-kernel: `M` positions × `N` vectors of filters and `H` halves behind them, with all sums in registers.
///
/// It has plain loops and no closures: a closure is a function of its own, without the vector features, and would keep
/// the sums in memory.
///
/// # Safety
/// The CPU has the instruction set of `S`; `rows` has the offsets of `M` positions; their windows of
/// `panel.kernel_rows` × `panel.columns.count` × `panel.depth` values can be read, and `panel.filters` values at their
/// outputs be written, at their residuals be read; the panel has its weights and its bias.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn micro_kernel<S: Simd, const M: usize, const N: usize, const H: usize>(
    panel: &Panel,
    rows: &TileRows,
    mut ahead: WeightsAhead,
) {
    // SAFETY: by this function's contract: the loops read every value of `M` windows, and as many times two vectors of
    // weights, which are zero behind the last filter; `wrapping_add` moves a pointer beyond its window only after the
    // last row.
    unsafe {
        let mut sums = [[S::splat(0.0); N]; M];
        let mut halves = [[S::Half::splat(0.0); H]; M];
        for i in 0..M {
            for j in 0..N {
                sums[i][j] = S::load(panel.bias.add(j * S::LANES));
            }
            for j in 0..H {
                halves[i][j] = S::Half::load(panel.bias.add(N * S::LANES));
            }
        }
        let mut weights = panel.weights;
        let mut inputs = [rows.input; M];
        for i in 0..M {
            inputs[i] = rows.input.add(*rows.window_starts.get_unchecked(i) as usize);
        }
        // The number of positions whose output lines have been prefetched.
        let mut prefetched = 0;
        // The step from behind the last column of a row to the first column of the next.
        let row_step = panel.row_stride.wrapping_sub((panel.columns.count - 1) * panel.columns.stride);
        for _ in 0..panel.kernel_rows {
            for column in 1..=panel.columns.count {
                let mut k = if H == 0 { S::dot_blocked(panel.depth, &inputs, weights, &mut sums) } else { 0 };
                weights = weights.add(k * 2 * S::LANES);
                while k < panel.depth {
                    let end = panel.depth.min(k + PREFETCH_EVERY);
                    while k < end {
                        multiply_add::<S, M, N, H>(&inputs, k, weights, &mut sums, &mut halves);
                        weights = weights.add(2 * S::LANES);
                        k += 1;
                    }
                    ahead.prefetch::<S>();
                    if prefetched < M {
                        let start = *rows.output_starts.get_unchecked(prefetched) as usize;
                        prefetch_output::<S, N, H>(rows.output.wrapping_add(start));
                        if let Some(starts) = rows.residual_starts {
                            let start = *starts.get_unchecked(prefetched) as usize;
                            prefetch_output::<S, N, H>(rows.residual.wrapping_add(start));
                        }
                        prefetched += 1;
                    }
                }
                let step = if column < panel.columns.count { panel.columns.stride } else { row_step };
                for i in 0..M {
                    inputs[i] = inputs[i].wrapping_add(step);
                }
            }
        }
        epilogue::<S, M, N>(panel, rows, 0, &sums);
        epilogue::<S::Half, M, H>(panel, rows, N * S::LANES, &halves);
    }
}

/// Adds value `k` of `M` windows times its weights to the sums.
///
/// # Safety
/// The CPU has the instruction set of `S`; each of `inputs` points to more than `k` readable values, `weights` to two
/// readable vectors.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn multiply_add<S: Simd, const M: usize, const N: usize, const H: usize>(
    inputs: &[*const f32; M],
    k: usize,
    weights: *const f32,
    sums: &mut [[S::Vector; N]; M],
    halves: &mut [[<S::Half as Simd>::Vector; H]; M],
) {
    // SAFETY: by this function's contract: `N` vectors and `H` halves are at most two vectors of weights.
    unsafe {
        let (mut w, mut half) = ([S::splat(0.0); N], [S::Half::splat(0.0); H]);
        for j in 0..N {
            w[j] = S::load(weights.add(j * S::LANES));
        }
        for j in 0..H {
            half[j] = S::Half::load(weights.add(N * S::LANES));
        }
        prefetch_weights::<S>(weights);
        for i in 0..M {
            let x = S::splat(*inputs[i].add(k));
            for j in 0..N {
                sums[i][j] = S::mul_add(x, w[j], sums[i][j]);
            }
            for j in 0..H {
                halves[i][j] = S::Half::mul_add(S::low_half(x), half[j], halves[i][j]);
            }
        }
    }
}

/// The epilogue: adds the residual to the sums of the filters from `first` on, applies the activation, and writes them.
///
/// # Safety
/// The same as for [`micro_kernel`]; `first` and `N` vectors behind it lie within two vectors.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn epilogue<S: Simd, const M: usize, const N: usize>(
    panel: &Panel,
    rows: &TileRows,
    first: usize,
    sums: &[[S::Vector; N]; M],
) {
    // SAFETY: by this function's contract: `lanes` values can be accessed from each output and residual on.
    unsafe {
        // This is a copy for the loop below, which indexes at run time: the sums stay in registers only if their
        // address is never taken.
        let mut done = [[S::splat(0.0); N]; M];
        for i in 0..M {
            for j in 0..N {
                done[i][j] = sums[i][j];
            }
        }
        let lanes = |j: usize| S::LANES.min(panel.filters - first - j * S::LANES);
        if let Some(starts) = rows.residual_starts {
            for i in 0..M {
                for j in 0..N {
                    let from = rows.residual.add(*starts.get_unchecked(i) as usize + first + j * S::LANES);
                    done[i][j] = S::add(done[i][j], S::load_partial(from, lanes(j)));
                }
            }
        }
        if let Some(function) = panel.function
            && N > 0
        {
            function.apply_to_vectors(done.as_flattened_mut());
        }
        let (low, high) = (S::splat(panel.clamp[0]), S::splat(panel.clamp[1]));
        for i in 0..M {
            for j in 0..N {
                let to = rows.output.add(*rows.output_starts.get_unchecked(i) as usize + first + j * S::LANES);
                // The sum is the second argument, so that NaN stays NaN.
                S::store_partial(to, lanes(j), S::min(high, S::max(low, done[i][j])));
            }
        }
    }
}
