//! Reads from the tags of a TIFF (TIFF 6.0, sections 3 to 8, 13 to 15) how its samples are stored.

use super::super::decode::{DecodeError, DecodeErrorKind};
use super::super::ifd::Directory;
use super::super::jpeg;
use super::{check_size, corrupt, truncated, unsupported};

const IMAGE_WIDTH: u16 = 256;
const IMAGE_LENGTH: u16 = 257;
const BITS_PER_SAMPLE: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const STRIP_OFFSETS: u16 = 273;
const SAMPLES_PER_PIXEL: u16 = 277;
const ROWS_PER_STRIP: u16 = 278;
const STRIP_BYTE_COUNTS: u16 = 279;
const PLANAR_CONFIGURATION: u16 = 284;
const T4_OPTIONS: u16 = 292;
const PREDICTOR: u16 = 317;
const COLOR_MAP: u16 = 320;
const TILE_WIDTH: u16 = 322;
const TILE_LENGTH: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_BYTE_COUNTS: u16 = 325;
const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;
const JPEG_TABLES: u16 = 347;
const SUBSAMPLING: u16 = 530;

/// Values of the tag Compression, of TIFF 6.0 and of libtiff.
pub(super) const NONE: u64 = 1;
pub(super) const HUFFMAN: u64 = 2;
pub(super) const GROUP_3: u64 = 3;
pub(super) const GROUP_4: u64 = 4;
pub(super) const LZW: u64 = 5;
pub(super) const JPEG: u64 = 7;
pub(super) const DEFLATE: u64 = 8;
pub(super) const PACK_BITS: u64 = 32773;
pub(super) const OLD_DEFLATE: u64 = 32946;
pub(super) const ZSTD: u64 = 50000;
pub(super) const WEBP: u64 = 50001;

/// The bytes that a strip or a tile may have in addition to eight for each pixel of the largest allowed picture.
const ROOM: u64 = 64 << 20;

/// The number of samples that a pixel may have, as in Pillow.
const MAX_SAMPLES: usize = 6;

/// The meaning of the first samples of a pixel (tag PhotometricInterpretation).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Photometric {
    /// Where `inverted`, 0 is white.
    Grey {
        inverted: bool,
    },
    Rgb,
    Palette(Vec<[u8; 3]>),
    Cmyk,
    YCbCr,
}

impl Photometric {
    /// The number of samples that the colours take.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Grey { .. } | Self::Palette(_) => 1,
            Self::Rgb | Self::YCbCr => 3,
            Self::Cmyk => 4,
        }
    }
}

/// The meaning of the sample after the colours (tag ExtraSamples).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpha {
    None,
    Straight,
    Premultiplied,
}

/// The properties that are needed to find and decode the samples of a page.
pub(super) struct PageLayout<'a> {
    pub width: usize,
    pub height: usize,
    pub colours: Photometric,
    pub alpha: Alpha,
    /// The number of samples of a pixel in the file.
    pub samples: usize,
    /// The bits of a sample: 1, 2, 4, 8 or 16.
    pub bits: usize,
    pub big_endian: bool,
    /// Whether each sample of the pixels has strips or tiles of its own (tag PlanarConfiguration).
    pub planar: bool,
    pub compression: u64,
    /// Whether a sample is stored as its difference to the sample of the pixel before it (tag Predictor, value 2).
    pub horizontal_differencing: bool,
    /// Whether the first pixel of a byte is in its lowest bits (tag FillOrder).
    pub reversed_bits: bool,
    pub t4_options: u64,
    pub jpeg_tables: Option<&'a [u8]>,
    /// The colour space of strips and tiles that are JPEGs; none where JPEG cannot hold these samples.
    pub jpeg: Option<jpeg::ColourSpace>,
    /// Width and height of a tile or of a strip, which is as wide as the picture.
    pub tile: [usize; 2],
    tiled: bool,
    offsets: Vec<u64>,
    counts: Vec<u64>,
}

/// A strip or a tile, and the pixels that it covers. `number` is its index in the tags.
pub(super) struct StripOrTile {
    pub number: usize,
    pub plane: usize,
    pub left: usize,
    pub top: usize,
    pub width: usize,
    pub height: usize,
}

