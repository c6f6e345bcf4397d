//! The schedule: Winograd's form of Strassen's seven products as chains of steps, and the sums of weights that the
//! steps multiply by.
//!
//! The quarters of a matrix are numbered 0 1 over 2 3.

use super::Levels;
use crate::aligned::Aligned;
use crate::matmul::pack_panels;
use crate::simd::{Simd, SimdKernel};

/// Products whose sums the micro-kernel keeps in registers from one to the next.
#[derive(Debug)]
pub(super) struct Chain {
    /// Saved sums whose total the first step adds to.
    pub start: &'static [usize],
    pub steps: &'static [Step],
    /// A saved sum that is added behind the last step.
    pub add: Option<usize>,
    /// The quarter of the result that the total is.
    pub result: usize,
}

/// One of the seven products: of a quarter of the input, or a sum of its quarters, by a sum of quarters of the weights.
#[derive(Debug)]
pub(super) struct Step {
    pub input: Operand,
    /// The sign of each quarter of the weights.
    weight: [i8; 4],
    /// Where the total so far is saved for other chains: behind every step but the last of a chain, and some last ones.
    pub save: Option<usize>,
}

/// The left operand of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Quarter(usize),
    /// One of the four sums, see [`SUMS`].
    Sum(usize),
}

/// Saved sums.
pub(super) const SAVED: usize = 4;

/// Steps of all chains.
pub(super) const STEPS: usize = 7;

/// Sums of quarters of the input as the signs of the quarters, in the order in which `operands` computes them.
pub(super) const SUMS: [[i8; 4]; 4] = [[-1, 0, 1, 1], [1, 0, -1, 0], [0, 0, 1, 1], [1, 1, -1, -1]];

use Operand::{Quarter, Sum};

/// The chains, in an order that saves few sums.
pub(super) const CHAINS: [Chain; 4] = [
    Chain {
        start: &[],
        steps: &[
            Step { input: Quarter(0), weight: [1, 0, 0, 0], save: Some(0) },
            Step { input: Quarter(1), weight: [0, 0, 1, 0], save: None },
        ],
        add: None,
        result: 0,
    },
    Chain {
        start: &[0],
        steps: &[
            Step { input: Sum(0), weight: [1, -1, 0, 1], save: Some(1) },
            Step { input: Sum(1), weight: [0, -1, 0, 1], save: Some(2) },
            Step { input: Quarter(3), weight: [-1, 1, 1, -1], save: None },
        ],
        add: None,
        result: 2,
    },
    Chain {
        start: &[],
        steps: &[Step { input: Sum(2), weight: [-1, 1, 0, 0], save: Some(3) }],
        add: Some(2),
        result: 3,
    },
    Chain { start: &[1, 3], steps: &[Step { input: Sum(3), weight: [0, 0, 0, 1], save: None }], add: None, result: 1 },
];

/// The steps of all chains, one behind the other, each as its chain and its place there.
pub(super) fn steps() -> impl Iterator<Item = (&'static Chain, usize)> {
    CHAINS.iter().flat_map(|chain| (0..chain.steps.len()).map(move |i| (chain, i)))
}

/// A part of the weights in a sum.
struct Term {
    sign: i8,
    /// The part of the values, and the part of the filters.
    values: usize,
    filters: usize,
}

/// The parts of the weights whose sum an inner step of an outer step multiplies by.
fn terms(levels: Levels, outer: &Step, inner: &Step) -> Vec<Term> {
    let quarters = |signs: [i8; 4]| {
        let signs = signs.into_iter().enumerate().filter(|(_, sign)| *sign != 0);
        signs.map(|(q, sign)| Term { sign, values: q / 2, filters: q % 2 })
    };
    match levels {
        Levels::One => quarters(inner.weight).collect(),
        Levels::Two => quarters(outer.weight)
            .flat_map(|outer| {
                quarters(inner.weight).map(move |inner| Term {
                    sign: outer.sign * inner.sign,
                    values: 2 * outer.values + inner.values,
                    filters: 2 * outer.filters + inner.filters,
                })
            })
            .collect(),
    }
}

/// Weights `(filters, depth)` of `vectors` of filters a part.
#[derive(Debug)]
pub(super) struct PackWeights<'a> {
    pub levels: Levels,
    pub weight: &'a [f32],
    pub depth: usize,
    pub vectors: usize,
}

