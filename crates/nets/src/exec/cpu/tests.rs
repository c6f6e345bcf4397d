//! The kernels against the definition, on every instruction set of this CPU.

use proptest::prelude::*;

use self::dilated::dilated;
use super::Engine;
use super::network::{MICRO_BATCH, Network};
use crate::exec::Precision;
use crate::exec::lower::lower;
use crate::exec::{Device, candle};
use crate::models::builder::{Builder, Conv, Pool};
use crate::models::graph::{Activation, FlattenOrder, Graph, Op, Pad, Window};
use crate::models::{BuildOptions, LayerId, Source, find};
use crate::weights::{Origin, WeightSet};
use featurize_kernels::bf16::Bf16Isa;
use featurize_kernels::peak::noise as values;
use featurize_kernels::simd::Isa;

mod dilated;
mod tokens;

/// ‖ours − reference‖ / ‖reference‖. If the terms of few sums nearly cancel (five outputs of 0.01 from values of order
/// one), rounding is large against the result: the divisor is at least that of outputs of 0.1.
fn error(ours: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(ours.len(), reference.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let difference = square(&mut ours.iter().zip(reference).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    let least = 0.01 * reference.len() as f64;
    (difference / square(&mut reference.iter().map(|&b| f64::from(b))).max(least)).sqrt()
}

/// Runs both executors on one picture and gives the largest relative error of a tap on any instruction set.
fn compare(graph: &Graph, weights: &WeightSet, taps: &[LayerId], size: [usize; 3]) -> f64 {
    let [h, w, c] = size;
    let hwc = values(h * w * c, 7);
    let chw: Vec<f32> = (0..c).flat_map(|k| hwc.iter().skip(k).step_by(c).copied()).collect();
    let program = lower(graph, weights, taps).expect("lowered");
    let reference = candle::Network::new(program.clone(), &Device::cpu()).expect("uploaded");
    let reference = reference.forward(&chw, 1).expect("candle");
    let mut worst: f64 = 0.0;
    for engine in Engine::available(Precision::F32) {
        let network = Network::new(program.clone(), engine).expect("planned");
        let mut scratch = network.scratch(1);
        let first = network.forward(&mut scratch, &hwc, 1);
        // the same picture after five others: the second of a second micro-batch
        let crowd: Vec<f32> = values(5 * hwc.len(), 99).into_iter().chain(hwc.iter().copied()).collect();
        let crowd = network.forward(&mut scratch, &crowd, 6);
        for (alone, crowd) in first.iter().zip(&crowd) {
            assert!(
                crowd.len() == 6 * alone.len() && crowd.ends_with(alone),
                "{engine:?}: a picture's bits depend on its neighbours"
            );
        }
        // three threads that compute each layer together
        let mut shared = network.scratch(3);
        for pictures in [&hwc[..], &hwc.repeat(5)] {
            let (found, n) =
                (network.forward(&mut shared, pictures, pictures.len() / hwc.len()), pictures.len() / hwc.len());
            let same = first.iter().zip(&found).all(|(alone, found)| alone.repeat(n) == *found);
            assert!(same, "{engine:?}: a picture's bits depend on the number of threads");
        }
        for (ours, reference) in first.iter().zip(&reference) {
            worst = worst.max(error(ours, reference));
        }
    }
    worst
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_block_of_every_shape_gives_what_candle_gives(
        size in prop::array::uniform2(1usize..18), channels in 1usize..40, filters in 1usize..70, kernel in 1usize..6,
        wide in 1usize..6, stride in 1usize..3, pad in 0usize..3, same in any::<bool>(), relu6 in any::<bool>(), seed in any::<u64>(),
    ) {
        let activation = if relu6 { Activation::Relu6 } else { Activation::Relu };
        let [h, w] = size;
        let (mut g, x) = Builder::new(channels, h, w);
        let padded = |conv: Conv| if same { conv.same() } else { conv.pad(pad) };
        let y = g.conv("conv", x, padded(Conv::new(filters).kernel(kernel).stride(stride).bias()));
        let y = g.batch_norm("norm", y, 1e-3);
        let y = g.activation("act", y, activation);
        let z = g.conv("dw", y, Conv::depthwise().kernel(wide).stride(stride).same());
        let z = g.activation("dw_act", z, activation);
        let p = g.conv("point", z, Conv::new(filters));
        let p = g.batch_norm("point_norm", p, 1e-3);
        let s = g.add("sum", p, z);
        let s = g.activation("sum_act", s, Activation::Relu);
        let m = g.global_avg_pool("pool", s);
        let d = g.dense("fc", m, filters + 3);
        let unit = g.push("unit", Op::Normalize, &[d], g.shape(d));
        let soft = g.softmax("soft", unit);
        let Ok(graph) = g.finish(s, soft) else { return Ok(()) };
        let weights = Origin::Random(seed).load(&graph, Source::Timm, &[]).expect("random");
        let tap = |name: &str| graph.find(name).expect("a layer");
        // once with as much fused as possible, once with taps that prevent it
        let fused = compare(&graph, &weights, &[tap("sum_act"), tap("soft")], [h, w, channels]);
        let apart = compare(&graph, &weights, &[tap("conv"), tap("act"), tap("point"), tap("sum"), tap("soft")], [h, w, channels]);
        prop_assert!(fused < 1e-5 && apart < 1e-5, "{fused:e} {apart:e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn branches_pools_and_dense_layers_of_every_shape_give_what_candle_gives(
        size in prop::array::uniform2(3usize..40), channels in 1usize..20, filters in 1usize..40, kernel in 1usize..4,
        stride in 1usize..4, pad in 0usize..2, ceil in any::<bool>(), counted in any::<bool>(), last in any::<bool>(), seed in any::<u64>(),
    ) {
        let [h, w] = size;
        let pad = pad.min(kernel / 2);
        let (mut g, x) = Builder::new(channels, h, w);
        let of = |pool: Pool| { let pool = pool.stride(stride).pad(pad); if ceil { pool.ceil() } else { pool } };
        let x = g.batch_norm("first_norm", x, 1e-3);
        let wide = g.conv("wide", x, Conv::new(filters).kernel2(1, 3).pad2(0, 1));
        let tall = g.conv("tall", x, Conv::new(filters + 1).kernel2(3, 1).pad2(1, 0));
        let both = g.concat("both", &[wide, tall]);
        let kept = g.relu("kept", wide);
        let inner = g.concat("inner", &[both, x, kept]);
        let twice = g.concat("twice", &[inner, x, x]);
        let scaled = g.batch_norm("scaled", twice, 1e-3);
        let y = g.relu("scaled_relu", scaled);
        let max = g.pool("max", y, of(Pool::max(kernel)));
        let avg = g.pool("avg", twice, of(if counted { Pool::avg_with_pad(kernel) } else { Pool::avg(kernel) }));
        let padded = g.zero_pad("padded", inner, [1, 2, 0, 1]);
        let zeros = g.pool("zeros", padded, Pool::max(2).stride(1));
        let again = g.zero_pad("again", zeros, [0, 1, 2, 1]);
        let conv = g.conv("conv", again, Conv::new(filters).kernel(3).bias());
        let cells = g.adaptive_avg_pool("cells", conv, 2);
        let order = if last { FlattenOrder::ChannelsLast } else { FlattenOrder::ChannelsFirst };
        let flat = g.flatten("flat", cells, order);
        let hidden = g.dense("hidden", flat, filters + 2);
        let hidden = g.relu("hidden_relu", hidden);
        let out = g.dense("out", hidden, 5);
        let Ok(graph) = g.finish(conv, out) else { return Ok(()) };
        let weights = Origin::Random(seed).load(&graph, Source::Keras, &[]).expect("random");
        let tap = |name: &str| graph.find(name).expect("a layer");
        let all = [max, avg, tap("zeros"), tap("out")];
        let fused = compare(&graph, &weights, &all, [h, w, channels]);
        let apart = ["padded", "both", "kept", "inner", "twice", "scaled", "max", "avg", "zeros", "again", "cells", "flat", "hidden", "out"];
        let apart = compare(&graph, &weights, &apart.map(tap), [h, w, channels]);
        prop_assert!(fused < 1e-5 && apart < 1e-5, "{fused:e} {apart:e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn early_layers_row_by_row_give_the_bits_of_one_go(
        size in prop::array::uniform2(60usize..130), channels in 16usize..40, filters in 16usize..80, kernels in prop::array::uniform3(1usize..6),
        strides in prop::array::uniform3(1usize..3), pads in prop::array::uniform3(0usize..3), ceil in any::<bool>(), tapped in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let [h, w] = size;
        let (mut g, x) = Builder::new(3, h, w);
        let conv = |i: usize, conv: Conv| conv.kernel(kernels[i]).stride(strides[i]).pad(pads[i].min(kernels[i] / 2));
        let a = g.conv("a", x, conv(0, Conv::new(channels).bias()));
        let a = g.relu("a_relu", a);
        let b = g.conv("b", a, Conv::new(filters).kernel(3).pad(1));
        let side = g.conv("side", b, Conv::new(filters).stride(strides[2]));
        let c = g.relu("c", b);
        let c = g.conv("dw", c, conv(1, Conv::depthwise()));
        let c = g.batch_norm("norm", c, 1e-3);
        let gate = g.adaptive_avg_pool("squeeze", c, 1);
        let gate = g.conv("gate", gate, Conv::new(filters).bias());
        let gate = g.activation("sigmoid", gate, Activation::Sigmoid);
        let c = g.multiply("excite", c, gate);
        let c = g.conv("point", c, Conv::new(filters));
        let d = g.conv("dw2", c, Conv::depthwise().kernel(5).same());
        let d = dilated(&mut g, "point2", d, [filters, 1], Window::new([3, 3], [1, 1], Pad::default()), 1 + strides[0]);
        let d = g.add("first_sum", d, c);
        let d = g.activation("first_relu", d, Activation::Relu6);
        let of = Pool::max(3).stride(strides[2]).pad(pads[2].min(1));
        let pooled = g.pool("pooled", b, if ceil { of.ceil() } else { of });
        let out = g.pool("average", d, Pool::avg(2).stride(1));
        let Ok(graph) = g.finish(out, out) else { return Ok(()) };
        let weights = Origin::Random(seed).load(&graph, Source::Timm, &[]).expect("random");
        let mut taps = vec![out, pooled, side];
        taps.extend(tapped.then_some(c));
        let program = lower(&graph, &weights, &taps).expect("lowered");
        let picture = values(2 * 3 * h * w, 7);
        for engine in [Precision::F32, Precision::Bf16].into_iter().flat_map(Engine::available) {
            let by_rows = Network::planned(program.clone(), engine, true).expect("planned");
            let at_once = Network::planned(program.clone(), engine, false).expect("planned");
            let found = by_rows.forward(&mut by_rows.scratch(1), &picture, 2);
            prop_assert!(found == at_once.forward(&mut at_once.scratch(1), &picture, 2), "{engine:?}");
            prop_assert!(found == by_rows.forward(&mut by_rows.scratch(3), &picture, 2), "{engine:?}: three threads");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn gates_groups_and_activations_of_every_shape_give_what_candle_gives(
        size in prop::array::uniform2(4usize..50), groups in 1usize..40, per in prop::array::uniform2(1usize..9), kernel in 1usize..4,
        stride in 1usize..3, act in 0usize..6, gate in any::<bool>(), shuffled in 1usize..4, seed in any::<u64>(),
    ) {
        let [h, w] = size;
        let act = [
            Activation::Silu, Activation::HardSwish, Activation::Gelu, Activation::Sigmoid, Activation::HardSigmoid,
            Activation::GeluTanh,
        ][act];
        let gate = if gate { Activation::Sigmoid } else { Activation::HardSigmoid };
        // The norms are over all channels and over half of them. The norm of two channels is the sign of their
        // difference: where the two are nearly equal, rounding decides it.
        let least = usize::div_ceil(16, groups * shuffled);
        let (inputs, outputs) = (groups * per[0], groups * per[1].max(least) * shuffled);
        let (mut g, x) = Builder::new(3, h, w);
        let x = g.conv("stem", x, Conv::new(inputs).kernel(3).pad(1).bias());
        let x = g.activation("stem_act", x, act);
        let y = g.conv("grouped", x, Conv::new(outputs).groups(groups).kernel(kernel).stride(stride).same());
        let y = g.batch_norm("norm", y, 1e-3);
        let y = g.activation("act", y, act);
        let y = g.conv("dw", y, Conv::depthwise().kernel(3).same());
        let y = g.activation("dw_act", y, act);
        let y = g.layer_norm("layer_norm", y, 1e-6);
        let y = g.dense_map("dense_map", y, outputs);
        let y = g.layer_scale("scale.gamma", "scale", "gamma", y);
        let s = g.adaptive_avg_pool("squeeze", y, 1);
        let s = g.conv("reduce", s, Conv::new(3).bias());
        let s = g.activation("reduce_act", s, act);
        let s = g.conv("expand", s, Conv::new(outputs).bias());
        let s = g.activation("gate", s, gate);
        let e = g.multiply("excite", y, s);
        let p = g.conv("project", e, Conv::new(outputs));
        let z = g.add("sum", p, e);
        let z = g.activation("sum_act", z, act);
        let z = g.shuffle("shuffle", z, shuffled);
        let a = g.slice("slice", z, 0..outputs.div_ceil(2));
        let m = g.global_avg_pool("pool", a);
        let m = g.layer_norm("pool_norm", m, 1e-6);
        let m = g.activation("pool_act", m, act);
        let m = g.dense("dense", m, 7);
        let m = g.activation("dense_act", m, act);
        let Ok(graph) = g.finish(z, m) else { return Ok(()) };
        let weights = Origin::Random(seed).load(&graph, Source::Timm, &[]).expect("random");
        let tap = |name: &str| graph.find(name).expect("a layer");
        let fused = compare(&graph, &weights, &[tap("slice"), tap("dense_act")], [h, w, 3]);
        let apart = ["stem", "stem_act", "grouped", "dw", "dw_act", "layer_norm", "dense_map", "squeeze", "gate", "excite", "sum", "shuffle", "pool", "pool_act"];
        let apart = compare(&graph, &weights, &apart.map(tap), [h, w, 3]);
        prop_assert!(fused < 1e-5 && apart < 1e-5, "{fused:e} {apart:e}");
        let near = compare_bf16(&graph, &[tap("sum_act"), tap("dense_act")], [h, w, 3]);
        prop_assert!(near < 5e-2, "{near:e}");
    }
}

#[test]
fn a_window_that_hangs_over_the_edge_sees_no_zeros_and_one_over_padded_zeros_does() {
    let (mut g, x) = Builder::new(1, 3, 3);
    let ceil = g.pool("ceil", x, Pool::max(2).ceil());
    let padded = g.zero_pad("padded", x, [0, 1, 0, 1]);
    let zeros = g.pool("zeros", padded, Pool::max(2));
    let graph = g.finish(ceil, zeros).expect("built");
    let weights = Origin::Random(0).load(&graph, Source::Timm, &[]).expect("there are none");
    let program = lower(&graph, &weights, &[ceil, zeros]).expect("lowered");
    let picture: Vec<f32> = (1..=9).map(|v| -(v as f32)).collect();
    // torch.nn.functional.max_pool2d(x, 2, ceil_mode=True), and of x with zeros below and to the right
    let expected = [vec![-1.0, -3.0, -7.0, -9.0], vec![-1.0, 0.0, 0.0, 0.0]];
    let reference = candle::Network::new(program.clone(), &Device::cpu()).expect("uploaded");
    assert_eq!(reference.forward(&picture, 1).expect("candle"), expected);
    for engine in Engine::available(Precision::F32) {
        let network = Network::new(program.clone(), engine).expect("planned");
        assert_eq!(network.forward(&mut network.scratch(1), &picture, 1), expected, "{engine:?}");
    }
}

#[test]
fn a_whole_network_gives_what_candle_gives() {
    let spec = find("efficientnet_lite0").expect("registered");
    let graph =
        (spec.build)(&BuildOptions { channels: 3, size: [97, 130], classes: 10, source: Source::Timm }).expect("built");
    let weights = Origin::Random(3).load(&graph, Source::Timm, &[]).expect("random");
    let taps: Vec<LayerId> =
        ["bn1", "blocks.2.1", "blocks.5.0", "bn2", "classifier"].iter().filter_map(|name| graph.find(name)).collect();
    let error = compare(&graph, &weights, &taps, [97, 130, 3]);
    assert!(error < 1e-5, "{error:e}");
}

/// VGG's layer over 28 × 28 positions: the tiles of three pictures make larger blocks than those of four.
#[test]
fn a_micro_batch_of_any_number_of_pictures_has_room() {
    let (mut g, x) = Builder::new(256, 28, 28);
    let x = g.conv("conv", x, Conv::new(512).kernel(3).pad(1));
    let graph = g.finish(x, x).expect("built");
    let weights = Origin::Random(1).load(&graph, Source::Timm, &[]).expect("random");
    let program = lower(&graph, &weights, &[x]).expect("lowered");
    let picture = values(256 * 28 * 28, 5);
    for engine in [Engine::Vectors(Isa::detect()), Engine::Bf16(Bf16Isa::Widened(Isa::detect()))] {
        let network = Network::new(program.clone(), engine).expect("planned");
        let alone = network.forward(&mut network.scratch(1), &picture, 1);
        for n in 2..=MICRO_BATCH {
            let found = network.forward(&mut network.scratch(1), &picture.repeat(n), n);
            assert!(found[0] == alone[0].repeat(n), "{n} pictures, {engine:?}");
        }
    }
}

#[test]
fn what_is_not_a_number_stays_one() {
    let (mut g, x) = Builder::new(4, 5, 5);
    let x = g.conv("conv", x, Conv::new(20).kernel(3).pad(1));
    let x = g.activation("relu6", x, Activation::Relu6);
    let x = g.conv("dw", x, Conv::depthwise().kernel(3).pad(1));
    let graph = g.finish(x, x).expect("built");
    let weights = Origin::Random(1).load(&graph, Source::Timm, &[]).expect("random");
    let taps = ["relu6", "dw"].map(|name| graph.find(name).expect("a layer"));
    let program = lower(&graph, &weights, &taps).expect("lowered");
    for engine in Engine::available(Precision::F32) {
        let network = Network::new(program.clone(), engine).expect("planned");
        let mut picture = values(100, 5);
        picture[0] = f32::NAN;
        let taps = network.forward(&mut network.scratch(1), &picture, 1);
        for tap in taps {
            assert!(tap[0].is_nan() && !tap[tap.len() - 1].is_nan(), "{engine:?}");
        }
    }
}

/// Runs a network in bf16 on every unit of this CPU and gives the largest relative error of a tap against f32.
fn compare_bf16(graph: &Graph, taps: &[LayerId], size: [usize; 3]) -> f64 {
    let weights = Origin::Random(11).load(graph, Source::Timm, &[]).expect("random");
    let program = lower(graph, &weights, taps).expect("lowered");
    let picture = values(size.iter().product(), 7);
    let reference = Network::new(program.clone(), Engine::detect(Precision::F32)).expect("planned");
    let reference = reference.forward(&mut reference.scratch(1), &picture, 1);
    let (mut worst, mut first): (f64, Option<Vec<Vec<f32>>>) = (0.0, None);
    for unit in Bf16Isa::available() {
        let network = Network::new(program.clone(), Engine::Bf16(unit)).expect("planned");
        let mut scratch = network.scratch(1);
        let alone = network.forward(&mut scratch, &picture, 1);
        let crowd: Vec<f32> = values(5 * picture.len(), 99).into_iter().chain(picture.iter().copied()).collect();
        let crowd = network.forward(&mut scratch, &crowd, 6);
        if !Engine::Bf16(unit).has_tiles() && unit.isa() == Isa::detect() {
            let same = alone.iter().zip(first.get_or_insert_with(|| alone.clone())).all(|(a, b)| a == b);
            assert!(same, "{unit:?}: other bits than the CPU's own instruction");
        }
        for ((alone, crowd), reference) in alone.iter().zip(&crowd).zip(&reference) {
            assert!(
                crowd.len() == 6 * alone.len() && crowd.ends_with(alone),
                "{unit:?}: a picture's bits depend on its neighbours"
            );
            worst = worst.max(error(alone, reference));
        }
    }
    worst
}

#[test]
fn networks_over_bf16_are_near_those_over_f32() {
    // every kind of step: depthwise, sums, concatenations in place and not, Winograd, pools, dense layers
    let (mut g, x) = Builder::new(5, 37, 23);
    let a = g.conv("a", x, Conv::new(33).kernel(3).stride(2).pad(1).bias());
    let a = g.relu("a_relu", a);
    let w = g.conv("w", a, Conv::new(40).kernel(3).pad(1));
    let tall = g.conv("tall", w, Conv::new(17).kernel2(5, 1).pad2(2, 0));
    let pooled = g.pool("pooled", a, Pool::avg(3).stride(1).pad(1));
    let both = g.concat("both", &[tall, pooled, a]);
    let inner = g.conv("inner", both, Conv::new(20).kernel(3).pad(1));
    let twice = g.concat("twice", &[both, inner, inner]);
    let dw = g.conv("dw", twice, Conv::depthwise().kernel(3).stride(2).same());
    let dw = g.batch_norm("dw_norm", dw, 1e-3);
    let dw = g.activation("dw_act", dw, Activation::Relu6);
    let point = g.conv("point", dw, Conv::new(50));
    let same = g.conv("same", point, Conv::new(50).kernel(3).pad(1));
    let sum = g.add("sum", same, point);
    let sum = g.relu("sum_relu", sum);
    let cells = g.adaptive_avg_pool("cells", sum, 3);
    let flat = g.flatten("flat", cells, FlattenOrder::ChannelsFirst);
    let hidden = g.dense("hidden", flat, 70);
    let out = g.dense("out", hidden, 11);
    let graph = g.finish(sum, out).expect("built");
    let tap = |name: &str| graph.find(name).expect("a layer");
    let fused = compare_bf16(&graph, &[tap("sum_relu"), tap("out")], [37, 23, 5]);
    let names = ["a", "w", "tall", "pooled", "both", "inner", "twice", "dw", "same", "cells", "flat", "hidden", "out"];
    let apart = compare_bf16(&graph, &names.map(tap), [37, 23, 5]);
    // a rounding changes a value by 2⁻⁹ at most, and there are about ten in a row
    assert!(fused < 2e-2 && apart < 2e-2 && fused > 1e-4, "{fused:e} {apart:e}");
}
