//! Depthwise convolution of one picture, channels first, with bias and activation fused.
//!
//! Each channel is copied into a zero-padded plane once, columns sorted by their phase in the stride, so that every tap of the kernel reads a
//! contiguous run: output run += weight · input run. With stride 1 the whole plane is a single run, the columns of the padding computed along
//! and thrown away, which keeps the vectors full on 7 × 7 maps.

use crate::models::graph::{Activation, Window};

/// Values computed together: two AVX-512 or four AVX registers.
const LANES: usize = 32;

/// Size of the input map (channels, height, width) and of the output (height, width).
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub channels: usize,
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub window: Window,
}

/// `input` `(c, h, w)` → `output` `(c, oh, ow)`; `weight` `(c, kh, kw)`, `bias` `(c)`. Panics when a slice is shorter than that.
pub fn run(
    geometry: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Option<Activation>,
    output: &mut [f32],
) {
    let plan = Plan::new(geometry);
    let [h, w] = geometry.input;
    let [oh, ow] = geometry.output;
    let taps = geometry.window.kernel[0] * geometry.window.kernel[1];
    let isa = Isa::detect();
    let mut plane = vec![0.0; plan.plane_len];
    let mut runs = vec![0.0; plan.runs * plan.run_len];
    let channels = input.chunks_exact(h * w).zip(output.chunks_exact_mut(oh * ow));
    for ((source, target), (weight, &bias)) in channels.zip(weight.chunks_exact(taps).zip(bias)) {
        plan.fill(geometry, source, &mut plane);
        for (i, run) in runs.chunks_exact_mut(plan.run_len).enumerate() {
            isa.convolve(&plane[i * plan.run_step..], &plan.offsets, weight, bias, run);
        }
        plan.gather(&runs, target, ow, activation);
    }
}

/// Where things lie in the padded plane.
struct Plan {
    /// Floats in a row of one column phase.
    row: usize,
    /// Floats in a padded row: all phases.
    stride: usize,
    plane_len: usize,
    /// For each tap the distance from the start of a run to its input.
    offsets: Vec<usize>,
    runs: usize,
    /// Rounded up to whole vectors.
    run_len: usize,
    /// Distance between the inputs of two runs.
    run_step: usize,
    /// Distance between two rows of outputs in the runs.
    out_row: usize,
}

impl Plan {
    fn new(g: &Geometry) -> Self {
        let Window { kernel, stride, pad } = g.window;
        let rows = g.input[0] + pad.top + pad.bottom;
        let row = (g.input[1] + pad.left + pad.right).div_ceil(stride[1]);
        let full = row * stride[1];
        let offsets = (0..kernel[0] * kernel[1])
            .map(|tap| (tap / kernel[1], tap % kernel[1]))
            .map(|(ky, kx)| ky * full + (kx % stride[1]) * row + kx / stride[1])
            .collect();
        let single = stride == [1, 1];
        let (runs, len) = if single { (1, g.output[0] * full) } else { (g.output[0], g.output[1]) };
        let run_len = len.next_multiple_of(LANES);
        let out_row = if single { full } else { run_len };
        // the last vectors of a run read past its end: room for them, and for the widest tap
        let plane_len = (rows + kernel[0]) * full + run_len + kernel[1] + LANES;
        Self { row, stride: full, plane_len, offsets, runs, run_len, run_step: stride[0] * full, out_row }
    }

    fn fill(&self, g: &Geometry, source: &[f32], plane: &mut [f32]) {
        let (pad, step) = (g.window.pad, g.window.stride[1]);
        for (y, line) in source.chunks_exact(g.input[1]).enumerate() {
            let start = (y + pad.top) * self.stride;
            if step == 1 {
                plane[start + pad.left..][..line.len()].copy_from_slice(line);
                continue;
            }
            for phase in 0..step {
                // the first column that falls into this phase once the padding stands before it
                let first = (phase + step - pad.left % step) % step;
                let target = &mut plane[start + phase * self.row + (first + pad.left) / step..];
                target.iter_mut().zip(line.iter().skip(first).step_by(step)).for_each(|(t, &value)| *t = value);
            }
        }
    }

    fn gather(&self, runs: &[f32], target: &mut [f32], ow: usize, activation: Option<Activation>) {
        for (line, run) in target.chunks_exact_mut(ow).zip(runs.chunks(self.out_row)) {
            line.copy_from_slice(&run[..ow]);
        }
        apply(activation, target);
    }
}

/// Applies an activation in place; `Softmax` is over the whole slice.
pub fn apply(activation: Option<Activation>, values: &mut [f32]) {
    match activation {
        None => {}
        Some(Activation::Relu) => values.iter_mut().for_each(|v| *v = v.max(0.0)),
        Some(Activation::Relu6) => values.iter_mut().for_each(|v| *v = v.clamp(0.0, 6.0)),
        Some(Activation::Softmax) => softmax(values),
    }
}

