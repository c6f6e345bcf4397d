//! Scores of predictions with the names of scikit-learn and its rules for empty classes.
//!
//! A class that is never predicted has precision 0, one that has no pictures has recall 0 (`zero_division=0`); both
//! count in the macro average, while the balanced accuracy leaves out classes without pictures. Probabilities are
//! clipped at the `f32` epsilon before the log loss takes their logarithm, as `sklearn.metrics.log_loss` does with
//! `float32`.

mod auc;
pub mod calibration;

pub use auc::RocAuc;
pub use calibration::Bin;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::mlp::argmax;
use crate::table::FeatureMatrix;

/// 97.5 % quantile of the standard normal distribution: a two-sided 95 % interval.
const Z_95: f64 = 1.959_963_984_540_054;

/// All scores of one set of pictures. Scores that earlier versions did not write have a default when they are read
/// back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Number of pictures scored.
    pub support: usize,
    /// Share of pictures whose class was predicted.
    pub accuracy: f64,
    /// The 95 % confidence interval of the accuracy (Wilson score interval).
    pub accuracy_interval_95: [f64; 2],
    /// Mean recall over the classes that have pictures.
    pub balanced_accuracy: f64,
    /// Mean negative natural logarithm of the probability given to the true class.
    pub log_loss: f64,
    /// Share of pictures whose class is among the k most probable, for every k that is asked for.
    #[serde(default)]
    pub top_k_accuracy: Vec<TopK>,
    /// Area under the ROC curve, each class against the rest; none where no class has one.
    #[serde(default)]
    pub roc_auc: Option<RocAuc>,
    /// Expected calibration error: the mean absolute difference of confidence and accuracy, by bins of confidence.
    #[serde(default)]
    pub calibration_error: f64,
    /// Confidence and accuracy of the predictions by confidence, in ten bins.
    #[serde(default)]
    pub calibration: Vec<Bin>,
    /// Scores of each class, by class number.
    pub per_class: Vec<ClassScores>,
    /// Plain mean of the scores over all classes.
    pub macro_avg: Average,
    /// Mean of the scores over all classes, weighted by their number of pictures.
    pub weighted_avg: Average,
    /// Pictures by `[truth][predicted]`.
    pub confusion_matrix: Vec<Vec<u64>>,
}

/// Scores of one class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// The share of the pictures predicted to be of this class that are of it.
    pub precision: f64,
    /// The share of the pictures of this class that are predicted to be of it.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1_score: f64,
    /// Pictures of this class.
    pub support: u64,
    /// Area under the ROC curve of this class against the rest; none without pictures of it, or of others.
    pub roc_auc: Option<f64>,
}

/// A mean over classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Average {
    /// Mean precision.
    pub precision: f64,
    /// Mean recall.
    pub recall: f64,
    /// Mean F1 score.
    pub f1_score: f64,
}

/// Accuracy when any of the k most probable classes may be the true one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    /// The number of most probable classes that count.
    pub k: usize,
    /// Share of pictures whose class is among them.
    pub accuracy: f64,
}

/// How well the confidence of a classifier agrees with its accuracy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// As in [`Metrics`].
    pub log_loss: f64,
    /// As in [`Metrics`].
    pub calibration_error: f64,
}

impl Reliability {
    /// Computes the scores of probabilities (n, classes) of rows with the true classes `truth` (n).
    pub fn of(truth: &[usize], probabilities: &FeatureMatrix) -> Self {
        let sure = truth.iter().zip(probabilities.iter_rows()).map(|(&class, row)| {
            let predicted = argmax(row);
            (row[predicted], predicted == class)
        });
        let calibration_error = calibration::expected_error(&calibration::bins(sure));
        Self { log_loss: log_loss(truth, probabilities), calibration_error }
    }
}