/// Returns width and height of the page.
pub(super) fn size(directory: &Directory) -> Result<[usize; 2], DecodeError> {
    let side = |tag: u16| directory.integer(tag).and_then(|side| usize::try_from(side).ok());
    match (side(IMAGE_WIDTH), side(IMAGE_LENGTH)) {
        (Some(width @ 1..), Some(height @ 1..)) => Ok([width, height]),
        (None, _) | (_, None) => Err(truncated()),
        (Some(width), Some(height)) => Err(corrupt(format!("the picture has {width}x{height} pixels"))),
    }
}

impl<'a> PageLayout<'a> {
    pub(super) fn read(directory: &Directory<'a>, max_pixels: u64) -> Result<Self, DecodeError> {
        let [width, height] = size(directory)?;
        check_size(width as u64, height as u64, max_pixels)?;
        let tag = |tag: u16, default: u64| directory.integer(tag).unwrap_or(default);
        let planar = tag(PLANAR_CONFIGURATION, 1) == 2;
        let compression = tag(COMPRESSION, NONE);
        let samples = usize::try_from(tag(SAMPLES_PER_PIXEL, 1)).unwrap_or(usize::MAX);
        if !(1..=MAX_SAMPLES).contains(&samples) {
            return Err(unsupported(format!("{samples} samples a pixel")));
        }
        let bits = bits(directory, samples)?;
        let colours = colours(directory, compression, bits, samples)?;
        let alpha = alpha(directory, &colours, samples)?;
        let jpeg = jpeg_colour_space(directory, &colours, alpha, samples);
        // The JPEG decoder converts CMYK to RGB.
        let (colours, samples) = match jpeg {
            Some(jpeg::ColourSpace::TiffCmyk) if compression == JPEG => (Photometric::Rgb, 3),
            _ => (colours, samples),
        };
        let horizontal_differencing = uses_horizontal_differencing(directory, compression, bits)?;
        let tiled = !directory.contains(STRIP_OFFSETS);
        let tile = if tiled { tile(directory)? } else { strip(directory, [width, height])? };
        let bytes = (tile[0] as u64).saturating_mul(tile[1] as u64).saturating_mul((samples * bits) as u64) / 8;
        if bytes > max_pixels.saturating_mul(8).saturating_add(ROOM) {
            let detail = format!("strips or tiles of {bytes} bytes are too large (image.max_pixels)");
            return Err(DecodeError::new(DecodeErrorKind::TooLarge, detail));
        }
        let (offsets, counts) =
            if tiled { (TILE_OFFSETS, TILE_BYTE_COUNTS) } else { (STRIP_OFFSETS, STRIP_BYTE_COUNTS) };
        let mut layout = Self {
            width,
            height,
            colours,
            alpha,
            samples,
            bits,
            big_endian: directory.big_endian,
            planar,
            compression,
            horizontal_differencing,
            reversed_bits: tag(FILL_ORDER, 1) == 2,
            t4_options: tag(T4_OPTIONS, 0),
            jpeg_tables: directory.bytes(JPEG_TABLES),
            jpeg,
            tile,
            tiled,
            offsets: directory.integers(offsets).ok_or_else(|| corrupt("it does not say where its pixels are"))?,
            counts: directory.integers(counts).unwrap_or_default(),
        };
        // Where several strips each hold the whole picture, the last one counts, as in Pillow.
        if compression == NONE && !planar && layout.tile == [width, height] {
            layout.offsets.drain(..layout.offsets.len().saturating_sub(1));
        }
        let [across, down] = layout.grid();
        let wanted = across.saturating_mul(down).saturating_mul(layout.planes());
        if layout.offsets.len() < wanted {
            return Err(corrupt(format!("{} strips or tiles where there should be {wanted}", layout.offsets.len())));
        }
        Ok(layout)
    }

    /// The number of samples of a pixel that make the picture; further samples are ignored.
    pub(super) fn kept_samples(&self) -> usize {
        self.colours.count() + usize::from(self.alpha != Alpha::None)
    }

    /// Whether the strips are compressed with a fax code.
    pub(super) fn is_fax(&self) -> bool {
        matches!(self.compression, HUFFMAN | GROUP_3 | GROUP_4)
    }

    /// The number of strips or tiles across and down.
    fn grid(&self) -> [usize; 2] {
        [self.width.div_ceil(self.tile[0]), self.height.div_ceil(self.tile[1])]
    }

