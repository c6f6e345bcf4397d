//! The operations of steps, and the computation of those that need no kernel.

mod product;
mod tokens;

use std::ops::Range;

pub(crate) use self::product::{Parts, Product, ProductPlaces};
pub(crate) use self::tokens::{attend, gather, pool_tokens};
use self::tokens::{put_tokens, turn};

use super::map::Map;
use super::row_schedule::RowRange;
use crate::models::graph::{Activation, FlattenOrder, Pad};
use featurize_kernels::activation;
use featurize_kernels::aligned::Aligned;
use featurize_kernels::attention::Attention;
use featurize_kernels::dense::Dense;
use featurize_kernels::depthwise;
use featurize_kernels::int8::{Int8Conv, Int8Depthwise};
use featurize_kernels::pointwise::Pointwise;
use featurize_kernels::pool::{Mean, Pool, PoolMap};
use featurize_kernels::residual::Residual;
use featurize_kernels::simd::Isa;
use featurize_kernels::winograd;

/// A step over planned buffers.
#[derive(Debug)]
pub(crate) enum Op {
    /// A convolution, to which a residual may be added; in bf16 a dense layer, too.
    Product {
        packed: Parts<Product>,
        places: ProductPlaces,
        activation: Option<Activation>,
    },
    /// A 3 × 3 convolution by Winograd's algorithm, to which a residual may be added.
    Winograd {
        packed: Parts<winograd::WinogradConv>,
        places: winograd::WinogradLayout,
        activation: Option<Activation>,
    },
    /// A convolution over bytes, its outputs bytes or f32.
    Int8 {
        packed: Int8Conv,
        places: ProductPlaces,
        to_bytes: bool,
        activation: Option<Activation>,
    },
    /// A depthwise convolution over bytes, its outputs bytes or f32.
    Int8Depthwise {
        packed: Int8Depthwise,
        places: depthwise::DepthwiseLayout,
        to_bytes: bool,
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
    LayerNorm {
        eps: f32,
        weight: Vec<f32>,
        bias: Vec<f32>,
    },
    Activation(Activation),
    Softmax,
    Normalize,
    /// For each channel √(Σ x²), divided by their mean plus this epsilon.
    Responses(f32),
    /// With `onto` the one input is added to the output, else two are summed.
    Add {
        onto: bool,
        activation: Option<Activation>,
    },
    /// The last input is the gate. With `onto` the output is multiplied, else the first input.
    Multiply {
        onto: bool,
    },
    /// The channels from this one on.
    Slice(usize),
    Shuffle(usize),
    /// The first channel of each term; none for a term that was written in place.
    Concat(Vec<Option<usize>>),
    Pool(Pool),
    AdaptiveAvgPool,
    ZeroPad(Pad),
    Flatten(FlattenOrder),
    /// The first tokens, then the positions of the map with `positions` added. `given`: a second input is added to the
    /// first token.
    Tokens {
        first: Vec<f32>,
        positions: Vec<f32>,
        given: bool,
    },
    /// The queries come from the input, unless they are constants.
    Attention {
        packed: Box<Attention>,
        queries: Option<Vec<f32>>,
    },
    /// Rotary position embedding: queries and keys are turned by angles, given by their cosines and sines.
    Turn {
        heads: usize,
        angles: [Vec<f32>; 2],
    },
    /// The tokens from this one on.
    Select(usize),
    Merge,
}

/// The context of one computation: instructions, threads, scratch memory, and the rows of the output `to`.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub isa: Isa,
    pub threads: usize,
    pub tiles: &'a mut Aligned,
    pub range: &'a RowRange,
    pub to: &'a Map,
}