/// Predictions cannot be scored.
#[derive(Debug, Error)]
pub enum MetricsError {
    /// Nothing to score.
    #[error("no pictures to score: the test split is empty")]
    NoRows,
    /// The inputs are not of one length or width.
    #[error(
        "{truth} true classes, {predicted} predictions and {rows} × {cols} probabilities do not belong to one set of \
         pictures of {classes} classes"
    )]
    Shape { truth: usize, predicted: usize, rows: usize, cols: usize, classes: usize },
    /// A class number is too large.
    #[error("picture {row} has class {class}, but there are {classes} classes")]
    Class { row: usize, class: usize, classes: usize },
    /// A probability is NaN.
    #[error("picture {row} has a probability that is not a number")]
    NotANumber { row: usize },
}

/// Scores predictions against the truth.
///
/// `truth` and `predicted` hold a class number of each picture, `probabilities` is (pictures, classes). Each of `top_k`
/// becomes one entry of `top_k_accuracy`, in that order. Among equal probabilities the higher class number counts as
/// the more probable, as in `sklearn.metrics.top_k_accuracy_score`.
pub fn evaluate(
    truth: &[usize],
    predicted: &[usize],
    probabilities: &FeatureMatrix,
    classes: usize,
    top_k: &[usize],
) -> Result<Metrics, MetricsError> {
    check(truth, predicted, probabilities, classes)?;
    let confusion_matrix = confusion(truth, predicted, classes);
    let areas = auc::by_class(truth, probabilities, classes);
    let per_class = per_class(&confusion_matrix, &areas);
    let roc_auc = auc::mean(&areas, per_class.iter().map(|scores| scores.support));
    let sure = predicted.iter().zip(truth).zip(probabilities.iter_rows()).map(|((&p, &t), row)| (row[p], p == t));
    let calibration = calibration::bins(sure);
    let support = truth.len();
    let right = (0..classes).map(|c| confusion_matrix[c][c]).sum::<u64>();
    let accuracy = right as f64 / support as f64;
    Ok(Metrics {
        support,
        accuracy,
        accuracy_interval_95: wilson(accuracy, support),
        balanced_accuracy: balanced_accuracy(&per_class),
        log_loss: log_loss(truth, probabilities),
        top_k_accuracy: top_k.iter().map(|&k| TopK { k, accuracy: top_k_accuracy(truth, probabilities, k) }).collect(),
        roc_auc,
        calibration_error: calibration::expected_error(&calibration),
        calibration,
        macro_avg: average(&per_class, |_| 1.0),
        weighted_avg: average(&per_class, |scores| scores.support as f64),
        per_class,
        confusion_matrix,
    })
}

fn check(
    truth: &[usize],
    predicted: &[usize],
    probabilities: &FeatureMatrix,
    classes: usize,
) -> Result<(), MetricsError> {
    let (rows, cols) = (probabilities.rows(), probabilities.cols());
    if truth.is_empty() {
        return Err(MetricsError::NoRows);
    }
    if truth.len() != predicted.len() || truth.len() != rows || cols != classes {
        return Err(MetricsError::Shape { truth: truth.len(), predicted: predicted.len(), rows, cols, classes });
    }
    for labels in [truth, predicted] {
        if let Some((row, &class)) = labels.iter().enumerate().find(|&(_, &class)| class >= classes) {
            return Err(MetricsError::Class { row, class, classes });
        }
    }
    match probabilities.iter_rows().position(|row| row.iter().any(|p| p.is_nan())) {
        Some(row) => Err(MetricsError::NotANumber { row }),
        None => Ok(()),
    }
}

fn confusion(truth: &[usize], predicted: &[usize], classes: usize) -> Vec<Vec<u64>> {
    let mut counts = vec![vec![0; classes]; classes];
    truth.iter().zip(predicted).for_each(|(&t, &p)| counts[t][p] += 1);
    counts
}

