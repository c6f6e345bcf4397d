//! The chunks of a WebP; the `image` crate decodes their pixels.

use std::borrow::Cow;

/// Where the first chunk begins.
const START: usize = 12;

/// A chunk: its kind, where its content begins, and the content.
pub(crate) struct Chunk<'a> {
    pub kind: &'a [u8; 4],
    start: usize,
    pub body: &'a [u8],
}

/// The chunks in their order; a last one that is cut is left out.
pub(crate) fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut at = START;
    std::iter::from_fn(move || {
        let (kind, rest) = bytes.get(at..)?.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let body = rest.get(..u32::from_le_bytes(*length) as usize)?;
        let start = at + 8;
        // chunks begin at even places
        at = start + body.len().next_multiple_of(2);
        Some(Chunk { kind, start, body })
    })
}

/// The flags of the header that lists what the file holds; 0 where there is none.
pub(crate) fn flags(bytes: &[u8]) -> u8 {
    let head = chunks(bytes).next().filter(|chunk| chunk.kind == b"VP8X");
    head.and_then(|chunk| chunk.body.first().copied()).unwrap_or(0)
}

/// The file with the first frame of its animation put onto the canvas as it is: mixed with a canvas that is empty, as the frame may want it,
/// its colours would be rounded.
pub(crate) fn unmixed(bytes: &[u8]) -> Cow<'_, [u8]> {
    const FLAGS: usize = 15;
    const AS_IT_IS: u8 = 2;
    match chunks(bytes).find(|chunk| chunk.kind == b"ANMF" && chunk.body.len() > FLAGS) {
        Some(frame) if frame.body[FLAGS] & AS_IT_IS == 0 => {
            let mut bytes = bytes.to_vec();
            bytes[frame.start + FLAGS] |= AS_IT_IS;
            bytes.into()
        }
        _ => bytes.into(),
    }
}
