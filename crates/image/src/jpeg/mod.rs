//! JPEG, with the pixels of libjpeg-turbo to the bit: Pillow, TensorFlow and OpenCV read pictures with it, and networks were trained on what
//! it gives.
//!
//! The standard (ITU-T T.81) leaves the rounding of the cosine transform open, and says nothing on how reduced colour is brought to the
//! picture's size. libjpeg-turbo's defaults are followed in both: `idct.rs`, `upsample.rs` and `colour.rs` say how. Read are 8-bit baseline,
//! extended sequential and progressive files of one, three and four components, of Huffman's codes and of arithmetic ones.
//!
//! Where entropy-coded data make no sense libjpeg warns and goes on; here the file is corrupt. Where a progressive file stops short of its
//! last bits and says that this is its end, libjpeg smooths what it has; here it is taken as it is. A file that lacks nothing but its
//! end-of-image marker is whole (Pillow calls some of them truncated). One that lacks more gives, where this is wanted ([`Truncated::Pad`]),
//! what libjpeg makes of it with an end put there: the last MCU goes on with zero bits, the rest is grey.
//!
//! At a reduced size (`reduced.rs`) the pixels are those of libjpeg's scaled decoding, Pillow's `draft`.
//!
//! `markers.rs` takes the file apart, `frame.rs` and `tables.rs` read the headers, `huffman.rs` the bits, `sequential.rs` and
//! `progressive.rs` the blocks, `arithmetic.rs` the other kind of both, `scan.rs` their order; `picture.rs` puts the pixels together.

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

use super::decode::{DecodeError, DecodeErrorKind, Decoded, check_size};
use super::exif::Metadata;
use super::footprint::Promise;
use super::options::{DecodeOptions, Exif, Truncated};
use super::{Recipe, RgbImage, orientation};
use arithmetic::Conditioning;
pub(super) use frame::Colours;
use frame::{Frame, Scan};
use image::metadata::Orientation;
use markers::{EntropyData, Segment, Segments};
use picture::{Band, Picture};
use scan::Store;
use tables::Tables;

/// Scans that a file may have. Encoders write about ten; each one may cost a visit to all blocks for a few bytes, so large pictures may have
/// fewer: [`MAX_VISITS`] pixels in all, but [`MIN_SCANS`] at least.
const MAX_SCANS: usize = 500;
const MIN_SCANS: usize = 40;
const MAX_VISITS: usize = 1 << 31;

/// Decodes a JPEG; for a recipe, at a reduced size where [`DecodeOptions::fast_decode`] allows it.
pub(super) fn decode(bytes: &[u8], options: &DecodeOptions, recipe: Option<&Recipe>) -> Result<Decoded, DecodeError> {
    let pad = options.truncated == Truncated::Pad;
    let mut segments = Segments::new(bytes);
    let mut decoder = Decoder::default();
    loop {
        let segment = match segments.next() {
            // what there is of the picture is all there is
            Err(end) if end.kind == DecodeErrorKind::Truncated && decoder.may_end(pad) => break,
            segment => segment?,
        };
        match segment.marker {
            markers::EOI => break,
            markers::SOS => {
                segments.entropy(&mut decoder.data);
                decoder.scan(segment.body, pad)?;
            }
            code if markers::is_frame(code) => {
                decoder.frame(code, segment.body, options.max_pixels)?;
                if let Some(recipe) = recipe.filter(|_| options.fast_decode) {
                    decoder.reduce(recipe, options.exif);
                }
            }
            code => decoder.segment(code, segment.body)?,
        }
    }
    let orientation = decoder.orientation(options.exif);
    let (width, height) = decoder.frame.as_ref().map_or((0, 0), |frame| (frame.width, frame.height));
    let image = orientation::turned(decoder.finish()?, orientation);
    let (width, height) = if orientation::is_sideways(orientation) { (height, width) } else { (width, height) };
    Ok(Decoded { image, width, height })
}

