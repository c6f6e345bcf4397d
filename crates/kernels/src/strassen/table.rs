//! The seven steps, and the sums of weights.
//!
//! The quarters of a matrix are numbered 0 1 over 2 3.

use super::Levels;
use crate::aligned::Aligned;

/// Products that go on from one another in the registers, and what becomes of the last.
#[derive(Debug)]
pub(super) struct Chain {
    /// Saved products whose sum the first goes on from.
    pub start: &'static [usize],
    pub steps: &'static [Step],
    /// A saved product that is added in the end.
    pub add: Option<usize>,
    /// The quarter of the result that the end is.
    pub give: usize,
}

/// A product of a sum of quarters of the input by one of the weights.
#[derive(Debug)]
pub(super) struct Step {
    pub input: Operand,
    /// The sign of each quarter of the weights.
    weight: [i8; 4],
    /// Where the product is kept for others; all but the last of a chain are.
    pub save: Option<usize>,
}

/// What stands at the left of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Quarter(usize),
    /// One of the four sums, see [`SUMS`].
    Sum(usize),
}

/// Products that are kept.
pub(super) const SAVED: usize = 4;

/// Steps of all chains.
pub(super) const STEPS: usize = 7;

/// Sums of quarters of the input as their signs, as `rows::sum` computes them.
pub(super) const SUMS: [[i8; 4]; 4] = [[-1, 0, 1, 1], [1, 0, -1, 0], [0, 0, 1, 1], [1, 1, -1, -1]];

use Operand::{Quarter, Sum};

/// In an order in which few products are kept.
pub(super) const CHAINS: [Chain; 4] = [
    Chain {
        start: &[],
        steps: &[
            Step { input: Quarter(0), weight: [1, 0, 0, 0], save: Some(0) },
            Step { input: Quarter(1), weight: [0, 0, 1, 0], save: None },
        ],
        add: None,
        give: 0,
    },
    Chain {
        start: &[0],
        steps: &[
            Step { input: Sum(0), weight: [1, -1, 0, 1], save: Some(1) },
            Step { input: Sum(1), weight: [0, -1, 0, 1], save: Some(2) },
            Step { input: Quarter(3), weight: [-1, 1, 1, -1], save: None },
        ],
        add: None,
        give: 2,
    },
    Chain { start: &[], steps: &[Step { input: Sum(2), weight: [-1, 1, 0, 0], save: Some(3) }], add: Some(2), give: 3 },
    Chain { start: &[1, 3], steps: &[Step { input: Sum(3), weight: [0, 0, 0, 1], save: None }], add: None, give: 1 },
];

/// The steps of all chains, one behind the other, each with its chain and its place there.
pub(super) fn steps() -> impl Iterator<Item = (&'static Chain, usize)> {
    CHAINS.iter().flat_map(|chain| (0..chain.steps.len()).map(move |i| (chain, i)))
}

/// The parts of the weights that a product takes, as sign, part of the values, part of the filters.
fn terms(levels: Levels, outer: &Step, inner: &Step) -> Vec<(i8, usize, usize)> {
    let quarters = |signs: [i8; 4]| {
        signs.into_iter().enumerate().filter(|(_, sign)| *sign != 0).map(|(q, sign)| (sign, q / 2, q % 2))
    };
    let inner = || quarters(inner.weight);
    match levels {
        Levels::One => inner().collect(),
        Levels::Two => quarters(outer.weight)
            .flat_map(|(sign, k, f)| inner().map(move |(s, i, j)| (sign * s, 2 * k + i, 2 * f + j)))
            .collect(),
    }
}

/// Sums of the weights `(filters, depth)`, each rounded once, in the order that [`super::Packed`] tells: `vectors` of `lanes` filters a part.
pub(super) fn weights(levels: Levels, weight: &[f32], depth: usize, [vectors, lanes]: [usize; 2]) -> Aligned {
    let (parts, panel) = (levels.parts(), 2 * lanes);
    let (depth_part, filters) = (depth / parts, vectors * lanes);
    // (depth, filters): a sum runs over filters that lie side by side
    let mut turned = vec![0.0f32; weight.len()];
    for (f, filter) in weight.chunks_exact(depth).enumerate() {
        filter.iter().enumerate().for_each(|(k, &w)| turned[k * filters * parts + f] = w);
    }
    let panels = vectors.div_ceil(2);
    let mut values = Aligned::zeros(levels.outer() * panels * STEPS * depth_part * panel);
    let mut sum = vec![0.0f64; panel];
    let mut to = values.chunks_exact_mut(panel);
    let all: Vec<&Step> = steps().map(|(chain, i)| &chain.steps[i]).collect();
    for outer in &all[..levels.outer()] {
        let steps: Vec<_> = all.iter().map(|inner| terms(levels, outer, inner)).collect();
        for p in 0..panels {
            let width = panel.min(filters - p * panel);
            for terms in &steps {
                for (k, to) in (0..depth_part).zip(&mut to) {
                    sum.fill(0.0);
                    for &(sign, value, filter) in terms {
                        let at = (value * depth_part + k) * filters * parts + filter * filters + p * panel;
                        let from = &turned[at..at + width];
                        sum.iter_mut().zip(from).for_each(|(sum, &w)| *sum += f64::from(sign) * f64::from(w));
                    }
                    to.iter_mut().zip(&sum).for_each(|(to, &sum)| *to = sum as f32);
                }
            }
        }
    }
    values
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
            assert_eq!(result[chain.give].replace(value), None);
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
