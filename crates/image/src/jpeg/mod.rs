//! JPEG, with the pixels of libjpeg-turbo to the bit: Pillow, TensorFlow and OpenCV read pictures with it, and networks were trained on what
//! it gives.
//!
//! The standard (ITU-T T.81) leaves the rounding of the cosine transform open, and says nothing on how reduced colour is brought to the
//! picture's size. libjpeg-turbo's defaults are followed in both: `idct.rs`, `upsample.rs` and `colour.rs` say how. Read are 8-bit baseline,
//! extended sequential and progressive files of one, three and four components.
//!
//! Where entropy-coded data make no sense libjpeg warns and goes on; here the file is corrupt. Where a progressive file stops short of its
//! last bits and says that this is its end, libjpeg smooths what it has; here it is taken as it is. A file without its end gives, where this
//! is wanted ([`Truncated::Pad`]), what libjpeg makes of it with an end put there: the last MCU goes on with zero bits, the rest is grey.
//!
//! At a reduced size (`reduced.rs`) the pixels are those of libjpeg's scaled decoding, Pillow's `draft`.
//!
//! `markers.rs` takes the file apart, `frame.rs` and `tables.rs` read the headers, `huffman.rs` the bits, `sequential.rs` and
//! `progressive.rs` the blocks, `scan.rs` their order; `picture.rs` puts the pixels together.

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
use super::footprint::Promise;
use super::options::{DecodeOptions, Exif, Truncated};
use super::{Recipe, RgbImage, orientation};
use frame::{Frame, Scan};
use image::metadata::Orientation;
use markers::{EntropyData, Segments};
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
            Err(end) if pad && end.kind == DecodeErrorKind::Truncated && decoder.output.is_some() => break,
            segment => segment?,
        };
        match segment.marker {
            markers::EOI => break,
            markers::SOS => {
                segments.entropy(&mut decoder.data, pad)?;
                decoder.scan(segment.body)?;
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
                segments.entropy(&mut decoder.data, false)?;
                decoder.scan(segment.body)?;
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
    frame: Option<Frame>,
    /// MCUs between restart markers; 0 for none.
    interval: usize,
    jfif: bool,
    /// The colour transform in Adobe's APP14 segment.
    adobe: Option<u8>,
    /// The first EXIF block.
    exif: Option<Vec<u8>>,
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
            markers::DRI => match *body {
                [high, low] => self.interval = usize::from(u16::from_be_bytes([high, low])),
                _ => return Err(corrupt(format!("a restart interval of {} bytes", body.len()))),
            },
            markers::APP0 => self.jfif |= body.starts_with(b"JFIF\0") && body.len() >= 14,
            markers::APP14 if body.starts_with(b"Adobe") => self.adobe = body.get(11).copied().or(self.adobe),
            markers::APP1 if body.starts_with(b"Exif\0\0") && self.exif.is_none() => self.exif = Some(body.to_vec()),
            _ => {}
        }
        Ok(())
    }

    fn frame(&mut self, code: u8, body: &[u8], max_pixels: u64) -> Result<(), DecodeError> {
        if !(0xc0..=0xc2).contains(&code) {
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
        let block = self.exif.as_ref().filter(|_| exif == Exif::Apply);
        block.map_or(Orientation::NoTransforms, |block| orientation::of_exif(block))
    }

    /// What the frame header promises, where the first scan has so many components.
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

    /// Decodes the scan whose header is `body` and whose coded data have been read.
    fn scan(&mut self, body: &[u8]) -> Result<(), DecodeError> {
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
        let whole = !frame.progressive && scan.components.len() == frame.components.len();
        let output = match &mut self.output {
            Some(Output { store: None, .. }) => return Err(corrupt("a scan after the last one")),
            Some(output) => output,
            None => {
                let bands = Band::all(frame);
                let picture = Picture::new(frame, frame.colours(self.jfif, self.adobe), &bands);
                let store = (!whole).then(|| Store::new(frame));
                self.output.insert(Output { picture, bands, store })
            }
        };
        let (tables, data, interval) = (&self.tables, &self.data, self.interval);
        match &mut output.store {
            Some(store) => store.decode(frame, &scan, tables, data, interval),
            None => scan::decode_whole(frame, &scan, tables, data, interval, &mut output.picture, &mut output.bands),
        }
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
