//! Turns a program into kernels with packed weights.

use std::borrow::Cow;

use super::PlannedStep;
use crate::exec::ExecError;
use crate::exec::cpu::engine::{self, Engine};
use crate::exec::cpu::int8::Int8Layer;
use crate::exec::cpu::map::Map;
use crate::exec::cpu::memory_plan::Fused;
use crate::exec::cpu::steps::{Op, Parts, Product, ProductPlaces, attend, pool_tokens};
use crate::exec::lower::{AttentionKernel, Kernel, Program, Step};
use crate::models::graph::{Pad, Window};
use featurize_kernels::aligned::prefer_huge_pages;
#[cfg(target_arch = "x86_64")]
use featurize_kernels::amx;
use featurize_kernels::bf16;
use featurize_kernels::dense::Dense;
use featurize_kernels::depthwise;
use featurize_kernels::int8::{Int8Conv, Int8Depthwise};
use featurize_kernels::matmul::{self, Columns};
use featurize_kernels::pool::Pool;
use featurize_kernels::residual::Residual;
use featurize_kernels::winograd;

/// Joins a sum to the convolution that computes one of its terms, and an activation to a sum; chooses the steps that
/// Winograd computes.
pub(crate) fn fuse(program: Program, engine: Engine) -> Vec<Fused> {
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
        let winograd = engine.winograd(&step);
        // in bf16, a step that computes in f32 widens whole inputs
        let by_rows = engine.unit().is_none()
            || !(winograd.is_some() || matches!(step.kernel, Kernel::Activation(_) | Kernel::Dense { .. }));
        out.push(Fused { step, added: None, activation, by_rows, winograd, int8: None });
    }
    out
}

