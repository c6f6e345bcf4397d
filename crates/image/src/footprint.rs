//! Estimates from a file's header how much memory decoding and preparing the picture takes. The caller uses it to bound
//! the memory of many threads that decode at the same time.
//!
//! The bytes that each decoder holds per pixel beside its result were measured as the peak of the process with pictures
//! of 25 megapixels.

use super::decode::{catch_panics, check_size, dimensions};
use super::exif::Metadata;
use super::format::detect_format;
use super::options::DecodeOptions;
use super::{Recipe, header, icon, jpeg};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};

/// Bytes of a pixel of the result.
const RGB: u64 = 3;
/// The most bytes that reading a header may unpack, for example of a colour profile.
const MAX_HEADER: u64 = 64 << 20;

/// The size of a picture and the memory that decoding it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    pub width: u64,
    pub height: u64,
    /// The most bytes that are held at a time while the picture is decoded and its orientation is applied.
    pub bytes: u64,
}

/// Returns the most bytes that are held at a time while a picture is decoded and prepared by `recipe`; the bytes of the
/// file itself are not counted. `start` holds the first bytes of the file. Where they are not the whole file, `file` is
/// the open file, whose position changes. Returns 0 for a file that the decoder refuses because of its header, and the
/// bytes of the largest allowed picture where the header lies beyond `start`.
pub fn footprint(start: &[u8], file: Option<&File>, recipe: &Recipe, options: &DecodeOptions) -> u64 {
    let Ok(format) = detect_format(start) else { return 0 };
    let estimate = catch_panics(|| {
        Ok(match format {
            ImageFormat::Jpeg => jpeg::estimate(start, options, recipe).ok(),
            #[cfg(feature = "avif")]
            ImageFormat::Avif => super::avif::dimensions(start).ok().map(|size| estimate_avif(size.0, size.1)),
            ImageFormat::Ico => {
                let png =
                    icon::largest(start).filter(icon::IconEntry::is_png).map(|entry| (entry.data, ImageFormat::Png));
                let (bytes, format) = png.unwrap_or((start, ImageFormat::Ico));
                estimate_with_image_crate(Cursor::new(bytes), format, bytes)
            }
            _ => match file.map(|mut file| file.rewind().map(|()| BufReader::new(file))) {
                None => estimate_with_image_crate(Cursor::new(start), format, start),
                Some(file) => file.ok().and_then(|file| estimate_with_image_crate(file, format, start)),
            },
        })
    });
    match estimate.ok().flatten() {
        Some(Estimate { width, height, .. }) if check_size(width, height, options.max_pixels).is_err() => 0,
        Some(Estimate { width, height, bytes }) => {
            let [high, wide] = recipe.size.map(|side| side as u64);
            // The first pass of a resize gives a picture that has one side of the source and one side of the result.
            let resized = (width * high).max(height * wide) * RGB;
            let pixels = width * height * RGB;
            let grey = if recipe.depth() == 1 { pixels } else { 0 };
            bytes.max(pixels + grey + resized)
        }
        None if file.is_none() => 0,
        None => options.max_pixels.saturating_mul(2 * RGB),
    }
}

/// Estimates a picture that the `image` crate decodes; `start` holds the first bytes of the file.
fn estimate_with_image_crate(source: impl BufRead + Seek, format: ImageFormat, start: &[u8]) -> Option<Estimate> {
    let mut reader = ImageReader::with_format(source, format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_HEADER);
    reader.limits(limits);
    let Ok(decoder) = reader.into_decoder() else {
        // The file is broken, or only this crate reads its format, or the `image` crate wants more memory for a row
        // than `MAX_HEADER`.
        let own = || dimensions(start).map(|(width, height)| [width as u64, height as u64]);
        let [width, height] = header::dimensions(start, format).or_else(own)?;
        return Some(Estimate { width, height, bytes: width.saturating_mul(height).saturating_mul(8 + RGB) });
    };
    let (width, height) = decoder.dimensions();
    let (width, height) = (u64::from(width), u64::from(height));
    let colour = decoder.color_type();
    let samples = u64::from(colour.bytes_per_pixel());
    let inside = match format {
        ImageFormat::WebP => match start.get(12..16) {
            // VP8 holds one plane of luma and two of chroma that are half as wide and high.
            Some(b"VP8 ") => 2,
            // VP8L holds red, green, blue and alpha.
            Some(b"VP8L") => 4,
            // VP8X holds planes and alpha, or a frame and the canvas of an animation.
            _ => 7,
        },
        // The decoder holds a second buffer of samples.
        ImageFormat::Tiff => samples,
        // The decoder holds the RGBA frame beside its canvas.
        ImageFormat::Gif => 4,
        _ => 0,
    };
    let converted = if colour == ColorType::Rgb8 { 0 } else { RGB };
    let rotation = Metadata::read(start, format).orientation();
    let rotation = if rotation == Orientation::NoTransforms { 0 } else { 2 * RGB };
    let per_pixel = (samples + inside).max(samples + converted).max(rotation);
    Some(Estimate { width, height, bytes: width.saturating_mul(height).saturating_mul(per_pixel) })
}

