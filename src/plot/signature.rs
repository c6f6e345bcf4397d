//! The mark by which a picture is known that was drawn for the user: it may be drawn again, a picture of the user's own is not replaced.

use flate2::Crc;

use crate::io::output::SIGNATURE;

/// Bytes of a PNG before the first chunk that may follow: the signature of the format and the header.
const PNG_HEAD: usize = 8 + 25;

/// The same PNG or JPEG with our signature as its comment.
pub fn signed(picture: Vec<u8>) -> Vec<u8> {
    let (at, comment) = match picture.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => (PNG_HEAD, png_comment()),
        // behind the header of JFIF, which has to come first
        [0xff, 0xd8, 0xff, 0xe0, high, low, ..] => (4 + usize::from(u16::from_be_bytes([*high, *low])), jpeg_comment()),
        [0xff, 0xd8, ..] => (2, jpeg_comment()),
        _ => return picture,
    };
    if at > picture.len() {
        return picture;
    }
    [&picture[..at], &comment, &picture[at..]].concat()
}

/// A chunk `tEXt`: length, name, keyword, text, checksum of what follows the length.
fn png_comment() -> Vec<u8> {
    let text = [b"Comment\0", SIGNATURE].concat();
    let chunk = [b"tEXt".as_slice(), &text].concat();
    let mut crc = Crc::new();
    crc.update(&chunk);
    [&(text.len() as u32).to_be_bytes(), chunk.as_slice(), &crc.sum().to_be_bytes()].concat()
}

/// A segment `COM`: marker, length with itself, text.
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
