//! Writes a figure as SVG: shapes, text in the reader's sans-serif font, and pictures as JPEGs inside the file.

use std::fmt::Write;

use super::bars::{Anchor, BOX, DrawnCell, Figure, Mark, Text};
use super::canvas::{Area, Colour};
use super::{FONTS, escape, font};
use crate::image::{RgbImage, ThumbnailError, data_uri, thumbnail};

/// A text that fills more than this part of its width could be too wide in another font, so it gets a fixed width.
const TIGHT: f32 = 0.85;

/// Returns the SVG; an error if a picture cannot be encoded.
pub(super) fn text(figure: &Figure) -> Result<String, ThumbnailError> {
    let [width, height] = [figure.width, figure.height].map(number);
    let title = match figure.cells.len() {
        1 => "A picture and what was found of it".to_string(),
        count => format!("{count} pictures and what was found of them"),
    };
    let words: Vec<String> = figure.cells.iter().map(|cell| escape(&cell.words)).collect();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"title about\" font-family=\"{FONTS}\">\n\
         <title id=\"title\">{title}</title>\n<desc id=\"about\">{}</desc>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n",
        words.join("\n")
    );
    for cell in &figure.cells {
        group(&mut out, cell, figure.scale)?;
    }
    out.push_str("</svg>\n");
    Ok(out)
}

/// Writes a cell. A browser shows its text as a tooltip.
fn group(out: &mut String, cell: &DrawnCell, scale: usize) -> Result<(), ThumbnailError> {
    push(out, format_args!("<g>\n<title>{}</title>\n", escape(&cell.words)));
    for mark in &cell.marks {
        match mark {
            Mark::Fill { area, colour } => {
                push(out, format_args!("<rect {} fill=\"{}\"/>\n", position(area), hex(*colour)));
            }
            Mark::Text(text) => line(out, text),
            Mark::Picture { area, image } if image.width > 0 && image.height > 0 => {
                let source = data(image, BOX * scale)?;
                let position = position(area);
                push(out, format_args!("<image {position} preserveAspectRatio=\"none\" href=\"{source}\"/>\n"));
            }
            Mark::Picture { .. } => {}
        }
    }
    out.push_str("</g>\n");
    Ok(())
}

fn line(out: &mut String, text: &Text) {
    let anchor = match text.anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    };
    let width = font::width(&text.text, text.size);
    let length = if width > TIGHT * text.room {
        format!(" textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\"", number(width))
    } else {
        String::new()
    };
    let [x, y, size] = [text.x, text.baseline, text.size].map(number);
    let (colour, text) = (hex(text.colour), escape(&text.text));
    push(
        out,
        format_args!(
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" fill=\"{colour}\"{anchor}{length}>{text}</text>\n"
        ),
    );
}

/// Returns the attributes of a rectangle.
fn position(area: &Area) -> String {
    let [x, y, width, height] = [area.left, area.top, area.width, area.height].map(number);
    format!("x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"")
}

/// Encodes a picture as a `data:` URL; its longer side has at most `longest` pixels.
fn data(image: &RgbImage, longest: usize) -> Result<String, ThumbnailError> {
    Ok(data_uri(&thumbnail(image, longest)?))
}

fn push(out: &mut String, text: std::fmt::Arguments) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

fn hex([red, green, blue]: Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Formats a number with at most two decimals and without zeros at the end.
fn number(value: f32) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}
