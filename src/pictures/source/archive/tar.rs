//! Tar archives: V7, ustar, GNU's long names and PAX headers. A plain tar is indexed by its headers, without reading
//! pictures, and then has random access. A tar compressed by gzip or zstd is read once for the index, and then in its
//! stored order.
//!
//! The format is POSIX.1-2017 `pax`, "ustar Interchange Format", and GNU tar's manual, "Basic Tar Format"; where they
//! leave a choice, this module does the same as Python's `tarfile`.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::gather::Gathered;
use super::stored::Order;
use super::window::{Ordered, Sequence, Window};
use super::{Archive, At, LINK, ListError, Member, Met, Reading, Reason, Tick, damaged, most_members};
use crate::pictures::source::Failure;
use crate::stages::scan::Kind;

const BLOCK: usize = 512;
/// The longest name or PAX header that is read.
const EXTENSION: u64 = 1 << 20;
/// Blocks of zeros after the end of an archive that are skipped in search of an appended archive.
const ZEROS: usize = 1 << 11;
/// The largest picture in a compressed archive, in bytes.
const LARGEST: u64 = 1 << 32;
/// Bytes that are read at a header: the next one is usually far away.
const AROUND: usize = 4096;

/// The compression of the archive, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    fn of(file: &mut File) -> Result<Self, ListError> {
        let mut start = Vec::new();
        file.take(6).read_to_end(&mut start)?;
        file.rewind()?;
        match start[..] {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] => {
                let text = "it is compressed by bzip2 or xz; only gzip and zstd are read: compress it anew";
                Err(ListError::Archive(Reason::new(Kind::Compression, text)))
            }
            _ => Ok(Self::None),
        }
    }

    /// Decompresses the file.
    fn unpack(self, file: File) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::None => Box::new(BufReader::new(file)),
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file))),
            Self::Zstd => Box::new(zstd::Decoder::new(file)?),
        })
    }
}

/// Lists the members.
pub(super) fn list(path: &Path, mut file: File, metadata: &Metadata, tick: Tick) -> Result<Vec<Met>, ListError> {
    let compression = Compression::of(&mut file)?;
    let mut gathered = Gathered::new(most_members(metadata.len()));
    if compression == Compression::None {
        let archive = Arc::new(Archive::new(path, metadata, Reading::Random));
        let mut tape =
            Tape { input: Input::Plain(BufReader::with_capacity(AROUND, file), metadata.len()), position: 0 };
        let at = |offset, bytes| Ok(Member { archive: archive.clone(), at: At::Offset(offset), bytes });
        let end = walk(&mut tape, &mut gathered, tick, at)?;
        return Ok(gathered.finish(end));
    }
    let spans = Arc::new(OnceLock::new());
    let stream = Stream { compression, spans: spans.clone() };
    let archive = Arc::new(Archive::new(path, metadata, Reading::Ordered(Window::new(Box::new(stream)))));
    let mut tape = Tape { input: Input::Stream(compression.unpack(file)?), position: 0 };
    let mut found: BTreeMap<u64, Span> = BTreeMap::new();
    let at = |offset, bytes| {
        if bytes > LARGEST {
            return Err(Reason::new(Kind::TooLarge, format!("{bytes} bytes are more than a picture has")));
        }
        let number = found.len() as u64;
        found.insert(number, Span { offset, bytes });
        Ok(Member { archive: archive.clone(), at: At::Number(number), bytes })
    };
    let end = walk(&mut tape, &mut gathered, tick, at)?;
    spans.get_or_init(|| found);
    Ok(gathered.finish(end))
}

/// The archive and the position of the next header.
struct Tape {
    input: Input,
    position: u64,
}

enum Input {
    /// A file and its length.
    Plain(BufReader<File>, u64),
    Stream(Box<dyn Read + Send>),
}

impl Tape {
    /// Reads `bytes` bytes; fewer only at the end.
    fn read(&mut self, bytes: u64) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        match &mut self.input {
            Input::Plain(file, _) => file.take(bytes).read_to_end(&mut read)?,
            Input::Stream(stream) => stream.take(bytes).read_to_end(&mut read)?,
        };
        self.position += read.len() as u64;
        Ok(read)
    }

    /// Skips `bytes` bytes; false if the archive ends before.
    fn skip(&mut self, bytes: u64) -> io::Result<bool> {
        match &mut self.input {
            Input::Plain(file, length) => {
                let to = self.position.saturating_add(bytes).min(*length);
                let skipped = to - self.position;
                file.seek_relative(i64::try_from(skipped).map_err(io::Error::other)?)?;
                self.position = to;
                Ok(skipped == bytes)
            }
            Input::Stream(stream) => {
                let skipped = io::copy(&mut stream.take(bytes), &mut io::sink())?;
                self.position += skipped;
                Ok(skipped == bytes)
            }
        }
    }
}

/// The metadata of the next member from PAX headers and GNU's long names.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    bytes: Option<u64>,
    is_sparse: bool,
}

