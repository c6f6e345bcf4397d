//! The chunks of a PNG (PNG specification, section 5); the `image` crate decodes the pixels.

/// The length of the signature.
const SIGNATURE: usize = 8;

/// A chunk of a PNG.
pub(crate) struct Chunk<'a> {
    pub kind: &'a [u8; 4],
    /// The content; in a chunk that is cut by the end of the file, the bytes before the end.
    pub body: &'a [u8],
    /// The checksum, unless the file ends before it.
    crc: Option<&'a [u8; 4]>,
}

/// Goes through the chunks in the order of the file.
pub(crate) fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = bytes.get(SIGNATURE..).unwrap_or(&[]);
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk()?;
        let (kind, after) = after.split_first_chunk()?;
        let (body, after) = after.split_at(after.len().min(u32::from_be_bytes(*length) as usize));
        let stored = after.split_first_chunk();
        rest = stored.map_or(&[], |(_, rest)| rest);
        Some(Chunk { kind, body, crc: stored.map(|(crc, _)| crc) })
    })
}

/// Returns a file of the chunks that the pixels need and an end chunk. Like Pillow, it accepts a file without end and
/// with wrong checksums of the pixels, and ignores chunks after the pixels. Returns none where the file has no pixels,
/// or where a chunk before them is damaged.
pub(crate) fn repaired(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = bytes.get(..SIGNATURE)?.to_vec();
    let mut has_pixels = false;
    for Chunk { kind, body, crc: stored } in chunks(bytes) {
        match kind {
            b"IDAT" => has_pixels = true,
            // The pixels are in consecutive chunks; later IDAT chunks are ignored.
            _ if has_pixels => break,
            b"IHDR" | b"PLTE" | b"tRNS" if stored == Some(&crc(kind, body)) => {}
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
