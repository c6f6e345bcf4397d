//! Resampling that agrees with Pillow's `Image.resize` bit for bit.
//!
//! Every framework whose weights we run resized its training and test pictures with Pillow, so its rounding is part of the model's numbers.
//! The method (Pillow's `src/libImaging/Resample.c`): weights are computed in `f64`, normalised to a sum of one, rounded to fixed point with
//! [`PRECISION`] bits; the horizontal pass comes first and is rounded to bytes before the vertical one. When shrinking, the filter is widened
//! by the scale, so that every source pixel counts. `Nearest` is a different road there and here: it picks the pixel under the centre.
//!
//! Both passes are plain loops over arrays of fixed length, so that the compiler can turn them into the widest vectors which the processor
//! has; integer sums have no order, so the result is the same on all of them.

use super::RgbImage;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::ops::Range;

/// Fraction bits of a weight: 32, less 8 of the pixel and 2 for the overshoot of the sharpening filters.
const PRECISION: u32 = 32 - 8 - 2;
/// One half, added before the fraction bits are cut off.
const HALF: i32 = 1 << (PRECISION - 1);
/// Source pixels that the horizontal pass takes in one step.
const STEP: usize = 8;
/// Values in one step: R G B of every pixel.
const LANES: usize = 3 * STEP;
/// Values of a row that the vertical pass sums in registers.
const BLOCK: usize = 64;

