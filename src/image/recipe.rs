//! The recipe: how a picture becomes the numbers that a network was trained on. The only preprocessing code.
//!
//! A recipe belongs to weights, not to an architecture: the same ResNet-50 wants RGB in units of standard deviations from torchvision and
//! BGR less the mean from Keras. Size and crop follow timm's and torchvision's evaluation transforms to the pixel, the numbers follow their
//! order of operations in `f32` to the bit. For Keras' `preprocess_input` see [`Recipe::divisor`].

use super::{Filter, RgbImage, WHITE, resize, resize_crop};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;
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
    /// With [`Fit::Crop`]: the share of the resized picture's side that is kept; other fits keep everything.
    pub crop_pct: f64,
    /// The channels and their order.
    pub channels: ChannelOrder,
    /// What the bytes are divided by, before the mean is taken away: 255 (torch), 127.5 (Keras' `tf` mode, with mean and std 1), or 1
    /// (Keras' `caffe` mode). A divisor and not a factor: `v / 255` and `v * (1 / 255)` differ in the last bit.
    pub divisor: f32,
    /// Taken away from each channel, in the order of `channels`.
    pub mean: [f32; 3],
    /// What each channel is divided by last, in the order of `channels`.
    pub std: [f32; 3],
}

/// How a picture's shape becomes the input's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Resized to the input's size whatever its shape (Keras' `load_img(target_size=…)`, timm's `squash` at `crop_pct` 1).
    Stretch,
    /// Resized until it covers the input's size divided by `crop_pct`, and the centre cut out (torchvision's `Resize` and `CenterCrop`, timm's
    /// `center`).
    Crop,
    /// Resized until it fits inside the input, and centred on white (Pillow's `ImageOps.pad`).
    Pad,
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
        if !(self.crop_pct > 0.0 && self.crop_pct <= 1.0) {
            return refuse("crop_pct", self.crop_pct.to_string(), "above 0 and at most 1");
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

    /// This recipe with the keys that `overrides` gives.
    pub fn with(&self, overrides: &RecipeOverrides) -> Recipe {
        Recipe {
            size: overrides.size.unwrap_or(self.size),
            fit: overrides.fit.unwrap_or(self.fit),
            filter: overrides.filter.unwrap_or(self.filter),
            crop_pct: overrides.crop_pct.unwrap_or(self.crop_pct),
            channels: overrides.channels.unwrap_or(self.channels),
            divisor: overrides.divisor.unwrap_or(self.divisor),
            mean: overrides.mean.unwrap_or(self.mean),
            std: overrides.std.unwrap_or(self.std),
        }
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

    /// The picture of `size` whose bytes [`apply`](Self::apply) turns into numbers.
    pub fn levels(&self, image: &RgbImage) -> RgbImage {
        let [height, width] = self.size;
        let grey = (self.channels == ChannelOrder::Grey).then(|| grey(image));
        let image = grey.as_ref().unwrap_or(image);
        match self.fit {
            Fit::Stretch => resize(image, width, height, self.filter),
            Fit::Crop => {
                let [full_h, full_w] = self.covering([image.height, image.width]);
                let (top, left) = (centred(full_h, height), centred(full_w, width));
                resize_crop(image, full_w, full_h, self.filter, left, top, width, height)
            }
            Fit::Pad => {
                let [inner_h, inner_w] = self.contained([image.height, image.width]);
                let mut out = RgbImage::filled(width, height, WHITE);
                let inner = resize(image, inner_w, inner_h, self.filter);
                out.paste(&inner, centred(width, inner_w), centred(height, inner_h));
                out
            }
        }
    }

    /// Height and width of the resized picture out of which `size` is cut; neither is less than `size`'s, since `crop_pct` is at most 1.
    fn covering(&self, source: [usize; 2]) -> [usize; 2] {
        let target = self.size.map(|side| (side as f64 / self.crop_pct).floor());
        let [h, w] = source.map(|side| side as f64);
        if self.size[0] == self.size[1] {
            // torchvision's Resize(n): the short side becomes n, the long side is cut to a whole number
            let (short, long) = (h.min(w), h.max(w));
            let long = (target[0] * long / short) as usize;
            let short = target[0] as usize;
            return if w <= h { [long, short] } else { [short, long] };
        }
        // timm's ResizeKeepRatio: both sides by the smaller of the two ratios, to the nearest whole number
        let ratio = (h / target[0]).min(w / target[1]);
        [h, w].map(|side| (side / ratio).round_ties_even() as usize)
    }

    /// Height and width of the largest picture of the source's shape inside `size` (`ImageOps.contain`).
    fn contained(&self, source: [usize; 2]) -> [usize; 2] {
        let [height, width] = self.size;
        let [h, w] = source.map(|side| side as f64);
        let (shape, wanted) = (w / h, width as f64 / height as f64);
        if shape > wanted {
            [((h / w * width as f64).round_ties_even() as usize).clamp(1, height), width]
        } else if shape < wanted {
            [height, ((w / h * height as f64).round_ties_even() as usize).clamp(1, width)]
        } else {
            [height, width]
        }
    }

    /// For each channel of the input: where it stands in an RGB pixel, and the value of every byte.
    fn tables(&self) -> [(usize, [f32; 256]); 3] {
        std::array::from_fn(|c| {
            let source = match self.channels {
                ChannelOrder::Rgb => c,
                ChannelOrder::Bgr => 2 - c,
                ChannelOrder::Grey => 0,
            };
            let (mean, std) = match self.channels {
                ChannelOrder::Grey => (self.mean.iter().sum::<f32>() / 3.0, self.std.iter().sum::<f32>() / 3.0),
                _ => (self.mean[c], self.std[c]),
            };
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

/// The margin before `inner` in the middle of `outer`: half of what is left, rounded as Python rounds.
fn centred(outer: usize, inner: usize) -> usize {
    ((outer - inner) as f64 / 2.0).round_ties_even() as usize
}

/// Keys of a recipe that a pipeline wants otherwise than the weights' own; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecipeOverrides {
    /// The network's input in pixels: `224`, or `[height, width]`.
    #[serde(deserialize_with = "side_or_sides", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema_of_size")]
    pub size: Option<[usize; 2]>,
    /// `stretch` ignores the picture's shape, `crop` cuts out the centre, `pad` fills up with white.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
    /// The filter, as in Pillow: `nearest`, `box`, `bilinear`, `hamming`, `bicubic` or `lanczos`.
    #[serde(rename = "resize", skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// With `fit: crop`, the share of the side that is kept: 0.875 resizes to 256 and cuts out 224.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop_pct: Option<f64>,
    /// `rgb`, `bgr` or `grey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<ChannelOrder>,
    /// What the bytes are divided by first: 255, 127.5 or 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divisor: Option<f32>,
    /// Taken away next: three numbers in the order of `channels`, in units of `byte / divisor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<[f32; 3]>,
    /// Divided by last: three numbers in the order of `channels`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<[f32; 3]>,
}

fn schema_of_size(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let side = serde_json::json!({"type": "integer", "minimum": 1, "maximum": MAX_SIDE});
    schemars::json_schema!({"anyOf": [side, {"type": "array", "items": side, "minItems": 2, "maxItems": 2}, {"type": "null"}]})
}

/// `224` or `[224, 224]`, with an error that points at the value.
fn side_or_sides<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[usize; 2]>, D::Error> {
    struct Sides;
    impl<'de> de::Visitor<'de> for Sides {
        type Value = Option<[usize; 2]>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a side in pixels, as 224, or [height, width]")
        }

        fn visit_u64<E: de::Error>(self, side: u64) -> Result<Self::Value, E> {
            let side = usize::try_from(side).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(side), &self))?;
            Ok(Some([side, side]))
        }

        fn visit_i64<E: de::Error>(self, side: i64) -> Result<Self::Value, E> {
            let unsigned = u64::try_from(side).map_err(|_| E::invalid_value(de::Unexpected::Signed(side), &self))?;
            self.visit_u64(unsigned)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut sides: A) -> Result<Self::Value, A::Error> {
            let height = sides.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
            let width = sides.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
            match sides.next_element::<de::IgnoredAny>()? {
                Some(_) => Err(de::Error::invalid_length(3, &self)),
                None => Ok(Some([height, width])),
            }
        }

        fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Sides)
}

#[cfg(test)]
mod tests;
