//! Draws filled rectangles, pictures and text on a picture, with antialiased edges.
//!
//! Coordinates are in pixels from the upper left corner: the pixel at column 3 covers 3.0 to 4.0. Parts outside the
//! picture are not drawn.

use std::ops::Range;

use super::font;
use crate::image::RgbImage;

/// Red, green and blue levels.
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
    /// The coordinate of the right side.
    pub fn right(&self) -> f32 {
        self.left + self.width
    }

    /// The coordinate of the lower side.
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
    /// Begins to draw on `image`.
    pub fn new(image: &'a mut RgbImage) -> Self {
        Self { image }
    }

    /// Fills `area`. An `alpha` of 1 hides the picture below, and 0 leaves it. A pixel that the area covers in part is
    /// blended by that part.
    pub fn fill(&mut self, area: Area, colour: Colour, alpha: f32) {
        self.shade(area, colour, |x, y| {
            let covered = |from: f32, to: f32, at: f32| (to.min(at + 0.5) - from.max(at - 0.5)).clamp(0.0, 1.0);
            alpha * covered(area.left, area.right(), x) * covered(area.top, area.bottom(), y)
        });
    }

    /// Copies `other` with its upper left corner to column `left`, row `top`; the part outside the picture is left out.
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

    /// Writes `text` with `size` pixels per em on `baseline`, beginning at `x`.
    pub fn text(&mut self, text: &str, size: f32, x: f32, baseline: f32, colour: Colour) {
        font::draw(text, size, x, baseline, |column, row, coverage| self.blend(column, row, colour, coverage));
    }

    /// Blends `colour` into the pixels around `area`; `alpha` gives the opacity at their centres.
    fn shade(&mut self, area: Area, colour: Colour, alpha: impl Fn(f32, f32) -> f32) {
        let side = |from: f32, to: f32, end: usize| (from.floor() as i64).max(0)..(to.ceil() as i64).min(end as i64);
        // An antialiased edge reaches half a pixel beyond the area.
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

/// Returns the part of `start..start + length` that is inside `0..end`.
fn clipped(start: i64, length: usize, end: usize) -> Range<usize> {
    let to = (start + length as i64).clamp(0, end as i64);
    start.clamp(0, to) as usize..to as usize
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

    /// Returns the first channel of the pixels of a row.
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
    fn parts_outside_the_picture_are_not_drawn() {
        let mut image = white(5, 5);
        let mut canvas = Canvas::new(&mut image);
        canvas.fill(area(-9.0, -9.0, 9.0, 50.0), [0; 3], 1.0);
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
}
