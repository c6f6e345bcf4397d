//! The matrix products of a block of tiles: at each point of the transform, tiles × channels times channels × filters.

use super::super::simd::{PREFETCH_EVERY, Simd, WeightsAhead, by_rows, prefetch_weights};
use std::ops::Range;

/// The most products of a chain, which the registers sum one after the other; a longer sum is the sum of its chains.
/// The rounding of a chain grows with the root of its length, and the transform of the sums enlarges it up to
/// twentyfold. Of 512 channels in tiles of 6 the error is 8e-6 of the norm in one chain and 4e-6 in chains of 128,
/// which take a hundredth of the time more.
const CHAIN: usize = 128;

/// Tiles that go through the three phases together, and how their transforms lie in the scratch, in elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct TileBlock {
    /// The first tile among those of all pictures.
    pub begin: usize,
    pub tiles: usize,
    pub channels: usize,
    pub filters: usize,
    /// From one tile to the next, and from one point to the next, in the transformed inputs.
    pub input_tile_stride: usize,
    pub input_point_stride: usize,
    /// The same in the sums.
    pub sum_tile_stride: usize,
    pub sum_point_stride: usize,
}

/// Computes, at one point of the transform, sums(tile, filter) = Σ over c of input(tile, c) · weight(c, filter) for a
/// range of tiles, in chains of [`CHAIN`] channels in their order.
///
/// # Safety
/// The CPU has the instruction set of `S`; `weights` points to the panels of a point, `input` and `sums` to the tiles
/// of the block at this point; nobody else accesses the sums of these tiles.
#[inline(always)]
pub(super) unsafe fn multiply_point<S: Simd>(
    block: &TileBlock,
    tiles: Range<usize>,
    weights: *const f32,
    input: *const f32,
    sums: *mut f32,
) {
    let panel = 2 * S::LANES;
    let groups = tiles.len().div_ceil(S::TILE_ROWS);
    for p in 0..block.filters.div_ceil(panel) {
        let has_two = block.filters - p * panel > S::LANES;
        let len = panel * block.channels;
        let weights = weights.wrapping_add(p * len);
        for g in 0..groups {
            // The groups are as equal as possible.
            let first = tiles.start + g * tiles.len() / groups;
            let n = tiles.start + (g + 1) * tiles.len() / groups - first;
            // SAFETY: the group lies within the range, and a panel of filters at each of its tiles: the stride of the
            // sums is a multiple of a panel.
            unsafe {
                let group = TileGroup {
                    depth: block.channels,
                    weights,
                    input: input.add(first * block.input_tile_stride),
                    input_tile_stride: block.input_tile_stride,
                    sums: sums.add(first * block.sum_tile_stride + p * panel),
                    sum_tile_stride: block.sum_tile_stride,
                    // The panels of a point and of the next one lie side by side.
                    ahead: WeightsAhead::of_tile::<S>(Some(weights.wrapping_add(len)), len, [g, groups]),
                };
                multiply_group::<S>(&group, n, has_two);
            }
        }
    }
}

/// A group of tiles × a panel of filters, which the micro-kernel takes at once.
struct TileGroup {
    depth: usize,
    weights: *const f32,
    input: *const f32,
    input_tile_stride: usize,
    sums: *mut f32,
    sum_tile_stride: usize,
    ahead: WeightsAhead,
}

/// Calls the micro-kernel for `n` tiles and one or two vectors of filters.
///
/// # Safety
/// The same as for [`micro_kernel`] with `M` = `n`.
#[inline(always)]
unsafe fn multiply_group<S: Simd>(group: &TileGroup, n: usize, has_two: bool) {
    // SAFETY: the contract of this function is that of the micro-kernel for `n` rows, and the literal is `n`.
    unsafe { by_rows!(n, has_two, micro_kernel::<S>(group)) }
}

/// The micro-kernel: `M` tiles × `N` vectors of filters, with all sums of a chain in registers. It has plain loops and
/// no closures, as in [`matmul`](crate::matmul).
///
/// # Safety
/// The CPU has the instruction set of `S`; the group has `M` tiles of `depth` readable inputs and two writable vectors
/// of sums, and two vectors of weights for each input.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn micro_kernel<S: Simd, const M: usize, const N: usize>(group: &TileGroup) {
    // SAFETY: by this function's contract; `i` is below `M` and `k` below `depth`.
    unsafe {
        let zero = S::splat(0.0);
        let mut weights = group.weights;
        let mut ahead = group.ahead;
        for first in (0..group.depth).step_by(CHAIN) {
            let depth = CHAIN.min(group.depth - first);
            let mut sums = [[zero; N]; M];
            let mut inputs = [group.input; M];
            for i in 0..M {
                inputs[i] = group.input.add(i * group.input_tile_stride + first);
            }
            let mut k = S::dot_blocked(depth, &inputs, weights, &mut sums);
            weights = weights.add(k * 2 * S::LANES);
            while k < depth {
                let end = depth.min(k + PREFETCH_EVERY);
                while k < end {
                    let mut w = [zero; N];
                    for j in 0..N {
                        w[j] = S::load(weights.add(j * S::LANES));
                    }
                    prefetch_weights::<S>(weights);
                    for i in 0..M {
                        let x = S::splat(*inputs[i].add(k));
                        for j in 0..N {
                            sums[i][j] = S::mul_add(x, w[j], sums[i][j]);
                        }
                    }
                    weights = weights.add(2 * S::LANES);
                    k += 1;
                }
                ahead.prefetch::<S>();
            }
            for i in 0..M {
                for j in 0..N {
                    let to = group.sums.add(i * group.sum_tile_stride + j * S::LANES);
                    let sum = if first > 0 { S::add(S::load(to), sums[i][j]) } else { sums[i][j] };
                    S::store(to, sum);
                }
            }
        }
    }
}
