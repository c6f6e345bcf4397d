//! Bytes become RGB pixels, or a reason why not.
//!
//! What a file is, is read from its content, never from its name. JPEG has its own decoder (`jpeg/`); PNG, WebP, GIF, BMP, TIFF, PNM, ICO and
//! QOI go through the `image` crate. The rules, the same for all:
//!
//! * the first frame of an animation, the first page of a document;
//! * transparent pixels show [`DecodeOptions::background`] (Pillow's `convert('RGB')` would show whatever colour hides under them);
//! * 16-bit samples keep their upper byte; grey is repeated in R, G and B;
//! * EXIF orientation and ICC profiles are ignored, as Keras, timm and torchvision ignore them;
//! * a file that ends early is an error, as in Pillow, not a picture that is grey below;
//! * nothing is allocated for pixels before the size in the header is known to be within [`DecodeOptions::max_pixels`];
//! * a decoder that panics loses its one picture.

use super::{RgbImage, WHITE, jpeg};
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use std::cell::Cell;
use std::error::Error;
use std::io::{self, Cursor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use thiserror::Error;

/// What [`decode`] may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Pictures of more pixels than this are refused; 178 956 970 by default, where Pillow raises `DecompressionBombError`.
    pub max_pixels: u64,
    /// The colour behind transparent pixels; white by default.
    pub background: [u8; 3],
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self { max_pixels: 178_956_970, background: WHITE }
    }
}

/// Why a file gave no picture.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct DecodeError {
    /// The class, for tables and counts.
    pub kind: DecodeErrorKind,
    /// What was found, and what to do about it where something can be done; one line.
    pub detail: String,
}

impl DecodeError {
    pub(super) fn new(kind: DecodeErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

/// The classes of [`DecodeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecodeErrorKind {
    /// No bytes at all.
    Empty,
    /// Text, a web page, an archive: not a picture.
    NotAnImage,
    /// A picture, in a format or a variant of it that is not read.
    Unsupported,
    /// The file ends early: an interrupted download or copy.
    Truncated,
    /// The content contradicts itself.
    Corrupt,
    /// More pixels than [`DecodeOptions::max_pixels`].
    TooLarge,
    /// The decoder panicked: a bug in it, worth a report with the file.
    Panicked,
}

impl DecodeErrorKind {
    /// The name in tables: snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAnImage => "not_an_image",
            Self::Unsupported => "unsupported",
            Self::Truncated => "truncated",
            Self::Corrupt => "corrupt",
            Self::TooLarge => "too_large",
            Self::Panicked => "panicked",
        }
    }
}

/// Decodes one picture of any supported format.
pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, DecodeError> {
    let format = recognise(bytes)?;
    guarded(|| match format {
        ImageFormat::Jpeg => jpeg::decode(bytes, options.max_pixels),
        other => decode_other(bytes, other, options),
    })
}

/// Width and height as the header tells them, without decoding; none when it cannot be read.
pub fn dimensions(bytes: &[u8]) -> Option<(usize, usize)> {
    let format = recognise(bytes).ok()?;
    guarded(|| match format {
        ImageFormat::Jpeg => jpeg::dimensions(bytes),
        other => {
            let reader = ImageReader::with_format(Cursor::new(bytes), other);
            let (width, height) = reader.into_dimensions().map_err(translate)?;
            Ok((width as usize, height as usize))
        }
    })
    .ok()
}

/// Refuses a picture of more than `max_pixels`.
pub(super) fn check_size(width: u64, height: u64, max_pixels: u64) -> Result<(), DecodeError> {
    if width.saturating_mul(height) > max_pixels {
        let detail = format!("{width}x{height} pixels are more than the limit of {max_pixels}");
        return Err(DecodeError::new(DecodeErrorKind::TooLarge, detail));
    }
    Ok(())
}

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// True while this thread is inside a decoder, where a panic is caught and told as [`DecodeErrorKind::Panicked`]: a panic hook need not print it.
pub fn is_decoding() -> bool {
    DECODING.get()
}

