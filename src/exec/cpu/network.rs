//! A program as a list of kernels over planned buffers.
//!
//! Every value has a map in memory: `(height, width, channels)`, with as many zeros around it as the windows that read it want, so that no
//! kernel knows of borders. Values share buffers when their lives do not overlap; which, is decided once.

use super::depthwise;
use super::matmul;
use super::simd::Isa;
use crate::exec::ExecError;
use crate::exec::lower::{Kernel, Program, Step};
use crate::models::Shape;
use crate::models::graph::{Activation, Pad, Window};

/// A map in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Map {
    buffer: usize,
    h: usize,
    w: usize,
    c: usize,
    /// Zeros around it.
    halo: Pad,
}

impl Map {
    fn of(shape: Shape) -> Self {
        let (c, h, w) = match shape {
            Shape::Map { c, h, w } => (c, h, w),
            Shape::Vector(n) => (n, 1, 1),
        };
        Self { buffer: 0, h, w, c, halo: Pad::default() }
    }

    /// Elements from one row to the next.
    fn row(&self) -> usize {
        (self.w + self.halo.left + self.halo.right) * self.c
    }

    fn len(&self) -> usize {
        (self.h + self.halo.top + self.halo.bottom) * self.row()
    }

    /// Where position (y, x) begins, counted from `pad` above and left of the map.
    fn at(&self, y: usize, x: usize, pad: Pad) -> usize {
        (y + self.halo.top - pad.top) * self.row() + (x + self.halo.left - pad.left) * self.c
    }

    /// Where each row of the map lies.
    fn rows(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (map, len) = (*self, self.w * self.c);
        (0..map.h).map(move |y| {
            let start = map.at(y, 0, Pad::default());
            start..start + len
        })
    }

    /// Where each position begins.
    fn positions(&self, pad: Pad, stride: [usize; 2], [h, w]: [usize; 2]) -> Vec<u32> {
        let all = (0..h).flat_map(|y| (0..w).map(move |x| (y * stride[0], x * stride[1])));
        all.map(|(y, x)| self.at(y, x, pad) as u32).collect()
    }
}

#[derive(Debug)]
enum Op {
    /// A convolution or a dense layer, the values of a third map added to it.
    Product {
        packed: matmul::Packed,
        starts: Vec<u32>,
        outs: Vec<u32>,
        adds: Option<Vec<u32>>,
        row: usize,
        activation: Option<Activation>,
    },
    Depthwise {
        packed: depthwise::Packed,
        places: depthwise::Places,
        activation: Option<Activation>,
    },
    Scale {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    Activation(Activation),
    Add(Option<Activation>),
    GlobalAvgPool,
}

/// A step over values, before places are known.
struct Fused {
    step: Step,
    /// For a convolution: the value added to it.
    added: Option<usize>,
    activation: Option<Activation>,
}

#[derive(Debug)]
struct Planned {
    op: Op,
    inputs: Vec<usize>,
    output: usize,
}

/// A network ready to run; shared by all threads, each with a [`Scratch`] of its own.
#[derive(Debug)]
pub struct Network {
    steps: Vec<Planned>,
    maps: Vec<Map>,
    taps: Vec<usize>,
    /// Floats in each buffer.
    buffers: Vec<usize>,
}

/// The buffers of one thread.
#[derive(Debug)]
pub struct Scratch {
    buffers: Vec<Vec<f32>>,
}

impl Network {
    /// Packs the weights of `program` for the best instruction set of this CPU and plans the buffers.
    pub fn new(program: Program) -> Result<Self, ExecError> {
        Self::with_isa(program, Isa::detect())
    }

    /// The same for a given instruction set, which this CPU must have.
    pub fn with_isa(program: Program, isa: Isa) -> Result<Self, ExecError> {
        let (taps, values) = (program.taps.clone(), program.last_use.len());
        let input = Map::of(program.input_shape);
        let fused = fuse(program);
        let mut maps = vec![input; values];
        for fused in &fused {
            maps[fused.step.output] = Map::of(fused.step.out_shape);
        }
        for fused in &fused {
            if let Kernel::Conv { window, .. } | Kernel::Depthwise { window, .. } = &fused.step.kernel {
                let halo = &mut maps[fused.step.inputs[0]].halo;
                let pad = window.pad;
                halo.top = halo.top.max(pad.top);
                halo.bottom = halo.bottom.max(pad.bottom);
                halo.left = halo.left.max(pad.left);
                halo.right = halo.right.max(pad.right);
            }
        }
        let buffers = assign(&fused, &taps, &mut maps);
        let steps = fused.into_iter().map(|fused| plan(fused, &maps, isa)).collect::<Result<_, _>>()?;
        Ok(Self { steps, maps, taps, buffers })
    }

