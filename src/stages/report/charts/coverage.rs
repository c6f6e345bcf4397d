//! Accuracy against coverage: the accuracy if only the most confident predictions are kept.

use super::{Axis, Chart, Frame, percent};

const HEIGHT: f64 = 280.0;

/// A curve over `points`: the share of predictions that are kept, ascending, and the accuracy of these. None without a
/// point.
pub fn draw(points: &[(f64, f64)], title: &str) -> Option<Chart> {
    let &last = points.last()?;
    let lowest = points.iter().map(|point| point.1).fold(f64::MAX, f64::min);
    let y = Axis::round(lowest.clamp(0.0, 0.99), 1.0, 4).percent();
    let frame = Frame::new(Axis::round(0.0, 1.0, 5).percent(), y, HEIGHT);
    let marks = frame.curve(points, &percent(last.1));
    Some(frame.draw(title, ["share of the test images that is kept", "share that is right"], &marks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_ends_at_the_accuracy_of_all() {
        assert!(draw(&[], "t").is_none());
        let points: Vec<_> = (1..=5000).map(|i| (f64::from(i) / 5000.0, 1.0 - f64::from(i) / 10_000.0)).collect();
        let svg = draw(&points, "t").expect("a chart").inline();
        assert!(svg.contains(">50.0\u{202f}%</text>") && svg.len() < 20_000 && !svg.contains("NaN"), "{svg}");
    }
}
