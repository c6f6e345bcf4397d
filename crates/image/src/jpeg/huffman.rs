//! Decodes Huffman codes, and reads the bits that hold them (T.81, annex C and F.2.2).

use super::markers::EntropyData;
use super::{DecodeError, corrupt};

/// The length of the longest codes that the first table decodes with one lookup.
const LOOKUP: usize = 10;
/// The entries of a second table, which decodes longer codes: one for each value of the next 16 bits from the first
/// long code on.
const LONG: usize = 512;

/// Length and symbol of a code in two bytes, so that the tables share the first-level cache with the coefficients.
#[derive(Clone, Copy)]
struct CodeEntry(u16);

impl CodeEntry {
    /// The entry for bits that begin with no code, or with a long one.
    const NONE: Self = Self(0);

    /// Returns the entry for a code of `length` bits, 16 at most.
    fn new(length: usize, symbol: u8) -> Self {
        Self((length as u16 + u16::from(symbol & 15)) | (u16::from(symbol) << 8))
    }

    /// The number of bits of the code and of the value behind it, 31 at most.
    #[inline(always)]
    fn bits(self) -> u32 {
        u32::from(self.0 & 255)
    }

    /// The lower half of the symbol, which is the number of bits of the value.
    #[inline(always)]
    fn size(self) -> u32 {
        u32::from(self.0 >> 8 & 15)
    }

    /// The upper half of the symbol, which is a run of zeros for AC.
    #[inline(always)]
    fn run(self) -> u32 {
        u32::from(self.0 >> 12)
    }
}

/// A Huffman table in the form in which codes are decoded.
pub(super) struct HuffmanTable {
    /// The entries by the next [`LOOKUP`] bits.
    lookup: [CodeEntry; 1 << LOOKUP],
    /// The entries of codes longer than [`LOOKUP`], by the next 16 bits less `ends[LOOKUP]`. Long codes begin with
    /// ones, so the table nearly always holds all of them.
    long: [CodeEntry; LONG],
    /// For each length of codes, the end of the codes of this length, as the upper bits of 16.
    ends: [u32; 17],
    /// For each length of codes, the number to add to a code to get the index of its symbol, modulo 2^32.
    offsets: [u32; 17],
    symbols: [u8; 256],
    largest: u8,
}

impl HuffmanTable {
    /// Makes a table in which `counts[i]` codes have `i + 1` bits; `symbols` (at most 256) are in the order of their
    /// codes.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Box<Self>, DecodeError> {
        let mut table = Box::new(Self {
            lookup: [CodeEntry::NONE; 1 << LOOKUP],
            long: [CodeEntry::NONE; LONG],
            ends: [0; 17],
            offsets: [0; 17],
            symbols: [0; 256],
            largest: symbols.iter().copied().max().unwrap_or(0),
        });
        table.symbols.iter_mut().zip(symbols).for_each(|(place, symbol)| *place = *symbol);
        let (mut code, mut used) = (0u32, 0u32);
        for (length, count) in (1..).zip(counts) {
            table.offsets[length] = used.wrapping_sub(code);
            for symbol in symbols.iter().skip(used as usize).take(usize::from(*count)) {
                if length <= LOOKUP {
                    let from = (code as usize) << (LOOKUP - length);
                    let places = table.lookup.get_mut(from..from + (1 << (LOOKUP - length)));
                    places.ok_or_else(bad_code_lengths)?.fill(CodeEntry::new(length, *symbol));
                } else {
                    let from = ((code as usize) << (16 - length)) - table.ends[LOOKUP] as usize;
                    let places = table.long.iter_mut().skip(from).take(1 << (16 - length));
                    places.for_each(|place| *place = CodeEntry::new(length, *symbol));
                }
                code += 1;
            }
            used += u32::from(*count);
            if code > 1 << length {
                return Err(bad_code_lengths());
            }
            table.ends[length] = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }

    /// Whether all symbols are at most 15, as the numbers of bits of DC must be.
    pub(super) fn fits_dc(&self) -> bool {
        self.largest <= 15
    }

    /// Returns the entry for the code in the upper bits of `buffer`; [`CodeEntry::NONE`] where they begin with no code.
    #[inline(always)]
    fn entry(&self, buffer: u64) -> CodeEntry {
        let entry = self.lookup[(buffer >> (64 - LOOKUP)) as usize];
        if entry.0 == 0 { self.long_entry(buffer) } else { entry }
    }

