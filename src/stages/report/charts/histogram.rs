//! A histogram of the scores of `select` on a logarithmic axis, for kept and for dropped columns.

use std::fmt::Write;

use super::{Axis, Chart, Frame, coordinate};
use crate::stages::report::formatting::plural;

const HEIGHT: f64 = 260.0;
const BINS: usize = 40;

/// A column: its score, and whether it was kept.
pub type Scored = (f64, bool);

/// Bars of kept columns stacked on bars of dropped columns, by the logarithm of the score called `name`. `least` is the
/// threshold. Scores that are zero or infinite are left out. None if no column has another score.
pub fn draw(columns: &[Scored], least: Option<f64>, name: &str, title: &str) -> Option<Chart> {
    let placed: Vec<(f64, bool)> = columns
        .iter()
        .filter(|(score, _)| score.is_normal() && *score > 0.0)
        .map(|&(score, kept)| (score.log10(), kept))
        .collect();
    let least = least.filter(|least| least.is_normal() && *least > 0.0).map(f64::log10);
    let all = || placed.iter().map(|one| one.0).chain(least);
    let (min, max) = all().fold((f64::MAX, f64::MIN), |(min, max), v| (min.min(v), max.max(v)));
    if placed.is_empty() {
        return None;
    }
    let x = Axis::decades(min, max);
    let width = (x.max - x.min) / BINS as f64;
    let mut bins = [[0usize; 2]; BINS];
    for (at, kept) in &placed {
        bins[(((at - x.min) / width) as usize).min(BINS - 1)][usize::from(!kept)] += 1;
    }
    let most = bins.iter().map(|[kept, dropped]| kept + dropped).max().unwrap_or(1);
    let start = x.min;
    let frame = Frame::new(x, Axis::round(0.0, most as f64, 4).whole_numbers(), HEIGHT);
    let mut marks = String::new();
    for (i, &[kept, dropped]) in bins.iter().enumerate() {
        let from = start + i as f64 * width;
        for (class, word, n, below) in [("step", "dropped", dropped, 0), ("tap", "kept", kept, dropped)] {
            if n == 0 {
                continue;
            }
            let (left, top) = frame.place(from, (below + n) as f64);
            let (right, bottom) = frame.place(from + width, below as f64);
            let [x, y, w, h] = [left + 0.5, top, right - left - 1.0, bottom - top].map(coordinate);
            let title = format!("<title>{} {word}</title>", plural(n, "column"));
            write!(marks, "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\">{title}</rect>")
                .ok();
        }
    }
    if let Some(least) = least {
        let (x, _) = frame.place(least, 0.0);
        let [_, _, top, bottom] = frame.edges();
        let [x, top, bottom] = [x, top, bottom].map(coordinate);
        write!(marks, "<path class=\"ideal\" d=\"M{x} {top}V{bottom}\"/>").ok();
    }
    Some(frame.draw(title, [name, "columns"], &marks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_and_dropped_columns_are_bars_by_their_power_of_ten() {
        assert!(draw(&[], None, "variance", "t").is_none());
        assert!(draw(&[(0.0, false), (f64::NAN, false), (f64::INFINITY, true)], None, "variance", "t").is_none());
        let columns = [(0.0, false), (0.002, false), (0.0021, false), (0.5, true), (40.0, true)];
        let svg = draw(&columns, Some(0.1), "variance", "t").expect("a chart").inline();
        assert_eq!((svg.matches("class=\"step\"").count(), svg.matches("class=\"tap\"").count()), (1, 2), "{svg}");
        assert!(
            svg.contains("2 columns dropped") && svg.contains("class=\"ideal\"") && svg.contains(">0.01<"),
            "{svg}"
        );
        assert!(!svg.contains("NaN"));
        // a single score gets a range around it
        assert!(draw(&[(1.0, true)], None, "F", "t").expect("a chart").inline().contains("1 column kept"));
    }
}
