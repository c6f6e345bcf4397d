//! The products of bf16 against their definition in plain f32 arithmetic, and rounding against the crate `half`.

use proptest::prelude::*;

use super::product::Packed;
use super::{Unit, bf16, narrow, rounded, widen};
use crate::exec::cpu::added::Added;
use crate::exec::cpu::matmul::Places;
use crate::exec::cpu::peak::noise as values;
use crate::models::graph::Activation;

/// The definition: a window at a time, the upper value of each pair first.
fn reference(
    weight: &[f32],
    bias: &[f32],
    [rows, depth]: [usize; 2],
    places: &Places,
    input: &[bf16],
) -> Vec<Vec<f32>> {
    let window = |start: usize, filter: &[f32], bias: f32| {
        let mut sum = bias;
        for (y, w) in filter.chunks_exact(depth).enumerate() {
            let x = &input[start + y * places.row..][..depth];
            for (w, x) in w.chunks(2).zip(x.chunks(2)) {
                for (w, x) in w.iter().zip(x).rev() {
                    // exact in f32 but for the sum
                    sum += rounded(*w).to_f32() * x.to_f32();
                }
            }
        }
        sum
    };
    let filters = || weight.chunks_exact(rows * depth).zip(bias);
    let starts = places.starts.iter();
    starts.map(|&start| filters().map(|(w, &b)| window(start as usize, w, b)).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 300 }))]

    #[test]
    fn every_unit_gives_the_bits_of_the_definition(
        rows in 1usize..4, depth in 1usize..70, filters in 1usize..70, positions in 1usize..40, gap in 0usize..5, sum in any::<bool>(),
        relu6 in any::<bool>(), threads in 2usize..5, seed in any::<u32>(),
    ) {
        let row = depth + gap;
        let input: Vec<bf16> = values(positions * (1 + gap) + rows * row, seed).iter().map(|&v| rounded(v)).collect();
        let weight = values(filters * rows * depth, seed ^ 1);
        let bias = values(filters, seed ^ 2);
        let added: Vec<bf16> = values(positions * filters, seed ^ 3).iter().map(|&v| rounded(v)).collect();
        let starts: Vec<u32> = (0..positions as u32).map(|p| p * (1 + gap as u32)).collect();
        let pitch = filters + gap;
        let outs: Vec<u32> = (0..positions as u32).rev().map(|p| p * pitch as u32).collect();
        let adds: Vec<u32> = (0..positions as u32).map(|p| p * filters as u32).collect();
        let places = Places { starts: &starts, row, outs: &outs, adds: Added::at(sum.then_some(&adds)) };
        let activation = relu6.then_some(Activation::Relu6);
        let sums = reference(&weight, &bias, [rows, depth], &places, &input);
        for unit in Unit::available() {
            let mark = bf16::from_f32(77.0);
            let mut output = vec![mark; positions * pitch];
            let packed = Packed::new(unit, &weight, &bias, rows, depth);
            let mut shared = output.clone();
            packed.run(1, &places, &input, &added, activation, &mut output);
            packed.run(threads, &places, &input, &added, activation, &mut shared);
            prop_assert!(shared.iter().zip(&output).all(|(a, b)| a.to_bits() == b.to_bits()), "{unit:?}: {threads} threads");
            // onto what lies at the output it has the same bits
            for threads in [1, threads].into_iter().filter(|_| sum) {
                let mut onto = vec![mark; output.len()];
                let terms = outs.iter().zip(added.chunks_exact(filters));
                terms.for_each(|(&out, term)| onto[out as usize..][..filters].copy_from_slice(term));
                packed.run(threads, &Places { adds: Added::Onto, ..places }, &input, &[], activation, &mut onto);
                let same = onto.iter().zip(&output).all(|(a, b)| a.to_bits() == b.to_bits());
                prop_assert!(same, "{unit:?}: onto the output, {threads} threads");
            }
            for (p, sums) in sums.iter().enumerate() {
                let at = outs[p] as usize;
                for (f, &expected) in sums.iter().enumerate() {
                    let expected = if sum { expected + added[p * filters + f].to_f32() } else { expected };
                    let expected = if relu6 { expected.clamp(0.0, 6.0) } else { expected };
                    prop_assert_eq!(output[at + f].to_f32(), rounded(expected).to_f32(), "{:?}: {} {}", unit, p, f);
                }
                prop_assert!(output[at + filters..at + pitch].iter().all(|&v| v == mark), "{unit:?} writes beside its filters");
            }
        }
    }
}

#[test]
fn rounding_is_to_the_nearest_and_ties_to_even() {
    let found = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -3.4e38, f32::INFINITY, 3.4e38, 1e-30, -0.0]
        .map(|v| rounded(v).to_f32());
    assert_eq!(
        found,
        [1.0, 1.015_625, f32::NEG_INFINITY, f32::INFINITY, f32::INFINITY, 1e-30f32, -0.0]
            .map(|v| bf16::from_f32(v).to_f32())
    );
    assert!(rounded(f32::NAN).is_nan() && rounded(f32::from_bits(0x7f80_0001)).is_nan());
    for bits in (0..=u32::MAX).step_by(if cfg!(miri) { 90_001_357 } else { 9_973 }) {
        let value = f32::from_bits(bits);
        assert!(rounded(value).to_bits() == bf16::from_f32(value).to_bits() || value.is_nan(), "{value:e}");
    }
}

#[test]
fn every_unit_rounds_whole_maps_alike() {
    let from: Vec<f32> = values(1000, 5).into_iter().chain([f32::NAN, f32::INFINITY, -0.0]).collect();
    let mut expected = vec![bf16::ZERO; from.len()];
    narrow(&from, &mut expected);
    let mut wide = vec![0.0; from.len()];
    widen(&expected, &mut wide);
    for unit in Unit::available() {
        let (mut half, mut back) = (vec![bf16::ZERO; from.len()], vec![0.0; from.len()]);
        unit.narrow(&from, &mut half);
        unit.widen(&half, &mut back);
        assert!(half.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{unit:?}");
        assert!(back.iter().zip(&wide).all(|(a, b)| a.to_bits() == b.to_bits()), "{unit:?}");
    }
}

#[test]
fn what_is_not_a_number_stays_one_and_touches_no_neighbour() {
    for unit in Unit::available() {
        let mut input = vec![bf16::ONE; 3 * 7];
        input[7] = bf16::NAN;
        let places = Places { starts: &[0, 7, 14], row: 0, outs: &[0, 20, 40], adds: Added::Nothing };
        let mut output = vec![bf16::ZERO; 60];
        let packed = Packed::new(unit, &[0.5; 20 * 7], &[0.0; 20], 1, 7);
        packed.run(1, &places, &input, &[], Some(Activation::Relu6), &mut output);
        let nan = |range: std::ops::Range<usize>| output[range].iter().map(|v| v.is_nan()).collect::<Vec<_>>();
        assert_eq!(
            (nan(0..20), nan(20..40), nan(40..60)),
            (vec![false; 20], vec![true; 20], vec![false; 20]),
            "{unit:?}"
        );
    }
}
