//! Decompresses strips and tiles of a TIFF to samples of a byte each (TIFF 6.0, sections 9, 13 and 14; Adobe's and
//! libtiff's supplements).

use super::super::{jpeg, lzw};
use super::layout::{self, PageLayout, Photometric, StripOrTile};
use super::{DecodeError, corrupt, fax, truncated, unsupported};
use flate2::read::ZlibDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ColorType, ImageDecoder};
use std::borrow::Cow;
use std::io::{Cursor, Read};

/// The samples of a strip or tile that ended early, and the error that says so.
pub(super) struct Incomplete {
    pub samples: Vec<u8>,
    pub error: DecodeError,
}

impl From<DecodeError> for Incomplete {
    fn from(error: DecodeError) -> Self {
        Self { samples: Vec::new(), error }
    }
}

/// Decodes the samples of a strip or tile, row by row: all samples of each pixel, or those of its plane.
pub(super) fn decode(
    data: &[u8],
    layout: &PageLayout,
    part: &StripOrTile,
    max_pixels: u64,
) -> Result<Vec<u8>, Incomplete> {
    match layout.compression {
        layout::JPEG => return Ok(decode_jpeg(data, layout, part, max_pixels)?),
        layout::WEBP => return Ok(decode_webp(data, layout, part)?),
        _ => {}
    }
    let planes = if layout.planar { 1 } else { layout.samples };
    let row = (part.width * planes * layout.bits).div_ceil(8);
    let packed = with_bit_order(data, layout.reversed_bits && layout.compression != layout::NONE && !layout.is_fax());
    let mut bytes = unpacked(&packed, layout, part, row * part.height)?;
    if layout.reversed_bits && layout.compression == layout::NONE {
        bytes = with_bit_order(&bytes, true).into_owned().into();
    }
    let whole = bytes.len() == row * part.height;
    let mut samples = Vec::with_capacity(part.width * planes * part.height);
    let mut sums = Vec::new();
    for row in bytes.chunks(row) {
        let row = match layout.horizontal_differencing {
            false => row,
            true => {
                sums.clear();
                sums.extend_from_slice(row);
                undo_differencing(&mut sums, layout, planes);
                &sums
            }
        };
        widen_to_bytes(row, layout, part.width * planes, &mut samples);
    }
    if whole { Ok(samples) } else { Err(Incomplete { samples, error: truncated() }) }
}

/// Returns the bytes and reverses the bits of each one where `reversed_bits`.
fn with_bit_order(bytes: &[u8], reversed_bits: bool) -> Cow<'_, [u8]> {
    match reversed_bits {
        true => bytes.iter().map(|byte| byte.reverse_bits()).collect(),
        false => bytes.into(),
    }
}

/// Decompresses at most `wanted` bytes, and fewer where the data end early.
fn unpacked<'a>(
    data: &'a [u8],
    layout: &PageLayout,
    part: &StripOrTile,
    wanted: usize,
) -> Result<Cow<'a, [u8]>, Incomplete> {
    let mut out = Vec::new();
    match layout.compression {
        layout::NONE => return Ok(data[..data.len().min(wanted)].into()),
        layout::HUFFMAN | layout::GROUP_3 | layout::GROUP_4 => {
            if layout.bits != 1 || layout.samples != 1 {
                return Err(corrupt("fax codes of more than one bit a pixel").into());
            }
            out = fax::unpack(data, layout, part.width, part.height)?;
        }
        layout::PACK_BITS => out = pack_bits(data, wanted),
        layout::LZW => {
            if data.starts_with(&[0]) && data.get(1).is_some_and(|byte| byte & 1 == 1) {
                return Err(unsupported("LZW of the time before TIFF 6").into());
            }
            out = vec![0; wanted];
            let lzw::Unpacked { len, broken } = lzw::unpack_tiff(data, &mut out);
            out.truncate(len);
            if broken {
                return Err(corrupt("its LZW codes make no sense").into());
            }
        }
        layout::DEFLATE | layout::OLD_DEFLATE => {
            let done = ZlibDecoder::new(data).take(wanted as u64).read_to_end(&mut out);
            if done.is_err_and(|error| error.kind() != std::io::ErrorKind::UnexpectedEof) {
                return Err(corrupt("its deflated data make no sense").into());
            }
        }
        layout::ZSTD => {
            out = zstd::bulk::decompress(data, wanted).map_err(|error| corrupt(format!("its ZSTD data: {error}")))?;
        }
        other => return Err(unsupported(compression_name(other)).into()),
    }
    Ok(out.into())
}

/// Returns the name of a compression that is not read.
fn compression_name(compression: u64) -> String {
    match compression {
        6 => "JPEG of the time before TIFF 6 (compression 6)".into(),
        32809 => "ThunderScan's compression".into(),
        34676 | 34677 => "SGI's logarithmic samples".into(),
        34925 => "LZMA compression".into(),
        34712 => "JPEG 2000 inside".into(),
        50002 => "JPEG XL inside".into(),
        other => format!("the compression {other}"),
    }
}

