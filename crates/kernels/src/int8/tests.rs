//! Compares the products of bytes with their definition, integer by integer, on every instruction set of this CPU.
//! Slices end with the last byte that a kernel may touch.

use proptest::prelude::*;

use super::{Int8Conv, Int8Depthwise, Int8Input, Int8Isa, Int8Output, Requant, to_byte};
use crate::depthwise::DepthwiseLayout;
use crate::matmul::GemmOffsets;
use crate::peak::noise;
use crate::pool::{Pool, PoolMap};
use crate::residual::Residual;
use crate::{Activation, Pad, Pooling, Window};

/// Bytes of every size, the extremes among them.
fn bytes(n: usize, seed: u32) -> Vec<u8> {
    noise(n, seed).iter().map(|v| to_byte(127.5 + 160.0 * v)).collect()
}

/// Weights of every size, ±127 among them.
fn weights(n: usize, seed: u32) -> Vec<i8> {
    noise(n, seed).iter().map(|v| (160.0 * v).clamp(-127.0, 127.0) as i8).collect()
}

fn requant(filters: usize, terms: usize, seed: u32) -> Requant {
    let values = |seed, scale: f32| noise(filters, seed).iter().map(|v| v * scale).collect::<Vec<f32>>();
    let scale = values(seed, 0.02 / (terms as f32).sqrt());
    let bias = values(seed ^ 1, 80.0).iter().map(|v| v + 128.0).collect();
    Requant { scale, bias, residual: values(seed ^ 2, 0.7) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 300 }))]

    #[test]
    fn products_are_their_definition_on_every_isa(
        // rows of whole cache lines are read in place by AMX
        rows in 1usize..4, depth in prop_oneof![1usize..70, Just(64usize), Just(128)], filters in 1usize..70,
        positions in 1usize..40, gap in prop_oneof![0usize..5, Just(63usize)],
        add in any::<bool>(), relu6 in any::<bool>(), threads in 2usize..5, seed in any::<u32>(),
    ) {
        let (row, pitch) = (depth + gap, filters + gap);
        let input = bytes((positions - 1) * (1 + gap) + (rows - 1) * row + depth.next_multiple_of(4), seed);
        let weight = weights(filters * rows * depth, seed ^ 1);
        let mut requant = requant(filters, rows * depth, seed ^ 2);
        if !add {
            requant.residual.clear();
        }
        let residual = bytes(positions * filters, seed ^ 3);
        let wide: Vec<f32> = residual.iter().map(|&v| f32::from(v)).collect();
        let starts: Vec<u32> = (0..positions).map(|p| (p * (1 + gap)) as u32).collect();
        let outs: Vec<u32> = (0..positions).rev().map(|p| (p * pitch) as u32).collect();
        let adds: Vec<u32> = (0..positions).map(|p| (p * filters) as u32).collect();
        let value = |p: usize, f: usize| {
            let terms = (0..rows).flat_map(|y| (0..depth).map(move |i| (y, i)));
            let sum: i32 = terms.map(|(y, i)| {
                let x = input[starts[p] as usize + y * row + i];
                i32::from(x) * i32::from(weight[(f * rows + y) * depth + i])
            }).sum();
            let sum = sum as f32 * requant.scale[f] + requant.bias[f];
            if add { sum + f32::from(residual[p * filters + f]) * requant.residual[f] } else { sum }
        };
        let activation = relu6.then_some(Activation::Relu6);
        let at = Residual::at(add.then_some(&adds[..]));
        let offsets = GemmOffsets { window_starts: &starts, row_stride: row, output_starts: &outs, residual: at };
        let len = (positions - 1) * pitch + filters;
        for isa in Int8Isa::available() {
            let conv = Int8Conv::new(isa, &weight, requant.clone(), rows, depth);
            for threads in [1, threads] {
                let (mut found, mut floats) = (vec![77; len], vec![77.5; len]);
                let narrow = Int8Input::Bytes(&residual);
                let run = |offsets: &GemmOffsets, residual: Int8Input, output: Int8Output| {
                    // The scratch is as short as is allowed, and all NaN.
                    let mut scratch = vec![f32::NAN; conv.scratch_len(threads)];
                    conv.run(threads, offsets, &input, residual, output, &mut scratch);
                };
                run(&offsets, narrow, Int8Output::Bytes(&mut found));
                run(&offsets, narrow, Int8Output::Floats(&mut floats, activation));
                if add {
                    let offsets = GemmOffsets { residual: Residual::InPlace, ..offsets };
                    let places = || outs.iter().map(|&out| out as usize..out as usize + filters);
                    let (mut in_place, mut wide_in_place) = (vec![77; len], vec![77.5; len]);
                    for (place, from) in places().zip((0..).step_by(filters)) {
                        in_place[place.clone()].copy_from_slice(&residual[from..from + filters]);
                        wide_in_place[place].copy_from_slice(&wide[from..from + filters]);
                    }
                    run(&offsets, Int8Input::Bytes(&[]), Int8Output::Bytes(&mut in_place));
                    prop_assert_eq!(&in_place, &found, "{:?}: residual in place, {} threads", isa, threads);
                    let to = Int8Output::Floats(&mut wide_in_place, activation);
                    run(&offsets, Int8Input::Bytes(&[]), to);
                    prop_assert_eq!(&wide_in_place, &floats, "{:?}: f32 in place, {} threads", isa, threads);
                }
                let mut of_wide = vec![77; len];
                run(&offsets, Int8Input::Floats(&wide), Int8Output::Bytes(&mut of_wide));
                prop_assert_eq!(&of_wide, &found, "{:?}: residual of f32, {} threads", isa, threads);
                for (p, &out) in outs.iter().enumerate() {
                    let out = out as usize;
                    for f in 0..filters {
                        let expected = value(p, f);
                        prop_assert_eq!(found[out + f], to_byte(expected), "{:?}: {} {}: {}", isa, p, f, expected);
                        let expected = if relu6 { expected.clamp(0.0, 6.0) } else { expected };
                        prop_assert_eq!(floats[out + f].to_bits(), expected.to_bits(), "{:?}: {} {}", isa, p, f);
                    }
                    let beside = out + filters..(out + pitch).min(len);
                    let untouched = found[beside.clone()].iter().all(|&v| v == 77)
                        && floats[beside].iter().all(|&v| v == 77.5);
                    prop_assert!(untouched, "{isa:?} writes beside its filters");
                }
            }
        }
    }

    #[test]
    fn depthwise_convolutions_are_their_definition_on_every_isa(
        size in prop::array::uniform2(1usize..9), kernel in prop::array::uniform2(1usize..9),
        stride in prop::array::uniform2(1usize..4), channels in 1usize..50, gap in 0usize..4, threads in 2usize..4,
        seed in any::<u32>(),
    ) {
        let [height, width] = size;
        let lines = (height - 1) * stride[0] + kernel[0];
        let columns = (width - 1) * stride[1] + kernel[1];
        let (row, pixel) = (columns * channels + gap, channels + gap);
        let (out_row, taps) = (width * pixel + gap, kernel[0] * kernel[1]);
        let input = bytes(gap + (lines - 1) * row + columns * channels, seed);
        let weight = weights(channels * taps, seed ^ 1);
        let requant = Requant { residual: Vec::new(), ..requant(channels, taps, seed ^ 2) };
        let layout = DepthwiseLayout {
            input_start: gap,
            input_row_stride: row,
            stride,
            output_start: gap,
            output_row_stride: out_row,
            output_pixel_stride: pixel,
            output_size: size,
        };
        let mut expected = vec![77; gap + (height - 1) * out_row + (width - 1) * pixel + channels];
        for (y, x, c) in (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..channels).map(move |c| (y, x, c)))) {
            let window = (0..kernel[0]).flat_map(|i| (0..kernel[1]).map(move |j| (i, j)));
            let sum: i32 = window.map(|(i, j)| {
                let v = input[gap + (y * stride[0] + i) * row + (x * stride[1] + j) * channels + c];
                i32::from(v) * i32::from(weight[c * taps + i * kernel[1] + j])
            }).sum();
            expected[gap + y * out_row + x * pixel + c] = to_byte(sum as f32 * requant.scale[c] + requant.bias[c]);
        }
        for isa in Int8Isa::available() {
            let conv = Int8Depthwise::new(isa, &weight, requant.clone(), kernel, stride[1]);
            for threads in [1, threads] {
                let (mut found, mut floats) = (vec![77; expected.len()], vec![77.0; expected.len()]);
                conv.run(threads, &layout, &input, Int8Output::Bytes(&mut found));
                prop_assert_eq!(&found, &expected, "{:?}: {} threads", isa, threads);
                conv.run(threads, &layout, &input, Int8Output::Floats(&mut floats, None));
                prop_assert!(floats.iter().zip(&expected).all(|(&a, &b)| to_byte(a) == b), "{isa:?}: floats");
            }
        }
    }

    #[test]
    fn pools_are_those_of_floats_rounded(
        size in prop::array::uniform2(3usize..14), kernel in 1usize..4, stride in 1usize..3, channels in 1usize..40,
        kind in 0usize..3, seed in any::<u32>(),
    ) {
        let pooling = [Pooling::Max, Pooling::Avg, Pooling::AvgWithPad][kind];
        let side = kernel / 2;
        let pad = Pad { top: side, bottom: side, left: side, right: side };
        let output = size.map(|n| (n + 2 * side - kernel) / stride + 1);
        let map = |size: [usize; 2]| {
            PoolMap { start: 0, pixel_stride: channels, row_stride: size[1] * channels, size, rows: 0..size[0] }
        };
        let input = bytes(size[0] * size[1] * channels, seed);
        let wide: Vec<f32> = input.iter().map(|&v| f32::from(v)).collect();
        for isa in Int8Isa::available() {
            let window = Window::new([kernel; 2], [stride; 2], pad);
            let pool = Pool { pooling, window, zeros: false, channels };
            let mut expected = vec![0.0; output[0] * output[1] * channels];
            let mut found = vec![77; expected.len()];
            pool.run(isa.isa(), &map(size), &wide, &map(output), &mut expected);
            pool.run(isa, &map(size), &input, &map(output), &mut found);
            prop_assert!(found.iter().zip(&expected).all(|(&a, &b)| a == to_byte(b)), "{isa:?}");
        }
    }
}

