//! Codes of Lempel, Ziv and Welch, as GIF and TIFF have them.

use weezl::{BitOrder, LzwStatus, decode::Configuration};

/// How the unpacking of some codes ended.
pub(crate) struct Unpacked {
    /// Bytes that were made.
    pub len: usize,
    /// The codes made no sense; otherwise they were enough, or ended.
    pub broken: bool,
}

/// Unpacks the codes of a GIF, whose first ones have a bit more than `bits`, until `out` is full.
pub(crate) fn of_gif(codes: &[u8], bits: u8, out: &mut [u8]) -> Unpacked {
    unpack(Configuration::new(BitOrder::Lsb, bits), codes, out)
}

/// Unpacks the codes of a TIFF until `out` is full.
pub(crate) fn of_tiff(codes: &[u8], out: &mut [u8]) -> Unpacked {
    unpack(Configuration::with_tiff_size_switch(BitOrder::Msb, 8), codes, out)
}

fn unpack(how: Configuration, codes: &[u8], out: &mut [u8]) -> Unpacked {
    let mut decoder = how.with_yield_on_full_buffer(true).build();
    let (mut read, mut len) = (0, 0);
    while len < out.len() {
        let step = decoder.decode_bytes(&codes[read..], &mut out[len..]);
        read += step.consumed_in;
        len += step.consumed_out;
        match step.status {
            Ok(LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            Ok(_) => break,
            Err(_) => return Unpacked { len, broken: true },
        }
    }
    Unpacked { len, broken: false }
}
