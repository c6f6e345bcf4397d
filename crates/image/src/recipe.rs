//! The recipe: how a picture becomes the numbers that a network was trained on. The only preprocessing code.
//!
//! A recipe belongs to weights, not to an architecture: the same ResNet-50 wants RGB in units of standard deviations from torchvision and
//! BGR less the mean from Keras. Size and crop follow timm's and torchvision's evaluation transforms to the pixel, the numbers follow their
//! order of operations in `f32` to the bit. For Keras' `preprocess_input` see [`Recipe::divisor`].

mod overrides;
mod place;

pub use overrides::{Preset, RecipeOverrides};

use super::{Filter, RgbImage};
use overrides::decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The largest side of a network's input.
const MAX_SIDE: usize = 4096;

/// How a picture of any size becomes the `channels × height × width` values that a network takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Height and width of the network's input, in pixels.
    pub size: [usize; 2],
    /// How the picture's shape becomes the input's.
    pub fit: Fit,
    /// The filter that pictures are resized with.
    #[serde(rename = "resize")]
    pub filter: Filter,
    /// Whether the filter is widened when pictures shrink, as Pillow does it, in bytes. Without it [`Filter::Bilinear`] weighs the four pixels
    /// around each centre, in `f32`, as TensorFlow's `tf.image.resize` does it.
    #[serde(default = "antialias")]
    pub antialias: bool,
    /// With [`Fit::Crop`], [`Fit::Squash`] and [`Fit::Border`]: the share of the resized picture's side that is kept; other fits keep everything.
    pub crop_pct: f64,
    /// The channels and their order.
    pub channels: ChannelOrder,
    /// What the bytes are divided by, before the mean is taken away: 255 (torch), 127.5 (Keras' `tf` mode, with mean and std 1), or 1
    /// (Keras' `caffe` mode). A divisor and not a factor: `v / 255` and `v * (1 / 255)` differ in the last bit.
    #[serde(serialize_with = "decimal::one")]
    pub divisor: f32,
    /// Taken away from each channel, in the order of `channels`.
    #[serde(serialize_with = "decimal::three")]
    pub mean: [f32; 3],
    /// What each channel is divided by last, in the order of `channels`.
    #[serde(serialize_with = "decimal::three")]
    pub std: [f32; 3],
}

/// Records of the versions up to 0.2 do not say it.
fn antialias() -> bool {
    true
}

/// How a picture's shape becomes the input's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Resized to the input's size whatever its shape (Keras' `load_img(target_size=…)`).
    Stretch,
    /// Resized until it covers the input's size divided by `crop_pct`, and the centre cut out (torchvision's `Resize` and `CenterCrop`, timm's
    /// `center`).
    Crop,
    /// Resized until it fits inside the input, and centred on white (Pillow's `ImageOps.pad`).
    Pad,
    /// Resized to the input's size divided by `crop_pct` whatever its shape, and the centre cut out (timm's `squash`).
    Squash,
    /// Resized until it fits inside the input's size divided by `crop_pct`, and centred, on the mean where it does not reach (timm's `border`).
    Border,
}

/// The order of a pixel's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red: weights that come from Caffe.
    Bgr,
    /// One channel, Pillow's `convert("L")`: (19595 R + 38470 G + 7471 B) / 65536, rounded. Its mean and standard deviation are the means of the
    /// three.
    Grey,
}

/// The order of the values in a network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// One plane for each channel: (channels, height, width).
    Chw,
    /// The channels of a pixel together: (height, width, channels).
    Hwc,
}

/// A value in a recipe that cannot be.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("recipe: {key} is {found}; it must be {expected}")]
pub struct RecipeError {
    /// The recipe's key.
    pub key: &'static str,
    /// Its value.
    pub found: String,
    /// What would do.
    pub expected: &'static str,
}