/// Returns a / b, and 0 where b is 0.
fn share(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

fn per_class(confusion: &[Vec<u64>], areas: &[Option<f64>]) -> Vec<ClassScores> {
    let scores = |class: usize| {
        let hits = confusion[class][class] as f64;
        let support: u64 = confusion[class].iter().sum();
        let named: u64 = confusion.iter().map(|row| row[class]).sum();
        ClassScores {
            precision: share(hits, named as f64),
            recall: share(hits, support as f64),
            f1_score: share(2.0 * hits, (support + named) as f64),
            support,
            roc_auc: areas[class],
        }
    };
    (0..confusion.len()).map(scores).collect()
}

fn balanced_accuracy(per_class: &[ClassScores]) -> f64 {
    let present: Vec<f64> = per_class.iter().filter(|c| c.support > 0).map(|c| c.recall).collect();
    share(present.iter().sum(), present.len() as f64)
}

fn average(per_class: &[ClassScores], weight: impl Fn(&ClassScores) -> f64) -> Average {
    let total: f64 = per_class.iter().map(&weight).sum();
    let mean = |score: fn(&ClassScores) -> f64| share(per_class.iter().map(|c| weight(c) * score(c)).sum(), total);
    Average { precision: mean(|c| c.precision), recall: mean(|c| c.recall), f1_score: mean(|c| c.f1_score) }
}

/// Returns the 95 % interval of a share of `count` pictures: Wilson, "Probable inference, the law of succession, and
/// statistical inference", 1927.
pub fn wilson(share: f64, count: usize) -> [f64; 2] {
    let n = count as f64;
    let z2 = Z_95 * Z_95;
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    [(centre - half).max(0.0), (centre + half).min(1.0)]
}

fn log_loss(truth: &[usize], probabilities: &FeatureMatrix) -> f64 {
    let losses = truth.iter().zip(probabilities.iter_rows()).map(|(&class, row)| loss(row[class]));
    losses.sum::<f64>() / truth.len() as f64
}

/// Returns the log loss of one row, whose true class has this probability.
pub fn loss(probability: f32) -> f64 {
    -f64::from(probability.clamp(f32::EPSILON, 1.0 - f32::EPSILON)).ln()
}

fn top_k_accuracy(truth: &[usize], probabilities: &FeatureMatrix, k: usize) -> f64 {
    let among = |&(&class, row): &(&usize, &[f32])| {
        let ahead = |&(other, &p): &(usize, &f32)| p > row[class] || (p == row[class] && other > class);
        row.iter().enumerate().filter(ahead).count() < k
    };
    truth.iter().zip(probabilities.iter_rows()).filter(among).count() as f64 / truth.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn scores_are_those_of_scikit_learn() {
        let golden = golden::load("sklearn_learn");
        for case in golden::list(&golden["metrics"]) {
            let (truth, predicted) = (golden::indices(&case["truth"]), golden::indices(&case["predicted"]));
            let classes = golden::count(&case["classes"]);
            let probabilities =
                FeatureMatrix::from_vec(truth.len(), classes, golden::vector_f32(&case["probabilities"]))
                    .expect("shape");
            let tops = golden::list(&case["top_k_accuracy"]);
            let ks: Vec<usize> = tops.iter().map(|top| golden::count(&top["k"])).collect();
            let got = evaluate(&truth, &predicted, &probabilities, classes, &ks).expect("scores");

            for (score, key) in
                [(got.accuracy, "accuracy"), (got.balanced_accuracy, "balanced_accuracy"), (got.log_loss, "log_loss")]
            {
                golden::close(&[score], &[golden::number(&case[key])], 1e-9);
            }
            for (top, expected) in got.top_k_accuracy.iter().zip(tops) {
                golden::close(&[top.accuracy], &[golden::number(&expected["accuracy"])], 1e-9);
            }
            let column = |score: fn(&ClassScores) -> f64| got.per_class.iter().map(score).collect::<Vec<f64>>();
            golden::close(&column(|c| c.precision), &golden::vector(&case["precision"]), 1e-9);
            golden::close(&column(|c| c.recall), &golden::vector(&case["recall"]), 1e-9);
            golden::close(&column(|c| c.f1_score), &golden::vector(&case["f1_score"]), 1e-9);
            golden::close(&column(|c| c.support as f64), &golden::vector(&case["support"]), 0.0);
            for (average, key) in [(got.macro_avg, "macro"), (got.weighted_avg, "weighted")] {
                let expected = &case["averages"][key];
                let expected = ["precision", "recall", "f1_score"].map(|score| golden::number(&expected[score]));
                golden::close(&[average.precision, average.recall, average.f1_score], &expected, 1e-9);
            }
            let expected: Vec<Vec<u64>> =
                serde_json::from_value(case["confusion_matrix"].clone()).expect("a matrix of counts");
            assert_eq!(got.confusion_matrix, expected);
        }
    }

    #[test]
    fn areas_and_calibration_are_those_of_scikit_learn() {
        let golden = golden::load("classifiers");
        for case in golden::list(&golden["metrics"]) {
            let (truth, classes) = (golden::indices(&case["truth"]), golden::count(&case["classes"]));
            let probabilities =
                FeatureMatrix::from_vec(truth.len(), classes, golden::vector_f32(&case["probabilities"]))
                    .expect("shape");
            let predicted: Vec<usize> = probabilities.iter_rows().map(crate::mlp::argmax).collect();
            let got = evaluate(&truth, &predicted, &probabilities, classes, &[]).expect("scores");
            let areas: Vec<Option<f64>> = got.per_class.iter().map(|class| class.roc_auc).collect();
            let expected: Vec<Option<f64>> = golden::list(&case["roc_auc"]).iter().map(|v| v.as_f64()).collect();
            assert_eq!(areas.len(), expected.len());
            for (area, expected) in areas.iter().zip(&expected) {
                assert_eq!(area.is_some(), expected.is_some(), "{areas:?}");
                golden::close(&[area.unwrap_or(0.0)], &[expected.unwrap_or(0.0)], 1e-9);
            }
            let means = got.roc_auc.map(|auc| [auc.macro_avg, auc.weighted_avg]);
            match means {
                Some(means) => golden::close(&means, &golden::vector(&case["roc_auc_mean"]), 1e-9),
                None => assert!(case["roc_auc_mean"].is_null()),
            }
            golden::close(&[got.calibration_error], &[golden::number(&case["calibration_error"])], 1e-9);
            let counts: Vec<usize> = got.calibration.iter().map(|bin| bin.count).collect();
            assert_eq!(counts, golden::indices(&case["calibration_counts"]));
            let full = |of: fn(&Bin) -> Option<f64>| got.calibration.iter().filter_map(of).collect::<Vec<f64>>();
            golden::close(&full(|bin| bin.confidence), &golden::vector(&case["calibration_confidence"]), 1e-9);
            golden::close(&full(|bin| bin.accuracy), &golden::vector(&case["calibration_accuracy"]), 1e-9);
            let json = serde_json::to_string(&got).expect("JSON");
            assert!(!json.contains("NaN"), "what is undefined is null");
        }
    }

    #[test]
    fn wilson_intervals_are_those_of_the_tables() {
        // scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
        golden::close(&wilson(0.9, 10), &[0.595_849_973_204_761_5, 0.982_123_786_904_927_1], 1e-9);
        golden::close(&wilson(1.0, 2), &[0.342_380_227_506_653, 1.0], 1e-9);
    }

    #[test]
    fn inputs_that_do_not_belong_together_are_refused() {
        let two = FeatureMatrix::from_vec(2, 2, vec![0.5; 4]).expect("2 × 2");
        assert!(matches!(evaluate(&[], &[], &FeatureMatrix::with_cols(2), 2, &[]), Err(MetricsError::NoRows)));
        assert!(matches!(evaluate(&[0], &[0, 1], &two, 2, &[]), Err(MetricsError::Shape { .. })));
        assert!(matches!(evaluate(&[0, 1], &[0, 1], &two, 3, &[]), Err(MetricsError::Shape { .. })));
        assert!(matches!(evaluate(&[0, 2], &[0, 1], &two, 2, &[]), Err(MetricsError::Class { row: 1, class: 2, .. })));
        let nan = FeatureMatrix::from_vec(2, 2, vec![0.5, 0.5, f32::NAN, 0.5]).expect("2 × 2");
        assert!(matches!(evaluate(&[0, 1], &[0, 1], &nan, 2, &[]), Err(MetricsError::NotANumber { row: 1 })));
    }
}