/// Decodes a JPEG that is a part of another file, which says what its components are and may hold its tables.
pub(super) fn decode_strip(
    bytes: &[u8],
    tables: Option<&[u8]>,
    colours: Colours,
    max_pixels: u64,
) -> Result<RgbImage, DecodeError> {
    let mut decoder = Decoder { colours: Some(colours), ..Decoder::default() };
    let mut head = tables.map(Segments::new);
    while let Some(segments) = &mut head {
        match segments.next()? {
            Segment { marker: markers::EOI, .. } => head = None,
            Segment { marker, .. } if marker == markers::SOS || markers::is_frame(marker) => {
                return Err(corrupt("a picture where there should be tables"));
            }
            Segment { marker, body } => decoder.segment(marker, body)?,
        }
    }
    if !bytes.starts_with(&[0xff, markers::SOI]) {
        return Err(corrupt("a strip that does not begin like a JPEG"));
    }
    let mut segments = Segments::new(bytes);
    loop {
        let segment = segments.next()?;
        match segment.marker {
            markers::EOI => return decoder.finish(),
            markers::SOS => {
                segments.entropy(&mut decoder.data);
                decoder.scan(segment.body, false)?;
            }
            code if markers::is_frame(code) => {
                decoder.frame(code, segment.body, max_pixels)?;
                let components = decoder.frame.as_ref().map_or(0, |frame| frame.components.len());
                if components != colours.count() {
                    return Err(corrupt(format!("{components} components where there should be {}", colours.count())));
                }
            }
            code => decoder.segment(code, segment.body)?,
        }
    }
}

/// Decodes a JPEG at 1 / `part` of its size.
#[cfg(test)]
pub(super) fn decode_part(bytes: &[u8], part: usize) -> Result<RgbImage, DecodeError> {
    let mut segments = Segments::new(bytes);
    let mut decoder = Decoder::default();
    loop {
        let segment = segments.next()?;
        match segment.marker {
            markers::EOI => return decoder.finish(),
            markers::SOS => {
                segments.entropy(&mut decoder.data);
                decoder.scan(segment.body, false)?;
            }
            code if markers::is_frame(code) => {
                decoder.frame(code, segment.body, u64::MAX)?;
                decoder.frame.iter_mut().for_each(|frame| frame.set_unit(8 / part));
            }
            code => decoder.segment(code, segment.body)?,
        }
    }
}