/// Reads one header after the other; `at` makes a position from an offset and a size. Returns the fault of the archive,
/// if there is one; the members before it are listed.
fn walk(
    tape: &mut Tape,
    gathered: &mut Gathered,
    tick: Tick,
    mut at: impl FnMut(u64, u64) -> Result<Member, Reason>,
) -> Result<Option<Reason>, ListError> {
    let (mut extended, mut zeros, mut headers) = (Extended::default(), 0, 0_usize);
    loop {
        if headers.is_multiple_of(1000) {
            tick(gathered.len())?;
        }
        let start = tape.position;
        let cut = |text: &str| Ok(Some(Reason::new(Kind::Damaged, format!("from byte {start} on {text}"))));
        let block = match tape.read(BLOCK as u64) {
            Ok(block) => block,
            Err(_) if headers == 0 => return Err(not_tar()),
            Err(error) => return cut(&format!("it cannot be read: {error}")),
        };
        let Ok(block) = <[u8; BLOCK]>::try_from(block.as_slice()) else {
            return match (headers, block.len()) {
                (0, _) if zeros == 0 => Err(not_tar()),
                _ if zeros > 0 => Ok(None),
                (_, 0) => cut("there should be its end: it was cut short"),
                _ => cut("a part of a header is left: it was cut short"),
            };
        };
        if block == [0; BLOCK] {
            zeros += 1;
            if zeros > ZEROS {
                return Ok(None);
            }
            continue;
        }
        let Some(header) = Header::parse(&block) else {
            return match (headers, zeros) {
                (0, _) => Err(not_tar()),
                (_, 0) => cut("there should be a header, and it is none"),
                // bytes after the end are ignored
                _ => Ok(None),
            };
        };
        // another archive may have been appended to this one
        zeros = 0;
        headers += 1;
        let bytes = if header.has_data() { extended.bytes.unwrap_or(header.bytes) } else { 0 };
        let padded = bytes.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX);
        if matches!(header.kind, b'L' | b'x' | b'X') && header.bytes <= EXTENSION {
            let padded = header.bytes.next_multiple_of(BLOCK as u64);
            let Ok(mut read) = tape.read(padded) else { return cut("it cannot be read") };
            if (read.len() as u64) < padded {
                return cut("a part of a header is left: it was cut short");
            }
            read.truncate(header.bytes as usize);
            match header.kind {
                b'L' => extended.name = Some(until_zero(&read).to_vec()),
                _ => extended.pax(&read),
            }
            continue;
        }
        let Extended { name, is_sparse, .. } = match header.kind {
            // a header of another kind, or one that is too long, is ignored
            b'K' | b'g' | b'L' | b'x' | b'X' => match tape.skip(padded) {
                Ok(true) => continue,
                _ => return cut("a part of a header is left: it was cut short"),
            },
            _ => std::mem::take(&mut extended),
        };
        if header.kind == b'S' && !skip_sparse_map(tape, &block) {
            return cut("a part of a header is left: it was cut short");
        }
        let name = name.unwrap_or_else(|| header.name.clone());
        let is_folder = matches!(header.kind, b'5' | b'D') || matches!(header.kind, 0 | b'0') && name.ends_with(b"/");
        let path = if is_folder || header.kind == b'V' { None } else { gathered.path(&name, false)? };
        let Some(path) = path else {
            if !matches!(tape.skip(padded), Ok(true)) {
                return cut("a member does not fit: it was cut short");
            }
            continue;
        };
        let offset = tape.position;
        let content = Gathered::rule(&path).and_then(|()| match header.kind {
            b'1' | b'2' => Err(Reason::new(Kind::Link, LINK)),
            b'3' | b'4' | b'6' => Err(Reason::new(Kind::NotAFile, "a device or a FIFO inside of the archive")),
            b'S' => Err(Reason::new(Kind::Sparse, SPARSE)),
            _ if is_sparse => Err(Reason::new(Kind::Sparse, SPARSE)),
            b'M' => Err(Reason::new(Kind::Damaged, "a part of it lies in another volume of the archive")),
            _ => Ok(()),
        });
        let told = match header.has_data() && Gathered::may_tell(&path, bytes) {
            true => tape.read(bytes).unwrap_or_default(),
            false => Vec::new(),
        };
        let left = padded - told.len() as u64;
        // the padding after the last member may be missing
        let whole = matches!(tape.skip(left), Ok(true)) || tape.position >= offset.saturating_add(bytes);
        if !whole {
            let text = "the archive ends before it does";
            gathered.add(path, content.and(Err(Reason::new(Kind::Truncated, text))));
            return cut("a member does not fit: it was cut short");
        }
        gathered.told(&path, &told);
        let content = content.and_then(|()| at(offset, bytes));
        gathered.add(path, content);
    }
}

const SPARSE: &str = "it is stored with holes, and such members are not read: pack it anew without `--sparse`";

fn not_tar() -> ListError {
    ListError::Archive(Reason::new(Kind::NotAnArchive, "it is no tar archive, or its beginning is damaged"))
}

