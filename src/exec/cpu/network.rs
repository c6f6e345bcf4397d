//! A program as a list of kernels over planned buffers.
//!
//! Every value has a map in memory: `(height, width, channels)`, with as many zeros around it as the windows that read it want, so that no
//! convolution knows of borders. Where it lies is decided once, in [`place`](super::place).

use super::aligned::Aligned;
use super::dense::Dense;
use super::depthwise;
use super::map::Map;
use super::matmul;
use super::place::{Fused, Places, place, tile};
use super::pool::{Grid, Pool};
use super::simd::Isa;
use super::winograd;
use crate::exec::ExecError;
use crate::exec::lower::{Kernel, Program};
use crate::models::graph::{Activation, FlattenOrder, Pad, Window};

/// Pictures that go through the late layers together.
pub const MICRO_BATCH: usize = 4;

#[derive(Debug)]
enum Op {
    /// A convolution, the values of a third map added to it.
    Product {
        packed: matmul::Packed,
        starts: Vec<u32>,
        outs: Vec<u32>,
        adds: Option<Vec<u32>>,
        row: usize,
        activation: Option<Activation>,
    },
    /// A 3 × 3 convolution with fewer multiplications, the values of a third map added to it.
    Winograd {
        packed: winograd::Packed,
        places: winograd::Places,
        activation: Option<Activation>,
    },
    Depthwise {
        packed: depthwise::Packed,
        places: depthwise::Places,
        activation: Option<Activation>,
    },
    Dense {
        dense: Dense,
        activation: Option<Activation>,
    },
    Scale {
        scale: Vec<f32>,
        shift: Vec<f32>,
        activation: Option<Activation>,
    },
    Activation(Activation),
    Add(Option<Activation>),
    /// For each term its first channel; none where it was written in place.
    Concat(Vec<Option<usize>>),
    Pool(Pool),
    AdaptiveAvgPool,
    ZeroPad(Pad),
    Flatten(FlattenOrder),
}

#[derive(Debug)]
struct Planned {
    op: Op,
    inputs: Vec<usize>,
    output: usize,
    /// Whether the zeros around the output must be written.
    clears: bool,
}

/// A network ready to run; shared by all threads, each with a [`Scratch`] of its own.
#[derive(Debug)]
pub struct Network {
    steps: Vec<Planned>,
    maps: Vec<Map>,
    taps: Vec<usize>,
    /// Floats in each buffer.
    buffers: Vec<usize>,
    /// The first step that runs over the whole micro-batch.
    cut: usize,
    /// Floats that the transforms of Winograd's convolutions need.
    tiles: usize,
}

/// The buffers of one thread.
#[derive(Debug)]
pub struct Scratch {
    buffers: Vec<Aligned>,
    /// For the transforms of [`winograd`].
    tiles: Aligned,
}

impl Network {
    /// Packs the weights of `program` for the best instruction set of this CPU and plans the buffers.
    pub fn new(program: Program) -> Result<Self, ExecError> {
        Self::with_isa(program, Isa::detect())
    }

    /// The same for a given instruction set, which this CPU must have.
    pub fn with_isa(program: Program, isa: Isa) -> Result<Self, ExecError> {
        let (taps, values) = (program.taps.clone(), program.last_use.len());
        let mut maps = vec![Map::of(program.input_shape); values];
        let fused = fuse(program);
        for fused in &fused {
            maps[fused.step.output] = Map::of(fused.step.out_shape);
        }
        let Places { maps, buffers, cut, clears } = place(&fused, &taps, maps, MICRO_BATCH);
        let steps = fused.into_iter().zip(clears).enumerate();
        let steps = steps.map(|(i, (fused, clears))| {
            let pictures = if i < cut { 1 } else { MICRO_BATCH };
            plan(fused, &maps, isa, pictures, clears)
        });
        let steps = steps.collect::<Result<Vec<_>, _>>()?;
        let tiles = steps.iter().map(|step| match &step.op {
            Op::Winograd { packed, places, .. } => packed.scratch_len(places),
            _ => 0,
        });
        let tiles = tiles.max().unwrap_or(0);
        Ok(Self { steps, maps, taps, buffers, cut, tiles })
    }

    /// Buffers for one thread.
    pub fn scratch(&self) -> Scratch {
        let buffers = self.buffers.iter().map(|&len| Aligned::zeros(len)).collect();
        Scratch { buffers, tiles: Aligned::zeros(self.tiles) }
    }

    /// Runs `n` pictures `(n, h, w, c)`; gives the values of each tap for all of them, maps as `(n, h, w, c)`.
    pub fn forward(&self, scratch: &mut Scratch, pictures: &[f32], n: usize) -> Vec<Vec<f32>> {
        let each = (self.maps[0].h * self.maps[0].w * self.maps[0].c).max(1);
        let mut taps: Vec<Vec<f32>> = vec![Vec::new(); self.taps.len()];
        for group in pictures[..n * each].chunks(MICRO_BATCH * each) {
            self.micro_batch(scratch, group, group.len() / each, &mut taps);
        }
        taps
    }

