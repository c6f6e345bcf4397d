//! Temperature scaling: one number that calibrates the confidence of a classifier (Guo et al., "On calibration of
//! modern neural networks", 2017). It is fitted on predictions for rows that the classifier was not fitted on, as
//! `CalibratedClassifierCV(method="temperature", ensemble=False)` of scikit-learn does it.

use serde::{Deserialize, Serialize};

use crate::mlp::argmax;
use crate::table::FeatureMatrix;

/// The number that is added to a probability before its logarithm is taken: that of scikit-learn.
pub const EPSILON: f64 = 1e-12;
/// The range of the logarithm of 1 / T: that of scikit-learn.
const RANGE: f64 = 10.0;
/// The most steps of the search; Newton's method takes about ten.
const STEPS: usize = 200;

/// The temperature T: probabilities become `softmax(ln(p) / T)`. Above 1 a classifier becomes less sure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Temperature(f64);

impl Temperature {
    /// Returns the temperature with the lowest log loss for rows with these probabilities (n, classes) and true classes
    /// (n). None where no temperature is the best: every row is right, so the log loss falls with T towards 0, or the
    /// probabilities say nothing about the classes, so it falls as T grows.
    pub fn fit(probabilities: &FeatureMatrix, truth: &[usize]) -> Option<Self> {
        let logits: Vec<Vec<f64>> = probabilities.iter_rows().map(logits).collect();
        // The log loss is convex in β = 1 / T; Newton's method between two bounds finds the zero of its derivative.
        let (mut low, mut high) = ((-RANGE).exp(), RANGE.exp());
        if slope(&logits, truth, low).0 >= 0.0 || slope(&logits, truth, high).0 <= 0.0 {
            return None;
        }
        let mut beta = 1.0;
        for _ in 0..STEPS {
            let (first, second) = slope(&logits, truth, beta);
            if first == 0.0 {
                break;
            }
            if first < 0.0 {
                low = beta
            } else {
                high = beta
            }
            let step = beta - first / second;
            let next = if step > low && step < high { step } else { (low * high).sqrt() };
            let moved = (next - beta).abs();
            beta = next;
            if moved <= 1e-13 * beta {
                break;
            }
        }
        Some(Self(1.0 / beta))
    }

    /// Returns the number.
    pub fn value(self) -> f64 {
        self.0
    }

    /// Whether the number is finite and above 0.
    pub fn is_sound(self) -> bool {
        self.0.is_finite() && self.0 > 0.0
    }

    /// Calibrates the probabilities (n, classes). The most probable class of a row stays the one that it was.
    pub fn apply(self, probabilities: &mut FeatureMatrix) {
        let classes = probabilities.cols().max(1);
        for row in probabilities.as_mut_slice().chunks_exact_mut(classes) {
            let best = argmax(row);
            let powers: Vec<f64> = logits(row).into_iter().map(|logit| (logit / self.0).exp()).collect();
            let sum: f64 = powers.iter().sum();
            row.iter_mut().zip(powers).for_each(|(p, power)| *p = (power / sum) as f32);
            // Rounding may make two different probabilities equal.
            if argmax(row) != best {
                row[best] = row[best].next_up();
            }
        }
    }
}

/// Returns the logarithms of probabilities, shifted so that the largest is 0.
fn logits(row: &[f32]) -> Vec<f64> {
    let mut all: Vec<f64> = row.iter().map(|&p| (f64::from(p) + EPSILON).ln()).collect();
    let largest = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    all.iter_mut().for_each(|logit| *logit -= largest);
    all
}

/// Returns the first and second derivative of the summed log loss with respect to β.
fn slope(logits: &[Vec<f64>], truth: &[usize], beta: f64) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for (row, &class) in logits.iter().zip(truth) {
        let (mut sum, mut mean, mut square) = (0.0, 0.0, 0.0);
        for &logit in row {
            let power = (beta * logit).exp();
            sum += power;
            mean += power * logit;
            square += power * logit * logit;
        }
        (mean, square) = (mean / sum, square / sum);
        sums.0 += mean - row[class];
        sums.1 += square - mean * mean;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;
    use crate::metrics::Reliability;

    #[test]
    fn temperature_and_scores_are_those_of_scikit_learn() {
        for case in golden::list(&golden::load("temperature")["cases"]) {
            let classes = golden::count(&case["classes"]);
            let truth = golden::indices(&case["truth"]);
            let table = |key: &str| golden::vector_f32(&case[key]);
            let of = |rows: usize, data| FeatureMatrix::from_vec(rows, classes, data).expect("rows × classes");
            let held_out = of(truth.len(), table("held_out"));
            let temperature = Temperature::fit(&held_out, &truth).expect("a temperature");
            golden::close(&[temperature.value()], &[golden::number(&case["temperature"])], 1e-6);
            let mut calibrated = held_out.clone();
            temperature.apply(&mut calibrated);
            let got: Vec<f64> = calibrated.as_slice().iter().map(|&p| f64::from(p)).collect();
            golden::close(&got, &golden::vector(&case["calibrated"]), 1e-6);
            for (probabilities, key) in [(&held_out, "before"), (&calibrated, "after")] {
                let Reliability { log_loss, calibration_error } = Reliability::of(&truth, probabilities);
                golden::close(&[log_loss, calibration_error], &golden::vector(&case[key]), 1e-6);
            }
            assert!(held_out.iter_rows().map(argmax).eq(calibrated.iter_rows().map(argmax)));
        }
    }

    #[test]
    fn where_no_temperature_is_the_best_there_is_none() {
        let table = |data: &[f32]| FeatureMatrix::from_vec(data.len() / 2, 2, data.to_vec()).expect("two classes");
        assert_eq!(Temperature::fit(&table(&[0.9, 0.1, 0.4, 0.6]), &[0, 1]), None, "all right");
        assert_eq!(Temperature::fit(&table(&[0.9, 0.1, 0.4, 0.6]), &[1, 0]), None, "all wrong");
        assert_eq!(Temperature::fit(&table(&[0.5, 0.5, 0.5, 0.5]), &[0, 1]), None, "equal everywhere");
        assert_eq!(Temperature::fit(&table(&[]), &[]), None);
    }

    #[test]
    fn the_most_probable_class_survives_any_temperature() {
        let rows = [0.5_f32.next_down(), 0.5_f32.next_up(), 0.0, 1.0, 1e-30, 1.0];
        for temperature in [1e-4, 0.3, 7.0, 2e4] {
            let mut table = FeatureMatrix::from_vec(3, 2, rows.to_vec()).expect("two classes");
            Temperature(temperature).apply(&mut table);
            for row in table.iter_rows() {
                assert!(argmax(row) == 1 && row.iter().all(|p| (0.0..=1.0).contains(p)), "{temperature}: {row:?}");
            }
        }
    }
}
