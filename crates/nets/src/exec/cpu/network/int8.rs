//! Steps of a network in int8: convolutions, pools and copies of channels read and write bytes; every other step
//! computes in f32, its inputs widened and its output rounded where these are bytes.

use std::ops::Range;

use super::{Network, PlannedStep, Scratch, put};
use crate::exec::ExecError;
use crate::exec::cpu::int8::{self, Quant, Rescale};
use crate::exec::cpu::map::Map;
use crate::exec::cpu::memory_plan::Fused;
use crate::exec::cpu::network::MICRO_BATCH;
use crate::exec::cpu::row_schedule::RowRange;
use crate::exec::cpu::steps::{Op, Work, concat, each_run, grid, shuffle, slice};
use crate::exec::ranges::Ranges;
use crate::models::graph::{Activation, Pooling};
use featurize_kernels::activation;
use featurize_kernels::aligned::Aligned;
use featurize_kernels::int8::{Int8Input, Int8Isa, Int8Output};
use featurize_kernels::residual::Residual;

/// Chooses which values are bytes, and rounds the weights of the steps that read them.
pub(crate) fn quantise(
    steps: &mut [Fused],
    maps: &mut [Map],
    names: &[Option<String>],
    ranges: &Ranges,
) -> Result<Vec<Option<Quant>>, ExecError> {
    let quants = int8::scales(steps, maps, names, ranges)?;
    for fused in steps.iter_mut() {
        let name = names.get(fused.step.inputs[0]).and_then(Option::as_ref);
        fused.int8 = int8::quantise(fused, maps, &quants, name.and_then(|name| ranges.layer(name)));
    }
    for (map, _) in maps.iter_mut().zip(&quants).filter(|(_, quant)| quant.is_some()) {
        map.bytes = 1;
    }
    Ok(quants)
}

/// Sets the bytes of the halo around each output. A term inside a concatenation has the halo of the concatenation; a
/// sum that lies at a term with other scales writes a halo of its own.
pub(crate) fn halos(steps: &mut [PlannedStep], maps: &[Map], roots: &[usize], quants: &[Option<Quant>]) {
    for step in steps {
        let (value, root) = (step.output, roots[step.output]);
        let home = if maps[value].c == maps[root].c { value } else { root };
        let Some(quant) = &quants[home] else { continue };
        step.clears |= home == value && quants[root].as_ref() != Some(quant);
        let mut position = quant.zeros();
        position.resize(maps[value].pixel, 0);
        step.halo = Some(position);
    }
}

/// Floats of two inputs and an output for the steps that compute in f32.
pub(crate) fn wide(steps: &[PlannedStep], maps: &[Map], quants: &[Option<Quant>], cut: usize) -> [usize; 3] {
    let mut most = [0; 3];
    for (i, step) in steps.iter().enumerate() {
        let pictures = if i >= cut && is_integer(&step.op) { MICRO_BATCH } else { 1 };
        let values = step.inputs.iter().take(2).enumerate().chain([(2, &step.output)]);
        for (slot, &value) in values.filter(|(_, value)| quants[**value].is_some()) {
            if slot == 2 || !is_integer(&step.op) {
                most[slot] = most[slot].max(pictures * maps[value].picture());
            }
        }
    }
    most
}

fn is_integer(op: &Op) -> bool {
    matches!(op, Op::Int8 { .. } | Op::Int8Depthwise { .. })
}

/// Widens the map of a picture to the same places of `to`, and writes zeros around it.
fn load(unit: Int8Isa, quant: &Quant, map: &Map, from: &[u8], to: &mut [f32]) {
    map.clear_halo(to);
    map.runs(map.is_dense()).for_each(|run| quant.widen(unit, &from[run.clone()], &mut to[run]));
}

/// Rounds the map of a picture to the same places of `to`.
fn store(unit: Int8Isa, quant: &Quant, map: &Map, from: &[f32], to: &mut [u8]) {
    map.runs(map.is_dense()).for_each(|run| quant.narrow(unit, &from[run.clone()], &mut to[run]));
}

impl Network {
    /// Writes a picture to its map.
    pub(super) fn put_int8(&self, unit: Int8Isa, buffer: &mut Aligned, p: usize, picture: &[f32]) {
        let map = &self.maps[0];
        let Some(quant) = &self.quants[0] else { return put(map, &mut buffer[map.base(p)..], picture) };
        let bytes = &mut buffer.as_bytes_mut()[map.base(p)..];
        map.fill_halo(bytes, &quant.zeros());
        let lines = map.runs(true).zip(picture.chunks_exact(map.w * map.c));
        lines.for_each(|(run, line)| quant.narrow(unit, line, &mut bytes[run]));
    }

