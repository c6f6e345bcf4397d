//! The size in the header of a PNG (section 11.2.2) or a QOI file. It is read before the decoder of the `image` crate
//! starts, because that decoder calls some pictures corrupt that are only too large.

use image::ImageFormat;

/// Returns width and height of a PNG or QOI file, and none for other formats and for a file that ends before them.
pub(crate) fn dimensions(bytes: &[u8], format: ImageFormat) -> Option<[u64; 2]> {
    match format {
        ImageFormat::Png => Some([u32_at(bytes, 16)?, u32_at(bytes, 20)?]),
        ImageFormat::Qoi => Some([u32_at(bytes, 4)?, u32_at(bytes, 8)?]),
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?).into())
}