    fn micro_batch(&self, scratch: &mut Scratch, pictures: &[f32], n: usize, taps: &mut [Vec<f32>]) {
        let input = self.maps[0];
        for (p, picture) in pictures.chunks_exact(pictures.len() / n).enumerate() {
            let buffer = &mut scratch.buffers[input.buffer][input.base(p)..];
            input.clear_halo(buffer);
            for (run, line) in input.runs(true).zip(picture.chunks_exact(input.w * input.c)) {
                buffer[run].copy_from_slice(line);
            }
            self.steps[..self.cut].iter().for_each(|step| self.step(step, scratch, p, 1));
        }
        self.steps[self.cut..].iter().for_each(|step| self.step(step, scratch, 0, n));
        for (tap, values) in self.taps.iter().zip(taps) {
            let map = &self.maps[*tap];
            for p in 0..n {
                let buffer = &scratch.buffers[map.buffer][map.base(p)..];
                map.runs(map.is_dense()).for_each(|run| values.extend_from_slice(&buffer[run]));
            }
        }
    }

    /// Runs a step for `n` pictures from `first` on.
    fn step(&self, step: &Planned, scratch: &mut Scratch, first: usize, n: usize) {
        let to = &self.maps[step.output];
        // never the buffer of an input: see `place`
        let mut output = std::mem::take(&mut scratch.buffers[to.buffer]);
        if step.clears {
            (first..first + n).for_each(|p| to.clear_halo(&mut output[to.base(p)..]));
        }
        let input = |i: usize| {
            let map = &self.maps[step.inputs[i]];
            (map, &scratch.buffers[map.buffer][..])
        };
        let (from, values) = input(0);
        match &step.op {
            Op::Product { packed, starts, outs, adds, row, activation } => {
                let positions = n * to.h * to.w;
                let (added, adds) = match adds {
                    Some(adds) => {
                        let (map, values) = input(1);
                        (&values[map.base(first)..], Some(&adds[..positions]))
                    }
                    None => (&[][..], None),
                };
                let places = matmul::Places { starts: &starts[..positions], row: *row, outs: &outs[..positions], adds };
                packed.run(&places, &values[from.base(first)..], added, *activation, &mut output[to.base(first)..]);
            }
            Op::Winograd { packed, places, activation } => {
                let places = winograd::Places { pictures: n, ..*places };
                let added = if places.added.is_some() { &input(1).1[input(1).0.base(first)..] } else { &[] };
                let (values, output) = (&values[from.base(first)..], &mut output[to.base(first)..]);
                packed.run(&places, values, added, *activation, output, &mut scratch.tiles);
            }
            Op::Dense { dense, activation } => {
                let strides = [from.picture(), to.picture()];
                dense.run(n, strides, &values[from.base(first)..], *activation, &mut output[to.base(first)..]);
            }
            op => {
                for p in first..first + n {
                    let inputs: Vec<(&Map, &[f32])> = (0..step.inputs.len())
                        .map(|i| {
                            let (map, values) = input(i);
                            // the term of a concatenation that lies in the output already has nothing to give
                            (map, values.get(map.base(p)..).unwrap_or(&[]))
                        })
                        .collect();
                    one(op, &inputs, to, &mut output[to.base(p)..]);
                }
            }
        }
        scratch.buffers[to.buffer] = output;
    }
}

