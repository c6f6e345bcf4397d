//! Decodes the first frame of a GIF on its canvas (CompuServe's GIF89a), as Pillow does.
//!
//! The canvas grows where the frame reaches beyond it. Outside the frame the canvas shows the transparent colour or,
//! where there is none, the first colour of the palette; the background colour of the header is not used. An index
//! beyond the palette is black, and without any palette an index is a level of grey.

use super::RgbImage;
use super::decode::{DecodeError, check_size, format_errors};
use super::lzw::{self, Unpacked};
use super::options::{DecodeOptions, Truncated};

/// The most bits that an LZW code may have.
const MAX_BITS: u8 = 12;

/// The first frame with its compressed pixels.
struct Frame<'a> {
    /// Width and height of the canvas.
    canvas: [usize; 2],
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    interlaced: bool,
    palette: &'a [u8],
    transparent: Option<u8>,
    /// The number of bits of an index, which is GIF's LZW minimum code size.
    bits: u8,
    /// The LZW codes in their sub-blocks.
    data: &'a [u8],
}

/// Decodes the first frame.
pub(crate) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage, DecodeError> {
    let frame = first_frame(bytes)?;
    let [width, height] = frame.canvas;
    check_size(width as u64, height as u64, options.max_pixels)?;
    let indices = frame.indices(options.truncated == Truncated::Pad)?;
    let colours: Vec<[u8; 3]> = (0..=255)
        .map(|index: u8| match frame.palette.as_chunks().0.get(usize::from(index)) {
            _ if frame.transparent == Some(index) => options.background,
            Some(colour) => *colour,
            None if frame.palette.is_empty() => [index; 3],
            None => [0; 3],
        })
        .collect();
    let uncovered = colours[usize::from(frame.transparent.unwrap_or(0))];
    let mut picture = RgbImage::filled(width, height, uncovered);
    for (y, row) in indices.chunks_exact(frame.width).enumerate() {
        let start = ((frame.top + frame.frame_row(y)) * width + frame.left) * 3;
        let pixels = picture.data[start..start + frame.width * 3].as_chunks_mut().0;
        pixels.iter_mut().zip(row).for_each(|(pixel, index)| *pixel = colours[usize::from(*index)]);
    }
    Ok(picture)
}

/// Returns width and height of the canvas.
pub(crate) fn dimensions(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let [width, height] = first_frame(bytes)?.canvas;
    Ok((width, height))
}

/// Reads the blocks before the pixels of the first frame.
fn first_frame(bytes: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let Some((&[w0, w1, h0, h1, flags, _, _], mut rest)) = bytes.get(6..).and_then(|rest| rest.split_first_chunk())
    else {
        return Err(truncated());
    };
    let canvas = [u16::from_le_bytes([w0, w1]), u16::from_le_bytes([h0, h1])].map(usize::from);
    let global = palette(flags, &mut rest)?;
    let mut transparent = None;
    loop {
        let (&kind, after) = rest.split_first().ok_or_else(truncated)?;
        rest = after;
        match kind {
            b'!' => {
                let (label, after) = rest.split_first().ok_or_else(truncated)?;
                let (blocks, after) = sub_blocks(after);
                if let (0xf9, Some([4, flags, _, _, index, ..])) = (label, Some(blocks))
                    && flags & 1 == 1
                {
                    transparent = Some(*index);
                }
                rest = after;
            }
            b',' => return frame(canvas, global, transparent, rest),
            b';' => return Err(corrupt("it has no picture before its end")),
            // Unknown bytes between blocks are skipped, as by Pillow.
            _ => {}
        }
    }
}

/// Reads the image descriptor of a frame (GIF89a, section 20) and its palette.
fn frame<'a>(
    canvas: [usize; 2],
    global: Option<&'a [u8]>,
    transparent: Option<u8>,
    head: &'a [u8],
) -> Result<Frame<'a>, DecodeError> {
    let Some((&[x0, x1, y0, y1, w0, w1, h0, h1, flags], mut rest)) = head.split_first_chunk() else {
        return Err(truncated());
    };
    let [left, top, width, height] =
        [[x0, x1], [y0, y1], [w0, w1], [h0, h1]].map(|b| usize::from(u16::from_le_bytes(b)));
    let local = palette(flags, &mut rest)?;
    let (&bits, data) = rest.split_first().ok_or_else(truncated)?;
    if width == 0 || height == 0 {
        return Err(corrupt(format!("its first frame has {width}x{height} pixels")));
    }
    if bits > MAX_BITS - 1 {
        return Err(corrupt(format!("pixels of {bits} bits")));
    }
    let canvas = [canvas[0].max(left + width), canvas[1].max(top + height)];
    let (palette, interlaced) = (local.or(global).unwrap_or_default(), flags & 64 != 0);
    Ok(Frame { canvas, left, top, width, height, interlaced, palette, transparent, bits, data })
}

/// Reads the palette at the beginning of `rest` if `flags` say that there is one.
fn palette<'a>(flags: u8, rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, DecodeError> {
    if flags & 128 == 0 {
        return Ok(None);
    }
    let (palette, after) = rest.split_at_checked(6 << (flags & 7)).ok_or_else(truncated)?;
    *rest = after;
    Ok(Some(palette))
}

/// Splits `bytes` after a sequence of sub-blocks (GIF89a, section 15): each has its length before it, and an empty one
/// or the end of the file ends the sequence.
fn sub_blocks(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut end = 0;
    while let Some(&length) = bytes.get(end) {
        end += 1 + usize::from(length);
        if length == 0 {
            break;
        }
    }
    bytes.split_at(end.min(bytes.len()))
}

impl Frame<'_> {
    /// Unpacks the indices of the pixels in the order of the file. With `pad`, missing pixels get the transparent index
    /// or 0.
    fn indices(&self, pad: bool) -> Result<Vec<u8>, DecodeError> {
        let (blocks, _) = sub_blocks(self.data);
        let mut coded = Vec::with_capacity(blocks.len());
        let mut rest = blocks;
        while let Some((&length, after)) = rest.split_first() {
            let (block, after) = after.split_at(usize::from(length).min(after.len()));
            coded.extend_from_slice(block);
            rest = after;
        }
        let mut indices = vec![self.transparent.unwrap_or(0); self.width * self.height];
        let Unpacked { len, broken } = lzw::unpack_gif(&coded, self.bits, &mut indices);
        match len == indices.len() || pad && len > 0 {
            true => Ok(indices),
            false if broken => Err(corrupt("its compressed pixels make no sense")),
            false => Err(truncated()),
        }
    }

    /// Returns the row of the frame that is stored as row `number` of the file; interlaced files store every eighth row
    /// first (GIF89a, appendix E).
    fn frame_row(&self, number: usize) -> usize {
        if !self.interlaced {
            return number;
        }
        let mut number = number;
        for (start, step) in [(0, 8), (4, 8), (2, 4), (1, 2)] {
            let rows = self.height.saturating_sub(start).div_ceil(step);
            if number < rows {
                return start + number * step;
            }
            number -= rows;
        }
        number
    }
}

format_errors! {
    corrupt: "the GIF is corrupt: {}",
    truncated: "the file ends early (GIF)",
}
