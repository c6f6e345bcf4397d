//! The network from the input picture to the classes. Each block is a bar: its width shows the side of the map, its
//! height the number of channels, both on a logarithmic scale.

use std::fmt::Write;

use super::{Chart, WIDTH, coordinate, escape};
use crate::models::Shape;
use crate::stages::report::blocks::Block;
use crate::stages::report::formatting::{count, percent, plural, size};
use crate::stages::report::names::shortened;

/// Height of a row.
const ROW: f64 = 42.0;
/// Width of the area for the bars on the left.
const BARS: f64 = 128.0;
/// The left edge of a row's text.
const TEXT: f64 = BARS + 16.0;
/// The most characters of a name; a longer one would run into the shape.
const NAME: usize = 30;

/// A step after the network, with the number of values that it outputs for a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: &'static str,
    pub detail: String,
    pub width: usize,
}

/// A row of the drawing.
struct Row {
    kind: &'static str,
    name: String,
    detail: String,
    shape: String,
    /// Width and height of its bar, in units.
    bar: [f64; 2],
}

/// The drawing. None without a block.
pub fn draw(blocks: &[Block], steps: &[Step], title: &str) -> Option<Chart> {
    if blocks.is_empty() {
        return None;
    }
    let rows: Vec<Row> = blocks.iter().map(|block| of_block(block, blocks)).chain(steps.iter().map(of_step)).collect();
    let told: Vec<String> = rows.iter().map(|row| format!("{} {}", row.name, row.shape)).collect();
    let mut out = String::new();
    for (i, row) in rows.iter().enumerate() {
        let middle = ROW * (i as f64 + 0.5);
        let [width, height] = row.bar;
        let [x, y, w, h] = [(BARS - width) / 2.0, middle - height / 2.0, width, height].map(coordinate);
        if i > 0 {
            let above = ROW * (i as f64 - 0.5) + rows[i - 1].bar[1] / 2.0;
            let (x, from, to) =
                (coordinate(BARS / 2.0), coordinate(above + 1.5), coordinate(middle - height / 2.0 - 1.5));
            write!(out, "<path class=\"flow\" d=\"M{x} {from}V{to}\"/>").ok();
        }
        write!(out, "<rect class=\"{}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"2.5\"/>", row.kind).ok();
        let (upper, lower) = (coordinate(middle - 3.0), coordinate(middle + 12.0));
        let (name, detail, shape) = (escape(&row.name), escape(&row.detail), escape(&row.shape));
        write!(out, "<text class=\"strong\" x=\"{TEXT}\" y=\"{upper}\">{name}</text>").ok();
        write!(out, "<text x=\"{TEXT}\" y=\"{lower}\">{detail}</text>").ok();
        write!(out, "<text class=\"e\" x=\"{}\" y=\"{upper}\">{shape}</text>", coordinate(WIDTH - 1.0)).ok();
    }
    let title = format!("{title}: {}", told.join(", "));
    Some(Chart { width: WIDTH, height: ROW * rows.len() as f64, title, marks: out })
}

fn of_block(block: &Block, all: &[Block]) -> Row {
    let largest = all.iter().map(|block| sides(block.shape)[0]).fold(1.0, f64::max);
    let deepest = all.iter().map(|block| sides(block.shape)[1]).fold(1.0, f64::max);
    let [side, channels] = sides(block.shape);
    let scaled = |value: f64, most: f64| ((1.0 + value).ln() / (1.0 + most).ln()).clamp(0.0, 1.0);
    let parts = [
        (block.layers > 0).then(|| plural(block.layers, "layer")),
        (block.sums > 0).then(|| plural(block.sums, "sum")),
        (block.joins > 0).then(|| plural(block.joins, "concatenation")),
        (block.work > 0.0).then(|| format!("{} of the work", percent(block.work))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    Row {
        kind: if block.tapped { "tap" } else { "map" },
        name: shortened(&block.name, NAME).into_owned(),
        detail: match (block.is_input, parts.is_empty()) {
            (true, _) => "the prepared picture".into(),
            (false, true) => "without weights".into(),
            (false, false) => parts.join(", "),
        },
        shape: size(&block.shape.dims()),
        bar: [BARS * scaled(side, largest).powi(2).max(0.06), 4.0 + 24.0 * scaled(channels, deepest).powi(2)],
    }
}

fn of_step(step: &Step) -> Row {
    Row {
        kind: "step",
        name: step.name.into(),
        detail: step.detail.clone(),
        shape: count(step.width),
        bar: [(8.0 * (1.0 + step.width as f64).ln()).clamp(6.0, BARS), 6.0],
    }
}

/// Side and channels of a shape.
fn sides(shape: Shape) -> [f64; 2] {
    match shape {
        Shape::Map { c, h, w } => [h.max(w) as f64, c as f64],
        Shape::Tokens { n, c } => [(n as f64).sqrt(), c as f64],
        Shape::Vector(n) => [1.0, n as f64],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: &str, c: usize, side: usize, tapped: bool) -> Block {
        let shape = Shape::Map { c, h: side, w: side };
        Block {
            name: name.into(),
            is_input: name.contains("put"),
            shape,
            layers: 3,
            sums: 1,
            joins: 0,
            work: 0.5,
            tapped,
        }
    }

    #[test]
    fn every_block_and_step_is_a_row() {
        assert!(draw(&[], &[], "t").is_none());
        let blocks = [block("in<put", 3, 224, false), block("conv", 2048, 7, true)];
        let steps = [Step { name: "features", detail: "mean".into(), width: 2048 }];
        let svg = draw(&blocks, &steps, "Architecture").expect("a drawing").inline();
        assert_eq!(svg.matches("<rect").count(), 3);
        assert_eq!(svg.matches("class=\"tap\"").count(), 1);
        assert!(svg.contains("in&lt;put") && !svg.contains("in<put") && svg.contains("7 × 7 × 2,048"), "{svg}");
        assert!(svg.contains("3 layers, 1 sum, 50.0\u{202f}% of the work"), "{svg}");
        let pool = Block { layers: 0, sums: 0, work: 0.0, ..block("pool", 2048, 7, false) };
        let svg = draw(&[blocks[0].clone(), pool], &[], "t").expect("a drawing").inline();
        assert_eq!((svg.matches("the prepared picture").count(), svg.matches("without weights").count()), (1, 1));
    }
}