    /// Buffers for one thread.
    pub fn scratch(&self) -> Scratch {
        Scratch { buffers: self.buffers.iter().map(|&len| vec![0.0; len]).collect() }
    }

    /// Runs one picture `(h, w, c)`; gives the values of each tap, maps as `(h, w, c)`.
    pub fn forward(&self, scratch: &mut Scratch, picture: &[f32]) -> Vec<Vec<f32>> {
        let input = &self.maps[0];
        let buffer = &mut scratch.buffers[input.buffer];
        clear_halo(input, buffer);
        for (row, line) in input.rows().zip(picture.chunks_exact(input.w * input.c)) {
            buffer[row].copy_from_slice(line);
        }
        for step in &self.steps {
            self.step(step, scratch);
        }
        let read = |&tap: &usize| {
            let map = &self.maps[tap];
            map.rows().flat_map(|row| scratch.buffers[map.buffer][row].iter().copied()).collect()
        };
        self.taps.iter().map(read).collect()
    }

    fn step(&self, step: &Planned, scratch: &mut Scratch) {
        let map = self.maps[step.output];
        // never the buffer of an input: their lives overlap
        let mut output = std::mem::take(&mut scratch.buffers[map.buffer]);
        clear_halo(&map, &mut output);
        let input = |i: usize| {
            let map = &self.maps[step.inputs[i]];
            (map, scratch.buffers[map.buffer].as_slice())
        };
        let (from, values) = input(0);
        match &step.op {
            Op::Product { packed, starts, outs, adds, row, activation } => {
                let added = if adds.is_some() { input(1).1 } else { &[] };
                let places = matmul::Places { starts, row: *row, outs, adds: adds.as_deref() };
                packed.run(&places, values, added, *activation, &mut output);
            }
            Op::Depthwise { packed, places, activation } => packed.run(places, values, *activation, &mut output),
            Op::Scale { scale, shift } => each_row(&map, &mut output, from, values, |out, x| {
                for (i, (o, &v)) in out.iter_mut().zip(x).enumerate() {
                    *o = v * scale[i % scale.len()] + shift[i % shift.len()];
                }
            }),
            Op::Activation(activation) => each_row(&map, &mut output, from, values, |out, x| {
                out.copy_from_slice(x);
                activate(Some(*activation), out);
            }),
            Op::Add(activation) => {
                each_row(&map, &mut output, from, values, |out, x| out.copy_from_slice(x));
                let (other, more) = input(1);
                each_row(&map, &mut output, other, more, |out, x| {
                    out.iter_mut().zip(x).for_each(|(o, v)| *o += v);
                    activate(*activation, out);
                });
            }
            Op::GlobalAvgPool => mean(from, values, &mut output[..map.c]),
        }
        scratch.buffers[map.buffer] = output;
    }
}

/// Joins a sum to the convolution that computes one of its terms, and an activation to a sum.
fn fuse(program: Program) -> Vec<Fused> {
    let last_use = program.last_use;
    let mut out: Vec<Fused> = Vec::with_capacity(program.steps.len());
    for (i, mut step) in program.steps.into_iter().enumerate() {
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
        let activation = match &mut step.kernel {
            Kernel::Conv { activation, .. } | Kernel::Depthwise { activation, .. } => *activation,
            _ => None,
        };
        out.push(Fused { step, added: None, activation });
    }
    out
}

impl Fused {
    fn inputs(&self) -> Vec<usize> {
        self.step.inputs.iter().copied().chain(self.added).collect()
    }
}

/// Gives every value a buffer, the smallest that is free and large enough, else the largest that is free, grown.
fn assign(steps: &[Fused], taps: &[usize], maps: &mut [Map]) -> Vec<usize> {
    let mut last = vec![0; maps.len()];
    for (i, step) in steps.iter().enumerate() {
        step.inputs().iter().for_each(|&value| last[value] = i);
    }
    taps.iter().for_each(|&value| last[value] = usize::MAX);
    let mut buffers: Vec<usize> = vec![maps[0].len()];
    let mut free: Vec<usize> = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        let need = maps[step.step.output].len();
        let fits = free.iter().copied().filter(|&b| buffers[b] >= need).min_by_key(|&b| buffers[b]);
        let buffer = fits.or_else(|| free.iter().copied().max_by_key(|&b| buffers[b])).unwrap_or(buffers.len());
        free.retain(|&b| b != buffer);
        match buffers.get_mut(buffer) {
            Some(len) => *len = (*len).max(need),
            None => buffers.push(need),
        }
        maps[step.step.output].buffer = buffer;
        let mut done: Vec<usize> = step.inputs().into_iter().filter(|&value| last[value] == i).collect();
        done.dedup();
        free.extend(done.iter().map(|&value| maps[value].buffer));
    }
    buffers
}

