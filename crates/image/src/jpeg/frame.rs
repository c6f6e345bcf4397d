//! The frame and scan headers (T.81, B.2.2 and B.2.3), and what follows from them: sizes in samples and blocks, the meaning of components.

use super::markers::{DAC, DHT, JPG};
use super::tables::Quantisation;
use super::{DecodeError, check_size, corrupt, unsupported};

/// Blocks that an MCU may hold (T.81, B.2.3).
const MAX_BLOCKS: usize = 10;

/// The frame header.
pub(super) struct Frame {
    pub progressive: bool,
    /// Its scans are arithmetic codes, not Huffman's.
    pub arithmetic: bool,
    precision: u8,
    pub width: usize,
    pub height: usize,
    /// Pixels across and down that a block of the finest component gives: 8, or less for a picture that is decoded at a reduced size.
    pub unit: usize,
    /// The largest sampling factors.
    pub max_h: usize,
    pub max_v: usize,
    pub components: Vec<Component>,
}

/// A component of the frame.
pub(super) struct Component {
    pub id: u8,
    /// Sampling factors, 1 to 4.
    pub h: usize,
    pub v: usize,
    /// The number of its quantisation table.
    pub table: u8,
    /// The table's content when the first scan of the component began; later ones change nothing.
    pub quantisation: Option<Quantisation>,
    /// Of each coefficient: the bits that no scan has told yet.
    pub missing: [u8; 64],
    /// Samples across and down that a block gives.
    pub side: usize,
    /// Samples that come from the picture; the rest of the last blocks is filling.
    pub width: usize,
    pub height: usize,
    /// Blocks that cover these samples.
    pub blocks_wide: usize,
    pub blocks_high: usize,
}

impl Frame {
    /// Reads the header as it stands; [`Frame::check`] says whether such a picture is decoded.
    pub(super) fn read(marker: u8, body: &[u8]) -> Result<Self, DecodeError> {
        let Some((&[precision, h1, h0, w1, w0, count], components)) = body.split_first_chunk() else {
            return Err(corrupt("the frame header is too short"));
        };
        if components.len() != usize::from(count) * 3 {
            return Err(corrupt(format!("a frame header of {} bytes for {count} components", body.len())));
        }
        let width = usize::from(u16::from_be_bytes([w1, w0]));
        let height = usize::from(u16::from_be_bytes([h1, h0]));
        let (triples, _) = components.as_chunks::<3>();
        let mut components: Vec<Component> = triples.iter().map(Component::new).collect();
        if let [only] = components.as_mut_slice() {
            // alone, it is not interleaved with anything: its factors say nothing
            (only.h, only.v) = (only.h.min(1), only.v.min(1));
        }
        let max_h = components.iter().map(|c| c.h).max().unwrap_or(1);
        let max_v = components.iter().map(|c| c.v).max().unwrap_or(1);
        for component in components.iter_mut().filter(|_| max_h > 0 && max_v > 0) {
            component.blocks_wide = (width * component.h).div_ceil(max_h * 8);
            component.blocks_high = (height * component.v).div_ceil(max_v * 8);
        }
        let (progressive, arithmetic) = (matches!(marker, 0xc2 | 0xca), matches!(marker, 0xc9 | 0xca));
        let mut frame = Self { progressive, arithmetic, precision, width, height, unit: 8, max_h, max_v, components };
        frame.set_unit(8);
        Ok(frame)
    }

    /// Has the picture decoded at `unit` / 8 of its size; 8, 4, 2 or 1. Components that are coarser than others are not reduced as much, as
    /// libjpeg does it (`jpeg_calc_output_dimensions`).
    pub(super) fn set_unit(&mut self, unit: usize) {
        self.unit = unit;
        let (max_h, max_v) = (self.max_h.max(1), self.max_v.max(1));
        for c in &mut self.components {
            c.side = unit;
            let finer = |side: usize| {
                (max_h * unit).is_multiple_of(c.h * side * 2) && (max_v * unit).is_multiple_of(c.v * side * 2)
            };
            while c.side < 8 && c.h > 0 && c.v > 0 && finer(c.side) {
                c.side *= 2;
            }
            c.width = (self.width * c.h * c.side).div_ceil(max_h * 8);
            c.height = (self.height * c.v * c.side).div_ceil(max_v * 8);
        }
    }

    /// Width and height of the picture that is made.
    pub(super) fn made(&self) -> (usize, usize) {
        ((self.width * self.unit).div_ceil(8), (self.height * self.unit).div_ceil(8))
    }

    pub(super) fn check(&self, max_pixels: u64) -> Result<(), DecodeError> {
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
        if ![1, 3, 4].contains(&self.components.len()) {
            return Err(unsupported(format!("JPEG of {} components", self.components.len())));
        }
        for c in &self.components {
            if !(1..=4).contains(&c.h) || !(1..=4).contains(&c.v) {
                return Err(corrupt(format!("sampling factors of {}x{}", c.h, c.v)));
            }
            if !self.max_h.is_multiple_of(c.h) || !self.max_v.is_multiple_of(c.v) {
                let detail = format!("JPEG with sampling factors of {}x{} in {}x{}", c.h, c.v, self.max_h, self.max_v);
                return Err(unsupported(detail));
            }
        }
        Ok(())
    }

