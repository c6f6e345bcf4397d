//! Decodes Windows icons (ICO): the largest picture in the file, which is a PNG or a bitmap with a mask, as Pillow's
//! `IcoImagePlugin` does.

use super::RgbImage;
use super::bmp::Bitmap;
use super::decode::{DecodeError, DecodeErrorKind, check_size, to_rgb};
use super::options::{DecodeOptions, Truncated};
use image::ColorType;
use std::cmp::Reverse;

/// One picture of an icon.
pub(crate) struct IconEntry<'a> {
    /// The bytes of the file from the beginning of the picture.
    pub data: &'a [u8],
    /// The length of the picture in bytes, from the icon's directory.
    length: usize,
    /// Bits per pixel, from the icon's directory.
    bits: u16,
}

/// Returns the entries of the directory, 16 bytes each, and the number of entries in its header; a file that ends early
/// has fewer entries than that.
fn directory(bytes: &[u8]) -> Option<(&[[u8; 16]], usize)> {
    let count = usize::from(u16::from_le_bytes(*bytes.get(4..)?.first_chunk()?));
    let entries = bytes.get(6..)?.as_chunks::<16>().0;
    Some((&entries[..count.min(entries.len())], count))
}

/// Returns length and position of the picture of an entry.
fn extent(entry: &[u8; 16]) -> [usize; 2] {
    [8, 12].map(|at| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]) as usize)
}

/// Whether the directory, or a picture in it, reaches beyond the end of the file.
pub(crate) fn ends_early(bytes: &[u8]) -> bool {
    directory(bytes).is_none_or(|(entries, count)| {
        let beyond = |entry| extent(entry).into_iter().fold(0, usize::saturating_add) > bytes.len();
        entries.len() < count || entries.iter().any(beyond)
    })
}

/// Returns the largest picture and, of several of that size, the one with the fewest colours, as Pillow does.
pub(crate) fn largest(bytes: &[u8]) -> Option<IconEntry<'_>> {
    let (entries, _) = directory(bytes)?;
    let side = |byte: u8| if byte == 0 { 256 } else { u32::from(byte) };
    let depth = |e: &[u8; 16]| match (u16::from_le_bytes([e[6], e[7]]), e[2]) {
        (0, 0 | 1) => 256,
        (0, colours) => 8 - (colours - 1).leading_zeros() as u16,
        (bits, _) => bits,
    };
    let entry = entries.iter().min_by_key(|e| (Reverse(side(e[0]) * side(e[1])), depth(e)))?;
    let [length, start] = extent(entry);
    Some(IconEntry { data: bytes.get(start..)?, length, bits: u16::from_le_bytes([entry[6], entry[7]]) })
}

impl IconEntry<'_> {
    pub(crate) fn is_png(&self) -> bool {
        self.data.starts_with(b"\x89PNG\r\n\x1a\n")
    }

    /// Returns width and height of a bitmap.
    pub(crate) fn dimensions(&self) -> Result<(usize, usize), DecodeError> {
        let bitmap = Bitmap::read(self.data, 0, None)?;
        Ok((bitmap.width, bitmap.height / 2))
    }

    /// Decodes a bitmap. A mask below the colours gives the transparent pixels; where the directory says 32 bits, every
    /// fourth byte is the opacity instead.
    pub(crate) fn decode(&self, options: &DecodeOptions) -> Result<RgbImage, DecodeError> {
        let bitmap = Bitmap::read(self.data, 0, None)?;
        let (width, height) = (bitmap.width, bitmap.height / 2);
        check_size(width as u64, height as u64, options.max_pixels)?;
        if height == 0 {
            return Err(DecodeError::new(DecodeErrorKind::Corrupt, format!("the picture has {width}x{height} pixels")));
        }
        let (colour, samples) = bitmap.samples(height, options.truncated == Truncated::Pad)?;
        let channels = usize::from(colour.channel_count());
        let alpha = if self.bits == 32 { self.alpha_bytes(&bitmap, height) } else { self.mask_opacity(width, height) };
        let alpha = alpha
            .ok_or_else(|| DecodeError::new(DecodeErrorKind::Truncated, "the file ends early (the mask of an icon)"))?;
        let pixels = samples.chunks_exact(channels).zip(alpha);
        let samples = pixels.flat_map(|(pixel, alpha)| [pixel[0], pixel[1], pixel[2], alpha]).collect();
        Ok(RgbImage { width, height, data: to_rgb(ColorType::Rgba8, samples, options.background)? })
    }

    /// Returns every fourth byte of the pixels, whose rows are stored from the bottom up.
    fn alpha_bytes(&self, bitmap: &Bitmap, height: usize) -> Option<Vec<u8>> {
        let data = self.data.get(bitmap.start..)?.get(..bitmap.width * height * 4)?;
        let rows = data.chunks_exact(bitmap.width * 4).rev();
        Some(rows.flat_map(|row| row.iter().skip(3).step_by(4).copied()).collect())
    }

    /// Returns the opacity from the mask at the end of the picture: one bit per pixel, where 0 is opaque. Its rows are
    /// stored from the bottom up and padded to 32 bits.
    fn mask_opacity(&self, width: usize, height: usize) -> Option<Vec<u8>> {
        let stride = width.div_ceil(32) * 4;
        let start = self.length.checked_sub(stride * height)?;
        let rows = self.data.get(start..)?.get(..stride * height)?.chunks_exact(stride).rev();
        let opacity = |row: &[u8], x: usize| if row[x / 8] >> (7 - x % 8) & 1 == 0 { 255 } else { 0 };
        Some(rows.flat_map(|row| (0..width).map(move |x| opacity(row, x))).collect())
    }
}
