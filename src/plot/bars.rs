//! Lays out a figure: a grid of cells, each with a picture, its name, and a bar for each of its most probable classes.

use super::canvas::{Area, Colour};
use super::{BarScale, Cell, font};
use crate::image::RgbImage;

/// The white margin around the figure.
const MARGIN: f32 = 28.0;
/// The space between two cells of a row.
const GUTTER: f32 = 32.0;
/// The space between two rows.
const ROW_GUTTER: f32 = 34.0;
/// The width of a cell, and the largest height of its picture.
pub(super) const BOX: usize = 256;
/// The minimum height of a row's pictures, which the reason for a missing picture needs.
const LEAST_BOX: f32 = 108.0;
/// From a picture to the baseline of its name.
const TITLE: f32 = 18.0;
/// From a picture to the text of its first bar.
const BELOW: f32 = 33.0;
/// The space below the baseline of the name where there are no bars.
const DESCENT: f32 = 4.0;
/// From a bar to the next one.
const PITCH: f32 = 34.0;
/// From the top of a bar's text to the bar.
const BAR_TOP: f32 = 16.0;
/// The height of a bar.
const BAR: f32 = 8.0;
/// The width of the frame of a marked cell.
const FRAME: f32 = 5.0;
/// The length of the axis ticks above and below a bar.
const TICK: f32 = 2.0;
/// The height of the numbers of the axis under the last bar.
const AXIS: f32 = 14.0;
/// The height of the band for a label on a picture.
const BAND: f32 = 22.0;
/// From the lower edge of the band to the baseline of its text.
const BAND_DESCENT: f32 = 7.0;
/// From the sides of the band to its text.
const BAND_SIDE: f32 = 7.0;

/// The text sizes, in points per em.
const NAME_SIZE: f32 = 12.0;
const TITLE_SIZE: f32 = 11.0;
const AXIS_SIZE: f32 = 9.0;

const INK: Colour = [0x1d, 0x21, 0x27];
const SOFT: Colour = [0x5b, 0x63, 0x6e];
const FAINT: Colour = [0x8a, 0x91, 0x9b];
const LINE: Colour = [0xcd, 0xd1, 0xd6];
const TRACK: Colour = [0xee, 0xf0, 0xf2];
const GROUND: Colour = [0xf5, 0xf6, 0xf7];
pub(super) const BAND_GROUND: Colour = [0x16, 0x1a, 0x1f];
pub(super) const BAND_INK: Colour = [0xff, 0xff, 0xff];
/// Two blues of one hue that differ in lightness, so that they differ without colour vision and in print.
pub(super) const FIRST: Colour = [0x00, 0x72, 0xb2];
pub(super) const OTHERS: Colour = [0x8f, 0xc3, 0xe4];

/// The layout of a figure, in points.
#[derive(Debug)]
pub(super) struct Figure<'a> {
    pub width: f32,
    pub height: f32,
    /// The pixels per point.
    pub scale: usize,
    pub cells: Vec<DrawnCell<'a>>,
}

/// The layout of a cell.
#[derive(Debug)]
pub(super) struct DrawnCell<'a> {
    /// The cell's text in one line, for screen readers.
    pub words: String,
    /// The marks in the order in which they are drawn.
    pub marks: Vec<Mark<'a>>,
}

/// An element that is drawn.
#[derive(Debug)]
pub(super) enum Mark<'a> {
    Fill { area: Area, colour: Colour },
    Text(Text),
    Picture { area: Area, image: &'a RgbImage },
}

/// A line of text.
#[derive(Debug)]
pub(super) struct Text {
    pub text: String,
    pub anchor: Anchor,
    /// The position of the anchor.
    pub x: f32,
    pub baseline: f32,
    /// The points per em.
    pub size: f32,
    pub colour: Colour,
    /// The largest width of the text in any font.
    pub room: f32,
}

/// The part of a text that is at its `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Returns the number of cells side by side in a figure of `count` cells.
pub(super) fn columns(count: usize) -> usize {
    match count {
        0..=4 => count.max(1),
        5 | 6 | 9 => 3,
        _ => 4,
    }
}

/// Returns width and height in pixels at which a figure shows a picture: as large as its box allows, with the same
/// aspect ratio, and at least one pixel each.
pub(super) fn size(width: usize, height: usize, scale: usize) -> (usize, usize) {
    let (side, long) = (BOX * scale, width.max(height).max(1));
    let part = |n: usize| ((n * side + long / 2) / long).max(1);
    (part(width), part(height))
}

/// Lays out the figure of `cells`, with `scale` pixels per point.
pub(super) fn lay_out<'a>(cells: &[Cell<'a>], scale: usize) -> Figure<'a> {
    let across = columns(cells.len());
    let lines = cells.chunks(across).map(|cells| CellRow { first: 0, cells });
    lay_out_rows(lines, across, scale)
}

/// Cells side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellRow<'c, 'a> {
    /// The column of the first cell.
    pub first: usize,
    pub cells: &'c [Cell<'a>],
}

