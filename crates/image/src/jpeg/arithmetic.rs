//! Decodes arithmetic-coded scans (T.81, annex D, F.2.4 and G.2). The data hold binary decisions instead of Huffman
//! codes, and each decision has a probability that adapts.
//!
//! An encoder leaves out zeros at the end of its data, so missing bits are zeros, and the decoder cannot tell whether
//! data are missing.

use super::frame::{Component, Frame, Scan, ScanComponent};
use super::idct::{BlockGroup, LANES};
use super::scan::{CoefficientBuffer, ScanInput};
use super::tables::ZIGZAG;
use super::{DecodeError, corrupt};

/// The number of conditioning tables that a scan may name.
const TABLES: usize = 16;
/// The state of a decision with the fixed probability 1/2.
const EVEN: u8 = 113;

/// The number of decisions that a scan may have for each bit of its data and for each block. Pictures need a tenth of
/// either; a malicious file could have thousands.
const MAX_DECISIONS: u64 = 16;

/// The conditioning tables of the marker DAC (T.81, B.2.4.3): how the statistics of a coefficient depend on earlier
/// values.
#[derive(Clone, Copy)]
pub(super) struct Conditioning {
    /// The bounds L and U of small differences of DC, and the bound Kx of low AC coefficients.
    low: [u8; TABLES],
    high: [u8; TABLES],
    last: [u8; TABLES],
}

impl Default for Conditioning {
    fn default() -> Self {
        Self { low: [0; TABLES], high: [1; TABLES], last: [5; TABLES] }
    }
}

impl Conditioning {
    /// Reads a DAC segment, which holds pairs of a table number and a value.
    pub(super) fn read(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        for &[table, value] in body.as_chunks::<2>().0 {
            let number = usize::from(table & 15);
            match table >> 4 {
                0 if value & 15 <= value >> 4 => (self.low[number], self.high[number]) = (value & 15, value >> 4),
                1 => self.last[number] = value,
                _ => return Err(corrupt(format!("conditioning of the table {table} by {value}"))),
            }
        }
        Ok(())
    }
}

/// Decodes the binary decisions of the data between two restart markers (T.81, D.2).
struct ArithmeticDecoder<'a> {
    data: &'a [u8],
    code: u64,
    interval: u64,
    /// The number of bits of `code` below the interval; negative before the first bytes are read.
    count: i32,
    /// The number of decisions that may still be decoded.
    budget: u64,
}

impl<'a> ArithmeticDecoder<'a> {
    fn new(data: &'a [u8], budget: u64) -> Self {
        Self { data, code: 0, interval: 0, count: -16, budget }
    }

    /// Decodes the next decision and adapts `state`, the state of its probability.
    fn next(&mut self, state: &mut u8) -> bool {
        self.budget = self.budget.saturating_sub(1);
        while self.interval < 0x8000 {
            self.count -= 1;
            if self.count < 0 {
                let (byte, rest) = self.data.split_first().map_or((0, self.data), |(byte, rest)| (*byte, rest));
                self.data = rest;
                self.code = self.code << 8 | u64::from(byte);
                self.count += 8;
                if self.count < 0 {
                    self.count += 1;
                    if self.count == 0 {
                        // The interval is 2^16 after the shift below.
                        self.interval = 0x8000;
                    }
                }
            }
            self.interval <<= 1;
        }
        let [share, less, more] = QE_STATES[usize::from(*state & 127).min(usize::from(EVEN))];
        let (share, likely) = (u64::from(share), *state >> 7);
        let (less, more) = ((less as u8) ^ (likely << 7), more as u8 | likely << 7);
        self.interval -= share;
        let bound = self.interval << self.count;
        let unlikely = if self.code >= bound {
            self.code -= bound;
            let exchanged = self.interval < share;
            self.interval = share;
            !exchanged
        } else if self.interval < 0x8000 {
            self.interval < share
        } else {
            return likely == 1;
        };
        *state = if unlikely { less } else { more };
        (likely == 1) != unlikely
    }
}

/// The state that the decoder carries from block to block (T.81, F.1.4.4): it is reset at each restart marker.
struct Statistics {
    /// For each component, the DC coefficient of its last block and the class of the difference before it.
    dc: [i32; 4],
    context: [usize; 4],
    /// The states of the probabilities, by conditioning table.
    dc_states: Vec<[u8; 64]>,
    ac_states: Vec<[u8; 256]>,
    even: u8,
}