impl Recipe {
    /// Whether every value makes sense; called once, before the first picture.
    pub fn check(&self) -> Result<(), RecipeError> {
        let refuse = |key, found: String, expected| Err(RecipeError { key, found, expected });
        if self.size.iter().any(|side| !(1..=MAX_SIDE).contains(side)) {
            return refuse("size", format!("{:?}", self.size), "from 1 to 4096 pixels each way");
        }
        if !(0.01..=1.0).contains(&self.crop_pct) {
            return refuse("crop_pct", self.crop_pct.to_string(), "from 0.01 to 1");
        }
        if !self.antialias && !matches!(self.filter, Filter::Bilinear | Filter::Nearest) {
            return refuse("antialias", "false".to_string(), "true, or `resize` bilinear or nearest");
        }
        let usable = |v: f32| v.is_finite() && v != 0.0;
        if !usable(self.divisor) {
            return refuse("divisor", self.divisor.to_string(), "finite and not 0");
        }
        if !self.mean.iter().all(|v| v.is_finite()) {
            return refuse("mean", format!("{:?}", self.mean), "three finite numbers");
        }
        if !self.std.iter().all(|&v| usable(v)) {
            return refuse("std", format!("{:?}", self.std), "three finite numbers, none of them 0");
        }
        Ok(())
    }

    /// Channels of the network's input.
    pub fn depth(&self) -> usize {
        if self.channels == ChannelOrder::Grey { 1 } else { 3 }
    }

    /// How many values [`apply`](Self::apply) writes: channels × height × width.
    pub fn input_len(&self) -> usize {
        self.depth() * self.size[0] * self.size[1]
    }

    /// Writes the network's input for `image` into `out`; panics when `out` does not hold [`input_len`](Self::input_len) values.
    pub fn apply(&self, image: &RgbImage, layout: Layout, out: &mut [f32]) {
        assert_eq!(out.len(), self.input_len(), "a buffer for {:?} pixels", self.size);
        if !self.antialias && self.filter == Filter::Bilinear {
            return self.apply_fractions(image, layout, out);
        }
        let levels = self.levels(image);
        let tables = self.tables();
        let pixels = levels.data.as_chunks::<3>().0;
        match layout {
            _ if self.channels == ChannelOrder::Grey => {
                let (source, table) = &tables[0];
                out.iter_mut().zip(pixels).for_each(|(value, pixel)| *value = table[usize::from(pixel[*source])]);
            }
            Layout::Hwc => {
                for (values, pixel) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                    for (value, (source, table)) in values.iter_mut().zip(&tables) {
                        *value = table[usize::from(pixel[*source])];
                    }
                }
            }
            Layout::Chw => {
                for (plane, (source, table)) in out.chunks_exact_mut(pixels.len()).zip(&tables) {
                    for (value, pixel) in plane.iter_mut().zip(pixels) {
                        *value = table[usize::from(pixel[*source])];
                    }
                }
            }
        }
    }

    /// Mean and standard deviation of the channel `c`.
    fn channel(&self, c: usize) -> (f32, f32) {
        match self.channels {
            ChannelOrder::Grey => (self.mean.iter().sum::<f32>() / 3.0, self.std.iter().sum::<f32>() / 3.0),
            _ => (self.mean[c], self.std[c]),
        }
    }

    /// Where the channel `c` stands in an RGB pixel.
    fn source(&self, c: usize) -> usize {
        match self.channels {
            ChannelOrder::Rgb => c,
            ChannelOrder::Bgr => 2 - c,
            ChannelOrder::Grey => 0,
        }
    }

    /// For each channel of the input: where it stands in an RGB pixel, and the value of every byte.
    fn tables(&self) -> [(usize, [f32; 256]); 3] {
        std::array::from_fn(|c| {
            let source = self.source(c);
            let (mean, std) = self.channel(c);
            (source, std::array::from_fn(|v| (v as f32 / self.divisor - mean) / std))
        })
    }
}

/// The picture in grey, three times the same.
fn grey(image: &RgbImage) -> RgbImage {
    let mut out = RgbImage::filled(image.width, image.height, [0; 3]);
    for (out, pixel) in out.data.as_chunks_mut::<3>().0.iter_mut().zip(image.data.as_chunks::<3>().0) {
        let [r, g, b] = pixel.map(u32::from);
        *out = [((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8; 3];
    }
    out
}

#[cfg(test)]
mod library_tests;
#[cfg(test)]
pub(crate) use library_tests::imagenet;
#[cfg(test)]
mod tests;