/// Lays out rows of cells in a figure with `across` columns.
pub(super) fn lay_out_rows<'c, 'a: 'c>(
    lines: impl Iterator<Item = CellRow<'c, 'a>>,
    across: usize,
    scale: usize,
) -> Figure<'a> {
    let mut drawn = Vec::new();
    let mut top = MARGIN;
    for CellRow { first, cells: row } in lines {
        let picture = row.iter().map(|cell| picture_height(cell, scale)).fold(LEAST_BOX, f32::max);
        for (column, cell) in row.iter().enumerate() {
            let left = MARGIN + (first + column) as f32 * (BOX as f32 + GUTTER);
            drawn.push(draw(cell, Area { left, top, width: BOX as f32, height: picture }, scale));
        }
        let bars = row.iter().map(|cell| shown_bars(cell).len()).max().unwrap_or(0);
        top += picture + below(bars) + ROW_GUTTER;
    }
    let width = 2.0 * MARGIN + across as f32 * (BOX as f32 + GUTTER) - GUTTER;
    Figure { width, height: top - ROW_GUTTER + MARGIN, scale, cells: drawn }
}

/// Returns the height of a cell's picture in whole points.
fn picture_height(cell: &Cell, scale: usize) -> f32 {
    cell.picture.map_or(0.0, |image| size(image.width, image.height, scale).1.div_ceil(scale) as f32)
}

/// Returns the height that the name, `count` bars and their axis need below a picture.
fn below(count: usize) -> f32 {
    if count == 0 { TITLE + DESCENT } else { BELOW + (count - 1) as f32 * PITCH + BAR_TOP + BAR + TICK + AXIS }
}

fn shown_bars<'c, 'a>(cell: &'c Cell<'a>) -> &'c [(&'a str, f32)] {
    if cell.picture.is_ok() { &cell.bars } else { &[] }
}

/// Lays out a cell whose picture is in `frame`.
fn draw<'a>(cell: &Cell<'a>, frame: Area, scale: usize) -> DrawnCell<'a> {
    let title = font::clean(cell.title);
    let mut marks = vec![Mark::Text(Text {
        text: font::shorten_middle(&title, TITLE_SIZE, frame.width).into_owned(),
        anchor: Anchor::Start,
        x: frame.left,
        baseline: frame.bottom() + TITLE,
        size: TITLE_SIZE,
        colour: SOFT,
        room: frame.width,
    })];
    let words = match cell.picture {
        Ok(image) => {
            let label = cell.label.as_deref().map(font::clean);
            picture_with_label(image, label.as_deref(), frame, scale, &mut marks);
            let names: Vec<(String, f32)> = cell.bars.iter().map(|&(name, p)| (class_name(name), p)).collect();
            bars(&names, cell.bar_scale, frame, &mut marks);
            let bars = names.iter().map(|(name, value)| format!("{name} {}", cell.bar_scale.text(*value)));
            label.into_iter().chain(bars).collect::<Vec<_>>().join(", ")
        }
        Err(reason) => {
            let (heading, reason) = (cell.bar_scale.missing_heading(), font::clean(reason));
            missing_picture(heading, &reason, frame, &mut marks);
            format!("{}: {reason}", heading.to_lowercase())
        }
    };
    if cell.marked {
        let (top, left) = (frame.top - FRAME, frame.left - FRAME);
        let (width, height) = (frame.width + 2.0 * FRAME, frame.height + 2.0 * FRAME);
        let across = Area { left, top, width, height: FRAME };
        let along = Area { left, top, width: FRAME, height };
        let sides = [across, Area { top: frame.bottom(), ..across }, along, Area { left: frame.right(), ..along }];
        marks.extend(sides.map(|area| Mark::Fill { area, colour: FIRST }));
    }
    DrawnCell { words: format!("{title}: {words}"), marks }
}

/// Returns the name of a class with spaces for underscores.
fn class_name(name: &str) -> String {
    font::clean(name).replace('_', " ")
}

impl BarScale {
    /// Writes a value as `97.3 %` or `0.97`.
    fn text(self, value: f32) -> String {
        match self {
            BarScale::Probability => percent(value),
            BarScale::Cosine => format!("{value:.2}"),
        }
    }

    /// Returns the numbers of the axis.
    fn ticks(self) -> [&'static str; 3] {
        match self {
            BarScale::Probability => ["0", "50 %", "100 %"],
            BarScale::Cosine => ["0", "0.5", "1"],
        }
    }

    /// Returns the heading in place of a missing picture.
    fn missing_heading(self) -> &'static str {
        match self {
            BarScale::Probability => "No prediction",
            BarScale::Cosine => "No picture",
        }
    }
}

/// Writes a probability as `97.3 %`. It is `0.0 %` or `100.0 %` only if the probability is exactly that.
pub(super) fn percent(probability: f32) -> String {
    let percent = 100.0 * f64::from(probability);
    match probability {
        p if p > 0.0 && percent < 0.05 => "< 0.1 %".into(),
        p if p < 1.0 && percent >= 99.95 => "> 99.9 %".into(),
        _ => format!("{percent:.1} %"),
    }
}

