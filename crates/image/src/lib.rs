//! Decodes picture files and prepares them for a network: bytes → [`RgbImage`] → the `f32` values of the network's
//! input.
//!
//! ```
//! use featurize_image::{ChannelOrder, DecodeOptions, Filter, Fit, Layout, Recipe, RgbImage, decode, png};
//!
//! let bytes = png(&RgbImage::filled(320, 240, [200, 30, 30]))?; // usually the content of a file
//! let picture = decode(&bytes, &DecodeOptions::default())?;
//! // the recipe of torchvision's ImageNet weights
//! let recipe = Recipe {
//!     size: [224, 224],
//!     fit: Fit::Crop,
//!     filter: Filter::Bilinear,
//!     antialias: true,
//!     crop_pct: 0.875,
//!     channels: ChannelOrder::Rgb,
//!     divisor: 255.0,
//!     mean: [0.485, 0.456, 0.406],
//!     std: [0.229, 0.224, 0.225],
//! };
//! recipe.check()?;
//! let mut input = vec![0.0; recipe.input_len()]; // (3, 224, 224)
//! recipe.apply(&picture, Layout::Chw, &mut input);
//! assert_eq!(input[0], (200.0 / 255.0 - 0.485) / 0.229);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The reference is Pillow, with which Keras, timm and torchvision read pictures: pixels and resampling agree with it
//! bit for bit. No file can make this crate wait, allocate more than its limits or end the program; a file that gives
//! no picture is a [`DecodeError`] with its kind. Read in this order:
//!
//! 1. `decode.rs`: the rules for all formats, and the dispatch. `format.rs` detects the format, `header.rs` and
//!    `footprint.rs` read sizes and estimate memory before anything is decoded.
//! 2. The decoders of this crate: `jpeg/` (with the pixels of libjpeg-turbo), `tiff/`, `gif.rs`, `bmp.rs`, `icon.rs`,
//!    `pnm.rs`; `avif/` composes the frames that rav1d decodes (feature `avif`). The crate `image` decodes PNG, WebP
//!    and QOI; `png.rs` and `webp.rs` repair such files and read their chunks. `ifd.rs` and `lzw.rs` serve several
//!    formats.
//! 3. `exif.rs` finds the orientation of a picture and `orientation.rs` applies it.
//! 4. `recipe.rs`: the preprocessing of a network's weights. `resize.rs` computes the weights of Pillow's filters, and
//!    `passes.rs` applies them.
//! 5. `thumbnail.rs` encodes pictures for reports.

#![forbid(unsafe_code)]

#[cfg(feature = "avif")]
mod avif;
mod bmp;
mod decode;
mod exif;
mod footprint;
mod format;
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
pub use resize::{Filter, resize, resize_crop};
pub use thumbnail::{ThumbnailError, data_uri, jpeg, png, thumbnail};

/// The colour behind transparent pixels and around padded pictures.
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
    /// Makes a picture of one colour.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Self {
        Self { width, height, data: colour.repeat(width * height) }
    }

    /// Makes the picture whose pixel at column `x`, row `y` is `colour(x, y)`.
    pub fn from_fn(width: usize, height: usize, colour: impl Fn(usize, usize) -> [u8; 3]) -> Self {
        let colour = &colour;
        let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| colour(x, y))).collect();
        Self { width, height, data }
    }

    /// Returns the bytes of row `y`, `width` × 3 of them; panics when there is no such row.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width * 3..(y + 1) * self.width * 3]
    }

    /// Copies `other` into this picture with its upper left corner at column `left`, row `top`; panics when it does not
    /// fit.
    pub(crate) fn paste(&mut self, other: &RgbImage, left: usize, top: usize) {
        let stride = self.width * 3;
        for y in 0..other.height {
            let start = (top + y) * stride + left * 3;
            self.data[start..start + other.width * 3].copy_from_slice(other.row(y));
        }
    }
}
