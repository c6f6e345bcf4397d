//! TIFF: the first page (TIFF 6.0; BigTIFF; libtiff's later compressions), with Pillow's pixels.
//!
//! Read are strips and tiles, interleaved and in planes, of both byte orders and orders of bits: grey, palettes and RGB with or without opacity,
//! CMYK, and YCbCr that is plain or JPEG. Of 16 bits 8 are kept. `layout.rs` says from the tags how the samples lie, `unpack.rs` takes strips
//! and tiles apart, `fax.rs` those of fax machines.
//!
//! Not read: floating-point, signed, 12- and 32-bit samples, which have no fixed range; CIELab; YCbCr of less resolution that is no JPEG;
//! JPEG of the sixth compression, LZMA, SGI's and ThunderScan's.

mod fax;
mod layout;
mod unpack;

use super::decode::{DecodeError, DecodeErrorKind, check_size, to_rgb};
use super::options::{DecodeOptions, Truncated};
use super::{RgbImage, ifd::Directory};
use image::ColorType;
use layout::{Alpha, Colours, Layout};

/// Bytes of strips and tables that are read, beside eight times the length of the file.
const MAX_READ: usize = 64 << 20;

/// Decodes the first page, not turned.
pub(crate) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, DecodeError> {
    let directory = Directory::first(bytes).ok_or_else(truncated)?;
    let layout = Layout::read(&directory, options.max_pixels)?;
    let pad = options.truncated == Truncated::Pad;
    let levels = levels(bytes, &layout, options.max_pixels, pad)?;
    let (colour, samples) = coloured(levels, &layout);
    let data = to_rgb(colour, samples, options.background)?;
    Ok(RgbImage { width: layout.width, height: layout.height, data })
}

/// Width and height of the first page, not turned.
pub(crate) fn dimensions(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let directory = Directory::first(bytes).ok_or_else(truncated)?;
    let [width, height] = layout::size(&directory)?;
    Ok((width, height))
}

/// The samples that make the picture, pixel by pixel, a byte each: indices of a palette as they are, others from 0 to 255.
fn levels(bytes: &[u8], layout: &Layout, max_pixels: u64, pad: bool) -> Result<Vec<u8>, DecodeError> {
    let kept = layout.kept();
    let mut levels = vec![0; layout.width * layout.height * kept];
    // strips that share their bytes would make a small file cost as much as a large one
    let mut read = 0;
    for chunk in layout.chunks() {
        let data = layout.data(bytes, chunk.number)?;
        read += data.len() + layout.jpeg_tables.map_or(0, <[u8]>::len);
        if layout.compression != layout::NONE && read > bytes.len().saturating_mul(8).saturating_add(MAX_READ) {
            return Err(corrupt("strips that share their bytes"));
        }
        let (samples, whole) = match unpack::chunk(data, layout, &chunk, max_pixels) {
            Ok(samples) => (samples, Ok(())),
            Err(unpack::Cut { samples, error }) if pad && !samples.is_empty() => (samples, Err(error)),
            Err(unpack::Cut { error, .. }) => return Err(error),
        };
        let (planes, first) = if layout.planar { (1, chunk.plane) } else { (layout.samples, 0) };
        let used = planes.min(kept);
        for (y, row) in samples.chunks(chunk.width * planes).take(layout.height - chunk.top).enumerate() {
            let start = ((chunk.top + y) * layout.width + chunk.left) * kept;
            let pixels = levels[start..].chunks_exact_mut(kept).take(layout.width - chunk.left);
            for (pixel, samples) in pixels.zip(row.chunks_exact(planes)) {
                pixel[first..first + used].copy_from_slice(&samples[..used]);
            }
        }
        if whole.is_err() {
            break;
        }
    }
    Ok(levels)
}