impl Op {
    /// The algorithm, in a word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Op::Product { packed, .. } => packed.parts.first().map_or("direct", Product::word),
            Op::Int8 { .. } => "direct int8",
            Op::Int8Depthwise { .. } => "depth. int8",
            Op::Winograd { .. } => "winograd",
            Op::Depthwise { .. } => "depthwise",
            Op::Dense { .. } => "dense",
            Op::Scale { .. } => "scale",
            Op::LayerNorm { .. } => "layer norm",
            Op::Activation(_) | Op::Softmax => "activation",
            Op::Normalize => "normalize",
            Op::Responses(_) => "responses",
            Op::Add { .. } => "add",
            Op::Multiply { .. } => "multiply",
            Op::Slice(_) => "slice",
            Op::Shuffle(_) => "shuffle",
            Op::Concat(_) => "concat",
            Op::Pool(_) | Op::AdaptiveAvgPool => "pool",
            Op::ZeroPad(_) => "zero pad",
            Op::Flatten(_) => "flatten",
            Op::Tokens { .. } => "tokens",
            Op::Attention { .. } => "attention",
            Op::Turn { .. } => "turn",
            Op::Select(_) => "select",
            Op::Merge => "merge",
        }
    }

    /// Whether each position is computed by itself, see [`pointwise`].
    pub(super) fn is_pointwise(&self) -> bool {
        matches!(self, Op::Scale { .. } | Op::LayerNorm { .. } | Op::Add { .. } | Op::Multiply { .. })
    }

    /// True where the step reads its output: a term of the sum, or the map that is multiplied.
    pub(super) fn reads_output(&self) -> bool {
        match self {
            Op::Add { onto, .. } | Op::Multiply { onto } => *onto,
            Op::Winograd { places, .. } => matches!(places.residual, Residual::InPlace),
            Op::Product { places, .. } => matches!(places.adds, Residual::InPlace),
            _ => false,
        }
    }

    /// Computes rows for several `pictures` in f32. `input` gives the map of an input and its values for a picture from
    /// the first row that is needed, `out` the offset in `output` of a picture's first row.
    pub(super) fn compute<'a>(
        &self,
        work: Work,
        pictures: Range<usize>,
        input: impl Fn(usize, usize) -> (&'a Map, &'a [f32]),
        out: impl Fn(usize) -> usize,
        output: &mut [f32],
    ) {
        let Work { isa, threads, tiles, range, to } = work;
        let (first, rows) = (pictures.start, range.rows.len());
        let (from, values) = input(0, first);
        match self {
            Op::Product { packed, places, activation } => {
                let added = if places.reads_term() { input(1, first).1 } else { &[] };
                let output = &mut output[out(first)..];
                let all = pictures.len() * rows * to.w;
                places.pieces(all, packed.parts.len(), threads).for_each(|places| {
                    packed.each(|packed, [channel, filter]| {
                        let (values, added) = (&values[channel..], added.get(filter..).unwrap_or(&[]));
                        let output = &mut output[filter..];
                        match packed {
                            Product::Direct(packed) => packed.run(threads, &places, values, added, *activation, output),
                            #[cfg(target_arch = "x86_64")]
                            Product::Digits(packed) => {
                                packed.run(threads, &places, [rows, to.w], values, added, *activation, output, tiles);
                            }
                            // networks in f32 have no such product
                            Product::Bf16(_) => {}
                        }
                    });
                });
            }
            Op::Winograd { packed, places, activation } => {
                let places = winograd::WinogradLayout { pictures: pictures.len(), size: [rows, to.w], ..*places };
                let added = if let Residual::At(_) = places.residual { input(1, first).1 } else { &[] };
                let output = &mut output[out(first)..];
                packed.each(|packed, [channel, filter]| {
                    let (values, added) = (&values[channel..], added.get(filter..).unwrap_or(&[]));
                    packed.run(threads, &places, values, added, *activation, &mut output[filter..], tiles);
                });
            }
            Op::Dense { dense, activation } => {
                let strides = [from.picture(), to.picture()];
                dense.run(threads, pictures.len(), strides, values, *activation, &mut output[out(first)..]);
            }
            Op::Attention { packed, queries } => {
                let windows = pictures.len() * packed.windows();
                let queries = queries.as_deref().unwrap_or(values);
                packed.run(threads, windows, [queries, values], &mut output[out(first)..], tiles);
            }
            op => {
                for p in pictures {
                    one(isa, threads, op, range, |i| input(i, p), to, &mut output[out(p)..]);
                }
            }
        }
    }
}

