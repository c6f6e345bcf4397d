//! Pictures with what was found of them: sheets with labels and bars (`--plot`, `--annotate`, `--sheet`), and single [`labelled`] pictures; and
//! [`png_of_svg`] for charts.
//!
//! `bars` lays a sheet out as marks (areas, texts, pictures); `raster` draws the marks on a [`canvas`] with our [`font`], `svg` writes
//! them as elements. Lengths of the layout are in points; a point is one unit of the SVG, and one or two pixels of the PNG.

mod bars;
pub mod canvas;
pub mod font;
mod label;
mod raster;
mod svg;
#[cfg(test)]
mod tests;
mod vector;

use std::path::{Path, PathBuf};

pub use label::{labelled, prediction};
use thiserror::Error;

use crate::image::{Filter, RgbImage, ThumbnailError, png, resize};
use crate::io::{IoError, atomic};

/// Most pictures of a figure.
pub const MOST_PICTURES: usize = 200;
/// Most bars below a picture.
pub const MOST_BARS: usize = 20;
/// From this many pictures on a point has one pixel instead of two: the figure would be too large to open.
const MANY_PICTURES: usize = 61;

/// What is shown of one picture.
#[derive(Clone, Debug)]
pub struct Cell<'a> {
    /// Its file name.
    pub title: &'a str,
    /// The picture, best as [`fitted`] gives it, or the reason why there is none.
    pub picture: Result<&'a RgbImage, &'a str>,
    /// A line that is drawn over the lower edge of the picture.
    pub label: Option<String>,
    /// Names and shares (0 to 1), the greatest first; not shown where there is no picture.
    pub bars: Vec<(&'a str, f32)>,
    /// What the shares are.
    pub share: Share,
}

/// What the length of a bar says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// How probable a class is: `97.3 %`.
    Probability,
    /// How near a picture is, the cosine of two vectors: `0.97`.
    Cosine,
}

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Png,
    Svg,
}

impl Form {
    /// The form that the extension of `path` asks for, in capitals or not.
    pub fn of(path: &Path) -> Result<Self, PlotError> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("png") => Ok(Form::Png),
            Some("svg") => Ok(Form::Svg),
            _ => Err(PlotError::Extension { path: path.to_path_buf() }),
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
    #[error("cannot write the figure {path}: {error}")]
    Encode { path: PathBuf, error: ThumbnailError },
    #[error(transparent)]
    Io(#[from] IoError),
}

/// A chart cannot become pixels.
#[derive(Debug, Error)]
pub enum VectorError {
    #[error("a chart cannot be drawn: {0}")]
    Svg(String),
    #[error("a chart cannot be written: {0}")]
    Encode(#[from] ThumbnailError),
}

/// Fonts of an SVG: the one that layouts are measured in, then those that systems have.
pub const FONTS: &str =
    "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', Arial, sans-serif";

/// The PNG of an SVG, on white, `scale` pixels for each of its own.
pub fn png_of_svg(svg: &str, scale: f32) -> Result<Vec<u8>, VectorError> {
    Ok(png(&vector::draw(svg, scale)?)?)
}

/// Text for HTML and SVG, inside elements and inside quoted attributes; what has no place in XML becomes U+FFFD.
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

/// Whether `pictures` pictures with `bars` bars each fit into a figure: to be asked before they are classified.
pub fn check(pictures: usize, bars: usize) -> Result<(), PlotError> {
    match (pictures, bars) {
        (0, _) => Err(PlotError::Empty),
        (1..=MOST_PICTURES, 0..=MOST_BARS) => Ok(()),
        (1..=MOST_PICTURES, _) => Err(PlotError::TooManyBars { bars, most: MOST_BARS }),
        _ => Err(PlotError::TooManyPictures { pictures, most: MOST_PICTURES }),
    }
}

/// `image` no larger than a figure of `pictures` pictures shows it (512 × 512 pixels, 256 × 256 where there are many); one that is smaller
/// stays as it is. What a caller keeps of each picture until the figure is written.
pub fn fitted(image: &RgbImage, pictures: usize) -> RgbImage {
    let (width, height) = bars::size(image.width, image.height, scale(pictures));
    if image.width <= width && image.height <= height {
        return image.clone();
    }
    resize(image, width, height, Filter::Lanczos)
}

/// Pixels of a point in a figure of so many pictures.
fn scale(pictures: usize) -> usize {
    if pictures < MANY_PICTURES { 2 } else { 1 }
}

/// Writes the figure of `cells`, in their order, to `path`: whole or not at all.
pub fn write(path: &Path, form: Form, cells: &[Cell]) -> Result<(), PlotError> {
    check(cells.len(), cells.iter().map(|cell| cell.bars.len()).max().unwrap_or(0))?;
    let figure = bars::lay_out(cells, scale(cells.len()));
    let bytes = match form {
        Form::Png => png(&raster::draw(&figure)),
        Form::Svg => svg::text(&figure).map(String::into_bytes),
    };
    let bytes = bytes.map_err(|error| PlotError::Encode { path: path.to_path_buf(), error })?;
    atomic::write_bytes(path, &bytes)?;
    Ok(())
}
