//! Decodes JPEG (ITU-T T.81, JFIF in T.871) to the pixels of libjpeg-turbo, to the bit. Pillow, TensorFlow and OpenCV
//! read pictures with libjpeg-turbo, so networks were trained on its pixels.
//!
//! The standard leaves the rounding of the inverse DCT open and does not define the upsampling of chroma. The decoder
//! follows libjpeg-turbo's defaults in both; `idct.rs`, `upsample.rs` and `colour.rs` describe them. It reads 8-bit
//! baseline, extended sequential and progressive files of one, three and four components, Huffman- and
//! arithmetic-coded.
//!
//! It differs from libjpeg in three cases. Invalid entropy-coded data are an error here; libjpeg warns and goes on. A
//! progressive file that ends before its last bits with an end-of-image marker is decoded as it is; libjpeg smooths it.
//! A file that lacks only its end-of-image marker is whole; Pillow calls some of them truncated. With
//! [`Truncated::Pad`] a file that lacks more is decoded as libjpeg decodes it with an end-of-image marker: the last MCU
//! continues with zero bits, and the rest is grey.
//!
//! At a reduced size (`reduced.rs`) the pixels are those of libjpeg's scaled decoding, which is Pillow's `draft`.
//!
//! `markers.rs` splits the file into segments. `frame.rs` and `tables.rs` read the headers. `scan.rs` goes through the
//! blocks of a scan, which `huffman.rs` with `sequential.rs` and `progressive.rs`, or `arithmetic.rs`, decode.
//! `idct.rs` or `reduced.rs` transforms the blocks to samples, and `picture.rs` makes pixels of them with `upsample.rs`
//! and `colour.rs`.

mod arithmetic;
mod colour;
mod frame;
mod huffman;
mod idct;
mod markers;
mod picture;
mod progressive;
mod reduced;
mod scan;
mod sequential;
mod tables;
mod upsample;

use super::decode::{DecodeError, DecodeErrorKind, Decoded, check_size, format_errors};
use super::exif::Metadata;
use super::footprint::Estimate;
use super::options::{DecodeOptions, Exif, Truncated};
use super::{Recipe, RgbImage, orientation};
use arithmetic::Conditioning;
pub(super) use colour::cmyk_to_rgb;
pub(super) use frame::ColourSpace;
use frame::{Frame, Scan};
use image::metadata::Orientation;
use markers::{EntropyData, Segment, SegmentReader};
use picture::{ComponentRows, OutputPicture};
use scan::{CoefficientBuffer, ScanInput};
use tables::CodingTables;

/// The number of scans that a file may have. Encoders write about ten. A scan of a few bytes may cost a visit to all
/// blocks, so large pictures may have fewer scans: [`MAX_VISITS`] pixels in all, but at least [`MIN_SCANS`].
const MAX_SCANS: usize = 500;
const MIN_SCANS: usize = 40;
const MAX_VISITS: usize = 1 << 31;

/// Decodes a JPEG. For a recipe the picture is decoded at a reduced size where [`DecodeOptions::fast_decode`] allows
/// it.
pub(super) fn decode(bytes: &[u8], options: &DecodeOptions, recipe: Option<&Recipe>) -> Result<Decoded, DecodeError> {
    let pad = Some(options.truncated == Truncated::Pad);
    let mut decoder = Decoder::default();
    decoder.read(bytes, pad, options.max_pixels, |decoder| {
        if let Some(recipe) = recipe.filter(|_| options.fast_decode) {
            decoder.choose_scale(recipe, options.exif);
        }
        Ok(())
    })?;
    let orientation = decoder.orientation(options.exif);
    let (width, height) = decoder.frame.as_ref().map_or((0, 0), |frame| (frame.width, frame.height));
    let image = orientation::apply(decoder.finish()?, orientation);
    let (width, height) = if orientation::swaps_sides(orientation) { (height, width) } else { (width, height) };
    Ok(Decoded { image, width, height })
}

