//! Converts planes of luma and chroma to RGB as libavif does: chroma of less resolution is interpolated between the
//! centres of its samples, then the matrix of the colour space is applied (ISO/IEC 23091-2).

use super::super::decode::DecodeError;
use super::container::Nclx;
use super::{corrupt, unsupported};
use re_rav1d::dav1d::{Picture, PixelLayout, PlanarImageComponent, pixel};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The number of the reserved matrix, which has no definition (ISO/IEC 23091-2).
const RESERVED: u16 = 3;

/// The planes of a decoded frame.
pub(super) struct Planes {
    pub width: usize,
    pub height: usize,
    /// Bits of a sample: 8, 10 or 12.
    bits: u32,
    layout: PixelLayout,
    /// The colour information in the frame itself.
    nclx: Nclx,
    /// Luma and, unless the frame is grey, two planes of chroma, without gaps between rows.
    planes: Vec<Plane>,
}

#[derive(Clone)]
struct Plane {
    width: usize,
    samples: Vec<u16>,
}

impl Plane {
    fn row(&self, y: usize) -> &[u16] {
        &self.samples[y * self.width..(y + 1) * self.width]
    }
}

/// Returns how many times smaller the chroma is, across and down.
fn chroma_reduction(layout: PixelLayout) -> (usize, usize) {
    match layout {
        PixelLayout::I420 => (2, 2),
        PixelLayout::I422 => (2, 1),
        PixelLayout::I400 | PixelLayout::I444 => (1, 1),
    }
}

impl Planes {
    pub(super) fn of(picture: &Picture) -> Result<Self, DecodeError> {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let bits = picture.bits_per_component().map_or(0, |bits| bits.0 as u32);
        let layout = picture.pixel_layout();
        // `matrix_coefficients` panics at the reserved number.
        let matrix = catch_unwind(AssertUnwindSafe(|| picture.matrix_coefficients() as u16));
        let nclx =
            Nclx { matrix: matrix.unwrap_or(RESERVED), full_range: picture.color_range() == pixel::YUVRange::Full };
        let (across, down) = chroma_reduction(layout);
        let count = if layout == PixelLayout::I400 { 1 } else { 3 };
        let planes = (0..count).map(|plane| {
            let (across, down) = if plane == 0 { (1, 1) } else { (across, down) };
            let (w, h) = (width.div_ceil(across), height.div_ceil(down));
            let component = PlanarImageComponent::from(plane);
            let (stride, bytes) = (picture.stride(component) as usize, picture.plane(component));
            let wide = if bits == 8 { 1 } else { 2 };
            let rows = bytes.chunks(stride.max(1)).take(h);
            let mut samples = Vec::with_capacity(w * h);
            for row in rows {
                let row = row.get(..w * wide).ok_or_else(|| corrupt("a plane of too few samples"))?;
                match wide {
                    1 => samples.extend(row.iter().map(|s| u16::from(*s))),
                    _ => samples.extend(row.as_chunks().0.iter().map(|s| u16::from_ne_bytes(*s))),
                }
            }
            if samples.len() != w * h {
                return Err(corrupt("a plane of too few rows"));
            }
            Ok(Plane { width: w, samples })
        });
        let planes = planes.collect::<Result<_, _>>()?;
        Ok(Self { width, height, bits, layout, nclx, planes })
    }

    pub(super) fn expect_size(&self, width: usize, height: usize) -> Result<(), DecodeError> {
        if (self.width, self.height) != (width, height) {
            let (w, h) = (self.width, self.height);
            return Err(corrupt(format!("a frame of {w}x{h} in a picture of {width}x{height}")));
        }
        Ok(())
    }

    /// Shifts the samples to 8 bits, as libavif does before it converts. Grey pictures and 10-bit pictures with alpha
    /// keep their bits.
    pub(super) fn narrowed_to_8_bits(mut self, has_alpha: bool) -> Self {
        let keeps = self.bits == 10 && has_alpha || self.layout == PixelLayout::I400;
        let shift = self.bits - 8;
        if shift > 0 && !keeps {
            self.planes.iter_mut().flat_map(|plane| &mut plane.samples).for_each(|sample| *sample >>= shift);
            self.bits = 8;
        }
        self
    }