    #[inline(always)]
    fn long_entry(&self, buffer: u64) -> CodeEntry {
        let next = (buffer >> 48) as u32;
        match self.long.get(next.wrapping_sub(self.ends[LOOKUP]) as usize) {
            Some(entry) if entry.0 != 0 => *entry,
            _ => self.search_long_codes(next),
        }
    }

    /// Finds the code at the beginning of the 16 bits `next` by trying each length.
    #[cold]
    #[inline(never)]
    fn search_long_codes(&self, next: u32) -> CodeEntry {
        let Some(length) = (LOOKUP + 1..=16).find(|length| next < self.ends[*length]) else { return CodeEntry::NONE };
        let place = (next >> (16 - length)).wrapping_add(self.offsets[length]);
        CodeEntry::new(length, self.symbols[place as usize & 255])
    }
}

fn bad_code_lengths() -> DecodeError {
    corrupt("a Huffman table with more codes than there can be")
}

/// Reads the bits of a scan. Beyond the end of the data it reads zeros; [`EntropyReader::check`] detects this.
#[derive(Clone, Copy)]
pub(super) struct BitReader<'a> {
    data: &'a [u8],
    /// The next byte of `data` that is not in the buffer.
    next: usize,
    /// The next bits, from the upper end on.
    buffer: u64,
    /// The number of valid bits in `buffer`. The bits below them already equal the next ones of the data, so `refill`
    /// may read them again.
    count: u32,
}

impl<'a> BitReader<'a> {
    fn new(data: &'a [u8], next: usize) -> Self {
        Self { data, next, buffer: 0, count: 0 }
    }

    /// Fills the buffer with at least 56 bits.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let word = match self.data.get(self.next..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => last_word(self.data, self.next),
        };
        self.buffer |= word >> self.count;
        self.next += (63 - self.count as usize) >> 3;
        self.count |= 56;
    }

    /// Decodes the next symbol of `table`: its upper half (for AC a run of zeros), its lower half (a number of bits),
    /// and the value in that number of bits behind the code. Returns none where the bits are no code.
    #[inline(always)]
    pub(super) fn symbol_and_value(&mut self, table: &HuffmanTable) -> Option<(u32, u32, i32)> {
        if self.count < 31 {
            self.refill();
        }
        let entry = table.entry(self.buffer);
        let size = entry.size();
        // There are no branches here, because the processor could not predict them.
        let above = self.buffer << (entry.bits() - size);
        let bits = (above >> 1 >> (63 - size)) as i32;
        // A value whose first bit is 0 is negative (T.81, F.2.2.1).
        let negative = !(above as i64 >> 63) as i32;
        let value = bits + (negative & (1 - (1 << size)));
        self.buffer <<= entry.bits();
        self.count -= entry.bits();
        if entry.0 == 0 { None } else { Some((entry.run(), size, value)) }
    }

    /// Reads the next `size` bits, at most 16.
    #[inline(always)]
    pub(super) fn take(&mut self, size: u32) -> u32 {
        if self.count < size {
            self.refill();
        }
        let value = (self.buffer >> 1 >> (63 - size)) as u32;
        self.buffer <<= size;
        self.count -= size;
        value
    }

    /// The number of bits read since the beginning of `data`.
    fn position(&self) -> usize {
        self.next * 8 - self.count as usize
    }
}

/// Returns the bytes from `next` on, fewer than eight, and zeros behind them.
#[cold]
#[inline(never)]
fn last_word(data: &[u8], next: usize) -> u64 {
    let mut word = [0; 8];
    word.iter_mut().zip(data.iter().skip(next)).for_each(|(place, byte)| *place = *byte);
    u64::from_be_bytes(word)
}

/// Reads the bits of a scan from restart marker to restart marker.
pub(super) struct EntropyReader<'a> {
    pub bits: BitReader<'a>,
    data: &'a EntropyData,
    /// The number of MCUs between restart markers; 0 where there are none.
    interval: usize,
    /// The number of MCUs before the next marker.
    left: usize,
    /// The number of markers before the current position.
    passed: usize,
}

impl<'a> EntropyReader<'a> {
    pub(super) fn new(data: &'a EntropyData, interval: usize) -> Self {
        let left = if interval == 0 { usize::MAX } else { interval };
        Self { bits: BitReader::new(&data.bytes, 0), data, interval, left, passed: 0 }
    }

    /// Must be called before each MCU. Returns whether a restart marker was passed, which resets the DC predictors.
    #[inline(always)]
    pub(super) fn begin_mcu(&mut self) -> Result<bool, DecodeError> {
        if self.left > 0 {
            self.left -= 1;
            return Ok(false);
        }
        self.pass_marker()?;
        Ok(true)
    }