impl Statistics {
    fn new() -> Self {
        let (dc_states, ac_states) = (vec![[0; 64]; TABLES], vec![[0; 256]; TABLES]);
        Self { dc: [0; 4], context: [0; 4], dc_states, ac_states, even: EVEN }
    }
}

/// The decoder of one scan.
struct ScanDecoder<'a> {
    frame: &'a Frame,
    scan: &'a Scan,
    conditioning: &'a Conditioning,
    decisions: ArithmeticDecoder<'a>,
    statistics: Statistics,
}

/// Decodes a scan into the coefficient buffer. Returns whether the data may have reached the end of the scan.
pub(super) fn decode(
    coefficients: &mut CoefficientBuffer,
    input: &ScanInput,
    conditioning: &Conditioning,
) -> Result<bool, DecodeError> {
    let &ScanInput { frame, scan, data, restart_interval } = input;
    let piece = |number: usize| -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| data.restarts[before].at);
        let end = data.restarts.get(number).map_or(data.bytes.len(), |marker| marker.at);
        data.bytes.get(start..end).unwrap_or_default()
    };
    let (across, down) = match scan.components.as_slice() {
        [only] => (frame.components[only.index].blocks_wide, frame.components[only.index].blocks_high),
        _ => frame.mcus(),
    };
    let budget = MAX_DECISIONS * (data.bytes.len() * 8 + across * down * 10 + 256) as u64;
    let (decisions, statistics) = (ArithmeticDecoder::new(piece(0), budget), Statistics::new());
    let mut decoder = ScanDecoder { frame, scan, conditioning, decisions, statistics };
    for mcu in 0..across * down {
        if restart_interval > 0 && mcu > 0 && mcu.is_multiple_of(restart_interval) {
            let number = mcu / restart_interval;
            match data.restarts.get(number - 1) {
                Some(marker) if usize::from(marker.number) == (number - 1) % 8 => {}
                None if data.cut => return Ok(false),
                _ => return Err(corrupt(format!("the restart marker {} is missing", number - 1))),
            }
            let budget = decoder.decisions.budget;
            (decoder.decisions, decoder.statistics) =
                (ArithmeticDecoder::new(piece(number), budget), Statistics::new());
        }
        let done = decoder.mcu(coefficients, mcu % across, mcu / across).filter(|()| decoder.decisions.budget > 0);
        done.ok_or_else(|| corrupt("coded data that make no sense"))?;
    }
    Ok(!data.cut)
}

