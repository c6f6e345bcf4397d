//! Strips and tiles of a TIFF become samples: unpacked, differences summed, a byte each.

use super::super::{jpeg, lzw};
use super::layout::{self, Chunk, Colours, Layout};
use super::{DecodeError, corrupt, fax, truncated, unsupported};
use flate2::read::ZlibDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ColorType, ImageDecoder};
use std::borrow::Cow;
use std::io::{Cursor, Read};

/// Samples of a strip or tile that has fewer than it should, and why.
pub(super) struct Cut {
    pub samples: Vec<u8>,
    pub error: DecodeError,
}

impl From<DecodeError> for Cut {
    fn from(error: DecodeError) -> Self {
        Self { samples: Vec::new(), error }
    }
}

/// The samples of a strip or tile, row by row: of all planes in turn, or of its own.
pub(super) fn chunk(data: &[u8], layout: &Layout, chunk: &Chunk, max_pixels: u64) -> Result<Vec<u8>, Cut> {
    match layout.compression {
        layout::JPEG => return Ok(of_jpeg(data, layout, chunk, max_pixels)?),
        layout::WEBP => return Ok(of_webp(data, layout, chunk)?),
        _ => {}
    }
    let planes = if layout.planar { 1 } else { layout.samples };
    let row = (chunk.width * planes * layout.bits).div_ceil(8);
    let packed = turned(data, layout.reversed && layout.compression != layout::NONE && !layout.is_fax());
    let mut bytes = unpacked(&packed, layout, chunk, row * chunk.height)?;
    if layout.reversed && layout.compression == layout::NONE {
        bytes = turned(&bytes, true).into_owned().into();
    }
    let whole = bytes.len() == row * chunk.height;
    let mut samples = Vec::with_capacity(chunk.width * planes * chunk.height);
    let mut sums = Vec::new();
    for row in bytes.chunks(row) {
        let row = match layout.differences {
            false => row,
            true => {
                sums.clear();
                sums.extend_from_slice(row);
                sum(&mut sums, layout, planes);
                &sums
            }
        };
        expand(row, layout, chunk.width * planes, &mut samples);
    }
    if whole { Ok(samples) } else { Err(Cut { samples, error: truncated() }) }
}

/// The bytes, with the bits of each in the other order where it is asked for.
fn turned(bytes: &[u8], reversed: bool) -> Cow<'_, [u8]> {
    match reversed {
        true => bytes.iter().map(|byte| byte.reverse_bits()).collect(),
        false => bytes.into(),
    }
}

/// At most `wanted` bytes, fewer where the data end early.
fn unpacked<'a>(data: &'a [u8], layout: &Layout, chunk: &Chunk, wanted: usize) -> Result<Cow<'a, [u8]>, Cut> {
    let mut out = Vec::new();
    match layout.compression {
        layout::NONE => return Ok(data[..data.len().min(wanted)].into()),
        layout::HUFFMAN | layout::GROUP_3 | layout::GROUP_4 => {
            if layout.bits != 1 || layout.samples != 1 {
                return Err(corrupt("fax codes of more than one bit a pixel").into());
            }
            out = fax::unpack(data, layout, chunk.width, chunk.height)?;
        }
        layout::PACK_BITS => out = pack_bits(data, wanted),
        layout::LZW => {
            if data.starts_with(&[0]) && data.get(1).is_some_and(|byte| byte & 1 == 1) {
                return Err(unsupported("LZW of the time before TIFF 6").into());
            }
            out = vec![0; wanted];
            let lzw::Unpacked { len, broken } = lzw::of_tiff(data, &mut out);
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
        other => return Err(unsupported(named(other)).into()),
    }
    Ok(out.into())
}

/// A compression that is not read.
fn named(compression: u64) -> String {
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

/// Apple's PackBits (TIFF 6.0, section 9): pieces that stand for themselves, and bytes that are repeated.
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

/// Adds to each sample of a row that of the pixel before it.
fn sum(row: &mut [u8], layout: &Layout, planes: usize) {
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

/// A row of samples, a byte each: of 16 bits the upper eight; fewer than eight are indices of a palette, or levels from 0 to 255.
fn expand(row: &[u8], layout: &Layout, count: usize, out: &mut Vec<u8>) {
    match layout.bits {
        8 => out.extend_from_slice(row),
        16 => out.extend(row.as_chunks().0.iter().map(|[a, b]| if layout.big_endian { a } else { b })),
        bits => {
            let largest = (1u8 << bits) - 1;
            let step = if matches!(layout.colours, Colours::Palette(_)) { 1 } else { 255 / largest };
            let in_byte = 8 / bits;
            let sample = |i: usize| (row[i / in_byte] >> (8 - bits - i % in_byte * bits) & largest) * step;
            out.extend((0..count.min(row.len() * in_byte)).map(sample));
        }
    }
}

/// The samples of a strip that is a JPEG, with its tables perhaps elsewhere.
fn of_jpeg(data: &[u8], layout: &Layout, chunk: &Chunk, max_pixels: u64) -> Result<Vec<u8>, DecodeError> {
    let planes = if layout.planar { 1 } else { layout.samples };
    let meaning = layout.jpeg.filter(|_| layout.bits == 8);
    let meaning = meaning.ok_or_else(|| unsupported(format!("JPEG of {planes} {}-bit samples", layout.bits)))?;
    let (width, height) = jpeg::dimensions(data)?;
    if width != chunk.width || height < chunk.height.min(layout.height - chunk.top) || height > layout.tile[1] {
        return Err(corrupt(format!("a JPEG of {width}x{height} in a strip of {}x{}", chunk.width, chunk.height)));
    }
    let image = jpeg::decode_strip(data, layout.jpeg_tables, meaning, max_pixels)?;
    let rows = image.height.min(chunk.height);
    let pixels = &image.data[..rows * image.width * 3];
    Ok(if planes == 1 { pixels.iter().step_by(3).copied().collect() } else { pixels.to_vec() })
}

/// The samples of a strip that is a WebP.
fn of_webp(data: &[u8], layout: &Layout, chunk: &Chunk) -> Result<Vec<u8>, DecodeError> {
    let refused = |error: image::ImageError| corrupt(format!("its WebP: {error}"));
    if layout.planar || layout.bits != 8 || !(3..=4).contains(&layout.samples) {
        return Err(unsupported("WebP of samples that are neither RGB nor RGBA"));
    }
    let decoder = WebPDecoder::new(Cursor::new(data)).map_err(refused)?;
    let (size, colour) = (decoder.dimensions(), decoder.color_type());
    if size != (chunk.width as u32, chunk.height as u32) {
        return Err(corrupt(format!("a WebP of {}x{} in a strip of {}x{}", size.0, size.1, chunk.width, chunk.height)));
    }
    let has_alpha = colour == ColorType::Rgba8;
    let mut pixels = vec![0; chunk.width * chunk.height * if has_alpha { 4 } else { 3 }];
    decoder.read_image(&mut pixels).map_err(refused)?;
    Ok(match (has_alpha, layout.samples) {
        (true, 3) => pixels.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect(),
        (false, 4) => pixels.as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect(),
        _ => pixels,
    })
}
