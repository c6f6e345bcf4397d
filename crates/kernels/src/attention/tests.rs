//! Compares attention with its definition in f64 on every instruction set, in slices that end with the last value that
//! may be touched.

use super::*;
use crate::aligned::Aligned;
use crate::peak::noise;
use proptest::prelude::*;

const UNTOUCHED: f32 = 12345.0;

/// A case: (queries, keys) of a window, and windows whose tokens lie mixed up in slices with gaps.
#[derive(Clone, Debug)]
struct Case {
    shape: AttentionShape,
    scales: Vec<f32>,
    bias: Vec<f32>,
    places: AttentionPlaces,
    queries: Vec<f32>,
    keys: Vec<f32>,
}

impl Case {
    fn new(shape: AttentionShape, windows: usize, kinds: usize, gap: usize, seed: u32) -> Self {
        let AttentionShape { heads, size, queries, keys, cosine } = shape;
        let c = heads * size;
        // Each token of all windows has a place of its own.
        let places = |tokens: usize, pitch: usize, start: usize| {
            let n = windows * tokens;
            let step = [7, 5, 3, 2, 1].into_iter().find(|step| !n.is_multiple_of(*step)).unwrap_or(1);
            (0..n).map(|i| (i * step % n * pitch + start) as u32).collect::<Vec<_>>()
        };
        let (q, k) = (c + gap, 2 * c + 2 * gap);
        let places = AttentionPlaces {
            queries: places(queries, q, gap),
            keys: places(keys, k, gap),
            value_offset: c + gap,
            outputs: places(queries, q, gap),
            kinds: (0..windows).map(|i| i * 5 % kinds).collect(),
        };
        let spread = if cosine { 1.0 } else { 2.0 };
        let values = |n: usize, seed: u32, size: f32| noise(n, seed).into_iter().map(|v| v * size).collect::<Vec<_>>();
        Self {
            shape,
            scales: values(heads, seed ^ 1, 2.0 / (size as f32).sqrt()),
            bias: if kinds > 1 { values(kinds * heads * queries * keys, seed ^ 2, 3.0) } else { Vec::new() },
            queries: values(windows * queries * q, seed ^ 3, spread),
            keys: values(windows * keys * k, seed ^ 4, spread),
            places,
        }
    }

    fn attention(&self, isa: Isa) -> Attention {
        Attention::new(isa, self.shape, self.scales.clone(), self.bias.clone(), self.places.clone())
    }

    /// The output of a token of a window in f64, and a bound of its rounding: a score is off by some units in the last
    /// place of its largest terms, and a weight by as much relatively.
    fn definition(&self, window: usize, query: usize) -> Vec<(f64, f64)> {
        let AttentionShape { heads, size, queries, keys, cosine } = self.shape;
        let wide = |from: &[f32]| from.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let unit = |v: Vec<f64>| {
            let length = if cosine { v.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12) } else { 1.0 };
            v.into_iter().map(|v| v / length).collect::<Vec<_>>()
        };
        let kind = self.places.kinds[window % self.places.kinds.len()];
        (0..heads)
            .flat_map(|head| {
                let q_start = self.places.queries[window * queries + query] as usize + head * size;
                let q = unit(wide(&self.queries[q_start..][..size]));
                let starts = &self.places.keys[window * keys..][..keys];
                let keys_at = starts.iter().map(|&start| start as usize + head * size);
                let mut largest: f64 = 0.0;
                let score = |(j, at): (usize, usize)| {
                    let k = unit(wide(&self.keys[at..][..size]));
                    let terms = q.iter().zip(&k).map(|(q, k)| q * k * f64::from(self.scales[head]));
                    let at = ((kind * heads + head) * queries + query) * keys + j;
                    let terms: Vec<f64> = terms.chain(self.bias.get(at).map(|&b| f64::from(b))).collect();
                    largest = largest.max(terms.iter().map(|term| term.abs()).sum());
                    terms.iter().sum()
                };
                let scores: Vec<f64> = keys_at.clone().enumerate().map(score).collect();
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
                let sum: f64 = weights.iter().sum();
                let value = |at: usize, i: usize| f64::from(self.keys[at + self.places.value_offset + i]);
                let of = |i: usize, f: fn(f64) -> f64| {
                    keys_at.clone().zip(&weights).map(|(at, w)| w / sum * f(value(at, i))).sum::<f64>()
                };
                let bound = 2e-6 + 5e-7 * largest;
                (0..size).map(|i| (of(i, |v| v), bound * of(i, f64::abs) + 1e-9)).collect::<Vec<_>>()
            })
            .collect()
    }

    fn run(&self, attention: &Attention, threads: usize, windows: usize) -> Vec<f32> {
        let mut output = vec![UNTOUCHED; attention.spans.last().unwrap()[2]];
        // The contents of the scratch do not matter.
        let mut scratch = Aligned::zeros(attention.scratch_len(threads));
        scratch.fill(f32::NAN);
        attention.run(threads, windows, [&self.queries, &self.keys], &mut output, &mut scratch);
        output
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 150 }))]

    #[test]
    fn attention_is_its_definition(
        heads in 1usize..4, size in 1usize..70, queries in 1usize..40, keys in 1usize..70, windows in 1usize..4,
        kinds in 1usize..3, cosine in any::<bool>(), gap in 0usize..4, threads in 2usize..5, seed in any::<u32>(),
    ) {
        let case = Case::new(AttentionShape { heads, size, queries, keys, cosine }, windows, kinds, gap, seed);
        for isa in Isa::available() {
            let attention = case.attention(isa);
            let output = case.run(&attention, 1, windows);
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&case.run(&attention, threads, windows)), bits(&output), "{:?}: threads", isa);
            let mut beside = vec![true; output.len()];
            for (i, &at) in case.places.outputs.iter().enumerate() {
                let at = at as usize;
                for (j, (expected, bound)) in case.definition(i / queries, i % queries).into_iter().enumerate() {
                    let found = f64::from(output[at + j]);
                    let near = (found - expected).abs() <= bound;
                    prop_assert!(near, "{isa:?}: window {}, value {j}: {found}, not {expected}", i / queries);
                    beside[at + j] = false;
                }
            }
            prop_assert!(output.iter().zip(&beside).all(|(&v, &beside)| !beside || v == UNTOUCHED), "{isa:?}");
            // The first window computed alone has the same bits.
            let alone = case.run(&attention, 1, 1);
            for &at in &case.places.outputs[..queries] {
                let at = at as usize..at as usize + heads * size;
                prop_assert_eq!(bits(&alone[at.clone()]), bits(&output[at]), "{:?}: alone", isa);
            }
        }
        // The result over bf16 is that over f32, rounded once.
        let half = |v: &[f32]| v.iter().map(|&v| bf16::from_f32(v)).collect::<Vec<_>>();
        let [queries, keys] = [&case.queries, &case.keys].map(|v| half(v));
        let wide = |v: &[bf16]| v.iter().map(|v| v.to_f32()).collect::<Vec<_>>();
        let widened = Case { queries: wide(&queries), keys: wide(&keys), ..case.clone() };
        for unit in Bf16Isa::available() {
            let attention = case.attention(unit.isa());
            let mut found = vec![bf16::from_f32(UNTOUCHED); attention.spans.last().unwrap()[2]];
            let mut scratch = Aligned::zeros(attention.scratch_len(threads));
            attention.run_bf16(unit, threads, windows, [&queries, &keys], &mut found, &mut scratch);
            let expected = widened.run(&attention, 1, windows).into_iter().map(bf16::from_f32);
            prop_assert!(found.iter().map(|v| v.to_bits()).eq(expected.map(bf16::to_bits)), "{unit:?}");
        }
    }
}

