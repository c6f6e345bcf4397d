//! Compares networks in int8, step by step, with a simulation in f32 that has the same rounded weights and gets the
//! values of the int8 network before the step.

use proptest::prelude::*;

use super::{Int8Layer, Quant};
use crate::exec::Kernels;
use crate::exec::cpu::map::Map;
use crate::exec::cpu::memory_plan::Fused;
use crate::exec::cpu::network::{Network, fuse, maps_of, quantise_int8};
use crate::exec::cpu::observe::names;
use crate::exec::cpu::{Engine, Observer};
use crate::exec::lower::{Kernel, Program, lower};
use crate::exec::ranges::{Calibration, Ranges};
use crate::models::builder::{Builder, Conv, Pool};
use crate::models::graph::{Activation, Graph};
use crate::models::{LayerId, Source};
use crate::weights::Origin;
use featurize_kernels::int8::Int8Isa;
use featurize_kernels::peak::noise;
use featurize_kernels::simd::Isa;

/// ‖ours − reference‖ / ‖reference‖.
fn error(ours: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(ours.len(), reference.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let difference = square(&mut ours.iter().zip(reference).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    (difference / square(&mut reference.iter().map(|&b| f64::from(b))).max(1e-12)).sqrt()
}

fn lowered(graph: &Graph, taps: &[LayerId], seed: u64) -> Program {
    let weights = Origin::Random(seed).load(graph, Source::Timm, &[]).expect("random");
    lower(graph, &weights, taps).expect("lowered")
}

/// The ranges over three pictures of noise, one of which is `picture`.
fn calibrated(program: &Program, picture: &[f32]) -> Ranges {
    let observer = Observer::new(program.clone(), Kernels::Auto).expect("planned");
    let mut calibration = Calibration::default();
    for picture in [picture.to_vec(), noise(picture.len(), 3), noise(picture.len(), 4)] {
        calibration.add(observer.observe(&mut observer.scratch(), &picture));
    }
    calibration.finish()
}

/// Replaces the integer weights of a step by the same weights in f32.
fn widen(fused: &mut Fused, quants: &[Option<Quant>]) {
    let Some(Int8Layer { weight: bytes, requant, to_bytes }) = fused.int8.take() else { return };
    let input = quants[fused.step.inputs[0]].as_ref().expect("bytes");
    let output = quants[fused.step.output].as_ref().filter(|_| to_bytes);
    let residual = fused.added.and_then(|value| quants[value].as_ref());
    let depthwise = matches!(fused.step.kernel, Kernel::Depthwise { .. });
    let (Kernel::Conv { weight, bias, .. } | Kernel::Depthwise { weight, bias, .. }) = &mut fused.step.kernel else {
        panic!("no other step has them");
    };
    let channels = if depthwise { 1 } else { input.scale.len() };
    let window = weight.len() / bias.len();
    for f in 0..bias.len() {
        let (unit, zero) = output.map_or((1.0, 0.0), |to| (f64::from(to.scale[f]), f64::from(to.offset[f])));
        let step = f64::from(requant.scale[f]) * unit;
        let mut sum = (f64::from(requant.bias[f]) - zero) * unit;
        if let Some(term) = residual {
            sum += f64::from(requant.residual[f]) * unit * f64::from(term.offset[f]);
        }
        for (i, &byte) in bytes[f * window..(f + 1) * window].iter().enumerate() {
            let (tap, channel) = (i / channels, i % channels);
            let c = if depthwise { f } else { channel };
            sum += step * f64::from(byte) * f64::from(input.offset[c]);
            let place = f * window + channel * (window / channels) + tap;
            weight[place] = (step * f64::from(byte) / f64::from(input.scale[c])) as f32;
        }
        bias[f] = sum as f32;
    }
}

/// The values of all steps of the int8 network for a picture, as the numbers that the bytes stand for.
fn values_over_bytes(program: &Program, ranges: &Ranges, picture: &[f32], unit: Int8Isa) -> Vec<Vec<f32>> {
    let quants = quantised_steps(program, ranges).2;
    let network = Network::quantised(program.clone(), unit, ranges).expect("planned");
    let mut found = vec![Vec::new(); quants.len()];
    network.observe(&mut network.scratch(1), picture, &mut |value, map, buffer| {
        for run in map.runs(false) {
            match &quants[value] {
                Some(quant) => quant.extend(Int8Isa::Portable, &mut found[value], &buffer.as_bytes()[run]),
                None => found[value].extend_from_slice(&buffer[run]),
            }
        }
    });
    found
}

/// The steps of an int8 network, their maps, and the scales of each value.
fn quantised_steps(program: &Program, ranges: &Ranges) -> (Vec<Fused>, Vec<Map>, Vec<Option<Quant>>) {
    let mut fused = fuse(program.clone(), Engine::Int8(Int8Isa::Portable));
    let mut maps = maps_of(&fused, Map::of(program.input_shape));
    let quants = quantise_int8(&mut fused, &mut maps, &names(program), ranges).expect("ranges of these layers");
    (fused, maps, quants)
}

/// Computes each step in f32 from the values that the int8 network has before it. A byte must be the one nearest to the
/// number in f32, either of two at a tie; a value in f32 must be the same but for rounding. Returns the values of the
/// int8 network.
fn assert_simulated(program: &Program, ranges: &Ranges, picture: &[f32], unit: Int8Isa) -> Vec<Vec<f32>> {
    let given = values_over_bytes(program, ranges, picture, unit);
    let (mut fused, mut maps, quants) = quantised_steps(program, ranges);
    assert!(fused.iter().any(|fused| fused.int8.is_some()), "nothing is computed over bytes");
    fused.iter_mut().for_each(|fused| widen(fused, &quants));
    maps.iter_mut().for_each(|map| map.bytes = 4);
    let network = Network::placed(fused, maps, &program.taps, (Engine::Vectors(Isa::Portable), Vec::new()), false);
    let network = network.expect("planned");
    let layers = names(program);
    network.observe(&mut network.scratch(1), picture, &mut |value, map, buffer| {
        let mut simulated = Vec::new();
        for (run, given) in map.runs(false).zip(given[value].chunks_exact(map.c)) {
            simulated.extend_from_slice(&buffer[run.clone()]);
            buffer[run].copy_from_slice(given);
        }
        let layer = &layers[value];
        let Some(quant) = &quants[value] else {
            let error = error(&given[value], &simulated);
            assert!(error < 1e-5, "{unit:?}: {layer:?} is {error:e} from the simulation");
            return;
        };
        if map.is_dense() {
            // the halo of a map has the byte nearest to zero
            let zeros = quant.zeros().into_iter().zip(quant.scale.iter().zip(&quant.offset));
            let position: Vec<f32> = zeros.map(|(zero, (scale, offset))| (f32::from(zero) - offset) * scale).collect();
            map.fill_halo(&mut buffer[..], &position);
        }
        for (i, (given, simulated)) in given[value].iter().zip(&simulated).enumerate() {
            let (scale, offset) = (quant.scale[i % map.c], quant.offset[i % map.c]);
            let [byte, level] = [given, simulated].map(|v| v / scale + offset);
            let apart = byte - level.clamp(0.0, 255.0);
            assert!(apart.abs() < 0.51, "{unit:?}: value {i} of {layer:?} is byte {byte} where f32 gives {level}");
        }
    });
    given
}

/// Asserts for every instruction set that each step gives the values of the simulation, and that the bits of a
/// picture's taps depend neither on other pictures nor on the number of threads. `exact` taps, which integer layers
/// alone compute, have the same bits on every instruction set.
fn assert_computed(program: &Program, ranges: &Ranges, picture: &[f32], exact: &[bool]) {
    let mut first: Option<Vec<Vec<f32>>> = None;
    for unit in Int8Isa::available() {
        let given = assert_simulated(program, ranges, picture, unit);
        let network = Network::quantised(program.clone(), unit, ranges).expect("planned");
        let found = network.forward(&mut network.scratch(1), picture, 1);
        assert!(program.taps.iter().zip(&found).all(|(&tap, found)| given[tap] == *found), "{unit:?}: step by step");
        let crowd: Vec<f32> = noise(5 * picture.len(), 99).into_iter().chain(picture.iter().copied()).collect();
        for threads in [1, 3] {
            let all = network.forward(&mut network.scratch(threads), &crowd, 6);
            let same = found.iter().zip(&all).all(|(alone, crowd)| crowd.ends_with(alone));
            assert!(same, "{unit:?}: a picture's bits depend on its neighbours or on {threads} threads");
        }
        let first = first.get_or_insert_with(|| found.clone());
        for ((a, b), _) in first.iter().zip(&found).zip(exact).filter(|(_, exact)| **exact) {
            assert!(a == b, "{unit:?} gives other values");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn a_block_of_every_shape_gives_what_the_simulation_gives(
        size in prop::array::uniform2(2usize..18), channels in 1usize..40, filters in 1usize..70, kernel in 1usize..6,
        wide in 1usize..6, stride in 1usize..3, pad in 0usize..3, same in any::<bool>(), kind in 0usize..4,
        smooth in any::<bool>(), seed in any::<u64>(),
    ) {
        let activation = [Activation::Relu, Activation::Relu6, Activation::Silu][kind.min(2)];
        let [h, w] = size;
        let (mut g, x) = Builder::new(channels, h, w);
        let padded = |conv: Conv| if same { conv.same() } else { conv.pad(pad) };
        let y = g.conv("conv", x, padded(Conv::new(filters).kernel(kernel).stride(stride).bias()));
        let y = g.batch_norm("norm", y, 1e-3);
        let y = if kind == 3 { y } else { g.activation("act", y, activation) };
        let z = g.conv("dw", y, Conv::depthwise().kernel(wide).stride(stride).same());
        let z = g.activation("dw_act", z, activation);
        let p = g.conv("point", z, Conv::new(filters));
        let p = g.batch_norm("point_norm", p, 1e-3);
        let s = g.add("sum", p, z);
        let s = g.activation("sum_act", s, if smooth { Activation::Silu } else { Activation::Relu });
        let q = g.conv("last", s, Conv::new(filters + 2).kernel(3).pad(1));
        let m = g.global_avg_pool("pool", q);
        let d = g.dense("fc", m, filters + 3);
        let Ok(graph) = g.finish(q, d) else { return Ok(()) };
        let tap = |name: &str| graph.find(name).expect("a layer");
        let program = lowered(&graph, &[tap("last"), tap("fc")], seed);
        let picture = noise(h * w * channels, 7);
        let ranges = calibrated(&program, &picture);
        prop_assume!(!ranges.layer("sum_act").is_some_and(|seen| seen.high.iter().all(|&high| high < 1e-3)));
        let fused = fuse(program.clone(), Engine::Int8(Int8Isa::Portable));
        let maps = maps_of(&fused, Map::of(program.input_shape));
        prop_assume!(fused.iter().any(|fused| super::is_integer(fused, &maps)));
        let multiplies = |f: &Fused| matches!(f.step.kernel, Kernel::Conv { .. } | Kernel::Depthwise { .. });
        let exact = kind < 2
            && !smooth
            && fused.iter().filter(|fused| multiplies(fused)).all(|fused| super::is_integer(fused, &maps))
            && !fused.iter().any(|fused| matches!(fused.step.kernel, Kernel::Add));
        assert_computed(&program, &ranges, &picture, &[exact, false]);
    }

    #[test]
    fn branches_pools_groups_and_gates_give_what_the_simulation_gives(
        size in prop::array::uniform2(4usize..20), channels in 1usize..20, filters in 1usize..20, kernel in 1usize..4,
        stride in 1usize..3, pad in 0usize..2, seed in any::<u64>(),
    ) {
        let [h, w] = size;
        let pad = pad.min(kernel / 2);
        let (mut g, x) = Builder::new(channels, h, w);
        let wide = g.conv("wide", x, Conv::new(4 * filters).kernel2(1, 3).pad2(0, 1));
        let tall = g.conv("tall", x, Conv::new(filters).kernel2(3, 1).pad2(1, 0));
        let wide = g.relu("wide_relu", wide);
        let both = g.concat("both", &[wide, tall, x]);
        let max = g.pool("max", both, Pool::max(kernel).stride(stride).pad(pad));
        let mean = g.pool("mean", both, Pool::avg(kernel).stride(stride).pad(pad));
        let all = g.concat("all", &[max, mean]);
        let point = g.conv("point", all, Conv::new(4 * filters).bias());
        let point = g.relu("point_relu", point);
        let grouped = g.conv("grouped", point, Conv::new(4 * filters).kernel(3).pad(1).groups(4));
        let gate = g.global_avg_pool("squeeze", grouped);
        let gate = g.dense("excite", gate, 4 * filters);
        let gate = g.activation("gate", gate, Activation::Sigmoid);
        let scaled = g.multiply("scaled", grouped, gate);
        let sum = g.add("sum", scaled, point);
        let last = g.conv("last", sum, Conv::new(filters + 2).kernel(3).pad(1));
        let m = g.global_avg_pool("pool", last);
        let d = g.dense("fc", m, 3);
        let Ok(graph) = g.finish(last, d) else { return Ok(()) };
        let tap = |name: &str| graph.find(name).expect("a layer");
        let program = lowered(&graph, &[tap("last"), tap("fc"), tap("both")], seed);
        let picture = noise(h * w * channels, 7);
        let ranges = calibrated(&program, &picture);
        assert_computed(&program, &ranges, &picture, &[false, false, true]);
    }
}

#[test]
fn ranges_come_back_from_their_file_and_those_of_another_network_are_refused() {
    let (mut g, x) = Builder::new(3, 8, 8);
    let y = g.conv("conv", x, Conv::new(4).kernel(3).bias());
    let z = g.conv("next", y, Conv::new(5).kernel(3).bias());
    let graph = g.finish(z, z).expect("a graph");
    let program = lowered(&graph, &[graph.find("next").expect("a layer")], 1);
    let ranges = calibrated(&program, &noise(192, 7)).made("this".into());
    let bytes = ranges.to_bytes();
    assert_eq!(Ranges::from_bytes(&bytes).expect("read"), ranges);
    assert_eq!(bytes, Ranges::from_bytes(&bytes).expect("read").to_bytes());
    assert!(Ranges::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    let other = safetensors::serialize(Vec::<(&str, safetensors::tensor::TensorView)>::new(), None).expect("empty");
    assert!(Ranges::from_bytes(&other).expect_err("no ranges").contains("metadata"));
    let error = Network::quantised(program, Int8Isa::Portable, &Ranges::default()).expect_err("no ranges");
    assert!(error.to_string().contains("`input`"), "{error}");
}

#[test]
fn pixels_are_exact_and_the_middle_of_a_range_is_the_middle_of_its_bytes() {
    let levels: Vec<f32> = (0..=255u8).map(|level| (f32::from(level) / 255.0 - 0.485) / 0.229).collect();
    let quant = super::scales::of_picture(&levels[..1], &levels[255..]);
    let mut bytes = vec![0; 256];
    quant.narrow(Int8Isa::Portable, &levels, &mut bytes);
    assert!(bytes.iter().enumerate().all(|(i, &byte)| i == usize::from(byte)));
    let quant = super::scales::of_range(&[-1.0, 0.0, -0.5], &[1.0, 1.5, 0.0]);
    assert_eq!(quant.scale, [2.0 / 255.0, 2.0 / 255.0, 0.75 / 255.0]);
    assert!(quant.offset.iter().zip([127.5, 31.875, 212.5]).all(|(a, b)| (a - b).abs() < 1e-3), "{quant:?}");
    let quant = super::scales::of_range(&[0.0, 0.5], &[6.0, 1.0]);
    assert_eq!((quant.scale, quant.offset), (vec![6.0 / 255.0; 2], vec![0.0; 2]));
}