/// The pixels in one of the kinds that are put on a background.
fn coloured(mut levels: Vec<u8>, layout: &Layout) -> (ColorType, Vec<u8>) {
    let (colours, kept) = (layout.colours.count(), layout.kept());
    let has_alpha = layout.alpha != Alpha::None;
    if layout.alpha == Alpha::Premultiplied {
        for pixel in levels.chunks_exact_mut(kept) {
            let (colour, alpha) = pixel.split_at_mut(colours);
            colour.iter_mut().for_each(|level| *level = divided(*level, alpha[0]));
        }
    }
    let rgb = |levels: &[u8], colour: &dyn Fn(&[u8]) -> [u8; 3]| -> Vec<u8> {
        let pixels = levels.chunks_exact(kept);
        match has_alpha {
            true => pixels
                .flat_map(|p| {
                    let [r, g, b] = colour(p);
                    [r, g, b, p[colours]]
                })
                .collect(),
            false => pixels.flat_map(colour).collect(),
        }
    };
    let samples = match &layout.colours {
        Colours::Grey { inverted } => {
            let (grey, with_alpha) = (ColorType::L8, ColorType::La8);
            if *inverted {
                levels.chunks_exact_mut(kept).for_each(|pixel| pixel[0] = 255 - pixel[0]);
            }
            return (if has_alpha { with_alpha } else { grey }, levels);
        }
        Colours::Rgb => levels,
        Colours::Palette(palette) => rgb(&levels, &|p| palette.get(usize::from(p[0])).copied().unwrap_or_default()),
        Colours::Cmyk => rgb(&levels, &|p| inks([p[0], p[1], p[2]], p[3])),
        Colours::YCbCr if layout.compression == layout::NONE => rgb(&levels, &|p| ycc([p[0], p[1], p[2]])),
        Colours::YCbCr => rgb(&levels, &|p| unpacked_ycc([p[0], p[1], p[2]])),
    };
    (if has_alpha { ColorType::Rgba8 } else { ColorType::Rgb8 }, samples)
}

/// A level that has been multiplied by an opacity, without it, as Pillow's `RGBa` becomes `RGBA`.
fn divided(level: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        alpha => (u32::from(level) * 255 / u32::from(alpha)).min(255) as u8,
    }
}

/// Inks (255 = full) to RGB, as Pillow's `convert('RGB')`: of the light that black leaves, less the part which each ink takes away.
fn inks(inks: [u8; 3], black: u8) -> [u8; 3] {
    let light = 255 - i32::from(black);
    inks.map(|ink| {
        let product = i32::from(ink) * light + 128;
        (light - (((product >> 8) + product) >> 8)).clamp(0, 255) as u8
    })
}

/// Luma and chroma that are not compressed to RGB, with six bits behind the point, as Pillow's `convert('RGB')`; of its tables, six entries
/// are rounded by hand and may give the next level.
fn ycc([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let [b, r] = [cb, cr].map(|level| f32::from(level) - 128.0);
    let part = |factor: f32, chroma: f32| (factor * 64.0 * chroma) as i32;
    let sums = [part(1.402, r), part(-0.344_14, b) + part(-0.714_14, r), part(1.772, b)];
    sums.map(|sum| (i32::from(y) + (sum >> 6)).clamp(0, 255) as u8)
}

/// Luma and chroma that were compressed to RGB, with sixteen bits behind the point, as libtiff.
fn unpacked_ycc([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let [b, r] = [cb, cr].map(|level| i32::from(level) - 128);
    let sums = [91_881 * r + HALF, -22_553 * b - 46_802 * r + HALF, 116_130 * b + HALF];
    sums.map(|sum| (i32::from(y) + (sum >> 16)).clamp(0, 255) as u8)
}

fn corrupt(detail: impl AsRef<str>) -> DecodeError {
    DecodeError::new(DecodeErrorKind::Corrupt, format!("the TIFF is corrupt: {}", detail.as_ref()))
}

fn unsupported(what: impl AsRef<str>) -> DecodeError {
    let detail = format!("TIFF with {} is not supported; convert it to 8-bit RGB or PNG", what.as_ref());
    DecodeError::new(DecodeErrorKind::Unsupported, detail)
}

fn truncated() -> DecodeError {
    DecodeError::new(DecodeErrorKind::Truncated, "the file ends early (TIFF)")
}
