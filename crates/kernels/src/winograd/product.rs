//! The matrix products of a block of tiles: for each of the places, tiles × channels times channels × filters.

use super::super::simd::Simd;
use std::ops::Range;

/// Tiles that go through the three steps together, and how they lie in the scratch, in elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// The first tile of all, and how many.
    pub begin: usize,
    pub tiles: usize,
    pub c: usize,
    pub filters: usize,
    /// From one tile to the next, and from one place to the next, in the inputs.
    pub input_tile: usize,
    pub input_place: usize,
    /// The same in the sums.
    pub sum_tile: usize,
    pub sum_place: usize,
}

/// At one place, sums(tile, filter) = Σ over c of input(tile, c) · weight(c, filter) for a range of tiles, in the order of the channels.
///
/// # Safety
/// The CPU has the instruction set; the three pointers lead to as much as the block says.
#[inline(always)]
pub(super) unsafe fn product<S: Simd>(
    block: &Block,
    tiles: Range<usize>,
    weight: *const f32,
    input: *const f32,
    sums: *mut f32,
) {
    let panel = 2 * S::W;
    let groups = tiles.len().div_ceil(S::ROWS);
    for p in 0..block.filters.div_ceil(panel) {
        let wide = block.filters - p * panel > S::W;
        let weight = weight.wrapping_add(p * panel * block.c);
        for g in 0..groups {
            // groups as equal as can be
            let first = tiles.start + g * tiles.len() / groups;
            let n = tiles.start + (g + 1) * tiles.len() / groups - first;
            // SAFETY: as the caller's.
            unsafe {
                let spot = Spot {
                    input: input.add(first * block.input_tile),
                    input_tile: block.input_tile,
                    sums: sums.add(first * block.sum_tile + p * panel),
                    sum_tile: block.sum_tile,
                };
                dispatch::<S>(n, wide, block.c, weight, &spot);
            }
        }
    }
}

/// Where the tiles of a group lie.
struct Spot {
    input: *const f32,
    input_tile: usize,
    sums: *mut f32,
    sum_tile: usize,
}

/// The kernel for `n` tiles, one or two vectors of filters.
#[inline(always)]
unsafe fn dispatch<S: Simd>(n: usize, wide: bool, c: usize, weight: *const f32, spot: &Spot) {
    macro_rules! rows {
        ($($n:literal)*) => {
            match (n, wide) {
                // SAFETY: as the caller's; `n` tiles are there.
                $(($n, true) => unsafe { kernel::<S, $n, 2>(c, weight, spot) },
                  ($n, false) => unsafe { kernel::<S, $n, 1>(c, weight, spot) },)*
                _ => {}
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// `M` tiles × `N` vectors of filters, all sums in registers. Plain loops and no closures, as in the direct convolution.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn kernel<S: Simd, const M: usize, const N: usize>(c: usize, weight: *const f32, spot: &Spot) {
    // SAFETY: as the caller's.
    unsafe {
        let zero = S::splat(0.0);
        let mut sums = [[zero; N]; M];
        let mut weight = weight;
        let mut from = [spot.input; M];
        for i in 0..M {
            from[i] = spot.input.add(i * spot.input_tile);
        }
        let taken = S::steps(c, &from, weight, &mut sums);
        weight = weight.add(taken * 2 * S::W);
        for k in taken..c {
            let mut w = [zero; N];
            for j in 0..N {
                w[j] = S::load(weight.add(j * S::W));
            }
            for i in 0..M {
                let x = S::splat(*from[i].add(k));
                for j in 0..N {
                    sums[i][j] = S::mul_add(x, w[j], sums[i][j]);
                }
            }
            weight = weight.add(2 * S::W);
        }
        for i in 0..M {
            for j in 0..N {
                S::store(spot.sums.add(i * spot.sum_tile + j * S::W), sums[i][j]);
            }
        }
    }
}
