//! The size that a file's header promises, read before a decoder sees it: some call a picture corrupt that is only too large.

use image::ImageFormat;

/// Width and height of a PNG, BMP, QOI, or of the largest picture of an icon where that is a bitmap; none where nothing can be said.
pub(crate) fn promised(bytes: &[u8], format: ImageFormat) -> Option<[u64; 2]> {
    match format {
        ImageFormat::Png => Some([big(bytes, 16)?, big(bytes, 20)?]),
        ImageFormat::Qoi => Some([big(bytes, 4)?, big(bytes, 8)?]),
        ImageFormat::Bmp => of_bitmap(bytes.get(14..)?),
        ImageFormat::Ico => {
            // colours and mask lie one above the other
            let [width, height] = of_bitmap(largest_of_icon(bytes)?)?;
            Some([width, height / 2])
        }
        _ => None,
    }
}

/// The size in the header of a bitmap; rows from the top have a negative height.
fn of_bitmap(header: &[u8]) -> Option<[u64; 2]> {
    const CORE: u32 = 12;
    let short = |at: usize| Some(u64::from(u16::from_le_bytes(*header.get(at..)?.first_chunk()?)));
    let long = |at: usize| Some(i32::from_le_bytes(*header.get(at..)?.first_chunk()?).unsigned_abs().into());
    match u32::from_le_bytes(*header.first_chunk()?) {
        CORE => Some([short(4)?, short(6)?]),
        // a PNG, or nothing
        size if size > 1 << 16 => None,
        _ => Some([long(4)?, long(8)?]),
    }
}

fn big(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

/// An icon's largest picture. Of several as large the one with the fewest colours, as Pillow takes it.
pub(crate) fn largest_of_icon(bytes: &[u8]) -> Option<&[u8]> {
    let count = usize::from(u16::from_le_bytes(*bytes.get(4..)?.first_chunk()?));
    let entries = bytes.get(6..)?.as_chunks::<16>().0.iter().take(count);
    let side = |byte: u8| if byte == 0 { 256 } else { u32::from(byte) };
    let depth = |e: &[u8; 16]| u16::from_le_bytes([e[6], e[7]]);
    let entry = entries.min_by_key(|e| (std::cmp::Reverse(side(e[0]) * side(e[1])), depth(e)))?;
    let [length, start] =
        [8, 12].map(|at| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]) as usize);
    bytes.get(start..start.checked_add(length)?)
}
