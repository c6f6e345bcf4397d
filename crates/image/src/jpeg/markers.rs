//! Splits a file into its marker segments (T.81, annex B).
//!
//! Like libjpeg as Pillow uses it, this skips bytes between segments, fill bytes and unknown segments.

use super::{DecodeError, corrupt, truncated};

/// The codes of the markers that the decoder knows (T.81, table B.1).
pub(super) const TEM: u8 = 0x01;
pub(super) const DHT: u8 = 0xc4;
pub(super) const JPG: u8 = 0xc8;
pub(super) const DAC: u8 = 0xcc;
pub(super) const RST0: u8 = 0xd0;
pub(super) const RST7: u8 = 0xd7;
pub(super) const SOI: u8 = 0xd8;
pub(super) const EOI: u8 = 0xd9;
pub(super) const SOS: u8 = 0xda;
pub(super) const DQT: u8 = 0xdb;
pub(super) const DRI: u8 = 0xdd;
pub(super) const APP0: u8 = 0xe0;
pub(super) const APP1: u8 = 0xe1;
pub(super) const APP14: u8 = 0xee;

/// Whether the marker opens a frame (SOF0 to SOF15).
pub(super) fn is_frame(code: u8) -> bool {
    (0xc0..=0xcf).contains(&code) && ![DHT, JPG, DAC].contains(&code)
}

/// A marker and its segment.
pub(super) struct Segment<'a> {
    pub marker: u8,
    /// The bytes of the segment behind its length.
    pub body: &'a [u8],
}

/// Reads the segments of a file one after the other.
pub(super) struct SegmentReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> SegmentReader<'a> {
    /// Begins behind the start-of-image marker, with which `bytes` begin.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 2 }
    }

    /// Returns the next segment. The last one is the end-of-image marker; a file without it is truncated.
    pub(super) fn next(&mut self) -> Result<Segment<'a>, DecodeError> {
        loop {
            let marker = self.next_marker()?;
            match marker {
                TEM | RST0..=RST7 => continue,
                SOI | EOI => return Ok(Segment { marker, body: &[] }),
                _ => {}
            }
            let length = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk());
            let length = usize::from(u16::from_be_bytes(*length.ok_or_else(truncated)?));
            if length < 2 {
                return Err(corrupt(format!("a segment of type {marker:02x} with a length of {length}")));
            }
            let body = self.bytes.get(self.at + 2..self.at + length).ok_or_else(truncated)?;
            self.at += length;
            return Ok(Segment { marker, body });
        }
    }

    /// Moves behind the next marker and returns its code.
    fn next_marker(&mut self) -> Result<u8, DecodeError> {
        let mut seen_ff = false;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                0xff => seen_ff = true,
                0 => seen_ff = false,
                code if seen_ff => return Ok(code),
                _ => {}
            }
        }
        Err(truncated())
    }

    /// Reads the entropy-coded data behind a scan header, up to the next marker that is not a restart marker or to the
    /// end of the file.
    pub(super) fn read_entropy_data(&mut self, data: &mut EntropyData) {
        data.bytes.clear();
        data.bytes.reserve(self.bytes.len() - self.at);
        data.restarts.clear();
        data.cut = false;
        loop {
            let rest = &self.bytes[self.at..];
            let clear = copy_to_ff(rest, &mut data.bytes);
            self.at += clear;
            match rest.get(clear + 1) {
                Some(0) => {
                    data.bytes.push(0xff);
                    self.at += 2;
                }
                Some(code @ RST0..=RST7) => {
                    data.restarts.push(Restart { at: data.bytes.len(), number: code - RST0 });
                    self.at += 2;
                }
                // The byte is a fill byte.
                Some(0xff) => self.at += 1,
                Some(_) => return,
                // The file ends with 0xff, the first half of a marker.
                None => {
                    data.cut = true;
                    self.at = self.bytes.len();
                    return;
                }
            }
        }
    }
}

/// The entropy-coded data of one scan.
#[derive(Default)]
pub(super) struct EntropyData {
    /// The bytes without byte stuffing and restart markers.
    pub bytes: Vec<u8>,
    pub restarts: Vec<Restart>,
    /// Whether the data stop because the file ends.
    pub cut: bool,
}

/// A restart marker.
#[derive(Clone, Copy)]
pub(super) struct Restart {
    /// The index in [`EntropyData::bytes`] of the first byte behind the marker.
    pub at: usize,
    /// The number of the marker, 0 to 7.
    pub number: u8,
}

/// Appends to `out` the bytes before the first 0xff, or all of them, and returns their number. It copies whole words
/// and truncates the surplus, since 0xff is rare in JPEG data, but not very rare.
fn copy_to_ff(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        out.extend_from_slice(word);
        // This sets the upper bit of bytes that are 0xff, and perhaps of some bytes after the first of them.
        let inverse = !u64::from_le_bytes(*word);
        let found = inverse.wrapping_sub(ONES) & !inverse & (ONES << 7);
        if found != 0 {
            let clear = (found.trailing_zeros() / 8) as usize;
            out.truncate(out.len() - (8 - clear));
            return i * 8 + clear;
        }
    }
    let clear = rest.iter().position(|b| *b == 0xff).unwrap_or(rest.len());
    out.extend_from_slice(&rest[..clear]);
    words.len() * 8 + clear
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_copied_up_to_the_first_ff() {
        for length in 0..40 {
            for at in 0..=length {
                let mut bytes: Vec<u8> =
                    (0..length as u8).map(|i| [0, 1, 0x7f, 0x80, 0xfe][usize::from(i) % 5]).collect();
                bytes.iter_mut().skip(at).step_by(3).for_each(|byte| *byte = 0xff);
                let mut out = vec![7];
                assert_eq!(copy_to_ff(&bytes, &mut out), at, "{bytes:?}");
                assert_eq!((out[0], &out[1..]), (7, &bytes[..at]), "{bytes:?}");
            }
        }
    }
}
