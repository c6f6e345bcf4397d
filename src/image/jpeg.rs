//! JPEG: the structure is checked here, the pixels are decoded by zune-jpeg, the colours of unusual files are made here.
//!
//! zune-jpeg alone will not do: lenient, it gives half a picture for half a file; strict, it refuses harmless oddities. So the file is first
//! walked from marker to marker (ITU-T T.81, Annex B), and only what decoding needs is copied into a clean stream for the strict decoder.
//! The verdicts are libjpeg's as Pillow uses it: a file without its end-of-image marker is truncated; bytes between segments, after the end,
//! and broken metadata do no harm. Where entropy-coded data make no sense libjpeg warns and goes on; here the file is corrupt.

use super::RgbImage;
use super::decode::{DecodeError, DecodeErrorKind, check_size};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Marker codes (T.81, table B.1) that are told apart.
mod marker {
    pub const TEM: u8 = 0x01;
    pub const DHT: u8 = 0xc4;
    pub const JPG: u8 = 0xc8;
    pub const DAC: u8 = 0xcc;
    pub const RST0: u8 = 0xd0;
    pub const RST7: u8 = 0xd7;
    pub const SOI: u8 = 0xd8;
    pub const EOI: u8 = 0xd9;
    pub const SOS: u8 = 0xda;
    pub const DQT: u8 = 0xdb;
    pub const DRI: u8 = 0xdd;
    pub const APP0: u8 = 0xe0;
    pub const APP14: u8 = 0xee;
}

/// Decodes a JPEG of at most `max_pixels` pixels.
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, DecodeError> {
    let file = File::read(bytes, max_pixels)?;
    let (width, height) = (file.frame.width, file.frame.height);
    let colours = file.colours()?;
    let out = match colours {
        Colours::Grey | Colours::YCbCr => ColorSpace::RGB,
        // asked for what it takes them for, the decoder copies the components as they are
        Colours::Rgb => ColorSpace::YCbCr,
        Colours::Cmyk | Colours::Ycck => ColorSpace::CMYK,
    };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(out);
    let data = JpegDecoder::new_with_options(ZCursor::new(file.clean), options).decode().map_err(translate)?;
    let data = match colours {
        Colours::Grey | Colours::YCbCr | Colours::Rgb => data,
        Colours::Cmyk => data.as_chunks::<4>().0.iter().flat_map(|p| print_to_rgb(*p)).collect(),
        Colours::Ycck => data.as_chunks::<4>().0.iter().flat_map(|p| print_to_rgb(ycck_to_cmyk(*p))).collect(),
    };
    if data.len() != width * height * 3 {
        return Err(corrupt(format!("{} bytes came of {width}x{height} pixels", data.len())));
    }
    Ok(RgbImage { width, height, data })
}

/// Width and height, from the frame header.
pub(super) fn dimensions(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let mut segments = Segments::new(bytes);
    loop {
        let segment = segments.next()?;
        match segment.marker {
            0xc0..=0xcf if is_frame(segment.marker) => {
                let frame = Frame::read(segment.body)?;
                return Ok((frame.width, frame.height));
            }
            marker::EOI => return Err(corrupt("no frame header")),
            _ => {}
        }
    }
}

/// The file as it matters to the decoder.
struct File {
    frame: Frame,
    jfif: bool,
    /// The colour transform in Adobe's APP14 segment.
    adobe: Option<u8>,
    /// The same picture with nothing in it that is not needed.
    clean: Vec<u8>,
}

/// How the components are to be read.
#[derive(Clone, Copy)]
enum Colours {
    Grey,
    YCbCr,
    Rgb,
    Cmyk,
    Ycck,
}

