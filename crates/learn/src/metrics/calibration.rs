//! Compares the confidence of predictions with the rate at which they are right:
//! `sklearn.calibration.calibration_curve` of the predicted class, and the expected calibration error (Guo et al., "On
//! calibration of modern neural networks", 2017).

use serde::{Deserialize, Serialize};

/// Number of bins.
const BINS: usize = 10;

/// The predictions whose confidence is above `low` and not above `high`; the first bin has those of 0, too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// The lower end of the bin.
    pub low: f64,
    /// The upper end of the bin.
    pub high: f64,
    /// The number of pictures in it.
    pub count: usize,
    /// Their mean confidence; none in an empty bin.
    pub confidence: Option<f64>,
    /// The share of them whose class was predicted; none in an empty bin.
    pub accuracy: Option<f64>,
}

/// Returns ten bins of equal width. `predictions` has the confidence of each picture, and whether its class was
/// predicted.
pub fn bins(predictions: impl Iterator<Item = (f32, bool)>) -> Vec<Bin> {
    let edges: Vec<f64> = (0..=BINS).map(|i| i as f64 * 0.1).collect();
    let (mut count, mut sums, mut right) = ([0_usize; BINS], [0.0; BINS], [0_usize; BINS]);
    for (confidence, correct) in predictions {
        let confidence = f64::from(confidence);
        let bin = edges[1..BINS].partition_point(|&edge| edge < confidence);
        count[bin] += 1;
        sums[bin] += confidence;
        right[bin] += usize::from(correct);
    }
    let mean = |sum: f64, count: usize| (count > 0).then(|| sum / count as f64);
    let bin = |i: usize| Bin {
        low: edges[i],
        high: edges[i + 1],
        count: count[i],
        confidence: mean(sums[i], count[i]),
        accuracy: mean(right[i] as f64, count[i]),
    };
    (0..BINS).map(bin).collect()
}

/// Returns the mean absolute difference of confidence and accuracy over the bins, weighted by their numbers of
/// pictures.
pub fn expected_error(bins: &[Bin]) -> f64 {
    let total: usize = bins.iter().map(|bin| bin.count).sum();
    let gap = |bin: &Bin| Some((bin.confidence? - bin.accuracy?).abs() * bin.count as f64);
    bins.iter().filter_map(gap).sum::<f64>() / total.max(1) as f64
}
