//! Reads ISO media boxes and their fields (ISO/IEC 14496-12, 4.2).

use super::super::decode::DecodeError;
use super::{corrupt, truncated};

/// The name and the content of a box.
pub(super) type NamedBox<'a> = ([u8; 4], &'a [u8]);

/// Reads the big-endian fields of a box one after the other.
pub(super) struct BoxReader<'a>(&'a [u8]);

impl<'a> BoxReader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    /// Returns the bytes that are not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or_else(|| corrupt("a box is too short"))?;
        self.0 = rest;
        Ok(head)
    }

    /// Reads a number of `count` bytes, at most eight; a number without bytes is 0.
    pub(super) fn number(&mut self, count: usize) -> Result<u64, DecodeError> {
        Ok(self.bytes(count)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(super) fn number32(&mut self, count: usize) -> Result<u32, DecodeError> {
        Ok(self.number(count.min(4))? as u32)
    }

    pub(super) fn kind(&mut self) -> Result<[u8; 4], DecodeError> {
        Ok(self.bytes(4)?.first_chunk().copied().unwrap_or_default())
    }

    /// Reads the version and the flags of a full box.
    pub(super) fn version(&mut self) -> Result<(u8, u32), DecodeError> {
        let word = self.number32(4)?;
        Ok(((word >> 24) as u8, word & 0xff_ffff))
    }

    /// Reads name and content of the next box; none at the end. With `cut`, a box that is longer than the rest means
    /// that the file ends early; otherwise the file is corrupt.
    pub(super) fn next(&mut self, cut: bool) -> Result<Option<NamedBox<'a>>, DecodeError> {
        if self.0.is_empty() || cut && self.0.len() < 8 {
            return Ok(None);
        }
        let (size, kind) = (self.number(4)?, self.kind()?);
        let length = match size {
            0 => self.0.len() as u64,
            1 => self.number(8)?.checked_sub(16).ok_or_else(|| corrupt("a box smaller than its head"))?,
            size => size.checked_sub(8).ok_or_else(|| corrupt("a box smaller than its head"))?,
        };
        match usize::try_from(length).ok().filter(|length| *length <= self.0.len()) {
            Some(length) => Ok(Some((kind, self.bytes(length)?))),
            // The `mdat` box may be cut where its end holds other pictures.
            None if cut && &kind == b"mdat" => Ok(None),
            None if cut => Err(truncated()),
            None => Err(corrupt("a box is longer than the one around it")),
        }
    }
}
