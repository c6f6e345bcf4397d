//! Decodes bitmaps of Windows and OS/2 (BMP), in files of their own and in icons, as Pillow's `BmpImagePlugin` does: 1,
//! 4, 8, 16, 24 and 32 bits per pixel, run-length codes, and masks for the colours.
//!
//! The fourth byte of a 32-bit pixel is its opacity only where a mask says so. Rows are stored from the bottom up, or
//! from the top down where the height is negative. The last row may lack its padding.

use super::RgbImage;
use super::decode::{DecodeError, check_size, format_errors, to_rgb};
use super::options::{DecodeOptions, Truncated};
use image::ColorType;

/// The length of the file header, before the bitmap header.
const FILE_HEADER: usize = 14;
/// The length of the BITMAPCOREHEADER of OS/2 1.x.
const CORE: usize = 12;

/// Values of the field Compression.
const RAW: u32 = 0;
const RLE8: u32 = 1;
const RLE4: u32 = 2;
const BITFIELDS: u32 = 3;

/// The header of a bitmap, and the bytes around it.
pub(crate) struct Bitmap<'a> {
    bytes: &'a [u8],
    pub width: usize,
    /// In an icon, the height of the colours and of the mask together.
    pub height: usize,
    top_down: bool,
    pub bits: usize,
    compression: u32,
    palette: Vec<[u8; 3]>,
    /// The masks of red, green, blue and opacity.
    masks: [u32; 4],
    /// The position of the pixels in `bytes`.
    pub start: usize,
}

/// Decodes a file.
pub(crate) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, DecodeError> {
    let bitmap = Bitmap::read(bytes, FILE_HEADER, Some(u32_at(bytes, 10)? as usize))?;
    let (width, height) = (bitmap.width, bitmap.height);
    check_size(width as u64, height as u64, options.max_pixels)?;
    let (colour, samples) = bitmap.samples(height, options.truncated == Truncated::Pad)?;
    Ok(RgbImage { width, height, data: to_rgb(colour, samples, options.background)? })
}

/// Returns width and height of a file.
pub(crate) fn dimensions(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let bitmap = Bitmap::read(bytes, FILE_HEADER, None)?;
    Ok((bitmap.width, bitmap.height))
}

impl<'a> Bitmap<'a> {
    /// Reads the header at `at`. A file says in `start` where the pixels begin; where that is 0, and in an icon, they
    /// follow the palette.
    pub(crate) fn read(bytes: &'a [u8], at: usize, start: Option<usize>) -> Result<Self, DecodeError> {
        let size = u32_at(bytes, at)? as usize;
        let mut next = at.saturating_add(size);
        if bytes.get(at..next).is_none() {
            return Err(truncated());
        }
        let is_core = size == CORE;
        if !is_core && ![40, 52, 56, 64, 108, 124].contains(&size) {
            return Err(unsupported(format!("a header of {size} bytes")));
        }
        let (width, height, bits) = match is_core {
            true => (u32::from(u16_at(bytes, at + 4)?), u32::from(u16_at(bytes, at + 6)?), u16_at(bytes, at + 10)?),
            false => (u32_at(bytes, at + 4)?, u32_at(bytes, at + 8)?, u16_at(bytes, at + 14)?),
        };
        let top_down = !is_core && height >> 24 == 0xff;
        let height = if top_down { height.wrapping_neg() } else { height };
        if width == 0 || height == 0 {
            return Err(corrupt(format!("the picture has {width}x{height} pixels")));
        }
        let compression = if is_core { RAW } else { u32_at(bytes, at + 16)? };
        let mut masks = match bits {
            16 => [0x7c00, 0x3e0, 0x1f, 0],
            _ => [0xff_0000, 0xff00, 0xff, 0],
        };
        if compression == BITFIELDS {
            // The masks are part of a long header and follow a short one.
            let place = if size >= 52 { at + 40 } else { next };
            next = next.max(place + 12);
            for (number, mask) in masks.iter_mut().enumerate() {
                *mask = if number < 3 || size >= 56 { u32_at(bytes, place + 4 * number)? } else { 0 };
            }
            if bits == 32 && masks == [0; 4] {
                masks = [0xff_0000, 0xff00, 0xff, 0xff00_0000];
            }
            masks[3] &= if bits == 32 { u32::MAX } else { 0 };
        }
        let entry_size = if is_core { 3 } else { 4 };
        let count = if is_core { 0 } else { u32_at(bytes, at + 32)? as usize };
        let colours = match count {
            0 => 1 << bits.min(16),
            count => count.min(1 << 16),
        };
        let mut palette = Vec::new();
        if bits <= 8 {
            let end = next.saturating_add(colours * entry_size).min(bytes.len());
            let entries = bytes.get(next..end).unwrap_or_default().chunks_exact(entry_size).take(256);
            palette.extend(entries.map(|entry| [entry[2], entry[1], entry[0]]));
            next = next.saturating_add(colours * entry_size);
        }
        let start = match start {
            None | Some(0) => next,
            // Some files say that their pixels begin where the palette does.
            Some(start) if start == at + size && bits <= 8 => next,
            Some(start) => start,
        };
        let (width, height, bits) = (width as usize, height as usize, usize::from(bits));
        Ok(Self { bytes, width, height, top_down, bits, compression, palette, masks, start })
    }

