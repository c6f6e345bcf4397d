//! Huffman codes and the bits that hold them (T.81, annex C and F.2.2).

use super::markers::EntropyData;
use super::{DecodeError, corrupt};

/// Codes of up to so many bits are decoded by one look into a table.
const LOOKUP: usize = 10;
/// Of longer codes, those in so many of the last 65,536 possible beginnings are decoded by a second one.
const LONG: usize = 512;

/// A code's length and symbol, in two bytes: the tables share the nearest cache with the coefficients.
#[derive(Clone, Copy)]
struct Entry(u16);

impl Entry {
    /// For bits that begin no code, or a long one.
    const NONE: Self = Self(0);

    /// For a code of `length` bits, 16 at most.
    fn new(length: usize, symbol: u8) -> Self {
        Self((length as u16 + u16::from(symbol & 15)) | (u16::from(symbol) << 8))
    }

    /// The code's bits and the value's, 31 at most.
    #[inline(always)]
    fn bits(self) -> u32 {
        u32::from(self.0 & 255)
    }

    /// The lower half of the symbol: the value's bits.
    #[inline(always)]
    fn size(self) -> u32 {
        u32::from(self.0 >> 8 & 15)
    }

    /// The upper half: for AC a number of zeros.
    #[inline(always)]
    fn run(self) -> u32 {
        u32::from(self.0 >> 12)
    }
}

/// A Huffman table, made ready for decoding.
pub(super) struct Huffman {
    /// By the next [`LOOKUP`] bits.
    lookup: [Entry; 1 << LOOKUP],
    /// By the next 16 bits less where the codes of [`LOOKUP`] bits end: longer codes. They begin with ones, so this is nearly always all of
    /// them.
    long: [Entry; LONG],
    /// For each length of code: where the codes of this length end, moved to the upper end of 16 bits.
    ends: [u32; 17],
    /// For each length: what is to be added to a code to give the place of its symbol, modulo 2^32.
    offsets: [u32; 17],
    symbols: [u8; 256],
    largest: u8,
}

impl Huffman {
    /// `counts[i]` codes have `i + 1` bits; `symbols` (at most 256) are in the order of their codes.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Box<Self>, DecodeError> {
        let mut table = Box::new(Self {
            lookup: [Entry::NONE; 1 << LOOKUP],
            long: [Entry::NONE; LONG],
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
                    places.ok_or_else(bad_code_lengths)?.fill(Entry::new(length, *symbol));
                } else {
                    let from = ((code as usize) << (16 - length)) - table.ends[LOOKUP] as usize;
                    let places = table.long.iter_mut().skip(from).take(1 << (16 - length));
                    places.for_each(|place| *place = Entry::new(length, *symbol));
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

    /// Whether all symbols are numbers of bits, as those of DC must be.
    pub(super) fn fits_dc(&self) -> bool {
        self.largest <= 15
    }

    /// The entry for the code at the upper end of `buffer`; [`Entry::NONE`] when no code is there.
    #[inline(always)]
    fn entry(&self, buffer: u64) -> Entry {
        let entry = self.lookup[(buffer >> (64 - LOOKUP)) as usize];
        if entry.0 == 0 { self.long_entry(buffer) } else { entry }
    }

    #[inline(always)]
    fn long_entry(&self, buffer: u64) -> Entry {
        let next = (buffer >> 48) as u32;
        match self.long.get(next.wrapping_sub(self.ends[LOOKUP]) as usize) {
            Some(entry) if entry.0 != 0 => *entry,
            _ => self.searched(next),
        }
    }

    /// The entry for the code that the 16 bits `next` begin with, by its length.
    #[cold]
    #[inline(never)]
    fn searched(&self, next: u32) -> Entry {
        let Some(length) = (LOOKUP + 1..=16).find(|length| next < self.ends[*length]) else { return Entry::NONE };
        let place = (next >> (16 - length)).wrapping_add(self.offsets[length]);
        Entry::new(length, self.symbols[place as usize & 255])
    }
}

fn bad_code_lengths() -> DecodeError {
    corrupt("a Huffman table with more codes than there can be")
}

/// A window on the bits of a scan. Beyond the end of the data there are zeros, and [`Reader::check`] finds out.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// The next byte of `data` that is not in the buffer.
    next: usize,
    /// The next bits, from the upper end.
    buffer: u64,
    /// How many of them count; what is below agrees with the data and may be taken again.
    count: u32,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8], next: usize) -> Self {
        Self { data, next, buffer: 0, count: 0 }
    }

    /// After this at least 56 bits are in the buffer.
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

    /// The next symbol of `table`, as its upper half (for AC a number of zeros) and its lower half (a number of bits), and the value in so
    /// many bits behind it; none when no code is there.
    #[inline(always)]
    pub(super) fn symbol_and_value(&mut self, table: &Huffman) -> Option<(u32, u32, i32)> {
        if self.count < 31 {
            self.refill();
        }
        let entry = table.entry(self.buffer);
        let size = entry.size();
        // no branches: which way they go could not be foretold
        let above = self.buffer << (entry.bits() - size);
        let bits = (above >> 1 >> (63 - size)) as i32;
        // those whose first bit is 0 stand for negative values (T.81, F.2.2.1)
        let negative = !(above as i64 >> 63) as i32;
        let value = bits + (negative & (1 - (1 << size)));
        self.buffer <<= entry.bits();
        self.count -= entry.bits();
        if entry.0 == 0 { None } else { Some((entry.run(), size, value)) }
    }

    /// The next `size` bits, up to 16.
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

    /// Bits taken since the beginning of `data`.
    fn position(&self) -> usize {
        self.next * 8 - self.count as usize
    }
}

