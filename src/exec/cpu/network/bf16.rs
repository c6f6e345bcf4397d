//! Steps over bf16: products read and write it; everything else widens its inputs, computes in f32 and rounds what comes out.

use super::{Network, Planned, Scratch};
use crate::exec::cpu::bands::Slice;
use crate::exec::cpu::map::Map;
use crate::exec::cpu::network::MICRO_BATCH;
use crate::exec::cpu::steps::{Op, grid, one};
use featurize_kernels::aligned::Aligned;
use featurize_kernels::bf16::{Bf16Isa, bf16};
use featurize_kernels::residual::Residual;
use featurize_kernels::{matmul, winograd};

/// Floats of two inputs and an output of the steps that are computed in f32; those from `cut` on may take a whole micro-batch.
pub fn wide(steps: &[Planned], maps: &[Map], cut: usize) -> [usize; 3] {
    let mut most = [0; 3];
    for (i, step) in steps.iter().enumerate() {
        let pictures = match step.op {
            Op::ProductBf16 { .. } | Op::Concat(_) | Op::Pool(_) | Op::Depthwise { .. } => continue,
            Op::Winograd { .. } if i >= cut => MICRO_BATCH,
            _ => 1,
        };
        let values = step.inputs.iter().take(2).enumerate().chain([(2, &step.output)]);
        values.for_each(|(slot, &value)| most[slot] = most[slot].max(pictures * maps[value].picture()));
    }
    most
}

/// Writes a picture to its map.
pub fn put(unit: Bf16Isa, map: &Map, buffer: &mut [bf16], picture: &[f32]) {
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
    /// Runs a step for `n` pictures from `first` on.
    pub(super) fn step_bf16(&self, unit: Bf16Isa, slice: &Slice, scratch: &mut Scratch, first: usize, n: usize) {
        let step = &self.steps[slice.step];
        let to = &self.maps[step.output];
        // never the buffer of an input, see `place`, but of what a sum is added onto
        let mut buffer = std::mem::take(&mut scratch.buffers[to.buffer]);
        let output = buffer.as_bf16_mut();
        let (buffers, threads) = (&scratch.buffers, scratch.threads);
        let input = |i: usize, p: usize| {
            let map = &self.maps[step.inputs[i]];
            // the term of a concatenation that lies in the output already has nothing to give
            (map, buffers[map.buffer].as_bf16().get(map.base(p)..).unwrap_or(&[]))
        };
        match &step.op {
            Op::ProductBf16 { packed, starts, outs, adds, row, activation } => {
                let positions = n * to.h * to.w;
                let added = if let Residual::At(_) = adds { input(1, first).1 } else { &[] };
                let adds = adds.as_ref().map(|adds| &adds[..positions]);
                let places = matmul::GemmOffsets {
                    window_starts: &starts[..positions],
                    row_stride: *row,
                    output_starts: &outs[..positions],
                    residual: adds,
                };
                let output = &mut output[to.base(first)..];
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
            Op::Winograd { packed, places, activation } => {
                let places = winograd::WinogradLayout { pictures: n, ..*places };
                let [wide, more, out] = &mut scratch.wide;
                for p in 0..n {
                    for (i, wide) in [&mut *wide, &mut *more].into_iter().enumerate().take(step.inputs.len()) {
                        let (map, values) = input(i, first + p);
                        load(unit, map, values, &mut wide[p * map.picture()..]);
                    }
                    if let Residual::InPlace = places.residual {
                        load(unit, to, &output[to.base(first + p)..], &mut out[p * to.picture()..]);
                    }
                }
                packed.run(threads, &places, wide, more, *activation, out, &mut scratch.tiles);
                for p in 0..n {
                    store(unit, to, &out[p * to.picture()..], &mut output[to.base(first + p)..]);
                }
            }
            Op::Concat(channels) => {
                for p in first..first + n {
                    for (i, channel) in channels.iter().enumerate().filter_map(|(i, channel)| Some((i, (*channel)?))) {
                        let (term, values) = input(i, p);
                        let slot = Map { channel: to.channel + channel, c: term.c, ..*to };
                        let output = &mut output[to.base(p)..];
                        slot.runs(false)
                            .zip(term.runs(false))
                            .for_each(|(to, from)| output[to].copy_from_slice(&values[from]));
                    }
                }
            }
            op => {
                let [wide, more, out] = &mut scratch.wide;
                for p in first..first + n {
                    for (i, wide) in [&mut *wide, &mut *more].into_iter().enumerate().take(step.inputs.len()) {
                        let (map, values) = input(i, p);
                        load(unit, map, values, wide);
                    }
                    if let Op::Add { onto: true, .. } = op {
                        load(unit, to, &output[to.base(p)..], out);
                    }
                    let inputs: [&Aligned; 2] = [wide, more];
                    one(threads, op, slice, |i| (&self.maps[step.inputs[i]], &inputs[i][..]), to, out);
                    store(unit, to, out, &mut output[to.base(p)..]);
                }
            }
        }
        scratch.buffers[to.buffer] = buffer;
    }
}