#[test]
fn the_largest_products_are_exact() {
    // Sums of two products in 16 bits would saturate.
    for (x, w) in [(255, 127), (255, -127), (128, -127)] {
        for isa in Int8Isa::available() {
            let requant = Requant { scale: vec![1.0; 33], bias: vec![0.0; 33], residual: Vec::new() };
            let conv = Int8Conv::new(isa, &vec![w; 33 * 64], requant, 1, 64);
            let offsets =
                GemmOffsets { window_starts: &[0], row_stride: 0, output_starts: &[0], residual: Residual::None };
            let (mut found, mut scratch) = ([0.0; 33], vec![f32::NAN; conv.scratch_len(1)]);
            let to = Int8Output::Floats(&mut found, None);
            conv.run(1, &offsets, &[x; 64], Int8Input::Bytes(&[]), to, &mut scratch);
            assert_eq!(found, [f32::from(x) * f32::from(w) * 64.0; 33], "{isa:?}");
        }
    }
}

#[test]
fn bytes_are_the_nearest_and_ties_are_even() {
    let values = [-3.0, -0.5, 0.5, 0.500_001, 1.5, 2.5, 254.5, 254.6, 255.5, 1e30, f32::NAN];
    assert_eq!(values.map(to_byte), [0, 0, 0, 1, 2, 2, 254, 255, 255, 255, 0]);
}

