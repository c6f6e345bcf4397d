//! Pictures in archives and tables: members of tar and zip files, rows of Parquet and Arrow files.
//!
//! [`list`] tells the members of one archive or table, each with its path, its size, its version and, where the archive
//! knows it, its class. [`Member::open`] gives the bytes of one, for any thread and in any order. Nothing is unpacked
//! onto the disk.
//!
//! * `tar`: a plain tar is indexed by its headers and read at random; a compressed one is a stream. `zip`: read at
//!   random.
//! * `parquet`, `arrow`: rows with a picture, a class and a name; `columns` tells which columns these are.
//! * `gather`: members as they are met, by the rules of folders; `name`: their names as keys; `sidecar`: WebDataset's
//!   classes, in members beside the pictures.
//! * `stored`: members as the listing in the store keeps them.
//! * `window`: what can only be read in its stored order, asked for by many threads nearly in that order.
//!
//! No handle outlives a read but those of the last few streams, and memory depends on no archive's size.

mod arrow;
pub mod columns;
mod gather;
mod name;
mod parquet;
mod sidecar;
mod stored;
mod tar;
mod window;
mod zip;

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::{Bytes, Failure, Opened, open, too_large};
use crate::progress::Interrupted;
use crate::stages::scan::{Kind, first_eight, modified};
use columns::Columns;
pub use stored::{Facts, Place};
use window::Window;

/// The word for bytes that are not as their archive says.
pub(crate) const DAMAGED: &str = "damaged";

/// A symbolic or hard link, a member without bytes of its own.
const LINK: &str = "a link inside of the archive";

/// Members that an archive may have: its bytes by this, and [`FEW`] more. Compressed headers of nothing must not fill
/// the memory.
const BYTES_A_MEMBER: u64 = 16;
/// Members that any archive may have.
const FEW: u64 = 1 << 16;

/// Forms of files that hold pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `.tar`, `.tar.gz`, `.tgz`, `.tar.zst`, `.tzst`; the first bytes tell how it is compressed.
    Tar,
    Zip,
    Parquet,
    /// The streams and files of Arrow's IPC, which the `datasets` library of Hugging Face writes.
    Arrow,
}

impl Form {
    /// The form of a file, by the ending of its name.
    pub fn of(path: &Path) -> Option<Self> {
        const ENDINGS: [(&str, Form); 8] = [
            (".tar", Form::Tar),
            (".tar.gz", Form::Tar),
            (".tgz", Form::Tar),
            (".tar.zst", Form::Tar),
            (".tzst", Form::Tar),
            (".zip", Form::Zip),
            (".parquet", Form::Parquet),
            (".arrow", Form::Arrow),
        ];
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        ENDINGS.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, form)| form)
    }

    /// Whether it is a table, with pictures in a column.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}

/// A file that holds pictures, shared by the locations of its members.
#[derive(Debug)]
pub struct Archive {
    facts: Facts,
    reading: Reading,
}

/// The way in which the members of an archive are read.
#[derive(Debug)]
enum Reading {
    /// Each is read at its place.
    Random,
    /// They are read in their stored order.
    Ordered(Window),
}

impl Archive {
    fn new(path: &Path, metadata: &Metadata, reading: Reading) -> Self {
        Self { facts: Facts::new(path, metadata, &reading), reading }
    }

    /// The path of the archive.
    pub fn path(&self) -> &Path {
        &self.facts.path
    }

    /// Time of its last change, nanoseconds since 1970.
    pub fn modified(&self) -> u64 {
        self.facts.modified
    }

    /// Whether its members keep their stored order, since they cannot be read at random. A shard of the run does not
    /// cross its ends.
    pub fn is_ordered(&self) -> bool {
        matches!(self.reading, Reading::Ordered(_))
    }

    /// Opens the file, if it is still the one that was listed.
    fn open(&self) -> Result<File, Failure> {
        let file = open(self.path()).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::new("vanished", "its archive is not there any more"),
            _ => error.into(),
        })?;
        let metadata = file.metadata()?;
        if metadata.len() != self.facts.bytes || modified(&metadata) != self.modified() {
            return Err(Failure::new("changed", "its archive changed while the run was at work; run again"));
        }
        Ok(file)
    }
}

/// A part of an archive or a table that is a picture.
#[derive(Clone, Debug)]
pub struct Member {
    pub archive: Arc<Archive>,
    at: At,
    /// Bytes of the picture.
    pub bytes: u64,
}

/// Two are equal when they are the same part of the same archive.
impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.archive, &other.archive) && (self.at, self.bytes) == (other.at, other.bytes)
    }
}

