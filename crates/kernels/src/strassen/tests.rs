//! Compares the products with their definition in f64, over random shapes, and measures their rounding errors.

use proptest::prelude::*;

use super::super::activation::tests::definition;
use super::super::peak::noise as values;
use super::*;

const CASES: u32 = if cfg!(miri) { 3 } else { 60 };
/// A value that no kernel computes.
const UNTOUCHED: f32 = 12345.0;

fn activation(kind: usize) -> Option<Activation> {
    [None, Some(Activation::Relu), Some(Activation::Relu6), Some(Activation::Silu)][kind]
}

/// The sum of the sizes of the terms of an output bounds its rounding: each level takes differences of sums of halves.
fn bound(levels: Levels) -> f64 {
    match levels {
        Levels::One => 6e-6,
        Levels::Two => 2e-5,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn products_are_their_definition(
        two in any::<bool>(), rows in 1usize..4, quarters in 1usize..10, vectors in 1usize..4, rest in 0usize..40,
        map in 1usize..70,
        pictures in 1usize..4, gap in 0usize..4, add in any::<bool>(), threads in 2usize..5, kind in 0usize..4,
        seed in any::<u32>(),
    ) {
        let levels = if two { Levels::Two } else { Levels::One };
        let (depth, positions) = (4 * quarters, map * pictures);
        let row = depth + gap;
        for isa in Isa::available() {
            let filters = levels.parts() * vectors * isa.lanes() + rest;
            let pitch = filters + gap;
            // windows do not overlap, so that a value read beyond a window changes the sum
            let window = (rows - 1) * row + depth;
            let input = values(positions * window, seed);
            let (weight, bias) = (values(filters * rows * depth, seed ^ 1), values(filters, seed ^ 2));
            let residual = values(positions * filters, seed ^ 3);
            let starts: Vec<u32> = (0..positions).map(|p| (p * window) as u32).collect();
            let outs: Vec<u32> = (0..positions).rev().map(|p| (p * pitch) as u32).collect();
            let adds: Vec<u32> = (0..positions).map(|p| (p * filters) as u32).collect();
            let conv = StrassenConv::new(isa, levels, &weight, &bias, rows, depth);
            let run = |threads: usize, range: Range<usize>| {
                let mut output = vec![UNTOUCHED; (positions - 1) * pitch + filters];
                let at = Residual::at(add.then_some(&adds[range.clone()]));
                let (window_starts, output_starts) = (&starts[range.clone()], &outs[range]);
                let offsets = GemmOffsets { window_starts, row_stride: row, output_starts, residual: at };
                // the contents of the scratch must not matter
                let mut scratch = vec![f32::INFINITY; conv.scratch_len(threads)];
                conv.run(threads, &offsets, map, &input, &residual, activation(kind), &mut output, &mut scratch);
                output
            };
            let output = run(1, 0..positions);
            prop_assert_eq!(&run(threads, 0..positions), &output, "{:?}: {} threads", isa, threads);
            // with the residual in place it has the same bits
            for threads in [1, threads].into_iter().filter(|_| add) {
                let mut in_place = vec![UNTOUCHED; output.len()];
                let terms = outs.iter().zip(residual.chunks_exact(filters));
                terms.for_each(|(&out, term)| in_place[out as usize..][..filters].copy_from_slice(term));
                let (window_starts, output_starts) = (&starts, &outs);
                let residual = Residual::InPlace;
                let offsets = GemmOffsets { window_starts, row_stride: row, output_starts, residual };
                let mut scratch = vec![f32::NAN; conv.scratch_len(threads)];
                conv.run(threads, &offsets, map, &input, &[], activation(kind), &mut in_place, &mut scratch);
                prop_assert_eq!(&in_place, &output, "{:?}: residual in place, {} threads", isa, threads);
            }
            for (p, &out) in outs.iter().enumerate() {
                let out = out as usize;
                for (f, &found) in output[out..out + filters].iter().enumerate() {
                    let (mut sum, mut size) = (f64::from(bias[f]), f64::from(bias[f]).abs());
                    for (y, i) in (0..rows).flat_map(|y| (0..depth).map(move |i| (y, i))) {
                        let x = input[starts[p] as usize + y * row + i];
                        let term = f64::from(x) * f64::from(weight[(f * rows + y) * depth + i]);
                        (sum, size) = (sum + term, size + term.abs());
                    }
                    if add {
                        sum += f64::from(residual[p * filters + f]);
                        size += f64::from(residual[p * filters + f]).abs();
                    }
                    // terms of this size everywhere: a sum takes in those of other positions and filters, too
                    let size = size.max((rows * depth) as f64 * 0.25);
                    let expected = activation(kind).map_or(sum, |activation| definition(activation, sum));
                    let near = (f64::from(found) - expected).abs() <= bound(levels) * size;
                    prop_assert!(near, "{isa:?} {levels:?}: position {p}, filter {f}: {found}, not {sum}");
                }
                let beside = output[out + filters..].iter().take(gap);
                prop_assert!(beside.copied().all(|v| v == UNTOUCHED), "{isa:?} writes beside its filters");
            }
            // a picture alone has the same bits
            for p in 0..pictures {
                let alone = run(1, p * map..(p + 1) * map);
                for &out in &outs[p * map..(p + 1) * map] {
                    let of = out as usize..out as usize + filters;
                    prop_assert_eq!(&alone[of.clone()], &output[of], "{:?}", isa);
                }
            }
        }
    }
}

/// ‖found − exact‖ / ‖exact‖ of a layer of the networks: positive inputs, weights of both signs.
fn error(levels: Option<Levels>, [map, depth, filters]: [usize; 3]) -> f64 {
    let isa = Isa::detect();
    let input: Vec<f32> = values(map * depth, 1).into_iter().map(|v| v.max(0.0)).collect();
    let (weight, bias) = (values(filters * depth, 2), values(filters, 3));
    let starts: Vec<u32> = (0..map).map(|p| (p * depth) as u32).collect();
    let outs: Vec<u32> = (0..map).map(|p| (p * filters) as u32).collect();
    let offsets = GemmOffsets { window_starts: &starts, row_stride: 0, output_starts: &outs, residual: Residual::None };
    let mut output = vec![0.0; map * filters];
    match levels {
        Some(levels) => {
            let conv = StrassenConv::new(isa, levels, &weight, &bias, 1, depth);
            let mut scratch = vec![0.0; conv.scratch_len(1)];
            conv.run(1, &offsets, map, &input, &[], None, &mut output, &mut scratch);
        }
        None => DirectConv::new(isa, &weight, &bias, 1, depth).run(1, &offsets, &input, &[], None, &mut output),
    }
    let (mut wrong, mut all) = (0.0, 0.0);
    for (i, &found) in output.iter().enumerate().step_by(7) {
        let (p, f) = (i / filters, i % filters);
        let terms = input[p * depth..][..depth].iter().zip(&weight[f * depth..][..depth]);
        let exact = terms.fold(f64::from(bias[f]), |sum, (&x, &w)| sum + f64::from(x) * f64::from(w));
        wrong += (f64::from(found) - exact).powi(2);
        all += exact * exact;
    }
    (wrong / all).sqrt()
}

#[test]
fn rounding_grows_by_a_small_factor_a_level() {
    for shape in [[98, 728, 256], [49, 2048, 192], [60, 256, 512]] {
        let direct = error(None, shape);
        let [one, two] = [Levels::One, Levels::Two].map(|levels| error(Some(levels), shape));
        assert!(direct < 1e-6 && one < 4.0 * direct && two < 8.0 * direct, "{shape:?}: {direct:e}, {one:e}, {two:e}");
    }
}

#[test]
fn groups_cover_a_picture_and_never_two() {
    for (map, parts, most) in [(361, 4, 14), (49, 2, 14), (196, 4, 14), (1, 4, 6), (25, 4, 4), (3136, 2, 14)] {
        let groups = GroupGrid::of(map, 3, parts, most);
        let mut next = 0;
        for i in 0..groups.count {
            let Group { first, rows, last } = groups.group(i);
            assert!(first == next && (1..=most).contains(&rows) && first / map == last / map, "{map}: {i}");
            next = (first + parts * rows).min(last + 1);
        }
        assert_eq!(next, 3 * map);
    }
}

#[test]
fn the_level_is_chosen_by_the_shape() {
    // ResNet-50: 1 × 1 from 64 to 256 channels, 512 to 128, 1024 to 256, 2048 to 512; Xception's middle flow; a dense
    // layer
    let shapes =
        [(3136, 64, 256), (784, 512, 128), (196, 1024, 256), (49, 2048, 512), (361, 728, 728), (1, 2048, 1000)];
    let chosen = shapes.map(|(positions, depth, filters)| Levels::choose(positions, depth, filters));
    assert_eq!(chosen, [None, Some(Levels::One), Some(Levels::Two), None, Some(Levels::Two), None]);
}

#[test]
fn threads_cover_groups_and_panels_once() {
    for (groups, panels) in [(4, 2), (7, 6), (1, 1), (28, 4), (2, 8), (5, 1)] {
        for threads in [1, 2, 3, 8] {
            let mut seen = vec![0; groups * panels];
            for i in 0..threads {
                let (of, through) = split(i, threads, groups, panels);
                of.for_each(|g| through.clone().for_each(|p| seen[g * panels + p] += 1));
            }
            assert!(seen.iter().all(|&n| n == 1), "{groups} × {panels} by {threads}");
        }
    }
    // seven groups would keep one of two threads waiting
    assert_eq!((split(1, 2, 7, 6), split(1, 2, 4, 2)), ((0..7, 3..6), (2..4, 0..2)));
}