    /// MCUs of interleaved scans across and down.
    pub(super) fn mcus(&self) -> (usize, usize) {
        (self.width.div_ceil(8 * self.max_h), self.height.div_ceil(8 * self.max_v))
    }

    /// libjpeg's guess of the colour space (`default_decompress_parms`): by what precedes the first scan.
    pub(super) fn colours(&self, jfif: bool, adobe: Option<u8>) -> Colours {
        let ids: Vec<u8> = self.components.iter().map(|c| c.id).collect();
        match (ids.as_slice(), adobe) {
            ([_], _) => Colours::Grey,
            ([_, _, _], _) if jfif => Colours::YCbCr,
            ([_, _, _], Some(0)) | (b"RGB", None) => Colours::Rgb,
            ([_, _, _, _], None | Some(0)) => Colours::Cmyk,
            ([_, _, _, _], Some(_)) => Colours::Ycck,
            _ => Colours::YCbCr,
        }
    }
}

impl Component {
    fn new(&[id, factors, table]: &[u8; 3]) -> Self {
        let (h, v) = (usize::from(factors >> 4), usize::from(factors & 15));
        let missing = [u8::MAX; 64];
        Self {
            id,
            h,
            v,
            table,
            quantisation: None,
            missing,
            side: 8,
            width: 0,
            height: 0,
            blocks_wide: 0,
            blocks_high: 0,
        }
    }
}

/// How the components are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    Grey,
    YCbCr,
    Rgb,
    Cmyk,
    Ycck,
    /// CMYK as a TIFF has it: 255 is all of an ink, where Adobe's JPEG has none.
    Inks,
}

impl Colours {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::YCbCr | Self::Rgb => 3,
            Self::Cmyk | Self::Ycck | Self::Inks => 4,
        }
    }
}

/// The coding process of a frame that is not read.
pub(super) fn process(code: u8) -> &'static str {
    debug_assert!(![DHT, JPG, DAC].contains(&code));
    match code {
        0xc3 | 0xc7 | 0xcb | 0xcf => "lossless",
        _ => "hierarchical",
    }
}

/// The scan header.
pub(super) struct Scan {
    pub components: Vec<ScanComponent>,
    /// The first and the last coefficient in zigzag order; sequential scans have them all.
    pub first: usize,
    pub last: usize,
    /// Successive approximation: the bit position that an earlier scan reached, or 0 in a first scan, and the one of this scan.
    pub high: u32,
    pub low: u32,
}

/// A component's part in a scan.
#[derive(Clone, Copy)]
pub(super) struct ScanComponent {
    /// Its place in the frame.
    pub index: usize,
    /// The numbers of its Huffman tables.
    pub dc: usize,
    pub ac: usize,
}

impl Scan {
    pub(super) fn read(body: &[u8], frame: &Frame) -> Result<Self, DecodeError> {
        let count = usize::from(body.first().copied().unwrap_or(0));
        if !(1..=4).contains(&count) || body.len() != count * 2 + 4 {
            return Err(corrupt(format!("a scan header of {} bytes for {count} components", body.len())));
        }
        let mut components: Vec<ScanComponent> = Vec::with_capacity(count);
        for &[id, tables] in body[1..1 + count * 2].as_chunks::<2>().0 {
            let unused = |index: &usize| components.iter().all(|c| c.index != *index);
            let mut matching = (0..frame.components.len()).filter(|&i| frame.components[i].id == id);
            let index = matching.find(unused).ok_or_else(|| corrupt(format!("a scan of an unknown component {id}")))?;
            components.push(ScanComponent { index, dc: usize::from(tables >> 4), ac: usize::from(tables & 15) });
        }
        let blocks = components.iter().map(|c| frame.components[c.index].h * frame.components[c.index].v);
        if count > 1 && blocks.sum::<usize>() > MAX_BLOCKS {
            return Err(corrupt(format!("a scan with more than {MAX_BLOCKS} blocks in an MCU")));
        }
        let &[first, last, approximation] = body.last_chunk().unwrap_or(&[0; 3]);
        let (first, last) = (usize::from(first), usize::from(last));
        let (high, low) = (u32::from(approximation >> 4), u32::from(approximation & 15));
        let scan = Self { components, first, last, high, low };
        if frame.progressive && !scan.is_possible() {
            return Err(corrupt(format!("a progressive scan of coefficients {first} to {last}, bits {high} to {low}")));
        }
        Ok(scan)
    }

    /// Whether a progressive scan is one (T.81, G.1.1.1).
    fn is_possible(&self) -> bool {
        let band = match self.first {
            0 => self.last == 0,
            first => first <= self.last && self.last < 64 && self.components.len() == 1,
        };
        band && self.low <= 13 && (self.high == 0 || self.high == self.low + 1)
    }
}