/// Runs for one picture what does not gain by several.
fn one(op: &Op, inputs: &[(&Map, &[f32])], to: &Map, output: &mut [f32]) {
    let Some(&(from, values)) = inputs.first() else { return };
    match op {
        Op::Depthwise { packed, places, activation } => packed.run(places, values, *activation, output),
        Op::Scale { scale, shift, activation } => each_run(to, output, from, values, |out, x| {
            let weights = scale.iter().zip(shift);
            for (out, x) in out.chunks_exact_mut(scale.len()).zip(x.chunks_exact(scale.len())) {
                out.iter_mut().zip(x).zip(weights.clone()).for_each(|((o, &v), (s, t))| *o = v * s + t);
            }
            activate(*activation, out);
        }),
        Op::Activation(activation) => each_run(to, output, from, values, |out, x| {
            out.copy_from_slice(x);
            activate(Some(*activation), out);
        }),
        Op::Add(activation) => {
            each_run(to, output, from, values, <[f32]>::copy_from_slice);
            let Some(&(other, more)) = inputs.get(1) else { return };
            each_run(to, output, other, more, |out, x| {
                out.iter_mut().zip(x).for_each(|(o, v)| *o += v);
                activate(*activation, out);
            });
        }
        Op::Concat(channels) => {
            for ((term, values), channel) in inputs.iter().zip(channels).filter_map(|(t, c)| Some((t, (*c)?))) {
                let slot = Map { channel: to.channel + channel, c: term.c, ..*to };
                each_run(&slot, output, term, values, <[f32]>::copy_from_slice);
            }
        }
        Op::Pool(pool) => pool.run(&grid(from), values, &grid(to), output),
        Op::AdaptiveAvgPool => cells(from, values, to, output),
        Op::ZeroPad(pad) => {
            to.runs(to.is_dense()).for_each(|run| output[run].fill(0.0));
            let within =
                (0..from.h).flat_map(|y| (0..from.w).map(move |x| to.at(y + pad.top, x + pad.left, Pad::default())));
            for (start, run) in within.zip(from.runs(false)) {
                output[start..start + to.c].copy_from_slice(&values[run]);
            }
        }
        Op::Flatten(FlattenOrder::ChannelsLast) => {
            let start = to.at(0, 0, Pad::default());
            for (i, run) in from.runs(false).enumerate() {
                output[start + i * from.c..start + (i + 1) * from.c].copy_from_slice(&values[run]);
            }
        }
        Op::Flatten(FlattenOrder::ChannelsFirst) => {
            for (i, run) in from.runs(false).enumerate() {
                let planes = output.iter_mut().skip(i).step_by(from.h * from.w);
                planes.zip(&values[run]).for_each(|(o, &v)| *o = v);
            }
        }
        // run for all pictures together
        Op::Product { .. } | Op::Winograd { .. } | Op::Dense { .. } => {}
    }
}

fn grid(map: &Map) -> Grid {
    Grid { start: map.at(0, 0, Pad::default()), pixel: map.pixel, row: map.row(), size: [map.h, map.w] }
}

/// Joins a sum to the convolution that computes one of its terms, and an activation to a sum.
fn fuse(program: Program) -> Vec<Fused> {
    let last_use = program.last_use;
    let mut out: Vec<Fused> = Vec::with_capacity(program.steps.len());
    for (i, step) in program.steps.into_iter().enumerate() {
        if let (Kernel::Add, Some(before)) = (&step.kernel, out.last_mut())
            && let Kernel::Conv { activation: None, .. } = before.step.kernel
            && before.added.is_none()
            && last_use[before.step.output] == i
            && let Some(term) = step.inputs.iter().position(|&input| input == before.step.output)
            && step.inputs[1 - term] != before.step.output
        {
            before.added = Some(step.inputs[1 - term]);
            before.step.output = step.output;
            continue;
        }
        if let (Kernel::Activation(activation), Some(before)) = (&step.kernel, out.last_mut())
            && *activation != Activation::Softmax
            && before.activation.is_none()
            && (before.added.is_some() || matches!(before.step.kernel, Kernel::Add))
            && step.inputs[0] == before.step.output
            && last_use[before.step.output] == i
        {
            before.activation = Some(*activation);
            before.step.output = step.output;
            continue;
        }
        let activation = match &step.kernel {
            Kernel::Conv { activation, .. }
            | Kernel::Depthwise { activation, .. }
            | Kernel::Scale { activation, .. }
            | Kernel::Dense { activation, .. } => *activation,
            _ => None,
        };
        out.push(Fused { step, added: None, activation });
    }
    out
}

