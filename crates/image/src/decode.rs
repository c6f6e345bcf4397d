//! Decodes a picture file to RGB pixels, or says why it cannot.
//!
//! `format.rs` detects the format from the content. This crate decodes JPEG, TIFF, GIF, BMP, ICO and PNM itself
//! (`jpeg/`, `tiff/`, `gif.rs`, `bmp.rs`, `icon.rs`, `pnm.rs`), rav1d decodes AVIF (`avif/`), and the `image` crate
//! decodes PNG, WebP, QOI and PAM. The rules are the same for all formats:
//!
//! * An animation gives its first frame, a document its first page.
//! * Transparent pixels show [`DecodeOptions::background`]; Pillow's `convert('RGB')` would show the colour that is
//!   stored under them.
//! * 16-bit samples keep their upper byte, and grey is repeated in R, G and B.
//! * The orientation in EXIF or XMP is applied ([`DecodeOptions::exif`]) as by Pillow's `exif_transpose`; a TIFF is
//!   always turned. ICC profiles are ignored.
//! * A file that ends early is an error, as in Pillow. With [`Truncated::Pad`] it gives the picture that Pillow gives
//!   with `LOAD_TRUNCATED_IMAGES`.
//! * No memory is allocated for pixels before the size in the header is known to be within
//!   [`DecodeOptions::max_pixels`].
//! * A panic of a decoder becomes an error of the one picture that it was decoding.

use super::exif::Metadata;
use super::format::detect_format;
use super::options::{DecodeOptions, Exif, Truncated};
use super::{Recipe, RgbImage, bmp, gif, header, icon, jpeg, orientation, png, pnm, tiff, webp};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use std::cell::Cell;
use std::error::Error;
use std::io::{self, Cursor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use thiserror::Error;

/// The reason why a file gave no picture.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct DecodeError {
    /// The class of the error, for tables and counts.
    pub kind: DecodeErrorKind,
    /// One line that says what was found and, where something can be done about it, what to do.
    pub detail: String,
}

