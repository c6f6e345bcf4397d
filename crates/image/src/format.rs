//! Detects the format of a file from its first bytes; the file's name is never used.

use super::decode::{DecodeError, DecodeErrorKind};
use super::ifd;
use image::ImageFormat;

/// Returns the format, or an error that names the kind of file where it is not a picture that this crate reads.
pub(super) fn detect_format(bytes: &[u8]) -> Result<ImageFormat, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::new(DecodeErrorKind::Empty, "the file is empty"));
    }
    if cfg!(feature = "avif") && is_avif(bytes) {
        return Ok(ImageFormat::Avif);
    }
    if let Some(name) = unsupported_format(bytes) {
        let detail = format!("{name} is not supported; convert it to JPEG or PNG");
        return Err(DecodeError::new(DecodeErrorKind::Unsupported, detail));
    }
    if let Some(name) = other_content(bytes) {
        return Err(DecodeError::new(DecodeErrorKind::NotAnImage, format!("not a picture but {name}")));
    }
    if ifd::is_tiff(bytes) {
        return Ok(ImageFormat::Tiff);
    }
    image::guess_format(bytes).map_err(|_| {
        let first: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
        let detail = format!("no picture format begins with the bytes {}", first.join(" "));
        DecodeError::new(DecodeErrorKind::NotAnImage, detail)
    })
}

/// Returns the name of a picture format that this crate knows but does not read.
fn unsupported_format(bytes: &[u8]) -> Option<&'static str> {
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
    // In ISO media files (ISO/IEC 14496-12) the four letters after "ftyp" name the major brand.
    if bytes.get(4..8) == Some(b"ftyp") {
        if is_avif(bytes) {
            return Some("AVIF (the feature `avif` is off in this build)");
        }
        return match bytes.get(8..12)? {
            b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1" => Some("HEIC"),
            b"crx " => Some("CR3 raw"),
            _ => None,
        };
    }
    text_start(bytes).filter(|text| text.contains("<svg")).map(|_| "SVG")
}

/// Whether AVIF is the major brand or one of the compatible brands of an ISO media file.
fn is_avif(bytes: &[u8]) -> bool {
    let Some((length, _)) = bytes.split_first_chunk().filter(|_| bytes.get(4..8) == Some(b"ftyp")) else {
        return false;
    };
    // The major brand is followed by a version number, then by the compatible brands.
    let brands = bytes[..bytes.len().min(u32::from_be_bytes(*length) as usize)].as_chunks::<4>().0.iter();
    brands.enumerate().any(|(at, brand)| at >= 2 && at != 3 && (brand == b"avif" || brand == b"avis"))
}

/// Returns the kind of a file that is not a picture, for kinds that are common in folders of pictures.
fn other_content(bytes: &[u8]) -> Option<&'static str> {
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

/// Returns the beginning of a file that is UTF-8 text, in lower case and without byte-order mark and leading space.
fn text_start(bytes: &[u8]) -> Option<String> {
    let head = &bytes[..bytes.len().min(1024)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The first 1024 bytes may end in the middle of a character.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let control = |c: char| c.is_control() && !c.is_whitespace();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    (!text.is_empty() && !text.contains(control)).then(|| text.to_ascii_lowercase())
}
