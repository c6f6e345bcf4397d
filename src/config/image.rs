//! `image`: how files become pixels, before the recipe.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ranges, schema, values};
use crate::image::{DecodeOptions, Exif, Truncated};

/// `image`: how files become pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Image {
    /// Whether the orientation that a camera noted in a picture (EXIF) is applied. Default: `apply`, but `ignore` with
    /// `extract.recipe.preset`.
    pub exif: Option<Exif>,
    /// The colour behind transparent pixels; a list gives red, green and blue.
    #[serde(deserialize_with = "values::colour")]
    #[schemars(schema_with = "schema::colour", extend("default" = "white"))]
    pub background: [u8; 3],
    /// The treatment of a file that ends early.
    pub truncated: Truncated,
    /// Whether JPEGs are decoded at 1/2, 1/4 or 1/8 of their size where at least twice the size remains that the recipe
    /// resizes to. It is faster and changes the pixels slightly.
    pub fast_decode: bool,
    /// The most pixels of a picture. A larger picture fails. The default is that of Pillow.
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
    /// The options of the decoder; `exif` is the default for the key `exif`.
    pub fn decoding(&self, exif: Exif) -> DecodeOptions {
        let Self { background, truncated, fast_decode, max_pixels, .. } = *self;
        DecodeOptions { exif: self.exif.unwrap_or(exif), background, truncated, fast_decode, max_pixels }
    }
}
