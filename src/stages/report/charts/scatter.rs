//! Pictures on the first two principal components. Train pictures are hollow and test pictures filled; colour and shape
//! are those of the class.

use std::fmt::Write;

use super::{Axis, Chart, Frame, coordinate, escape};
use crate::stages::report::data::Point;
use crate::stages::report::formatting::percent;

const HEIGHT: f64 = 400.0;
/// The most points that are drawn.
pub const MOST: usize = 2000;
/// Colours of the style sheet, `k0` to `k7`.
const COLOURS: usize = 8;
/// The number of shapes. After eight classes the colours repeat with another shape.
const SHAPES: usize = 5;

/// The mark of a class: its colour, then its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub colour: usize,
    shape: usize,
}

impl Mark {
    /// The mark of class number `class`; after forty classes the marks repeat.
    pub fn of(class: usize) -> Self {
        Self { colour: class % COLOURS, shape: class / COLOURS % SHAPES }
    }

    /// A path around (x, y), about 7 units wide.
    fn path(self, x: f64, y: f64) -> String {
        let at = |dx: f64, dy: f64| format!("{} {}", coordinate(x + dx), coordinate(y + dy));
        match self.shape {
            0 => format!("M{}a3 3 0 1 0 6 0a3 3 0 1 0-6 0z", at(-3.0, 0.0)),
            1 => format!("M{}h5.6v5.6h-5.6z", at(-2.8, -2.8)),
            2 => format!("M{}l3.8 6.4h-7.6z", at(0.0, -4.0)),
            3 => format!("M{}l4 4l-4 4l-4-4z", at(0.0, -4.0)),
            _ => format!("M{}h7.6l-3.8 6.4z", at(-3.8, -2.8)),
        }
    }

    /// The mark at (x, y).
    pub fn drawn(self, x: f64, y: f64) -> String {
        format!("<path class=\"k{} test\" d=\"{}\"/>", self.colour, self.path(x, y))
    }

    /// A small picture of the mark for the legend.
    pub fn icon(self) -> String {
        format!("<svg class=\"icon\" viewBox=\"0 0 12 12\" aria-hidden=\"true\">{}</svg>", self.drawn(6.0, 6.0))
    }
}

/// The points that are drawn: all, or a sample chosen by the hash of their paths.
fn drawn(points: &[Point]) -> Vec<&Point> {
    let finite = points.iter().filter(|point| point.at.iter().all(|v| v.is_finite()));
    let mut hashed: Vec<([u8; 32], &Point)> =
        finite.map(|p| (*blake3::hash(p.path.as_bytes()).as_bytes(), p)).collect();
    // they are also drawn in this order, so that no class covers all others
    hashed.sort_by_key(|(hash, _)| *hash);
    hashed.truncate(MOST);
    // test points are drawn last, since they are fewer and filled
    hashed.sort_by_key(|(_, point)| point.test);
    hashed.into_iter().map(|(_, point)| point).collect()
}

/// The chart; `ratio` has the explained share of the variance for each axis. None without a point.
pub fn draw(points: &[Point], classes: &[String], ratio: [f64; 2], title: &str) -> Option<Chart> {
    let drawn = drawn(points);
    if drawn.is_empty() {
        return None;
    }
    let range = |axis: usize, count: usize| {
        let values = drawn.iter().map(|point| point.at[axis]);
        let (min, max) = values.fold((f64::MAX, f64::MIN), |(min, max), v| (min.min(v), max.max(v)));
        Axis::round(min, max, count)
    };
    let frame = Frame::new(range(0, 6), range(1, 6), HEIGHT);
    let mut marks = String::new();
    for point in drawn {
        let (x, y) = frame.place(point.at[0], point.at[1]);
        let mark = Mark::of(point.class.unwrap_or(0));
        let (colour, path) = (mark.colour, mark.path(x, y));
        let class = point.class.and_then(|class| classes.get(class)).map(|name| format!("{}, ", escape(name)));
        let (kind, class, file) =
            (if point.test { "test" } else { "train" }, class.unwrap_or_default(), escape(&point.path));
        write!(marks, "<path class=\"k{colour} {kind}\" d=\"{path}\"><title>{class}{kind}: {file}</title></path>").ok();
    }
    let [x, y] = [0, 1].map(|i| format!("component {} ({})", i + 1, percent(ratio[i])));
    Some(frame.draw(title, [&x, &y], &marks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(n: usize) -> Vec<Point> {
        let point = |i: usize| Point {
            path: format!("{i}.jpg"),
            at: [i as f64, (i * i % 17) as f64],
            class: Some(i % 3),
            test: i.is_multiple_of(4),
        };
        (0..n).map(point).collect()
    }

    #[test]
    fn points_are_thinned_the_same_way_every_time() {
        let classes = ["a", "b", "c"].map(String::from);
        assert!(draw(&[], &classes, [0.5, 0.2], "t").is_none());
        let svg = draw(&points(5000), &classes, [0.5, 0.2], "t").expect("a chart").inline();
        assert_eq!(svg.matches("<title>").count(), MOST);
        let mut backwards = points(5000);
        backwards.reverse();
        assert_eq!(Some(svg), draw(&backwards, &classes, [0.5, 0.2], "t").map(|chart| chart.inline()));
    }

    #[test]
    fn a_point_without_place_is_left_out_and_names_are_escaped() {
        let mut some = points(3);
        some[0].at = [f64::NAN, 0.0];
        some[1].path = "<a>&\".jpg".into();
        let svg = draw(&some, &["<b>".into(), "<i>".into(), "c".into()], [0.5, 0.2], "t").expect("a chart").inline();
        assert_eq!(svg.matches("<title>").count(), 2);
        assert!(!svg.contains("<i>") && !svg.contains("<a>") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn forty_classes_have_marks_of_their_own() {
        let marks: Vec<Mark> = (0..40).map(Mark::of).collect();
        assert!((0..40).all(|i| !marks[..i].contains(&marks[i])));
    }
}
