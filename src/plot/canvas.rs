//! Drawing on a picture: filled rectangles, lines, other pictures and text, with smooth edges.
//!
//! Coordinates are in pixels from the upper left corner: the pixel at column 3 covers 3.0 to 4.0. What lies outside the picture is not drawn.

use std::ops::Range;

use super::font;
use crate::image::RgbImage;

/// Red, green and blue, as they stand in a picture.
pub type Colour = [u8; 3];

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    pub left: f32,
    pub top: f32,
    pub width: f32,
    pub height: f32,
}

impl Area {
    /// Where its right side is.
    pub fn right(&self) -> f32 {
        self.left + self.width
    }

    /// Where its lower side is.
    pub fn bottom(&self) -> f32 {
        self.top + self.height
    }
}

/// A picture that is drawn on.
#[derive(Debug)]
pub struct Canvas<'a> {
    image: &'a mut RgbImage,
}

impl<'a> Canvas<'a> {
    /// Draws on `image`.
    pub fn new(image: &'a mut RgbImage) -> Self {
        Self { image }
    }

    /// Fills `area`; `alpha` 1 hides what was there, 0 leaves it. An edge between two pixels is shared by them.
    pub fn fill(&mut self, area: Area, colour: Colour, alpha: f32) {
        self.shade(area, colour, |x, y| {
            let covered = |from: f32, to: f32, at: f32| (to.min(at + 0.5) - from.max(at - 0.5)).clamp(0.0, 1.0);
            alpha * covered(area.left, area.right(), x) * covered(area.top, area.bottom(), y)
        });
    }

    /// Fills `area` with corners of the given radius, or of the largest that fits.
    pub fn fill_round(&mut self, area: Area, radius: f32, colour: Colour, alpha: f32) {
        let (half_w, half_h) = (area.width / 2.0, area.height / 2.0);
        let radius = radius.min(half_w).min(half_h).max(0.0);
        if radius == 0.0 {
            return self.fill(area, colour, alpha);
        }
        let (x0, y0) = (area.left + half_w, area.top + half_h);
        self.shade(area, colour, |x, y| {
            let (dx, dy) = ((x - x0).abs() - half_w + radius, (y - y0).abs() - half_h + radius);
            let distance = dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - radius;
            alpha * (0.5 - distance).clamp(0.0, 1.0)
        });
    }

    /// A straight line of the given thickness with round ends.
    pub fn line(&mut self, from: [f32; 2], to: [f32; 2], thickness: f32, colour: Colour, alpha: f32) {
        let half = thickness / 2.0;
        let (left, top) = (from[0].min(to[0]) - half, from[1].min(to[1]) - half);
        let (right, bottom) = (from[0].max(to[0]) + half, from[1].max(to[1]) + half);
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let squared = (dx * dx + dy * dy).max(f32::MIN_POSITIVE);
        self.shade(Area { left, top, width: right - left, height: bottom - top }, colour, |x, y| {
            let along = (((x - from[0]) * dx + (y - from[1]) * dy) / squared).clamp(0.0, 1.0);
            let distance = (x - from[0] - along * dx).hypot(y - from[1] - along * dy);
            alpha * (half + 0.5 - distance).clamp(0.0, 1.0)
        });
    }

    /// Copies `other` with its upper left corner at column `left`, row `top`; what reaches outside is cut off.
    pub fn paste(&mut self, other: &RgbImage, left: i64, top: i64) {
        let columns = clipped(left, other.width, self.image.width);
        let rows = clipped(top, other.height, self.image.height);
        if columns.is_empty() {
            return;
        }
        let from = (columns.start as i64 - left) as usize * 3;
        let bytes = columns.len() * 3;
        for y in rows {
            let start = (y * self.image.width + columns.start) * 3;
            let source = &other.row((y as i64 - top) as usize)[from..from + bytes];
            self.image.data[start..start + bytes].copy_from_slice(source);
        }
    }

    /// Writes `text` in letters of `size` pixels an em, its first one at `x`, all of them on `baseline`.
    pub fn text(&mut self, text: &str, size: f32, x: f32, baseline: f32, colour: Colour) {
        font::draw(text, size, x, baseline, |column, row, coverage| self.blend(column, row, colour, coverage));
    }

    /// Mixes `colour` into the pixels around `area` by what `alpha` gives for their centres.
    fn shade(&mut self, area: Area, colour: Colour, alpha: impl Fn(f32, f32) -> f32) {
        let side = |from: f32, to: f32, end: usize| (from.floor() as i64).max(0)..(to.ceil() as i64).min(end as i64);
        // half a pixel more on each side: where a smooth edge ends
        let columns = side(area.left - 0.5, area.right() + 0.5, self.image.width);
        for y in side(area.top - 0.5, area.bottom() + 0.5, self.image.height) {
            for x in columns.clone() {
                self.blend(x, y, colour, alpha(x as f32 + 0.5, y as f32 + 0.5));
            }
        }
    }