/// Computes rows of a step for one picture, for steps that do not take several together. `output` begins with the first
/// of the rows, and so do inputs, except that of a pool, which begins with the first row in its buffer.
fn one<'a>(
    isa: Isa,
    threads: usize,
    op: &Op,
    range: &RowRange,
    input: impl Fn(usize) -> (&'a Map, &'a [f32]),
    to: &Map,
    output: &mut [f32],
) {
    let to = &to.rows(range.rows.len());
    let (from, values) = input(0);
    match op {
        Op::Depthwise { packed, places, activation } => {
            let places = depthwise::DepthwiseLayout { output_size: [to.h, to.w], ..*places };
            packed.run(isa, threads, &places, values, *activation, output);
        }
        Op::Scale { .. } | Op::LayerNorm { .. } | Op::Add { .. } | Op::Multiply { .. } => {
            pointwise(op, input, to, output, |layer, x, y| match x {
                Some(x) => layer.run(isa, threads, x, y),
                None => layer.run_in_place(isa, threads, y),
            });
        }
        Op::Activation(activation) => each_run(to, output, from, values, |out, x| {
            out.copy_from_slice(x);
            activation::run(isa, *activation, out);
        }),
        Op::Softmax => each_run(to, output, from, values, |out, x| {
            let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            out.iter_mut().zip(x).for_each(|(o, &v)| *o = (v - max).exp());
            let sum: f32 = out.iter().sum();
            out.iter_mut().for_each(|v| *v /= sum);
        }),
        Op::Normalize => each_run(to, output, from, values, |out, x| {
            let length = x.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            out.iter_mut().zip(x).for_each(|(o, &v)| *o = v / length);
        }),
        Op::Responses(eps) => {
            let mut squares = vec![0.0f64; from.c];
            for run in from.runs(false) {
                squares.iter_mut().zip(&values[run]).for_each(|(sum, &v)| *sum += f64::from(v) * f64::from(v));
            }
            let mean = squares.iter().map(|sum| sum.sqrt()).sum::<f64>() / from.c as f64 + f64::from(*eps);
            let start = to.at(0, 0, Pad::default());
            output[start..].iter_mut().zip(squares).for_each(|(o, sum)| *o = (sum.sqrt() / mean) as f32);
        }
        Op::Slice(first) => slice(*first, (from, values), to, output),
        Op::Shuffle(groups) => shuffle(*groups, (from, values), to, output),
        Op::Concat(channels) => concat(channels, input, to, output),
        Op::Pool(pool) => {
            pool.run(isa, &grid(from, range.inputs[0]..from.h), values, &grid(to, range.rows.clone()), output);
        }
        Op::AdaptiveAvgPool => cells(from, to, |mean, at| mean.run(isa, values, &mut output[at])),
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
        Op::Tokens { first, positions, given } => {
            let given = given.then(|| input(1)).map(|(map, values)| &values[map.at(0, 0, Pad::default())..][..map.c]);
            put_tokens([first, positions, given.unwrap_or(&[])], (from, values), to, output);
        }
        Op::Turn { heads, angles } => turn(*heads, angles, (from, values), to, output),
        Op::Select(_) | Op::Merge => gather(op, (from, values), to, output),
        // computed for all pictures together, or over bytes
        Op::Product { .. }
        | Op::Winograd { .. }
        | Op::Dense { .. }
        | Op::Attention { .. }
        | Op::Int8 { .. }
        | Op::Int8Depthwise { .. } => {}
    }
}

