//! The calibration of the classifier: how well its confidence agrees with its accuracy.

use serde_json::{Value, json};

use super::charts::calibration;
use super::formatting::{percent, plural};
use crate::learn::metrics::Metrics;
use crate::stages::evaluate::Calibrated;

/// The reliability diagram and its summary; none without a prediction.
pub fn section(test: &Metrics, calibrated: Option<&Calibrated>) -> Option<Value> {
    let chart = calibration::draw(&test.calibration, "Share of right predictions by confidence")?;
    let sums = test.calibration.iter().filter_map(|bin| Some((bin.count as f64, bin.count as f64 * bin.confidence?)));
    let (count, sum) = sums.fold((0.0, 0.0), |(count, sum), (n, confidence)| (count + n, sum + confidence));
    let (mean, right) = (sum / count, test.accuracy);
    let verdict = match mean - right {
        d if d > 0.02 => "it is too sure of itself",
        d if d < -0.02 => "it is less sure than it could be",
        _ => "on the whole it is as sure as it is right",
    };
    let (mean, right, error) = (percent(mean), percent(right), percent(test.calibration_error));
    let effect = calibrated.map_or_else(String::new, |calibrated| effect(test, calibrated));
    let summary = format!(
        "The classifier is sure by {mean} on average and right for {right}: {verdict}. Expected calibration error: \
         {error}.{effect}"
    );
    Some(json!({"summary": summary, "chart": chart.inline()}))
}

/// A sentence about the temperature and its effect.
fn effect(test: &Metrics, Calibrated { fitted, test_before }: &Calibrated) -> String {
    let Some(before) = test_before else { return String::new() };
    let (temperature, rows) = (fitted.temperature.value(), plural(fitted.rows, "train image"));
    let (was, is, error) = (before.log_loss, test.log_loss, percent(before.calibration_error));
    format!(
        " Probabilities are calibrated by a temperature of {temperature:.3}, fitted on {rows} that the classifier had \
         not seen: the log loss was {was:.4} without it and is {is:.4}, the calibration error was {error}."
    )
}