/// How a pixel of the result is made of pixels of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// Beyond this distance from the centre the filter is zero, in pixels of the coarser of source and result.
    fn radius(self) -> f64 {
        match self {
            Filter::Nearest => 0.0,
            Filter::Box => 0.5,
            Filter::Bilinear | Filter::Hamming => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    /// The height of the filter at `x`.
    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let r = x.abs();
        match self {
            Filter::Nearest => 0.0,
            // half open, so that a pixel on the border between two results counts once
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

/// `Image.resize((width, height), filter)`; a side of 0 gives an empty picture.
pub fn resize(src: &RgbImage, width: usize, height: usize, filter: Filter) -> RgbImage {
    resize_crop(src, width, height, filter, 0, 0, width, height)
}

/// The window of `crop_w` × `crop_h` pixels at (`left`, `top`) of `resize(src, full_w, full_h, filter)`, without computing the rest.
///
/// Panics when the window is not inside the resized picture.
#[allow(clippy::too_many_arguments)] // two rectangles and a filter; a struct for them would be built and taken apart in one line
pub fn resize_crop(
    src: &RgbImage,
    full_w: usize,
    full_h: usize,
    filter: Filter,
    left: usize,
    top: usize,
    crop_w: usize,
    crop_h: usize,
) -> RgbImage {
    assert!(left + crop_w <= full_w && top + crop_h <= full_h, "the window is outside the resized picture");
    let across = Side { from: src.width, begin: 0.0, end: src.width as f64, to: full_w, window: left..left + crop_w };
    let down = Side { from: src.height, begin: 0.0, end: src.height as f64, to: full_h, window: top..top + crop_h };
    resample(src, &across, &down, filter)
}

/// `Image.resize((width, height), filter, box=bounds)`: resizes only the rectangle `bounds` = left, top, right, bottom of the source, in
/// pixels and fractions of them.
///
/// Panics when the rectangle is empty or reaches outside the source.
pub fn resize_box(src: &RgbImage, bounds: [f64; 4], width: usize, height: usize, filter: Filter) -> RgbImage {
    let [left, top, right, bottom] = bounds;
    let inside = 0.0 <= left && left < right && right <= src.width as f64;
    assert!(
        inside && 0.0 <= top && top < bottom && bottom <= src.height as f64,
        "{bounds:?} is not inside the picture"
    );
    let across = Side { from: src.width, begin: left, end: right, to: width, window: 0..width };
    let down = Side { from: src.height, begin: top, end: bottom, to: height, window: 0..height };
    resample(src, &across, &down, filter)
}

/// One direction of a resize: `begin..end` of `from` pixels becomes `to` pixels, of which those in `window` are wanted.
struct Side {
    from: usize,
    begin: f64,
    end: f64,
    to: usize,
    window: Range<usize>,
}

impl Side {
    fn is_identity(&self) -> bool {
        self.to == self.from && self.begin == 0.0 && self.end == self.to as f64
    }

    /// Source pixels per pixel of the result.
    fn scale(&self) -> f64 {
        (self.end - self.begin) / self.to as f64
    }

    /// The source pixel under each centre in the window, or none where rounding has led out of the picture.
    fn nearest(&self) -> Vec<Option<usize>> {
        let scale = self.scale();
        let mut at = self.begin + scale * 0.5;
        let mut picked = Vec::with_capacity(self.window.len());
        // Pillow adds up the steps, and so the rounding errors: a multiplication would pick other pixels in large pictures
        for i in 0..self.window.end {
            if i >= self.window.start {
                picked.push((at >= 0.0 && at < self.from as f64).then_some(at as usize));
            }
            at += scale;
        }
        picked
    }

    /// The taps of every pixel in the window.
    fn taps(&self, filter: Filter) -> Vec<Taps> {
        let scale = self.scale();
        let widen = scale.max(1.0);
        let support = filter.radius() * widen;
        let narrow = 1.0 / widen;
        let taps = |i: usize| {
            let centre = self.begin + (i as f64 + 0.5) * scale;
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

/// Rounds half away from zero, as Pillow does.
fn to_fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1u32 << PRECISION);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

/// The source pixels from `first` on that make one pixel of the result, and the weight of each.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

fn resample(src: &RgbImage, across: &Side, down: &Side, filter: Filter) -> RgbImage {
    let (width, height) = (across.window.len(), down.window.len());
    if width == 0 || height == 0 || src.data.is_empty() {
        return RgbImage { width, height, data: vec![0; width * height * 3] };
    }
    if filter == Filter::Nearest {
        return pick(src, &across.nearest(), &down.nearest());
    }
    // rows of the source that the result needs, as if they were a picture of their own
    let taps = (!down.is_identity()).then(|| down.taps(filter));
    let rows = match &taps {
        Some(taps) => rows_needed(taps),
        None => down.window.clone(),
    };
    let source = &src.data[rows.start * src.width * 3..rows.end * src.width * 3];
    let squeezed = if across.is_identity() {
        columns(source, src.width, across.window.clone())
    } else {
        vectorised(Horizontal { source, width: src.width, taps: &across.taps(filter) })
    };
    let data = match taps {
        Some(taps) => vectorised(Vertical { source: &squeezed, stride: width * 3, first: rows.start, taps: &taps }),
        None => squeezed,
    };
    RgbImage { width, height, data }
}

fn pick(src: &RgbImage, xs: &[Option<usize>], ys: &[Option<usize>]) -> RgbImage {
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

fn rows_needed(taps: &[Taps]) -> Range<usize> {
    let start = taps.iter().map(|t| t.first).min().unwrap_or(0);
    let end = taps.iter().map(|t| t.first + t.weights.len()).max().unwrap_or(0);
    start..end
}

fn columns(source: &[u8], width: usize, window: Range<usize>) -> Vec<u8> {
    source.chunks_exact(width * 3).flat_map(|row| &row[window.start * 3..window.end * 3]).copied().collect()
}

/// Runs a loop compiled for the best instruction set that this processor has.
fn vectorised(pass: impl pulp::NullaryFnOnce<Output = Vec<u8>>) -> Vec<u8> {
    pulp::Arch::new().dispatch(pass)
}

/// The pass along the rows: `source` has rows of `width` pixels, the result rows of `taps.len()` pixels.
struct Horizontal<'a> {
    source: &'a [u8],
    width: usize,
    taps: &'a [Taps],
}

/// The taps of one pixel, cut into whole steps: every weight stands three times, for R, G and B.
struct Steps {
    first: usize,
    weights: Vec<[i32; LANES]>,
}

impl pulp::NullaryFnOnce for Horizontal<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn call(self) -> Vec<u8> {
        let longest = self.taps.iter().map(|t| t.weights.len()).max().unwrap_or(0);
        // whole steps must not read past the end of a row: shorter rows are copied into one that is long enough
        let padded = self.width.max(longest.next_multiple_of(STEP));
        let steps: Vec<Steps> = self.taps.iter().map(|t| whole_steps(t, padded)).collect();
        let mut line = vec![0; if padded == self.width { 0 } else { padded * 3 }];
        let mut out = vec![0; self.source.len() / (self.width * 3) * steps.len() * 3];
        for (row, out) in self.source.chunks_exact(self.width * 3).zip(out.chunks_exact_mut(steps.len() * 3)) {
            if line.is_empty() {
                squeeze_row(row, &steps, out);
            } else {
                line[..row.len()].copy_from_slice(row);
                squeeze_row(&line, &steps, out);
            }
        }
        out
    }
}

fn whole_steps(taps: &Taps, width: usize) -> Steps {
    let count = taps.weights.len().div_ceil(STEP);
    let first = taps.first.min(width - count * STEP);
    let mut weights = vec![[0; LANES]; count];
    let flat = weights.as_flattened_mut();
    for (i, w) in taps.weights.iter().enumerate() {
        let at = (taps.first - first + i) * 3;
        flat[at..at + 3].fill(*w);
    }
    Steps { first, weights }
}

#[inline(always)]
fn squeeze_row(row: &[u8], steps: &[Steps], out: &mut [u8]) {
    for (pixel, step) in out.chunks_exact_mut(3).zip(steps) {
        let mut sums = [0i32; LANES];
        let (chunks, _) = row[step.first * 3..].as_chunks::<LANES>();
        for (source, weights) in chunks.iter().zip(&step.weights) {
            for ((sum, v), w) in sums.iter_mut().zip(source).zip(weights) {
                *sum += i32::from(*v) * w;
            }
        }
        for (c, value) in pixel.iter_mut().enumerate() {
            *value = to_byte(HALF + (0..STEP).map(|i| sums[i * 3 + c]).sum::<i32>());
        }
    }
}

/// The pass along the columns: row `first` of the picture is the first one in `source`.
struct Vertical<'a> {
    source: &'a [u8],
    stride: usize,
    first: usize,
    taps: &'a [Taps],
}

impl pulp::NullaryFnOnce for Vertical<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn call(self) -> Vec<u8> {
        let mut out = vec![0; self.taps.len() * self.stride];
        for (line, taps) in out.chunks_exact_mut(self.stride).zip(self.taps) {
            let rows = &self.source[(taps.first - self.first) * self.stride..];
            let (blocks, rest) = line.as_chunks_mut::<BLOCK>();
            let done = blocks.len() * BLOCK;
            for (b, block) in blocks.iter_mut().enumerate() {
                squeeze_block(rows, self.stride, b * BLOCK, &taps.weights, block);
            }
            let mut sums = [HALF; BLOCK];
            for (row, w) in rows.chunks_exact(self.stride).zip(&taps.weights) {
                sums.iter_mut().zip(&row[done..]).for_each(|(sum, v)| *sum += i32::from(*v) * w);
            }
            rest.iter_mut().zip(&sums).for_each(|(value, sum)| *value = to_byte(*sum));
        }
        out
    }
}

#[inline(always)]
fn squeeze_block(rows: &[u8], stride: usize, at: usize, weights: &[i32], out: &mut [u8; BLOCK]) {
    let mut sums = [HALF; BLOCK];
    for (row, w) in rows.chunks_exact(stride).zip(weights) {
        let Some(source) = row[at..].first_chunk::<BLOCK>() else { continue };
        sums.iter_mut().zip(source).for_each(|(sum, v)| *sum += i32::from(*v) * w);
    }
    out.iter_mut().zip(&sums).for_each(|(value, sum)| *value = to_byte(*sum));
}

#[inline(always)]
fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}
