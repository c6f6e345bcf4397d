//! Steps over bf16: products, pools, depthwise convolutions and concatenations read and write it; every other step
//! widens its inputs, computes in f32 and rounds its output.

use super::{Network, PlannedStep, Scratch};
use crate::exec::cpu::map::Map;
use crate::exec::cpu::network::MICRO_BATCH;
use crate::exec::cpu::row_schedule::RowRange;
use crate::exec::cpu::steps::{Op, Product, Work, concat, grid};
use featurize_kernels::aligned::Aligned;
use featurize_kernels::bf16::{Bf16Isa, bf16};

/// Floats of two inputs and an output of the steps that are computed in f32; those from `cut` on may take a whole
/// micro-batch.
pub(crate) fn wide(steps: &[PlannedStep], maps: &[Map], cut: usize) -> [usize; 3] {
    let mut most = [0; 3];
    for (i, step) in steps.iter().enumerate() {
        if let Op::Product { .. } | Op::Concat(_) | Op::Pool(_) | Op::Depthwise { .. } = step.op {
            continue;
        }
        let pictures = pictures_together(&step.op, if i < cut { 1 } else { MICRO_BATCH });
        let values = step.inputs.iter().take(2).enumerate().chain([(2, &step.output)]);
        values.for_each(|(slot, &value)| most[slot] = most[slot].max(pictures * maps[value].picture()));
    }
    most
}

/// Writes a picture to its map.
pub(crate) fn put(unit: Bf16Isa, map: &Map, buffer: &mut [bf16], picture: &[f32]) {
    map.clear_halo(buffer);
    map.runs(true).zip(picture.chunks_exact(map.w * map.c)).for_each(|(run, line)| unit.narrow(line, &mut buffer[run]));
}

/// Writes the map of a picture to the same places of `to`, zeros around it.
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
    /// Computes a step for `n` pictures from `first` on.
    pub(super) fn step_bf16(
        &self,
        unit: Bf16Isa,
        range: &RowRange,
        scratch: &mut Scratch,
        first: usize,
        n: usize,
        output: &mut [bf16],
    ) {
        let step = &self.steps[range.step];
        let to = &self.maps[step.output];
        let (buffers, threads) = (&scratch.buffers, scratch.threads);
        let input = |i: usize, p: usize| {
            let map = &self.maps[step.inputs[i]];
            // a term of a concatenation may lie in the output already; nothing reads it then
            (map, buffers[map.buffer].as_bf16().get(map.base(p)..).unwrap_or(&[]))
        };
        match &step.op {
            Op::Product { packed: Product::Bf16(packed), places, activation } => {
                let added = if places.reads_term() { input(1, first).1 } else { &[] };
                let output = &mut output[to.base(first)..];
                let places = places.first(n * to.h * to.w);
                packed.run(threads, &places, input(0, first).1, added, *activation, output, &mut scratch.tiles);
            }
            Op::Pool(pool) => {
                for p in first..first + n {
                    let (from, values) = input(0, p);
                    pool.run_bf16(unit, &grid(from, 0..from.h), values, &grid(to, 0..to.h), &mut output[to.base(p)..]);
                }
            }
            Op::Depthwise { packed, places, activation } => {
                for p in first..first + n {
                    let output = &mut output[to.base(p)..];
                    packed.run_bf16(unit, threads, places, input(0, p).1, *activation, output);
                }
            }
            Op::Concat(channels) => {
                for p in first..first + n {
                    concat(channels, |i| input(i, p), to, &mut output[to.base(p)..]);
                }
            }
            op => {
                let [wide, more, out] = &mut scratch.wide;
                let together = pictures_together(op, n);
                for group in (first..first + n).step_by(together) {
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
                    let work = Work { threads, tiles: &mut scratch.tiles, range, to };
                    op.compute(work, 0..together, input, |p| p * to.picture(), out);
                    for p in 0..together {
                        store(unit, to, &out[p * to.picture()..], &mut output[to.base(group + p)..]);
                    }
                }
            }
        }
    }
}

/// How many of `n` pictures go together through a step that is computed in f32.
fn pictures_together(op: &Op, n: usize) -> usize {
    if matches!(op, Op::Winograd { .. }) { n } else { 1 }
}
