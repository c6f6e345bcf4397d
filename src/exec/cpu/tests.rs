//! The kernels against the definition, on every instruction set of this CPU.

use proptest::prelude::*;

use super::network::Network;
use super::simd::Isa;
use crate::exec::lower::lower;
use crate::exec::{Device, candle};
use crate::models::builder::{Builder, Conv};
use crate::models::graph::{Activation, Graph};
use crate::models::{BuildOptions, LayerId, find};
use crate::weights::{Source, WeightSet};

/// Values between -1 and 1 that look random.
fn values(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(next).collect()
}

fn error(ours: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(ours.len(), reference.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let difference = square(&mut ours.iter().zip(reference).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    (difference / square(&mut reference.iter().map(|&b| f64::from(b))).max(1e-30)).sqrt()
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
    for isa in Isa::available() {
        let network = Network::with_isa(program.clone(), isa).expect("planned");
        let mut scratch = network.scratch();
        let first = network.forward(&mut scratch, &hwc);
        network.forward(&mut scratch, &values(h * w * c, 99));
        let again = network.forward(&mut scratch, &hwc);
        assert!(first == again, "{isa:?}: a picture's bits depend on the picture before it");
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
        g.activation("soft", d, Activation::Softmax);
        let Ok(graph) = g.finish() else { return Ok(()) };
        let weights = Source::Random(seed).load(&graph, "none").expect("random");
        let tap = |name: &str| graph.find(name).expect("a layer");
        // fused as far as it goes, and with taps between that keep things apart
        let fused = compare(&graph, &weights, &[tap("sum_act"), tap("soft")], [h, w, channels]);
        let apart = compare(&graph, &weights, &[tap("conv"), tap("act"), tap("point"), tap("sum"), tap("soft")], [h, w, channels]);
        prop_assert!(fused < 1e-5 && apart < 1e-5, "{fused:e} {apart:e}");
    }
}

#[test]
fn a_whole_network_gives_what_candle_gives() {
    let spec = find("efficientnet_lite0").expect("registered");
    let graph = (spec.build)(&BuildOptions { channels: 3, size: [97, 130], classes: 10 }).expect("built");
    let weights = Source::Random(3).load(&graph, "none").expect("random");
    let taps: Vec<LayerId> =
        ["bn1", "blocks.2.1", "blocks.5.0", "bn2", "classifier"].iter().filter_map(|name| graph.find(name)).collect();
    let error = compare(&graph, &weights, &taps, [97, 130, 3]);
    assert!(error < 1e-5, "{error:e}");
}

#[test]
fn what_is_not_a_number_stays_one() {
    let (mut g, x) = Builder::new(4, 5, 5);
    let x = g.conv("conv", x, Conv::new(20).kernel(3).pad(1));
    let x = g.activation("relu6", x, Activation::Relu6);
    g.conv("dw", x, Conv::depthwise().kernel(3).pad(1));
    let graph = g.finish().expect("built");
    let weights = Source::Random(1).load(&graph, "none").expect("random");
    let taps = ["relu6", "dw"].map(|name| graph.find(name).expect("a layer"));
    let program = lower(&graph, &weights, &taps).expect("lowered");
    for isa in Isa::available() {
        let network = Network::with_isa(program.clone(), isa).expect("planned");
        let mut picture = values(100, 5);
        picture[0] = f32::NAN;
        let taps = network.forward(&mut network.scratch(), &picture);
        for tap in taps {
            assert!(tap[0].is_nan() && !tap[tap.len() - 1].is_nan(), "{isa:?}");
        }
    }
}