impl DecodeError {
    pub(super) fn new(kind: DecodeErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

/// Defines the functions that make the errors of a format, from their texts.
macro_rules! format_errors {
    (corrupt: $corrupt:literal, $(unsupported: $unsupported:literal,)? truncated: $truncated:literal,) => {
        fn corrupt(detail: impl AsRef<str>) -> DecodeError {
            DecodeError::new($crate::decode::DecodeErrorKind::Corrupt, format!($corrupt, detail.as_ref()))
        }

        $(fn unsupported(what: impl AsRef<str>) -> DecodeError {
            DecodeError::new($crate::decode::DecodeErrorKind::Unsupported, format!($unsupported, what.as_ref()))
        })?

        fn truncated() -> DecodeError {
            DecodeError::new($crate::decode::DecodeErrorKind::Truncated, $truncated)
        }
    };
}
pub(super) use format_errors;

/// The classes of [`DecodeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecodeErrorKind {
    /// The file has no bytes.
    Empty,
    /// The file is text, a web page, an archive or another kind that is not a picture.
    NotAnImage,
    /// The file is a picture in a format or variant that this crate does not read.
    Unsupported,
    /// The file ends early, as after an interrupted download or copy.
    Truncated,
    /// The content is invalid or contradicts itself.
    Corrupt,
    /// The picture has more pixels than [`DecodeOptions::max_pixels`].
    TooLarge,
    /// The decoder panicked. This is a bug in it, worth a report with the file.
    Panicked,
}

impl DecodeErrorKind {
    /// The name in tables, in snake case.
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

/// Checks whether a file that begins with `bytes` may be a picture; the error says why it is not.
pub fn sniff(bytes: &[u8]) -> Result<(), DecodeError> {
    detect_format(bytes).map(|_| ())
}

/// A picture the right way up, and the size that it has in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The pixels; fewer than `width` × `height` where the picture was decoded at a reduced size.
    pub image: RgbImage,
    pub width: usize,
    pub height: usize,
}

/// Decodes one picture of any supported format.
pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, DecodeError> {
    Ok(decode_as(bytes, options, None)?.image)
}

/// Decodes one picture for `recipe`. With [`DecodeOptions::fast_decode`] a JPEG is decoded at the smallest size that
/// the recipe allows.
pub fn decode_for(recipe: &Recipe, bytes: &[u8], options: &DecodeOptions) -> Result<Decoded, DecodeError> {
    decode_as(bytes, options, Some(recipe))
}

fn decode_as(bytes: &[u8], options: &DecodeOptions, recipe: Option<&Recipe>) -> Result<Decoded, DecodeError> {
    let format = detect_format(bytes)?;
    let decoded = catch_panics(|| match format {
        ImageFormat::Jpeg => jpeg::decode(bytes, options, recipe),
        #[cfg(feature = "avif")]
        ImageFormat::Avif => decode_avif(bytes, options),
        other => {
            let image = match other {
                ImageFormat::Gif => gif::decode(bytes, options)?,
                ImageFormat::Tiff => tiff::decode(bytes, options)?,
                ImageFormat::Bmp => bmp::decode(bytes, options)?,
                ImageFormat::Png => decode_png(bytes, options)?,
                ImageFormat::Ico => match icon::largest(bytes).ok_or_else(empty_icon)? {
                    entry if entry.is_png() => decode_png(entry.data, options)?,
                    entry => entry.decode(options)?,
                },
                ImageFormat::Pnm if pnm::is_pnm(bytes) => pnm::decode(bytes, options)?,
                ImageFormat::WebP => decode_with_image_crate(&webp::without_blending(bytes), other, options)?,
                other => decode_with_image_crate(bytes, other, options)?,
            };
            // Pillow applies the orientation of a TIFF even where nobody calls `exif_transpose`.
            let orientation = match options.exif == Exif::Apply || other == ImageFormat::Tiff {
                true => Metadata::read(bytes, other).orientation(),
                false => Orientation::NoTransforms,
            };
            let image = orientation::apply(image, orientation);
            Ok(Decoded { width: image.width, height: image.height, image })
        }
    });
    decoded.map_err(|error| told_as_cut(error, bytes, format))
}

/// Turns the error `Corrupt` into `Truncated` where the file is shorter than its header says or lacks its end marker.
fn told_as_cut(error: DecodeError, bytes: &[u8], format: ImageFormat) -> DecodeError {
    let cut = match format {
        ImageFormat::WebP => webp::ends_early(bytes),
        ImageFormat::Ico => icon::ends_early(bytes),
        ImageFormat::Qoi => !bytes.ends_with(&[0, 0, 0, 0, 0, 0, 0, 1]),
        _ => false,
    };
    if error.kind != DecodeErrorKind::Corrupt || !cut {
        return error;
    }
    DecodeError::new(DecodeErrorKind::Truncated, format!("the file ends early ({error})"))
}

/// Returns width and height from the header, without decoding; none where the header cannot be read.
pub fn dimensions(bytes: &[u8]) -> Option<(usize, usize)> {
    let format = detect_format(bytes).ok()?;
    catch_panics(|| match format {
        ImageFormat::Jpeg => jpeg::dimensions(bytes),
        #[cfg(feature = "avif")]
        ImageFormat::Avif => super::avif::dimensions(bytes),
        ImageFormat::Bmp => bmp::dimensions(bytes),
        ImageFormat::Gif => gif::dimensions(bytes),
        ImageFormat::Ico => match icon::largest(bytes).ok_or_else(empty_icon)? {
            entry if entry.is_png() => dimensions(entry.data).ok_or_else(empty_icon),
            entry => entry.dimensions(),
        },
        ImageFormat::Pnm if pnm::is_pnm(bytes) => pnm::dimensions(bytes),
        ImageFormat::Tiff => tiff::dimensions(bytes),
        other => {
            let reader = ImageReader::with_format(Cursor::new(bytes), other);
            let (width, height) = reader.into_dimensions().map_err(from_image_error)?;
            Ok((width as usize, height as usize))
        }
    })
    .ok()
}

/// Returns an error for a picture of more than `max_pixels`.
pub(super) fn check_size(width: u64, height: u64, max_pixels: u64) -> Result<(), DecodeError> {
    if width.saturating_mul(height) > max_pixels {
        let detail = format!("{width}x{height} pixels are more than the limit of {max_pixels} (image.max_pixels)");
        return Err(DecodeError::new(DecodeErrorKind::TooLarge, detail));
    }
    Ok(())
}

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a decoder. [`decode`] catches a panic there and returns it as
/// [`DecodeErrorKind::Panicked`], so a panic hook need not print it.
pub fn is_decoding() -> bool {
    DECODING.get()
}

/// Runs a decoder and turns its panic into an error.
pub(super) fn catch_panics<T>(decoder: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    DECODING.set(true);
    let result = catch_unwind(AssertUnwindSafe(decoder));
    DECODING.set(false);
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(DecodeError::new(DecodeErrorKind::Panicked, format!("the decoder panicked: {text}")))
    })
}

