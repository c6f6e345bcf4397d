//! The size that a file's header promises, read before a decoder sees it: some call a picture corrupt that is only too large.

use image::ImageFormat;

/// Width and height of a PNG or QOI; none where nothing can be said.
pub(crate) fn promised(bytes: &[u8], format: ImageFormat) -> Option<[u64; 2]> {
    match format {
        ImageFormat::Png => Some([big(bytes, 16)?, big(bytes, 20)?]),
        ImageFormat::Qoi => Some([big(bytes, 4)?, big(bytes, 8)?]),
        _ => None,
    }
}

fn big(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?).into())
}