/// Computes a layer position by position; `run` computes a run of them, in place where it gets no input.
pub(super) fn pointwise<'a, E: Copy + 'a>(
    op: &Op,
    input: impl Fn(usize) -> (&'a Map, &'a [E]),
    to: &Map,
    output: &mut [E],
    run: impl Fn(&Pointwise<E>, Option<&[E]>, &mut [E]),
) {
    let (mut from, mut values) = input(0);
    let layer = match op {
        Op::Scale { scale, shift, activation } => Pointwise::Scale { scale, shift, activation: *activation },
        Op::LayerNorm { eps, weight, bias } => Pointwise::LayerNorm { eps: *eps, weight, bias },
        Op::Add { onto, activation } => {
            if !onto {
                each_run(to, output, from, values, <[E]>::copy_from_slice);
                (from, values) = input(1);
            }
            Pointwise::Add(*activation)
        }
        Op::Multiply { onto } => {
            let (gate, factors) = input(usize::from(!onto));
            let layer = Pointwise::Multiply(&factors[gate.at(0, 0, Pad::default())..][..to.c]);
            if *onto {
                return to.runs(to.is_dense()).for_each(|positions| run(&layer, None, &mut output[positions]));
            }
            layer
        }
        _ => return,
    };
    each_run(to, output, from, values, |y, x| run(&layer, Some(x), y));
}

/// Copies the terms of a concatenation that do not lie there yet.
pub(super) fn concat<'a, T: Copy + 'a>(
    channels: &[Option<usize>],
    input: impl Fn(usize) -> (&'a Map, &'a [T]),
    to: &Map,
    output: &mut [T],
) {
    for (i, channel) in channels.iter().enumerate().filter_map(|(i, channel)| Some((i, (*channel)?))) {
        let (term, values) = input(i);
        let slot = Map { channel: to.channel + channel, c: term.c, ..*to };
        each_run(&slot, output, term, values, <[T]>::copy_from_slice);
    }
}

/// Copies channels from `first` on.
pub(super) fn slice<T: Copy>(first: usize, (from, values): (&Map, &[T]), to: &Map, output: &mut [T]) {
    let from = Map { channel: from.channel + first, c: to.c, ..*from };
    each_run(to, output, &from, values, <[T]>::copy_from_slice);
}

/// Copies channels in the order of ShuffleNet: the first of each of `groups`, then the second of each, and so on.
pub(super) fn shuffle<T: Copy>(groups: usize, (from, values): (&Map, &[T]), to: &Map, output: &mut [T]) {
    let columns = from.c / groups;
    for (to, from) in to.runs(false).zip(from.runs(false)) {
        let (to, from) = (&mut output[to], &values[from]);
        to.iter_mut().enumerate().for_each(|(i, v)| *v = from[i % groups * columns + i / groups]);
    }
}

pub(crate) fn grid(map: &Map, rows: Range<usize>) -> PoolMap {
    PoolMap {
        start: map.at(0, 0, Pad::default()),
        pixel_stride: map.pixel,
        row_stride: map.row(),
        size: [map.h, map.w],
        rows,
    }
}

/// Runs `work` on each run of the output and the same run of an input.
pub(super) fn each_run<T, U>(to: &Map, output: &mut [T], from: &Map, values: &[U], work: impl Fn(&mut [T], &[U])) {
    let whole = to.is_dense() && from.is_dense();
    if whole && to.halo.is_zero() && from.halo.is_zero() {
        // the input may have more rows than are computed
        return work(&mut output[..to.picture()], &values[..to.picture()]);
    }
    for (to, from) in to.runs(whole).zip(from.runs(whole)) {
        work(&mut output[to], &values[from]);
    }
}

/// Calls `write` with the mean over each cell of `to` and its place; cell i of n covers positions ⌊i·size/n⌋ to
/// ⌈(i+1)·size/n⌉.
pub(super) fn cells(from: &Map, to: &Map, mut write: impl FnMut(Mean, Range<usize>)) {
    let cell = |i: usize, size: usize, n: usize| i * size / n..((i + 1) * size).div_ceil(n);
    for (y, x) in (0..to.h).flat_map(|y| (0..to.w).map(move |x| (y, x))) {
        let (rows, columns) = (cell(y, from.h, to.h), cell(x, from.w, to.w));
        let start = to.at(y, x, Pad::default());
        write(Mean { map: &grid(from, 0..from.h), rows, columns, channels: from.c }, start..start + to.c);
    }
}
