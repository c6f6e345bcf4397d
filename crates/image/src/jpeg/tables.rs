//! Reads the quantisation and Huffman tables (T.81, B.2.4), and holds the Huffman tables that a file may leave out
//! (annex K.3).

use super::huffman::HuffmanTable;
use super::{DecodeError, corrupt};

/// The position of the coefficients in the block, in the order in which they are coded: the row times eight plus the
/// column.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// The quantisation steps of a block's coefficients, row-major.
pub(super) type QuantisationTable = [i16; 64];

/// The tables of the DQT and DHT segments that have been read.
#[derive(Default)]
pub(super) struct CodingTables {
    quantisation: [Option<QuantisationTable>; 4],
    dc: [Option<Box<HuffmanTable>>; 4],
    ac: [Option<Box<HuffmanTable>>; 4],
}

impl CodingTables {
    /// Reads a DQT segment.
    pub(super) fn read_quantisation(&mut self, mut body: &[u8]) -> Result<(), DecodeError> {
        while let Some((head, rest)) = body.split_first() {
            let (wide, slot) = (head >> 4, usize::from(head & 15));
            let bytes = if wide == 0 { 64 } else { 128 };
            let values = rest.get(..bytes).ok_or_else(|| corrupt("a quantisation table is too short"))?;
            let table =
                self.quantisation.get_mut(slot).ok_or_else(|| corrupt("a quantisation table beyond the fourth"))?;
            let steps = table.insert([0; 64]);
            for (i, place) in ZIGZAG.iter().enumerate() {
                let step = if wide == 0 {
                    u16::from(values[i])
                } else {
                    u16::from_be_bytes([values[2 * i], values[2 * i + 1]])
                };
                // Like libjpeg-turbo's SIMD code, this keeps the lower 16 bits of steps and products.
                steps[usize::from(*place)] = step as i16;
            }
            body = &rest[bytes..];
        }
        Ok(())
    }

    /// Reads a DHT segment.
    pub(super) fn read_huffman(&mut self, mut body: &[u8]) -> Result<(), DecodeError> {
        while let Some((&[head, ref counts @ ..], rest)) = body.split_first_chunk::<17>() {
            let total: usize = counts.iter().map(|c| usize::from(*c)).sum();
            let symbols = rest.get(..total).filter(|_| total <= 256);
            let symbols = symbols.ok_or_else(|| corrupt("a Huffman table is too short"))?;
            let (is_ac, slot) = (head >> 4, usize::from(head & 15));
            let class = if is_ac == 0 { &mut self.dc } else { &mut self.ac };
            let table = class.get_mut(slot).filter(|_| is_ac <= 1);
            *table.ok_or_else(|| corrupt("a Huffman table beyond the fourth"))? =
                Some(HuffmanTable::new(counts, symbols)?);
            body = &rest[total..];
        }
        if body.is_empty() { Ok(()) } else { Err(corrupt("a Huffman table is too short")) }
    }

    /// Returns the quantisation table with the number `slot`.
    pub(super) fn quantisation(&self, slot: u8) -> Result<QuantisationTable, DecodeError> {
        let table = self.quantisation.get(usize::from(slot)).copied().flatten();
        table.ok_or_else(|| corrupt(format!("the quantisation table {slot} is missing")))
    }

    pub(super) fn dc(&self, slot: usize) -> Result<&HuffmanTable, DecodeError> {
        let table = self.dc.get(slot).and_then(Option::as_deref);
        let table = table.ok_or_else(|| corrupt(format!("the Huffman table {slot} of DC is missing")))?;
        if !table.fits_dc() {
            return Err(corrupt(format!("the Huffman table {slot} of DC has symbols above 15")));
        }
        Ok(table)
    }

    pub(super) fn ac(&self, slot: usize) -> Result<&HuffmanTable, DecodeError> {
        let table = self.ac.get(slot).and_then(Option::as_deref);
        table.ok_or_else(|| corrupt(format!("the Huffman table {slot} of AC is missing")))
    }

    /// Adds the Huffman tables of T.81, annex K.3 where the file has none, since frames of Motion JPEG leave them out.
    pub(super) fn add_standard_tables(&mut self) -> Result<(), DecodeError> {
        for (slot, standard) in STANDARD.iter().enumerate() {
            if self.dc[slot].is_none() {
                self.dc[slot] = Some(HuffmanTable::new(&standard.dc_counts, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])?);
            }
            if self.ac[slot].is_none() {
                self.ac[slot] = Some(HuffmanTable::new(&standard.ac_counts, &standard.ac_symbols)?);
            }
        }
        Ok(())
    }
}

/// The Huffman tables for one kind of component in T.81, annex K.3: the number of codes with 1 to 16 bits, and the
/// symbols of AC.
struct StandardTables {
    dc_counts: [u8; 16],
    ac_counts: [u8; 16],
    ac_symbols: [u8; 162],
}

/// The tables for luminance (K.3 and K.5) and for chrominance (K.4 and K.6).
static STANDARD: [StandardTables; 2] = [
    StandardTables {
        dc_counts: [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        ac_counts: [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125],
        ac_symbols: [
            0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
            0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
            0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
            0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
            0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
            0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
            0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
            0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
            0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
        ],
    },
    StandardTables {
        dc_counts: [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
        ac_counts: [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119],
        ac_symbols: [
            0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
            0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
            0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
            0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
            0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
            0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
            0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
            0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
            0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
        ],
    },
];