/// Packs the weights of a step and lists where it reads and writes: for `pictures` at a time, and for `rows` of the
/// output if not for all.
pub(crate) fn plan(
    fused: Fused,
    maps: &[Map],
    engine: Engine,
    (pictures, rows): (usize, Option<usize>),
    clears: bool,
) -> Result<PlannedStep, ExecError> {
    let mut inputs = fused.inputs();
    let Fused { step, added, activation, winograd, int8, .. } = fused;
    let isa = engine.isa();
    let term = |value: usize| match step.kernel {
        Kernel::Add => true,
        Kernel::Multiply => value == step.inputs[0],
        _ => added == Some(value),
    };
    let under = inputs.iter().position(|&value| term(value) && maps[value] == maps[step.output]);
    // a term that lies at the output is not counted as an input
    let under = under.map(|i| inputs.remove(i));
    let onto = under.is_some();
    let added = if onto { Residual::InPlace } else { Residual::at(added) };
    let (from, to) = (maps[inputs[0]], maps[step.output]);
    if (from.picture() * pictures).max(to.picture() * pictures) > u32::MAX as usize {
        let reason = "its map has more than 4 G values".to_string();
        return Err(ExecError::Layer { layer: step.layer, reason });
    }
    let none = Pad::default();
    let macs = macs(&step);
    let down = match &step.kernel {
        Kernel::Conv { window, .. } | Kernel::Depthwise { window, .. } => Some(window.stride[0]),
        Kernel::Pool { .. } => None,
        _ => Some(1),
    };
    let op = match step.kernel {
        Kernel::Conv { groups, window, weight, bias, .. } if let Some(tile) = winograd => {
            let grid = |map: &Map, pad: Pad| winograd::BatchLayout {
                start: map.at(0, 0, pad),
                pixel_stride: map.pixel,
                row_stride: map.row(),
                picture_stride: if map.batched { map.picture() } else { 0 },
            };
            Op::Winograd {
                packed: in_parts(groups, from.c, &weight, &bias, |weight, bias, channels| {
                    winograd::WinogradConv::new(isa, tile, weight, bias, channels)
                }),
                places: winograd::WinogradLayout {
                    pictures,
                    input: grid(&from, window.pad),
                    output: grid(&to, none),
                    residual: added.map(|value| grid(&maps[value], none)),
                    size: [to.h, to.w],
                },
                activation,
            }
        }
        Kernel::Conv { groups, window, weight, bias, .. } => {
            let Window { kernel, stride, pad, dilation } = window;
            let size = [rows.unwrap_or(to.h), to.w];
            let places = ProductPlaces {
                starts: from.positions(pad, stride, size, pictures),
                outs: to.positions(none, [1, 1], size, pictures),
                adds: added.map(|value| maps[value].positions(none, [1, 1], size, pictures)),
                row: from.row() * dilation[0],
            };
            if let (Engine::Int8(unit), Some(Int8Layer { weight, requant, to_bytes })) = (engine, int8) {
                let packed = Int8Conv::new(unit, &weight, requant, kernel[0], kernel[1] * from.c);
                let (layer, output) = (step.layer, step.output);
                let op = Op::Int8 { packed, places, to_bytes, activation };
                return Ok(PlannedStep { layer, macs, op, inputs, output, clears, down, under, halo: None });
            }
            let packed = in_parts(groups, from.c, &weight, &bias, |weight, bias, channels| {
                let weight = &channels_last(weight, channels, kernel);
                if channels == from.c && !window.is_dilated() {
                    return product(engine, weight, bias, channels, window);
                }
                let columns = Columns { count: kernel[1], stride: from.pixel * dilation[1] };
                group(engine, weight, bias, kernel[0], columns, channels)
            });
            Op::Product { packed, places, activation }
        }
        Kernel::Dense { weight, bias, .. } if let Engine::Bf16(unit) = engine => Op::Product {
            packed: Parts {
                parts: vec![Product::Bf16(bf16::Bf16Conv::new(
                    unit,
                    &weight,
                    &bias,
                    1,
                    weight.len() / bias.len().max(1),
                ))],
                apart: [0; 2],
            },
            places: ProductPlaces {
                starts: from.positions(none, [1, 1], [1, 1], pictures),
                outs: to.positions(none, [1, 1], [1, 1], pictures),
                adds: Residual::None,
                row: 0,
            },
            activation,
        },
        Kernel::Dense { weight, bias, .. } => Op::Dense { dense: Dense::new(isa, weight, bias), activation },
        Kernel::Depthwise { window, weight, bias, .. } => {
            let places = depthwise::DepthwiseLayout {
                input_start: from.at(0, 0, window.pad),
                input_row_stride: from.row(),
                stride: window.stride,
                output_start: to.at(0, 0, none),
                output_row_stride: to.row(),
                output_pixel_stride: to.pixel,
                output_size: [to.h, to.w],
            };
            match (engine, int8) {
                (Engine::Int8(unit), Some(Int8Layer { weight, requant, to_bytes })) => {
                    let packed = Int8Depthwise::new(unit, &weight, requant, window.kernel, window.stride[1]);
                    Op::Int8Depthwise { packed, places, to_bytes, activation }
                }
                _ => {
                    let packed = depthwise::DepthwiseConv::new(&weight, &bias, window.kernel);
                    let packed = packed.dilated(window.dilation);
                    Op::Depthwise { packed, places, activation }
                }
            }
        }
        Kernel::Scale { scale, shift, .. } => Op::Scale { scale, shift, activation },
        Kernel::LayerNorm { eps, weight, bias } => Op::LayerNorm { eps, weight, bias },
        Kernel::Activation(activation) => Op::Activation(activation),
        Kernel::Softmax => Op::Softmax,
        Kernel::Normalize => Op::Normalize,
        Kernel::Responses(eps) => Op::Responses(eps),
        Kernel::ZeroPad(pad) => Op::ZeroPad(pad),
        Kernel::Add => Op::Add { onto, activation },
        Kernel::Multiply => Op::Multiply { onto },
        Kernel::Slice(first) => Op::Slice(first),
        Kernel::Shuffle(groups) => Op::Shuffle(groups),
        Kernel::Concat => Op::Concat(slots(&inputs, maps, step.output)),
        Kernel::Pool { pooling, window, zeros } => Op::Pool(Pool { pooling, window, zeros, channels: to.c }),
        Kernel::AdaptiveAvgPool | Kernel::GlobalAvgPool => Op::AdaptiveAvgPool,
        Kernel::Flatten(order) => Op::Flatten(order),
        Kernel::Tokens { first, positions } => Op::Tokens { first, positions, given: inputs.len() > 1 },
        Kernel::Attention(attention) => attend(isa, attention, pictures, [&from, &to]),
        Kernel::AttentionPool { heads, query } => pool_tokens(isa, heads, query, pictures, [&from, &to]),
        Kernel::Turn { heads, cos, sin } => Op::Turn { heads, angles: [cos, sin] },
        Kernel::Select(first) => Op::Select(first),
        Kernel::Merge => Op::Merge,
    };
    Ok(PlannedStep { layer: step.layer, macs, op, inputs, output: step.output, clears, down, under, halo: None })
}

