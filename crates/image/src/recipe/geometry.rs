//! The geometry of a recipe: the size to which a picture is resized, and the window of it that the network sees.

use super::{ChannelOrder, Fit, Layout, Recipe, grey};
use crate::{RgbImage, WHITE, bilinear, resize_crop};

/// The picture is resized to `resized`; the window of `crop_size` pixels at `crop_offset` is cut out of it and pasted
/// at `paste_offset` into the input. All pairs are a height and a width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Geometry {
    resized: [usize; 2],
    crop_offset: [usize; 2],
    crop_size: [usize; 2],
    paste_offset: [usize; 2],
}

impl Recipe {
    /// Returns the height and width to which a picture of the size `source` is resized, before it is cropped or padded.
    pub fn resized_size(&self, source: [usize; 2]) -> [usize; 2] {
        self.geometry(source).resized
    }

    /// Returns the picture of `size` pixels that the network sees, in bytes: resized, cropped and padded.
    /// [`apply`](Self::apply) turns its bytes into numbers.
    pub fn prepare(&self, image: &RgbImage) -> RgbImage {
        let grey = (self.channels == ChannelOrder::Grey).then(|| grey(image));
        let image = grey.as_ref().unwrap_or(image);
        let Geometry { resized, crop_offset, crop_size, paste_offset } = self.geometry([image.height, image.width]);
        let cropped = resize_crop(image, resized, self.filter, crop_offset, crop_size);
        if crop_size == self.size {
            return cropped;
        }
        let mut out = RgbImage::filled(self.size[1], self.size[0], self.border());
        out.paste(&cropped, paste_offset[1], paste_offset[0]);
        out
    }

    /// Does the work of [`apply`](Self::apply) for a bilinear resize without antialiasing, whose pixels are not rounded
    /// to bytes.
    pub(super) fn apply_unrounded(&self, image: &RgbImage, layout: Layout, out: &mut [f32]) {
        let grey = (self.channels == ChannelOrder::Grey).then(|| grey(image));
        let image = grey.as_ref().unwrap_or(image);
        let Geometry { resized, crop_offset, crop_size, paste_offset } = self.geometry([image.height, image.width]);
        let cropped = bilinear(image, resized, crop_offset, crop_size);
        let ([top, left], [crop_height, crop_width]) = (paste_offset, crop_size);
        let border = self.border();
        let [height, width] = self.size;
        let depth = self.depth();
        for c in 0..depth {
            let (source, (mean, std)) = (self.source(c), self.channel(c));
            for y in 0..height {
                for x in 0..width {
                    let inside = (top..top + crop_height).contains(&y) && (left..left + crop_width).contains(&x);
                    let level = match inside {
                        true => cropped[((y - top) * crop_width + x - left) * 3 + source],
                        false => f32::from(border[source]),
                    };
                    let index = match layout {
                        Layout::Chw => (c * height + y) * width + x,
                        Layout::Hwc => (y * width + x) * depth + c,
                    };
                    out[index] = (level / self.divisor - mean) / std;
                }
            }
        }
    }

    /// Returns the RGB colour around a picture that does not fill the input: white, or timm's `round(255 * mean)`.
    fn border(&self) -> [u8; 3] {
        if self.fit != Fit::Border {
            return WHITE;
        }
        let level = |c: usize| (f64::from(self.channel(c).0) * f64::from(self.divisor)).round_ties_even() as u8;
        match self.channels {
            ChannelOrder::Rgb => [level(0), level(1), level(2)],
            ChannelOrder::Bgr => [level(2), level(1), level(0)],
            ChannelOrder::Grey => [level(0); 3],
        }
    }

    fn geometry(&self, source: [usize; 2]) -> Geometry {
        let size = self.size;
        let inside = |resized: [usize; 2]| {
            let crop_size = [resized[0].min(size[0]), resized[1].min(size[1])];
            let crop_offset = [margin(resized[0], crop_size[0]), margin(resized[1], crop_size[1])];
            Geometry { resized, crop_offset, crop_size, paste_offset: [0; 2] }
        };
        let target = || size.map(|side| (side as f64 / self.crop_pct).floor());
        match self.fit {
            Fit::Stretch => Geometry { resized: size, crop_offset: [0; 2], crop_size: size, paste_offset: [0; 2] },
            Fit::Crop => inside(self.size_covering(source)),
            Fit::Squash => inside(target().map(|side| side as usize)),
            Fit::Pad => {
                let resized = self.size_within(source);
                Geometry { paste_offset: [margin(size[0], resized[0]), margin(size[1], resized[1])], ..inside(resized) }
            }
            Fit::Border => {
                // timm's ResizeKeepRatio(longest=1) and CenterCropOrPad round the first margin down.
                let target = target();
                let [h, w] = source.map(|side| side as f64);
                let ratio = (h / target[0]).max(w / target[1]);
                let geometry = inside([h, w].map(|side| ((side / ratio).round_ties_even() as usize).max(1)));
                let [h, w] = geometry.crop_size;
                Geometry { paste_offset: [(size[0] - h) / 2, (size[1] - w) / 2], ..geometry }
            }
        }
    }

    /// Returns height and width of the resized picture from which `size` is cropped. Neither is less than in `size`,
    /// since `crop_pct` is at most 1.
    fn size_covering(&self, source: [usize; 2]) -> [usize; 2] {
        let target = self.size.map(|side| (side as f64 / self.crop_pct).floor());
        let [h, w] = source.map(|side| side as f64);
        if self.size[0] == self.size[1] {
            // torchvision's Resize(n) makes the short side n pixels long and rounds the long side down.
            let (short, long) = (h.min(w), h.max(w));
            let long = (target[0] * long / short) as usize;
            let short = target[0] as usize;
            return if w <= h { [long, short] } else { [short, long] };
        }
        // timm's ResizeKeepRatio divides both sides by the smaller of the two ratios and rounds to the nearest whole
        // number.
        let ratio = (h / target[0]).min(w / target[1]);
        [h, w].map(|side| (side / ratio).round_ties_even() as usize)
    }

    /// Returns height and width of the largest picture inside `size` that has the shape of `source` (Pillow's
    /// `ImageOps.contain`).
    fn size_within(&self, source: [usize; 2]) -> [usize; 2] {
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
}

/// Returns the margin before `inner` in the middle of `outer`: half of the difference, rounded to even as Python
/// rounds.
fn margin(outer: usize, inner: usize) -> usize {
    ((outer - inner) as f64 / 2.0).round_ties_even() as usize
}