    fn blend(&mut self, x: i64, y: i64, colour: Colour, alpha: f32) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if alpha <= 0.0 || x >= self.image.width || y >= self.image.height {
            return;
        }
        let start = (y * self.image.width + x) * 3;
        for (old, new) in self.image.data[start..start + 3].iter_mut().zip(colour) {
            let mixed = f32::from(*old) + (f32::from(new) - f32::from(*old)) * alpha.min(1.0);
            *old = mixed.round() as u8;
        }
    }
}

/// The part of `start..start + length` that is inside `0..end`.
fn clipped(start: i64, length: usize, end: usize) -> Range<usize> {
    let to = (start + length as i64).clamp(0, end as i64);
    start.clamp(0, to) as usize..to as usize
}

/// Em of a caption as a part of the picture's shorter side, and the fewest pixels that it is read at.
const LABEL_SIZE: f32 = 0.045;
const LABEL_LEAST: f32 = 11.0;
/// A caption that is too wide is set smaller down to here, then in lines of this distance in ems, then shortened.
const LABEL_SMALLEST: f32 = 10.0;
const LABEL_LINE: f32 = 1.25;
const LABEL_LINES: usize = 3;

/// Draws a caption such as `Predicted: banana 0.98` into the lower left corner of a picture of any size: white letters on a dark, see-through
/// ground. It grows with the picture; where it is too wide it is set smaller, then in lines, then shortened.
pub fn label(image: &mut RgbImage, text: &str) {
    let text = font::clean(text);
    let (columns, rows) = (image.width as f32, image.height as f32);
    let wanted = (LABEL_SIZE * columns.min(rows)).max(LABEL_LEAST);
    // margin, padding, text, padding, margin: 1.8 ems beside the text
    let fitting = columns / (font::width(&text, 1.0) + 1.8);
    let size = wanted.min(fitting.max(LABEL_SMALLEST));
    let (margin, padding) = (0.4 * size, 0.5 * size);
    // a hair more than the width that `fitting` was made of
    let lines = font::wrap(&text, size, (columns - 1.8 * size).max(0.0) + 0.01, LABEL_LINES);
    let Some(below_first) = lines.len().checked_sub(1) else { return };
    let widest = lines.iter().map(|line| font::width(line, size)).fold(0.0, f32::max);
    let height = size * (font::CAPITAL + below_first as f32 * LABEL_LINE) + 2.0 * padding;
    let ground = Area {
        left: margin.round(),
        top: (rows - margin - height).round().max(0.0),
        width: (widest + 2.0 * padding).round(),
        height: height.round(),
    };
    let mut canvas = Canvas::new(image);
    canvas.fill_round(ground, 0.3 * size, [0; 3], 0.66);
    for (i, line) in lines.iter().enumerate() {
        let baseline = ground.top + padding + size * (font::CAPITAL + i as f32 * LABEL_LINE);
        canvas.text(line, size, ground.left + padding, baseline.round(), [255; 3]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn white(width: usize, height: usize) -> RgbImage {
        RgbImage::filled(width, height, [255; 3])
    }

    fn area(left: f32, top: f32, width: f32, height: f32) -> Area {
        Area { left, top, width, height }
    }

    /// The first channel of the pixels of a row.
    fn reds(image: &RgbImage, y: usize) -> Vec<u8> {
        image.row(y).iter().step_by(3).copied().collect()
    }

    #[test]
    fn a_rectangle_covers_whole_pixels_and_shares_its_edges() {
        let mut image = white(6, 3);
        Canvas::new(&mut image).fill(area(1.0, 1.0, 2.5, 1.0), [0; 3], 1.0);
        assert_eq!(reds(&image, 0), [255; 6]);
        assert_eq!(reds(&image, 1), [255, 0, 0, 128, 255, 255]);
        Canvas::new(&mut image).fill(area(0.0, 2.0, 6.0, 1.0), [55; 3], 0.5);
        assert_eq!(reds(&image, 2), [155; 6]);
    }

    #[test]
    fn what_is_outside_is_not_drawn() {
        let mut image = white(5, 5);
        let mut canvas = Canvas::new(&mut image);
        canvas.fill(area(-9.0, -9.0, 9.0, 50.0), [0; 3], 1.0);
        canvas.fill_round(area(5.0, 0.0, 1e9, 5.0), 0.0, [0; 3], 1.0);
        canvas.line([-5.0, -3.0], [20.0, -3.0], 2.0, [0; 3], 1.0);
        canvas.text("outside", 12.0, 100.0, -4.0, [0; 3]);
        canvas.paste(&RgbImage::filled(3, 3, [0; 3]), -3, 2);
        canvas.paste(&RgbImage::filled(3, 3, [0; 3]), 2, 5);
        canvas.paste(&RgbImage::filled(3, 3, [0; 3]), i64::from(i32::MAX), -90);
        assert_eq!(image, white(5, 5));
        Canvas::new(&mut image).paste(&RgbImage::from_fn(3, 3, |x, _| [x as u8; 3]), -1, 3);
        assert_eq!(reds(&image, 2), [255; 5]);
        assert_eq!(reds(&image, 3), [1, 2, 255, 255, 255]);
        assert_eq!(reds(&image, 4), [1, 2, 255, 255, 255]);
    }

    #[test]
    fn corners_are_round_and_the_middle_is_full() {
        let mut image = white(20, 10);
        Canvas::new(&mut image).fill_round(area(0.0, 0.0, 20.0, 10.0), 99.0, [0; 3], 1.0);
        assert_eq!((reds(&image, 0)[0], reds(&image, 9)[19]), (255, 255));
        assert_eq!(reds(&image, 0)[5..15], [0; 10]);
        let inked: f32 = (0..10).flat_map(|y| reds(&image, y)).map(|red| 1.0 - f32::from(red) / 255.0).sum();
        let expected = 100.0 + std::f32::consts::PI * 25.0;
        assert!((inked - expected).abs() < 1.5, "{inked} of {expected}");
    }

    #[test]
    fn a_line_has_its_thickness_in_every_direction() {
        for to in [[38.0, 20.0], [20.0, 38.0], [32.0, 32.0]] {
            let mut image = white(40, 40);
            let from = [8.0, 8.0].map(|at: f32| if to == [32.0, 32.0] { at } else { 20.0 });
            Canvas::new(&mut image).line(from, to, 3.0, [0; 3], 1.0);
            let inked: f32 = image.data.iter().step_by(3).map(|&red| 1.0 - f32::from(red) / 255.0).sum();
            let length = (to[0] - from[0]).hypot(to[1] - from[1]);
            let expected = 3.0 * length + std::f32::consts::PI * 2.25;
            assert!((inked / expected - 1.0).abs() < 0.04, "{to:?}: {inked} of {expected}");
        }
    }

    #[test]
    fn text_has_ink_where_its_width_says() {
        let mut image = white(120, 30);
        Canvas::new(&mut image).text("banana 97.3 %", 14.0, 5.0, 20.0, [0; 3]);
        let dark: Vec<(usize, usize)> = (0..30)
            .flat_map(|y| {
                reds(&image, y).into_iter().enumerate().filter(|&(_, red)| red < 128).map(move |(x, _)| (x, y))
            })
            .collect();
        let right = 5.0 + font::width("banana 97.3 %", 14.0);
        assert!(dark.len() > 150, "{}", dark.len());
        assert!(dark.iter().all(|&(x, y)| x >= 5 && (x as f32) < right && (8..=21).contains(&y)));
        assert!(dark.iter().any(|&(x, _)| x as f32 > right - 4.0));
    }

    #[test]
    fn a_caption_is_read_on_pictures_of_any_size() {
        for (width, height) in [(100, 100), (224, 224), (1600, 1200), (300, 2000), (2000, 90)] {
            for ground in [[255; 3], [120; 3]] {
                let before = RgbImage::filled(width, height, ground);
                let mut image = before.clone();
                label(&mut image, "Predicted: banana 0.98");
                let changed = |y: usize| (image.row(y) != before.row(y)).then_some(y);
                let rows: Vec<usize> = (0..height).filter_map(changed).collect();
                let (first, last) = (rows[0], rows[rows.len() - 1]);
                assert!(rows.len() >= 14 && last + 1 < height, "{width} × {height}: {} rows", rows.len());
                assert!(3 * first > height, "{width} × {height}: begins in row {first}");
                let bright = image.data.iter().filter(|&&byte| byte > 170).count();
                let dark = image.data.iter().filter(|&&byte| byte < 100).count();
                assert!(bright > 100 && dark > 300, "{width} × {height}: {bright} bright, {dark} dark");
            }
        }
    }

    #[test]
    fn a_caption_never_fails_however_small_the_picture() {
        for (width, height) in [(0, 0), (1, 1), (3, 40), (40, 3)] {
            let mut image = white(width, height);
            label(&mut image, "Predicted: banana\n0.98");
            assert_eq!(image.data.len(), width * height * 3);
        }
    }
}