/// Skips the blocks that continue the map of a sparse member.
fn skip_sparse_map(tape: &mut Tape, header: &[u8; BLOCK]) -> bool {
    let mut continues = header[482] != 0;
    while continues {
        match tape.read(BLOCK as u64) {
            Ok(block) if block.len() == BLOCK => continues = block[504] != 0,
            _ => return false,
        }
    }
    true
}

/// The fields of a header that are used.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    name: Vec<u8>,
    bytes: u64,
    kind: u8,
}

impl Header {
    /// None if the checksum or a number is invalid.
    fn parse(block: &[u8; BLOCK]) -> Option<Self> {
        let sum = number(&block[148..156])?;
        let counted = || block.iter().enumerate().map(|(i, &byte)| if (148..156).contains(&i) { b' ' } else { byte });
        let unsigned: u64 = counted().map(u64::from).sum();
        // some old programs sum signed bytes
        let signed: i64 = counted().map(|byte| i64::from(byte as i8)).sum();
        if sum != unsigned && i64::try_from(sum) != Ok(signed) {
            return None;
        }
        let mut name = until_zero(&block[..100]).to_vec();
        if &block[257..263] == b"ustar\0" {
            let prefix = until_zero(&block[345..500]);
            if !prefix.is_empty() {
                name = [prefix, &name].join(&b'/');
            }
        }
        Some(Self { name, bytes: number(&block[124..136])?, kind: block[156] })
    }

    /// Whether bytes follow the header.
    fn has_data(&self) -> bool {
        !matches!(self.kind, b'1'..=b'6')
    }
}

impl Extended {
    /// Reads the records of a PAX header, each `length key=value\n`; reading stops at a damaged one.
    fn pax(&mut self, mut records: &[u8]) {
        while let Some(space) = records.iter().position(|&byte| byte == b' ') {
            let length = std::str::from_utf8(&records[..space]).ok().and_then(|text| text.parse::<usize>().ok());
            let record = length.and_then(|length| records.get(space + 1..length)?.strip_suffix(b"\n"));
            let Some(record) = record else { return };
            let Some(equals) = record.iter().position(|&byte| byte == b'=') else { return };
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"size" => self.bytes = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
                key if key.starts_with(b"GNU.sparse.") => self.is_sparse = true,
                _ => {}
            }
            records = &records[space + 2 + record.len()..];
        }
    }
}

fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A number in octal digits, or in GNU's binary encoding.
fn number(field: &[u8]) -> Option<u64> {
    match field {
        [0x80, rest @ ..] => {
            let (high, low) = rest.split_at(rest.len().saturating_sub(8));
            let low = low.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
            high.iter().all(|&byte| byte == 0).then_some(low)
        }
        _ => {
            let text = std::str::from_utf8(until_zero(field)).ok()?.trim_matches(' ');
            if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
        }
    }
}

/// A part of the decompressed stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// A compressed archive, and the positions of its pictures by their numbers, which are known once it is listed. A part
/// of a stored listing knows only the positions of its own pictures.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) compression: Compression,
    pub(super) spans: Arc<OnceLock<BTreeMap<u64, Span>>>,
}

impl Ordered for Stream {
    fn start(&self, _: u64) -> u64 {
        0
    }

    fn open(&self, archive: &Archive, _: u64) -> Result<Box<dyn Sequence>, Failure> {
        let input = self.compression.unpack(archive.open()?)?;
        Ok(Box::new(Unpacking {
            tape: Tape { input: Input::Stream(input), position: 0 },
            spans: self.spans.clone(),
            next: 0,
        }))
    }

    fn order(&self) -> Order {
        Order::Stream(self.compression)
    }

    fn offset(&self, number: u64) -> u64 {
        self.spans.get().and_then(|spans| spans.get(&number)).map_or(0, |span| span.offset)
    }
}

struct Unpacking {
    tape: Tape,
    spans: Arc<OnceLock<BTreeMap<u64, Span>>>,
    next: u64,
}

impl Sequence for Unpacking {
    fn next(&mut self, most: u64) -> Result<Option<Vec<u8>>, Failure> {
        let spans = self.spans.get().ok_or_else(|| damaged("it has no members"))?;
        let number = self.next;
        self.next += 1;
        let Some(span) = spans.get(&number) else {
            // a part of a listing does not need the pictures between its own
            let is_last = spans.last_key_value().is_none_or(|(last, _)| *last < number);
            return if is_last { Err(damaged("it has no such member")) } else { Ok(None) };
        };
        if span.bytes > most {
            // passed by on the way to the next one
            return Ok(None);
        }
        let gap = span.offset.checked_sub(self.tape.position).ok_or_else(|| damaged("its members overlap"))?;
        if !self.tape.skip(gap)? {
            return Err(damaged("its archive ends before it"));
        }
        let bytes = self.tape.read(span.bytes)?;
        if bytes.len() as u64 != span.bytes {
            return Err(damaged("its archive ends before it does"));
        }
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests;
