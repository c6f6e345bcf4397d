//! Encodes JPEG thumbnails for reports, and PNGs and JPEGs of whole pictures.

use base64::prelude::{BASE64_STANDARD, Engine};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use thiserror::Error;

use super::{Filter, RgbImage, resize};

/// The JPEG quality of thumbnails, 1 to 100. At 82 no blocks are visible at their size.
const QUALITY: u8 = 82;

/// The error of a picture that cannot be encoded.
#[derive(Debug, Error)]
pub enum ThumbnailError {
    #[error("a picture of {width} × {height} pixels has nothing to show")]
    Empty { width: usize, height: usize },
    #[error("cannot encode a picture: {0}")]
    Encode(#[from] image::ImageError),
}

/// Encodes a JPEG of `image` whose longer side has `longest` pixels at most; a smaller picture keeps its size.
pub fn thumbnail(image: &RgbImage, longest: usize) -> Result<Vec<u8>, ThumbnailError> {
    let (width, height) = fit(image.width, image.height, longest);
    let small;
    let shown = if (width, height) == (image.width, image.height) {
        image
    } else {
        small = resize(image, width, height, Filter::Lanczos);
        &small
    };
    jpeg(shown, QUALITY)
}

/// Encodes a JPEG of `image`; `quality` is 1 to 100.
pub fn jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>, ThumbnailError> {
    let (width, height) = sides(image)?;
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode(&image.data, width, height, ExtendedColorType::Rgb8)?;
    Ok(bytes)
}

/// Encodes a PNG of `image`, which keeps every pixel.
pub fn png(image: &RgbImage) -> Result<Vec<u8>, ThumbnailError> {
    let (width, height) = sides(image)?;
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(&image.data, width, height, ExtendedColorType::Rgb8)?;
    Ok(bytes)
}

/// Returns width and height, and an error for a picture without pixels.
fn sides(image: &RgbImage) -> Result<(u32, u32), ThumbnailError> {
    let (width, height) = (image.width, image.height);
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(w), Ok(h)) if w > 0 && h > 0 && image.data.len() == width * height * 3 => Ok((w, h)),
        _ => Err(ThumbnailError::Empty { width, height }),
    }
}

/// Returns width and height of the thumbnail, which keeps the shape and has at least one pixel each way.
fn fit(width: usize, height: usize, longest: usize) -> (usize, usize) {
    let long = width.max(height);
    if long <= longest {
        return (width, height);
    }
    let side = |n: usize| ((n * longest + long / 2) / long).max(1);
    (side(width), side(height))
}

/// Returns a `data:` address of a JPEG, for a page or an SVG that embeds its pictures.
pub fn data_uri(jpeg: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(jpeg))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeOptions, decode};

    #[test]
    fn the_shape_is_kept_and_small_pictures_are_left_alone() {
        assert_eq!(fit(400, 300, 160), (160, 120));
        assert_eq!(fit(300, 400, 160), (120, 160));
        assert_eq!(fit(100, 80, 160), (100, 80));
        assert_eq!(fit(10_000, 3, 160), (160, 1));
    }

    #[test]
    fn a_thumbnail_is_a_jpeg_that_looks_like_the_picture() {
        let picture = RgbImage::from_fn(640, 480, |x, _| if x < 320 { [200, 30, 30] } else { [20, 60, 220] });
        let bytes = thumbnail(&picture, 160).expect("encoded");
        assert!(bytes.starts_with(&[0xff, 0xd8, 0xff]));
        let back = decode(&bytes, &DecodeOptions::default()).expect("a JPEG");
        assert_eq!((back.width, back.height), (160, 120));
        let pixel = |x: usize| [0, 1, 2].map(|c| i32::from(back.row(60)[x * 3 + c]));
        for (x, colour) in [(20, [200, 30, 30]), (140, [20, 60, 220])] {
            assert!(pixel(x).iter().zip(colour).all(|(a, b)| (a - b).abs() < 12), "{:?} at {x}", pixel(x));
        }
    }

    #[test]
    fn a_picture_without_pixels_is_refused() {
        assert!(matches!(thumbnail(&RgbImage::filled(0, 5, [0; 3]), 160), Err(ThumbnailError::Empty { .. })));
    }
}
