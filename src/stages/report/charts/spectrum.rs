//! What share of the variance each component holds, and all up to it together.

use std::fmt::Write;

use super::{Axis, Chart, Frame, coordinate, percent};

/// That of the scatter plot, which stands beside it.
const HEIGHT: f64 = 400.0;
/// Components up to which every bar tells its number when pointed at.
const NAMED: usize = 120;

/// Bars of `ratio` and the line of its sums. None without a component.
pub fn draw(ratio: &[f64], title: &str) -> Option<Chart> {
    if ratio.is_empty() || ratio.iter().any(|share| !share.is_finite()) {
        return None;
    }
    let sums: Vec<f64> = ratio
        .iter()
        .scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        })
        .collect();
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

/// How many components are needed for each of `shares`; those that all of them together do not reach are left out.
pub fn needed(ratio: &[f64], shares: &[f64]) -> Vec<(usize, f64)> {
    let reach = |&share: &f64| {
        let mut sum = 0.0;
        let at = ratio.iter().position(|part| {
            sum += part;
            sum >= share
        });
        at.map(|i| (i + 1, share))
    };
    shares.iter().filter_map(reach).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_many_as_components_and_the_sum_is_told() {
        assert!(draw(&[], "t").is_none());
        let svg = draw(&[0.5, 0.25, 0.125], "t").expect("a chart").inline();
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(
            svg.contains("87.5\u{202f}%") && svg.contains("component 2: 25.0\u{202f}%, up to here 75.0\u{202f}%"),
            "{svg}"
        );
        let many = draw(&vec![1.0 / 512.0; 512], "t").expect("a chart").inline();
        assert!(!many.contains("<title>") && many.len() < 60_000, "{} bytes", many.len());
        assert!(draw(&[1.0], "t").expect("a chart").inline().contains("<rect"));
    }

    #[test]
    fn the_number_of_components_for_a_share_is_counted() {
        assert_eq!(needed(&[0.5, 0.25, 0.125], &[0.5, 0.7, 0.9]), [(1, 0.5), (2, 0.7)]);
    }
}
