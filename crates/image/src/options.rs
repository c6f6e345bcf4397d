//! The settings of decoding: [`DecodeOptions`] is the section `image:` of a pipeline's YAML.

use super::WHITE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How files become pixels. The settings change the features, so a run stores them with its results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecodeOptions {
    /// Whether the orientation of the EXIF block is applied; it is by default.
    pub exif: Exif,
    /// The colour behind transparent pixels; white by default.
    pub background: [u8; 3],
    /// Whether a file that ends early is an error or is filled up; an error by default.
    pub truncated: Truncated,
    /// Whether a JPEG much larger than the recipe needs is decoded at 1/2, 1/4 or 1/8 of its size; false by default.
    pub fast_decode: bool,
    /// The decoder refuses pictures of more pixels than this; 178 956 970 by default, where Pillow raises
    /// `DecompressionBombError`.
    pub max_pixels: u64,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            exif: Exif::Apply,
            background: WHITE,
            truncated: Truncated::Fail,
            fast_decode: false,
            max_pixels: 178_956_970,
        }
    }
}

impl DecodeOptions {
    /// The settings of featurize up to version 0.2, which did not write them into its records.
    pub fn unwritten() -> Self {
        Self { exif: Exif::Ignore, ..Self::default() }
    }
}

/// The handling of an orientation in a picture's EXIF block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exif {
    /// The picture is turned upright (Pillow's `ImageOps.exif_transpose`).
    #[default]
    Apply,
    /// The picture stays as it is stored (Keras, torchvision, timm).
    Ignore,
}

/// The handling of a file that ends early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Truncated {
    /// The file fails.
    #[default]
    Fail,
    /// The missing pixels stay as the decoder leaves them, grey in a JPEG and black in a PNG (Pillow's
    /// `LOAD_TRUNCATED_IMAGES`).
    Pad,
}