    /// Returns the pixels of `height` rows from the top down: RGB, or RGBA where there is a mask of the opacity.
    pub(crate) fn samples(&self, height: usize, pad: bool) -> Result<(ColorType, Vec<u8>), DecodeError> {
        match (self.compression, self.bits) {
            (RAW, 1 | 4 | 8) => self.indexed(&self.rows(height, pad)?, height),
            (RLE8 | RLE4, 1 | 4 | 8) => Ok((ColorType::Rgb8, self.run_length(height)?)),
            (RAW | BITFIELDS, 16 | 24 | 32) => self.with_masks(&self.rows(height, pad)?, height),
            (RAW..=BITFIELDS, bits) => {
                Err(unsupported(format!("{bits} bits a pixel in compression {}", self.compression)))
            }
            (compression, _) => Err(unsupported(format!("the compression {compression}"))),
        }
    }

    /// The length of a row in bytes, with its padding.
    fn stride(&self) -> usize {
        (self.width * self.bits).div_ceil(32) * 4
    }

    /// Returns the rows in the order of the file, without padding. With `pad`, missing rows are left out.
    fn rows(&self, height: usize, pad: bool) -> Result<Vec<&'a [u8]>, DecodeError> {
        let (stride, used) = (self.stride(), (self.width * self.bits).div_ceil(8));
        let data = self.bytes.get(self.start..).unwrap_or_default();
        let rows: Vec<&[u8]> = (0..height).map_while(|y| data.get(y * stride..y * stride + used)).collect();
        match rows.len() == height || pad && !rows.is_empty() {
            true => Ok(rows),
            false => Err(truncated()),
        }
    }

    /// Returns the row of the picture that is stored as row `number` of the file.
    fn output_row(&self, number: usize, height: usize) -> usize {
        if self.top_down { number } else { height - 1 - number }
    }

    fn colour(&self, index: u8) -> [u8; 3] {
        self.palette.get(usize::from(index)).copied().unwrap_or_default()
    }

    fn indexed(&self, rows: &[&[u8]], height: usize) -> Result<(ColorType, Vec<u8>), DecodeError> {
        let mut out = vec![0; self.width * height * 3];
        let in_byte = 8 / self.bits;
        for (number, row) in rows.iter().enumerate() {
            let start = self.output_row(number, height) * self.width * 3;
            let pixels = out[start..start + self.width * 3].as_chunks_mut().0;
            for (x, pixel) in pixels.iter_mut().enumerate() {
                let index = row[x / in_byte] >> (8 - self.bits - x % in_byte * self.bits);
                *pixel = self.colour(index & (0xff >> (8 - self.bits)));
            }
        }
        Ok((ColorType::Rgb8, out))
    }

    /// Decodes pixels whose channels are given by masks.
    fn with_masks(&self, rows: &[&[u8]], height: usize) -> Result<(ColorType, Vec<u8>), DecodeError> {
        let masks = self.masks.map(ChannelMask::new);
        if masks.iter().any(|mask| !mask.is_contiguous()) {
            return Err(unsupported("colours of bits that do not follow one another"));
        }
        let (wide, channels) = (self.bits / 8, if self.masks[3] == 0 { 3 } else { 4 });
        let mut out = vec![0; self.width * height * channels];
        for (number, row) in rows.iter().enumerate() {
            let start = self.output_row(number, height) * self.width * channels;
            let pixels = out[start..start + self.width * channels].chunks_exact_mut(channels);
            for (pixel, bytes) in pixels.zip(row.chunks_exact(wide)) {
                let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
                pixel.iter_mut().zip(&masks).for_each(|(level, mask)| *level = mask.of(value));
            }
        }
        Ok((if channels == 4 { ColorType::Rgba8 } else { ColorType::Rgb8 }, out))
    }

    /// Decodes run-length codes: runs of one index, sequences of several indices, and jumps. Pixels that a jump skips
    /// have the index 0.
    fn run_length(&self, height: usize) -> Result<Vec<u8>, DecodeError> {
        let (width, four) = (self.width, self.compression == RLE4);
        let total = width * height;
        let mut indices: Vec<u8> = Vec::new();
        let (mut at, mut x) = (self.start, 0);
        while indices.len() < total {
            let Some(&[count, value]) = self.bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
                return Err(truncated());
            };
            at += 2;
            match (usize::from(count), value) {
                (0, 0) => {
                    indices.resize(indices.len().next_multiple_of(width), 0);
                    x = 0;
                }
                (0, 1) => break,
                (0, 2) => {
                    let Some(&[right, up]) = self.bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
                        return Err(truncated());
                    };
                    at += 2;
                    indices.resize((indices.len() + usize::from(right) + usize::from(up) * width).min(total), 0);
                    x = indices.len() % width;
                }
                (0, count) => {
                    let wanted = usize::from(count).min(total - indices.len());
                    let length = if four { wanted.div_ceil(2) } else { wanted };
                    let piece = self.bytes.get(at..at + length).ok_or_else(truncated)?;
                    match four {
                        true => indices.extend(piece.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(wanted)),
                        false => indices.extend_from_slice(piece),
                    }
                    // Sequences are padded to an even length.
                    at = (at + length).next_multiple_of(2);
                    x += usize::from(count);
                }
                (count, value) => {
                    // A run ends at the latest at the end of its row.
                    let count = count.min(width.saturating_sub(x));
                    let pair = if four { [value >> 4, value & 15] } else { [value; 2] };
                    indices.extend((0..count).map(|i| pair[i % 2]));
                    x += count;
                }
            }
        }
        indices.resize(total, 0);
        let lines = (0..height).map(|y| self.output_row(y, height));
        Ok(lines.flat_map(|y| &indices[y * width..(y + 1) * width]).flat_map(|index| self.colour(*index)).collect())
    }
}

/// The mask of one channel in a pixel.
#[derive(Clone, Copy)]
struct ChannelMask {
    mask: u32,
    shift: u32,
    largest: u32,
}

impl ChannelMask {
    fn new(mask: u32) -> Self {
        let shift = mask.trailing_zeros() % 32;
        Self { mask, shift, largest: mask >> shift }
    }

    /// Whether the bits of the mask are consecutive.
    fn is_contiguous(self) -> bool {
        self.largest & self.largest.wrapping_add(1) == 0
    }

    /// Returns the channel of a pixel as a level from 0 to 255.
    #[inline(always)]
    fn of(self, pixel: u32) -> u8 {
        let value = u64::from((pixel & self.mask) >> self.shift);
        (value * 255 / u64::from(self.largest.max(1))) as u8
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, DecodeError> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    Ok(u16::from_le_bytes(*field.ok_or_else(truncated)?))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, DecodeError> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    Ok(u32::from_le_bytes(*field.ok_or_else(truncated)?))
}

format_errors! {
    corrupt: "the bitmap is corrupt: {}",
    unsupported: "a bitmap with {} is not supported; convert it to PNG",
    truncated: "the file ends early (bitmap)",
}