/// Decodes a JPEG inside another file, which gives its colour space and may hold its tables.
pub(super) fn decode_strip(
    bytes: &[u8],
    tables: Option<&[u8]>,
    colours: ColourSpace,
    max_pixels: u64,
) -> Result<RgbImage, DecodeError> {
    let mut decoder = Decoder { colours: Some(colours), ..Decoder::default() };
    let mut head = tables.map(SegmentReader::new);
    while let Some(segments) = &mut head {
        match segments.next()? {
            Segment { marker: markers::EOI, .. } => head = None,
            Segment { marker, .. } if marker == markers::SOS || markers::is_frame(marker) => {
                return Err(corrupt("a picture where there should be tables"));
            }
            Segment { marker, body } => decoder.read_segment(marker, body)?,
        }
    }
    if !bytes.starts_with(&[0xff, markers::SOI]) {
        return Err(corrupt("a strip that does not begin like a JPEG"));
    }
    decoder.read(bytes, None, max_pixels, |decoder| {
        match decoder.frame.as_ref().map_or(0, |frame| frame.components.len()) {
            components if components == colours.count() => Ok(()),
            components => Err(corrupt(format!("{components} components where there should be {}", colours.count()))),
        }
    })?;
    decoder.finish()
}

/// Decodes a JPEG at 1 / `divisor` of its size.
#[cfg(test)]
pub(super) fn decode_scaled(bytes: &[u8], divisor: usize) -> Result<RgbImage, DecodeError> {
    let mut decoder = Decoder::default();
    decoder.read(bytes, None, u64::MAX, |decoder| {
        decoder.frame.iter_mut().for_each(|frame| frame.set_scale(8 / divisor));
        Ok(())
    })?;
    decoder.finish()
}

/// Returns width and height from the frame header.
pub(super) fn dimensions(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let mut segments = SegmentReader::new(bytes);
    loop {
        let segment = segments.next()?;
        match segment.marker {
            code if markers::is_frame(code) => {
                let frame = Frame::read(code, segment.body)?;
                return Ok((frame.width, frame.height));
            }
            markers::EOI => return Err(corrupt("no frame header")),
            _ => {}
        }
    }
}

/// Estimates size and memory of the picture from the segments before its first scan.
pub(super) fn estimate(bytes: &[u8], options: &DecodeOptions, recipe: &Recipe) -> Result<Estimate, DecodeError> {
    let mut segments = SegmentReader::new(bytes);
    let mut decoder = Decoder::default();
    loop {
        let segment = segments.next()?;
        match segment.marker {
            markers::EOI => return Err(corrupt("no scan")),
            markers::SOS => {
                if options.fast_decode {
                    decoder.choose_scale(recipe, options.exif);
                }
                let scanned = segment.body.first().map_or(0, |count| usize::from(*count));
                return decoder.estimate(scanned, options.exif);
            }
            code if markers::is_frame(code) => decoder.read_frame(code, segment.body, options.max_pixels)?,
            code => decoder.read_segment(code, segment.body)?,
        }
    }
}

/// The state of decoding a file.
#[derive(Default)]
struct Decoder {
    tables: CodingTables,
    conditioning: Conditioning,
    frame: Option<Frame>,
    /// The number of MCUs between restart markers; 0 where there are none.
    restart_interval: usize,
    jfif: bool,
    /// The colour transform in Adobe's APP14 segment.
    adobe: Option<u8>,
    /// The colour space, if a file that contains the JPEG gives it.
    colours: Option<ColourSpace>,
    /// The metadata before the first scan: all blocks of EXIF, joined, and the last block of XMP.
    metadata: Metadata<'static>,
    scans: usize,
    /// The entropy-coded data of the last scan.
    data: EntropyData,
    output: Option<Output>,
}

/// The picture that the scans make.
struct Output {
    picture: OutputPicture,
    component_rows: Vec<ComponentRows>,
    /// The coefficients of a picture that has more than one scan.
    coefficients: Option<CoefficientBuffer>,
}

