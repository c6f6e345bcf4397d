//! The recipe: how a picture becomes the numbers that a network was trained on. All preprocessing of the project is
//! here.
//!
//! A recipe belongs to weights, not to an architecture: the same ResNet-50 takes RGB in units of standard deviations
//! with torchvision's weights, and BGR less the mean with Keras'. Sizes and crops follow timm's and torchvision's
//! evaluation transforms to the pixel, and the numbers follow their order of operations in `f32` to the bit.
//! [`Recipe::divisor`] says how Keras' `preprocess_input` is written as a recipe.

mod geometry;
mod overrides;

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
    /// How the shape of the picture is brought to the shape of the input.
    pub fit: Fit,
    /// The filter of the resize.
    #[serde(rename = "resize")]
    pub filter: Filter,
    /// Whether the filter is widened when a picture shrinks, as Pillow does it on bytes. Without it
    /// [`Filter::Bilinear`] weighs the four pixels around each centre in `f32`, as TensorFlow's `tf.image.resize` does
    /// it.
    #[serde(default = "antialias")]
    pub antialias: bool,
    /// The share of the resized picture's side that [`Fit::Crop`], [`Fit::Squash`] and [`Fit::Border`] keep. The other
    /// fits keep everything.
    pub crop_pct: f64,
    /// The channels and their order.
    pub channels: ChannelOrder,
    /// The bytes are divided by this number before the mean is subtracted: 255 (torch), 127.5 (Keras' `tf` mode, with
    /// mean and std 1), or 1 (Keras' `caffe` mode). It is a divisor and not a factor, since `v / 255` and `v * (1 /
    /// 255)` differ in the last bit.
    #[serde(serialize_with = "decimal::one")]
    pub divisor: f32,
    /// The number that is subtracted from each channel, in the order of `channels`.
    #[serde(serialize_with = "decimal::three")]
    pub mean: [f32; 3],
    /// The number by which each channel is divided last, in the order of `channels`.
    #[serde(serialize_with = "decimal::three")]
    pub std: [f32; 3],
}

impl Recipe {
    /// torchvision's `ImageClassification(crop_size=224)`: short side to 256, bilinear with antialiasing, centre crop,
    /// less ImageNet's mean and divided by its standard deviation.
    pub const TORCHVISION: Self = Self {
        size: [224; 2],
        fit: Fit::Crop,
        filter: Filter::Bilinear,
        antialias: true,
        crop_pct: 0.875,
        channels: ChannelOrder::Rgb,
        divisor: 255.0,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };
}

/// The default of `antialias` for records of featurize up to version 0.2, which do not have the key.
fn antialias() -> bool {
    true
}

/// How the shape of a picture is brought to the shape of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Resized to the input's size whatever its shape (Keras' `load_img(target_size=…)`).
    Stretch,
    /// Resized until it covers the input's size divided by `crop_pct`, and the centre cut out (torchvision's `Resize`
    /// and `CenterCrop`, timm's `center`).
    Crop,
    /// Resized until it fits inside the input, and centred on white (Pillow's `ImageOps.pad`).
    Pad,
    /// Resized to the input's size divided by `crop_pct` whatever its shape, and the centre cut out (timm's `squash`).
    Squash,
    /// Resized until it fits inside the input's size divided by `crop_pct`, and centred, on the mean where it does not
    /// reach (timm's `border`).
    Border,
}

/// The order of a pixel's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red, for weights that come from Caffe.
    Bgr,
    /// One channel, Pillow's `convert("L")`: (19595 R + 38470 G + 7471 B) / 65536, rounded. Its mean and standard
    /// deviation are the means of the three.
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

/// A recipe has a value outside its range.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("recipe: {key} is {found}; it must be {expected}")]
pub struct RecipeError {
    /// The recipe's key.
    pub key: &'static str,
    /// The value that was found.
    pub found: String,
    /// The range of the values that are allowed.
    pub expected: &'static str,
}

