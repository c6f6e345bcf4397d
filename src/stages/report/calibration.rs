//! Whether the classifier knows how sure it may be.

use serde::Serialize;

use super::charts::calibration::{self, Bin};
use super::facts::Prediction;
use super::words::percent;

/// Bins of equal width, as in Guo et al.
const BINS: usize = 10;

/// The part of the scores.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    pub summary: String,
    pub chart: String,
}

/// The diagram and what it comes to; none without a prediction.
pub fn section(predictions: &[Prediction]) -> Option<Section> {
    let bins = bins(predictions);
    let chart = calibration::draw(&bins, "Share of right predictions by confidence")?;
    let mean: f64 = predictions.iter().map(|one| one.confidence).sum::<f64>() / predictions.len() as f64;
    let right = predictions.iter().filter(|one| one.is_right()).count() as f64 / predictions.len() as f64;
    let error = expected_error(&bins);
    let verdict = match mean - right {
        d if d > 0.02 => "it is too sure of itself",
        d if d < -0.02 => "it is less sure than it could be",
        _ => "on the whole it is as sure as it is right",
    };
    let (mean, right, error) = (percent(mean), percent(right), percent(error));
    Some(Section {
        summary: format!(
            "The classifier is sure by {mean} on average and right for {right}: {verdict}. Expected calibration error: {error}."
        ),
        chart,
    })
}

/// The predictions by their confidence.
pub fn bins(predictions: &[Prediction]) -> Vec<Bin> {
    let of = |one: &Prediction| ((one.confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
    let bin = |i: usize| {
        let members = || predictions.iter().filter(move |one| one.confidence.is_finite() && of(one) == i);
        let count = members().count();
        let mean = |sum: f64| sum / count as f64;
        Bin {
            range: [i as f64 / BINS as f64, (i + 1) as f64 / BINS as f64],
            count,
            confidence: mean(members().map(|one| one.confidence).sum()),
            accuracy: mean(members().filter(|one| one.is_right()).count() as f64),
        }
    };
    (0..BINS).map(bin).collect()
}

/// Mean distance of accuracy and confidence over the bins, each weighted by its pictures.
///
/// Source: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", 2017; bins are open below and closed above.
fn expected_error(bins: &[Bin]) -> f64 {
    let total: usize = bins.iter().map(|bin| bin.count).sum();
    let filled = bins.iter().filter(|bin| bin.count > 0);
    filled.map(|bin| (bin.accuracy - bin.confidence).abs() * bin.count as f64).sum::<f64>() / total as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(all: &[(f64, bool)]) -> Vec<Prediction> {
        let one = |&(confidence, right): &(f64, bool)| Prediction {
            path: "a.jpg".into(),
            label: "a".into(),
            predicted: if right { "a".into() } else { "b".into() },
            confidence,
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn the_error_is_the_mean_gap_between_sure_and_right() {
        let all = predictions(&[(0.95, true), (0.95, true), (0.95, false), (0.95, true), (0.55, true), (0.55, false)]);
        // |0.75 − 0.95| · 4/6 + |0.5 − 0.55| · 2/6
        assert!((expected_error(&bins(&all)) - (0.2 * 4.0 + 0.05 * 2.0) / 6.0).abs() < 1e-12);
        assert!(section(&all).is_some_and(|section| section.summary.contains("too sure")));
        assert!(section(&[]).is_none());
    }

    #[test]
    fn a_confidence_on_a_border_belongs_below_and_none_is_lost() {
        let all = predictions(&[(0.0, true), (0.1, true), (0.100_000_1, true), (1.0, true)]);
        let counts: Vec<usize> = bins(&all).iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