fn plan(fused: Fused, maps: &[Map], isa: Isa, pictures: usize, clears: bool) -> Result<Planned, ExecError> {
    let inputs = fused.inputs();
    let Fused { step, added, activation } = fused;
    let (from, to) = (maps[inputs[0]], maps[step.output]);
    if (from.picture() * pictures).max(to.picture() * pictures) > u32::MAX as usize {
        let reason = "its map has more than 4 G values".to_string();
        return Err(ExecError::Layer { layer: step.layer, reason });
    }
    let none = Pad::default();
    let tile = tile(&step);
    let op = match step.kernel {
        Kernel::Conv { window, weight, bias, .. } if let Some(tile) = tile => {
            let grid = |map: &Map, pad: Pad| winograd::Grid {
                start: map.at(0, 0, pad),
                pixel: map.pixel,
                row: map.row(),
                picture: if map.batched { map.picture() } else { 0 },
            };
            Op::Winograd {
                packed: winograd::Packed::new(isa, tile, &weight, &bias, from.c),
                places: winograd::Places {
                    pictures,
                    input: grid(&from, window.pad),
                    output: grid(&to, none),
                    added: added.map(|value| grid(&maps[value], none)),
                    size: [to.h, to.w],
                },
                activation,
            }
        }
        Kernel::Conv { window, weight, bias, .. } => {
            let Window { kernel, stride, pad } = window;
            let weight = channels_last(&weight, bias.len(), from.c, kernel);
            let size = [to.h, to.w];
            Op::Product {
                packed: matmul::Packed::new(isa, &weight, &bias, kernel[0], kernel[1] * from.c),
                starts: from.positions(pad, stride, size, pictures),
                outs: to.positions(none, [1, 1], size, pictures),
                adds: added.map(|value| maps[value].positions(none, [1, 1], size, pictures)),
                row: from.row(),
                activation,
            }
        }
        Kernel::Dense { weight, bias, .. } => Op::Dense { dense: Dense::new(isa, weight, bias), activation },
        Kernel::Depthwise { window, weight, bias, .. } => Op::Depthwise {
            packed: depthwise::Packed::new(isa, &weight, &bias, window.kernel),
            places: depthwise::Places {
                start: from.at(0, 0, window.pad),
                row: from.row(),
                stride: window.stride,
                out: to.at(0, 0, none),
                out_row: to.row(),
                out_pixel: to.pixel,
                output: [to.h, to.w],
            },
            activation,
        },
        Kernel::Scale { scale, shift, .. } => Op::Scale { scale, shift, activation },
        Kernel::Activation(activation) => Op::Activation(activation),
        Kernel::ZeroPad(pad) => Op::ZeroPad(pad),
        Kernel::Add => Op::Add(activation),
        Kernel::Concat => Op::Concat(slots(&inputs, maps, step.output)),
        Kernel::Pool { pooling, window, zeros } => Op::Pool(Pool { isa, pooling, window, zeros, channels: to.c }),
        Kernel::AdaptiveAvgPool | Kernel::GlobalAvgPool => Op::AdaptiveAvgPool,
        Kernel::Flatten(order) => Op::Flatten(order),
    };
    Ok(Planned { op, inputs, output: step.output, clears })
}

/// For each term of a concatenation its first channel, none where it lies there already.
fn slots(terms: &[usize], maps: &[Map], output: usize) -> Vec<Option<usize>> {
    let to = &maps[output];
    let mut channel = 0;
    let slot = |&term: &usize| {
        let (map, first) = (&maps[term], channel);
        channel += map.c;
        let there = map.buffer == to.buffer && map.pixel == to.pixel && map.channel == to.channel + first;
        (!there).then_some(first)
    };
    terms.iter().map(slot).collect()
}

/// Weights `(filters, c, kh, kw)` → `(filters, kh, kw, c)`.
fn channels_last(weight: &[f32], filters: usize, c: usize, [kh, kw]: [usize; 2]) -> Vec<f32> {
    let taps = kh * kw;
    let mut out = Vec::with_capacity(weight.len());
    for filter in weight.chunks_exact(c * taps).take(filters) {
        out.extend((0..taps).flat_map(|tap| (0..c).map(move |i| filter[i * taps + tap])));
    }
    out
}

/// Runs `work` on each run of the output and the same run of an input.
fn each_run(to: &Map, output: &mut [f32], from: &Map, values: &[f32], work: impl Fn(&mut [f32], &[f32])) {
    let whole = to.is_dense() && from.is_dense();
    for (to, from) in to.runs(whole).zip(from.runs(whole)) {
        work(&mut output[to], &values[from]);
    }
}

/// Means over the cells of `to`, summed in f64; cell i of n covers positions ⌊i·size/n⌋ to ⌈(i+1)·size/n⌉.
fn cells(from: &Map, values: &[f32], to: &Map, output: &mut [f32]) {
    let cell = |i: usize, size: usize, n: usize| i * size / n..((i + 1) * size).div_ceil(n);
    for (y, x) in (0..to.h).flat_map(|y| (0..to.w).map(move |x| (y, x))) {
        let (rows, columns) = (cell(y, from.h, to.h), cell(x, from.w, to.w));
        let n = (rows.len() * columns.len()) as f64;
        let mut sums = vec![0.0f64; from.c];
        for position in rows.flat_map(|y| columns.clone().map(move |x| from.at(y, x, Pad::default()))) {
            sums.iter_mut().zip(&values[position..position + from.c]).for_each(|(sum, &v)| *sum += f64::from(v));
        }
        let start = to.at(y, x, Pad::default());
        output[start..start + to.c].iter_mut().zip(sums).for_each(|(o, sum)| *o = (sum / n) as f32);
    }
}

/// An activation by itself; softmax is over the whole slice.
fn activate(activation: Option<Activation>, values: &mut [f32]) {
    match activation {
        Some(Activation::Softmax) => {
            let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            values.iter_mut().for_each(|v| *v = (*v - max).exp());
            let sum: f32 = values.iter().sum();
            values.iter_mut().for_each(|v| *v /= sum);
        }
        Some(Activation::Relu) => values.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
        Some(Activation::Relu6) => values.iter_mut().for_each(|v| *v = v.clamp(0.0, 6.0)),
        None => {}
    }
}
