//! Charts as SVG without script. `chart.css` and the [`colours`] style them, so that they follow light and dark mode.
//!
//! A function that draws a chart returns `None` when there is no data for it. All text passes through [`escape`].

pub mod calibration;
pub mod colours;
pub mod coverage;
pub mod histogram;
pub mod lines;
pub mod matrix;
pub mod network;
pub mod scatter;
pub mod spectrum;

use std::fmt::Write;

pub use crate::plot::escape;
use crate::stages::report::formatting;

/// Width of every chart in its own units. It is about the width of a column of the page, so that text is not scaled.
pub const WIDTH: f64 = 480.0;
/// The most points of a curve; more would not be visible.
const CURVE: usize = 800;
/// Width of a digit in the text of a chart.
const DIGIT: f64 = 6.8;

/// A chart in units of its own, with the origin in the upper left corner.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    pub width: f64,
    pub height: f64,
    /// The text for a screen reader.
    pub title: String,
    /// The SVG elements.
    pub marks: String,
}

impl Chart {
    /// The SVG for the page, where it is as wide as its column.
    pub fn inline(&self) -> String {
        let ([w, h], title, marks) = ([self.width, self.height].map(coordinate), escape(&self.title), &self.marks);
        format!("<svg class=\"chart\" viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"{title}\">{marks}</svg>")
    }
}

/// A coordinate with one decimal at most.
pub fn coordinate(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".into() } else { text.into() }
}

/// A range with round ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub min: f64,
    pub max: f64,
    pub ticks: Vec<f64>,
    decimals: usize,
    percent: bool,
    /// True if values are decimal logarithms.
    decades: bool,
}

impl Axis {
    /// An axis with about `count` steps of 1, 2 or 5 times a power of ten; the range is widened to whole steps.
    pub fn round(min: f64, max: f64, count: usize) -> Self {
        let (min, max) = widened(min, max);
        let step = step(max - min, count);
        // a rounding error of the quotient must not add a step
        let (first, last) = ((min / step + 1e-9).floor(), (max / step - 1e-9).ceil());
        Self::from_steps(first * step, last * step, first as i64, last as i64, step)
    }

    /// An axis with the given range and ticks inside it only. Steps are whole numbers.
    pub fn whole(min: f64, max: f64, count: usize) -> Self {
        let (min, max) = widened(min, max);
        let step = step(max - min, count).max(1.0);
        let (first, last) = ((min / step).ceil(), (max / step).floor());
        Self::from_steps(min, max, first as i64, last as i64, step)
    }

    fn from_steps(min: f64, max: f64, first: i64, last: i64, step: f64) -> Self {
        let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 12.0) as usize;
        let ticks = (first..=last).map(|i| i as f64 * step).collect();
        Self { min, max, ticks, decimals, percent: false, decades: false }
    }

    /// An axis of powers of ten. Values are decimal logarithms, the range is widened to whole ones, and a tick is
    /// labelled with its power of ten.
    pub fn decades(min: f64, max: f64) -> Self {
        let (first, last) = (min.floor(), max.ceil().max(min.floor() + 1.0));
        let step = ((last - first) / 8.0).ceil();
        let last = first + step * ((last - first) / step).ceil();
        let ticks = (0..=((last - first) / step) as i64).map(|i| first + i as f64 * step).collect();
        Self { min: first, max: last, ticks, decimals: 0, percent: false, decades: true }
    }

    /// Returns the axis with ticks at whole numbers only.
    pub fn whole_numbers(mut self) -> Self {
        self.ticks.retain(|tick| (tick - tick.round()).abs() < 1e-9);
        self.decimals = 0;
        self
    }

    /// Returns the axis with labels in percent: 0.25 is written 25 %.
    pub fn percent(mut self) -> Self {
        self.percent = true;
        self.decimals = self.decimals.saturating_sub(2);
        self
    }

    /// The text of a tick.
    pub fn label(&self, tick: f64) -> String {
        // turns -0.0 into 0.0, which has no minus sign
        let tick = tick + 0.0;
        if self.decades {
            let power = tick.round() as i32;
            let short = (-3..6).contains(&power);
            return if short { formatting::number(10f64.powi(power)) } else { format!("1e{power}") };
        }
        let decimals = self.decimals;
        if self.percent { format!("{:.decimals$}\u{202f}%", 100.0 * tick) } else { format!("{tick:.decimals$}") }
    }

    /// The position of `value` in the range, 0 to 1.
    fn share(&self, value: f64) -> f64 {
        (value - self.min) / (self.max - self.min)
    }
}