impl Eq for Member {}

/// The place of a member in its archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Bytes of the file as they are, from here on.
    Offset(u64),
    Zip(zip::Place),
    /// The so-manieth picture of those that are read in order.
    Number(u64),
}

impl Member {
    /// Hash of everything by which a change is noticed; 0 where the archive was changed just now. See
    /// `scan::contents::stamp`.
    pub fn stamp(&self) -> u64 {
        if self.archive.facts.stamp == 0 {
            return 0;
        }
        let at = match self.at {
            At::Offset(offset) => offset,
            At::Zip(place) => place.header,
            At::Number(number) => number,
        };
        let mut hasher = blake3::Hasher::new();
        [self.archive.facts.stamp, at, self.bytes].iter().for_each(|fact| {
            hasher.update(&fact.to_le_bytes());
        });
        first_eight(&hasher.finalize()).max(1)
    }

    /// Opens it, if it has at most so many bytes and its archive is still the one that was listed.
    pub fn open(&self, most: u64) -> Result<Opened<'static>, Failure> {
        too_large(self.bytes, most)?;
        let bytes = match (self.at, &self.archive.reading) {
            (At::Offset(offset), _) => {
                let mut file = self.archive.open()?;
                file.seek(SeekFrom::Start(offset))?;
                Bytes::Reader(Box::new(file.take(self.bytes)))
            }
            (At::Zip(place), _) => Bytes::Reader(Box::new(zip::open(self.archive.open()?, place, self.bytes)?)),
            (At::Number(number), Reading::Ordered(window)) => Bytes::Held(window.read(&self.archive, number)?.into()),
            (At::Number(_), Reading::Random) => return Err(damaged("its archive has no order")),
        };
        Ok(Opened { length: self.bytes, bytes })
    }
}

/// A file or row met in an archive.
#[derive(Clone, Debug)]
pub struct Met {
    /// Its path below the archive: clean, with `/`, unique; bytes that are not UTF-8 are written `\xNN`. Empty for the
    /// archive itself.
    pub path: String,
    /// Its bytes, or the reason why they cannot be those of a picture.
    pub content: Result<Member, Reason>,
    /// The class that the archive tells, by a column or by members beside it.
    pub label: Option<Arc<str>>,
}

/// Why something met is not among the pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub kind: Kind,
    pub text: String,
}

impl Reason {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self::new(reason.kind.word(), reason.text)
    }
}

/// An archive cannot be listed.
#[derive(Debug)]
pub enum ListError {
    /// The user wants to stop.
    Interrupted(Interrupted),
    /// The file is not such an archive, or not as a whole.
    Archive(Reason),
    /// A column that was asked for is not there; the key of `input.parquet`, and the text.
    Column(&'static str, String),
}

impl From<io::Error> for ListError {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Kind::Damaged,
            _ => Kind::Unreadable,
        };
        Self::Archive(Reason::new(kind, format!("cannot be read: {error}")))
    }
}

impl From<Interrupted> for ListError {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}

/// Asked now and then while an archive is listed, with the number of members so far: an error ends the listing.
pub type Tick<'a> = &'a mut dyn FnMut(usize) -> Result<(), Interrupted>;

/// Lists everything in an archive in its stored order. Members that only tell a class are left out.
pub fn list(path: &Path, form: Form, columns: &Columns, tick: Tick) -> Result<Vec<Met>, ListError> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        let text = "a folder, a FIFO, a socket or a device";
        return Err(ListError::Archive(Reason::new(Kind::NotAFile, text)));
    }
    if metadata.len() == 0 {
        return Err(ListError::Archive(Reason::new(Kind::Empty, "the file is empty")));
    }
    match form {
        Form::Tar => tar::list(path, file, &metadata, tick),
        Form::Zip => zip::list(path, file, &metadata, tick),
        Form::Parquet => parquet::list(path, file, &metadata, columns, tick),
        Form::Arrow => arrow::list(path, file, &metadata, columns, tick),
    }
}

/// The most members that an archive of so many bytes may have.
fn most_members(bytes: u64) -> usize {
    usize::try_from(FEW + bytes / BYTES_A_MEMBER).unwrap_or(usize::MAX)
}

fn too_many(most: usize) -> ListError {
    let text = format!("it has more than {most} members, too many for its size");
    ListError::Archive(Reason::new(Kind::Damaged, text))
}

fn damaged(reason: impl Into<String>) -> Failure {
    Failure::new(DAMAGED, reason)
}

#[cfg(test)]
mod tests;
