//! A reader for the directories of zip files; a damaged file may claim a directory of any size.

use std::io::{self, Read, Seek, SeekFrom};

/// A reader that fails after `budget` bytes, so that a directory cannot make its reader allocate more.
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