/// Runs a decoder; its panic becomes an error.
fn guarded<T>(decoder: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    DECODING.set(true);
    let result = catch_unwind(AssertUnwindSafe(decoder));
    DECODING.set(false);
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(DecodeError::new(DecodeErrorKind::Panicked, format!("the decoder panicked: {text}")))
    })
}

fn decode_other(bytes: &[u8], format: ImageFormat, options: &DecodeOptions) -> Result<RgbImage, DecodeError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    // room for 16-bit RGBA at the limit of pixels, and for the decoder's own tables beside it
    limits.max_alloc = Some(options.max_pixels.saturating_mul(8).saturating_add(64 << 20));
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(translate)?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into(), options.max_pixels)?;
    if width == 0 || height == 0 {
        return Err(DecodeError::new(DecodeErrorKind::Corrupt, format!("the picture has {width}x{height} pixels")));
    }
    if matches!(decoder.color_type(), ColorType::Rgb32F | ColorType::Rgba32F) {
        let detail = "floating-point samples have no fixed range; convert the picture to 8 bits";
        return Err(DecodeError::new(DecodeErrorKind::Unsupported, detail));
    }
    to_rgb(DynamicImage::from_decoder(decoder).map_err(translate)?, options.background)
}

/// Any layout of samples to 8-bit RGB over `background`.
fn to_rgb(picture: DynamicImage, background: [u8; 3]) -> Result<RgbImage, DecodeError> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let data = match picture {
        DynamicImage::ImageRgb8(p) => p.into_raw(),
        DynamicImage::ImageLuma8(p) => p.as_raw().iter().flat_map(|&v| [v; 3]).collect(),
        DynamicImage::ImageLumaA8(p) => p.pixels().flat_map(|p| over([p[0]; 3], p[1], background)).collect(),
        DynamicImage::ImageRgba8(p) => p.pixels().flat_map(|p| over([p[0], p[1], p[2]], p[3], background)).collect(),
        DynamicImage::ImageLuma16(p) => p.as_raw().iter().flat_map(|&v| [upper(v); 3]).collect(),
        DynamicImage::ImageRgb16(p) => p.as_raw().iter().map(|&v| upper(v)).collect(),
        DynamicImage::ImageLumaA16(p) => {
            p.pixels().flat_map(|p| over([upper(p[0]); 3], upper(p[1]), background)).collect()
        }
        DynamicImage::ImageRgba16(p) => {
            p.pixels().flat_map(|p| over([p[0], p[1], p[2]].map(upper), upper(p[3]), background)).collect()
        }
        other => {
            let detail = format!("samples of {:?} are not supported; convert the picture to 8-bit RGB", other.color());
            return Err(DecodeError::new(DecodeErrorKind::Unsupported, detail));
        }
    };
    Ok(RgbImage { width, height, data })
}

fn upper(sample: u16) -> u8 {
    (sample >> 8) as u8
}

/// `colour` of opacity `alpha` over `background`, rounded as Pillow's `paste` with a mask rounds.
fn over(colour: [u8; 3], alpha: u8, background: [u8; 3]) -> [u8; 3] {
    let (alpha, rest) = (u32::from(alpha), 255 - u32::from(alpha));
    std::array::from_fn(|c| {
        let sum = u32::from(colour[c]) * alpha + u32::from(background[c]) * rest + 128;
        (((sum >> 8) + sum) >> 8) as u8
    })
}

/// The `image` crate's errors in our classes.
fn translate(error: ImageError) -> DecodeError {
    let kind = match &error {
        ImageError::Limits(_) => DecodeErrorKind::TooLarge,
        ImageError::Unsupported(_) => DecodeErrorKind::Unsupported,
        _ if ended_early(&error) => DecodeErrorKind::Truncated,
        _ => DecodeErrorKind::Corrupt,
    };
    let detail = match kind {
        DecodeErrorKind::Truncated => format!("the file ends early ({error})"),
        _ => error.to_string(),
    };
    DecodeError::new(kind, detail.replace(['\n', '\r'], " "))
}

/// Whether the end of the file lies at the bottom of an error.
fn ended_early(error: &ImageError) -> bool {
    // an I/O error stands for itself here: its `source` begins one step below it
    let mut next: Option<&(dyn Error + 'static)> = match error {
        ImageError::IoError(e) => Some(e),
        other => other.source(),
    };
    while let Some(current) = next {
        if current.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::UnexpectedEof) {
            return true;
        }
        next = current.source();
    }
    false
}