    /// Computes a step for `n` pictures from `first` on.
    pub(super) fn step_int8(
        &self,
        unit: Int8Isa,
        range: &RowRange,
        scratch: &mut Scratch,
        pictures: Range<usize>,
        output: &mut Aligned,
    ) {
        let (first, n) = (pictures.start, pictures.len());
        let step = &self.steps[range.step];
        let to = &self.maps[step.output];
        let (buffers, threads) = (&scratch.buffers, scratch.threads);
        let bytes = |i: usize, p: usize| {
            let map = &self.maps[step.inputs[i]];
            // a term of a concatenation may lie in the output, whose buffer is empty here; then it is not read
            (map, buffers[map.buffer].as_bytes().get(map.base(p)..).unwrap_or(&[]))
        };
        let quant = self.quants[step.output].as_ref();
        match &step.op {
            Op::Int8 { packed, places, to_bytes, activation } => {
                let added = match step.inputs.get(1) {
                    Some(&value) if self.quants[value].is_none() => {
                        let map = &self.maps[value];
                        Int8Input::Floats(&buffers[map.buffer][map.base(first)..])
                    }
                    Some(_) => Int8Input::Bytes(bytes(1, first).1),
                    None => Int8Input::Bytes(&[]),
                };
                // one part: all positions are computed at once
                for mut places in places.pieces(n * to.h * to.w, 1, threads) {
                    let (target, added) = match (to_bytes, quant) {
                        (true, _) => (Int8Output::Bytes(&mut output.as_bytes_mut()[to.base(first)..]), added),
                        (_, None) => (Int8Output::Floats(&mut output[to.base(first)..], *activation), added),
                        (_, Some(_)) => {
                            // the sums go to `wide`, so that the residual is read from the output
                            let mut added = added;
                            if places.residual == Residual::InPlace {
                                places.residual = Residual::At(places.output_starts);
                                added = Int8Input::Bytes(&output.as_bytes()[to.base(first)..]);
                            }
                            (Int8Output::Floats(&mut scratch.wide[2], *activation), added)
                        }
                    };
                    packed.run(threads, &places, bytes(0, first).1, added, target, &mut scratch.tiles);
                }
            }
            Op::Int8Depthwise { packed, places, to_bytes, activation } => {
                for p in first..first + n {
                    let target = match (to_bytes, quant) {
                        (true, _) => Int8Output::Bytes(&mut output.as_bytes_mut()[to.base(p)..]),
                        (_, Some(_)) => {
                            Int8Output::Floats(&mut scratch.wide[2][(p - first) * to.picture()..], *activation)
                        }
                        (_, None) => Int8Output::Floats(&mut output[to.base(p)..], *activation),
                    };
                    packed.run(threads, places, bytes(0, p).1, target);
                }
            }
            Op::Pool(pool) if quant.is_some_and(|quant| pool_reads(pool.pooling, pool.zeros, quant)) => {
                for p in first..first + n {
                    let (from, values) = bytes(0, p);
                    let output = &mut output.as_bytes_mut()[to.base(p)..];
                    pool.run(unit, &grid(from, 0..from.h), values, &grid(to, 0..to.h), output);
                }
                return;
            }
            Op::Concat(channels) if quant.is_some() => {
                for p in first..first + n {
                    concat(channels, |i| bytes(i, p), to, &mut output.as_bytes_mut()[to.base(p)..]);
                }
                return;
            }
            Op::Slice(skip) if quant.is_some() => {
                for p in first..first + n {
                    slice(*skip, bytes(0, p), to, &mut output.as_bytes_mut()[to.base(p)..]);
                }
                return;
            }
            Op::Shuffle(groups) if quant.is_some() => {
                for p in first..first + n {
                    shuffle(*groups, bytes(0, p), to, &mut output.as_bytes_mut()[to.base(p)..]);
                }
                return;
            }
            Op::Activation(activation) if activation.limits().is_some() && quant.is_some() => {
                return pictures.for_each(|p| self.clamp(unit, range.step, scratch, p, output));
            }
            _ => return pictures.for_each(|p| self.step_wide(unit, range, scratch, p, output)),
        }
        // the f32 results of the pictures lie one after the other, in the output or in `wide`
        for p in first..first + n {
            let (base, beside) = (to.base(p), (p - first) * to.picture());
            let wide = &mut scratch.wide[2];
            self.finish(unit, range, quant.filter(|_| !writes_bytes(&step.op)), [base, beside], wide, output);
        }
    }

