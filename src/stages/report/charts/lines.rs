//! One value per epoch of a training.

use super::{Axis, Chart, Frame};
use crate::stages::report::formatting;

const HEIGHT: f64 = 280.0;

/// A curve over the steps 1, 2, … of a training. `axes` are the names of the step and of the value; `percent` writes
/// values in percent. None without a finite value.
pub fn draw(values: &[f64], title: &str, axes: [&str; 2], percent: bool) -> Option<Chart> {
    let all = values.iter().enumerate().map(|(i, &value)| ((i + 1) as f64, value));
    let points: Vec<(f64, f64)> = all.filter(|(_, value)| value.is_finite()).collect();
    let &last = points.last()?;
    let highest = points.iter().map(|point| point.1).fold(f64::MIN, f64::max);
    let lowest = points.iter().map(|point| point.1).fold(f64::MAX, f64::min);
    let y = if percent {
        Axis::round(lowest.clamp(0.0, 0.99), 1.0, 4).percent()
    } else {
        Axis::round(lowest.min(0.0), highest, 4)
    };
    let frame = Frame::new(Axis::whole(1.0, (values.len() as f64).max(2.0), 6), y, HEIGHT);
    let label = if percent { super::percent(last.1) } else { formatting::number(last.1) };
    let marks = frame.curve(&points, &label);
    Some(frame.draw(title, axes, &marks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gives_no_chart() {
        assert!(draw(&[], "t", ["epoch", "loss"], false).is_none());
        assert!(draw(&[f64::NAN, f64::INFINITY], "t", ["epoch", "loss"], false).is_none());
    }

    #[test]
    fn one_epoch_is_a_point_and_long_trainings_are_thinned() {
        let one = draw(&[0.7], "t", ["epoch", "loss"], false).expect("a chart").inline();
        assert!(one.contains("<circle") && !one.contains("class=\"line\""), "{one}");
        assert!(one.contains(">epoch</text>") && one.contains(">loss</text>"), "{one}");
        let values: Vec<f64> = (0..10_000).map(|i| 1.0 / (1.0 + f64::from(i))).collect();
        let long = draw(&values, "t", ["epoch", "loss"], false).expect("a chart").inline();
        assert!(long.len() < 20_000 && long.contains("1.00e-4"), "{} bytes", long.len());
        assert!(!long.contains("NaN"));
    }
}