impl Decoder {
    /// Reads all segments and decodes all scans; `framed` is called after each frame header. With `pad` a file may end
    /// early under the conditions of [`may_end`](Self::may_end), without it it may not.
    fn read(
        &mut self,
        bytes: &[u8],
        pad: Option<bool>,
        max_pixels: u64,
        framed: impl Fn(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let mut segments = SegmentReader::new(bytes);
        loop {
            let segment = match segments.next() {
                // The file ends early, and the picture is complete or may be filled up.
                Err(end) if end.kind == DecodeErrorKind::Truncated && pad.is_some_and(|pad| self.may_end(pad)) => {
                    return Ok(());
                }
                segment => segment?,
            };
            match segment.marker {
                markers::EOI => return Ok(()),
                markers::SOS => {
                    segments.read_entropy_data(&mut self.data);
                    self.decode_scan(segment.body, pad == Some(true))?;
                }
                code if markers::is_frame(code) => {
                    self.read_frame(code, segment.body, max_pixels)?;
                    framed(self)?;
                }
                code => self.read_segment(code, segment.body)?,
            }
        }
    }

    /// Reads a segment that is neither a frame nor a scan header.
    fn read_segment(&mut self, code: u8, body: &[u8]) -> Result<(), DecodeError> {
        match code {
            markers::SOI => return Err(corrupt("a second picture begins inside the first")),
            markers::DQT => self.tables.read_quantisation(body)?,
            markers::DHT => self.tables.read_huffman(body)?,
            markers::DAC => self.conditioning.read(body)?,
            markers::DRI => match *body {
                [high, low] => self.restart_interval = usize::from(u16::from_be_bytes([high, low])),
                _ => return Err(corrupt(format!("a restart interval of {} bytes", body.len()))),
            },
            markers::APP0 => self.jfif |= body.starts_with(b"JFIF\0") && body.len() >= 14,
            markers::APP14 if body.starts_with(b"Adobe") => self.adobe = body.get(11).copied().or(self.adobe),
            markers::APP1 if self.scans == 0 => self.keep_metadata(body),
            _ => {}
        }
        Ok(())
    }

    /// Keeps a block of EXIF or XMP.
    fn keep_metadata(&mut self, body: &[u8]) {
        if let Some(block) = body.strip_prefix(b"Exif\0\0") {
            self.metadata.exif.get_or_insert_default().to_mut().extend_from_slice(block);
        } else if let Some(text) = body.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
            self.metadata.xmp = Some(text.to_vec().into());
        }
    }

    fn read_frame(&mut self, code: u8, body: &[u8], max_pixels: u64) -> Result<(), DecodeError> {
        if !matches!(code, 0xc0..=0xc2 | 0xc9 | 0xca) {
            return Err(unsupported(format!("{} JPEG", frame::process_name(code))));
        }
        let frame = Frame::read(code, body)?;
        frame.check(max_pixels)?;
        match self.frame.replace(frame) {
            Some(_) => Err(corrupt("it has two frame headers")),
            None => Ok(()),
        }
    }

    /// Returns the orientation in the metadata that has been read.
    fn orientation(&self, exif: Exif) -> Orientation {
        match exif {
            Exif::Apply => self.metadata.orientation(),
            Exif::Ignore => Orientation::NoTransforms,
        }
    }

    /// Estimates the size and the memory of the picture from the frame header and the number of components in its first
    /// scan.
    fn estimate(&self, scanned: usize, exif: Exif) -> Result<Estimate, DecodeError> {
        let frame = self.frame.as_ref().ok_or_else(|| corrupt("a scan without a frame header"))?;
        let (wide, high) = frame.output_size();
        let pixels = (wide * high * 3) as u64;
        let is_whole = !frame.progressive && scanned == frame.components.len();
        let stored = if is_whole { 0 } else { CoefficientBuffer::bytes(frame) };
        let rotated = if self.orientation(exif) == Orientation::NoTransforms { 0 } else { pixels };
        Ok(Estimate { width: frame.width as u64, height: frame.height as u64, bytes: pixels + stored.max(rotated) })
    }

