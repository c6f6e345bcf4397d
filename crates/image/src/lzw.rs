//! Decompresses LZW codes (Lempel, Ziv and Welch), in the variants of GIF (GIF89a, appendix F) and of TIFF (TIFF 6.0,
//! section 13).

use weezl::{BitOrder, LzwStatus, decode::Configuration};

/// The result of decompressing LZW codes.
pub(crate) struct Unpacked {
    /// The number of bytes that were written.
    pub len: usize,
    /// Whether an invalid code ended it; otherwise the output was full or the codes ended.
    pub broken: bool,
}

/// Decompresses the codes of a GIF until `out` is full; the first codes have one bit more than `bits`.
pub(crate) fn unpack_gif(codes: &[u8], bits: u8, out: &mut [u8]) -> Unpacked {
    unpack(Configuration::new(BitOrder::Lsb, bits), codes, out)
}

/// Decompresses the codes of a TIFF until `out` is full.
pub(crate) fn unpack_tiff(codes: &[u8], out: &mut [u8]) -> Unpacked {
    unpack(Configuration::with_tiff_size_switch(BitOrder::Msb, 8), codes, out)
}

fn unpack(configuration: Configuration, codes: &[u8], out: &mut [u8]) -> Unpacked {
    let mut decoder = configuration.with_yield_on_full_buffer(true).build();
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
