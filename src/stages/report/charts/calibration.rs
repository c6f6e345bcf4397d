//! A reliability diagram: the accuracy of the predictions in each bin of confidence.

use std::fmt::Write;

use super::{Axis, Chart, Frame, coordinate, percent};
use crate::learn::metrics::Bin;
use crate::stages::report::formatting::plural;

const HEIGHT: f64 = 320.0;

/// Bars of accuracy over confidence, and the diagonal, on which they end if the classifier is calibrated. None without
/// a prediction.
pub fn draw(bins: &[Bin], title: &str) -> Option<Chart> {
    let total: usize = bins.iter().map(|bin| bin.count).sum();
    if total == 0 {
        return None;
    }
    let axis = || Axis::round(0.0, 1.0, 5).percent();
    let frame = Frame::new(axis(), axis(), HEIGHT);
    let [_, _, _, bottom] = frame.edges();
    let mut marks = String::from("<g class=\"bars\">");
    let filled = || bins.iter().filter_map(|bin| Some((bin, bin.confidence?, bin.accuracy?)));
    for (bin, confidence, accuracy) in filled() {
        let (from, to) = (bin.low, bin.high);
        let ((x, y), (end, _)) = (frame.place(from, accuracy), frame.place(to, 0.0));
        let [x, y, w, h] = [x + 1.0, y, (end - x - 2.0).max(1.0), (bottom - y).max(0.5)].map(coordinate);
        // a bar of few pictures is pale, since its accuracy is uncertain
        let opacity = 0.3 + 0.7 * (bin.count as f64 / 10.0).min(1.0);
        let told = format!(
            "confidence {} to {}: {} right of {}, mean confidence {}",
            percent(from),
            percent(to),
            percent(accuracy),
            plural(bin.count, "test image"),
            percent(confidence)
        );
        write!(
            marks,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" \
                       fill-opacity=\"{opacity:.2}\"><title>{told}</title></rect>"
        )
        .ok();
    }
    marks.push_str("</g>");
    let ((x1, y1), (x2, y2)) = (frame.place(0.0, 0.0), frame.place(1.0, 1.0));
    let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(coordinate);
    write!(marks, "<path class=\"ideal\" d=\"M{x1} {y1}L{x2} {y2}\"/>").ok();
    for (_, confidence, accuracy) in filled() {
        let (x, y) = frame.place(confidence, accuracy);
        write!(marks, "<circle class=\"end\" cx=\"{}\" cy=\"{}\" r=\"3.5\"/>", coordinate(x), coordinate(y)).ok();
    }
    Some(frame.draw(title, ["confidence", "share that is right"], &marks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bins_with_predictions_are_bars() {
        let bin = |low: f64, count, confidence, accuracy| Bin { low, high: low + 0.1, count, confidence, accuracy };
        assert!(draw(&[bin(0.1, 0, None, None)], "t").is_none());
        let svg = draw(&[bin(0.1, 0, None, None), bin(0.9, 40, Some(0.97), Some(1.0))], "t").expect("a chart").inline();
        assert_eq!((svg.matches("<rect").count(), svg.matches("<circle").count()), (1, 1));
        assert!(!svg.contains("NaN") && svg.contains("100\u{202f}% right of 40 test images"), "{svg}");
    }
}