#[test]
fn values_move_to_another_scale_alike_on_every_isa() {
    for (n, period) in [(1, 16), (48, 48), (5, 32), (100, 16), (100, 48)] {
        let (from, factor, zero) = (noise(n, 1), noise(period, 2), noise(period, 3));
        let [factor, zero] = [factor, zero].map(|v| v.iter().map(|v| 200.0 * v).collect::<Vec<f32>>());
        let levels = bytes(n, 4);
        let widened: Vec<f32> = levels.iter().map(|&v| f32::from(v)).collect();
        for (from, values) in [(Int8Input::Floats(&from), &from), (Int8Input::Bytes(&levels), &widened)] {
            let moved = values.iter().enumerate().map(|(i, v)| v * factor[i % period] + zero[i % period]);
            let expected: Vec<f32> = moved.collect();
            let rounded: Vec<u8> = expected.iter().map(|&v| to_byte(v)).collect();
            for isa in Int8Isa::available() {
                let (mut found, mut floats) = (vec![9; n], vec![9.0; n]);
                isa.rescale(from, &factor, &zero, Int8Output::Bytes(&mut found));
                isa.rescale(from, &factor, &zero, Int8Output::Floats(&mut floats, None));
                assert_eq!((found, &floats), (rounded.clone(), &expected), "{isa:?}");
            }
        }
    }
}
