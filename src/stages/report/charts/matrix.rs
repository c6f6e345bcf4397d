//! A confusion matrix of many classes: each cell is a small square without text.

use std::fmt::Write;

use super::{Chart, WIDTH, coordinate, escape, percent};

const SIDE: f64 = WIDTH;
/// Space for the names of the axes.
const MARGIN: f64 = 22.0;
/// The most classes for which a cell has a tooltip with its numbers.
const NAMED: usize = 120;
/// The smallest drawn side of a cell. A smaller cell would hardly be visible, so it is enlarged over its neighbours.
const LEAST: f64 = 2.2;
/// Steps of shading. Where there are too many cells for one SVG element each, all cells of a step are one path.
const SHADES: usize = 8;

/// The counts `[truth][predicted]`, shaded by their share of the row. None without a picture.
pub fn draw(counts: &[Vec<u64>], classes: &[String], title: &str) -> Option<Chart> {
    let n = counts.len();
    if n == 0 || counts.iter().flatten().all(|&count| count == 0) {
        return None;
    }
    let cell = (SIDE - MARGIN) / n as f64;
    let mut out = String::new();
    let far = coordinate(SIDE - 1.0);
    write!(
        out,
        "<g class=\"axes\" aria-hidden=\"true\"><text class=\"name\" x=\"{MARGIN}\" y=\"14\">predicted →</text>"
    )
    .ok();
    write!(out, "<text class=\"name e\" transform=\"translate(14 {MARGIN}) rotate(-90)\">← truth</text>").ok();
    write!(out, "<path class=\"base\" d=\"M{MARGIN} {MARGIN}H{far}V{far}H{MARGIN}z\"/></g>").ok();
    if n <= NAMED {
        named(&mut out, counts, classes, cell);
    } else {
        shades(&mut out, counts, cell);
    }
    Some(Chart { width: SIDE, height: SIDE, title: title.into(), marks: out })
}

/// The cells that are not empty: truth, predicted, count, share of the row.
fn cells(counts: &[Vec<u64>]) -> impl Iterator<Item = (usize, usize, u64, f64)> + '_ {
    counts.iter().enumerate().flat_map(|(truth, row)| {
        let total: u64 = row.iter().sum();
        let filled = row.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(move |(predicted, &count)| (truth, predicted, count, count as f64 / total as f64))
    })
}

fn named(out: &mut String, counts: &[Vec<u64>], classes: &[String], cell: f64) {
    let name = |class: usize| escape(classes.get(class).map_or("", String::as_str));
    for (truth, predicted, count, share) in cells(counts) {
        let [x, y, side] =
            [MARGIN + predicted as f64 * cell, MARGIN + truth as f64 * cell, cell].map(|v| format!("{v:.2}"));
        let (kind, opacity) = (kind(truth, predicted), format!("{:.2}", 0.25 + 0.75 * share));
        write!(
            out,
            "<rect class=\"{kind}\" x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\" fill-opacity=\"{opacity}\">"
        )
        .ok();
        let (truth, predicted, share) = (name(truth), name(predicted), percent(share));
        write!(out, "<title>{truth}, predicted {predicted}: {count} ({share})</title></rect>").ok();
    }
}

fn shades(out: &mut String, counts: &[Vec<u64>], cell: f64) {
    let mut paths = vec![String::new(); 2 * SHADES];
    let side = cell.max(LEAST);
    let place = |i: usize| (MARGIN + (i as f64 + 0.5) * cell - side / 2.0).clamp(MARGIN, SIDE - side);
    for (truth, predicted, _, share) in cells(counts) {
        let shade = ((share * SHADES as f64) as usize).min(SHADES - 1);
        let path = &mut paths[usize::from(truth != predicted) * SHADES + shade];
        write!(path, "M{:.1} {:.1}h{side:.1}v{side:.1}h-{side:.1}z", place(predicted), place(truth)).ok();
    }
    for (i, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
        let (kind, shade) = (kind(0, i / SHADES), i % SHADES);
        let opacity = 0.25 + 0.75 * (shade as f64 + 0.5) / SHADES as f64;
        write!(out, "<path class=\"{kind}\" fill-opacity=\"{opacity:.2}\" d=\"{path}\"/>").ok();
    }
}

fn kind(truth: usize, predicted: usize) -> &'static str {
    if truth == predicted { "hit" } else { "miss" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cells_with_pictures_are_drawn() {
        let classes = ["<a>", "b"].map(String::from);
        assert!(draw(&[], &[], "t").is_none());
        assert!(draw(&[vec![0, 0], vec![0, 0]], &classes, "t").is_none());
        let svg = draw(&[vec![3, 1], vec![0, 2]], &classes, "t").expect("a chart").inline();
        assert_eq!((svg.matches("<rect").count(), svg.matches("class=\"miss\"").count()), (3, 1));
        assert!(svg.contains("&lt;a&gt;, predicted b: 1 (25.0\u{202f}%)"), "{svg}");
    }

    #[test]
    fn a_thousand_classes_stay_small() {
        let n = 1000;
        let mut counts = vec![vec![0; n]; n];
        (0..n).for_each(|i| {
            counts[i][i] = 8;
            (1..3).for_each(|j| counts[i][(i * 7 + j * 31) % n] += 1);
        });
        let classes: Vec<String> = (0..n).map(|i| i.to_string()).collect();
        let svg = draw(&counts, &classes, "t").expect("a chart").inline();
        assert!(svg.len() < 150_000, "{} bytes", svg.len());
    }
}