/// Decompresses Apple's PackBits (TIFF 6.0, section 9): literal bytes, and bytes that are repeated.
fn pack_bits(data: &[u8], wanted: usize) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), data);
    while out.len() < wanted {
        let Some((&head, after)) = rest.split_first() else { break };
        let room = wanted - out.len();
        rest = match head {
            0..=127 => {
                let (piece, after) = after.split_at(after.len().min(usize::from(head) + 1));
                out.extend_from_slice(&piece[..piece.len().min(room)]);
                after
            }
            128 => after,
            129.. => {
                let Some((&byte, after)) = after.split_first() else { break };
                out.resize(out.len() + room.min(257 - usize::from(head)), byte);
                after
            }
        };
    }
    out
}

/// Adds to each sample of a row the sample of the pixel before it (TIFF 6.0, section 14).
fn undo_differencing(row: &mut [u8], layout: &PageLayout, planes: usize) {
    if layout.bits == 8 {
        for i in planes..row.len() {
            row[i] = row[i].wrapping_add(row[i - planes]);
        }
        return;
    }
    let (read, write) = match layout.big_endian {
        true => (u16::from_be_bytes as fn([u8; 2]) -> u16, u16::to_be_bytes as fn(u16) -> [u8; 2]),
        false => (u16::from_le_bytes as fn([u8; 2]) -> u16, u16::to_le_bytes as fn(u16) -> [u8; 2]),
    };
    let (samples, _) = row.as_chunks_mut::<2>();
    for i in planes..samples.len() {
        samples[i] = write(read(samples[i]).wrapping_add(read(samples[i - planes])));
    }
}

/// Appends a row of samples as bytes. It keeps the upper 8 of 16 bits; samples of fewer than 8 bits are indices of a
/// palette or are scaled to 0 to 255.
fn widen_to_bytes(row: &[u8], layout: &PageLayout, count: usize, out: &mut Vec<u8>) {
    match layout.bits {
        8 => out.extend_from_slice(row),
        16 => out.extend(row.as_chunks().0.iter().map(|[a, b]| if layout.big_endian { a } else { b })),
        bits => {
            let largest = (1u8 << bits) - 1;
            let step = if matches!(layout.colours, Photometric::Palette(_)) { 1 } else { 255 / largest };
            let in_byte = 8 / bits;
            let sample = |i: usize| (row[i / in_byte] >> (8 - bits - i % in_byte * bits) & largest) * step;
            out.extend((0..count.min(row.len() * in_byte)).map(sample));
        }
    }
}

/// Decodes a strip that is a JPEG. Its tables may be in the tag JPEGTables (Adobe's TIFF technical note 2).
fn decode_jpeg(data: &[u8], layout: &PageLayout, part: &StripOrTile, max_pixels: u64) -> Result<Vec<u8>, DecodeError> {
    let planes = if layout.planar { 1 } else { layout.samples };
    let meaning = layout.jpeg.filter(|_| layout.bits == 8);
    let meaning = meaning.ok_or_else(|| unsupported(format!("JPEG of {planes} {}-bit samples", layout.bits)))?;
    let (width, height) = jpeg::dimensions(data)?;
    if width != part.width || height < part.height.min(layout.height - part.top) || height > layout.tile[1] {
        return Err(corrupt(format!("a JPEG of {width}x{height} in a strip of {}x{}", part.width, part.height)));
    }
    let image = jpeg::decode_strip(data, layout.jpeg_tables, meaning, max_pixels)?;
    let rows = image.height.min(part.height);
    let pixels = &image.data[..rows * image.width * 3];
    Ok(if planes == 1 { pixels.iter().step_by(3).copied().collect() } else { pixels.to_vec() })
}

/// Decodes a strip that is a WebP.
fn decode_webp(data: &[u8], layout: &PageLayout, part: &StripOrTile) -> Result<Vec<u8>, DecodeError> {
    let refused = |error: image::ImageError| corrupt(format!("its WebP: {error}"));
    if layout.planar || layout.bits != 8 || !(3..=4).contains(&layout.samples) {
        return Err(unsupported("WebP of samples that are neither RGB nor RGBA"));
    }
    let decoder = WebPDecoder::new(Cursor::new(data)).map_err(refused)?;
    let (size, colour) = (decoder.dimensions(), decoder.color_type());
    if size != (part.width as u32, part.height as u32) {
        return Err(corrupt(format!("a WebP of {}x{} in a strip of {}x{}", size.0, size.1, part.width, part.height)));
    }
    let has_alpha = colour == ColorType::Rgba8;
    let mut pixels = vec![0; part.width * part.height * if has_alpha { 4 } else { 3 }];
    decoder.read_image(&mut pixels).map_err(refused)?;
    Ok(match (has_alpha, layout.samples) {
        (true, 3) => pixels.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect(),
        (false, 4) => pixels.as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect(),
        _ => pixels,
    })
}
