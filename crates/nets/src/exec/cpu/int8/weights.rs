//! Rounds the weights of a step to int8.

use rayon::prelude::*;

use super::{Int8Layer, Quant};
use crate::exec::cpu::map::Map;
use crate::exec::cpu::memory_plan::Fused;
use crate::exec::lower::Kernel;
use crate::exec::ranges::ChannelRanges;
use featurize_kernels::int8::Requant;

/// The largest weight, of both signs.
const LARGEST: f32 = 127.0;

/// Fractions of the largest weight of a filter that are tried as its clamping bound.
const KEPT: [f32; 7] = [1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7];

/// Adding and subtracting it rounds a number of less than 22 bits to the nearest integer, ties to even: SSE2 has no
/// instruction for that.
const ROUNDING: f32 = 12_582_912.0;

/// The inputs of a filter, by channel: weight i multiplies the bytes of channel `i % channels`.
struct Inputs {
    scale: Vec<f32>,
    /// The zero point, which need not be an integer.
    zero: Vec<f32>,
    /// The means of byte − zero point, and of its square.
    mean: Vec<f32>,
    square: Vec<f32>,
}

impl Inputs {
    /// The statistics of some channels of a value.
    fn of(quant: &Quant, seen: &ChannelRanges, channels: std::ops::Range<usize>) -> Self {
        let scale = quant.scale[channels.clone()].to_vec();
        let zero = quant.offset[channels.clone()].to_vec();
        let by = |values: &[f32], power: i32| -> Vec<f32> {
            values[channels.clone()].iter().zip(&scale).map(|(value, scale)| value / scale.powi(power)).collect()
        };
        let (mean, square) = (by(&seen.mean, 1), by(&seen.square, 2));
        Self { scale, zero, mean, square }
    }
}

/// A filter's integer weights, their scale (`step`), the sum of their products with the zero points of the input, and
/// the mean error of the filter's output.
struct Filter {
    weights: Vec<i8>,
    step: f64,
    zeros: f64,
    shift: f64,
}

/// The integer layer of a step; none for a step in f32. `quants` has the scales of the values, `seen` the calibration
/// of the input.
pub(crate) fn quantise(
    fused: &Fused,
    maps: &[Map],
    quants: &[Option<Quant>],
    seen: Option<&ChannelRanges>,
) -> Option<Int8Layer> {
    if !super::is_integer(fused, maps) {
        return None;
    }
    let (input, seen) = (quants[fused.step.inputs[0]].as_ref()?, seen?);
    let clamps = fused.activation.is_none_or(|activation| activation.limits().is_some());
    let output = quants[fused.step.output].as_ref().filter(|_| clamps);
    let channels = input.scale.len();
    let (filters, bias): (Vec<Filter>, _) = match &fused.step.kernel {
        Kernel::Conv { weight, bias, .. } => {
            let taps = weight.len() / (channels * bias.len());
            let inputs = Inputs::of(input, seen, 0..channels);
            let of = |filter: &[f32]| {
                // (channels, taps) → (taps, channels)
                let weights = (0..taps).flat_map(|tap| filter.iter().skip(tap).step_by(taps).zip(&inputs.scale));
                rounded(&weights.map(|(w, scale)| w * scale).collect::<Vec<f32>>(), &inputs)
            };
            (weight.par_chunks_exact(channels * taps).map(of).collect(), bias)
        }
        Kernel::Depthwise { weight, bias, .. } => {
            let filters = weight.chunks_exact(weight.len() / bias.len()).enumerate();
            let of = |(c, filter): (usize, &[f32])| {
                let inputs = Inputs::of(input, seen, c..c + 1);
                rounded(&filter.iter().map(|w| w * inputs.scale[0]).collect::<Vec<f32>>(), &inputs)
            };
            (filters.map(of).collect(), bias)
        }
        _ => return None,
    };
    let mut requant = Requant::default();
    for (f, (filter, &bias)) in filters.iter().zip(bias).enumerate() {
        let bias = f64::from(bias) - filter.step * filter.zeros - filter.shift;
        // in units of the output's bytes
        let (unit, zero) = output.map_or((1.0, 0.0), |to| (f64::from(to.scale[f]), f64::from(to.offset[f])));
        let mut offset = bias / unit + zero;
        if let Some(value) = fused.added {
            let (scale, zero) =
                quants[value].as_ref().map_or((1.0, 0.0), |term| (f64::from(term.scale[f]), f64::from(term.offset[f])));
            offset -= scale / unit * zero;
            requant.residual.push((scale / unit) as f32);
        }
        requant.scale.push((filter.step / unit) as f32);
        requant.bias.push(offset as f32);
    }
    let weight = filters.into_iter().flat_map(|filter| filter.weights).collect();
    Some(Int8Layer { weight, requant, to_bytes: output.is_some() })
}

/// Rounds the weights of a filter, which were multiplied by the scales of the input.
fn rounded(weights: &[f32], inputs: &Inputs) -> Filter {
    let step = best_step(weights, inputs);
    let mut filter =
        Filter { weights: Vec::with_capacity(weights.len()), step: f64::from(step), zeros: 0.0, shift: 0.0 };
    for weights in weights.chunks_exact(inputs.scale.len()) {
        for (c, &weight) in weights.iter().enumerate() {
            let near = nearest(weight / step);
            filter.weights.push(near as i8);
            filter.zeros += f64::from(near * inputs.zero[c]);
            filter.shift += f64::from(near * step - weight) * f64::from(inputs.mean[c]);
        }
    }
    filter
}

/// The nearest integer weight.
fn nearest(weight: f32) -> f32 {
    (weight.clamp(-LARGEST, LARGEST) + ROUNDING) - ROUNDING
}

/// The scale of a filter's weights for which rounding changes its outputs least.
fn best_step(weights: &[f32], inputs: &Inputs) -> f32 {
    let largest = weights.iter().fold(0.0f32, |most, weight| most.max(weight.abs()));
    if largest < f32::MIN_POSITIVE * 256.0 {
        return 1.0;
    }
    let loss = |step: f32| -> f64 {
        let factor = 1.0 / step;
        let of = |weights: &[f32]| -> f64 {
            // sixteen sums side by side, which the compiler turns into vectors
            let mut sums = [0.0f32; 16];
            for (weights, squares) in weights.chunks(16).zip(inputs.square.chunks(16)) {
                for (sum, (weight, square)) in sums.iter_mut().zip(weights.iter().zip(squares)) {
                    let error = nearest(weight * factor) * step - weight;
                    *sum += error * error * square;
                }
            }
            sums.iter().map(|&sum| f64::from(sum)).sum()
        };
        weights.chunks_exact(inputs.scale.len()).map(of).sum()
    };
    let steps = KEPT.map(|kept| kept * largest / LARGEST).map(|step| (loss(step), step));
    steps.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).map_or(largest / LARGEST, |(_, step)| step)
}
