//! Blocks of sequential scans (T.81, F.2.2).

use super::huffman::{Bits, Huffman};
use super::idct::Group;
use super::tables::ZIGZAG;

/// Decodes the coefficients of the block `lane` of `group`, which are zero before. `dc` is the DC coefficient of the component's block
/// before. None when the bits are no block.
#[inline(always)]
pub(super) fn block(
    source: &mut Bits,
    dc_table: &Huffman,
    ac_table: &Huffman,
    dc: &mut i32,
    group: &mut Group,
    lane: usize,
) -> Option<()> {
    // a copy, for the processor's registers
    let mut bits = *source;
    let (_, _, difference) = bits.symbol_and_value(dc_table)?;
    *dc = dc.wrapping_add(difference);
    *group.at(lane, 0) = *dc as i16;
    let (mut k, mut places) = (1, 0);
    while k < 64 {
        let (run, size, value) = bits.symbol_and_value(ac_table)?;
        if size > 0 {
            k += run as usize;
            // beyond the last one there is no place
            let place = *ZIGZAG.get(k)?;
            *group.at(lane, place) = value as i16;
            places |= place;
            k += 1;
        } else if run == 15 {
            k += 16;
        } else {
            break;
        }
    }
    group.include(places);
    *source = bits;
    Some(())
}
