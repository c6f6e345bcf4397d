//! Reads image file directories: the tags of TIFF files (TIFF 6.0, section 2; BigTIFF) and of EXIF blocks (EXIF 2.32).
//!
//! A tag that cannot be read (of an unknown type, beyond the end of the file, larger than the file) counts as absent.
//! The other tags of the directory keep their meaning.

use std::collections::BTreeMap;

/// The tags of one directory with their undecoded values.
pub(crate) struct Directory<'a> {
    pub big_endian: bool,
    tags: BTreeMap<u16, Field<'a>>,
}

struct Field<'a> {
    /// The number of the field's type, one of the constants below.
    field_type: u64,
    data: &'a [u8],
}

/// The field types of TIFF 6.0 and of BigTIFF.
const BYTE: u64 = 1;
const ASCII: u64 = 2;
const SHORT: u64 = 3;
const LONG: u64 = 4;
const RATIONAL: u64 = 5;
const SIGNED_BYTE: u64 = 6;
const UNDEFINED: u64 = 7;
const SIGNED_SHORT: u64 = 8;
const SIGNED_LONG: u64 = 9;
const SIGNED_RATIONAL: u64 = 10;
const FLOAT: u64 = 11;
const DOUBLE: u64 = 12;
const DIRECTORY: u64 = 13;
const LONG8: u64 = 16;

/// The bytes of one value of a type.
fn width(field_type: u64) -> Option<usize> {
    Some(match field_type {
        BYTE | ASCII | SIGNED_BYTE | UNDEFINED => 1,
        SHORT | SIGNED_SHORT => 2,
        LONG | SIGNED_LONG | FLOAT | DIRECTORY => 4,
        RATIONAL | SIGNED_RATIONAL | DOUBLE | LONG8 => 8,
        _ => return None,
    })
}

impl<'a> Directory<'a> {
    /// Reads the first directory of a TIFF file or of an EXIF block; none where the bytes do not begin like one.
    pub(crate) fn first(bytes: &'a [u8]) -> Option<Self> {
        let Header { big_endian, is_big_tiff } = header(bytes)?;
        let start = integer(bytes.get(if is_big_tiff { 8..16 } else { 4..8 })?, big_endian);
        let mut directory = Self { big_endian, tags: BTreeMap::new() };
        if let Some(entries) = usize::try_from(start).ok().and_then(|start| bytes.get(start..)) {
            directory.read(bytes, entries, is_big_tiff);
        }
        Some(directory)
    }

    /// Reads the entries that the file holds. Of several entries with the same tag the first counts.
    fn read(&mut self, bytes: &'a [u8], entries: &'a [u8], is_big_tiff: bool) {
        // The sizes in bytes of the entry count, and of the counts and offsets in an entry.
        let (head, word) = if is_big_tiff { (8, 8) } else { (2, 4) };
        let Some((count, entries)) = entries.split_at_checked(head) else { return };
        let count = usize::try_from(integer(count, self.big_endian)).unwrap_or(usize::MAX);
        let mut outside = 0u64;
        for entry in entries.chunks_exact(4 + 2 * word).take(count) {
            let field = |at: usize, wide: usize| integer(&entry[at..at + wide], self.big_endian);
            let (tag, field_type) = (field(0, 2) as u16, field(2, 2));
            let Some(each) = width(field_type).filter(|_| !self.tags.contains_key(&tag)) else { continue };
            let size = field(4, word).saturating_mul(each as u64);
            let place = match size <= word as u64 {
                true => entry.get(4 + word..),
                false => {
                    // Values that are together larger than the file must overlap or lie outside it; the rest of them is
                    // ignored.
                    outside = outside.saturating_add(size);
                    let place = usize::try_from(field(4 + word, word)).ok();
                    place.filter(|_| outside <= bytes.len() as u64).and_then(|place| bytes.get(place..))
                }
            };
            let data = place.and_then(|place| place.get(..usize::try_from(size).ok()?));
            if let Some(data) = data.filter(|data| !data.is_empty()) {
                self.tags.insert(tag, Field { field_type, data });
            }
        }
    }

    pub(crate) fn contains(&self, tag: u16) -> bool {
        self.tags.contains_key(&tag)
    }

    /// Returns the bytes of a tag of any type.
    pub(crate) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.tags.get(&tag).map(|value| value.data)
    }

    /// Returns the values of a tag of unsigned integers.
    pub(crate) fn integers(&self, tag: u16) -> Option<Vec<u64>> {
        Some(self.unsigned(tag)?.collect())
    }

    /// Returns the first value of a tag of unsigned integers.
    pub(crate) fn integer(&self, tag: u16) -> Option<u64> {
        self.unsigned(tag)?.next()
    }

    fn unsigned(&self, tag: u16) -> Option<impl Iterator<Item = u64>> {
        let Field { field_type, data } = self.tags.get(&tag)?;
        let unsigned = matches!(*field_type, BYTE | SHORT | LONG | DIRECTORY | LONG8);
        let each = width(*field_type).filter(|_| unsigned)?;
        Some(data.chunks_exact(each).map(|value| integer(value, self.big_endian)))
    }

    /// Returns the first value of a tag of numbers; bytes do not count as numbers.
    pub(crate) fn number(&self, tag: u16) -> Option<f64> {
        let Field { field_type, data } = self.tags.get(&tag)?;
        let unsigned = |at: usize, wide: usize| Some(integer(data.get(at..at + wide)?, self.big_endian));
        Some(match *field_type {
            SHORT => unsigned(0, 2)? as f64,
            LONG | DIRECTORY => unsigned(0, 4)? as f64,
            LONG8 => unsigned(0, 8)? as f64,
            SIGNED_BYTE => f64::from(unsigned(0, 1)? as i8),
            SIGNED_SHORT => f64::from(unsigned(0, 2)? as i16),
            SIGNED_LONG => f64::from(unsigned(0, 4)? as i32),
            FLOAT => f64::from(f32::from_bits(unsigned(0, 4)? as u32)),
            DOUBLE => f64::from_bits(unsigned(0, 8)?),
            RATIONAL => unsigned(0, 4)? as f64 / unsigned(4, 4)? as f64,
            SIGNED_RATIONAL => f64::from(unsigned(0, 4)? as i32) / f64::from(unsigned(4, 4)? as i32),
            _ => return None,
        })
    }
}

/// The properties of a file that its first four bytes give.
struct Header {
    big_endian: bool,
    /// In a BigTIFF, counts and offsets have eight bytes.
    is_big_tiff: bool,
}

/// Reads the first four bytes. Some programs write the magic number 42 in the wrong byte order; like Pillow, this takes
/// the byte order from the letters `II` and `MM`.
fn header(bytes: &[u8]) -> Option<Header> {
    let (big_endian, is_big_tiff) = match bytes.first_chunk()? {
        b"MM\0\x2a" | b"MM\x2a\0" => (true, false),
        b"II\x2a\0" | b"II\0\x2a" => (false, false),
        b"MM\0\x2b" => (true, true),
        b"II\x2b\0" => (false, true),
        _ => return None,
    };
    Some(Header { big_endian, is_big_tiff })
}

/// Whether a file begins like a TIFF.
pub(crate) fn is_tiff(bytes: &[u8]) -> bool {
    header(bytes).is_some()
}

/// Decodes an unsigned integer of up to eight bytes.
pub(crate) fn integer(bytes: &[u8], big_endian: bool) -> u64 {
    let push = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    match big_endian {
        true => bytes.iter().fold(0, push),
        false => bytes.iter().rev().fold(0, push),
    }
}