impl SimdKernel for PackWeights<'_> {
    type Output = Aligned;

    /// It has no vectors of its own: the compiler makes them.
    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> Aligned {
        pack_weights(self.levels, self.weight, self.depth, [self.vectors, S::LANES])
    }
}

/// Sums and packs the weights `(filters, depth)` in the order that [`StrassenConv`](super::StrassenConv) tells:
/// `vectors` of `lanes` filters a part. Each sum is computed in f64 and rounded once.
#[inline(always)]
fn pack_weights(levels: Levels, weight: &[f32], depth: usize, [vectors, lanes]: [usize; 2]) -> Aligned {
    let (parts, panel) = (levels.parts(), 2 * lanes);
    let (depth_part, filters) = (depth / parts, vectors * lanes);
    // (depth, filters): a sum runs over filters that lie side by side
    let mut transposed = vec![0.0f32; weight.len()];
    pack_panels(weight, depth, filters * parts, &mut transposed);
    let panels = vectors.div_ceil(2);
    let mut packed = Aligned::zeros(levels.outer_steps() * panels * STEPS * depth_part * panel);
    let mut sum = vec![0.0f64; panel];
    let mut to = packed.chunks_exact_mut(panel);
    let all: Vec<&Step> = steps().map(|(chain, i)| &chain.steps[i]).collect();
    for outer in &all[..levels.outer_steps()] {
        let steps: Vec<_> = all.iter().map(|inner| terms(levels, outer, inner)).collect();
        for p in 0..panels {
            let width = panel.min(filters - p * panel);
            for terms in &steps {
                for (k, to) in (0..depth_part).zip(&mut to) {
                    sum.fill(0.0);
                    for term in terms {
                        let row = (term.values * depth_part + k) * filters * parts;
                        let from = &transposed[row + term.filters * filters + p * panel..][..width];
                        sum.iter_mut().zip(from).for_each(|(sum, &w)| *sum += f64::from(term.sign) * f64::from(w));
                    }
                    to.iter_mut().zip(&sum).for_each(|(to, &sum)| *to = sum as f32);
                }
            }
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the steps over numbers instead of matrices.
    fn product(a: [i64; 4], b: [i64; 4]) -> [i64; 4] {
        let signed =
            |signs: [i8; 4], of: [i64; 4]| -> i64 { signs.iter().zip(of).map(|(&s, v)| i64::from(s) * v).sum() };
        let (mut saved, mut result) = ([0; SAVED], [None; 4]);
        for chain in &CHAINS {
            let mut value: i64 = chain.start.iter().map(|&i| saved[i]).sum();
            for step in chain.steps {
                let left = match step.input {
                    Quarter(q) => a[q],
                    Sum(s) => signed(SUMS[s], a),
                };
                value += left * signed(step.weight, b);
                step.save.into_iter().for_each(|i| saved[i] = value);
            }
            value += chain.add.map_or(0, |i| saved[i]);
            assert_eq!(result[chain.result].replace(value), None);
        }
        result.map(|value| value.expect("every quarter is given"))
    }

    #[test]
    fn seven_products_are_eight() {
        // a bilinear identity: it holds for all matrices when it holds for these pairs
        let unit = |i: usize| std::array::from_fn(|j| i64::from(i == j));
        for (i, j) in (0..4).flat_map(|i| (0..4).map(move |j| (i, j))) {
            let (a, b): ([i64; 4], [i64; 4]) = (unit(i), unit(j));
            let expected = [
                a[0] * b[0] + a[1] * b[2],
                a[0] * b[1] + a[1] * b[3],
                a[2] * b[0] + a[3] * b[2],
                a[2] * b[1] + a[3] * b[3],
            ];
            assert_eq!(product(a, b), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn two_levels_take_forty_nine_products() {
        let all: Vec<&Step> = steps().map(|(chain, i)| &chain.steps[i]).collect();
        assert!(
            all.len() == STEPS && CHAINS.iter().all(|chain| chain.steps.iter().rev().skip(1).all(|s| s.save.is_some()))
        );
        let counts = all.iter().flat_map(|o| all.iter().map(|i| terms(Levels::Two, o, i).len()));
        let counts: Vec<usize> = counts.collect();
        // 1 1 3 2 4 2 1 quarters, and their products
        assert_eq!((counts.len(), counts.iter().sum::<usize>(), counts.iter().max()), (49, 14 * 14, Some(&16)));
    }
}
