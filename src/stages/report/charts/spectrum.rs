//! The share of the variance that each component explains, and the cumulative sum of the shares.

use std::fmt::Write;

use super::{Axis, Chart, Frame, coordinate, percent};
use crate::stages::reduce::Reduced;

/// The height of the scatter plot, which stands beside it.
const HEIGHT: f64 = 400.0;
/// The most components for which every bar has a tooltip with its number.
const NAMED: usize = 120;

/// Bars of the shares of `reduced` and the line of their cumulative sum. None without a component.
pub fn draw(reduced: &Reduced, title: &str) -> Option<Chart> {
    let (ratio, sums) = (&reduced.ratio, reduced.cumulative());
    if ratio.is_empty() || ratio.iter().any(|share| !share.is_finite()) {
        return None;
    }
    let total = sums.last().copied().unwrap_or(0.0);
    let x = Axis::whole(0.5, ratio.len() as f64 + 0.5, 6);
    let frame = Frame::new(x, Axis::round(0.0, total.clamp(0.01, 1.0), 5).percent(), HEIGHT);
    let [left, right, _, bottom] = frame.edges();
    let width = (right - left) / ratio.len() as f64;
    let gap = if width > 4.0 { (width * 0.25).min(6.0) } else { 0.0 };
    let mut marks = String::from("<g class=\"bars\">");
    for (i, &share) in ratio.iter().enumerate() {
        let (x, y) = frame.place(i as f64 + 0.5, share);
        let [x, y, w, h] = [x + gap / 2.0, y, width - gap, bottom - y].map(|v| format!("{v:.2}"));
        write!(marks, "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"").ok();
        if ratio.len() <= NAMED {
            let (one, all) = (percent(share), percent(sums[i]));
            write!(marks, "><title>component {}: {one}, up to here {all}</title></rect>", i + 1).ok();
        } else {
            marks.push_str("/>");
        }
    }
    marks.push_str("</g>");
    let steps: Vec<(f64, f64)> = sums.iter().enumerate().map(|(i, &sum)| (i as f64 + 1.0, sum)).collect();
    marks.push_str(&frame.line(&steps));
    let (x, y) = frame.place(ratio.len() as f64, total);
    let [cx, cy, text] = [x, y, y - 9.0].map(coordinate);
    let end = coordinate(right);
    write!(marks, "<circle class=\"end\" cx=\"{cx}\" cy=\"{cy}\" r=\"3.5\"/>").ok();
    write!(marks, "<text class=\"value e\" x=\"{end}\" y=\"{text}\">{}</text>", percent(total)).ok();
    Some(frame.draw(title, ["component", "share of the variance"], &marks))
}

/// The number of components needed to explain each of `shares`. Shares that all components together do not reach are
/// left out.
pub fn needed(reduced: &Reduced, shares: &[f64]) -> Vec<(usize, f64)> {
    let sums = reduced.cumulative();
    let reach = |&share: &f64| sums.iter().position(|&sum| sum >= share).map(|i| (i + 1, share));
    shares.iter().filter_map(reach).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(ratio: &[f64]) -> Reduced {
        Reduced { ratio: ratio.to_vec(), ..Reduced::default() }
    }

    #[test]
    fn bars_are_as_many_as_components_and_the_sum_is_told() {
        assert!(draw(&reduced(&[]), "t").is_none());
        let svg = draw(&reduced(&[0.5, 0.25, 0.125]), "t").expect("a chart").inline();
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(
            svg.contains("87.5\u{202f}%") && svg.contains("component 2: 25.0\u{202f}%, up to here 75.0\u{202f}%"),
            "{svg}"
        );
        let many = draw(&reduced(&[1.0 / 512.0; 512]), "t").expect("a chart").inline();
        assert!(!many.contains("<title>") && many.len() < 60_000, "{} bytes", many.len());
        assert!(draw(&reduced(&[1.0]), "t").expect("a chart").inline().contains("<rect"));
    }

    #[test]
    fn the_number_of_components_for_a_share_is_counted() {
        assert_eq!(needed(&reduced(&[0.5, 0.25, 0.125]), &[0.5, 0.7, 0.9]), [(1, 0.5), (2, 0.7)]);
    }
}