    /// The number of planes that are needed; interleaved samples are one plane.
    fn planes(&self) -> usize {
        if self.planar { self.kept_samples() } else { 1 }
    }

    /// Goes through the strips or tiles of each needed plane, from left to right and from the top down.
    pub(super) fn strips_and_tiles(&self) -> impl Iterator<Item = StripOrTile> {
        let ([wide, high], [across, down]) = (self.tile, self.grid());
        (0..self.planes()).flat_map(move |plane| {
            (0..across * down).map(move |place| {
                let (left, top) = (place % across * wide, place / across * high);
                // The last strip ends with the picture. A compressed tile at the lower edge has its full height.
                let whole = self.tiled && self.compression != NONE;
                let height = if whole { high } else { high.min(self.height - top) };
                StripOrTile { number: plane * across * down + place, plane, left, top, width: wide, height }
            })
        })
    }

    /// Returns the bytes of a strip or a tile. For an uncompressed one it returns the rest of the file; the caller
    /// knows from its size how much of it is used.
    pub(super) fn data<'b>(&self, bytes: &'b [u8], number: usize) -> Result<&'b [u8], DecodeError> {
        let start = self.offsets.get(number).and_then(|start| usize::try_from(*start).ok());
        let rest = start.and_then(|start| bytes.get(start..)).ok_or_else(truncated)?;
        match self.counts.get(number).map(|count| usize::try_from(*count).unwrap_or(usize::MAX)) {
            Some(count) if self.compression != NONE => Ok(&rest[..count.min(rest.len())]),
            _ => Ok(rest),
        }
    }
}

/// Returns width and height of the tiles.
fn tile(directory: &Directory) -> Result<[usize; 2], DecodeError> {
    let side = |tag: u16| directory.integer(tag).and_then(|side| usize::try_from(side).ok()).filter(|side| *side > 0);
    match (side(TILE_WIDTH), side(TILE_LENGTH)) {
        (Some(width), Some(height)) => Ok([width, height]),
        _ => Err(corrupt("tiles of no size")),
    }
}

/// Returns width and height of the strips; a file without the tag RowsPerStrip has one strip.
fn strip(directory: &Directory, [width, height]: [usize; 2]) -> Result<[usize; 2], DecodeError> {
    match directory.integer(ROWS_PER_STRIP).map(|rows| usize::try_from(rows).unwrap_or(usize::MAX)) {
        Some(0) => Err(corrupt("strips of no size")),
        rows => Ok([width, rows.map_or(height, |rows| rows.min(height))]),
    }
}

/// Returns the colour space of strips and tiles that are JPEGs; none where JPEG cannot hold these samples.
fn jpeg_colour_space(
    directory: &Directory,
    colours: &Photometric,
    alpha: Alpha,
    samples: usize,
) -> Option<jpeg::ColourSpace> {
    let planar = directory.integer(PLANAR_CONFIGURATION) == Some(2);
    match (colours, alpha, directory.integer(PHOTOMETRIC)) {
        _ if planar || samples == 1 => Some(jpeg::ColourSpace::Grey),
        (Photometric::Rgb, Alpha::None, Some(6)) if samples == 3 => Some(jpeg::ColourSpace::YCbCr),
        (Photometric::Rgb, Alpha::None, _) if samples == 3 => Some(jpeg::ColourSpace::Rgb),
        (Photometric::Cmyk, Alpha::None, _) if samples == 4 => Some(jpeg::ColourSpace::TiffCmyk),
        _ => None,
    }
}

/// Whether the samples are differences. The tag Predictor counts only with the compressions that it is defined for.
fn uses_horizontal_differencing(directory: &Directory, compression: u64, bits: usize) -> Result<bool, DecodeError> {
    if !matches!(compression, LZW | DEFLATE | OLD_DEFLATE | ZSTD) {
        return Ok(false);
    }
    match directory.integer(PREDICTOR) {
        None | Some(0 | 1) => Ok(false),
        Some(2) if bits >= 8 => Ok(true),
        Some(2) => Err(unsupported(format!("differences of {bits}-bit samples"))),
        Some(other) => Err(unsupported(format!("the predictor {other}"))),
    }
}