    #[cold]
    #[inline(never)]
    fn pass_marker(&mut self) -> Result<(), DecodeError> {
        self.check()?;
        let marker = self.data.restarts.get(self.passed);
        if marker.is_none() && self.data.cut {
            self.exhaust();
            return Ok(());
        }
        let marker = marker.ok_or_else(|| corrupt(format!("the restart marker {} is missing", self.passed)))?;
        if usize::from(marker.number) != self.passed % 8 {
            return Err(corrupt(format!("restart marker {} where {} should be", marker.number, self.passed % 8)));
        }
        self.bits = BitReader::new(&self.data.bytes, marker.at);
        self.passed += 1;
        self.left = self.interval - 1;
        Ok(())
    }

    /// Whether a file that ends early has no data for the next MCU.
    #[inline(always)]
    pub(super) fn is_at_end(&self) -> bool {
        self.data.cut && self.passed == self.data.restarts.len() && self.bits.position() > self.data.bytes.len() * 8
    }

    /// Moves the reader behind the end of the data.
    fn exhaust(&mut self) {
        self.bits = BitReader::new(&self.data.bytes, self.data.bytes.len() + 1);
    }

    /// Must be called when the bits are no valid code. In a file that ends early this is the end of the data, otherwise
    /// it is an error.
    #[cold]
    pub(super) fn invalid_code(&mut self) -> Result<(), DecodeError> {
        if self.data.cut && self.passed == self.data.restarts.len() {
            self.exhaust();
            return Ok(());
        }
        Err(corrupt("coded data that make no sense"))
    }

    /// Returns an error if more bits were read than the data have.
    pub(super) fn check(&self) -> Result<(), DecodeError> {
        let end = self.data.restarts.get(self.passed).map_or(self.data.bytes.len(), |marker| marker.at);
        let cut = self.data.cut && self.passed == self.data.restarts.len();
        if self.bits.position() > end * 8 && !cut {
            return Err(corrupt("coded data are missing before a marker"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::markers::Restart;
    use super::*;

    /// A table with the codes 0, 10, 110, and those of 12 bits from 111000000000 to 111000000010.
    fn table() -> Box<HuffmanTable> {
        let counts = [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0];
        HuffmanTable::new(&counts, &[0x00, 0x03, 0x12, 0x21, 0xf0, 0x0f]).expect("a table")
    }

    #[test]
    fn short_and_long_codes_and_their_values() {
        // The bits, a code and its value each: 0 | 10 101 | 10 010 | 110 11 | 111000000000 1 | 111000000001 |
        // 111000000010 and fifteen ones | 111000000011, which is no code.
        let text = "0 10101 10010 11011 1110000000001 111000000001 111000000010111111111111111 111000000011";
        let digits: Vec<u8> = text.bytes().filter(|b| *b != b' ').map(|b| b - b'0').collect();
        let bytes =
            digits.chunks(8).map(|c| (0..8).fold(0, |byte, i| byte << 1 | c.get(i).copied().unwrap_or(0))).collect();
        let data = EntropyData { bytes, restarts: vec![], cut: false };
        let mut reader = EntropyReader::new(&data, 0);
        let table = table();
        for expected in [(0, 0, 0), (0, 3, 5), (0, 3, -5), (1, 2, 3), (2, 1, 1), (15, 0, 0), (0, 15, 32_767)] {
            assert_eq!(reader.bits.symbol_and_value(&table), Some(expected));
        }
        assert!(reader.check().is_ok());
        assert_eq!(reader.bits.symbol_and_value(&table), None);
    }

    #[test]
    fn impossible_tables_are_refused() {
        assert!(HuffmanTable::new(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[1, 2, 3]).is_err());
        let mut counts = [0; 16];
        (counts[0], counts[11]) = (2, 1);
        assert!(HuffmanTable::new(&counts, &[1, 2, 3]).is_err());
    }

    #[test]
    fn bits_end_at_the_marker_and_go_on_after_it() {
        let data =
            EntropyData { bytes: vec![0xa5, 0x3c, 0xff], restarts: vec![Restart { at: 1, number: 0 }], cut: false };
        let mut reader = EntropyReader::new(&data, 1);
        assert_eq!(reader.begin_mcu().ok(), Some(false));
        assert_eq!(reader.bits.take(8), 0xa5);
        assert_eq!(reader.begin_mcu().ok(), Some(true));
        assert_eq!((reader.bits.take(16), reader.check().is_ok()), (0x3cff, true));
        assert_eq!((reader.bits.take(1), reader.check().is_ok()), (0, false));
        assert!(reader.begin_mcu().is_err());
    }
}
