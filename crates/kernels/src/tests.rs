//! Compares each kernel with its definition in plain f64, on every instruction set of this CPU, over random shapes.
//! Every slice ends with the last value that a kernel may touch, so that AddressSanitizer, valgrind and Miri, with
//! which `.ci/kernels-check` runs these tests, detect an access beyond it.

use proptest::prelude::*;

use super::activation::tests::definition;
use super::bf16::{Bf16Conv, Bf16Isa, bf16};
use super::dense::Dense;
use super::depthwise::{DepthwiseConv, DepthwiseLayout};
use super::layer::reach;
use super::matmul::{Columns, DirectConv, GemmOffsets};
use super::peak::noise as values;
use super::pool::{Pool, PoolMap};
use super::residual::Residual;
use super::simd::Isa;
use crate::{Activation, Pad, Pooling, Window};

const CASES: u32 = if cfg!(miri) { 6 } else { 200 };
/// A value that no kernel computes here; it marks places that were not written.
const UNTOUCHED: f32 = 12345.0;

/// A sum, and the sum of the absolute values of its terms, to which the rounding error is relative.
#[derive(Clone, Copy, Default)]
struct Sum([f64; 2]);

impl Sum {
    fn plus(self, term: f64) -> Self {
        Self([self.0[0] + term, self.0[1] + term.abs()])
    }

    /// Whether `found` is the sum after `activation`, within the rounding error.
    fn is(self, found: f32, activation: Option<Activation>) -> bool {
        let expected = activation.map_or(self.0[0], |activation| definition(activation, self.0[0]));
        (f64::from(found) - expected).abs() <= 2e-6 * self.0[1] + 1e-30
    }
}

fn activation(kind: usize) -> Option<Activation> {
    [None, Some(Activation::Relu), Some(Activation::Relu6), Some(Activation::Silu)][kind]
}

/// Values rounded to bf16, and the rounded values as f32.
fn halved(values: &[f32]) -> (Vec<bf16>, Vec<f32>) {
    let halves: Vec<bf16> = values.iter().map(|&v| bf16::from_f32(v)).collect();
    let wide = halves.iter().map(|v| v.to_f32()).collect();
    (halves, wide)
}

