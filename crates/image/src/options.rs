//! What decoding may be told; a run's settings are those of its section `image:`.

use super::WHITE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How files become pixels. What it says is part of a run's numbers, so it is stored with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecodeOptions {
    /// What becomes of the orientation that EXIF tells; applied by default.
    pub exif: Exif,
    /// The colour behind transparent pixels; white by default.
    pub background: [u8; 3],
    /// What becomes of files that end early; an error by default.
    pub truncated: Truncated,
    /// JPEGs much larger than the recipe needs are decoded at 1/2, 1/4 or 1/8 of their size; not by default.
    pub fast_decode: bool,
    /// Pictures of more pixels than this are refused; 178 956 970 by default, where Pillow raises `DecompressionBombError`.
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
    /// What the versions up to 0.2 did, which did not write it down.
    pub fn unwritten() -> Self {
        Self { exif: Exif::Ignore, ..Self::default() }
    }
}

/// What becomes of the orientation that a camera has noted in a picture's EXIF block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exif {
    /// The picture is turned upright (Pillow's `ImageOps.exif_transpose`).
    Apply,
    /// It stays as it is stored (Keras, torchvision, timm).
    Ignore,
}

/// What becomes of a file that ends early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Truncated {
    /// It fails.
    #[default]
    Fail,
    /// What is missing stays as the decoder leaves it, grey in a JPEG and black in a PNG (Pillow's `LOAD_TRUNCATED_IMAGES`).
    Pad,
}
