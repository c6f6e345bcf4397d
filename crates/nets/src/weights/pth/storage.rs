//! The place of a storage in the file, and the reading of tensors over it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::DeflateDecoder;

use crate::weights::WeightError;
use crate::weights::tensors::{Element, SharedFile};

/// A range of bytes of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage {
    /// Its first byte in the file.
    pub start: u64,
    /// Bytes after decompression.
    pub length: u64,
    pub packing: Packing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Stored,
    /// Deflate; `bytes` in the file.
    Deflated {
        bytes: u64,
    },
}

impl Storage {
    /// Reads the storage from its beginning.
    pub(super) fn open<'a>(&self, file: &'a mut File) -> io::Result<Box<dyn Read + 'a>> {
        file.seek(SeekFrom::Start(self.start))?;
        Ok(self.unpack(file))
    }

    /// A reader of the storage's bytes over a `reader` of the file's bytes.
    fn unpack<'a>(&self, reader: impl Read + 'a) -> Box<dyn Read + 'a> {
        match self.packing {
            Packing::Stored => Box::new(reader.take(self.length)),
            Packing::Deflated { bytes } => Box::new(DeflateDecoder::new(reader.take(bytes)).take(self.length)),
        }
    }
}

/// A tensor over a storage; its maker has checked that all its elements are inside the storage.
#[derive(Debug)]
pub(super) struct View {
    pub storage: Storage,
    pub element: Element,
    /// Elements of the storage before the tensor's first.
    pub first: u64,
    /// Values of the tensor.
    pub count: usize,
    /// Shape, strides and span, if the elements are not contiguous in row-major order.
    pub strided: Option<Strided>,
}

/// The layout of elements that are not contiguous.
#[derive(Debug)]
pub(super) struct Strided {
    pub shape: Vec<usize>,
    /// Elements from one index to the next, by dimension.
    pub strides: Vec<usize>,
    /// Elements of the storage from the tensor's first to its last, inclusive.
    pub span: usize,
}

impl View {
    /// The values, row-major. For a strided tensor its span of the storage is in memory, too.
    pub(super) fn read(&self, file: &SharedFile) -> Result<Vec<f32>, WeightError> {
        let Storage { start, length, packing } = self.storage;
        let before = self.first * self.element.size() as u64;
        // a compressed storage must be decompressed from its beginning
        let skipped = if packing == Packing::Stored { before } else { 0 };
        let storage = Storage { start: start + skipped, length: length - skipped, packing };
        file.at(storage.start, |file| {
            let mut reader = storage.unpack(file);
            io::copy(&mut reader.by_ref().take(before - skipped), &mut io::sink())?;
            match &self.strided {
                None => self.element.read(&mut reader, self.count),
                Some(strided) => {
                    let span = self.element.read(&mut reader, strided.span)?;
                    Ok(strided.gather(&span, self.count))
                }
            }
        })
    }
}

impl Strided {
    fn gather(&self, span: &[f32], count: usize) -> Vec<f32> {
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0; self.shape.len()];
        let mut at = 0;
        while values.len() < count {
            values.push(span[at]);
            for dim in (0..index.len()).rev() {
                index[dim] += 1;
                at += self.strides[dim];
                if index[dim] < self.shape[dim] {
                    break;
                }
                at -= self.strides[dim] * self.shape[dim];
                index[dim] = 0;
            }
        }
        values
    }
}
