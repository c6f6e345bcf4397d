//! What a step computes, and the small steps in plain Rust: sums, copies, scales, means. They take a few per cent of the time; the compiler
//! turns them into vectors of the least instruction set.

use std::ops::Range;

use super::bands::Slice;
use super::map::Map;
use crate::models::graph::{Activation, FlattenOrder, Pad};
#[cfg(target_arch = "x86_64")]
use featurize_kernels::amx;
use featurize_kernels::bf16;
use featurize_kernels::dense::Dense;
use featurize_kernels::depthwise;
use featurize_kernels::matmul;
use featurize_kernels::pool::{Pool, PoolMap};
use featurize_kernels::residual::Residual;
use featurize_kernels::strassen;
use featurize_kernels::winograd;

/// A step over planned buffers.
#[derive(Debug)]
pub enum Op {
    /// A convolution, the values of a third map added to it.
    Product {
        packed: Product,
        starts: Vec<u32>,
        outs: Vec<u32>,
        adds: Residual<Vec<u32>>,
        row: usize,
        activation: Option<Activation>,
    },
    /// The same, or a dense layer, over bf16.
    ProductBf16 {
        packed: bf16::Bf16Conv,
        starts: Vec<u32>,
        outs: Vec<u32>,
        adds: Residual<Vec<u32>>,
        row: usize,
        activation: Option<Activation>,
    },
    /// A 3 × 3 convolution with fewer multiplications, the values of a third map added to it.
    Winograd {
        packed: winograd::WinogradConv,
        places: winograd::WinogradLayout,
        activation: Option<Activation>,
    },
    Depthwise {
        packed: depthwise::DepthwiseConv,
        places: depthwise::DepthwiseLayout,
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
    Softmax,
    /// Onto what lies at the output there is one input, else two.
    Add {
        onto: bool,
        activation: Option<Activation>,
    },
    /// For each term its first channel; none where it was written in place.
    Concat(Vec<Option<usize>>),
    Pool(Pool),
    AdaptiveAvgPool,
    ZeroPad(Pad),
    Flatten(FlattenOrder),
}

/// How a convolution is computed as a product.
#[derive(Debug)]
pub enum Product {
    Direct(matmul::DirectConv),
    /// With fewer multiplications.
    Strassen(strassen::StrassenConv),
    /// By tiles of integers.
    #[cfg(target_arch = "x86_64")]
    Digits(amx::AmxConv<amx::Int8Slices>),
}

impl Op {
    /// How a step is computed, in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Op::Product { packed: Product::Direct(_), .. } => "direct",
            Op::Product { packed: Product::Strassen(_), .. } => "strassen",
            #[cfg(target_arch = "x86_64")]
            Op::Product { packed: Product::Digits(_), .. } => "digits",
            Op::ProductBf16 { .. } => "direct bf16",
            Op::Winograd { .. } => "winograd",
            Op::Depthwise { .. } => "depthwise",
            Op::Dense { .. } => "dense",
            Op::Scale { .. } => "scale",
            Op::Activation(_) | Op::Softmax => "activation",
            Op::Add { .. } => "add",
            Op::Concat(_) => "concat",
            Op::Pool(_) | Op::AdaptiveAvgPool => "pool",
            Op::ZeroPad(_) => "zero pad",
            Op::Flatten(_) => "flatten",
        }
    }
}

/// Runs for one picture what does not gain by several, the larger steps on `threads` of the pool that this is called on: the rows of `slice`,
/// where inputs and output begin, but for the input of a pool, which begins with the first row that is there.
pub fn one<'a>(
    threads: usize,
    op: &Op,
    slice: &Slice,
    input: impl Fn(usize) -> (&'a Map, &'a [f32]),
    to: &Map,
    output: &mut [f32],
) {
    let to = &to.rows(slice.rows.len());
    let (from, values) = input(0);
    match op {
        Op::Depthwise { packed, places, activation } => {
            let places = depthwise::DepthwiseLayout { output_size: [to.h, to.w], ..*places };
            packed.run(threads, &places, values, *activation, output);
        }
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
        Op::Softmax => each_run(to, output, from, values, |out, x| {
            let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            out.iter_mut().zip(x).for_each(|(o, &v)| *o = (v - max).exp());
            let sum: f32 = out.iter().sum();
            out.iter_mut().for_each(|v| *v /= sum);
        }),
        Op::Add { onto, activation } => {
            let (other, more) = match onto {
                true => (from, values),
                false => {
                    each_run(to, output, from, values, <[f32]>::copy_from_slice);
                    input(1)
                }
            };
            each_run(to, output, other, more, |out, x| {
                out.iter_mut().zip(x).for_each(|(o, v)| *o += v);
                activate(*activation, out);
            });
        }
        Op::Concat(channels) => {
            for (i, channel) in channels.iter().enumerate().filter_map(|(i, channel)| Some((i, (*channel)?))) {
                let (term, values) = input(i);
                let slot = Map { channel: to.channel + channel, c: term.c, ..*to };
                each_run(&slot, output, term, values, <[f32]>::copy_from_slice);
            }
        }
        Op::Pool(pool) => {
            pool.run(&grid(from, slice.inputs[0]..from.h), values, &grid(to, slice.rows.clone()), output);
        }
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
        Op::Product { .. } | Op::ProductBf16 { .. } | Op::Winograd { .. } | Op::Dense { .. } => {}
    }
}

pub fn grid(map: &Map, rows: Range<usize>) -> PoolMap {
    PoolMap {
        start: map.at(0, 0, Pad::default()),
        pixel_stride: map.pixel,
        row_stride: map.row(),
        size: [map.h, map.w],
        rows,
    }
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

/// An activation by itself.
fn activate(activation: Option<Activation>, values: &mut [f32]) {
    match activation {
        Some(Activation::Relu) => values.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
        Some(Activation::Relu6) => values.iter_mut().for_each(|v| *v = v.clamp(0.0, 6.0)),
        None => {}
    }
}
