//! Where a picture comes to lie in the network's input, and how it gets there.

use super::{ChannelOrder, Fit, Layout, Recipe, grey};
use crate::{RgbImage, WHITE, bilinear, resize_crop};

/// A picture resized to `full`, of which the window at `from` is seen at `at` in the input; heights come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    full: [usize; 2],
    from: [usize; 2],
    window: [usize; 2],
    at: [usize; 2],
}

impl Recipe {
    /// Height and width to which a picture of this height and width is resized before something of it is cut off or put around it.
    pub fn resized(&self, source: [usize; 2]) -> [usize; 2] {
        self.place(source).full
    }

    /// The picture of `size` whose bytes [`apply`](Self::apply) turns into numbers.
    pub fn levels(&self, image: &RgbImage) -> RgbImage {
        let grey = (self.channels == ChannelOrder::Grey).then(|| grey(image));
        let image = grey.as_ref().unwrap_or(image);
        let Place { full, from, window, at } = self.place([image.height, image.width]);
        let seen = resize_crop(image, full[1], full[0], self.filter, from[1], from[0], window[1], window[0]);
        if window == self.size {
            return seen;
        }
        let mut out = RgbImage::filled(self.size[1], self.size[0], self.border());
        out.paste(&seen, at[1], at[0]);
        out
    }

    /// [`apply`](Self::apply) without rounding to bytes in between: bilinear without antialiasing.
    pub(super) fn apply_fractions(&self, image: &RgbImage, layout: Layout, out: &mut [f32]) {
        let grey = (self.channels == ChannelOrder::Grey).then(|| grey(image));
        let image = grey.as_ref().unwrap_or(image);
        let Place { full, from, window, at } = self.place([image.height, image.width]);
        let seen = bilinear(image, full, from, window);
        let border = self.border();
        let [height, width] = self.size;
        let depth = self.depth();
        for c in 0..depth {
            let (source, (mean, std)) = (self.source(c), self.channel(c));
            for y in 0..height {
                for x in 0..width {
                    let inside = (at[0]..at[0] + window[0]).contains(&y) && (at[1]..at[1] + window[1]).contains(&x);
                    let level = match inside {
                        true => seen[((y - at[0]) * window[1] + x - at[1]) * 3 + source],
                        false => f32::from(border[source]),
                    };
                    let place = match layout {
                        Layout::Chw => (c * height + y) * width + x,
                        Layout::Hwc => (y * width + x) * depth + c,
                    };
                    out[place] = (level / self.divisor - mean) / std;
                }
            }
        }
    }

    /// What lies around a picture that does not fill the input, in RGB: white, or timm's `round(255 * mean)`.
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

    fn place(&self, source: [usize; 2]) -> Place {
        let size = self.size;
        let inside = |full: [usize; 2]| {
            let window = [full[0].min(size[0]), full[1].min(size[1])];
            let from = [centred(full[0], window[0]), centred(full[1], window[1])];
            Place { full, from, window, at: [0; 2] }
        };
        let target = || size.map(|side| (side as f64 / self.crop_pct).floor());
        match self.fit {
            Fit::Stretch => Place { full: size, from: [0; 2], window: size, at: [0; 2] },
            Fit::Crop => inside(self.covering(source)),
            Fit::Squash => inside(target().map(|side| side as usize)),
            Fit::Pad => {
                let full = self.contained(source);
                Place { at: [centred(size[0], full[0]), centred(size[1], full[1])], ..inside(full) }
            }
            Fit::Border => {
                // timm's ResizeKeepRatio(longest=1) and CenterCropOrPad, whose margin before is never the larger one
                let target = target();
                let [h, w] = source.map(|side| side as f64);
                let ratio = (h / target[0]).max(w / target[1]);
                let place = inside([h, w].map(|side| ((side / ratio).round_ties_even() as usize).max(1)));
                let [h, w] = place.window;
                Place { at: [(size[0] - h) / 2, (size[1] - w) / 2], ..place }
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
}

/// The margin before `inner` in the middle of `outer`: half of what is left, rounded as Python rounds.
fn centred(outer: usize, inner: usize) -> usize {
    ((outer - inner) as f64 / 2.0).round_ties_even() as usize
}
