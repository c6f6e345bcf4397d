//! Steps of a network in bf16: most read and write bf16; the others widen their inputs, compute in f32 and round their
//! output.

use std::ops::Range;

use super::{Network, PlannedStep, Scratch};
use crate::exec::cpu::map::Map;
use crate::exec::cpu::network::MICRO_BATCH;
use crate::exec::cpu::row_schedule::RowRange;
use crate::exec::cpu::steps::{Op, Product, Work, cells, concat, gather, grid, pointwise};
use featurize_kernels::aligned::Aligned;
use featurize_kernels::bf16::{Bf16Isa, bf16};
use featurize_kernels::depthwise;
use featurize_kernels::pointwise::Pointwise;

/// Floats of two inputs and an output for the steps that compute in f32; of steps from `cut` on Winograd takes a whole
/// micro-batch.
pub(crate) fn wide(steps: &[PlannedStep], maps: &[Map], cut: usize) -> [usize; 3] {
    let mut most = [0; 3];
    for (i, step) in steps.iter().enumerate() {
        if !is_wide(&step.op) {
            continue;
        }
        let pictures = pictures_together(&step.op, if i < cut { 1 } else { MICRO_BATCH });
        let values = step.inputs.iter().take(2).enumerate().chain([(2, &step.output)]);
        values.for_each(|(slot, &value)| most[slot] = most[slot].max(pictures * maps[value].picture()));
    }
    most
}

/// Whether the step computes in f32.
fn is_wide(op: &Op) -> bool {
    match op {
        Op::Product { .. } | Op::Concat(_) | Op::Pool(_) | Op::Depthwise { .. } | Op::AdaptiveAvgPool => false,
        Op::Attention { queries: None, .. } | Op::Select(_) | Op::Merge => false,
        op => !op.is_pointwise(),
    }
}

/// Writes a picture to its map.
pub(crate) fn put(unit: Bf16Isa, map: &Map, buffer: &mut [bf16], picture: &[f32]) {
    map.clear_halo(buffer);
    map.runs(true).zip(picture.chunks_exact(map.w * map.c)).for_each(|(run, line)| unit.narrow(line, &mut buffer[run]));
}

/// Widens the map of a picture to the same places of `to`, and writes zeros around it.
fn load(unit: Bf16Isa, map: &Map, from: &[bf16], to: &mut [f32]) {
    if map.is_dense() {
        return unit.widen(&from[..map.picture()], &mut to[..map.picture()]);
    }
    map.clear_halo(to);
    map.runs(false).for_each(|run| unit.widen(&from[run.clone()], &mut to[run]));
}

/// Rounds the map of a picture to the same places of `to`.
fn store(unit: Bf16Isa, map: &Map, from: &[f32], to: &mut [bf16]) {
    map.runs(map.is_dense()).for_each(|run| unit.narrow(&from[run.clone()], &mut to[run]));
}

impl Network {
    /// Computes rows of a step for some `pictures`; for several pictures all rows.
    pub(super) fn step_bf16(
        &self,
        unit: Bf16Isa,
        range: &RowRange,
        scratch: &mut Scratch,
        pictures: Range<usize>,
        output: &mut [bf16],
    ) {
        let step = &self.steps[range.step];
        let whole = &self.maps[step.output];
        let to = &whole.rows(range.rows.len());
        let (buffers, threads, first) = (&scratch.buffers, scratch.threads, pictures.start);
        let input = |i: usize, p: usize| {
            let map = &self.maps[step.inputs[i]];
            // a term of a concatenation may lie in the output, whose buffer is empty here; then it is not read
            (map, buffers[map.buffer].as_bf16().get(map.base(p) + step.skip(range, i, map)..).unwrap_or(&[]))
        };
        let out = |p: usize| whole.base(p) + (range.rows.start - range.output) * whole.row();
        match &step.op {
            Op::Product { packed, places, activation } => {
                let added = if places.reads_term() { input(1, first).1 } else { &[] };
                let (values, output) = (input(0, first).1, &mut output[out(first)..]);
                places.pieces(pictures.len() * to.h * to.w, packed.parts.len(), threads).for_each(|places| {
                    packed.each(|packed, [channel, filter]| {
                        let Product::Bf16(packed) = packed else { return };
                        let (values, added) = (&values[channel..], added.get(filter..).unwrap_or(&[]));
                        let (output, tiles) = (&mut output[filter..], &mut scratch.tiles);
                        packed.run(threads, &places, values, added, *activation, output, tiles);
                    });
                });
            }
            Op::Pool(pool) => {
                for p in pictures {
                    let (from, values) = input(0, p);
                    let (from, to) = (grid(from, range.inputs[0]..from.h), grid(to, range.rows.clone()));
                    pool.run(unit, &from, values, &to, &mut output[out(p)..]);
                }
            }
            Op::Depthwise { packed, places, activation } => {
                let places = depthwise::DepthwiseLayout { output_size: [to.h, to.w], ..*places };
                for p in pictures {
                    packed.run(unit, threads, &places, input(0, p).1, *activation, &mut output[out(p)..]);
                }
            }
            Op::Concat(channels) => {
                for p in pictures {
                    concat(channels, |i| input(i, p), to, &mut output[out(p)..]);
                }
            }
            Op::AdaptiveAvgPool => {
                for p in pictures {
                    let ((from, values), output) = (input(0, p), &mut output[out(p)..]);
                    cells(from, to, |mean, at| mean.run(unit, values, &mut output[at]));
                }
            }
            Op::Attention { packed, queries: None } => {
                let (windows, values) = (pictures.len() * packed.windows(), input(0, first).1);
                let output = &mut output[out(first)..];
                packed.run_bf16(unit, threads, windows, [values; 2], output, &mut scratch.tiles);
            }
            Op::Select(_) | Op::Merge => {
                for p in pictures {
                    gather(&step.op, input(0, p), to, &mut output[out(p)..]);
                }
            }
            op if op.is_pointwise() => {
                for p in pictures {
                    let run = |layer: &Pointwise<bf16>, x: Option<&[bf16]>, y: &mut [bf16]| match x {
                        Some(x) => layer.run(unit, threads, x, y),
                        None => layer.run_in_place(unit, threads, y),
                    };
                    pointwise(op, |i| input(i, p), to, &mut output[out(p)..], run);
                }
            }
            op => {
                let [wide, more, out] = &mut scratch.wide;
                let together = pictures_together(op, pictures.len());
                for group in pictures.step_by(together) {
                    for p in 0..together {
                        for (i, wide) in [&mut *wide, &mut *more].into_iter().enumerate().take(step.inputs.len()) {
                            let (map, values) = input(i, group + p);
                            load(unit, map, values, &mut wide[p * map.picture()..]);
                        }
                        if op.reads_output() {
                            load(unit, to, &output[to.base(group + p)..], &mut out[p * to.picture()..]);
                        }
                    }
                    let inputs: [&Aligned; 2] = [wide, more];
                    let input = |i: usize, p: usize| {
                        let map = &self.maps[step.inputs[i]];
                        (map, &inputs[i][p * map.picture()..])
                    };
                    let work = Work { isa: unit.isa(), threads, tiles: &mut scratch.tiles, range, to };
                    op.compute(work, 0..together, input, |p| p * to.picture(), out);
                    for p in 0..together {
                        store(unit, to, &out[p * to.picture()..], &mut output[to.base(group + p)..]);
                    }
                }
            }
        }
    }
}

/// How many of `n` pictures a step that computes in f32 takes together.
fn pictures_together(op: &Op, n: usize) -> usize {
    if matches!(op, Op::Winograd { .. }) { n } else { 1 }
}
