//! A reader for the directories of zip files, whose sizes a damaged file may overstate.

use std::io::{self, Read, Seek, SeekFrom};

/// A reader that gives no more than `budget` bytes in all: a directory cannot make its reader hold more.
#[derive(Debug)]
pub struct Limited<R> {
    pub inner: R,
    pub budget: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let text = "its zip directory is too large for the file";
        let left = self.budget.checked_sub(count as u64);
        self.budget = left.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, text))?;
        Ok(count)
    }
}

impl<R: Seek> Seek for Limited<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