impl Recipe {
    /// Checks that every value is within its range; it is called once, before the first picture.
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

    /// The number of channels of the network's input.
    pub fn depth(&self) -> usize {
        if self.channels == ChannelOrder::Grey { 1 } else { 3 }
    }

    /// The number of values that [`apply`](Self::apply) writes: channels × height × width.
    pub fn input_len(&self) -> usize {
        self.depth() * self.size[0] * self.size[1]
    }

    /// True if the resized picture consists of bytes, so that [`apply_bytes`](Self::apply_bytes) gives it without the
    /// normalisation. TensorFlow's bilinear resize gives fractions instead.
    pub fn gives_bytes(&self) -> bool {
        self.antialias || self.filter != Filter::Bilinear
    }

    /// Writes the network's input for `image` into `out`; panics when `out` does not hold
    /// [`input_len`](Self::input_len) values.
    pub fn apply(&self, image: &RgbImage, layout: Layout, out: &mut [f32]) {
        if !self.gives_bytes() {
            assert_eq!(out.len(), self.input_len(), "a buffer for {:?} pixels", self.size);
            return self.apply_unrounded(image, layout, out);
        }
        let tables = self.tables();
        self.write(image, layout, out, |c, byte| tables[c][usize::from(byte)]);
    }

    /// Writes the bytes of which [`apply`](Self::apply) makes the network's input by [`normalise`](Self::normalise),
    /// for a recipe that [`gives_bytes`](Self::gives_bytes).
    pub fn apply_bytes(&self, image: &RgbImage, layout: Layout, out: &mut [u8]) {
        self.write(image, layout, out, |_, byte| byte);
    }

    /// Returns the input of the network for a byte of the channel `c`.
    pub fn normalise(&self, c: usize, byte: u8) -> f32 {
        let (mean, std) = self.channel(c);
        (f32::from(byte) / self.divisor - mean) / std
    }

    /// Writes `value` of the channel and the byte of each value of the resized picture into `out`.
    fn write<T>(&self, image: &RgbImage, layout: Layout, out: &mut [T], value: impl Fn(usize, u8) -> T) {
        assert_eq!(out.len(), self.input_len(), "a buffer for {:?} pixels", self.size);
        let bytes = self.prepare(image);
        let pixels = bytes.data.as_chunks::<3>().0;
        let sources: [usize; 3] = std::array::from_fn(|c| self.source(c));
        match layout {
            _ if self.channels == ChannelOrder::Grey => {
                out.iter_mut().zip(pixels).for_each(|(out, pixel)| *out = value(0, pixel[sources[0]]));
            }
            Layout::Hwc => {
                for (out, pixel) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                    *out = std::array::from_fn(|c| value(c, pixel[sources[c]]));
                }
            }
            Layout::Chw => {
                for (c, plane) in out.chunks_exact_mut(pixels.len()).enumerate() {
                    plane.iter_mut().zip(pixels).for_each(|(out, pixel)| *out = value(c, pixel[sources[c]]));
                }
            }
        }
    }

    /// Returns mean and standard deviation of the channel `c` of the network's input.
    pub fn channel(&self, c: usize) -> (f32, f32) {
        match self.channels {
            ChannelOrder::Grey => (self.mean.iter().sum::<f32>() / 3.0, self.std.iter().sum::<f32>() / 3.0),
            _ => (self.mean[c], self.std[c]),
        }
    }

    /// Returns the index of the channel `c` in an RGB pixel.
    fn source(&self, c: usize) -> usize {
        match self.channels {
            ChannelOrder::Rgb => c,
            ChannelOrder::Bgr => 2 - c,
            ChannelOrder::Grey => 0,
        }
    }

    /// Returns for each channel a table of the input for every byte.
    fn tables(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|c| std::array::from_fn(|byte| self.normalise(c, byte as u8)))
    }
}

/// Returns the picture in grey; R, G and B of each pixel hold the same level.
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
mod tests;
