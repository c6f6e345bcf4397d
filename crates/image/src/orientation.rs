//! The orientation that EXIF tells (tag 274): which way up the camera was held.

use super::RgbImage;
use image::metadata::Orientation;

/// The orientation in a block of EXIF, with or without the six bytes that precede it in a JPEG.
pub(crate) fn of_exif(block: &[u8]) -> Orientation {
    let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    Orientation::from_exif_chunk(block).unwrap_or(Orientation::NoTransforms)
}

/// The orientation in a PNG's `eXIf`, wherever it stands.
pub(crate) fn of_png(bytes: &[u8]) -> Orientation {
    chunk_of_png(bytes, b"eXIf").map_or(Orientation::NoTransforms, of_exif)
}

/// The content of a PNG's first chunk of this kind.
pub(crate) fn chunk_of_png<'a>(bytes: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    let mut rest = bytes.get(8..).unwrap_or(&[]);
    while let Some((&[l3, l2, l1, l0, kind @ ..], after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([l3, l2, l1, l0]) as usize;
        let Some((body, after)) = after.split_at_checked(length) else { break };
        if &kind == wanted {
            return Some(body);
        }
        // four bytes of checksum
        rest = after.get(4..).unwrap_or(&[]);
    }
    None
}

/// Whether width and height change places.
pub(crate) fn is_sideways(orientation: Orientation) -> bool {
    use Orientation::*;
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// The picture the right way up.
pub(crate) fn turned(image: RgbImage, orientation: Orientation) -> RgbImage {
    use Orientation::*;
    let (right, below) = (image.width.saturating_sub(1), image.height.saturating_sub(1));
    match orientation {
        NoTransforms => image,
        FlipHorizontal => moved(&image, orientation, |x, y| [right - x, y]),
        Rotate180 => moved(&image, orientation, |x, y| [right - x, below - y]),
        FlipVertical => moved(&image, orientation, |x, y| [x, below - y]),
        Rotate90FlipH => moved(&image, orientation, |x, y| [y, x]),
        Rotate90 => moved(&image, orientation, |x, y| [y, below - x]),
        Rotate270FlipH => moved(&image, orientation, |x, y| [right - y, below - x]),
        Rotate270 => moved(&image, orientation, |x, y| [right - y, x]),
    }
}

/// The picture whose pixel at (x, y) is the one of `image` at `from(x, y)`.
fn moved(image: &RgbImage, orientation: Orientation, from: impl Fn(usize, usize) -> [usize; 2]) -> RgbImage {
    /// Rows that are written together, so that a column of the source is read while it is in the cache.
    const ROWS: usize = 64;
    let (width, height) =
        if is_sideways(orientation) { (image.height, image.width) } else { (image.width, image.height) };
    let mut out = RgbImage { width, height, data: vec![0; image.data.len()] };
    let pixels = image.data.as_chunks::<3>().0;
    for (band, rows) in out.data.as_chunks_mut::<3>().0.chunks_mut((width * ROWS).max(1)).enumerate() {
        for x in 0..width {
            for (i, row) in rows.chunks_exact_mut(width).enumerate() {
                let [column, line] = from(x, band * ROWS + i);
                row[x] = pixels[line * image.width + column];
            }
        }
    }
    out
}