/// Puts the picture into the bottom centre of `frame`, on whole pixels, and its label over its lower edge, or below a
/// picture that is too flat.
fn picture_with_label<'a>(
    image: &'a RgbImage,
    label: Option<&str>,
    frame: Area,
    scale: usize,
    marks: &mut Vec<Mark<'a>>,
) {
    let (width, height) = size(image.width, image.height, scale);
    let points = |pixels: usize| pixels as f32 / scale as f32;
    let beside = (BOX * scale).saturating_sub(width);
    let flat = label.is_some() && points(height) < 3.0 * BAND;
    let area = Area {
        left: frame.left + points(beside / 2),
        top: frame.bottom() - points(height) - if flat { BAND } else { 0.0 },
        width: points(width),
        height: points(height),
    };
    marks.push(Mark::Picture { area, image });
    let Some(label) = label else { return };
    marks.push(Mark::Fill { area: Area { top: frame.bottom() - BAND, height: BAND, ..frame }, colour: BAND_GROUND });
    let room = frame.width - 2.0 * BAND_SIDE;
    marks.push(Mark::Text(Text {
        text: font::shorten_middle(label, NAME_SIZE, room).into_owned(),
        anchor: Anchor::Start,
        x: frame.left + BAND_SIDE,
        baseline: frame.bottom() - BAND_DESCENT,
        size: NAME_SIZE,
        colour: BAND_INK,
        room,
    }));
}

/// Puts the name, the probability and the bar of each class below one another, and the axis below the last one.
fn bars(classes: &[(String, f32)], bar_scale: BarScale, frame: Area, marks: &mut Vec<Mark>) {
    let [none, half, all] = bar_scale.ticks();
    let ticks = [(0.0, none, Anchor::Start), (0.5, half, Anchor::Middle), (1.0, all, Anchor::End)];
    for (rank, (name, probability)) in classes.iter().enumerate() {
        let top = frame.bottom() + BELOW + rank as f32 * PITCH;
        let (colour, ink) = if rank == 0 { (FIRST, INK) } else { (OTHERS, SOFT) };
        let number = bar_scale.text(*probability);
        let number_room = font::width(&number, NAME_SIZE) * 1.2;
        let room = frame.width - number_room - 10.0;
        let text = |text: String, anchor: Anchor, x: f32, room: f32| {
            Mark::Text(Text { text, anchor, x, baseline: top + 10.0, size: NAME_SIZE, colour: ink, room })
        };
        marks.push(text(font::shorten_end(name, NAME_SIZE, room).into_owned(), Anchor::Start, frame.left, room));
        marks.push(text(number, Anchor::End, frame.right(), number_room));
        let bar = Area { left: frame.left, top: top + BAR_TOP, width: frame.width, height: BAR };
        marks.push(Mark::Fill { area: bar, colour: TRACK });
        for (at, _, _) in ticks {
            let left = frame.left + (at * (f64::from(frame.width) - 1.0)).floor() as f32;
            let line = Area { left, top: bar.top - TICK, width: 1.0, height: BAR + 2.0 * TICK };
            marks.push(Mark::Fill { area: line, colour: LINE });
        }
        let length = frame.width * if probability.is_nan() { 0.0 } else { probability.clamp(0.0, 1.0) };
        marks.push(Mark::Fill { area: Area { width: length, ..bar }, colour });
    }
    if classes.is_empty() {
        return;
    }
    let baseline = frame.bottom() + below(classes.len()) - 4.0;
    for (at, text, anchor) in ticks {
        let x = frame.left + at as f32 * frame.width;
        let (text, room) = (text.to_string(), frame.width / 3.0);
        marks.push(Mark::Text(Text { text, anchor, x, baseline, size: AXIS_SIZE, colour: FAINT, room }));
    }
}

/// Puts the reason in place of a missing picture.
fn missing_picture(heading: &str, reason: &str, frame: Area, marks: &mut Vec<Mark>) {
    const LINE_HEIGHT: f32 = 17.0;
    const PADDING: f32 = 16.0;
    marks.push(Mark::Fill { area: frame, colour: GROUND });
    let room = frame.width - 2.0 * PADDING;
    let most = ((frame.height - 2.0 * PADDING) / LINE_HEIGHT) as usize;
    let lines = font::wrap(reason, NAME_SIZE, room, most.saturating_sub(1));
    let first = frame.top + (frame.height - (lines.len() + 1) as f32 * LINE_HEIGHT) / 2.0;
    for (i, text) in std::iter::once(heading.to_string()).chain(lines).enumerate() {
        marks.push(Mark::Text(Text {
            text,
            anchor: Anchor::Middle,
            x: frame.left + frame.width / 2.0,
            baseline: (first + i as f32 * LINE_HEIGHT + 12.0).round(),
            size: NAME_SIZE,
            colour: if i == 0 { INK } else { SOFT },
            room,
        }));
    }
}
