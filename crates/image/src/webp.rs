//! The chunks of a WebP (RFC 9649, section 2.3); the `image` crate decodes the pixels.

use std::borrow::Cow;

/// The first chunk begins after `RIFF`, the length and `WEBP`.
const START: usize = 12;

/// A chunk: its kind, the position of its content in the file, and the content.
pub(crate) struct Chunk<'a> {
    pub kind: &'a [u8; 4],
    start: usize,
    pub body: &'a [u8],
}

/// Goes through the chunks in the order of the file; a chunk that the end of the file cuts is left out.
pub(crate) fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut at = START;
    std::iter::from_fn(move || {
        let (kind, rest) = bytes.get(at..)?.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let body = rest.get(..u32::from_le_bytes(*length) as usize)?;
        let start = at + 8;
        // A chunk of odd length is followed by a byte of padding.
        at = start + body.len().next_multiple_of(2);
        Some(Chunk { kind, start, body })
    })
}

/// Whether the file is shorter than its header says.
pub(crate) fn ends_early(bytes: &[u8]) -> bool {
    let length = bytes.get(4..).and_then(|rest| rest.first_chunk()).map(|length| u32::from_le_bytes(*length));
    length.is_none_or(|length| 8 + u64::from(length) > bytes.len() as u64)
}

/// Returns the flags of the VP8X chunk, which say what the file holds; 0 where there is no such chunk.
pub(crate) fn flags(bytes: &[u8]) -> u8 {
    let head = chunks(bytes).next().filter(|chunk| chunk.kind == b"VP8X");
    head.and_then(|chunk| chunk.body.first().copied()).unwrap_or(0)
}

/// Returns the file with its first animation frame flagged to replace the canvas. The decoder would otherwise blend the
/// frame with the empty canvas and round its colours.
pub(crate) fn without_blending(bytes: &[u8]) -> Cow<'_, [u8]> {
    const FLAGS: usize = 15;
    const NO_BLENDING: u8 = 2;
    match chunks(bytes).find(|chunk| chunk.kind == b"ANMF" && chunk.body.len() > FLAGS) {
        Some(frame) if frame.body[FLAGS] & NO_BLENDING == 0 => {
            let mut bytes = bytes.to_vec();
            bytes[frame.start + FLAGS] |= NO_BLENDING;
            bytes.into()
        }
        _ => bytes.into(),
    }
}
