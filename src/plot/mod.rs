//! Draws figures of pictures with labels and bars (`--plot`, `--annotate`, `--sheet`) and single [`labelled`] pictures,
//! and converts charts to PNG ([`png_of_svg`]).
//!
//! `bars.rs` lays a figure out as marks (areas, texts, pictures). `raster.rs` draws the marks on a [`canvas`] with the
//! [`font`], and `svg.rs` writes them as elements. Lengths of the layout are in points; a point is one unit of the SVG,
//! and one or two pixels of the PNG.

mod bars;
pub mod canvas;
pub mod font;
mod heat;
mod label;
mod raster;
mod rows;
mod signature;
mod svg;
#[cfg(test)]
mod tests;
mod vector;

use std::path::{Path, PathBuf};

pub use heat::Heat;
pub use label::{labelled, prediction};
pub use rows::Rows;
pub use signature::signed;
use thiserror::Error;

use crate::image::{Filter, RgbImage, ThumbnailError, png, resize};
use crate::io::IoError;
use crate::io::output::{FileKind, Output, OutputError, is_stream};

/// The most pictures in a figure.
pub const MOST_PICTURES: usize = 200;
/// The most bars below a picture.
pub const MOST_BARS: usize = 20;
/// From this number of pictures on a figure has one pixel per point instead of two, since it would be too large to
/// open.
const MANY_PICTURES: usize = 61;

/// One picture in a figure, with its name and its bars.
#[derive(Clone, Debug)]
pub struct Cell<'a> {
    /// The file name of the picture.
    pub title: &'a str,
    /// The picture, preferably in the size of [`fitted`], or the reason why it cannot be shown.
    pub picture: Result<&'a RgbImage, &'a str>,
    /// A line of text over the lower edge of the picture.
    pub label: Option<String>,
    /// Names and values (0 to 1) of the bars, the largest first; a missing picture has no bars.
    pub bars: Vec<(&'a str, f32)>,
    /// The meaning of the values.
    pub bar_scale: BarScale,
    /// Whether the picture has a frame, because the other pictures of its row are similar to it.
    pub marked: bool,
}

/// The meaning of a bar's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarScale {
    /// The probability of a class, written as `97.3 %`.
    Probability,
    /// The cosine similarity of two pictures' features, written as `0.97`.
    Cosine,
}

/// The file format of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureFormat {
    Png,
    Svg,
}

impl FigureFormat {
    /// Returns the format of the extension of `path`, in upper or lower case; PNG for a pipe, a device or standard
    /// output.
    pub fn of(path: &Path) -> Result<Self, PlotError> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("png") => Ok(FigureFormat::Png),
            Some("svg") => Ok(FigureFormat::Svg),
            _ if is_stream(path) => Ok(FigureFormat::Png),
            _ => Err(PlotError::Extension { path: path.to_path_buf() }),
        }
    }

    /// The kind of file for [`Output`].
    pub fn kind(self) -> FileKind {
        match self {
            FigureFormat::Png => FileKind::Png,
            FigureFormat::Svg => FileKind::Svg,
        }
    }
}

/// A figure cannot be written.
#[derive(Debug, Error)]
pub enum PlotError {
    #[error("cannot tell how to write the figure {path}: give it a name that ends in .png or .svg")]
    Extension { path: PathBuf },
    #[error("a figure needs at least one picture")]
    Empty,
    #[error("a figure shows at most {most} pictures, not {pictures}: name fewer, or ask for a table instead")]
    TooManyPictures { pictures: usize, most: usize },
    #[error("a figure shows at most {most} classes below a picture, not {bars}: ask for fewer")]
    TooManyBars { bars: usize, most: usize },
    #[error(
        "a sheet shows at most {most} pictures that are like another, not {near}: ask for fewer, or for a table instead"
    )]
    TooManyNear { near: usize, most: usize },
    #[error("cannot write the figure {path}: {error}")]
    Encode { path: PathBuf, error: ThumbnailError },
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Io(#[from] IoError),
}

/// A chart cannot be converted to pixels.
#[derive(Debug, Error)]
pub enum VectorError {
    #[error("a chart cannot be drawn: {0}")]
    Svg(String),
    #[error("a chart cannot be written: {0}")]
    Encode(#[from] ThumbnailError),
}

/// The font families of an SVG: the font in which layouts are measured, then common system fonts.
pub const FONTS: &str =
    "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', Arial, sans-serif";

/// Draws an SVG as a PNG on white, with `scale` pixels for each unit.
pub fn png_of_svg(svg: &str, scale: f32) -> Result<Vec<u8>, VectorError> {
    Ok(png(&vector::draw(svg, scale)?)?)
}

/// Escapes text for HTML and SVG, in elements and in quoted attributes; characters that XML does not allow become
/// U+FFFD.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in font::clean(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Checks that a figure can show `pictures` pictures with `bars` bars each; commands call this before they classify.
pub fn check(pictures: usize, bars: usize) -> Result<(), PlotError> {
    match (pictures, bars) {
        (0, _) => Err(PlotError::Empty),
        (1..=MOST_PICTURES, 0..=MOST_BARS) => Ok(()),
        (1..=MOST_PICTURES, _) => Err(PlotError::TooManyBars { bars, most: MOST_BARS }),
        _ => Err(PlotError::TooManyPictures { pictures, most: MOST_PICTURES }),
    }
}

/// Returns `image` in the size in which a figure of `pictures` pictures shows it (at most 512 × 512 pixels, or 256 ×
/// 256 for many pictures); a smaller one is not enlarged. Callers keep the result until the figure is written.
pub fn fitted(image: &RgbImage, pictures: usize) -> RgbImage {
    fitted_to(image, scale(pictures))
}

fn fitted_to(image: &RgbImage, scale: usize) -> RgbImage {
    let (width, height) = bars::size(image.width, image.height, scale);
    if image.width <= width && image.height <= height {
        return image.clone();
    }
    resize(image, width, height, Filter::Lanczos)
}

/// Returns the pixels per point in a figure of `pictures` pictures.
fn scale(pictures: usize) -> usize {
    if pictures < MANY_PICTURES { 2 } else { 1 }
}

/// Writes the figure of `cells` in their order to `output`.
pub fn write(output: &Output, form: FigureFormat, cells: &[Cell]) -> Result<(), PlotError> {
    check(cells.len(), cells.iter().map(|cell| cell.bars.len()).max().unwrap_or(0))?;
    save(output, form, &bars::lay_out(cells, scale(cells.len())))
}

fn save(output: &Output, form: FigureFormat, figure: &bars::Figure) -> Result<(), PlotError> {
    let bytes = match form {
        FigureFormat::Png => png(&raster::draw(figure)).map(signed),
        FigureFormat::Svg => svg::text(figure).map(String::into_bytes),
    };
    let bytes = bytes.map_err(|error| PlotError::Encode { path: output.path().to_path_buf(), error })?;
    Ok(output.write_bytes(&bytes)?)
}