fn plan(fused: Fused, maps: &[Map], isa: Isa) -> Result<Planned, ExecError> {
    let inputs = fused.inputs();
    let Fused { step, added, activation } = fused;
    let (from, to) = (maps[inputs[0]], maps[step.output]);
    let none = Pad::default();
    let op = match step.kernel {
        Kernel::Conv { window, weight, bias, .. } => {
            let Window { kernel, stride, pad } = window;
            let weight = channels_last(&weight, bias.len(), from.c, kernel);
            Op::Product {
                packed: matmul::Packed::new(isa, &weight, &bias, kernel[0], kernel[1] * from.c),
                starts: from.positions(pad, stride, [to.h, to.w]),
                outs: to.positions(none, [1, 1], [to.h, to.w]),
                adds: added.map(|value| maps[value].positions(none, [1, 1], [to.h, to.w])),
                row: from.row(),
                activation,
            }
        }
        Kernel::Dense { weight, bias } => Op::Product {
            packed: matmul::Packed::new(isa, &weight, &bias, 1, from.c),
            starts: from.positions(none, [1, 1], [1, 1]),
            outs: to.positions(none, [1, 1], [1, 1]),
            adds: None,
            row: from.row(),
            activation,
        },
        Kernel::Depthwise { window, weight, bias, .. } => Op::Depthwise {
            packed: depthwise::Packed::new(isa, &weight, &bias, window.kernel),
            places: depthwise::Places {
                start: from.at(0, 0, window.pad),
                row: from.row(),
                stride: window.stride,
                out: to.at(0, 0, none),
                out_row: to.row(),
                output: [to.h, to.w],
            },
            activation,
        },
        Kernel::Scale { scale, shift } => Op::Scale { scale, shift },
        Kernel::Activation(activation) => Op::Activation(activation),
        Kernel::Add => Op::Add(activation),
        Kernel::GlobalAvgPool => Op::GlobalAvgPool,
    };
    if from.len().max(to.len()) > u32::MAX as usize {
        let reason = "its map has more than 4 G values".to_string();
        return Err(ExecError::Layer { layer: step.layer, reason });
    }
    Ok(Planned { op, inputs, output: step.output })
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

/// The zeros around a map, which another value may have used.
fn clear_halo(map: &Map, buffer: &mut [f32]) {
    if map.halo.is_zero() {
        return;
    }
    let mut at = 0;
    for row in map.rows() {
        buffer[at..row.start].fill(0.0);
        at = row.end;
    }
    buffer[at..map.len()].fill(0.0);
}

/// Runs `work` on each row of the output and the same row of an input.
fn each_row(to: &Map, output: &mut [f32], from: &Map, values: &[f32], work: impl Fn(&mut [f32], &[f32])) {
    for (to, from) in to.rows().zip(from.rows()) {
        work(&mut output[to], &values[from]);
    }
}

/// Mean over the positions, summed in f64.
fn mean(from: &Map, values: &[f32], output: &mut [f32]) {
    let mut sums = vec![0.0f64; from.c];
    for position in from.rows().flat_map(|row| values[row].chunks_exact(from.c)) {
        sums.iter_mut().zip(position).for_each(|(sum, &v)| *sum += f64::from(v));
    }
    let n = (from.h * from.w) as f64;
    output.iter_mut().zip(sums).for_each(|(o, sum)| *o = (sum / n) as f32);
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
