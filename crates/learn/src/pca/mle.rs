//! Estimates the number of directions of a spectrum that are signal, by Minka's approximation of the evidence for every
//! number of components.
//!
//! Source: T. P. Minka, "Automatic Choice of Dimensionality for PCA", NIPS 2000, equations 76 to 78, the estimate of
//! `sklearn.decomposition.PCA(n_components="mle")`. Its double sum is updated from rank to rank, so that all ranks
//! together cost d² logarithms and not d³.

use std::f64::consts::{LN_2, PI};

/// A smaller variance counts as 0, as in scikit-learn.
const NOTHING: f64 = 1e-15;

/// Returns the most probable number of components, 1 to d − 1 (1 for a single feature); `spectrum` are the variances of
/// all d directions, falling, of `rows` ≥ d rows.
pub(super) fn dimension(spectrum: &[f64], rows: u64) -> usize {
    let d = spectrum.len();
    let (n, wide) = (rows as f64, d as f64);
    let mut tail: f64 = spectrum.iter().sum();
    // sums over the ranks so far: of the prior, of ln λ, of the pairs
    let (mut prior, mut logs, mut differences, mut inverses) = (0.0, 0.0, 0.0, 0.0);
    let mut best = (f64::NEG_INFINITY, 1);
    for rank in 1..d {
        let (k, variance) = (rank as f64, spectrum[rank - 1]);
        if variance < NOTHING {
            break; // no later rank is more probable
        }
        let half = (wide - k + 1.0) / 2.0;
        prior += libm::lgamma(half) - PI.ln() * half - LN_2;
        logs += variance.ln();
        tail -= variance;
        differences += spectrum[rank..].iter().map(|&other| gap(variance, other)).sum::<f64>();
        inverses += spectrum[..rank - 1].iter().map(|&other| inverse_gap(variance, other)).sum::<f64>();
        let noise = (tail / (wide - k)).max(NOTHING);
        let to_noise: f64 = spectrum[..rank].iter().map(|&other| inverse_gap(noise, other)).sum();
        let free = wide * k - k * (k + 1.0) / 2.0;
        let pairs = differences + inverses + (wide - k) * to_noise + free * n.ln();
        let evidence = prior - logs * n / 2.0 - noise.ln() * n * (wide - k) / 2.0 + (2.0 * PI).ln() * (free + k) / 2.0
            - pairs / 2.0
            - k * n.ln() / 2.0;
        if evidence > best.0 {
            best = (evidence, rank);
        }
    }
    best.1
}

/// ln (a − b) for a ≥ b. The difference of equal variances is a rounding error, whose logarithm would outweigh all
/// other terms.
fn gap(a: f64, b: f64) -> f64 {
    (a - b).max(a * f64::EPSILON).ln()
}

/// ln (1/small − 1/large).
fn inverse_gap(small: f64, large: f64) -> f64 {
    gap(large, small) - small.ln() - large.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn the_dimension_is_that_of_scikit_learn() {
        for case in golden::list(&golden::load("select_reduce")["mle"]) {
            let (rows, spectrum) = (golden::count(&case["rows"]), golden::vector(&case["spectrum"]));
            assert_eq!(dimension(&spectrum, rows as u64), golden::count(&case["dimension"]), "{}", case["name"]);
        }
    }

    #[test]
    fn there_is_always_one() {
        assert_eq!(dimension(&[3.0], 9), 1);
        assert_eq!(dimension(&[0.0; 4], 9), 1);
        assert_eq!(dimension(&[5.0, 0.0, 0.0], 9), 1);
        assert!((1..4).contains(&dimension(&[1.0; 4], 9)));
    }
}
