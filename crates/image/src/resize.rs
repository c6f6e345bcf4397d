//! Resampling that agrees with Pillow's `Image.resize` bit for bit (`src/libImaging/Resample.c`).
//!
//! The frameworks whose weights we run resized their training and test pictures with Pillow, so its rounding is part of
//! the model's numbers. Pillow computes the weights in `f64`, normalises them to a sum of one and rounds them to fixed
//! point with [`PRECISION`] bits. It resizes one direction and rounds it to bytes before the other. When a picture
//! shrinks, the filter is widened by the scale, so that every source pixel counts. `Nearest` has no weights: it takes
//! the pixel under the centre.
//!
//! The reference is Pillow 13. Up to version 12 Pillow resized along the rows first; 13 begins with the columns where
//! [`columns_first`] says so, which changes some values by one where a picture loses much more height than width.
//! Nothing else has changed since Pillow 3.

use super::RgbImage;
use super::passes::{Horizontal, Vertical, vectorised};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::ops::Range;

/// Fraction bits of a weight: 32, less 8 for the pixel and 2 for the overshoot of the sharpening filters.
pub(super) const PRECISION: u32 = 32 - 8 - 2;
/// One half in fixed point, which is added before the fraction bits are cut off.
pub(super) const HALF: i32 = 1 << (PRECISION - 1);

/// How a pixel of the result is made of pixels of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The pixel under the centre; Keras' `load_img` by default.
    Nearest,
    /// The mean of the pixels covered.
    Box,
    /// A triangle; torchvision by default.
    Bilinear,
    /// A Hamming-windowed sinc of radius 1.
    Hamming,
    /// Keys' cubic with a = -0.5; timm by default.
    Bicubic,
    /// A sinc of radius 3, windowed by its own middle lobe.
    Lanczos,
}

