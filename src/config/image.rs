//! `image`: how files become pixels, before the recipe.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{forms, ranges, schema};
use crate::image::{DecodeOptions, Exif, Truncated};

/// `image`: how files become pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Image {
    /// `apply` (the picture is turned as its EXIF orientation says) or `ignore` (it stays as it is stored, as Keras,
    /// torchvision and timm leave it). Default: it is turned, but
    /// not with `extract.recipe.preset`.
    pub exif: Option<Exif>,
    /// The colour behind transparent pixels: `white`, `black` or three levels from 0 to 255. Default: `white`.
    #[serde(deserialize_with = "forms::colour")]
    #[schemars(schema_with = "schema::colour", extend("default" = "white"))]
    pub background: [u8; 3],
    /// A file that ends early: `fail` (a row of the manifest, no features) or `pad` (what is missing stays as the
    /// decoder leaves it, as with Pillow's `LOAD_TRUNCATED_IMAGES`). Default: `fail`.
    pub truncated: Truncated,
    /// Decode JPEGs at 1/2, 1/4 or 1/8 of their size where that leaves at least twice the size that the recipe resizes
    /// to: faster, with slightly other pixels. Default: false.
    pub fast_decode: bool,
    /// Pictures of more pixels than this fail, 1 to 10000000000. Default: 178956970, as Pillow.
    #[schemars(range(min = 1, max = ranges::PIXELS))]
    pub max_pixels: u64,
}

impl Default for Image {
    fn default() -> Self {
        let DecodeOptions { background, truncated, fast_decode, max_pixels, .. } = DecodeOptions::default();
        Self { exif: None, background, truncated, fast_decode, max_pixels }
    }
}

impl Image {
    /// What the decoder is told, where a file's orientation is `exif` unless the section says so itself.
    pub fn decoding(&self, exif: Exif) -> DecodeOptions {
        let Self { background, truncated, fast_decode, max_pixels, .. } = *self;
        DecodeOptions { exif: self.exif.unwrap_or(exif), background, truncated, fast_decode, max_pixels }
    }
}