/// The format by its first bytes, or what the file is instead of a picture that we read.
fn recognise(bytes: &[u8]) -> Result<ImageFormat, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::new(DecodeErrorKind::Empty, "the file is empty"));
    }
    if let Some(name) = foreign_picture(bytes) {
        let detail = format!("{name} is not supported; convert it to JPEG or PNG");
        return Err(DecodeError::new(DecodeErrorKind::Unsupported, detail));
    }
    if let Some(name) = no_picture(bytes) {
        return Err(DecodeError::new(DecodeErrorKind::NotAnImage, format!("not a picture but {name}")));
    }
    image::guess_format(bytes).map_err(|_| {
        let first: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
        let detail = format!("no picture format begins with the bytes {}", first.join(" "));
        DecodeError::new(DecodeErrorKind::NotAnImage, detail)
    })
}

/// Picture formats that are known and not read.
fn foreign_picture(bytes: &[u8]) -> Option<&'static str> {
    let starts: [(&[u8], &str); 11] = [
        (b"8BPS", "PSD"),
        (b"%PDF", "PDF"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cJXL ", "JPEG XL"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"DDS ", "DDS"),
        (b"#?RADIANCE", "Radiance HDR"),
        (b"\x76\x2f\x31\x01", "OpenEXR"),
        (b"farbfeld", "farbfeld"),
        (b"II\xbc", "JPEG XR"),
    ];
    if let Some((_, name)) = starts.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(name);
    }
    // ISO media files: the four letters after "ftyp" name the brand
    if bytes.get(4..8) == Some(b"ftyp") {
        return match bytes.get(8..12)? {
            b"avif" | b"avis" => Some("AVIF"),
            b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1" => Some("HEIC"),
            b"crx " => Some("CR3 raw"),
            _ => None,
        };
    }
    text_start(bytes).filter(|text| text.contains("<svg")).map(|_| "SVG")
}

/// What often lies among pictures and is none.
fn no_picture(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(4..8) == Some(b"ftyp") {
        return Some("a video or audio file");
    }
    let starts: [(&[u8], &str); 3] = [
        (b"PK\x03\x04", "a zip archive"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"\0\0\0\x01Bud1", "a folder's .DS_Store"),
    ];
    if let Some((_, name)) = starts.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(name);
    }
    let text = text_start(bytes)?;
    let pages = ["<!doctype html", "<html", "<head", "<body"];
    if pages.iter().any(|tag| text.starts_with(tag)) {
        Some("an HTML page; the download probably failed")
    } else if text.starts_with("version https://git-lfs") {
        Some("a Git LFS pointer; run `git lfs pull`")
    } else if image::guess_format(bytes).is_err() {
        Some("text")
    } else {
        None
    }
}

/// The beginning of a file that is UTF-8 text, in lower case and without a byte-order mark and leading space.
fn text_start(bytes: &[u8]) -> Option<String> {
    let head = &bytes[..bytes.len().min(1024)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // the cut may have split a character
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let control = |c: char| c.is_control() && !c.is_whitespace();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    (!text.is_empty() && !text.contains(control)).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_keeps_its_message() {
        let failed = guarded::<()>(|| panic!("row {} of {}", 7, 6)).expect_err("it panics");
        assert_eq!(failed.kind, DecodeErrorKind::Panicked);
        assert!(failed.detail.contains("row 7 of 6"), "{failed}");
    }

    #[test]
    fn sixteen_bits_keep_the_upper_byte_and_alpha_is_blended_as_pillow_blends() {
        assert_eq!(upper(0x12ff), 0x12);
        assert_eq!(over([0, 100, 255], 0, [9, 9, 9]), [9, 9, 9]);
        assert_eq!(over([0, 100, 255], 255, [9, 9, 9]), [0, 100, 255]);
        // Image.new("RGB", (1, 1), (255, 255, 255)).paste((0, 100, 254), mask=Image.new("L", (1, 1), 128))
        assert_eq!(over([0, 100, 254], 128, WHITE), [127, 177, 254]);
    }
}
