//! The micro-kernel: a chain of products of a tile of positions and filters, with all sums in registers.

use super::super::simd::{PREFETCH_EVERY, Simd, prefetch_output};

/// The most rows of a tile, of all instruction sets.
pub(super) const MOST_ROWS: usize = 14;
/// The most steps of a chain, and the most actions behind its last step.
pub(super) const MOST_STEPS: usize = 3;
pub(super) const MOST_ACTIONS: usize = 5;
/// How far ahead weights are prefetched, in floats: they are read for two groups at a time, from far away, and the
/// hardware prefetcher stops at the end of a page.
const AHEAD: usize = 1024;

/// An operation on the sums of a chain, after its last product.
#[derive(Clone, Copy)]
pub(super) enum Action {
    /// Adds a saved tile to them.
    Add(*const f32),
    /// Saves them as a tile.
    Save(*mut f32),
    /// Runs the epilogue and writes them to the output.
    Write,
}

/// The output rows of a tile.
pub(super) struct OutputRows {
    pub bias: *const f32,
    pub outputs: [*mut f32; MOST_ROWS],
    pub residuals: Option<[*const f32; MOST_ROWS]>,
    pub clamp: [f32; 2],
}

/// The arguments of the kernel: a chain over one tile. Saved tiles have two vectors for each row.
pub(super) struct ChainArgs<'a> {
    /// Saved tiles whose sum the chain begins with.
    pub start: [Option<*const f32>; 2],
    /// The rows of the left operand of each step.
    pub left: &'a [[*const f32; MOST_ROWS]],
    /// Where the sums behind each step are saved.
    pub saves: &'a [Option<*mut f32>; MOST_STEPS],
    /// Two vectors of weights for each step and value.
    pub weights: *const f32,
    /// Values of a row of a left operand.
    pub depth: usize,
    pub actions: &'a [Action],
    pub output: Option<&'a OutputRows>,
}

/// Calls the kernel for `n` positions and one or two vectors of filters.
///
/// # Safety
/// The same as for [`micro_kernel`] with `M` = `n` and `N` = 2 if `has_two`, else 1.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd>(chain: &ChainArgs, n: usize, has_two: bool) {
    macro_rules! by_rows {
        ($($n:literal)*) => {
            match (n, has_two) {
                $(($n, true) => micro_kernel::<S, $n, 2>(chain),
                  ($n, false) => micro_kernel::<S, $n, 1>(chain),)*
                _ => {}
            }
        };
    }
    // SAFETY: the contract of this function is that of the micro-kernel for `n` rows, and the literal is `n`.
    unsafe { by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

/// `M` positions × `N` vectors of filters, with all sums in registers; plain loops and no closures, as in
/// [`matmul`](crate::matmul).
///
/// # Safety
/// The CPU has the instruction set of `S`. The first `M` rows of every left operand point to `depth` readable values;
/// `weights` to two vectors for each of them and each step; tiles that are added or begun with can be read, tiles that
/// are saved be written. Where `output` is there, `N` vectors can be written at each of its first `M` outputs, read at
/// its residuals and at its bias.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn micro_kernel<S: Simd, const M: usize, const N: usize>(chain: &ChainArgs) {
    // SAFETY: by this function's contract; `i` is below `M` and `j` below `N` everywhere, `k` below `depth`.
    unsafe {
        let zero = S::splat(0.0);
        let mut sums = [[zero; N]; M];
        let mut w = [zero; N];
        if let Some(start) = chain.start[0] {
            for i in 0..M {
                for j in 0..N {
                    sums[i][j] = S::load(start.add((i * 2 + j) * S::LANES));
                }
            }
        }
        if let Some(start) = chain.start[1] {
            for i in 0..M {
                for j in 0..N {
                    sums[i][j] = S::add(sums[i][j], S::load(start.add((i * 2 + j) * S::LANES)));
                }
            }
        }
        let mut weights = chain.weights;
        // rows whose output lines have been prefetched
        let mut prefetched = if chain.output.is_some() { 0 } else { M };
        for (left, save) in chain.left.iter().zip(chain.saves) {
            let mut inputs = [chain.weights; M];
            inputs.copy_from_slice(&left[..M]);
            let mut k = S::dot_blocked(chain.depth, &inputs, weights, &mut sums);
            weights = weights.add(k * 2 * S::LANES);
            while k < chain.depth {
                let end = chain.depth.min(k + PREFETCH_EVERY);
                while k < end {
                    for j in 0..N {
                        w[j] = S::load(weights.add(j * S::LANES));
                        S::prefetch_l2(weights.wrapping_add(AHEAD + j * S::LANES));
                    }
                    for i in 0..M {
                        let x = S::splat(*inputs[i].add(k));
                        for j in 0..N {
                            sums[i][j] = S::mul_add(x, w[j], sums[i][j]);
                        }
                    }
                    weights = weights.add(2 * S::LANES);
                    k += 1;
                }
                if prefetched < M {
                    if let Some(output) = chain.output {
                        prefetch_output::<S, N, 0>(output.outputs[prefetched]);
                        if let Some(residuals) = &output.residuals {
                            prefetch_output::<S, N, 0>(residuals[prefetched]);
                        }
                    }
                    prefetched += 1;
                }
            }
            if let Some(to) = *save {
                for i in 0..M {
                    for j in 0..N {
                        S::store(to.add((i * 2 + j) * S::LANES), sums[i][j]);
                    }
                }
            }
        }
        for action in chain.actions {
            match *action {
                Action::Add(saved) => {
                    for i in 0..M {
                        for j in 0..N {
                            sums[i][j] = S::add(sums[i][j], S::load(saved.add((i * 2 + j) * S::LANES)));
                        }
                    }
                }
                Action::Save(to) => {
                    for i in 0..M {
                        for j in 0..N {
                            S::store(to.add((i * 2 + j) * S::LANES), sums[i][j]);
                        }
                    }
                }
                Action::Write => {
                    let Some(output) = chain.output else { continue };
                    let (low, high) = (S::splat(output.clamp[0]), S::splat(output.clamp[1]));
                    for j in 0..N {
                        w[j] = S::load(output.bias.add(j * S::LANES));
                    }
                    for i in 0..M {
                        for j in 0..N {
                            let mut v = S::add(sums[i][j], w[j]);
                            if let Some(residuals) = &output.residuals {
                                v = S::add(v, S::load(residuals[i].add(j * S::LANES)));
                            }
                            // the sum is the second argument, so that NaN stays NaN
                            S::store(output.outputs[i].add(j * S::LANES), S::min(high, S::max(low, v)));
                        }
                    }
                }
            }
        }
    }
}