impl Filter {
    /// Returns the distance from the centre beyond which the filter is zero, in pixels of the coarser of source and
    /// result.
    fn radius(self) -> f64 {
        match self {
            Filter::Nearest => 0.0,
            Filter::Box => 0.5,
            Filter::Bilinear | Filter::Hamming => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    /// Returns the value of the filter at `x`.
    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let r = x.abs();
        match self {
            Filter::Nearest => 0.0,
            // The interval is half open, so that a pixel on the border between two results counts once.
            Filter::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Filter::Bilinear => (1.0 - r).max(0.0),
            Filter::Hamming if r == 0.0 => 1.0,
            Filter::Hamming if r < 1.0 => (r * PI).sin() / (r * PI) * (0.54 + 0.46 * (r * PI).cos()),
            Filter::Bicubic if r < 1.0 => ((A + 2.0) * r - (A + 3.0)) * r * r + 1.0,
            Filter::Bicubic if r < 2.0 => (((r - 5.0) * r + 8.0) * r - 4.0) * A,
            Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Filter::Hamming | Filter::Bicubic | Filter::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// Does `Image.resize((width, height), filter)`; a side of 0 gives an empty picture.
pub fn resize(src: &RgbImage, width: usize, height: usize, filter: Filter) -> RgbImage {
    resize_crop(src, [height, width], filter, [0, 0], [height, width])
}

/// Returns the window of `size` pixels at `offset` of the picture resized to `full`, without computing the rest. Each
/// pair is a height and a width, `offset` is the top and the left of the window.
///
/// Panics when the window is not inside the resized picture.
pub fn resize_crop(src: &RgbImage, full: [usize; 2], filter: Filter, offset: [usize; 2], size: [usize; 2]) -> RgbImage {
    let axis = |from: usize, i: usize| {
        let window = offset[i]..offset[i] + size[i];
        assert!(window.end <= full[i], "the window is outside the resized picture");
        Axis { from, to: full[i], window }
    };
    resample(src, &axis(src.width, 1), &axis(src.height, 0), filter)
}

/// One direction of a resize: `from` pixels become `to` pixels, of which those in `window` are computed.
struct Axis {
    from: usize,
    to: usize,
    window: Range<usize>,
}

impl Axis {
    fn is_identity(&self) -> bool {
        self.to == self.from
    }

    /// Source pixels per pixel of the result; Pillow holds the side of the source as `f32`.
    fn scale(&self) -> f64 {
        f64::from(self.from as f32) / self.to as f64
    }

    /// Returns the source pixel under each centre in the window, and none where rounding moves the centre out of the
    /// picture.
    fn nearest(&self) -> Vec<Option<usize>> {
        let scale = self.scale();
        let mut at = scale * 0.5;
        let mut picked = Vec::with_capacity(self.window.len());
        // Pillow adds up the steps and their rounding errors; a multiplication would pick other pixels in large
        // pictures.
        for i in 0..self.window.end {
            if i >= self.window.start {
                picked.push((at >= 0.0 && at < self.from as f64).then_some(at as usize));
            }
            at += scale;
        }
        picked
    }

    /// Computes the taps of every pixel in the window.
    fn taps(&self, filter: Filter) -> Vec<Taps> {
        if self.is_identity() {
            return self.window.clone().map(|first| Taps { first, weights: vec![1 << PRECISION] }).collect();
        }
        let scale = self.scale();
        let widen = scale.max(1.0);
        let support = filter.radius() * widen;
        let narrow = 1.0 / widen;
        let taps = |i: usize| {
            let centre = (i as f64 + 0.5) * scale;
            let first = ((centre - support + 0.5) as i64).max(0);
            let last = ((centre + support + 0.5) as i64).min(self.from as i64);
            let weights: Vec<f64> = (first..last).map(|x| filter.weight((x as f64 - centre + 0.5) * narrow)).collect();
            let sum: f64 = weights.iter().sum();
            let sum = if sum == 0.0 { 1.0 } else { sum };
            Taps { first: first as usize, weights: weights.iter().map(|w| to_fixed(w / sum)).collect() }
        };
        self.window.clone().map(taps).collect()
    }
}

/// Converts to fixed point and rounds half away from zero, as Pillow does.
fn to_fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1u32 << PRECISION);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

/// Resizes bilinearly without antialiasing, and returns the window of `size` pixels at `offset` of the picture resized
/// to `full` (pairs of a height and a width). Each pixel is made of the four around its centre, in the order of
/// operations of TensorFlow's `ResizeBilinear` with half-pixel centres. The result is (height, width, 3).
pub(super) fn bilinear(src: &RgbImage, full: [usize; 2], offset: [usize; 2], size: [usize; 2]) -> Vec<f32> {
    let rows = neighbours(src.height, full[0], offset[0]..offset[0] + size[0]);
    let columns = neighbours(src.width, full[1], offset[1]..offset[1] + size[1]);
    let mut out = Vec::with_capacity(size[0] * size[1] * 3);
    for row in rows {
        let (above, below) = (src.row(row.before), src.row(row.after));
        for column in &columns {
            for c in 0..3 {
                let level = |row: &[u8], x: usize| f32::from(row[x * 3 + c]);
                let along = |row: &[u8]| {
                    let left = level(row, column.before);
                    left + (level(row, column.after) - left) * column.fraction
                };
                let (top, bottom) = (along(above), along(below));
                out.push(top + (bottom - top) * row.fraction);
            }
        }
    }
    out
}

/// The two source pixels between which the centre of a pixel of the result lies, and how far it lies behind the first
/// one.
struct Neighbours {
    before: usize,
    after: usize,
    fraction: f32,
}

/// Returns the neighbours of the pixels in `window` when `pixels` are resized to `full` pixels.
fn neighbours(pixels: usize, full: usize, window: Range<usize>) -> Vec<Neighbours> {
    let scale = pixels as f32 / full as f32;
    let at_pixel = |i: usize| {
        let centre = (i as f32 + 0.5) * scale - 0.5;
        let (below, last) = (centre.floor(), pixels.saturating_sub(1));
        let after = (below as i64 + 1).clamp(0, last as i64) as usize;
        Neighbours { before: (below.max(0.0) as usize).min(last), after, fraction: centre - below }
    };
    window.map(at_pixel).collect()
}

/// The weights of the source pixels, from `first` on, that make one pixel of the result.
pub(super) struct Taps {
    pub(super) first: usize,
    pub(super) weights: Vec<i32>,
}

fn resample(src: &RgbImage, across: &Axis, down: &Axis, filter: Filter) -> RgbImage {
    let (width, height) = (across.window.len(), down.window.len());
    if width == 0 || height == 0 || src.data.is_empty() {
        return RgbImage { width, height, data: vec![0; width * height * 3] };
    }
    if filter == Filter::Nearest || (across.is_identity() && down.is_identity()) {
        return pick_nearest(src, &across.nearest(), &down.nearest());
    }
    let rows = down.taps(filter);
    let data = if columns_first(across, down) {
        let source = Vertical { source: &src.data, stride: src.width * 3, first: 0, taps: &rows };
        horizontal_pass(&vectorised(source), src.width, across, filter)
    } else {
        let needed = source_rows(&rows);
        let source = &src.data[needed.start * src.width * 3..needed.end * src.width * 3];
        let squeezed = horizontal_pass(source, src.width, across, filter);
        if down.is_identity() {
            squeezed
        } else {
            vectorised(Vertical { source: &squeezed, stride: width * 3, first: needed.start, taps: &rows })
        }
    };
    RgbImage { width, height, data }
}

/// Resizes rows of `width` pixels along themselves, or crops them where their size stays.
fn horizontal_pass(source: &[u8], width: usize, across: &Axis, filter: Filter) -> Vec<u8> {
    if across.is_identity() {
        let Range { start, end } = across.window;
        return source.chunks_exact(width * 3).flat_map(|row| &row[start * 3..end * 3]).copied().collect();
    }
    vectorised(Horizontal { source, width, taps: &across.taps(filter) })
}

/// Whether Pillow 13 resizes along the columns first: the height shrinks, and by more than twice as many pixels as the
/// width.
fn columns_first(across: &Axis, down: &Axis) -> bool {
    let lost = |axis: &Axis| axis.from as i64 - axis.to as i64;
    lost(down) > 0 && lost(down) > 2 * lost(across)
}

fn pick_nearest(src: &RgbImage, xs: &[Option<usize>], ys: &[Option<usize>]) -> RgbImage {
    let mut out = RgbImage { width: xs.len(), height: ys.len(), data: vec![0; xs.len() * ys.len() * 3] };
    for (line, y) in out.data.chunks_exact_mut(xs.len() * 3).zip(ys) {
        let Some(y) = *y else { continue };
        let row = src.row(y);
        for (pixel, x) in line.chunks_exact_mut(3).zip(xs) {
            if let Some(x) = *x {
                pixel.copy_from_slice(&row[x * 3..x * 3 + 3]);
            }
        }
    }
    out
}

/// Returns the rows of the source that `taps` read.
fn source_rows(taps: &[Taps]) -> Range<usize> {
    let start = taps.iter().map(|t| t.first).min().unwrap_or(0);
    let end = taps.iter().map(|t| t.first + t.weights.len()).max().unwrap_or(0);
    start..end
}