/// Packs a convolution with `groups` part by part, see [`engine::parts`]. `pack` gets the weights, the biases and the
/// number of channels of a part.
fn in_parts<T>(
    groups: usize,
    channels: usize,
    weight: &[f32],
    bias: &[f32],
    pack: impl Fn(&[f32], &[f32], usize) -> T,
) -> Parts<T> {
    let parts = engine::parts(groups, bias.len());
    let apart = [channels / parts, bias.len() / parts];
    if parts == groups {
        let weights = weight.chunks_exact(weight.len() / parts).zip(bias.chunks_exact(apart[1]));
        return Parts { parts: weights.map(|(weight, bias)| pack(weight, bias, apart[0])).collect(), apart };
    }
    // (filters, channels of a group, kernel) → (filters, channels of a part, kernel)
    let (filters, values) = (bias.len() / groups, weight.len() / bias.len());
    let mut wide = vec![0.0; weight.len() / parts * (groups / parts)];
    let mut part = |i: usize| {
        let from = weight[i * apart[1] * values..].chunks_exact(values);
        for (f, (to, from)) in wide.chunks_exact_mut(values * (groups / parts)).zip(from).enumerate() {
            to.fill(0.0);
            to[f / filters * values..][..values].copy_from_slice(from);
        }
        pack(&wide, &bias[i * apart[1]..][..apart[1]], apart[0])
    };
    Parts { parts: (0..parts).map(&mut part).collect(), apart }
}

/// Packs a convolution over all channels of its input.
fn product(engine: Engine, weight: &[f32], bias: &[f32], channels: usize, window: Window) -> Product {
    let (isa, rows, depth) = (engine.isa(), window.kernel[0], window.kernel[1] * channels);
    match engine {
        Engine::Bf16(unit) => Product::Bf16(bf16::Bf16Conv::new(unit, weight, bias, rows, depth)),
        #[cfg(target_arch = "x86_64")]
        Engine::Digits if amx::Int8Slices::WINDOWS.contains(&(rows * depth)) => {
            let shape = amx::ConvShape { kernel: window.kernel, channels, stride: window.stride[1] };
            Product::Digits(amx::AmxConv::new(weight, bias, shape))
        }
        _ => Product::Direct(matmul::DirectConv::new(isa, weight, bias, rows, depth)),
    }
}

/// Packs a convolution over some of the channels of its input, or a dilated one. It is never done by AMX, which needs
/// the values of a window in one run.
fn group(engine: Engine, weight: &[f32], bias: &[f32], rows: usize, columns: Columns, depth: usize) -> Product {
    match engine {
        Engine::Bf16(unit) => Product::Bf16(bf16::Bf16Conv::of_group(unit, weight, bias, rows, columns, depth)),
        _ => Product::Direct(matmul::DirectConv::of_group(engine.isa(), weight, bias, rows, columns, depth)),
    }
}

/// The first channel of each term of a concatenation; none for a term that was written in place.
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
fn channels_last(weight: &[f32], c: usize, [kh, kw]: [usize; 2]) -> Cow<'_, [f32]> {
    let taps = kh * kw;
    if taps == 1 {
        return Cow::Borrowed(weight);
    }
    let mut out = vec![0.0; weight.len()];
    prefer_huge_pages(&mut out);
    for (to, from) in out.chunks_exact_mut(c * taps).zip(weight.chunks_exact(c * taps)) {
        for (channel, values) in from.chunks_exact(taps).enumerate() {
            values.iter().enumerate().for_each(|(tap, &value)| to[tap * c + channel] = value);
        }
    }
    Cow::Owned(out)
}

fn macs(step: &Step) -> u64 {
    let each = match &step.kernel {
        Kernel::Conv { weight, bias, .. }
        | Kernel::Depthwise { weight, bias, .. }
        | Kernel::Dense { weight, bias, .. } => weight.len() / bias.len().max(1),
        // for each query, products with all keys and all values of its window
        Kernel::Attention(AttentionKernel { window: Some(window), .. }) => 2 * window.size[0] * window.size[1],
        Kernel::Attention(_) | Kernel::AttentionPool { .. } => 2 * step.in_shape.len() / step.in_shape.channels(),
        _ => 0,
    };
    (each * step.out_shape.len()) as u64
}
