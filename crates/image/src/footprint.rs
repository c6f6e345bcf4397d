//! How much memory decoding and preparing a picture takes, by its header alone: what many threads decode at a time is bounded by it.
//!
//! The bytes of a pixel that a decoder holds beside its result were measured as the peak of the process with pictures of 25 megapixels.

use super::decode::{check_size, dimensions, guarded};
use super::exif::Metadata;
use super::options::DecodeOptions;
use super::recognise::recognise;
use super::{Recipe, header, icon, jpeg};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};

/// Bytes of a pixel of the result.
const RGB: u64 = 3;
/// The most that is unpacked of a header: a profile of colours, for one.
const MAX_HEADER: u64 = 64 << 20;

/// A picture as its header promises it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    pub width: u64,
    pub height: u64,
    /// The most bytes that are held at a time while it is decoded and turned the right way up.
    pub bytes: u64,
}

/// The most bytes that are held at a time while the picture that begins with `start` is decoded and prepared by `recipe`; the file's own are not
/// counted. `file` is the file where `start` is not all of it; where it is read next is changed. 0 where the file will be refused undecoded, and
/// the bytes of the largest picture that is allowed where the header lies too deep in the file.
pub fn footprint(start: &[u8], file: Option<&File>, recipe: &Recipe, options: &DecodeOptions) -> u64 {
    let Ok(format) = recognise(start) else { return 0 };
    let promise = guarded(|| {
        Ok(match format {
            ImageFormat::Jpeg => jpeg::promise(start, options, recipe).ok(),
            #[cfg(feature = "avif")]
            ImageFormat::Avif => super::avif::dimensions(start).ok().map(|size| of_avif(size.0, size.1)),
            ImageFormat::Ico => {
                let png = icon::largest(start).filter(icon::Entry::is_png).map(|entry| (entry.data, ImageFormat::Png));
                let (bytes, format) = png.unwrap_or((start, ImageFormat::Ico));
                of_other(Cursor::new(bytes), format, bytes)
            }
            _ => match file.map(|mut file| file.rewind().map(|()| BufReader::new(file))) {
                None => of_other(Cursor::new(start), format, start),
                Some(file) => file.ok().and_then(|file| of_other(file, format, start)),
            },
        })
    });
    match promise.ok().flatten() {
        Some(Promise { width, height, .. }) if check_size(width, height, options.max_pixels).is_err() => 0,
        Some(Promise { width, height, bytes }) => {
            let [high, wide] = recipe.size.map(|side| side as u64);
            // between the two passes of a resize, one side is the result's
            let resized = (width * high).max(height * wide) * RGB;
            let pixels = width * height * RGB;
            let grey = if recipe.depth() == 1 { pixels } else { 0 };
            bytes.max(pixels + grey + resized)
        }
        None if file.is_none() => 0,
        None => options.max_pixels.saturating_mul(2 * RGB),
    }
}

/// What the `image` crate reads; `start` are its first bytes.
fn of_other(source: impl BufRead + Seek, format: ImageFormat, start: &[u8]) -> Option<Promise> {
    let mut reader = ImageReader::with_format(source, format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_HEADER);
    reader.limits(limits);
    let Ok(decoder) = reader.into_decoder() else {
        // its decoder wants more room for a row than a header may take, only this crate reads the file, or it is broken
        let own = || dimensions(start).map(|(width, height)| [width as u64, height as u64]);
        let [width, height] = header::promised(start, format).or_else(own)?;
        return Some(Promise { width, height, bytes: width.saturating_mul(height).saturating_mul(8 + RGB) });
    };
    let (width, height) = decoder.dimensions();
    let (width, height) = (u64::from(width), u64::from(height));
    let colour = decoder.color_type();
    let samples = u64::from(colour.bytes_per_pixel());
    let inside = match format {
        ImageFormat::WebP => match start.get(12..16) {
            // planes, of which two are half as wide and high
            Some(b"VP8 ") => 2,
            // red, green, blue and alpha
            Some(b"VP8L") => 4,
            // planes and alpha, or a frame and its canvas
            _ => 7,
        },
        // a second table of samples
        ImageFormat::Tiff => samples,
        // a frame that is put on its canvas
        ImageFormat::Gif => 4,
        _ => 0,
    };
    let converted = if colour == ColorType::Rgb8 { 0 } else { RGB };
    let turned = Metadata::of(start, format).orientation();
    let turned = if turned == Orientation::NoTransforms { 0 } else { 2 * RGB };
    let each = (samples + inside).max(samples + converted).max(turned);
    Some(Promise { width, height, bytes: width.saturating_mul(height).saturating_mul(each) })
}

/// The frame of a decoder that may hold another one beside it, planes of 16 bits, and what is made of them.
#[cfg(feature = "avif")]
fn of_avif(width: usize, height: usize) -> Promise {
    const EACH: u64 = 16;
    let (width, height) = (width as u64, height as u64);
    Promise { width, height, bytes: width.saturating_mul(height).saturating_mul(EACH) }
}

#[cfg(test)]
mod tests {
    use super::super::decode::{decode, dimensions};
    use super::super::{RgbImage, png};
    use super::*;
    use std::io::Write;

    /// A recipe whose own part is small.
    fn recipe() -> Recipe {
        serde_json::from_str(
            r#"{"size": [1, 1], "fit": "stretch", "resize": "box", "crop_pct": 1, "channels": "rgb", "divisor": 1, "mean": [0, 0, 0],
            "std": [1, 1, 1]}"#,
        )
        .expect("a recipe")
    }

    fn of(name: &str) -> (u64, u64) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
        let bytes = std::fs::read(&path).expect("golden");
        let (width, height) = dimensions(&bytes).expect("a size");
        let options = DecodeOptions::default();
        assert!(decode(&bytes, &options).is_ok(), "{name}");
        let all = footprint(&bytes, None, &recipe(), &options);
        // by its beginning and the file
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
            let (pixels, bytes) = of(name);
            // the pixels, and what a resize to one of them holds
            let most = each.max(3.0) * pixels as f64 + 3.0 * pixels as f64 / 8.0;
            assert!(bytes as f64 >= each * pixels as f64 && bytes as f64 <= most, "{name}: {bytes} of {pixels} pixels");
        }
        // coefficients of 16 bits beside the picture, as groups of blocks
        let (pixels, bytes) = of("image_progressive.jpg");
        assert!(bytes > 5 * pixels, "{bytes} of {pixels} pixels");
    }

    #[test]
    fn what_is_refused_takes_nothing_and_what_is_unknown_takes_the_most() {
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
