//! The three phases of a block of tiles: transform the inputs, multiply, transform the sums back.

use super::gemm::{TileBlock, multiply_point};
use super::tiling::PlacedTile;
use super::transform::{self, InputTile, MOST_OUTPUTS};
use super::{Phase, PhasePart, RunArgs};
use crate::simd::Simd;

/// Computes a part of a phase for tiles with `PAIRS` pairs of points.
///
/// # Safety
/// The CPU has the instruction set of `S`; the part is as [`PhasePart`](super::PhasePart) demands.
#[inline(always)]
pub(super) unsafe fn compute_part<S: Simd, const PAIRS: usize>(part: PhasePart) {
    let PhasePart { args, block, tiling, tiles, phase, range, thread } = part;
    let conv = args.conv;
    let points = conv.tile.points();
    let point_weights = conv.weights.len() / points;
    // SAFETY: the scratch holds a half-transformed tile for each thread, then `points` times the transformed inputs,
    // then as many times the sums of a block.
    unsafe {
        let half = args.halves.add(thread * conv.half_len());
        let sums = args.transformed.add(points * block.input_point_stride);
        match phase {
            Phase::TransformInputs => {
                for i in range {
                    let to = args.transformed.add(i * block.input_tile_stride);
                    transform_inputs::<S, PAIRS>(args, block, &tiles.tiles[i], half, to);
                }
            }
            Phase::Multiply => {
                for point in range {
                    let weights = conv.weights.as_ptr().add(point * point_weights);
                    let input = args.transformed.add(point * block.input_point_stride);
                    let sums = sums.add(point * block.sum_point_stride);
                    multiply_point::<S>(block, tiling.tiles_at(tiles, point), weights, input, sums);
                }
            }
            Phase::TransformOutputs => {
                for i in range {
                    let from = sums.add(i * block.sum_tile_stride);
                    transform_outputs::<S, PAIRS>(args, block, &tiles.tiles[i], half, from);
                }
            }
        }
    }
}

/// Transforms the inputs of a tile.
///
/// # Safety
/// The CPU has the instruction set of `S`; `args` is as [`RunArgs`] says, and `tile` one of its tiles; `half` points to
/// the half-transformed tile of the thread, `to` to the tile of the block at the first point, which nobody else
/// accesses.
#[inline(always)]
unsafe fn transform_inputs<S: Simd, const PAIRS: usize>(
    args: &RunArgs,
    block: &TileBlock,
    tile: &PlacedTile,
    half: *mut f32,
    to: *mut f32,
) {
    let layout = &args.layout.input;
    let available = tile.outputs.map(|n| n + 2);
    let is_whole = [0, 1].iter().all(|&d| available[d] >= 2 * tile.pairs[d] + 2);
    for c in (0..block.channels).step_by(S::LANES) {
        let lanes = S::LANES.min(block.channels - c);
        // SAFETY: two rows and columns more than the outputs of the tile can be read, by `RunArgs`; the stride of the
        // tiles is whole vectors.
        unsafe {
            let from = args.input.add(layout.tile_start(tile) + c);
            let (row_stride, pixel_stride) = (layout.row_stride, layout.pixel_stride);
            let input = InputTile { from, row_stride, pixel_stride, pairs: tile.pairs, available };
            if is_whole && lanes == S::LANES {
                transform::transform_input::<S, PAIRS, true>(&input, lanes, half, to.add(c), block.input_point_stride);
            } else {
                transform::transform_input::<S, PAIRS, false>(&input, lanes, half, to.add(c), block.input_point_stride);
            }
        }
    }
}

/// Transforms the sums of a tile back and writes its outputs.
///
/// # Safety
/// The CPU has the instruction set of `S`; `args` is as [`RunArgs`] says, and `tile` one of its tiles, whose outputs
/// nobody else accesses; `half` points to the half-transformed tile of the thread, `sums` to the sums of the tile at
/// the first point.
#[inline(always)]
unsafe fn transform_outputs<S: Simd, const PAIRS: usize>(
    args: &RunArgs,
    block: &TileBlock,
    tile: &PlacedTile,
    half: *mut f32,
    sums: *const f32,
) {
    for f in (0..block.filters).step_by(S::LANES) {
        // SAFETY: a vector of sums can be read at each point from filter `f` on, since the stride of the sums is whole
        // panels.
        unsafe {
            transform::transform_sum_columns::<S, PAIRS>(sums.add(f), block.sum_point_stride, tile.pairs, half);
            if f + S::LANES <= block.filters {
                epilogue::<S, PAIRS, true>(args, tile, f, half);
            } else {
                epilogue::<S, PAIRS, false>(args, tile, f, half);
            }
        }
    }
}

/// The epilogue: transforms the rows of a tile for the vector of filters that begins at `f`, adds bias and residual,
/// applies the activation and writes the outputs; `FULL` when all lanes are filters.
///
/// # Safety
/// The same as for [`transform_outputs`], with `half` transformed by columns.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn epilogue<S: Simd, const PAIRS: usize, const FULL: bool>(
    args: &RunArgs,
    tile: &PlacedTile,
    f: usize,
    half: *const f32,
) {
    let lanes = S::LANES.min(args.conv.filters - f);
    let layout = &args.layout.output;
    // SAFETY: the rows and columns of outputs of the tile can be written, and the residuals be read, by `RunArgs`;
    // `lanes` filters are left.
    unsafe {
        let to = args.output.add(layout.tile_start(tile) + f);
        let residual =
            args.residual_layout.map(|layout| (args.residual.wrapping_add(layout.tile_start(tile) + f), layout));
        let bias = S::load(args.conv.bias.as_ptr().add(f));
        let (low, high) = (S::splat(args.clamp[0]), S::splat(args.clamp[1]));
        for y in 0..tile.outputs[0] {
            let mut row = transform::transform_sum_row::<S, PAIRS>(half, y, tile.pairs[1]);
            for x in 0..MOST_OUTPUTS {
                if x >= tile.outputs[1] {
                    break;
                }
                row[x] = S::add(row[x], bias);
                if let Some((residual, layout)) = residual {
                    let from = residual.add(y * layout.row_stride + x * layout.pixel_stride);
                    row[x] = S::add(row[x], if FULL { S::load(from) } else { S::load_partial(from, lanes) });
                }
            }
            if let Some(function) = args.function {
                // This is a copy: the row stays in registers only if its address is never taken.
                let mut copy = row;
                function.apply_to_vectors(&mut copy);
                row = copy;
            }
            for x in 0..MOST_OUTPUTS {
                if x >= tile.outputs[1] {
                    break;
                }
                // The sum is the second argument, so that NaN stays NaN.
                let v = S::min(high, S::max(low, row[x]));
                let to = to.add(y * layout.row_stride + x * layout.pixel_stride);
                if FULL {
                    S::store(to, v);
                } else {
                    S::store_partial(to, lanes, v);
                }
            }
        }
    }
}
