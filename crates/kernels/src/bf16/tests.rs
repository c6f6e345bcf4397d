//! Compares the products of bf16 with their definition in plain f32 arithmetic, and rounding with the crate `half`.

use proptest::prelude::*;

use super::{Bf16Conv, Bf16Isa, bf16, narrow, rounded, widen};
use crate::Activation;
#[cfg(target_arch = "x86_64")]
use crate::amx::{self, tests::Defined};
use crate::matmul::GemmOffsets;
use crate::peak::noise as values;
use crate::residual::Residual;

/// Returns the sum of a window and a filter and `bias` in the order of the vector instructions: the upper value of each
/// pair first.
fn by_pairs(x: &[bf16], w: &[f32], depth: usize, bias: f32) -> f32 {
    let rows = x.chunks(depth).zip(w.chunks(depth));
    let pairs = rows.flat_map(|(x, w)| x.chunks(2).zip(w.chunks(2)));
    // the products are exact in f32
    pairs.flat_map(|(x, w)| x.iter().zip(w).rev()).fold(bias, |sum, (x, w)| sum + x.to_f32() * rounded(*w).to_f32())
}

/// The definition, a window at a time.
fn reference(
    isa: Bf16Isa,
    weight: &[f32],
    bias: &[f32],
    [rows, depth]: [usize; 2],
    offsets: &GemmOffsets,
    input: &[bf16],
) -> Vec<Vec<f32>> {
    let sum: fn(&[bf16], &[f32], usize, f32) -> f32 = match isa {
        #[cfg(target_arch = "x86_64")]
        Bf16Isa::Amx => |x, w, _, bias| amx::Bf16Pairs::sum(x, w, bias),
        _ => by_pairs,
    };
    let window = |start: u32| {
        let rows = (0..rows).flat_map(|y| &input[start as usize + y * offsets.row_stride..][..depth]);
        rows.copied().collect::<Vec<bf16>>()
    };
    let filters = || weight.chunks_exact(rows * depth).zip(bias);
    let sums = |x: Vec<bf16>| filters().map(|(w, &b)| sum(&x, w, depth, b)).collect();
    offsets.window_starts.iter().map(|&start| sums(window(start))).collect()
}