    /// Returns planes of another size, with the properties of these and all samples 0.
    pub(super) fn empty_like(&self, width: usize, height: usize) -> Self {
        let (across, down) = chroma_reduction(self.layout);
        let planes = (0..self.planes.len()).map(|plane| {
            let (across, down) = if plane == 0 { (1, 1) } else { (across, down) };
            let (width, height) = (width.div_ceil(across), height.div_ceil(down));
            Plane { width, samples: vec![0; width * height] }
        });
        Self { width, height, planes: planes.collect(), ..*self }
    }

    /// Copies a tile to its column and row; the part of it beyond the edge is left out.
    pub(super) fn paste_tile(&mut self, tile: &Planes, column: usize, row: usize) -> Result<(), DecodeError> {
        if (tile.bits, tile.layout) != (self.bits, self.layout) {
            return Err(corrupt("tiles of different kinds"));
        }
        let (across, down) = chroma_reduction(self.layout);
        let inner = !(tile.width * column).is_multiple_of(across) || !(tile.height * row).is_multiple_of(down);
        for (plane, (whole, part)) in self.planes.iter_mut().zip(&tile.planes).enumerate() {
            if plane > 0 && inner {
                return Err(corrupt("tiles of odd sizes"));
            }
            let (across, down) = if plane == 0 { (1, 1) } else { (across, down) };
            let (left, top) = (tile.width * column / across, tile.height * row / down);
            let Some(width) = whole.width.checked_sub(left).map(|room| room.min(part.width)) else { continue };
            for (into, from) in
                whole.samples.chunks_exact_mut(whole.width).skip(top).zip(part.samples.chunks_exact(part.width))
            {
                into[left..left + width].copy_from_slice(&from[..width]);
            }
        }
        Ok(())
    }

    /// Converts the first plane to 8 bits of full range.
    pub(super) fn opacity(&self) -> Vec<u8> {
        let range = SampleRange::new(self.bits, self.nclx.full_range);
        self.planes[0].samples.iter().map(|&sample| range.to_byte(sample)).collect()
    }

    /// Interpolates the chroma at every pixel of row `y`.
    fn upsample_chroma(&self, plane: usize, y: usize, out: &mut [u16]) {
        let (across, down) = chroma_reduction(self.layout);
        let plane = &self.planes[plane];
        let rows = plane.samples.len() / plane.width;
        let near = plane.row(y / down);
        if across == 1 {
            return out.copy_from_slice(near);
        }
        let other = if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(rows - 1) };
        let far = if down == 1 { near } else { plane.row(other) };
        let last = out.len() - 1;
        for (x, out) in out.iter_mut().enumerate() {
            let a = x / 2;
            // The first and the last pixel of a row use only the sample of their own column, also where the width is
            // odd.
            let b = match x {
                x if x == 0 || x == last => a,
                x if x.is_multiple_of(2) => a - 1,
                _ => a + 1,
            };
            let [na, nb, fa, fb] = [near[a], near[b], far[a], far[b]].map(u32::from);
            *out = ((9 * na + 3 * nb + 3 * fa + fb + 8) >> 4) as u16;
        }
    }
}

/// The range of the samples.
struct SampleRange {
    /// The sample value of black.
    black: f32,
    /// 255 divided by the distance from black to white.
    luma: f32,
}

impl SampleRange {
    fn new(bits: u32, full: bool) -> Self {
        let unit = (1 << (bits - 8)) as f32;
        let largest = ((1 << bits) - 1) as f32;
        match full {
            true => Self { black: 0.0, luma: 255.0 / largest },
            false => Self { black: 16.0 * unit, luma: 255.0 / (219.0 * unit) },
        }
    }

    /// Converts a sample to 8 bits of full range.
    fn to_byte(&self, sample: u16) -> u8 {
        ((f32::from(sample) - self.black) * self.luma + 0.5) as u8
    }
}

