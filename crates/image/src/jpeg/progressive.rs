//! Blocks of progressive scans (T.81, G.1.2 and G.2): some coefficients, or one more bit of them. Everywhere the block is the one of number
//! `lane` in `group`, and the result is none when the bits are no code.

use super::frame::Scan;
use super::huffman::{Bits, Huffman};
use super::idct::Group;
use super::tables::ZIGZAG;

/// The first bits of the DC coefficient. `dc` is that of the component's block before.
#[inline(always)]
pub(super) fn dc_first(
    bits: &mut Bits,
    table: &Huffman,
    scan: &Scan,
    dc: &mut i32,
    group: &mut Group,
    lane: usize,
) -> Option<()> {
    let (_, _, difference) = bits.symbol_and_value(table)?;
    *dc = dc.wrapping_add(difference);
    *group.at(lane, 0) = (*dc << scan.low) as i16;
    Some(())
}

/// The next bit of the DC coefficient.
#[inline(always)]
pub(super) fn dc_refine(bits: &mut Bits, scan: &Scan, group: &mut Group, lane: usize) {
    *group.at(lane, 0) |= (bits.take(1) as i16) << scan.low;
}

/// The first bits of the scan's AC coefficients. `empty` is the number of blocks from here on that have none.
#[inline(always)]
pub(super) fn ac_first(
    bits: &mut Bits,
    table: &Huffman,
    scan: &Scan,
    empty: &mut u32,
    group: &mut Group,
    lane: usize,
) -> Option<()> {
    if *empty > 0 {
        *empty -= 1;
        return Some(());
    }
    let mut k = scan.first;
    while k <= scan.last {
        let (run, size, value) = bits.symbol_and_value(table)?;
        if size > 0 {
            k += run as usize;
            let place = *ZIGZAG.get(k)?;
            *group.at(lane, place) = (value << scan.low) as i16;
            group.include(place);
            k += 1;
        } else if run == 15 {
            k += 16;
        } else {
            *empty = (1 << run) - 1 + bits.take(run);
            break;
        }
    }
    Some(())
}

/// The next bit of the scan's AC coefficients: of those that are not zero, and some that are no longer zero. `empty` as in [`ac_first`], of
/// blocks where none becomes different from zero.
#[inline(always)]
pub(super) fn ac_refine(
    bits: &mut Bits,
    table: &Huffman,
    scan: &Scan,
    empty: &mut u32,
    group: &mut Group,
    lane: usize,
) -> Option<()> {
    let mut k = scan.first;
    if *empty == 0 {
        while k <= scan.last {
            let (run, size, value) = bits.symbol_and_value(table)?;
            if size == 0 && run < 15 {
                *empty = (1 << run) + bits.take(run);
                break;
            }
            // the value is a sign
            if size > 1 {
                return None;
            }
            k = refine(bits, scan, k, Some(run), group, lane);
            if size == 1 {
                let place = *ZIGZAG.get(k)?;
                *group.at(lane, place) = (value << scan.low) as i16;
                group.include(place);
            }
            k += 1;
        }
    }
    if *empty > 0 {
        refine(bits, scan, k, None, group, lane);
        *empty -= 1;
    }
    Some(())
}

/// Gives the coefficients from `k` on that are not zero their next bit, up to the zero that comes after `zeros` others, or up to the last
/// one. Where it ended.
#[inline(always)]
fn refine(bits: &mut Bits, scan: &Scan, mut k: usize, mut zeros: Option<u32>, group: &mut Group, lane: usize) -> usize {
    let step = 1 << scan.low;
    while let Some(place) = ZIGZAG.get(k).filter(|_| k <= scan.last) {
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