/// Runs a convolution with a scratch as short as is allowed, all NaN.
fn run(
    conv: &Bf16Conv,
    threads: usize,
    offsets: &GemmOffsets,
    [input, residual]: [&[bf16]; 2],
    activation: Option<Activation>,
    output: &mut [bf16],
) {
    let mut scratch = vec![f32::NAN; conv.scratch_len(threads)];
    conv.run(threads, offsets, input, residual, activation, output, &mut scratch);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 300 }))]

    #[test]
    fn every_isa_gives_the_bits_of_the_definition(
        rows in 1usize..4, depth in 1usize..70, filters in 1usize..70, positions in 1usize..40, gap in 0usize..5,
        sum in any::<bool>(),
        relu6 in any::<bool>(), threads in 2usize..5, seed in any::<u32>(),
    ) {
        let row = depth + gap;
        let input: Vec<bf16> = values(positions * (1 + gap) + rows * row, seed).iter().map(|&v| rounded(v)).collect();
        let weight = values(filters * rows * depth, seed ^ 1);
        let bias = values(filters, seed ^ 2);
        let residual: Vec<bf16> = values(positions * filters, seed ^ 3).iter().map(|&v| rounded(v)).collect();
        let starts: Vec<u32> = (0..positions as u32).map(|p| p * (1 + gap as u32)).collect();
        let pitch = filters + gap;
        let outs: Vec<u32> = (0..positions as u32).rev().map(|p| p * pitch as u32).collect();
        let adds: Vec<u32> = (0..positions as u32).map(|p| p * filters as u32).collect();
        let at = Residual::at(sum.then_some(&adds[..]));
        let offsets = GemmOffsets { window_starts: &starts, row_stride: row, output_starts: &outs, residual: at };
        let activation = relu6.then_some(Activation::Relu6);
        for isa in Bf16Isa::available() {
            let sums = reference(isa, &weight, &bias, [rows, depth], &offsets, &input);
            let mark = bf16::from_f32(77.0);
            let mut output = vec![mark; positions * pitch];
            let conv = Bf16Conv::new(isa, &weight, &bias, rows, depth);
            let mut shared = output.clone();
            run(&conv, 1, &offsets, [&input, &residual], activation, &mut output);
            run(&conv, threads, &offsets, [&input, &residual], activation, &mut shared);
            let same = shared.iter().zip(&output).all(|(a, b)| a.to_bits() == b.to_bits());
            prop_assert!(same, "{isa:?}: {threads} threads");
            // The result has the same bits with the residual in place.
            for threads in [1, threads].into_iter().filter(|_| sum) {
                let mut in_place = vec![mark; output.len()];
                let terms = outs.iter().zip(residual.chunks_exact(filters));
                terms.for_each(|(&out, term)| in_place[out as usize..][..filters].copy_from_slice(term));
                let offsets = GemmOffsets { residual: Residual::InPlace, ..offsets };
                run(&conv, threads, &offsets, [&input, &[]], activation, &mut in_place);
                let same = in_place.iter().zip(&output).all(|(a, b)| a.to_bits() == b.to_bits());
                prop_assert!(same, "{isa:?}: residual in place, {threads} threads");
            }
            for (p, sums) in sums.iter().enumerate() {
                let at = outs[p] as usize;
                for (f, &expected) in sums.iter().enumerate() {
                    let expected = if sum { expected + residual[p * filters + f].to_f32() } else { expected };
                    let expected = if relu6 { expected.clamp(0.0, 6.0) } else { expected };
                    prop_assert_eq!(output[at + f].to_f32(), rounded(expected).to_f32(), "{:?}: {} {}", isa, p, f);
                }
                let beside = &output[at + filters..at + pitch];
                prop_assert!(beside.iter().all(|&v| v == mark), "{isa:?} writes beside its filters");
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
fn every_isa_rounds_whole_maps_alike() {
    let from: Vec<f32> = values(1000, 5).into_iter().chain([f32::NAN, f32::INFINITY, -0.0]).collect();
    let mut expected = vec![bf16::ZERO; from.len()];
    narrow(&from, &mut expected);
    let mut wide = vec![0.0; from.len()];
    widen(&expected, &mut wide);
    for isa in Bf16Isa::available() {
        let (mut half, mut back) = (vec![bf16::ZERO; from.len()], vec![0.0; from.len()]);
        isa.narrow(&from, &mut half);
        isa.widen(&half, &mut back);
        assert!(half.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa:?}");
        assert!(back.iter().zip(&wide).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa:?}");
    }
}

#[test]
fn nan_stays_nan_and_touches_no_neighbour() {
    for isa in Bf16Isa::available() {
        let mut input = vec![bf16::ONE; 3 * 7];
        input[7] = bf16::NAN;
        let offsets = GemmOffsets {
            window_starts: &[0, 7, 14],
            row_stride: 0,
            output_starts: &[0, 20, 40],
            residual: Residual::None,
        };
        let mut output = vec![bf16::ZERO; 60];
        let conv = Bf16Conv::new(isa, &[0.5; 20 * 7], &[0.0; 20], 1, 7);
        run(&conv, 1, &offsets, [&input, &[]], Some(Activation::Relu6), &mut output);
        let nan = |range: std::ops::Range<usize>| output[range].iter().map(|v| v.is_nan()).collect::<Vec<_>>();
        assert_eq!(
            (nan(0..20), nan(20..40), nan(40..60)),
            (vec![false; 20], vec![true; 20], vec![false; 20]),
            "{isa:?}"
        );
    }
}