impl File {
    fn read(bytes: &[u8], max_pixels: u64) -> Result<Self, DecodeError> {
        let mut segments = Segments::new(bytes);
        let (mut frame, mut jfif, mut adobe) = (None, false, None);
        let (mut huffman, mut scans) = (false, false);
        let mut clean = Vec::with_capacity(bytes.len());
        clean.extend([0xff, marker::SOI]);
        loop {
            let segment = segments.next()?;
            match segment.marker {
                marker::EOI => break,
                marker::SOI => return Err(corrupt("a second picture begins inside the first")),
                marker::APP0 => jfif |= segment.body.starts_with(b"JFIF\0"),
                marker::APP14 if segment.body.starts_with(b"Adobe") => adobe = segment.body.get(11).copied(),
                marker::DQT | marker::DRI => segment.copy(&mut clean),
                marker::DHT => {
                    huffman = true;
                    segment.copy(&mut clean);
                }
                marker::SOS => {
                    scans = true;
                    if !huffman {
                        clean.extend(STANDARD_TABLES);
                        huffman = true;
                    }
                    segment.copy(&mut clean);
                }
                0xc0..=0xc2 => {
                    let header = Frame::read(segment.body)?;
                    header.check(max_pixels)?;
                    frame = Some(header);
                    segment.copy(&mut clean);
                }
                code if is_frame(code) => return Err(unsupported(format!("{} JPEG", process(code)))),
                _ => {}
            }
        }
        clean.extend([0xff, marker::EOI]);
        match frame {
            Some(frame) if scans => Ok(Self { frame, jfif, adobe, clean }),
            _ => Err(corrupt("no picture between the start and end markers")),
        }
    }

    /// libjpeg's guess of the colour space (`default_decompress_parms`).
    fn colours(&self) -> Result<Colours, DecodeError> {
        match (self.frame.ids.as_slice(), self.adobe) {
            ([_], _) => Ok(Colours::Grey),
            ([_, _, _], _) if self.jfif => Ok(Colours::YCbCr),
            ([_, _, _], Some(0)) | (b"RGB", None) => Ok(Colours::Rgb),
            ([_, _, _], _) => Ok(Colours::YCbCr),
            ([_, _, _, _], None | Some(0)) => Ok(Colours::Cmyk),
            ([_, _, _, _], Some(_)) => Ok(Colours::Ycck),
            (ids, _) => Err(unsupported(format!("JPEG of {} components", ids.len()))),
        }
    }
}

/// An APP0 segment at which the decoder installs the tables of T.81, annex K.3: frames of Motion JPEG leave them out.
const STANDARD_TABLES: [u8; 10] = [0xff, marker::APP0, 0, 8, b'A', b'V', b'I', b'1', 0, 0];

/// The frame header (T.81, B.2.2).
struct Frame {
    precision: u8,
    width: usize,
    height: usize,
    ids: Vec<u8>,
}

impl Frame {
    fn read(body: &[u8]) -> Result<Self, DecodeError> {
        let Some((&[precision, h1, h0, w1, w0, count], components)) = body.split_first_chunk() else {
            return Err(corrupt("the frame header is too short"));
        };
        if components.len() != usize::from(count) * 3 {
            return Err(corrupt(format!("a frame header of {} bytes for {count} components", body.len())));
        }
        let width = usize::from(u16::from_be_bytes([w1, w0]));
        let height = usize::from(u16::from_be_bytes([h1, h0]));
        Ok(Self { precision, width, height, ids: components.iter().step_by(3).copied().collect() })
    }

    fn check(&self, max_pixels: u64) -> Result<(), DecodeError> {
        check_size(self.width as u64, self.height as u64, max_pixels)?;
        if self.precision != 8 {
            return Err(unsupported(format!("JPEG of {} bits a sample", self.precision)));
        }
        if self.height == 0 {
            return Err(unsupported("JPEG that tells its height only after its pixels"));
        }
        if self.width == 0 {
            return Err(corrupt("the picture has no columns"));
        }
        Ok(())
    }
}

/// Whether the marker opens a frame (SOF0 to SOF15).
fn is_frame(code: u8) -> bool {
    (0xc0..=0xcf).contains(&code) && ![marker::DHT, marker::JPG, marker::DAC].contains(&code)
}

/// The coding process of a frame that is not read.
fn process(code: u8) -> &'static str {
    match code {
        0xc3 | 0xc7 | 0xcb | 0xcf => "lossless",
        0xc9 | 0xca => "arithmetic-coded",
        _ => "hierarchical",
    }
}

/// A marker and what belongs to it.
struct Segment<'a> {
    marker: u8,
    /// What the segment's length covers, less the two bytes of the length.
    body: &'a [u8],
    /// After a start of scan: the entropy-coded data with their restart markers.
    entropy: &'a [u8],
}

impl Segment<'_> {
    fn copy(&self, clean: &mut Vec<u8>) {
        let length = (self.body.len() + 2) as u16; // it came out of two bytes
        clean.extend([0xff, self.marker]);
        clean.extend(length.to_be_bytes());
        clean.extend_from_slice(self.body);
        clean.extend_from_slice(self.entropy);
    }
}