/// Converts to RGB of 8 bits. The colour information of the container overrides that of the frame.
pub(super) fn to_rgb(planes: &Planes, nclx: Option<Nclx>) -> Result<Vec<u8>, DecodeError> {
    let Nclx { matrix, full_range } = nclx.unwrap_or(planes.nclx);
    let range = SampleRange::new(planes.bits, full_range);
    let mut rgb = Vec::with_capacity(planes.width * planes.height * 3);
    if planes.layout == PixelLayout::I400 {
        rgb.extend(planes.planes[0].samples.iter().flat_map(|&sample| [range.to_byte(sample); 3]));
        return Ok(rgb);
    }
    if matrix == 0 {
        if planes.layout != PixelLayout::I444 {
            return Err(corrupt("RGB with components of different sizes"));
        }
        let level = |plane: usize, i: usize| range.to_byte(planes.planes[plane].samples[i]);
        rgb.extend((0..planes.width * planes.height).flat_map(|i| [level(2, i), level(0, i), level(1, i)]));
        return Ok(rgb);
    }
    let matrix = Matrix::new(matrix, full_range)?;
    let (mut u, mut v) = (vec![0; planes.width], vec![0; planes.width]);
    let (up, down, to_eight) = (16 - planes.bits, 2 * planes.bits - 16, planes.bits - 8);
    for y in 0..planes.height {
        planes.upsample_chroma(1, y, &mut u);
        planes.upsample_chroma(2, y, &mut v);
        let levels = planes.planes[0].row(y).iter().zip(u.iter().zip(&v));
        rgb.extend(levels.flat_map(|(luma, (u, v))| {
            // The conversion takes 16 bits of luma and 8 of chroma.
            let luma = i32::from(luma << up | luma >> down);
            let [u, v] = [u, v].map(|level| i32::from(level >> to_eight) - 128);
            matrix.rgb(luma, u, v)
        }));
    }
    Ok(rgb)
}

/// The conversion from luma and chroma to RGB in the integers of libyuv, which libavif uses; they have six fraction
/// bits.
struct Matrix {
    /// The factor of luma, times 65,536.
    slope: i32,
    offset: i32,
    blue_of_u: i32,
    green_of_u: i32,
    green_of_v: i32,
    red_of_v: i32,
}

impl Matrix {
    fn new(number: u16, full_range: bool) -> Result<Self, DecodeError> {
        // The weights of red and blue in luma.
        let (kr, kb): (f64, f64) = match number {
            1 => (0.2126, 0.0722),
            4 => (0.30, 0.11),
            2 | 5 | 6 => (0.299, 0.114),
            7 => (0.212, 0.087),
            9 => (0.2627, 0.0593),
            other => return Err(unsupported(format!("the colour matrix {other}"))),
        };
        let kg = 1.0 - kr - kb;
        // libyuv rounds 255 / 219 to 1.164 except for BT.2020.
        let stretch = if number == 9 { 255.0 / 219.0 } else { 1.164 };
        let (luma, chroma) = if full_range { (1.0, 1.0) } else { (stretch, 255.0 / 224.0) };
        let fixed = |factor: f64| (factor * chroma * 64.0).round() as i32;
        let (red, blue) = (2.0 * (1.0 - kr), 2.0 * (1.0 - kb));
        Ok(Self {
            // Repeating an 8-bit value to fill 16 bits multiplies it by 257.
            slope: (luma * 64.0 * 256.0 * 256.0 / 257.0f64).round() as i32,
            offset: if full_range { 32 } else { -1160 },
            // libyuv once stored this factor in a signed byte. The limit remained, and Pillow's pixels show it.
            blue_of_u: fixed(blue).min(128),
            green_of_u: fixed(blue * kb / kg),
            green_of_v: fixed(red * kr / kg),
            red_of_v: fixed(red),
        })
    }

    #[inline(always)]
    fn rgb(&self, luma: i32, u: i32, v: i32) -> [u8; 3] {
        let luma = ((i64::from(luma) * i64::from(self.slope)) >> 16) as i32 + self.offset;
        let green = self.green_of_u * u + self.green_of_v * v;
        [luma + self.red_of_v * v, luma - green, luma + self.blue_of_u * u]
            .map(|level| (level >> 6).clamp(0, 255) as u8)
    }
}

/// Returns RGBA. Where the colours were multiplied by their opacity, they are divided by it.
pub(super) fn with_alpha(rgb: &[u8], alpha: &[u8], premultiplied: bool) -> Vec<u8> {
    let pixels = rgb.as_chunks::<3>().0.iter().zip(alpha);
    let divided = |level: u8, alpha: u8| match alpha {
        _ if !premultiplied => level,
        0 => 0,
        alpha => ((u32::from(level) * 255 + u32::from(alpha) / 2) / u32::from(alpha)).min(255) as u8,
    };
    pixels.flat_map(|([r, g, b], a)| [divided(*r, *a), divided(*g, *a), divided(*b, *a), *a]).collect()
}
