//! Reads the frame and scan headers (T.81, B.2.2 and B.2.3), and derives the sizes of the components in samples and
//! blocks and the colour space.

use super::markers::{DAC, DHT, JPG};
use super::tables::QuantisationTable;
use super::{DecodeError, check_size, corrupt, unsupported};

/// The number of blocks that an MCU may hold (T.81, B.2.3).
const MAX_BLOCKS: usize = 10;

/// The frame header.
pub(super) struct Frame {
    pub progressive: bool,
    /// Whether the scans are arithmetic-coded; otherwise they are Huffman-coded.
    pub arithmetic: bool,
    precision: u8,
    pub width: usize,
    pub height: usize,
    /// The pixels across and down that a block of the component with the most samples gives: 8, or fewer for a picture
    /// that is decoded at a reduced size (libjpeg's `min_DCT_scaled_size`).
    pub min_block_side: usize,
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
    /// The number of the component's quantisation table.
    pub table: u8,
    /// The quantisation table as it is when the first scan of the component begins; later tables do not change it.
    pub quantisation: Option<QuantisationTable>,
    /// For each coefficient, the number of low bits that no scan has held yet.
    pub missing_bits: [u8; 64],
    /// The samples across and down that a block gives (libjpeg's `DCT_scaled_size`).
    pub block_side: usize,
    /// The number of samples that come from the picture; the last blocks may have more.
    pub width: usize,
    pub height: usize,
    /// The number of blocks that cover these samples.
    pub blocks_wide: usize,
    pub blocks_high: usize,
}

impl Frame {
    /// Reads the header without checking it; [`Frame::check`] says whether the decoder reads such a picture.
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
            // The blocks of a single component are not interleaved, so its sampling factors have no effect.
            (only.h, only.v) = (only.h.min(1), only.v.min(1));
        }
        let max_h = components.iter().map(|c| c.h).max().unwrap_or(1);
        let max_v = components.iter().map(|c| c.v).max().unwrap_or(1);
        for component in components.iter_mut().filter(|_| max_h > 0 && max_v > 0) {
            component.blocks_wide = (width * component.h).div_ceil(max_h * 8);
            component.blocks_high = (height * component.v).div_ceil(max_v * 8);
        }
        let (progressive, arithmetic) = (matches!(marker, 0xc2 | 0xca), matches!(marker, 0xc9 | 0xca));
        let mut frame =
            Self { progressive, arithmetic, precision, width, height, min_block_side: 8, max_h, max_v, components };
        frame.set_scale(8);
        Ok(frame)
    }

    /// Sets the size at which the picture is decoded to `min_block_side` / 8 (8, 4, 2 or 1). Subsampled components are
    /// reduced less than others, as in libjpeg's `jpeg_calc_output_dimensions`.
    pub(super) fn set_scale(&mut self, min_block_side: usize) {
        self.min_block_side = min_block_side;
        let (max_h, max_v) = (self.max_h.max(1), self.max_v.max(1));
        for c in &mut self.components {
            c.block_side = min_block_side;
            let finer = |side: usize| {
                (max_h * min_block_side).is_multiple_of(c.h * side * 2)
                    && (max_v * min_block_side).is_multiple_of(c.v * side * 2)
            };
            while c.block_side < 8 && c.h > 0 && c.v > 0 && finer(c.block_side) {
                c.block_side *= 2;
            }
            c.width = (self.width * c.h * c.block_side).div_ceil(max_h * 8);
            c.height = (self.height * c.v * c.block_side).div_ceil(max_v * 8);
        }
    }

    /// Returns width and height of the decoded picture.
    pub(super) fn output_size(&self) -> (usize, usize) {
        ((self.width * self.min_block_side).div_ceil(8), (self.height * self.min_block_side).div_ceil(8))
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

    /// Returns the number of MCUs across and down in interleaved scans.
    pub(super) fn mcus(&self) -> (usize, usize) {
        (self.width.div_ceil(8 * self.max_h), self.height.div_ceil(8 * self.max_v))
    }

    /// Returns the colour space that libjpeg assumes (`default_decompress_parms`) from the segments before the first
    /// scan.
    pub(super) fn colour_space(&self, jfif: bool, adobe: Option<u8>) -> ColourSpace {
        let ids: Vec<u8> = self.components.iter().map(|c| c.id).collect();
        match (ids.as_slice(), adobe) {
            ([_], _) => ColourSpace::Grey,
            ([_, _, _], _) if jfif => ColourSpace::YCbCr,
            ([_, _, _], Some(0)) | (b"RGB", None) => ColourSpace::Rgb,
            ([_, _, _, _], None | Some(0)) => ColourSpace::AdobeCmyk,
            ([_, _, _, _], Some(_)) => ColourSpace::AdobeYcck,
            _ => ColourSpace::YCbCr,
        }
    }
}

impl Component {
    fn new(&[id, factors, table]: &[u8; 3]) -> Self {
        let (h, v) = (usize::from(factors >> 4), usize::from(factors & 15));
        let missing_bits = [u8::MAX; 64];
        Self {
            id,
            h,
            v,
            table,
            quantisation: None,
            missing_bits,
            block_side: 8,
            width: 0,
            height: 0,
            blocks_wide: 0,
            blocks_high: 0,
        }
    }
}

/// The meaning of the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColourSpace {
    Grey,
    YCbCr,
    Rgb,
    AdobeCmyk,
    AdobeYcck,
    /// CMYK as a TIFF has it: 255 is the full ink, where in Adobe's JPEG it is no ink.
    TiffCmyk,
}

impl ColourSpace {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::YCbCr | Self::Rgb => 3,
            Self::AdobeCmyk | Self::AdobeYcck | Self::TiffCmyk => 4,
        }
    }
}

/// Returns the name of a coding process that this decoder does not read.
pub(super) fn process_name(code: u8) -> &'static str {
    debug_assert!(![DHT, JPG, DAC].contains(&code));
    match code {
        0xc3 | 0xc7 | 0xcb | 0xcf => "lossless",
        _ => "hierarchical",
    }
}

/// The scan header.
pub(super) struct Scan {
    pub components: Vec<ScanComponent>,
    /// The first and the last coefficient of the scan in zigzag order (Ss and Se); a sequential scan has all of them.
    pub spectral_start: usize,
    pub spectral_end: usize,
    /// Successive approximation (Ah and Al): the bit position of the scan before, or 0 in a first scan, and that of
    /// this scan.
    pub approximation_high: u32,
    pub approximation_low: u32,
}

/// A component of a scan.
#[derive(Clone, Copy)]
pub(super) struct ScanComponent {
    /// The index of the component in the frame.
    pub index: usize,
    /// The numbers of its Huffman or conditioning tables.
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
        let scan = Self {
            components,
            spectral_start: first,
            spectral_end: last,
            approximation_high: high,
            approximation_low: low,
        };
        if frame.progressive && !scan.is_valid() {
            return Err(corrupt(format!("a progressive scan of coefficients {first} to {last}, bits {high} to {low}")));
        }
        Ok(scan)
    }

    /// Whether a progressive scan obeys the rules of T.81, G.1.1.1.
    fn is_valid(&self) -> bool {
        let band = match self.spectral_start {
            0 => self.spectral_end == 0,
            first => first <= self.spectral_end && self.spectral_end < 64 && self.components.len() == 1,
        };
        band && self.approximation_low <= 13
            && (self.approximation_high == 0 || self.approximation_high == self.approximation_low + 1)
    }
}