fn empty_icon() -> DecodeError {
    DecodeError::new(DecodeErrorKind::Corrupt, "an icon without a picture")
}

/// Decodes a PNG. Where chunks other than those of the pixels are damaged or missing, it decodes the file without them.
fn decode_png(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, DecodeError> {
    let whole = DecodeOptions { truncated: Truncated::Fail, ..options.clone() };
    let error = match decode_with_image_crate(bytes, ImageFormat::Png, &whole) {
        Err(error) if matches!(error.kind, DecodeErrorKind::Truncated | DecodeErrorKind::Corrupt) => error,
        result => return result,
    };
    match png::repaired(bytes).map(|repaired| decode_with_image_crate(&repaired, ImageFormat::Png, &whole)) {
        Some(Ok(image)) => Ok(image),
        _ if options.truncated == Truncated::Pad => decode_with_image_crate(bytes, ImageFormat::Png, options),
        _ => Err(error),
    }
}

/// Decodes an AVIF and blends it with the background.
#[cfg(feature = "avif")]
fn decode_avif(bytes: &[u8], options: &DecodeOptions) -> Result<Decoded, DecodeError> {
    let super::avif::StillPicture { width, height, samples, has_alpha, orientation } =
        super::avif::decode(bytes, options.max_pixels)?;
    let colour = if has_alpha { ColorType::Rgba8 } else { ColorType::Rgb8 };
    let data = to_rgb(colour, samples, options.background)?;
    let orientation = if options.exif == Exif::Apply { orientation } else { Orientation::NoTransforms };
    let image = orientation::apply(RgbImage { width, height, data }, orientation);
    Ok(Decoded { width: image.width, height: image.height, image })
}

/// Decodes a file with the `image` crate.
fn decode_with_image_crate(
    bytes: &[u8],
    format: ImageFormat,
    options: &DecodeOptions,
) -> Result<RgbImage, DecodeError> {
    let declared = header::dimensions(bytes, format);
    if let Some([width, height]) = declared {
        check_size(width, height, options.max_pixels)?;
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    // This leaves room for 16-bit RGBA and for the tables of the decoder, so that a small PNG cannot unpack a colour
    // profile of a gigabyte.
    let pixels =
        declared.filter(|_| format == ImageFormat::Png).map_or(options.max_pixels, |[w, h]| w.saturating_mul(h));
    limits.max_alloc = Some(pixels.min(options.max_pixels).saturating_mul(8).saturating_add(64 << 20));
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(from_image_error)?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into(), options.max_pixels)?;
    if width == 0 || height == 0 {
        return Err(DecodeError::new(DecodeErrorKind::Corrupt, format!("the picture has {width}x{height} pixels")));
    }
    // The png crate panics at a palette whose length is not a multiple of three.
    if format == ImageFormat::Png
        && let Some(palette) = png::chunks(bytes).find(|chunk| chunk.kind == b"PLTE").map(|chunk| chunk.body)
        && (palette.is_empty() || !palette.len().is_multiple_of(3))
    {
        let detail = format!("a palette of {} bytes, which is no number of colours", palette.len());
        return Err(DecodeError::new(DecodeErrorKind::Corrupt, detail));
    }
    let colour = decoder.color_type();
    let len = usize::try_from(decoder.total_bytes())
        .map_err(|_| DecodeError::new(DecodeErrorKind::TooLarge, "more bytes than fit into memory"))?;
    let mut samples = vec![0; len];
    if let Err(error) = decoder.read_image(&mut samples).map_err(from_image_error) {
        let some = error.kind == DecodeErrorKind::Truncated && samples.iter().any(|&sample| sample != 0);
        if options.truncated == Truncated::Fail || !some {
            return Err(error);
        }
        // A decoder that stops early leaves 16-bit samples in the byte order of the file.
        if format == ImageFormat::Png && colour.bytes_per_pixel() / colour.channel_count() == 2 {
            samples.as_chunks_mut().0.iter_mut().for_each(|bytes| *bytes = u16::from_be_bytes(*bytes).to_ne_bytes());
        }
    }
    let data = to_rgb(colour, samples, options.background)?;
    Ok(RgbImage { width: width as usize, height: height as usize, data })
}

/// Returns the upper bytes of 16-bit samples, which the decoder gives in the processor's byte order. The result has a
/// buffer of its own, which is no larger than it is.
fn upper_bytes(samples: &[u8]) -> Vec<u8> {
    samples.as_chunks().0.iter().map(|&sample| (u16::from_ne_bytes(sample) >> 8) as u8).collect()
}

/// Converts samples of any layout to 8-bit RGB over `background`.
pub(super) fn to_rgb(colour: ColorType, samples: Vec<u8>, background: [u8; 3]) -> Result<Vec<u8>, DecodeError> {
    Ok(match colour {
        ColorType::Rgb8 => samples,
        ColorType::L8 => samples.iter().flat_map(|&v| [v; 3]).collect(),
        ColorType::La8 => samples.as_chunks().0.iter().flat_map(|&[v, a]| blend([v; 3], a, background)).collect(),
        ColorType::Rgba8 => {
            samples.as_chunks().0.iter().flat_map(|&[r, g, b, a]| blend([r, g, b], a, background)).collect()
        }
        ColorType::L16 => return to_rgb(ColorType::L8, upper_bytes(&samples), background),
        ColorType::La16 => return to_rgb(ColorType::La8, upper_bytes(&samples), background),
        ColorType::Rgb16 => upper_bytes(&samples),
        ColorType::Rgba16 => return to_rgb(ColorType::Rgba8, upper_bytes(&samples), background),
        other => {
            let detail = format!("samples of {other:?} are not supported; convert the picture to 8-bit RGB");
            return Err(DecodeError::new(DecodeErrorKind::Unsupported, detail));
        }
    })
}

/// Returns `colour` of opacity `alpha` over `background`, rounded as by Pillow's `paste` with a mask.
fn blend(colour: [u8; 3], alpha: u8, background: [u8; 3]) -> [u8; 3] {
    let (alpha, rest) = (u32::from(alpha), 255 - u32::from(alpha));
    std::array::from_fn(|c| {
        let sum = u32::from(colour[c]) * alpha + u32::from(background[c]) * rest + 128;
        (((sum >> 8) + sum) >> 8) as u8
    })
}

/// Converts an error of the `image` crate to one of this crate's classes.
fn from_image_error(error: ImageError) -> DecodeError {
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

/// Whether an unexpected end of the file is among the causes of an error.
fn ended_early(error: &ImageError) -> bool {
    // `source` of an I/O error gives the error below it, so the I/O error itself is looked at first.
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

#[cfg(test)]
mod tests {
    use super::super::WHITE;
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_keeps_its_message() {
        let failed = catch_panics::<()>(|| panic!("row {} of {}", 7, 6)).expect_err("it panics");
        assert_eq!(failed.kind, DecodeErrorKind::Panicked);
        assert!(failed.detail.contains("row 7 of 6"), "{failed}");
    }

    #[test]
    fn sixteen_bits_keep_the_upper_byte_and_alpha_is_blended_as_pillow_blends() {
        let sample = 0x12ffu16.to_ne_bytes();
        assert_eq!(to_rgb(ColorType::L16, sample.to_vec(), WHITE).expect("grey"), [0x12; 3]);
        assert_eq!(blend([0, 100, 255], 0, [9, 9, 9]), [9, 9, 9]);
        assert_eq!(blend([0, 100, 255], 255, [9, 9, 9]), [0, 100, 255]);
        // In Pillow: Image.new("RGB", (1, 1), (255, 255, 255)).paste((0, 100, 254), mask=Image.new("L", (1, 1), 128))
        assert_eq!(blend([0, 100, 254], 128, WHITE), [127, 177, 254]);
    }
}