impl ScanDecoder<'_> {
    /// Decodes the blocks of an MCU; blocks beyond the edge of the component are discarded.
    fn mcu(&mut self, coefficients: &mut CoefficientBuffer, column: usize, row: usize) -> Option<()> {
        let alone = self.scan.components.len() == 1;
        let mut filling = BlockGroup::ZERO;
        let scan = self.scan;
        for component in &scan.components {
            let Component { h, v, .. } = self.frame.components[component.index];
            let (h, v) = if alone { (1, 1) } else { (h, v) };
            for place in 0..h * v {
                let (x, y) = (column * h + place % h, row * v + place / h);
                let group = coefficients.group(self.frame, component.index, x, y).unwrap_or(&mut filling);
                self.block(component, group, x % LANES)?;
            }
        }
        Some(())
    }

    fn block(&mut self, component: &ScanComponent, group: &mut BlockGroup, lane: usize) -> Option<()> {
        let (dc, ac) = (component.dc % TABLES, component.ac % TABLES);
        let Scan {
            spectral_start: first, spectral_end: last, approximation_high: high, approximation_low: low, ..
        } = *self.scan;
        match (self.frame.progressive, first, high) {
            (false, ..) => {
                *group.at(lane, 0) = self.dc(component.index, dc)? as i16;
                self.ac(ac, 1, 63, 0, group, lane)
            }
            (true, 0, 0) => {
                *group.at(lane, 0) = (self.dc(component.index, dc)? << low) as i16;
                Some(())
            }
            (true, 0, _) => {
                *group.at(lane, 0) |= i16::from(self.decisions.next(&mut self.statistics.even)) << low;
                Some(())
            }
            (true, _, 0) => self.ac(ac, first, last, low, group, lane),
            (true, ..) => self.refine(ac, group, lane),
        }
    }

    /// Decodes the DC coefficient (T.81, F.1.4.4.1).
    fn dc(&mut self, component: usize, table: usize) -> Option<i32> {
        let Self { decisions, statistics, conditioning, .. } = self;
        let (states, context) = (&mut statistics.dc_states[table], &mut statistics.context[component % 4]);
        if !decisions.next(&mut states[*context]) {
            *context = 0;
            return Some(statistics.dc[component % 4]);
        }
        let negative = decisions.next(&mut states[*context + 1]);
        let mut place = *context + 2 + usize::from(negative);
        let mut size = i32::from(decisions.next(&mut states[place]));
        if size > 0 {
            place = 20;
            while decisions.next(&mut states[place]) {
                size <<= 1;
                if size == 0x8000 {
                    return None;
                }
                place += 1;
            }
        }
        let bound = |bits: u8| (1 << bits) >> 1;
        *context = match size {
            size if size < bound(conditioning.low[table]) => 0,
            size if size > bound(conditioning.high[table]) => 12 + 4 * usize::from(negative),
            _ => 4 + 4 * usize::from(negative),
        };
        let difference = magnitude(decisions, &mut states[place + 14], size);
        let dc = &mut statistics.dc[component % 4];
        *dc = dc.wrapping_add(if negative { -difference } else { difference });
        Some(*dc)
    }

    /// Decodes the AC coefficients from `first` to `last` (T.81, F.1.4.4.2).
    fn ac(
        &mut self,
        table: usize,
        first: usize,
        last: usize,
        low: u32,
        group: &mut BlockGroup,
        lane: usize,
    ) -> Option<()> {
        let Self { decisions, statistics, conditioning, .. } = self;
        let states = &mut statistics.ac_states[table];
        let mut k = first;
        while k <= last {
            if decisions.next(&mut states[3 * (k - 1)]) {
                break;
            }
            while !decisions.next(&mut states[3 * (k - 1) + 1]) {
                k += 1;
                if k > last {
                    return None;
                }
            }
            let negative = decisions.next(&mut statistics.even);
            let mut place = 3 * (k - 1) + 2;
            let mut size = i32::from(decisions.next(&mut states[place]));
            if size > 0 && decisions.next(&mut states[place]) {
                size = 2;
                place = if k <= usize::from(conditioning.last[table]) { 189 } else { 217 };
                while decisions.next(&mut states[place]) {
                    size <<= 1;
                    if size == 0x8000 {
                        return None;
                    }
                    place += 1;
                }
            }
            let value = magnitude(decisions, &mut states[place + 14], size);
            *group.at(lane, ZIGZAG[k]) = ((if negative { -value } else { value }) << low) as i16;
            group.include(ZIGZAG[k]);
            k += 1;
        }
        Some(())
    }

    /// Decodes the next bit of the AC coefficients (T.81, G.1.3.3).
    fn refine(&mut self, table: usize, group: &mut BlockGroup, lane: usize) -> Option<()> {
        let Scan { spectral_start: first, spectral_end: last, approximation_low: low, .. } = *self.scan;
        let Self { decisions, statistics, .. } = self;
        let (states, step) = (&mut statistics.ac_states[table], 1i16 << low);
        let before = (1..=last).rev().find(|k| *group.at(lane, ZIGZAG[*k]) != 0).unwrap_or(0);
        let mut k = first;
        while k <= last {
            if k > before && decisions.next(&mut states[3 * (k - 1)]) {
                break;
            }
            loop {
                let (value, place) = (group.at(lane, ZIGZAG[k]), 3 * (k - 1));
                if *value != 0 {
                    if decisions.next(&mut states[place + 2]) {
                        *value = value.wrapping_add(if *value < 0 { -step } else { step });
                    }
                    break;
                }
                if decisions.next(&mut states[place + 1]) {
                    *value = if decisions.next(&mut statistics.even) { -step } else { step };
                    group.include(ZIGZAG[k]);
                    break;
                }
                k += 1;
                if k > last {
                    return None;
                }
            }
            k += 1;
        }
        Some(())
    }
}

