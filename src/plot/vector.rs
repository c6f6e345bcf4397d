//! Draws an SVG as pixels with resvg, for charts that are made as SVG and also wanted as PNG. Text is set in
//! [`font`](super::font) whatever family the SVG names, so that the pixels are the same on every machine.

use std::sync::Arc;

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{FontResolver, Options, Tree};

use super::{VectorError, font};
use crate::image::{RgbImage, WHITE};

/// The most pixels on each side.
const MOST: f32 = 20_000.0;

/// Draws `svg` on white, with `scale` pixels for each unit.
pub(super) fn draw(svg: &str, scale: f32) -> Result<RgbImage, VectorError> {
    let mut fonts = Database::new();
    fonts.load_font_data(font::BYTES.to_vec());
    let only = fonts.faces().next().map(|face| face.id);
    let resolver = FontResolver {
        select_font: Box::new(move |_, _| only),
        // A missing character is drawn as a box, as in every picture that featurize draws.
        select_fallback: Box::new(|_, _, _| None),
    };
    let options = Options { fontdb: Arc::new(fonts), font_resolver: resolver, ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|error| VectorError::Svg(error.to_string()))?;
    let [width, height] =
        [tree.size().width(), tree.size().height()].map(|side| (side * scale).round().clamp(1.0, MOST));
    let Some(mut pixels) = Pixmap::new(width as u32, height as u32) else {
        return Err(VectorError::Svg(format!("{width} × {height} pixels cannot be drawn")));
    };
    let [red, green, blue] = WHITE;
    pixels.fill(Color::from_rgba8(red, green, blue, 255));
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    // On white all pixels are opaque, so their colours are not premultiplied.
    let data = pixels.data().chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    Ok(RgbImage { width: width as usize, height: height as usize, data })
}
