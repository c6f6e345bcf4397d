//! Decodes blocks of progressive scans (T.81, G.1.2 and G.2): the first bits of some coefficients, or one more bit of
//! them. Every function decodes the block `lane` of `group`, and returns none where the bits are no valid code.

use super::frame::Scan;
use super::huffman::{BitReader, HuffmanTable};
use super::idct::BlockGroup;
use super::tables::ZIGZAG;

/// Decodes the first bits of the DC coefficient. `dc_predictor` is the DC coefficient of the component's last block.
#[inline(always)]
pub(super) fn dc_first(
    bits: &mut BitReader,
    table: &HuffmanTable,
    scan: &Scan,
    dc_predictor: &mut i32,
    group: &mut BlockGroup,
    lane: usize,
) -> Option<()> {
    let (_, _, difference) = bits.symbol_and_value(table)?;
    *dc_predictor = dc_predictor.wrapping_add(difference);
    *group.at(lane, 0) = (*dc_predictor << scan.approximation_low) as i16;
    Some(())
}

/// Decodes the next bit of the DC coefficient.
#[inline(always)]
pub(super) fn dc_refine(bits: &mut BitReader, scan: &Scan, group: &mut BlockGroup, lane: usize) {
    *group.at(lane, 0) |= (bits.take(1) as i16) << scan.approximation_low;
}

/// Decodes the first bits of the scan's AC coefficients. `eob_run` is the number of blocks from here on that have no
/// such coefficients (EOBRUN).
#[inline(always)]
pub(super) fn ac_first(
    bits: &mut BitReader,
    table: &HuffmanTable,
    scan: &Scan,
    eob_run: &mut u32,
    group: &mut BlockGroup,
    lane: usize,
) -> Option<()> {
    if *eob_run > 0 {
        *eob_run -= 1;
        return Some(());
    }
    let mut k = scan.spectral_start;
    while k <= scan.spectral_end {
        let (run, size, value) = bits.symbol_and_value(table)?;
        if size > 0 {
            k += run as usize;
            let place = *ZIGZAG.get(k)?;
            *group.at(lane, place) = (value << scan.approximation_low) as i16;
            group.include(place);
            k += 1;
        } else if run == 15 {
            k += 16;
        } else {
            *eob_run = (1 << run) - 1 + bits.take(run);
            break;
        }
    }
    Some(())
}

/// Decodes the next bit of the scan's AC coefficients that are not zero, and the coefficients that become nonzero.
/// `eob_run` is the number of blocks from here on in which no coefficient becomes nonzero.
#[inline(always)]
pub(super) fn ac_refine(
    bits: &mut BitReader,
    table: &HuffmanTable,
    scan: &Scan,
    eob_run: &mut u32,
    group: &mut BlockGroup,
    lane: usize,
) -> Option<()> {
    let mut k = scan.spectral_start;
    if *eob_run == 0 {
        while k <= scan.spectral_end {
            let (run, size, value) = bits.symbol_and_value(table)?;
            if size == 0 && run < 15 {
                *eob_run = (1 << run) + bits.take(run);
                break;
            }
            // The value can only be a sign.
            if size > 1 {
                return None;
            }
            k = refine(bits, scan, k, Some(run), group, lane);
            if size == 1 {
                let place = *ZIGZAG.get(k)?;
                *group.at(lane, place) = (value << scan.approximation_low) as i16;
                group.include(place);
            }
            k += 1;
        }
    }
    if *eob_run > 0 {
        refine(bits, scan, k, None, group, lane);
        *eob_run -= 1;
    }
    Some(())
}

/// Decodes the next bit of the coefficients from `k` on that are not zero. It skips `zeros` zero coefficients and stops
/// at the next zero one, or behind the last coefficient of the scan. Returns the position.
#[inline(always)]
fn refine(
    bits: &mut BitReader,
    scan: &Scan,
    mut k: usize,
    mut zeros: Option<u32>,
    group: &mut BlockGroup,
    lane: usize,
) -> usize {
    let step = 1 << scan.approximation_low;
    while let Some(place) = ZIGZAG.get(k).filter(|_| k <= scan.spectral_end) {
        let value = group.at(lane, *place);
        if *value != 0 {
            if bits.take(1) == 1 && *value & step == 0 {
                *value = value.wrapping_add(if *value > 0 { step } else { -step });
            }
        } else {
            match &mut zeros {
                Some(0) => break,
                Some(left) => *left -= 1,
                None => {}
            }
        }
        k += 1;
    }
    k
}