/// Goes through a file from marker to marker.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    /// `bytes` begin with the start-of-image marker.
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 2 }
    }

    /// The next segment; the last one is the end-of-image marker, and a file without it is truncated.
    fn next(&mut self) -> Result<Segment<'a>, DecodeError> {
        loop {
            let code = self.next_marker()?;
            match code {
                marker::TEM | marker::RST0..=marker::RST7 => continue,
                marker::SOI | marker::EOI => return Ok(Segment { marker: code, body: &[], entropy: &[] }),
                _ => {}
            }
            let length = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk());
            let length = usize::from(u16::from_be_bytes(*length.ok_or_else(truncated)?));
            if length < 2 {
                return Err(corrupt(format!("a segment of type {code:02x} with a length of {length}")));
            }
            let body = self.bytes.get(self.at + 2..self.at + length).ok_or_else(truncated)?;
            self.at += length;
            let entropy = if code == marker::SOS { self.entropy()? } else { &[] };
            return Ok(Segment { marker: code, body, entropy });
        }
    }

    /// Skips to the next marker and over it.
    fn next_marker(&mut self) -> Result<u8, DecodeError> {
        let mut seen_ff = false;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                0xff => seen_ff = true,
                0 => seen_ff = false,
                code if seen_ff => return Ok(code),
                _ => {}
            }
        }
        Err(truncated())
    }

    /// The data up to the next marker that is not a restart marker.
    fn entropy(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.at;
        loop {
            self.at += distance_to_ff(&self.bytes[self.at..]).ok_or_else(truncated)?;
            match self.bytes.get(self.at + 1) {
                // a stuffed 0xff, or a restart marker
                Some(0 | marker::RST0..=marker::RST7) => self.at += 2,
                // fill bytes
                Some(0xff) => self.at += 1,
                Some(_) => return Ok(&self.bytes[start..self.at]),
                None => return Err(truncated()),
            }
        }
    }
}

/// Where the first 0xff is; eight bytes are looked at in one step.
fn distance_to_ff(bytes: &[u8]) -> Option<usize> {
    let (chunks, _) = bytes.as_chunks::<16>();
    let clear = chunks.iter().take_while(|c| !c.iter().fold(false, |found, b| found | (*b == 0xff))).count() * 16;
    bytes[clear..].iter().position(|b| *b == 0xff).map(|p| clear + p)
}

/// Cyan, magenta, yellow and black as Adobe stores them (255 = no ink) to RGB, as Pillow's `convert('RGB')`: for each ink the light that
/// black leaves, less the part which the ink takes away.
fn print_to_rgb([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let light = i32::from(k);
    [c, m, y].map(|v| {
        let product = (255 - i32::from(v)) * light + 128;
        (light - (((product >> 8) + product) >> 8)).clamp(0, 255) as u8
    })
}

/// YCbCr with black to CMYK: the first three give RGB, which are the light left by the inks, so CMY inverted (libjpeg's
/// `ycck_cmyk_convert`, with the weights of T.871 in 16-bit fixed point).
fn ycck_to_cmyk([y, cb, cr, k]: [u8; 4]) -> [u8; 4] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91_881 * cr + HALF) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let blue = y + ((116_130 * cb + HALF) >> 16);
    let [c, m, yellow] = [red, green, blue].map(|v| (255 - v).clamp(0, 255) as u8);
    [c, m, yellow, k]
}

fn translate(error: DecodeErrors) -> DecodeError {
    match error {
        DecodeErrors::Unsupported(_) => unsupported(format!("JPEG: {error}")),
        // the walk has seen the end marker, so whatever else is missing is missing inside
        _ => corrupt(error.to_string()),
    }
}

fn corrupt(detail: impl AsRef<str>) -> DecodeError {
    let detail = format!("the JPEG is corrupt: {}", detail.as_ref().replace(['\n', '\r'], " "));
    DecodeError::new(DecodeErrorKind::Corrupt, detail)
}

fn truncated() -> DecodeError {
    DecodeError::new(DecodeErrorKind::Truncated, "the file ends early (no end-of-image marker)")
}

fn unsupported(what: impl AsRef<str>) -> DecodeError {
    let detail = format!("{} is not supported; convert it to a usual JPEG or PNG", what.as_ref());
    DecodeError::new(DecodeErrorKind::Unsupported, detail)
}