/// Returns the bits of a sample, and an error where samples differ or are no unsigned integers.
fn bits(directory: &Directory, samples: usize) -> Result<usize, DecodeError> {
    let all = directory.integers(BITS_PER_SAMPLE).unwrap_or_else(|| vec![1]);
    let all = &all[..all.len().min(samples)];
    let first = all.first().copied().unwrap_or(1);
    if all.len() > 1 && all.len() < samples || all.iter().any(|bits| *bits != first) {
        return Err(unsupported(format!("samples of {all:?} bits")));
    }
    let formats = directory.integers(SAMPLE_FORMAT).unwrap_or_default();
    let formats = &formats[..formats.len().min(samples)];
    let signed_bytes = first == 8 && samples == 1;
    match (formats.first(), first) {
        (Some(3), _) => {
            return Err(unsupported("floating-point samples, which have no fixed range,"));
        }
        (Some(2), _) if !signed_bytes => return Err(unsupported("signed samples")),
        (Some(4..), _) => return Err(unsupported("samples of an unknown kind")),
        (_, 1 | 2 | 4 | 8 | 16) => {}
        (_, bits) => return Err(unsupported(format!("{bits}-bit samples"))),
    }
    match formats.iter().all(|format| Some(format) == formats.first()) {
        true => Ok(first as usize),
        false => Err(unsupported("samples of different kinds")),
    }
}

fn colours(directory: &Directory, compression: u64, bits: usize, samples: usize) -> Result<Photometric, DecodeError> {
    let photometric = directory.integer(PHOTOMETRIC).unwrap_or(0);
    let planar = directory.integer(PLANAR_CONFIGURATION) == Some(2);
    let colours = match photometric {
        0 | 1 => Photometric::Grey { inverted: photometric == 0 },
        6 if samples == 1 => Photometric::Grey { inverted: false },
        2 => Photometric::Rgb,
        3 => Photometric::Palette(palette(directory)?),
        5 => Photometric::Cmyk,
        // The JPEG decoder converts YCbCr to RGB.
        6 if compression == JPEG && !planar => Photometric::Rgb,
        // Pillow reads uncompressed YCbCr as if its chroma had the full resolution.
        6 if compression == NONE || directory.integers(SUBSAMPLING) == Some(vec![1, 1]) => Photometric::YCbCr,
        6 => return Err(unsupported("YCbCr of less resolution that is no JPEG")),
        8..=10 => return Err(unsupported("CIELab samples")),
        other => return Err(unsupported(format!("the colour space {other}"))),
    };
    let enough = match &colours {
        Photometric::Grey { .. } => true,
        Photometric::Palette(_) => bits <= 8,
        Photometric::YCbCr => bits == 8,
        Photometric::Rgb | Photometric::Cmyk => bits >= 8,
    };
    match enough {
        true => Ok(colours),
        false => Err(unsupported(format!("{bits}-bit samples of the colour space {photometric}"))),
    }
}

/// Reads the palette: all reds, all greens, all blues, 16 bits each.
fn palette(directory: &Directory) -> Result<Vec<[u8; 3]>, DecodeError> {
    let levels = directory.integers(COLOR_MAP).ok_or_else(|| corrupt("it has no palette"))?;
    let third = levels.len() / 3;
    Ok((0..third).map(|i| [i, third + i, 2 * third + i].map(|place| (levels[place] >> 8) as u8)).collect())
}

fn alpha(directory: &Directory, colours: &Photometric, samples: usize) -> Result<Alpha, DecodeError> {
    let extra = directory.integers(EXTRA_SAMPLES).unwrap_or_default();
    let beyond = samples.checked_sub(colours.count());
    let beyond = beyond.ok_or_else(|| corrupt(format!("{samples} samples are too few for its colours")))?;
    Ok(match (beyond, extra.first(), colours) {
        (0, ..) => Alpha::None,
        // Without the tag ExtraSamples the fourth sample of RGB is the opacity.
        (1, None, Photometric::Rgb) => Alpha::Straight,
        (_, Some(0), _) | (_, Some(_), Photometric::Cmyk | Photometric::YCbCr) => Alpha::None,
        (_, Some(1), _) => Alpha::Premultiplied,
        // Corel Draw 10 writes the value 999.
        (_, Some(2 | 999), _) => Alpha::Straight,
        (beyond, ..) => return Err(unsupported(format!("{beyond} samples of unknown meaning"))),
    })
}