/// The bytes from `next` on, fewer than eight, and zeros.
#[cold]
#[inline(never)]
fn last_word(data: &[u8], next: usize) -> u64 {
    let mut word = [0; 8];
    word.iter_mut().zip(data.iter().skip(next)).for_each(|(place, byte)| *place = *byte);
    u64::from_be_bytes(word)
}

/// The bits of a scan, from restart marker to restart marker.
pub(super) struct Reader<'a> {
    pub bits: Bits<'a>,
    data: &'a EntropyData,
    /// MCUs between restart markers; 0 for none.
    interval: usize,
    /// MCUs left before the next marker.
    left: usize,
    /// Markers passed.
    passed: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a EntropyData, interval: usize) -> Self {
        let left = if interval == 0 { usize::MAX } else { interval };
        Self { bits: Bits::new(&data.bytes, 0), data, interval, left, passed: 0 }
    }

    /// To be called before each MCU: whether decoding starts anew after a restart marker.
    #[inline(always)]
    pub(super) fn restarts(&mut self) -> Result<bool, DecodeError> {
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
            self.end();
            return Ok(());
        }
        let marker = marker.ok_or_else(|| corrupt(format!("the restart marker {} is missing", self.passed)))?;
        if usize::from(marker.number) != self.passed % 8 {
            return Err(corrupt(format!("restart marker {} where {} should be", marker.number, self.passed % 8)));
        }
        self.bits = Bits::new(&self.data.bytes, marker.at);
        self.passed += 1;
        self.left = self.interval - 1;
        Ok(())
    }

    /// To be asked before each MCU: whether a file that ends early has nothing for it.
    #[inline(always)]
    pub(super) fn is_at_end(&self) -> bool {
        self.data.cut && self.passed == self.data.restarts.len() && self.bits.position() > self.data.bytes.len() * 8
    }

    /// No bits are left.
    fn end(&mut self) {
        self.bits = Bits::new(&self.data.bytes, self.data.bytes.len() + 1);
    }

    /// To be called when bits are no block: an error, but where the file ends early it is the end.
    #[cold]
    pub(super) fn refuse(&mut self) -> Result<(), DecodeError> {
        if self.data.cut && self.passed == self.data.restarts.len() {
            self.end();
            return Ok(());
        }
        Err(corrupt("coded data that make no sense"))
    }

    /// Whether all bits taken so far were there.
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

    /// Codes 0, 10, 110, then 12 bits 111000000000 to 111000000010.
    fn table() -> Box<Huffman> {
        let counts = [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0];
        Huffman::new(&counts, &[0x00, 0x03, 0x12, 0x21, 0xf0, 0x0f]).expect("a table")
    }

    #[test]
    fn short_and_long_codes_and_their_values() {
        // 0 | 10 101 | 10 010 | 110 11 | 111000000000 1 | 111000000001 | 111000000010 and fifteen ones | 111000000011
        let text = "0 10101 10010 11011 1110000000001 111000000001 111000000010111111111111111 111000000011";
        let digits: Vec<u8> = text.bytes().filter(|b| *b != b' ').map(|b| b - b'0').collect();
        let bytes =
            digits.chunks(8).map(|c| (0..8).fold(0, |byte, i| byte << 1 | c.get(i).copied().unwrap_or(0))).collect();
        let data = EntropyData { bytes, restarts: vec![], cut: false };
        let mut reader = Reader::new(&data, 0);
        let table = table();
        for expected in [(0, 0, 0), (0, 3, 5), (0, 3, -5), (1, 2, 3), (2, 1, 1), (15, 0, 0), (0, 15, 32_767)] {
            assert_eq!(reader.bits.symbol_and_value(&table), Some(expected));
        }
        assert!(reader.check().is_ok());
        assert_eq!(reader.bits.symbol_and_value(&table), None);
    }

    #[test]
    fn impossible_tables_are_refused() {
        assert!(Huffman::new(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[1, 2, 3]).is_err());
        let mut counts = [0; 16];
        (counts[0], counts[11]) = (2, 1);
        assert!(Huffman::new(&counts, &[1, 2, 3]).is_err());
    }

    #[test]
    fn bits_end_at_the_marker_and_go_on_after_it() {
        let data =
            EntropyData { bytes: vec![0xa5, 0x3c, 0xff], restarts: vec![Restart { at: 1, number: 0 }], cut: false };
        let mut reader = Reader::new(&data, 1);
        assert_eq!(reader.restarts().ok(), Some(false));
        assert_eq!(reader.bits.take(8), 0xa5);
        assert_eq!(reader.restarts().ok(), Some(true));
        assert_eq!((reader.bits.take(16), reader.check().is_ok()), (0x3cff, true));
        assert_eq!((reader.bits.take(1), reader.check().is_ok()), (0, false));
        assert!(reader.restarts().is_err());
    }
}