fn softmax(values: &mut [f32]) {
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.iter_mut().for_each(|v| *v = (*v - max).exp());
    let sum: f32 = values.iter().sum();
    values.iter_mut().for_each(|v| *v /= sum);
}

/// The instruction set in use.
#[derive(Clone, Copy, Debug)]
enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Isa {
    fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Isa::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Isa::Avx2;
            }
        }
        Isa::Portable
    }

    fn convolve(self, input: &[f32], offsets: &[usize], weight: &[f32], bias: f32, run: &mut [f32]) {
        match self {
            // SAFETY: `detect` found the features that the function is compiled for.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { convolve_avx512(input, offsets, weight, bias, run) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { convolve_avx2(input, offsets, weight, bias, run) },
            Isa::Portable => convolve::<false>(input, offsets, weight, bias, run),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn convolve_avx512(input: &[f32], offsets: &[usize], weight: &[f32], bias: f32, run: &mut [f32]) {
    convolve::<true>(input, offsets, weight, bias, run);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn convolve_avx2(input: &[f32], offsets: &[usize], weight: &[f32], bias: f32, run: &mut [f32]) {
    convolve::<true>(input, offsets, weight, bias, run);
}

/// run[i] = bias + Σ weight[t] · input[i + offsets[t]]; `FMA` only where the CPU has it, a library call elsewhere.
#[inline(always)]
fn convolve<const FMA: bool>(input: &[f32], offsets: &[usize], weight: &[f32], bias: f32, run: &mut [f32]) {
    for (start, out) in (0..).step_by(LANES).zip(run.chunks_exact_mut(LANES)) {
        let mut acc = [bias; LANES];
        for (&offset, &w) in offsets.iter().zip(weight) {
            let source = &input[start + offset..][..LANES];
            for (a, &x) in acc.iter_mut().zip(source) {
                *a = if FMA { x.mul_add(w, *a) } else { x * w + *a };
            }
        }
        out.copy_from_slice(&acc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::graph::Pad;
    use proptest::prelude::*;

    /// The definition, in f64.
    fn reference(g: &Geometry, input: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let ([h, w], [oh, ow], Window { kernel, stride, pad }) = (g.input, g.output, g.window);
        let mut out = Vec::new();
        for c in 0..g.channels {
            for (oy, ox) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
                let mut sum = f64::from(bias[c]);
                for (ky, kx) in (0..kernel[0]).flat_map(|y| (0..kernel[1]).map(move |x| (y, x))) {
                    let (y, x) =
                        ((oy * stride[0] + ky).wrapping_sub(pad.top), (ox * stride[1] + kx).wrapping_sub(pad.left));
                    if y < h && x < w {
                        let tap = weight[(c * kernel[0] + ky) * kernel[1] + kx];
                        sum += f64::from(tap) * f64::from(input[(c * h + y) * w + x]);
                    }
                }
                out.push(sum);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn it_computes_the_definition(
            channels in 1usize..4, size in prop::array::uniform2(1usize..20), kernel in prop::array::uniform2(1usize..6),
            stride in prop::array::uniform2(1usize..4), pads in prop::array::uniform4(0usize..4), seed in any::<u32>(),
        ) {
            let pad = Pad { top: pads[0], bottom: pads[1], left: pads[2], right: pads[3] };
            prop_assume!(size[0] + pad.top + pad.bottom >= kernel[0] && size[1] + pad.left + pad.right >= kernel[1]);
            let output = [
                (size[0] + pad.top + pad.bottom - kernel[0]) / stride[0] + 1,
                (size[1] + pad.left + pad.right - kernel[1]) / stride[1] + 1,
            ];
            let geometry = Geometry { channels, input: size, output, window: Window { kernel, stride, pad } };
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            };
            let mut values = |n: usize| (0..n).map(|_| next()).collect::<Vec<f32>>();
            let input = values(channels * size[0] * size[1]);
            let weight = values(channels * kernel[0] * kernel[1]);
            let bias = values(channels);
            let mut out = vec![f32::NAN; channels * output[0] * output[1]];
            run(&geometry, &input, &weight, &bias, None, &mut out);
            for (got, want) in out.iter().zip(reference(&geometry, &input, &weight, &bias)) {
                prop_assert!((f64::from(*got) - want).abs() < 1e-5, "{got} is not {want}");
            }
        }
    }

    #[test]
    fn activations_are_those_of_the_frameworks() {
        let mut v = [-1.0, 3.0, 7.0];
        apply(Some(Activation::Relu6), &mut v);
        assert_eq!(v, [0.0, 3.0, 6.0]);
        let mut v = [1000.0, 1000.0];
        apply(Some(Activation::Softmax), &mut v);
        assert_eq!(v, [0.5, 0.5]);
    }
}
