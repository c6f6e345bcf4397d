//! Decodes blocks of sequential scans (T.81, F.2.2).

use super::huffman::{BitReader, HuffmanTable};
use super::idct::BlockGroup;
use super::tables::ZIGZAG;

/// Decodes the coefficients of the block `lane` of `group`, which must be zero before. `dc_predictor` is the DC
/// coefficient of the component's last block. Returns none where the bits are no valid block.
#[inline(always)]
pub(super) fn block(
    source: &mut BitReader,
    dc_table: &HuffmanTable,
    ac_table: &HuffmanTable,
    dc_predictor: &mut i32,
    group: &mut BlockGroup,
    lane: usize,
) -> Option<()> {
    // The reader is copied, because the compiler keeps a local copy in registers.
    let mut bits = *source;
    let (_, _, difference) = bits.symbol_and_value(dc_table)?;
    *dc_predictor = dc_predictor.wrapping_add(difference);
    *group.at(lane, 0) = *dc_predictor as i16;
    let (mut k, mut places) = (1, 0);
    while k < 64 {
        let (run, size, value) = bits.symbol_and_value(ac_table)?;
        if size > 0 {
            k += run as usize;
            // A run beyond the last coefficient makes the block invalid.
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
