//! The kernel: a chain of products of a tile of positions and filters, all sums in registers.

use super::super::simd::{PREFETCH_EVERY, Simd, prefetch};

/// The most positions of a tile, of all instruction sets.
pub(super) const MOST_ROWS: usize = 14;
/// The most steps of a chain, and the most that becomes of its end.
pub(super) const MOST_STEPS: usize = 3;
pub(super) const MOST_THEN: usize = 5;
/// How far ahead weights are asked for, in floats: they are read for two groups at a time, from far away, and the CPU by itself does not look
/// beyond a page.
const AHEAD: usize = 1024;

/// What becomes of the end of a chain.
#[derive(Clone, Copy)]
pub(super) enum Then {
    Add(*const f32),
    Save(*mut f32),
    Give,
}

/// Where results go.
pub(super) struct Out {
    pub bias: *const f32,
    pub outs: [*mut f32; MOST_ROWS],
    pub adds: Option<[*const f32; MOST_ROWS]>,
    pub limits: [f32; 2],
}

/// What a kernel is called with: a chain.
pub(super) struct Call<'a> {
    pub start: [Option<*const f32>; 2],
    /// The rows of each step, and where its product is kept.
    pub left: &'a [[*const f32; MOST_ROWS]],
    pub saves: &'a [Option<*mut f32>; MOST_STEPS],
    pub weight: *const f32,
    pub depth: usize,
    pub then: &'a [Then],
    pub out: Option<&'a Out>,
}

/// The kernel for `n` positions, one or two vectors of filters.
///
/// # Safety
/// The CPU has the instruction set; `n` rows of every step can be read, all that is saved or given can be written.
#[inline(always)]
pub(super) unsafe fn dispatch<S: Simd>(call: &Call, n: usize, wide: bool) {
    macro_rules! rows {
        ($($n:literal)*) => {
            match (n, wide) {
                // SAFETY: as the caller's; `n` positions are there.
                $(($n, true) => unsafe { kernel::<S, $n, 2>(call) },
                  ($n, false) => unsafe { kernel::<S, $n, 1>(call) },)*
                _ => {}
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// `M` positions × `N` vectors of filters, all sums in registers. Plain loops and no closures, as in the direct convolution.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn kernel<S: Simd, const M: usize, const N: usize>(call: &Call) {
    // SAFETY: the caller answers for every address below.
    unsafe {
        let zero = S::splat(0.0);
        let mut sums = [[zero; N]; M];
        let mut w = [zero; N];
        if let Some(start) = call.start[0] {
            for i in 0..M {
                for j in 0..N {
                    sums[i][j] = S::load(start.add((i * 2 + j) * S::W));
                }
            }
        }
        if let Some(start) = call.start[1] {
            for i in 0..M {
                for j in 0..N {
                    sums[i][j] = S::add(sums[i][j], S::load(start.add((i * 2 + j) * S::W)));
                }
            }
        }
        let mut weight = call.weight;
        // rows of results whose lines were asked for
        let mut asked = if call.out.is_some() { 0 } else { M };
        for (left, save) in call.left.iter().zip(call.saves) {
            let mut from = [call.weight; M];
            from.copy_from_slice(&left[..M]);
            let mut k = S::steps(call.depth, &from, weight, &mut sums);
            weight = weight.add(k * 2 * S::W);
            while k < call.depth {
                let end = call.depth.min(k + PREFETCH_EVERY);
                while k < end {
                    for j in 0..N {
                        w[j] = S::load(weight.add(j * S::W));
                        S::prefetch_near(weight.wrapping_add(AHEAD + j * S::W));
                    }
                    for i in 0..M {
                        let x = S::splat(*from[i].add(k));
                        for j in 0..N {
                            sums[i][j] = S::mul_add(x, w[j], sums[i][j]);
                        }
                    }
                    weight = weight.add(2 * S::W);
                    k += 1;
                }
                if asked < M {
                    if let Some(out) = call.out {
                        prefetch::<S, N, 0>(out.outs[asked]);
                        if let Some(adds) = &out.adds {
                            prefetch::<S, N, 0>(adds[asked]);
                        }
                    }
                    asked += 1;
                }
            }
            if let Some(to) = *save {
                for i in 0..M {
                    for j in 0..N {
                        S::store(to.add((i * 2 + j) * S::W), sums[i][j]);
                    }
                }
            }
        }
        for then in call.then {
            match *then {
                Then::Add(saved) => {
                    for i in 0..M {
                        for j in 0..N {
                            sums[i][j] = S::add(sums[i][j], S::load(saved.add((i * 2 + j) * S::W)));
                        }
                    }
                }
                Then::Save(to) => {
                    for i in 0..M {
                        for j in 0..N {
                            S::store(to.add((i * 2 + j) * S::W), sums[i][j]);
                        }
                    }
                }
                Then::Give => {
                    let Some(out) = call.out else { continue };
                    let (low, high) = (S::splat(out.limits[0]), S::splat(out.limits[1]));
                    for j in 0..N {
                        w[j] = S::load(out.bias.add(j * S::W));
                    }
                    for i in 0..M {
                        for j in 0..N {
                            let mut v = S::add(sums[i][j], w[j]);
                            if let Some(adds) = &out.adds {
                                v = S::add(v, S::load(adds[i].add(j * S::W)));
                            }
                            // in this order a NaN stays one
                            S::store(out.outs[i].add(j * S::W), S::min(high, S::max(low, v)));
                        }
                    }
                }
            }
        }
    }
}
