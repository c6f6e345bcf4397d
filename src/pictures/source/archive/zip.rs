//! Zip archives: the crate `zip` reads the directory, including the ZIP64 extensions; a member is then read at its
//! offset, stored or deflated, and its checksum is verified.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use ::zip::result::ZipError;
use ::zip::{CompressionMethod, ZipArchive};
use featurize_nets::files::limited::Limited;
use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::gather::Gathered;
use super::{Archive, At, LINK, ListError, Member, Met, Reading, Reason, Tick, damaged, most_members};
use crate::pictures::reader::in_pieces;
use crate::pictures::source::Failure;
use crate::stages::scan::Kind;

/// The length of a local header without the name, and its first four bytes.
const HEADER: usize = 30;
const SIGNATURE: &[u8] = b"PK\x03\x04";
/// The largest compression ratio of Deflate.
const RATIO: u64 = 1032;

/// The position of a member, and its compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The offset of its local header.
    pub(crate) header: u64,
    packed: u64,
    crc: u32,
    is_deflated: bool,
}

impl Place {
    /// The position as it is written in a stored listing.
    pub(super) fn to_numbers(self) -> [u64; 3] {
        [self.header, self.packed, u64::from(self.crc) << 1 | u64::from(self.is_deflated)]
    }

    pub(super) fn from_numbers([header, packed, rest]: [u64; 3]) -> Self {
        Self { header, packed, crc: (rest >> 1) as u32, is_deflated: rest & 1 == 1 }
    }
}

/// Lists the members from the directory at the end of the archive.
pub(super) fn list(path: &Path, file: File, metadata: &Metadata, tick: Tick) -> Result<Vec<Met>, ListError> {
    let most = most_members(metadata.len());
    // an entry of the directory has at least 46 bytes, and takes about ten times as many in memory
    let budget = (16 << 20) + metadata.len() / 8;
    let zip = ZipArchive::new(Limited { inner: BufReader::new(file), budget }).map_err(unsound)?;
    let directory = zip.metadata();
    let archive = Arc::new(Archive::new(path, metadata, Reading::Random));
    let mut gathered = Gathered::new(most);
    for index in 0..zip.len() {
        if index.is_multiple_of(1000) {
            tick(index)?;
        }
        let entry = directory.entry(index).map_err(unsound)?;
        if entry.is_dir() {
            continue;
        }
        let raw = entry.name_raw();
        // names in UTF-8 without the flag, as macOS writes them, are more frequent than the format's DOS encoding
        let name = match (std::str::from_utf8(raw), entry.name()) {
            (Err(_), Ok(name)) => name.into_owned().into_bytes(),
            _ => raw.to_vec(),
        };
        let Some(key) = gathered.path(&name, true)? else { continue };
        let [bytes, packed] = [entry.size(), entry.compressed_size()];
        let is_deflated = entry.compression() == CompressionMethod::Deflated;
        let content = match entry.compression() {
            _ if entry.is_symlink() => Err(Reason::new(Kind::Link, LINK)),
            _ if entry.encrypted() => Err(Reason::new(Kind::Encrypted, "it is encrypted")),
            CompressionMethod::Stored if bytes != packed => {
                Err(Reason::new(Kind::Damaged, "it is stored in another number of bytes than it has"))
            }
            CompressionMethod::Deflated if bytes / RATIO > packed + 1 => {
                Err(Reason::new(Kind::Damaged, format!("{packed} bytes cannot unpack to the {bytes} that it claims")))
            }
            CompressionMethod::Stored | CompressionMethod::Deflated => {
                let place = Place { header: entry.header_start(), packed, crc: entry.crc32(), is_deflated };
                Ok(Member { archive: archive.clone(), at: At::Zip(place), bytes })
            }
            method => {
                let text = format!("it is packed by {method}; only stored and deflated members are read: pack it anew");
                Err(Reason::new(Kind::Compression, text))
            }
        };
        if let Ok(member) = &content
            && Gathered::may_tell(&key, bytes)
        {
            let mut text = Vec::new();
            // a member that cannot be read gives no class
            if member.open(bytes).and_then(|opened| in_pieces(opened, |piece| text.extend_from_slice(piece))).is_ok() {
                gathered.told(&key, &text);
            }
        }
        let content = Gathered::rule(&key).and(content);
        gathered.add(key, content);
    }
    let twice = "several members have one name; the last of each counts";
    let twice = directory.has_duplicate_names().then(|| Reason::new(Kind::Duplicate, twice));
    Ok(gathered.finish(twice))
}

fn unsound(error: ZipError) -> ListError {
    match error {
        ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => error.into(),
        error => {
            let text = format!("its zip directory cannot be read ({error}); is the file whole?");
            ListError::Archive(Reason::new(Kind::Damaged, text))
        }
    }
}

/// Opens the member of `bytes` bytes at `place`.
pub(super) fn open(mut file: File, place: Place, bytes: u64) -> Result<Unpacked, Failure> {
    let mut header = [0; HEADER];
    file.seek(SeekFrom::Start(place.header)).and_then(|_| file.read_exact(&mut header))?;
    if !header.starts_with(SIGNATURE) {
        return Err(damaged("the archive's directory leads to no member"));
    }
    let skipped: i64 = [26, 28].map(|at| i64::from(u16::from_le_bytes([header[at], header[at + 1]]))).iter().sum();
    file.seek(SeekFrom::Current(skipped))?;
    let packed = file.take(place.packed);
    let inner: Box<dyn Read + Send> =
        if place.is_deflated { Box::new(DeflateDecoder::new(packed)) } else { Box::new(packed) };
    Ok(Unpacked { inner, left: bytes, sum: Crc::new(), wanted: place.crc })
}

/// A member that is decompressed while it is read. Another size or checksum than in the directory is an error.
pub(crate) struct Unpacked {
    inner: Box<dyn Read + Send>,
    left: u64,
    sum: Crc,
    wanted: u32,
}

impl fmt::Debug for Unpacked {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Unpacked").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.inner.read(&mut buffer[..room])?;
        if n == 0 {
            let text = "it unpacks to fewer bytes than the archive says";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.sum.update(&buffer[..n]);
        self.left -= n as u64;
        if self.left == 0 {
            let wrong = |text| Err(io::Error::new(io::ErrorKind::InvalidData, text));
            if self.inner.read(&mut [0])? > 0 {
                return wrong("it unpacks to more bytes than the archive says");
            }
            if self.sum.sum() != self.wanted {
                return wrong("its checksum is not the one in the archive");
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