/// Widens a range whose ends are equal.
fn widened(min: f64, max: f64) -> (f64, f64) {
    if min < max {
        return (min, max);
    }
    let margin = if min == 0.0 { 0.5 } else { min.abs() * 0.1 };
    (min - margin, max + margin)
}

/// The step (1, 2 or 5 times a power of ten) that divides `range` into about `count` parts.
fn step(range: f64, count: usize) -> f64 {
    let rough = range / count.max(1) as f64;
    let power = 10f64.powi(rough.log10().floor() as i32);
    let factor = match rough / power {
        r if r < 1.5 => 1.0,
        r if r < 3.5 => 2.0,
        r if r < 7.5 => 5.0,
        _ => 10.0,
    };
    factor * power
}

/// The area of a chart between its axes.
#[derive(Clone, Debug)]
pub struct Frame {
    pub x: Axis,
    pub y: Axis,
    height: f64,
    left: f64,
}

impl Frame {
    const TOP: f64 = 26.0;
    const RIGHT: f64 = 14.0;
    const BOTTOM: f64 = 42.0;

    /// An empty plot in a chart of `height` units.
    pub fn new(x: Axis, y: Axis, height: f64) -> Self {
        let longest = y.ticks.iter().map(|&tick| y.label(tick).chars().count()).max().unwrap_or(0);
        Self { x, y, height, left: 12.0 + DIGIT * longest as f64 }
    }

    /// Left, right, top and bottom edge of the plot.
    pub fn edges(&self) -> [f64; 4] {
        [self.left, WIDTH - Self::RIGHT, Self::TOP, self.height - Self::BOTTOM]
    }

    /// The position of a pair of values in the chart.
    pub fn place(&self, x: f64, y: f64) -> (f64, f64) {
        let [left, right, top, bottom] = self.edges();
        (left + (right - left) * self.x.share(x), bottom - (bottom - top) * self.y.share(y))
    }

    /// A line through pairs of values; empty for a single pair.
    pub fn line(&self, points: &[(f64, f64)]) -> String {
        if points.len() < 2 {
            return String::new();
        }
        let steps = points.iter().map(|&(x, y)| {
            let (x, y) = self.place(x, y);
            format!("{} {}", coordinate(x), coordinate(y))
        });
        let steps: Vec<String> = steps.collect();
        format!("<path class=\"line\" d=\"M{}\"/>", steps.join("L"))
    }

    /// A curve through pairs of values, with a circle and `label` at its end. Points too close to be told apart are
    /// left out.
    pub fn curve(&self, points: &[(f64, f64)], label: &str) -> String {
        let Some(&last) = points.last() else { return String::new() };
        let stride = points.len().div_ceil(CURVE).max(1);
        // the last point is always drawn
        let drawn = points.iter().copied().enumerate().filter(|(i, point)| i % stride == 0 || *point == last);
        let line = self.line(&drawn.map(|(_, point)| point).collect::<Vec<_>>());
        let (x, y) = self.place(last.0, last.1);
        // above the point, or below it where there is no room
        let text = if y - Self::TOP > 16.0 { y - 10.0 } else { y + 18.0 };
        let anchor = if x > WIDTH / 2.0 { "e" } else { "s" };
        let [x, y, text] = [x, y, text].map(coordinate);
        let end = format!("<circle class=\"end\" cx=\"{x}\" cy=\"{y}\" r=\"3.5\"/>");
        line + &end + &format!("<text class=\"value {anchor}\" x=\"{x}\" y=\"{text}\">{label}</text>")
    }

