//! The chunks of a PNG; the `image` crate decodes their pixels.

/// The first eight bytes.
const SIGNATURE: usize = 8;

/// A chunk of a PNG.
pub(crate) struct Chunk<'a> {
    pub kind: &'a [u8; 4],
    /// Its content; of one that the end of the file cuts, what there is.
    pub body: &'a [u8],
    /// The checksum, where the file has it.
    sum: Option<&'a [u8; 4]>,
}

/// The chunks in their order.
pub(crate) fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = bytes.get(SIGNATURE..).unwrap_or(&[]);
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk()?;
        let (kind, after) = after.split_first_chunk()?;
        let (body, after) = after.split_at(after.len().min(u32::from_be_bytes(*length) as usize));
        let sum = after.split_first_chunk();
        rest = sum.map_or(&[], |(_, rest)| rest);
        Some(Chunk { kind, body, sum: sum.map(|(sum, _)| sum) })
    })
}

/// The chunks that make the pixels, and the end: like Pillow, this needs neither the end nor the checksums of pixels, and does not mind what
/// stands behind them. None where there are no pixels, or where what precedes them is damaged.
pub(crate) fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = bytes.get(..SIGNATURE)?.to_vec();
    let mut has_pixels = false;
    for Chunk { kind, body, sum } in chunks(bytes) {
        match kind {
            b"IDAT" => has_pixels = true,
            // pixels stand together: later ones are not of this picture
            _ if has_pixels => break,
            b"IHDR" | b"PLTE" | b"tRNS" if sum == Some(&crc(kind, body)) => {}
            b"IHDR" | b"PLTE" | b"tRNS" => return None,
            _ => continue,
        }
        append(&mut out, kind, body);
    }
    append(&mut out, b"IEND", b"");
    has_pixels.then_some(out)
}

fn append(out: &mut Vec<u8>, kind: &[u8; 4], body: &[u8]) {
    out.extend((body.len() as u32).to_be_bytes());
    out.extend(kind);
    out.extend(body);
    out.extend(crc(kind, body));
}

fn crc(kind: &[u8; 4], body: &[u8]) -> [u8; 4] {
    let mut sum = flate2::Crc::new();
    sum.update(kind);
    sum.update(body);
    sum.sum().to_be_bytes()
}