#[test]
fn many_keys_take_several_blocks_of_queries() {
    let shape =
        AttentionShape { heads: 2, size: 32, queries: 100, keys: if cfg!(miri) { 50 } else { 700 }, cosine: false };
    let case = Case::new(shape, 1, 1, 1, 3);
    for isa in Isa::available() {
        let attention = case.attention(isa);
        assert!(cfg!(miri) || attention.rows.most < 100, "{isa:?}");
        let output = case.run(&attention, 1, 1);
        for (i, &at) in case.places.outputs.iter().enumerate().step_by(11) {
            for (j, (expected, bound)) in case.definition(0, i).into_iter().enumerate() {
                let found = f64::from(output[at as usize + j]);
                assert!((found - expected).abs() <= bound, "{isa:?}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_none_and_masked_keys_count_for_nothing() {
    let shape = AttentionShape { heads: 1, size: 3, queries: 2, keys: 9, cosine: false };
    let mut case = Case::new(shape, 2, 1, 0, 5);
    case.bias = vec![0.0; 18];
    case.bias[4] = -100.0;
    case.bias[9..].fill(-1000.0);
    for isa in Isa::available() {
        let attention = case.attention(isa);
        let clean = case.run(&attention, 1, 2);
        for (i, &at) in case.places.outputs.iter().enumerate() {
            for (j, (expected, bound)) in case.definition(i / 2, i % 2).into_iter().enumerate() {
                let found = f64::from(clean[at as usize + j]);
                assert!((found - expected).abs() <= bound, "{isa:?}: {found}, not {expected}");
            }
        }
        // Only the queries of the second window read its keys.
        let mut spoilt = case.clone();
        spoilt.keys[case.places.keys[11] as usize] = f32::NAN;
        let found = spoilt.run(&attention, 1, 2);
        for (i, &at) in case.places.outputs.iter().enumerate() {
            let at = at as usize..at as usize + 3;
            if i < 2 {
                assert_eq!(found[at.clone()], clean[at], "{isa:?}");
            } else {
                assert!(found[at].iter().all(|v| v.is_nan()), "{isa:?}");
            }
        }
    }
}

#[test]
fn places_that_do_not_fit_are_refused() {
    let shape = AttentionShape { heads: 1, size: 2, queries: 2, keys: 2, cosine: false };
    let case = Case::new(shape, 2, 1, 0, 7);
    let refused = |change: fn(&mut Case)| {
        let mut case = case.clone();
        change(&mut case);
        std::panic::catch_unwind(|| case.run(&case.attention(Isa::Portable), 1, 2)).is_err()
    };
    assert!(!refused(|_| {}));
    assert!(refused(|case| case.places.outputs[1] = case.places.outputs[0] + 1), "two tokens share an output");
    assert!(refused(|case| case.places.keys.iter_mut().for_each(|key| *key += 1)), "a value outside its slice");
    assert!(refused(|case| case.keys.truncate(case.keys.len() - 1)), "a slice too short");
    assert!(refused(|case| case.scales.clear()), "a scale for each head");
    assert!(refused(|case| case.bias = vec![0.0; 3]), "a bias for each score");
    assert!(refused(|case| case.places.keys.truncate(3)), "a key too few");
}
