//! Signs pictures that featurize draws, so that a later command may replace them but not a picture of the user.

use flate2::Crc;

use crate::io::output::SIGNATURE;

/// The length of a PNG's signature and of its header chunk.
const PNG_HEAD: usize = 8 + 25;

/// Returns the PNG or JPEG with [`SIGNATURE`] as its comment.
pub fn signed(picture: Vec<u8>) -> Vec<u8> {
    let (at, comment) = match picture.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => (PNG_HEAD, png_comment()),
        // The JFIF header must be the first segment.
        [0xff, 0xd8, 0xff, 0xe0, high, low, ..] => (4 + usize::from(u16::from_be_bytes([*high, *low])), jpeg_comment()),
        [0xff, 0xd8, ..] => (2, jpeg_comment()),
        _ => return picture,
    };
    if at > picture.len() {
        return picture;
    }
    [&picture[..at], &comment, &picture[at..]].concat()
}

/// Returns a `tEXt` chunk: length, name, keyword, text, and the checksum of all but the length.
fn png_comment() -> Vec<u8> {
    let text = [b"Comment\0", SIGNATURE].concat();
    let chunk = [b"tEXt".as_slice(), &text].concat();
    let mut crc = Crc::new();
    crc.update(&chunk);
    [&(text.len() as u32).to_be_bytes(), chunk.as_slice(), &crc.sum().to_be_bytes()].concat()
}

/// Returns a `COM` segment: marker, length including itself, text.
fn jpeg_comment() -> Vec<u8> {
    [b"\xff\xfe".as_slice(), &(SIGNATURE.len() as u16 + 2).to_be_bytes(), SIGNATURE].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{DecodeOptions, RgbImage, decode, jpeg, png};

    #[test]
    fn a_signed_picture_has_the_same_pixels_and_its_signature_at_its_beginning() {
        let image = RgbImage::from_fn(40, 30, |x, y| [x as u8 * 5, y as u8 * 7, 90]);
        for plain in [png(&image).expect("PNG"), jpeg(&image, 92).expect("JPEG")] {
            let signed = signed(plain.clone());
            assert!(signed[..100].windows(SIGNATURE.len()).any(|part| part == SIGNATURE));
            let pixels = |bytes: &[u8]| decode(bytes, &DecodeOptions::default()).expect("decoded");
            assert!(pixels(&signed) == pixels(&plain) && signed.len() > plain.len());
        }
        assert_eq!(super::signed(b"<svg>".to_vec()), b"<svg>");
    }
}