fn same(a: &[bf16], b: &[bf16]) -> bool {
    a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn products_are_their_definition(
        rows in 1usize..4, depth in 1usize..30, filters in 1usize..70, positions in 1usize..33, gap in 0usize..4,
        add in any::<bool>(),
        threads in 2usize..5, kind in 0usize..4, seed in any::<u32>(),
    ) {
        let (row, pitch) = (depth + gap, filters + gap);
        let input = values((positions - 1) * (1 + gap) + (rows - 1) * row + depth, seed);
        let (weight, bias) = (values(filters * rows * depth, seed ^ 1), values(filters, seed ^ 2));
        let added = values(positions * filters, seed ^ 3);
        let starts: Vec<u32> = (0..positions).map(|p| (p * (1 + gap)) as u32).collect();
        let outs: Vec<u32> = (0..positions).rev().map(|p| (p * pitch) as u32).collect();
        let adds: Vec<u32> = (0..positions).map(|p| (p * filters) as u32).collect();
        for isa in Isa::available() {
            let conv = DirectConv::new(isa, &weight, &bias, rows, depth);
            let run = |threads: usize, range: std::ops::Range<usize>| {
                let mut output = vec![UNTOUCHED; (positions - 1) * pitch + filters];
                let at = Residual::at(add.then_some(&adds[range.clone()]));
                let (window_starts, output_starts) = (&starts[range.clone()], &outs[range]);
                let offsets = GemmOffsets { window_starts, row_stride: row, output_starts, residual: at };
                conv.run(threads, &offsets, &input, &added, activation(kind), &mut output);
                output
            };
            let output = run(1, 0..positions);
            prop_assert_eq!(&run(threads, 0..positions), &output, "{:?}: {} threads", isa, threads);
            // The result has the same bits with the residual in place.
            for threads in [1, threads].into_iter().filter(|_| add) {
                let mut in_place = vec![UNTOUCHED; output.len()];
                let terms = outs.iter().zip(added.chunks_exact(filters));
                terms.for_each(|(&out, term)| in_place[out as usize..][..filters].copy_from_slice(term));
                let (window_starts, output_starts) = (&starts, &outs);
                let residual = Residual::InPlace;
                let offsets = GemmOffsets { window_starts, row_stride: row, output_starts, residual };
                conv.run(threads, &offsets, &input, &[], activation(kind), &mut in_place);
                prop_assert_eq!(&in_place, &output, "{:?}: residual in place, {} threads", isa, threads);
            }
            for (p, &out) in outs.iter().enumerate() {
                let out = out as usize;
                for (f, &found) in output[out..out + filters].iter().enumerate() {
                    let mut sum = Sum::default().plus(f64::from(bias[f]));
                    for (y, i) in (0..rows).flat_map(|y| (0..depth).map(move |i| (y, i))) {
                        let x = input[starts[p] as usize + y * row + i];
                        sum = sum.plus(f64::from(x) * f64::from(weight[(f * rows + y) * depth + i]));
                    }
                    let sum = if add { sum.plus(f64::from(added[p * filters + f])) } else { sum };
                    prop_assert!(sum.is(found, activation(kind)), "{isa:?}: position {p}, filter {f}: {found}");
                }
                let beside = output[out + filters..].iter().take(gap);
                prop_assert!(beside.copied().all(|v| v == UNTOUCHED), "{isa:?} writes beside its filters");
                // A position that is computed alone has the same bits.
                prop_assert_eq!(&run(1, p..p + 1)[out..out + filters], &output[out..out + filters], "{:?}", isa);
            }
        }
    }

    #[test]
    fn columns_that_lie_apart_give_the_bits_of_gathered_windows(
        rows in 1usize..4, count in 1usize..4, depth in 1usize..30, filters in 1usize..40, positions in 1usize..20,
        gap in 0usize..9, seed in any::<u32>(),
    ) {
        let columns = Columns { count, stride: depth + gap };
        let row = count * columns.stride + gap;
        let input = values(positions + columns.span(rows, row, depth) - 1, seed);
        let (weight, bias) = (values(filters * rows * count * depth, seed ^ 1), values(filters, seed ^ 2));
        let segments = |p: usize| (0..rows * count).map(move |i| p + i / count * row + i % count * columns.stride);
        let gathered: Vec<f32> =
            (0..positions).flat_map(segments).flat_map(|at| &input[at..at + depth]).copied().collect();
        let starts = |apart: usize| (0..positions).map(|p| (p * apart) as u32).collect::<Vec<_>>();
        let (near, far, outs) = (starts(1), starts(rows * count * depth), starts(filters));
        let residual = Residual::None;
        let apart = GemmOffsets { window_starts: &near, row_stride: row, output_starts: &outs, residual };
        let together = GemmOffsets { window_starts: &far, row_stride: depth, ..apart };
        let (halves, gathered_halves) = (halved(&input).0, halved(&gathered).0);
        for isa in Isa::available() {
            let (mut found, mut expected) = (vec![0.0; positions * filters], vec![0.0; positions * filters]);
            let conv = DirectConv::of_group(isa, &weight, &bias, rows, columns, depth);
            conv.run(2, &apart, &input, &[], None, &mut found);
            let conv = DirectConv::new(isa, &weight, &bias, rows * count, depth);
            conv.run(1, &together, &gathered, &[], None, &mut expected);
            prop_assert_eq!(found, expected, "{:?}", isa);
        }
        for isa in Bf16Isa::available().into_iter().filter(|isa| isa.name() == "bf16") {
            let mut found = vec![bf16::ZERO; positions * filters];
            let mut expected = found.clone();
            let conv = Bf16Conv::of_group(isa, &weight, &bias, rows, columns, depth);
            conv.run(2, &apart, &halves, &[], None, &mut found, &mut []);
            let conv = Bf16Conv::new(isa, &weight, &bias, rows * count, depth);
            conv.run(1, &together, &gathered_halves, &[], None, &mut expected, &mut []);
            prop_assert!(same(&found, &expected), "{isa:?}");
        }
    }

    #[test]
    fn depthwise_convolutions_are_their_definition(
        kernel in prop::array::uniform2(1usize..8), stride in prop::array::uniform2(1usize..4),
        output in prop::array::uniform2(1usize..12), dilation in prop::array::uniform2(1usize..4),
        usual in any::<bool>(), channels in 1usize..40, gap in 0usize..4, threads in 2usize..5, kind in 0usize..4,
        seed in any::<u32>(),
    ) {
        // Half of the cases have the sizes of networks, for which there are special kernels.
        let special = ([3 + kernel[0] % 3 * 2; 2], [1 + stride[0] % 2; 2]);
        let (kernel, stride) = if usual { special } else { (kernel, stride) };
        let dilation = if usual { [1, 1] } else { dilation };
        let [oh, ow] = output;
        let reach = reach(kernel, dilation);
        let row = ((ow - 1) * stride[1] + reach[1]) * channels + gap;
        let input = values(gap + ((oh - 1) * stride[0] + reach[0] - 1) * row + row - gap, seed);
        let (taps, pixel) = (kernel[0] * kernel[1], channels + gap);
        let (weight, bias) = (values(channels * taps, seed ^ 1), values(channels, seed ^ 2));
        let out_row = ow * pixel + gap;
        let layout = DepthwiseLayout {
            input_start: gap,
            input_row_stride: row,
            stride,
            output_start: gap,
            output_row_stride: out_row,
            output_pixel_stride: pixel,
            output_size: output,
        };
        let (halves, wide) = halved(&input);
        let conv = DepthwiseConv::new(&weight, &bias, kernel).dilated(dilation);
        for isa in Bf16Isa::available() {
            let mut expected = vec![UNTOUCHED; gap + (oh - 1) * out_row + (ow - 1) * pixel + channels];
            let mut found = halved(&expected).0;
            // Only clamps are compared: a clamped value is rounded once, but other activations are applied to rounded
            // values.
            conv.run(isa.isa(), 1, &layout, &wide, activation(kind % 3), &mut expected);
            conv.run(isa, threads, &layout, &halves, activation(kind % 3), &mut found);
            prop_assert!(same(&halved(&expected).0, &found), "{isa:?}");
        }
        for isa in Isa::available() {
            let mut found = vec![UNTOUCHED; gap + (oh - 1) * out_row + (ow - 1) * pixel + channels];
            let mut shared = found.clone();
            conv.run(isa, 1, &layout, &input, activation(kind), &mut found);
            conv.run(isa, threads, &layout, &input, activation(kind), &mut shared);
            prop_assert_eq!(&shared, &found, "{:?}: {} threads", isa, threads);
            for (y, x) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
                let at = gap + y * out_row + x * pixel;
                for c in 0..channels {
                    let mut sum = Sum::default().plus(f64::from(bias[c]));
                    for (i, j) in (0..kernel[0]).flat_map(|i| (0..kernel[1]).map(move |j| (i, j))) {
                        let (y, x) = (y * stride[0] + i * dilation[0], x * stride[1] + j * dilation[1]);
                        let v = input[gap + y * row + x * channels + c];
                        sum = sum.plus(f64::from(v) * f64::from(weight[c * taps + i * kernel[1] + j]));
                    }
                    prop_assert!(sum.is(found[at + c], activation(kind)), "{isa:?}: ({y}, {x}), channel {c}");
                }
                let beside = found[at + channels..].iter().take(gap);
                prop_assert!(beside.copied().all(|v| v == UNTOUCHED), "{isa:?} writes beside its channels");
            }
        }
    }

    #[test]
    fn dense_layers_are_their_definition(
        inputs in 1usize..700, outputs in 1usize..11, pictures in 1usize..7, gap in 0usize..4, kind in 0usize..4,
        seed in any::<u32>(),
    ) {
        let strides = [inputs + gap, outputs + gap];
        let input = values((pictures - 1) * strides[0] + inputs, seed);
        let (weight, bias) = (values(outputs * inputs, seed ^ 1), values(outputs, seed ^ 2));
        for isa in Isa::available() {
            let mut found = vec![UNTOUCHED; (pictures - 1) * strides[1] + outputs];
            let dense = Dense::new(isa, weight.clone(), bias.clone());
            let mut shared = found.clone();
            dense.run(1, pictures, strides, &input, activation(kind), &mut found);
            dense.run(3, pictures, strides, &input, activation(kind), &mut shared);
            prop_assert_eq!(&shared, &found, "{:?}: three threads", isa);
            for (p, o) in (0..pictures).flat_map(|p| (0..outputs).map(move |o| (p, o))) {
                let terms = input[p * strides[0]..].iter().zip(&weight[o * inputs..][..inputs]);
                let plus = |sum: Sum, (&x, &w): (&f32, &f32)| sum.plus(f64::from(x) * f64::from(w));
                let sum = terms.fold(Sum::default().plus(f64::from(bias[o])), plus);
                prop_assert!(sum.is(found[p * strides[1] + o], activation(kind)), "{isa:?}: picture {p}, output {o}");
            }
            let beside = (1..pictures).flat_map(|p| found[p * strides[1] - gap..p * strides[1]].to_vec());
            prop_assert!(beside.into_iter().all(|v| v == UNTOUCHED), "{isa:?} writes beside its outputs");
        }
    }

    #[test]
    fn pools_are_their_definition(
        size in prop::array::uniform2(1usize..14), kernel in prop::array::uniform2(1usize..5),
        stride in prop::array::uniform2(1usize..4),
        pad in prop::array::uniform4(0usize..3), channels in 1usize..40, kind in 0usize..4, seed in any::<u32>(),
    ) {
        let [top, bottom, left, right] = pad;
        let [most_rows, most_columns] = kernel.map(|n| n - 1);
        let (top, bottom) = (top.min(most_rows), bottom.min(most_rows));
        let pad = Pad { top, bottom, left: left.min(most_columns), right: right.min(most_columns) };
        let padded = [size[0] + pad.top + pad.bottom, size[1] + pad.left + pad.right];
        prop_assume!(padded[0] >= kernel[0] && padded[1] >= kernel[1]);
        let output = [0, 1].map(|d| (padded[d] - kernel[d]) / stride[d] + 1);
        let input = values(size[0] * size[1] * channels, seed);
        let dense = |size: [usize; 2]| {
            let row_stride = size[1] * channels;
            PoolMap { start: 0, pixel_stride: channels, row_stride, size, rows: 0..size[0] }
        };
        let pooling = [Pooling::Max, Pooling::Max, Pooling::Avg, Pooling::AvgWithPad][kind];
        let (halves, wide) = halved(&input);
        let pool = Pool { pooling, window: Window::new(kernel, stride, pad), zeros: kind == 1, channels };
        for isa in Bf16Isa::available() {
            let mut expected = vec![UNTOUCHED; output[0] * output[1] * channels];
            let mut found = halved(&expected).0;
            pool.run(isa.isa(), &dense(size), &wide, &dense(output), &mut expected);
            pool.run(isa, &dense(size), &halves, &dense(output), &mut found);
            prop_assert!(same(&halved(&expected).0, &found), "{isa:?}");
        }
        for isa in Isa::available() {
            let mut found = vec![UNTOUCHED; output[0] * output[1] * channels];
            pool.run(isa, &dense(size), &input, &dense(output), &mut found);
            for (i, &found) in found.iter().enumerate() {
                let (y, x, c) = (i / channels / output[1], i / channels % output[1], i % channels);
                let (top, left) = (y * stride[0], x * stride[1]);
                let window = (0..kernel[0]).flat_map(|i| (0..kernel[1]).map(move |j| (top + i, left + j)));
                let seen: Vec<Option<f32>> = window.map(|(y, x)| {
                    let (y, x) = (y.checked_sub(pad.top)?, x.checked_sub(pad.left)?);
                    (y < size[0] && x < size[1]).then(|| input[(y * size[1] + x) * channels + c])
                }).collect();
                let inside: Vec<f32> = seen.iter().flatten().copied().collect();
                let mean = |n: usize| (inside.iter().map(|&v| f64::from(v)).sum::<f64>() / n as f64) as f32;
                let expected = match kind {
                    0 => inside.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                    1 => seen.iter().map(|v| v.unwrap_or(0.0)).fold(f32::NEG_INFINITY, f32::max),
                    2 => mean(inside.len()),
                    _ => mean(seen.len()),
                };
                let near = expected == found || (kind > 1 && (expected - found).abs() < 1e-5);
                prop_assert!(near, "{isa:?}: {kind}: {i}: {found}, not {expected}");
            }
        }
    }
}

/// Reads one float too many, from memory that was never written: each tool of `.ci/kernels-check` must find it.
#[cfg(fault)]
#[test]
#[ignore = "it is a fault"]
fn a_fault() {
    let mut short = Vec::<f32>::with_capacity(7);
    short.resize(7, 1.0);
    for isa in Isa::available() {
        // SAFETY: this is the fault that the tools must find: the slice is longer than the vector.
        let read = unsafe { std::slice::from_raw_parts(short.as_ptr(), 8) };
        let dense = Dense::new(isa, vec![1.0; 8], vec![0.0]);
        let mut out = [0.0];
        dense.run(1, 1, [8, 1], read, None, &mut out);
        println!("{}", if out[0] > 7.5 { "more" } else { "less" });
    }
}