/// Width and height, from the frame header.
pub(super) fn dimensions(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let mut segments = Segments::new(bytes);
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

/// Size and memory of the picture, from what stands before its first scan.
pub(super) fn promise(bytes: &[u8], options: &DecodeOptions, recipe: &Recipe) -> Result<Promise, DecodeError> {
    let mut segments = Segments::new(bytes);
    let mut decoder = Decoder::default();
    loop {
        let segment = segments.next()?;
        match segment.marker {
            markers::EOI => return Err(corrupt("no scan")),
            markers::SOS => {
                if options.fast_decode {
                    decoder.reduce(recipe, options.exif);
                }
                let scanned = segment.body.first().map_or(0, |count| usize::from(*count));
                return decoder.promise(scanned, options.exif);
            }
            code if markers::is_frame(code) => decoder.frame(code, segment.body, options.max_pixels)?,
            code => decoder.segment(code, segment.body)?,
        }
    }
}

/// What has been read of a file.
#[derive(Default)]
struct Decoder {
    tables: Tables,
    conditioning: Conditioning,
    frame: Option<Frame>,
    /// MCUs between restart markers; 0 for none.
    interval: usize,
    jfif: bool,
    /// The colour transform in Adobe's APP14 segment.
    adobe: Option<u8>,
    /// The meaning of the components, where the file around the JPEG gives it.
    colours: Option<Colours>,
    /// The metadata before the first scan: all blocks of EXIF, one behind the other, and the last block of XMP.
    metadata: Metadata<'static>,
    scans: usize,
    /// The coded data of the last scan.
    data: EntropyData,
    output: Option<Output>,
}

/// The picture, from the first scan on.
struct Output {
    picture: Picture,
    bands: Vec<Band>,
    /// For pictures that come in more than one scan.
    store: Option<Store>,
}

impl Decoder {
    /// Reads a segment that is neither a frame nor a scan.
    fn segment(&mut self, code: u8, body: &[u8]) -> Result<(), DecodeError> {
        match code {
            markers::SOI => return Err(corrupt("a second picture begins inside the first")),
            markers::DQT => self.tables.read_quantisation(body)?,
            markers::DHT => self.tables.read_huffman(body)?,
            markers::DAC => self.conditioning.read(body)?,
            markers::DRI => match *body {
                [high, low] => self.interval = usize::from(u16::from_be_bytes([high, low])),
                _ => return Err(corrupt(format!("a restart interval of {} bytes", body.len()))),
            },
            markers::APP0 => self.jfif |= body.starts_with(b"JFIF\0") && body.len() >= 14,
            markers::APP14 if body.starts_with(b"Adobe") => self.adobe = body.get(11).copied().or(self.adobe),
            markers::APP1 if self.scans == 0 => self.tell(body),
            _ => {}
        }
        Ok(())
    }

    /// Keeps a block of EXIF or XMP.
    fn tell(&mut self, body: &[u8]) {
        if let Some(block) = body.strip_prefix(b"Exif\0\0") {
            self.metadata.exif.get_or_insert_default().to_mut().extend_from_slice(block);
        } else if let Some(text) = body.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
            self.metadata.xmp = Some(text.to_vec().into());
        }
    }

    fn frame(&mut self, code: u8, body: &[u8], max_pixels: u64) -> Result<(), DecodeError> {
        if !matches!(code, 0xc0..=0xc2 | 0xc9 | 0xca) {
            return Err(unsupported(format!("{} JPEG", frame::process(code))));
        }
        let frame = Frame::read(code, body)?;
        frame.check(max_pixels)?;
        match self.frame.replace(frame) {
            Some(_) => Err(corrupt("it has two frame headers")),
            None => Ok(()),
        }
    }

    /// Which way up the picture is, by what has been read.
    fn orientation(&self, exif: Exif) -> Orientation {
        match exif {
            Exif::Apply => self.metadata.orientation(),
            Exif::Ignore => Orientation::NoTransforms,
        }
    }

    /// The size and the memory that the frame header promises, where the first scan has so many components.
    fn promise(&self, scanned: usize, exif: Exif) -> Result<Promise, DecodeError> {
        let frame = self.frame.as_ref().ok_or_else(|| corrupt("a scan without a frame header"))?;
        let (wide, high) = frame.made();
        let pixels = (wide * high * 3) as u64;
        let is_whole = !frame.progressive && scanned == frame.components.len();
        let stored = if is_whole { 0 } else { Store::bytes(frame) };
        let turned = if self.orientation(exif) == Orientation::NoTransforms { 0 } else { pixels };
        Ok(Promise { width: frame.width as u64, height: frame.height as u64, bytes: pixels + stored.max(turned) })
    }

    /// Has the picture made at 1/8, 1/4 or 1/2 of its size if both sides are then at least twice those that `recipe` resizes it to (as
    /// Pillow's `thumbnail` with a `reducing_gap` of 2).
    fn reduce(&mut self, recipe: &Recipe, exif: Exif) {
        let sideways = orientation::is_sideways(self.orientation(exif));
        let Some(frame) = &mut self.frame else { return };
        let (w, h) = (frame.width, frame.height);
        let [wanted_h, wanted_w] = match recipe.resized(if sideways { [w, h] } else { [h, w] }) {
            [a, b] if sideways => [b, a],
            sides => sides,
        };
        let enough = |times: &usize| w / times >= wanted_w * 2 && h / times >= wanted_h * 2;
        if let Some(times) = [8, 4, 2].iter().find(|times| enough(times)) {
            frame.set_unit(8 / times);
        }
    }

    /// Whether the file may end here, without its end-of-image marker: every bit of the picture is there, or those that are will do.
    fn may_end(&self, pad: bool) -> bool {
        let components = self.frame.iter().flat_map(|frame| &frame.components);
        self.output.is_some() && (pad || components.flat_map(|c| c.missing).all(|bits| bits == 0))
    }

    /// Decodes the scan whose header is `body` and whose coded data have been read. With `pad` they may stop early.
    fn scan(&mut self, body: &[u8], pad: bool) -> Result<(), DecodeError> {
        let frame = self.frame.as_mut().ok_or_else(|| corrupt("a scan without a frame header"))?;
        let scan = Scan::read(body, frame)?;
        self.scans += 1;
        let most = (MAX_VISITS / (frame.width * frame.height).max(1)).clamp(MIN_SCANS, MAX_SCANS);
        if self.scans > most {
            return Err(corrupt(format!("it has more than {most} scans")));
        }
        self.tables.complete()?;
        for component in &scan.components {
            let component = &mut frame.components[component.index];
            if component.quantisation.is_none() {
                component.quantisation = Some(self.tables.quantisation(component.table)?);
            }
        }
        let whole = !frame.progressive && !frame.arithmetic && scan.components.len() == frame.components.len();
        let output = match &mut self.output {
            Some(Output { store: None, .. }) => return Err(corrupt("a scan after the last one")),
            Some(output) => output,
            None => {
                let bands = Band::all(frame);
                let colours = self.colours.unwrap_or_else(|| frame.colours(self.jfif, self.adobe));
                let picture = Picture::new(frame, colours, &bands);
                let store = (!whole).then(|| Store::new(frame));
                self.output.insert(Output { picture, bands, store })
            }
        };
        let (tables, data, interval) = (&self.tables, &self.data, self.interval);
        let whole = match &mut output.store {
            Some(store) if frame.arithmetic => {
                arithmetic::decode(store, frame, &scan, &self.conditioning, data, interval)?
            }
            Some(store) => store.decode(frame, &scan, tables, data, interval)?,
            None => scan::decode_whole(frame, &scan, tables, data, interval, &mut output.picture, &mut output.bands)?,
        };
        let (first, last, low) = if frame.progressive { (scan.first, scan.last, scan.low as u8) } else { (0, 63, 0) };
        for component in &scan.components {
            frame.components[component.index].missing[first..=last].fill(low);
        }
        if whole || pad { Ok(()) } else { Err(truncated()) }
    }

    /// The picture, at the end of the file.
    fn finish(self) -> Result<RgbImage, DecodeError> {
        let (Some(frame), Some(mut output)) = (self.frame, self.output) else {
            return Err(corrupt("no picture between the start and end markers"));
        };
        if let Some(component) = frame.components.iter().find(|c| c.quantisation.is_none())
            && !self.data.cut
        {
            return Err(corrupt(format!("no scan holds the component {}", component.id)));
        }
        if let Some(store) = output.store {
            store.finish(&frame, &mut output.picture, &mut output.bands);
        }
        let Picture { width, height, data, .. } = output.picture;
        Ok(RgbImage { width, height, data })
    }
}

fn corrupt(detail: impl AsRef<str>) -> DecodeError {
    let detail = format!("the JPEG is corrupt: {}", detail.as_ref());
    DecodeError::new(DecodeErrorKind::Corrupt, detail)
}

fn truncated() -> DecodeError {
    DecodeError::new(DecodeErrorKind::Truncated, "the file ends early (no end-of-image marker)")
}

fn unsupported(what: impl AsRef<str>) -> DecodeError {
    let detail = format!("{} is not supported; convert it to a usual JPEG or PNG", what.as_ref());
    DecodeError::new(DecodeErrorKind::Unsupported, detail)
}
