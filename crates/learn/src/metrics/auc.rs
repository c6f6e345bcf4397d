//! Area under the ROC curve, one class against the rest: how often a picture of the class gets a higher probability of
//! it than one of another class; `sklearn.metrics.roc_auc_score(multi_class="ovr")`.
//!
//! It is the Mann-Whitney statistic: the number of pairs in the right order, ties counted as half, over the number of
//! all pairs. The counts are integers, so the result is exact.

use serde::{Deserialize, Serialize};

use crate::table::FeatureMatrix;

/// Means of the areas over the classes that have one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RocAuc {
    /// Plain mean.
    #[serde(rename = "macro")]
    pub macro_avg: f64,
    /// Mean weighted by the pictures of each class.
    #[serde(rename = "weighted")]
    pub weighted_avg: f64,
}

/// Returns the area of each class; none for a class that has no pictures, or all of them. Two classes share the area of
/// the second.
pub(super) fn by_class(truth: &[usize], probabilities: &FeatureMatrix, classes: usize) -> Vec<Option<f64>> {
    if classes == 2 {
        return vec![area(truth, probabilities, 1); 2];
    }
    (0..classes).map(|class| area(truth, probabilities, class)).collect()
}

/// Returns the means of [`by_class`]; none when no class has an area. `support` is the number of pictures of each
/// class.
pub(super) fn mean(areas: &[Option<f64>], support: impl Iterator<Item = u64>) -> Option<RocAuc> {
    let there: Vec<(f64, f64)> =
        areas.iter().zip(support).filter_map(|(area, support)| Some(((*area)?, support as f64))).collect();
    let weights: f64 = there.iter().map(|(_, weight)| weight).sum();
    (weights > 0.0).then(|| RocAuc {
        macro_avg: there.iter().map(|(area, _)| area).sum::<f64>() / there.len() as f64,
        weighted_avg: there.iter().map(|(area, weight)| area * weight).sum::<f64>() / weights,
    })
}

fn area(truth: &[usize], probabilities: &FeatureMatrix, class: usize) -> Option<f64> {
    let mut ranked: Vec<(f32, bool)> =
        probabilities.iter_rows().zip(truth).map(|(row, &truth)| (row[class], truth == class)).collect();
    ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut of_class, mut twice) = (0_u128, 0_u128, 0_u128);
    for equal in ranked.chunk_by(|a, b| a.0 == b.0) {
        let own = equal.iter().filter(|(_, own)| *own).count() as u128;
        let others = equal.len() as u128 - own;
        twice += own * (2 * below + others);
        below += others;
        of_class += own;
    }
    let pairs = of_class * below;
    (pairs > 0).then(|| twice as f64 / (2 * pairs) as f64)
}
