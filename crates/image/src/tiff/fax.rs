//! Decodes strips with fax compression: runs of black and white in codes of ITU-T T.4, row by row (TIFF 6.0, sections
//! 10 and 11; compressions 2 and 3), or as differences to the row before (ITU-T T.6, compression 4). A pixel is a bit,
//! and 1 is black.

use super::DecodeError;
use super::{corrupt, layout, unsupported};
use fax::decoder::{DecodeStatus, Group4Decoder};
use fax::maps::{black, white};
use fax::{BitReader, ByteReader};
use std::convert::Infallible;

/// The bit of the tag T4Options that says that rows are coded as differences to the row before.
const TWO_DIMENSIONS: u64 = 1;

/// Unpacks `rows` rows of `width` pixels into bits, each row from a new byte on. Returns fewer rows where the data end
/// early.
pub(super) fn unpack(
    data: &[u8],
    layout: &layout::PageLayout,
    width: usize,
    rows: usize,
) -> Result<Vec<u8>, DecodeError> {
    let width = u16::try_from(width).map_err(|_| unsupported("fax lines of more than 65,535 pixels"))?;
    let mut out = Vec::with_capacity(usize::from(width).div_ceil(8) * rows);
    // The decoder looks ahead beyond the end of the data.
    let bytes = data.iter().chain(&[0; 4]).map(|byte| if layout.reversed_bits { byte.reverse_bits() } else { *byte });
    let bytes = bytes.map(Ok::<u8, Infallible>);
    let Ok(reader) = ByteReader::new(bytes.clone());
    match layout.compression {
        layout::GROUP_4 => {
            let Ok(mut decoder) = Group4Decoder::new(bytes, width);
            for _ in 0..rows {
                match decoder.advance() {
                    Ok(DecodeStatus::Incomplete) => push_row(decoder.transition(), width, &mut out),
                    Ok(DecodeStatus::End) => break,
                    Err(_) => return Err(corrupt("its fax codes make no sense")),
                }
            }
        }
        layout::GROUP_3 if layout.t4_options & TWO_DIMENSIONS != 0 => {
            return Err(unsupported("two-dimensional fax codes of group 3"));
        }
        compression => one_dimensional_rows(reader, compression == layout::GROUP_3, width, rows, &mut out)?,
    }
    Ok(out)
}

/// Decodes rows without reference to the row before. A row begins after an end-of-line code where `separated`, and
/// otherwise at a new byte.
fn one_dimensional_rows<R: Iterator<Item = Result<u8, Infallible>>>(
    mut reader: ByteReader<R>,
    separated: bool,
    width: u16,
    rows: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    for _ in 0..rows {
        // No run begins with eleven zeros, so these are fill bits and the end-of-line code.
        while separated && reader.peek(11) == Some(0) {
            while reader.peek(1) == Some(0) {
                skip(&mut reader, 1);
            }
            skip(&mut reader, 1);
        }
        let (mut at, mut is_black, mut transitions) = (0u16, false, Vec::new());
        while at < width {
            let Some(run) = run_length(&mut reader, is_black) else {
                // No code begins with thirteen zeros, so these lie behind the end of the data.
                let ended = reader.peek(13).is_none_or(|bits| bits == 0);
                return if ended { Ok(()) } else { Err(corrupt("its fax codes make no sense")) };
            };
            at = at.saturating_add(run).min(width);
            transitions.push(at);
            is_black = !is_black;
        }
        push_row(&transitions, width, out);
        if !separated {
            let filling = reader.bits_to_byte_boundary();
            skip(&mut reader, filling);
        }
    }
    Ok(())
}

fn skip(reader: &mut impl BitReader, bits: u8) {
    // An error means the end of the data, which the next `peek` or `decode` detects.
    let _ = reader.consume(bits);
}

/// Decodes the length of a run: codes for multiples of 64, then a code for the rest.
fn run_length(reader: &mut impl BitReader, is_black: bool) -> Option<u16> {
    let mut sum = 0u16;
    loop {
        let part = if is_black { black::decode(reader) } else { white::decode(reader) }?;
        sum = sum.saturating_add(part);
        if part < 64 {
            return Some(sum);
        }
    }
}

/// Appends a row that begins with white and changes its colour at `transitions`.
fn push_row(transitions: &[u16], width: u16, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + usize::from(width).div_ceil(8), 0);
    let line = &mut out[start..];
    for run in transitions.chunks(2) {
        let end = run.get(1).copied().unwrap_or(width).min(width);
        for x in run[0]..end.max(run[0]).min(width) {
            line[usize::from(x) / 8] |= 0x80 >> (x % 8);
        }
    }
}