/// Estimates an AVIF: the decoder may hold a second frame, planes of 16 bits, and the RGB picture that is made of them.
#[cfg(feature = "avif")]
fn estimate_avif(width: usize, height: usize) -> Estimate {
    const EACH: u64 = 16;
    let (width, height) = (width as u64, height as u64);
    Estimate { width, height, bytes: width.saturating_mul(height).saturating_mul(EACH) }
}

#[cfg(test)]
mod tests {
    use super::super::decode::{decode, dimensions};
    use super::super::{RgbImage, png};
    use super::*;
    use std::io::Write;

    /// A recipe for an input of one pixel, so that the decoder's part is nearly all of the footprint.
    fn recipe() -> Recipe {
        serde_json::from_str(
            r#"{"size": [1, 1], "fit": "stretch", "resize": "box", "crop_pct": 1, "channels": "rgb", "divisor": 1,
            "mean": [0, 0, 0], "std": [1, 1, 1]}"#,
        )
        .expect("a recipe")
    }

    fn footprint_of(name: &str) -> (u64, u64) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
        let bytes = std::fs::read(&path).expect("golden");
        let (width, height) = dimensions(&bytes).expect("a size");
        let options = DecodeOptions::default();
        assert!(decode(&bytes, &options).is_ok(), "{name}");
        let all = footprint(&bytes, None, &recipe(), &options);
        // This estimates the same file from its first 64 bytes and the open file.
        let file = File::open(&path).expect("golden");
        let some = &bytes[..bytes.len().min(64)];
        let part = footprint(some, Some(&file), &recipe(), &options);
        assert!(part >= all, "{name}: {part} of the beginning, {all} of all");
        ((width * height) as u64, all)
    }

    #[test]
    fn every_format_is_counted_with_what_its_decoder_holds() {
        let formats: [(&str, f64); 14] = [
            ("image_444.jpg", 3.0),
            ("image_grey.jpg", 3.0),
            ("image_rgb.png", 3.0),
            ("image_alpha.png", 7.0),
            ("image_grey.png", 4.0),
            ("image_bit.png", 4.0),
            ("image_grey16.png", 5.0),
            ("image_rgb.bmp", 3.0),
            ("image_rgb.qoi", 3.0),
            ("image_rgb.ppm", 3.0),
            ("image_lzw.tif", 6.0),
            ("image_lossy.webp", 5.0),
            ("image_lossless.webp", 7.0),
            ("image_animated.gif", 8.0),
        ];
        for (name, each) in formats {
            let (pixels, bytes) = footprint_of(name);
            // A resize to one pixel needs little memory beside the picture.
            let most = each.max(3.0) * pixels as f64 + 3.0 * pixels as f64 / 8.0;
            assert!(bytes as f64 >= each * pixels as f64 && bytes as f64 <= most, "{name}: {bytes} of {pixels} pixels");
        }
        // A progressive JPEG holds 16-bit coefficients, in groups of eight blocks, beside the picture.
        let (pixels, bytes) = footprint_of("image_progressive.jpg");
        assert!(bytes > 5 * pixels, "{bytes} of {pixels} pixels");
    }

    #[test]
    fn a_refused_file_takes_nothing_and_an_unknown_one_the_most() {
        let options = DecodeOptions { max_pixels: 1000, ..DecodeOptions::default() };
        let bytes = png(&RgbImage::filled(40, 30, [1, 2, 3])).expect("a PNG");
        assert_eq!(footprint(&bytes, None, &recipe(), &options), 0, "too many pixels");
        assert_eq!(footprint(b"text", None, &recipe(), &options), 0);
        assert_eq!(footprint(&bytes[..20], None, &recipe(), &DecodeOptions::default()), 0, "the file ends there");
        let mut file = tempfile::tempfile().expect("a file");
        let head = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0";
        file.write_all(head).expect("written");
        assert_eq!(footprint(head, Some(&file), &recipe(), &options), 6000, "the header lies deeper");
    }

    #[test]
    fn a_recipe_adds_what_it_makes_of_the_picture() {
        let bytes = png(&RgbImage::filled(40, 30, [1, 2, 3])).expect("a PNG");
        let options = DecodeOptions::default();
        let grey = Recipe { channels: super::super::ChannelOrder::Grey, ..recipe() };
        let large = Recipe { size: [300, 400], ..recipe() };
        let all = [recipe(), grey, large].map(|recipe| footprint(&bytes, None, &recipe, &options));
        assert_eq!(all, [3600 + 120, 7200 + 120, 3600 + 3 * 300 * 40]);
    }
}