    /// Reduces the size of the picture to 1/8, 1/4 or 1/2 if both sides are then at least twice those that `recipe`
    /// resizes it to, as Pillow's `thumbnail` with a `reducing_gap` of 2.
    fn choose_scale(&mut self, recipe: &Recipe, exif: Exif) {
        let sideways = orientation::swaps_sides(self.orientation(exif));
        let Some(frame) = &mut self.frame else { return };
        let (w, h) = (frame.width, frame.height);
        let [wanted_h, wanted_w] = match recipe.resized_size(if sideways { [w, h] } else { [h, w] }) {
            [a, b] if sideways => [b, a],
            sides => sides,
        };
        let enough = |times: &usize| w / times >= wanted_w * 2 && h / times >= wanted_h * 2;
        if let Some(times) = [8, 4, 2].iter().find(|times| enough(times)) {
            frame.set_scale(8 / times);
        }
    }

    /// Whether the file may end here without its end-of-image marker: the scans have held every bit of the picture, or
    /// `pad` allows that some are missing.
    fn may_end(&self, pad: bool) -> bool {
        let components = self.frame.iter().flat_map(|frame| &frame.components);
        self.output.is_some() && (pad || components.flat_map(|c| c.missing_bits).all(|bits| bits == 0))
    }

    /// Decodes the scan with the header `body`, whose entropy-coded data have been read. With `pad` they may end early.
    fn decode_scan(&mut self, body: &[u8], pad: bool) -> Result<(), DecodeError> {
        let frame = self.frame.as_mut().ok_or_else(|| corrupt("a scan without a frame header"))?;
        let scan = Scan::read(body, frame)?;
        self.scans += 1;
        let most = (MAX_VISITS / (frame.width * frame.height).max(1)).clamp(MIN_SCANS, MAX_SCANS);
        if self.scans > most {
            return Err(corrupt(format!("it has more than {most} scans")));
        }
        self.tables.add_standard_tables()?;
        for component in &scan.components {
            let component = &mut frame.components[component.index];
            if component.quantisation.is_none() {
                component.quantisation = Some(self.tables.quantisation(component.table)?);
            }
        }
        let whole = !frame.progressive && !frame.arithmetic && scan.components.len() == frame.components.len();
        let output = match &mut self.output {
            Some(Output { coefficients: None, .. }) => return Err(corrupt("a scan after the last one")),
            Some(output) => output,
            None => {
                let component_rows = ComponentRows::all(frame);
                let colours = self.colours.unwrap_or_else(|| frame.colour_space(self.jfif, self.adobe));
                let picture = OutputPicture::new(frame, colours, &component_rows);
                let coefficients = (!whole).then(|| CoefficientBuffer::new(frame));
                self.output.insert(Output { picture, component_rows, coefficients })
            }
        };
        let input = ScanInput { frame, scan: &scan, data: &self.data, restart_interval: self.restart_interval };
        let whole = match &mut output.coefficients {
            Some(coefficients) if frame.arithmetic => arithmetic::decode(coefficients, &input, &self.conditioning)?,
            Some(coefficients) => coefficients.decode(&input, &self.tables)?,
            None => {
                let Output { picture, component_rows, .. } = output;
                scan::decode_single_scan(&input, &self.tables, picture, component_rows)?
            }
        };
        let (first, last, low) = if frame.progressive {
            (scan.spectral_start, scan.spectral_end, scan.approximation_low as u8)
        } else {
            (0, 63, 0)
        };
        for component in &scan.components {
            frame.components[component.index].missing_bits[first..=last].fill(low);
        }
        if whole || pad { Ok(()) } else { Err(truncated()) }
    }

    /// Returns the picture at the end of the file.
    fn finish(self) -> Result<RgbImage, DecodeError> {
        let (Some(frame), Some(mut output)) = (self.frame, self.output) else {
            return Err(corrupt("no picture between the start and end markers"));
        };
        if let Some(component) = frame.components.iter().find(|c| c.quantisation.is_none())
            && !self.data.cut
        {
            return Err(corrupt(format!("no scan holds the component {}", component.id)));
        }
        if let Some(coefficients) = output.coefficients {
            coefficients.finish(&frame, &mut output.picture, &mut output.component_rows);
        }
        let OutputPicture { width, height, data, .. } = output.picture;
        Ok(RgbImage { width, height, data })
    }
}

format_errors! {
    corrupt: "the JPEG is corrupt: {}",
    unsupported: "{} is not supported; convert it to a usual JPEG or PNG",
    truncated: "the file ends early (no end-of-image marker)",
}
