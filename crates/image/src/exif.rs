//! Reads the orientation of a picture from the metadata of its file (EXIF 2.32, tag 274; XMP, `tiff:Orientation`).
//!
//! As in Pillow's `getexif`, the first directory of EXIF counts; XMP counts where that directory has no orientation.
//! JPEG has both in APP1 segments, PNG in chunks (EXIF in three ways), WebP in chunks that its header announces, TIFF
//! in its own directory, and AVIF as items (`avif/container.rs`).

use super::ifd::Directory;
use super::{png, webp};
use flate2::read::ZlibDecoder;
use image::ImageFormat;
use image::metadata::Orientation;
use std::borrow::Cow;
use std::io::Read;

/// Tags of the directory (EXIF 2.32, 4.6.4; XMP specification, part 3).
const ORIENTATION: u16 = 274;
const XMP: u16 = 700;

/// The limits for one PNG text and for all texts of a file when they are inflated, as Pillow's `MAX_TEXT_CHUNK` and
/// `MAX_TEXT_MEMORY`; texts beyond them are ignored.
const MAX_TEXT: u64 = 1 << 20;
const MAX_TEXTS: u64 = 64 << 20;

/// The metadata blocks of a picture file.
#[derive(Default)]
pub(crate) struct Metadata<'a> {
    /// A block of EXIF, with or without `Exif\0\0` at its beginning.
    pub exif: Option<Cow<'a, [u8]>>,
    pub xmp: Option<Cow<'a, [u8]>>,
}

impl<'a> Metadata<'a> {
    /// Reads the metadata of a file of this format. It is empty for JPEG and AVIF, whose decoders read their metadata
    /// themselves.
    pub(crate) fn read(bytes: &'a [u8], format: ImageFormat) -> Self {
        match format {
            ImageFormat::Png => Self::from_png(bytes),
            ImageFormat::WebP => Self::from_webp(bytes),
            ImageFormat::Tiff => Self {
                exif: Some(bytes.into()),
                xmp: Directory::first(bytes).and_then(|directory| Some(directory.bytes(XMP)?.into())),
            },
            _ => Self::default(),
        }
    }

    /// Reads the chunks of a PNG; the last one of each kind counts, as in Pillow.
    fn from_png(bytes: &'a [u8]) -> Self {
        let mut found = Self::default();
        let (mut profile, mut room) = (None, MAX_TEXTS);
        for png::Chunk { kind, body, .. } in png::chunks(bytes) {
            match (kind, png_text(kind, body, &mut room)) {
                (b"eXIf", _) => found.exif = Some(body.into()),
                (b"tEXt", Some((b"exif", text))) => found.exif = Some(text.into()),
                (_, Some((b"Raw profile type exif", text))) => profile = hex_profile(&text),
                (_, Some((b"XML:com.adobe.xmp", text))) => found.xmp = Some(text.into()),
                _ => {}
            }
        }
        found.exif = found.exif.or(profile.map(Cow::Owned));
        found
    }

    /// Reads the chunks of a WebP; the first one of each kind counts, as in Pillow.
    fn from_webp(bytes: &'a [u8]) -> Self {
        let mut found = Self::default();
        let flags = webp::flags(bytes);
        for webp::Chunk { kind, body, .. } in webp::chunks(bytes) {
            match kind {
                b"EXIF" if flags & 8 != 0 => found.exif = found.exif.or(Some(body.into())),
                b"XMP " if flags & 4 != 0 => found.xmp = found.xmp.or(Some(body.into())),
                _ => {}
            }
        }
        found
    }

    /// Returns the orientation of EXIF or, where EXIF has none, that of XMP.
    pub(crate) fn orientation(&self) -> Orientation {
        match self.directory() {
            Some(directory) => orientation_from_value(directory.number(ORIENTATION)),
            None => self.orientation_of_xmp(),
        }
    }

    /// Returns the orientation of XMP, unless EXIF has one.
    pub(crate) fn orientation_of_xmp(&self) -> Orientation {
        let xmp = self.xmp.as_deref().filter(|_| self.directory().is_none());
        orientation_from_value(xmp.and_then(xmp_orientation_value))
    }

    /// Returns the directory of EXIF if it holds an orientation.
    fn directory(&self) -> Option<Directory<'_>> {
        let block = self.exif.as_deref()?;
        let block = (0..2).fold(block, |block, _| block.strip_prefix(b"Exif\0\0").unwrap_or(block));
        Directory::first(block).filter(|directory| directory.contains(ORIENTATION))
    }
}

/// Returns the orientation with this number; every number but 1 to 8 means that the picture stays as it is.
fn orientation_from_value(value: Option<f64>) -> Orientation {
    let value = value.filter(|value| value.fract() == 0.0 && (1.0..=8.0).contains(value));
    value.and_then(|value| Orientation::from_exif(value as u8)).unwrap_or(Orientation::NoTransforms)
}

/// Finds `tiff:Orientation` in XMP, as an attribute or as an element.
fn xmp_orientation_value(text: &[u8]) -> Option<f64> {
    const NAME: &[u8] = b"tiff:Orientation";
    text.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME).find_map(|(at, _)| {
        let rest = &text[at + NAME.len()..];
        let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        value.first().filter(|digit| digit.is_ascii_digit()).map(|digit| f64::from(digit - b'0'))
    })
}

/// Returns keyword and content of a PNG text chunk (PNG, section 11.3.3). `room` is how many more bytes may be
/// inflated.
fn png_text<'a>(kind: &[u8; 4], body: &'a [u8], room: &mut u64) -> Option<(&'a [u8], Vec<u8>)> {
    let split = |bytes: &'a [u8]| {
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some((&bytes[..end], &bytes[end + 1..]))
    };
    let wanted = |keyword: &[u8]| matches!(keyword, b"exif" | b"Raw profile type exif" | b"XML:com.adobe.xmp");
    if !matches!(kind, b"tEXt" | b"zTXt" | b"iTXt") {
        return None;
    }
    let (keyword, rest) = split(body).filter(|(keyword, _)| wanted(keyword))?;
    let text = match (kind, rest) {
        (b"tEXt", text) => text.to_vec(),
        (b"zTXt", [0, compressed @ ..]) => inflate(compressed, room)?,
        (b"iTXt", [compressed, method, rest @ ..]) => {
            let (_, rest) = split(rest)?;
            let (_, text) = split(rest)?;
            match (compressed, method) {
                (0, _) => text.to_vec(),
                (_, 0) => inflate(text, room)?,
                _ => return None,
            }
        }
        _ => return None,
    };
    Some((keyword, text))
}

fn inflate(compressed: &[u8], room: &mut u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let most = MAX_TEXT.min(*room);
    let done = ZlibDecoder::new(compressed).take(most + 1).read_to_end(&mut text);
    *room = room.saturating_sub(text.len() as u64);
    done.ok().filter(|len| *len as u64 <= most).map(|_| text)
}

/// Decodes a raw profile as ImageMagick writes it: an empty line, a line with the name, a line with the length, then
/// hexadecimal digits.
fn hex_profile(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split(|byte| *byte == b'\n').skip(3).flatten();
    let digits: Option<Vec<u8>> = lines
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| (*byte as char).to_digit(16).map(|digit| digit as u8))
        .collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