/// Decodes the bits of a value below its highest bit `size`, one by one, and adds one.
fn magnitude(decisions: &mut ArithmeticDecoder, state: &mut u8, size: i32) -> i32 {
    let (mut value, mut bit) = (size, size >> 1);
    while bit > 0 {
        if decisions.next(state) {
            value |= bit;
        }
        bit >>= 1;
    }
    value + 1
}

/// The probability states (T.81, table D.3): the estimate Qe of the less probable decision, the state after that
/// decision, to which 128 is added where the two decisions change roles, and the state after the more probable
/// decision. The last state is [`EVEN`].
#[rustfmt::skip]
const QE_STATES: [[u16; 3]; 114] = [
    [0x5a1d, 129, 1], [0x2586, 14, 2], [0x1114, 16, 3], [0x080b, 18, 4],
    [0x03d8, 20, 5], [0x01da, 23, 6], [0x00e5, 25, 7], [0x006f, 28, 8],
    [0x0036, 30, 9], [0x001a, 33, 10], [0x000d, 35, 11], [0x0006, 9, 12],
    [0x0003, 10, 13], [0x0001, 12, 13], [0x5a7f, 143, 15], [0x3f25, 36, 16],
    [0x2cf2, 38, 17], [0x207c, 39, 18], [0x17b9, 40, 19], [0x1182, 42, 20],
    [0x0cef, 43, 21], [0x09a1, 45, 22], [0x072f, 46, 23], [0x055c, 48, 24],
    [0x0406, 49, 25], [0x0303, 51, 26], [0x0240, 52, 27], [0x01b1, 54, 28],
    [0x0144, 56, 29], [0x00f5, 57, 30], [0x00b7, 59, 31], [0x008a, 60, 32],
    [0x0068, 62, 33], [0x004e, 63, 34], [0x003b, 32, 35], [0x002c, 33, 9],
    [0x5ae1, 165, 37], [0x484c, 64, 38], [0x3a0d, 65, 39], [0x2ef1, 67, 40],
    [0x261f, 68, 41], [0x1f33, 69, 42], [0x19a8, 70, 43], [0x1518, 72, 44],
    [0x1177, 73, 45], [0x0e74, 74, 46], [0x0bfb, 75, 47], [0x09f8, 77, 48],
    [0x0861, 78, 49], [0x0706, 79, 50], [0x05cd, 48, 51], [0x04de, 50, 52],
    [0x040f, 50, 53], [0x0363, 51, 54], [0x02d4, 52, 55], [0x025c, 53, 56],
    [0x01f8, 54, 57], [0x01a4, 55, 58], [0x0160, 56, 59], [0x0125, 57, 60],
    [0x00f6, 58, 61], [0x00cb, 59, 62], [0x00ab, 61, 63], [0x008f, 61, 32],
    [0x5b12, 193, 65], [0x4d04, 80, 66], [0x412c, 81, 67], [0x37d8, 82, 68],
    [0x2fe8, 83, 69], [0x293c, 84, 70], [0x2379, 86, 71], [0x1edf, 87, 72],
    [0x1aa9, 87, 73], [0x174e, 72, 74], [0x1424, 72, 75], [0x119c, 74, 76],
    [0x0f6b, 74, 77], [0x0d51, 75, 78], [0x0bb6, 77, 79], [0x0a40, 77, 48],
    [0x5832, 208, 81], [0x4d1c, 88, 82], [0x438e, 89, 83], [0x3bdd, 90, 84],
    [0x34ee, 91, 85], [0x2eae, 92, 86], [0x299a, 93, 87], [0x2516, 86, 71],
    [0x5570, 216, 89], [0x4ca9, 95, 90], [0x44d9, 96, 91], [0x3e22, 97, 92],
    [0x3824, 99, 93], [0x32b4, 99, 94], [0x2e17, 93, 86], [0x56a8, 223, 96],
    [0x4f46, 101, 97], [0x47e5, 102, 98], [0x41cf, 103, 99], [0x3c3d, 104, 100],
    [0x375e, 99, 93], [0x5231, 105, 102], [0x4c0f, 106, 103], [0x4639, 107, 104],
    [0x415e, 103, 99], [0x5627, 233, 106], [0x50e7, 108, 107], [0x4b85, 109, 103],
    [0x5597, 110, 109], [0x504f, 111, 107], [0x5a10, 238, 111], [0x5522, 112, 109],
    [0x59eb, 240, 111], [0x5a1d, 113, 113],
];
