//! Accuracy against coverage, which shows how much is gained by keeping only confident predictions, and the pictures
//! that are of no known class.

use serde_json::{Value, json};

use super::charts::{Chart, coverage};
use super::data::Prediction;
use super::formatting::{form, percent, plural};

/// Coverages that the summary names.
const NAMED: [f64; 3] = [0.95, 0.9, 0.8];

/// The chart, the most confident predictions first; none without a prediction.
pub fn chart(predictions: &[Prediction]) -> Option<Chart> {
    coverage::draw(&curve(predictions), "Accuracy of the most confident predictions by their share of all")
}

/// The diagram and its summary; none without a prediction.
pub fn section(predictions: &[Prediction]) -> Option<Value> {
    let points = curve(predictions);
    let chart = chart(predictions)?;
    let kept = |share: f64| points.iter().find(|point| point.0 >= share - 1e-9);
    let named = NAMED.iter().filter_map(|&share| Some((share, kept(share)?.1)));
    let named: Vec<String> =
        named.map(|(share, right)| format!("{} of the most confident {}", percent(right), percent(share))).collect();
    let summary = format!("The classifier is right for {}. {}", named.join(", "), strangers(predictions));
    Some(json!({"summary": summary.trim_end(), "chart": chart.inline()}))
}

/// Pairs of coverage and accuracy of the kept predictions, for each distinct confidence as the threshold.
fn curve(predictions: &[Prediction]) -> Vec<(f64, f64)> {
    let mut all: Vec<(f64, bool)> = predictions.iter().map(|one| (one.confidence, one.is_right())).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut points, mut right) = (Vec::new(), 0);
    for (i, &(confidence, is_right)) in all.iter().enumerate() {
        right += usize::from(is_right);
        // predictions of equal confidence are kept together
        if all.get(i + 1).is_none_or(|next| next.0 < confidence) {
            points.push(((i + 1) as f64 / all.len() as f64, right as f64 / (i + 1) as f64));
        }
    }
    points
}

/// A sentence about the pictures that are far from the train pictures; empty where distances were not measured.
fn strangers(predictions: &[Prediction]) -> String {
    let told: Vec<(bool, bool)> = predictions.iter().filter_map(|one| Some((one.known?, one.is_right()))).collect();
    let unknown = told.iter().filter(|(known, _)| !known).count();
    let right = told.iter().filter(|(known, is_right)| *known && *is_right).count();
    match (told.len(), unknown) {
        (0, _) => String::new(),
        (_, 0) => "No test image is so far from the train images that it counts as unknown.".into(),
        (all, n) => format!(
            "{} {} so far from the train images that {} as unknown; {} of the others are right.",
            plural(n, "test image"),
            form(n, "is", "are"),
            form(n, "it counts", "they count"),
            percent(right as f64 / (all - n).max(1) as f64)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(all: &[(f64, bool, bool)]) -> Vec<Prediction> {
        let one = |&(confidence, right, known): &(f64, bool, bool)| Prediction {
            path: "a.jpg".into(),
            label: "a".into(),
            predicted: if right { "a" } else { "b" }.into(),
            confidence,
            known: Some(known),
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn equal_confidences_are_kept_together() {
        let all = predictions(&[(0.9, true, true), (0.6, false, true), (0.9, false, true), (0.5, true, true)]);
        assert_eq!(curve(&all), [(0.5, 0.5), (0.75, 1.0 / 3.0), (1.0, 0.5)]);
        assert_eq!(curve(&[]), []);
    }

    #[test]
    fn strangers_are_told_in_the_right_number() {
        let told = |all: &[(f64, bool, bool)]| strangers(&predictions(all));
        assert!(told(&[(0.9, true, true)]).starts_with("No test image"));
        let one = told(&[(0.9, true, true), (0.9, false, false), (0.8, false, true)]);
        assert!(
            one.starts_with("1 test image is so far") && one.ends_with("50.0\u{202f}% of the others are right."),
            "{one}"
        );
        assert!(told(&[(0.9, true, false), (0.9, false, false)]).starts_with("2 test images are so far"));
        assert_eq!(told(&[]), "");
    }
}
