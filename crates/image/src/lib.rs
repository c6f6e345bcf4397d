//! From the bytes of a picture file to the numbers that a network takes.
//!
//! 1. [`sniff`] and [`dimensions`] look at the first bytes of a file; [`decode`] gives its pixels as an [`RgbImage`]: turned as the EXIF
//!    orientation says, transparent pixels on a background, 8 bits a channel. [`DecodeOptions`] says what is done with odd files.
//! 2. A [`Recipe`] says how a picture of any size becomes the input of a network: resize, crop, channel order, divisor, mean, standard deviation.
//!    [`Recipe::apply`] writes the values to the caller's buffer; [`decode_for`] may decode a JPEG at a part of its size where the recipe allows it.
//! 3. [`thumbnail`] and [`data_uri`] make the small pictures of reports.
//!
//! The reference is Pillow, with which Keras, timm and torchvision read pictures: pixels and resampling agree with it bit for bit. JPEG, GIF, TIFF,
//! BMP, ICO and PNM files have decoders of their own here (that of JPEG gives the pixels of libjpeg-turbo), AVIF files are decoded by rav1d
//! (cargo feature `avif`), and PNG, WebP and QOI files by the crate `image`. A file that is no picture, is damaged or is too large is a
//! [`DecodeError`] with its kind. No file can make this crate wait, allocate more than its limits, or end the program: a panic of a decoder is
//! caught and becomes an error.

#![forbid(unsafe_code)]

#[cfg(feature = "avif")]
mod avif;
mod bmp;
mod decode;
mod exif;
mod footprint;
mod gif;
mod header;
mod icon;
mod ifd;
mod jpeg;
mod lzw;
mod options;
mod orientation;
mod passes;
mod png;
mod pnm;
mod recipe;
mod recognise;
mod resize;
#[cfg(test)]
pub(crate) mod tests;
mod thumbnail;
mod tiff;
mod webp;

pub use decode::{DecodeError, DecodeErrorKind, Decoded, decode, decode_for, dimensions, is_decoding, sniff};
pub use footprint::footprint;
pub use options::{DecodeOptions, Exif, Truncated};
pub use recipe::{ChannelOrder, Fit, Layout, Preset, Recipe, RecipeError, RecipeOverrides};
use resize::bilinear;
pub use resize::{Filter, resize, resize_box, resize_crop};
pub use thumbnail::{ThumbnailError, data_uri, jpeg, png, thumbnail};

/// What shows through transparent pixels and fills the border of padded pictures.
pub const WHITE: [u8; 3] = [255; 3];

/// A picture of 8-bit RGB pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbImage {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height` × `width` × 3 bytes, row-major, R G B in each pixel.
    pub data: Vec<u8>,
}

impl RgbImage {
    /// A picture of one colour.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Self {
        Self { width, height, data: colour.repeat(width * height) }
    }

    /// The picture whose pixel at column `x`, row `y` is `colour(x, y)`.
    pub fn from_fn(width: usize, height: usize, colour: impl Fn(usize, usize) -> [u8; 3]) -> Self {
        let colour = &colour;
        let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| colour(x, y))).collect();
        Self { width, height, data }
    }

    /// The bytes of row `y`, `width` × 3 of them; panics when there is no such row.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width * 3..(y + 1) * self.width * 3]
    }

    /// Copies `other` into this picture with its upper left corner at column `left`, row `top`; panics when it does not fit.
    pub(crate) fn paste(&mut self, other: &RgbImage, left: usize, top: usize) {
        let stride = self.width * 3;
        for y in 0..other.height {
            let start = (top + y) * stride + left * 3;
            self.data[start..start + other.width * 3].copy_from_slice(other.row(y));
        }
    }
}
