//! Decodes Netpbm's PBM, PGM and PPM files as Pillow does: bits, greys and RGB, as decimal numbers (P1 to P3) or as
//! bytes (P4 to P6).
//!
//! A level is scaled by the largest one to 0 to 255 and rounded. Greys with a largest level above 255 are scaled to 16
//! bits, of which the upper eight are kept.

use super::RgbImage;
use super::decode::{DecodeError, check_size, format_errors};
use super::options::{DecodeOptions, Truncated};

/// The number of digits that a number may have.
const MAX_DIGITS: usize = 10;

/// The header of a file.
struct Header<'a> {
    /// The second letter of the file, '1' to '6'.
    kind: u8,
    width: usize,
    height: usize,
    /// The largest level.
    largest: u32,
    /// The bytes after the header.
    data: &'a [u8],
}

/// Whether a file begins like PBM, PGM or PPM.
pub(crate) fn is_pnm(bytes: &[u8]) -> bool {
    matches!(bytes, [b'P', b'1'..=b'6', space, ..] if space.is_ascii_whitespace() || *space == b'#')
}

/// Decodes a file.
pub(crate) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, DecodeError> {
    let header = Header::read(bytes)?;
    let (width, height) = (header.width, header.height);
    check_size(width as u64, height as u64, options.max_pixels)?;
    let channels = if matches!(header.kind, b'3' | b'6') { 3 } else { 1 };
    let count = width * height * channels;
    let mut levels = match header.kind {
        b'1' => header.digits_of_bits(count)?,
        b'4' => header.bits(),
        b'2' | b'3' => header.numbers(count, channels)?,
        _ => header.samples(count, channels),
    };
    if levels.len() < count {
        if options.truncated == Truncated::Fail || levels.is_empty() {
            return Err(truncated());
        }
        levels.resize(count, 0);
    }
    let data = if channels == 3 { levels } else { levels.iter().flat_map(|level| [*level; 3]).collect() };
    Ok(RgbImage { width, height, data })
}

/// Returns width and height of a file.
pub(crate) fn dimensions(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let header = Header::read(bytes)?;
    Ok((header.width, header.height))
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let kind = *bytes.get(1).ok_or_else(truncated)?;
        let mut data = &bytes[2..];
        let (width, height) = (number(&mut data)? as usize, number(&mut data)? as usize);
        let largest = if matches!(kind, b'1' | b'4') { 1 } else { number(&mut data)? };
        if width == 0 || height == 0 {
            return Err(corrupt(format!("the picture has {width}x{height} pixels")));
        }
        if !(1..=0xffff).contains(&largest) {
            return Err(corrupt(format!("a largest level of {largest}")));
        }
        Ok(Self { kind, width, height, largest, data })
    }

    /// Scales a value to a level from 0 to 255.
    fn level(&self, value: u32, channels: usize) -> u8 {
        let share = f64::from(value) / f64::from(self.largest);
        let scaled = |most: f64| (share * most).round_ties_even().min(most);
        match channels == 1 && self.largest > 255 {
            true => (scaled(65535.0) as u32 >> 8) as u8,
            false => scaled(255.0) as u8,
        }
    }

    /// Decodes samples of one byte, or of two where the largest level does not fit into one.
    fn samples(&self, count: usize, channels: usize) -> Vec<u8> {
        let wide = if self.largest > 255 { 2 } else { 1 };
        let samples = self.data.chunks_exact(wide).take(count);
        let values = samples.map(|bytes| bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)));
        values.map(|value| self.level(value, channels)).collect()
    }

    /// Decodes rows of bits, each of which begins at a byte; 1 is black.
    fn bits(&self) -> Vec<u8> {
        let rows = self.data.chunks_exact(self.width.div_ceil(8)).take(self.height);
        let level = |row: &[u8], x: usize| if row[x / 8] >> (7 - x % 8) & 1 == 0 { 255 } else { 0 };
        rows.flat_map(|row| (0..self.width).map(move |x| level(row, x))).collect()
    }

    /// Decodes the digits 0 and 1, with or without space between them; 1 is black.
    fn digits_of_bits(&self, count: usize) -> Result<Vec<u8>, DecodeError> {
        let level = |digit: u8| match digit {
            b'0' => Ok(255),
            b'1' => Ok(0),
            other => Err(corrupt(format!("{:?} where there should be a bit", other as char))),
        };
        let digits = without_comments(self.data).filter(|byte| !is_space(*byte));
        digits.take(count).map(level).collect()
    }

    /// Decodes decimal numbers with space between them.
    fn numbers(&self, count: usize, channels: usize) -> Result<Vec<u8>, DecodeError> {
        let mut levels = Vec::new();
        let (mut value, mut digits) = (0u64, 0);
        for byte in without_comments(self.data).chain([b' ']) {
            match byte {
                b'0'..=b'9' if digits < MAX_DIGITS => {
                    (value, digits) = (value * 10 + u64::from(byte - b'0'), digits + 1)
                }
                byte if is_space(byte) && digits == 0 => {}
                byte if is_space(byte) && value <= u64::from(self.largest) => {
                    levels.push(self.level(value as u32, channels));
                    (value, digits) = (0, 0);
                    if levels.len() == count {
                        break;
                    }
                }
                _ => return Err(corrupt(format!("a level that is none from 0 to {}", self.largest))),
            }
        }
        Ok(levels)
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Returns the bytes that are not in a comment, which goes from a `#` to the end of its line.
fn without_comments(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes
        .iter()
        .copied()
        .scan(false, |inside, byte| {
            let ends = matches!(byte, b'\n' | b'\r');
            let hidden = *inside || byte == b'#';
            *inside = hidden && !ends;
            Some((!hidden).then_some(byte))
        })
        .flatten()
}

/// Reads the next number of the header and the byte behind it.
fn number(data: &mut &[u8]) -> Result<u32, DecodeError> {
    let (mut value, mut digits) = (0u32, 0);
    let mut inside = false;
    while let Some((&byte, rest)) = data.split_first() {
        *data = rest;
        match byte {
            b'\n' | b'\r' if inside => inside = false,
            _ if inside => {}
            b'#' => inside = true,
            b'0'..=b'9' if digits < MAX_DIGITS => {
                value = value.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
                digits += 1;
            }
            byte if is_space(byte) && digits == 0 => {}
            byte if is_space(byte) => return Ok(value),
            _ => return Err(corrupt("a number that is none")),
        }
    }
    Err(truncated())
}

format_errors! {
    corrupt: "the PNM is corrupt: {}",
    truncated: "the file ends early (PNM)",
}