    /// The whole chart: axes named `x` and `y` under `marks`; `title` is the text for a screen reader.
    pub fn draw(&self, title: &str, [x, y]: [&str; 2], marks: &str) -> Chart {
        let mut out = String::new();
        let [left, right, top, bottom] = self.edges();
        let [l, r, b] = [left, right, bottom].map(coordinate);
        out.push_str("<g class=\"axes\" aria-hidden=\"true\">");
        for &tick in &self.y.ticks {
            let at = self.place(self.x.min, tick).1;
            let class = if (at - bottom).abs() < 0.5 { " class=\"base\"" } else { "" };
            let (line, text) = (coordinate(at), coordinate(at + 4.0));
            let (end, label) = (coordinate(left - 7.0), self.y.label(tick));
            write!(
                out,
                "<path{class} d=\"M{l} {line}H{r}\"/><text class=\"e\" x=\"{end}\" y=\"{text}\">{label}</text>"
            )
            .ok();
        }
        let below = coordinate(bottom + 17.0);
        for &tick in &self.x.ticks {
            let at = self.place(tick, self.y.min).0;
            // a label at the edge is moved inwards, else it would be cut off
            let half = DIGIT * self.x.label(tick).chars().count() as f64 / 2.0;
            let (mark, text) = (coordinate(at), coordinate(at.min(WIDTH - half - 1.0)));
            let label = self.x.label(tick);
            write!(
                out,
                "<path class=\"base\" d=\"M{mark} {b}v4\"/><text class=\"m\" x=\"{text}\" y=\"{below}\">{label}</text>"
            )
            .ok();
        }
        let (name, last) = (coordinate(top - 12.0), coordinate(self.height - 5.0));
        write!(out, "<text class=\"name\" x=\"2\" y=\"{name}\">{}</text>", escape(y)).ok();
        write!(out, "<text class=\"name e\" x=\"{r}\" y=\"{last}\">{}</text></g>", escape(x)).ok();
        Chart { width: WIDTH, height: self.height, title: title.into(), marks: out + marks }
    }
}

/// A share in percent for a text inside a chart; a very small one is `< 0.1 %`, escaped.
pub fn percent(share: f64) -> String {
    escape(&formatting::percent(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_range() {
        let axis = Axis::round(0.0, 0.87, 5);
        assert_eq!((axis.min, axis.max), (0.0, 1.0));
        let labels: Vec<String> = axis.ticks.iter().map(|&t| axis.label(t)).collect();
        assert_eq!(labels, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        let labels = |axis: Axis| axis.ticks.iter().map(|&t| axis.label(t)).collect::<Vec<_>>();
        assert_eq!(labels(Axis::round(-3.2, 12.0, 4)), ["-5", "0", "5", "10", "15"]);
        assert_eq!(
            labels(Axis::round(0.0, 1.0, 5).percent()),
            ["0", "20", "40", "60", "80", "100"].map(|t| format!("{t}\u{202f}%"))
        );
        assert_eq!(labels(Axis::round(0.0, 0.03, 3).percent()), ["0", "1", "2", "3"].map(|t| format!("{t}\u{202f}%")));
        assert_eq!(labels(Axis::round(0.0, 0.6, 3)), ["0.0", "0.2", "0.4", "0.6"]);
        assert_eq!(labels(Axis::whole(1.0, 87.0, 5)), ["20", "40", "60", "80"]);
        assert_eq!(labels(Axis::whole(1.0, 3.0, 5)), ["1", "2", "3"]);
    }

    #[test]
    fn a_single_value_has_a_range_around_it() {
        for value in [0.0, 5.0, -2.0, 1e-9, 1e12] {
            let axis = Axis::round(value, value, 4);
            assert!(axis.min < axis.max && axis.min <= value && value <= axis.max, "{axis:?}");
            assert!((2..=12).contains(&axis.ticks.len()), "{axis:?}");
        }
    }

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(
            escape("<script>alert(\"x\")</script> & 'y'"),
            "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;y&#39;"
        );
        let svg = Frame::new(Axis::round(0.0, 1.0, 4), Axis::round(0.0, 1.0, 4), 200.0)
            .draw("a\"<b>", ["<x>", "'y'"], "")
            .inline();
        assert!(
            svg.contains("aria-label=\"a&quot;&lt;b&gt;\"") && svg.contains("&lt;x&gt;") && !svg.contains("<x>"),
            "{svg}"
        );
    }

    #[test]
    fn corners_of_the_range_are_corners_of_the_plot() {
        let frame = Frame::new(Axis::round(0.0, 10.0, 5), Axis::round(0.0, 1.0, 5), 300.0);
        let [left, right, top, bottom] = frame.edges();
        assert_eq!(frame.place(0.0, 0.0), (left, bottom));
        assert_eq!(frame.place(10.0, 1.0), (right, top));
    }
}
