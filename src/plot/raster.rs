//! Draws a figure as pixels.

use super::bars::{Anchor, Figure, Mark, Text};
use super::canvas::{Area, Canvas};
use super::font;
use crate::image::{Filter, RgbImage, WHITE, resize};

/// Draws the figure on white.
pub(super) fn draw(figure: &Figure) -> RgbImage {
    let scale = figure.scale as f32;
    let pixels = |points: f32| (points * scale).ceil() as usize;
    let mut image = RgbImage::filled(pixels(figure.width), pixels(figure.height), WHITE);
    let mut canvas = Canvas::new(&mut image);
    for mark in figure.cells.iter().flat_map(|cell| &cell.marks) {
        match mark {
            Mark::Fill { area, colour } => canvas.fill(scaled(*area, scale), *colour, 1.0),
            Mark::Text(text) => write(&mut canvas, text, scale),
            Mark::Picture { area, image } => paste(&mut canvas, image, scaled(*area, scale)),
        }
    }
    image
}

fn scaled(area: Area, scale: f32) -> Area {
    Area { left: area.left * scale, top: area.top * scale, width: area.width * scale, height: area.height * scale }
}

fn write(canvas: &mut Canvas, text: &Text, scale: f32) {
    let size = text.size * scale;
    let before = match text.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => 0.5,
        Anchor::End => 1.0,
    };
    let x = text.x * scale - before * font::width(&text.text, size);
    canvas.text(&text.text, size, x, text.baseline * scale, text.colour);
}

fn paste(canvas: &mut Canvas, image: &RgbImage, area: Area) {
    let (left, top) = (area.left.round() as i64, area.top.round() as i64);
    let (width, height) = (area.width.round() as usize, area.height.round() as usize);
    if (image.width, image.height) == (width, height) {
        return canvas.paste(image, left, top);
    }
    if image.width == 0 || image.height == 0 {
        return; // the picture is empty
    }
    // Lanczos would put rings around the edges of a picture that is enlarged.
    let filter = if image.width > width { Filter::Lanczos } else { Filter::Bicubic };
    canvas.paste(&resize(image, width, height, filter), left, top);
}
