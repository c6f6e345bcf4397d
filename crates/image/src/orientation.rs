//! Turns and mirrors a picture by its EXIF orientation (EXIF 2.32, tag 274), which `exif.rs` reads.

use super::RgbImage;
use image::metadata::Orientation;

/// Whether the orientation swaps width and height.
pub(crate) fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::*;
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// Returns the picture the right way up.
pub(crate) fn apply(image: RgbImage, orientation: Orientation) -> RgbImage {
    use Orientation::*;
    let (right, below) = (image.width.saturating_sub(1), image.height.saturating_sub(1));
    match orientation {
        NoTransforms => image,
        FlipHorizontal => rearranged(&image, orientation, |x, y| [right - x, y]),
        Rotate180 => rearranged(&image, orientation, |x, y| [right - x, below - y]),
        FlipVertical => rearranged(&image, orientation, |x, y| [x, below - y]),
        Rotate90FlipH => rearranged(&image, orientation, |x, y| [y, x]),
        Rotate90 => rearranged(&image, orientation, |x, y| [y, below - x]),
        Rotate270FlipH => rearranged(&image, orientation, |x, y| [right - y, below - x]),
        Rotate270 => rearranged(&image, orientation, |x, y| [right - y, x]),
    }
}

/// Returns the picture whose pixel at (x, y) is the pixel of `image` at `from(x, y)`.
fn rearranged(image: &RgbImage, orientation: Orientation, from: impl Fn(usize, usize) -> [usize; 2]) -> RgbImage {
    /// The number of output rows that are written together, so that reads down a column of the source find it in the
    /// cache.
    const ROWS: usize = 64;
    let (width, height) =
        if swaps_sides(orientation) { (image.height, image.width) } else { (image.width, image.height) };
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
