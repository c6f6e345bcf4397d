//! Decodes the first page of a TIFF (TIFF 6.0; BigTIFF; the later compressions of libtiff) to Pillow's pixels.
//!
//! The decoder reads strips and tiles, interleaved and planar samples, both byte orders and both bit orders: grey,
//! palettes and RGB with or without opacity, CMYK, and YCbCr that is JPEG or has its full resolution. It keeps the
//! upper 8 of 16 bits. `layout.rs` reads the tags, `unpack.rs` decompresses strips and tiles, and `fax.rs` decodes
//! those with fax compression.
//!
//! It does not read floating-point, signed, 12- and 32-bit samples, which have no fixed range; CIELab; YCbCr of less
//! resolution that is not JPEG; and the compressions old-style JPEG (6), LZMA, SGI and ThunderScan.

mod fax;
mod layout;
mod unpack;

use super::decode::{DecodeError, check_size, format_errors, to_rgb};
use super::options::{DecodeOptions, Truncated};
use super::{RgbImage, ifd::Directory, jpeg::cmyk_to_rgb};
use image::ColorType;
use layout::{Alpha, PageLayout, Photometric};

/// The bytes of strips and tables that are read in addition to eight times the length of the file.
const MAX_READ: usize = 64 << 20;

/// Decodes the first page without applying its orientation.
pub(crate) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, DecodeError> {
    let directory = Directory::first(bytes).ok_or_else(truncated)?;
    let layout = PageLayout::read(&directory, options.max_pixels)?;
    let pad = options.truncated == Truncated::Pad;
    let samples = decode_samples(bytes, &layout, options.max_pixels, pad)?;
    let (colour, samples) = to_colour_type(samples, &layout);
    let data = to_rgb(colour, samples, options.background)?;
    Ok(RgbImage { width: layout.width, height: layout.height, data })
}

/// Returns width and height of the first page without applying its orientation.
pub(crate) fn dimensions(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let directory = Directory::first(bytes).ok_or_else(truncated)?;
    let [width, height] = layout::size(&directory)?;
    Ok((width, height))
}

/// Decodes the samples that make the picture, pixel by pixel: indices of a palette as they are, other samples as levels
/// from 0 to 255.
fn decode_samples(bytes: &[u8], layout: &PageLayout, max_pixels: u64, pad: bool) -> Result<Vec<u8>, DecodeError> {
    let kept_samples = layout.kept_samples();
    let mut levels = vec![0; layout.width * layout.height * kept_samples];
    // Strips that share their bytes would make a small file cost as much as a large one, so this counts the bytes.
    let mut read = 0;
    for part in layout.strips_and_tiles() {
        let data = layout.data(bytes, part.number)?;
        read += data.len() + layout.jpeg_tables.map_or(0, <[u8]>::len);
        if layout.compression != layout::NONE && read > bytes.len().saturating_mul(8).saturating_add(MAX_READ) {
            return Err(corrupt("strips that share their bytes"));
        }
        let (samples, whole) = match unpack::decode(data, layout, &part, max_pixels) {
            Ok(samples) => (samples, Ok(())),
            Err(unpack::Incomplete { samples, error }) if pad && !samples.is_empty() => (samples, Err(error)),
            Err(unpack::Incomplete { error, .. }) => return Err(error),
        };
        let (planes, first) = if layout.planar { (1, part.plane) } else { (layout.samples, 0) };
        let used = planes.min(kept_samples);
        for (y, row) in samples.chunks(part.width * planes).take(layout.height - part.top).enumerate() {
            let start = ((part.top + y) * layout.width + part.left) * kept_samples;
            let pixels = levels[start..].chunks_exact_mut(kept_samples).take(layout.width - part.left);
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

/// Converts the samples to a colour type that `to_rgb` blends with a background.
fn to_colour_type(mut levels: Vec<u8>, layout: &PageLayout) -> (ColorType, Vec<u8>) {
    let (colours, kept_samples) = (layout.colours.count(), layout.kept_samples());
    let has_alpha = layout.alpha != Alpha::None;
    if layout.alpha == Alpha::Premultiplied {
        for pixel in levels.chunks_exact_mut(kept_samples) {
            let (colour, alpha) = pixel.split_at_mut(colours);
            colour.iter_mut().for_each(|level| *level = unpremultiplied(*level, alpha[0]));
        }
    }
    let rgb = |levels: &[u8], colour: &dyn Fn(&[u8]) -> [u8; 3]| -> Vec<u8> {
        let pixels = levels.chunks_exact(kept_samples);
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
        Photometric::Grey { inverted } => {
            let (grey, with_alpha) = (ColorType::L8, ColorType::La8);
            if *inverted {
                levels.chunks_exact_mut(kept_samples).for_each(|pixel| pixel[0] = 255 - pixel[0]);
            }
            return (if has_alpha { with_alpha } else { grey }, levels);
        }
        Photometric::Rgb => levels,
        Photometric::Palette(palette) => rgb(&levels, &|p| palette.get(usize::from(p[0])).copied().unwrap_or_default()),
        Photometric::Cmyk => rgb(&levels, &|p| cmyk_to_rgb([p[0], p[1], p[2]], p[3])),
        Photometric::YCbCr if layout.compression == layout::NONE => rgb(&levels, &|p| ycbcr_to_rgb([p[0], p[1], p[2]])),
        Photometric::YCbCr => rgb(&levels, &|p| compressed_ycbcr_to_rgb([p[0], p[1], p[2]])),
    };
    (if has_alpha { ColorType::Rgba8 } else { ColorType::Rgb8 }, samples)
}

/// Divides a level by the opacity that it was multiplied by, as Pillow converts `RGBa` to `RGBA`.
fn unpremultiplied(level: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        alpha => (u32::from(level) * 255 / u32::from(alpha)).min(255) as u8,
    }
}

/// Converts uncompressed YCbCr to RGB with six fraction bits, as Pillow's `convert('RGB')`. Six entries of Pillow's
/// tables are rounded by hand, so a result may differ by one level.
fn ycbcr_to_rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let [b, r] = [cb, cr].map(|level| f32::from(level) - 128.0);
    let part = |factor: f32, chroma: f32| (factor * 64.0 * chroma) as i32;
    let sums = [part(1.402, r), part(-0.344_14, b) + part(-0.714_14, r), part(1.772, b)];
    sums.map(|sum| (i32::from(y) + (sum >> 6)).clamp(0, 255) as u8)
}

/// Converts compressed YCbCr to RGB with sixteen fraction bits, as libtiff does.
fn compressed_ycbcr_to_rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let [b, r] = [cb, cr].map(|level| i32::from(level) - 128);
    let sums = [91_881 * r + HALF, -22_553 * b - 46_802 * r + HALF, 116_130 * b + HALF];
    sums.map(|sum| (i32::from(y) + (sum >> 16)).clamp(0, 255) as u8)
}

format_errors! {
    corrupt: "the TIFF is corrupt: {}",
    unsupported: "TIFF with {} is not supported; convert it to 8-bit RGB or PNG",
    truncated: "the file ends early (TIFF)",
}
