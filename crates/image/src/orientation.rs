//! Pictures the right way up: turned and mirrored as their orientation says (`exif.rs` finds it).

use super::RgbImage;
use image::metadata::Orientation;

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