    /// Computes a clamping activation for picture `p` by the scales of its output, whose bytes end at its bounds.
    fn clamp(&self, unit: Int8Isa, step: usize, scratch: &Scratch, p: usize, output: &mut Aligned) {
        let PlannedStep { inputs, output: value, .. } = &self.steps[step];
        let (from, to, Some(quant)) = (&self.maps[inputs[0]], &self.maps[*value], &self.quants[*value]) else { return };
        let (input, output) = (&scratch.buffers[from.buffer], &mut output.as_bytes_mut()[to.base(p)..]);
        match &self.quants[inputs[0]] {
            Some(before) => {
                let rescale = Rescale::between(before, quant);
                each_run(to, output, from, &input.as_bytes()[from.base(p)..], |to, from| {
                    rescale.run(unit, Int8Input::Bytes(from), Int8Output::Bytes(to));
                });
            }
            None => each_run(to, output, from, &input[from.base(p)..], |to, from| quant.narrow(unit, from, to)),
        }
    }

    /// Computes a step in f32 for picture `p`.
    fn step_wide(&self, unit: Int8Isa, range: &RowRange, scratch: &mut Scratch, p: usize, output: &mut Aligned) {
        let step = &self.steps[range.step];
        let to = &self.maps[step.output];
        let quant = self.quants[step.output].as_ref();
        let [wide, more, out] = &mut scratch.wide;
        for (i, wide) in [&mut *wide, &mut *more].into_iter().enumerate().take(step.inputs.len()) {
            let map = &self.maps[step.inputs[i]];
            if let Some(quant) = &self.quants[step.inputs[i]] {
                load(unit, quant, map, &scratch.buffers[map.buffer].as_bytes()[map.base(p)..], wide);
            }
        }
        let (wides, buffers): ([&Aligned; 2], _) = ([wide, more], &scratch.buffers);
        let input = |i: usize, _: usize| {
            let map = &self.maps[step.inputs[i]];
            match self.quants[step.inputs[i]] {
                Some(_) => (map, &wides[i][..]),
                // a term of a concatenation may lie in the output, whose buffer is empty here; then it is not read
                None => (map, buffers[map.buffer].get(map.base(p)..).unwrap_or(&[])),
            }
        };
        let work = Work { isa: unit.isa(), threads: scratch.threads, tiles: &mut scratch.tiles, range, to };
        match quant {
            Some(_) => {
                if let Some(under) = step.under.and_then(|value| self.quants[value].as_ref()) {
                    load(unit, under, to, &output.as_bytes()[to.base(p)..], out);
                }
                step.op.compute(work, 0..1, input, |_| 0, out);
            }
            None => step.op.compute(work, 0..1, input, |_| to.base(p), output),
        }
        self.finish(unit, range, quant, [to.base(p), 0], out, output);
    }

    /// Applies the activation that the integer kernel does not, to `output` from `base` on or, where the output is
    /// bytes, to `wide` from `beside` on; then rounds `wide` into the output.
    fn finish(
        &self,
        unit: Int8Isa,
        range: &RowRange,
        quant: Option<&Quant>,
        [base, beside]: [usize; 2],
        wide: &mut Aligned,
        output: &mut Aligned,
    ) {
        let step = &self.steps[range.step];
        let to = &self.maps[step.output];
        if let Some(activation) = beyond(&step.op) {
            let values = if quant.is_some() { &mut wide[beside..] } else { &mut output[base..] };
            to.runs(to.is_dense()).for_each(|run| activation::run(unit.isa(), activation, &mut values[run]));
        }
        if let Some(quant) = quant {
            store(unit, quant, to, &wide[beside..], &mut output.as_bytes_mut()[base..]);
        }
    }
}

/// The activation of an integer step that its kernel does not apply, since it does more than clamp.
fn beyond(op: &Op) -> Option<Activation> {
    let (Op::Int8 { activation, .. } | Op::Int8Depthwise { activation, .. }) = op else { return None };
    activation.filter(|activation| activation.limits().is_none())
}

fn writes_bytes(op: &Op) -> bool {
    matches!(op, Op::Int8 { to_bytes: true, .. } | Op::Int8Depthwise { to_bytes: true, .. })
}

/// Whether a pool may work on bytes: one that counts zeros of the padding may only where zero is the byte 0, others may
/// always.
fn pool_reads(pooling: Pooling, zeros: bool, quant: &Quant) -> bool {
    let from_zero = quant.offset.iter().all(|offset| *offset == 0.0);
    from_zero || (pooling == Pooling::Max && !zeros) || pooling == Pooling::Avg
}
