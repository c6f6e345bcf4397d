//! Pictures in archives and tables: members of tar and zip files, rows of Parquet and Arrow files.
//!
//! [`list`] lists the members of one archive or table, each with its path, its size, its version and, if the archive
//! has it, its class. [`Member::open`] opens one, on any thread and in any order. Nothing is unpacked to disk.
//!
//! * `tar`: a plain tar is indexed by its headers and has random access; a compressed one is a stream. `zip`: has
//!   random access.
//! * `parquet`, `arrow`: rows with a picture, a class and a name; `columns` finds these columns.
//! * `gather`: collects members by the rules of folders; `name`: makes keys of their names; `sidecar`: WebDataset's
//!   classes, in members beside the pictures.
//! * `stored`: members in the stored listing.
//! * `window`: archives that can only be read in their stored order, for threads that request pictures nearly in that
//!   order.
//!
//! Only the last few streams stay open between reads, and memory does not depend on the size of an archive.

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

/// The kind of failure for bytes that contradict their archive.
pub(crate) const DAMAGED: &str = "damaged";

/// The reason for a symbolic or hard link, a member without bytes of its own.
const LINK: &str = "a link inside of the archive";

/// An archive may have one member for this many of its bytes, and [`FEW`] more, so that highly compressed empty members
/// cannot fill the memory.
const BYTES_A_MEMBER: u64 = 16;
/// The number of members that any archive may have.
const FEW: u64 = 1 << 16;

/// Formats of files that contain pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `.tar`, `.tar.gz`, `.tgz`, `.tar.zst`, `.tzst`; the first bytes identify the compression.
    Tar,
    Zip,
    Parquet,
    /// Arrow IPC streams and files, which the `datasets` library of Hugging Face writes.
    Arrow,
}

impl Form {
    /// The format of a file, by its extension.
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

    /// Whether it is a table with pictures in a column.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}

/// A file that contains pictures, shared by its members.
#[derive(Debug)]
pub struct Archive {
    facts: Facts,
    reading: Reading,
}

/// How the members of an archive are read.
#[derive(Debug)]
enum Reading {
    /// Each at its offset.
    Random,
    /// In their stored order.
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

    /// Modification time, nanoseconds since 1970.
    pub fn modified(&self) -> u64 {
        self.facts.modified
    }

    /// Whether its members keep their stored order, since they have no random access. No shard contains pictures from
    /// both such an archive and another file.
    pub fn is_ordered(&self) -> bool {
        matches!(self.reading, Reading::Ordered(_))
    }

    /// Opens the file, if it has not changed since it was listed.
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
    /// The size of the picture.
    pub bytes: u64,
}

/// Two members are equal if they are the same part of the same archive.
impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.archive, &other.archive) && (self.at, self.bytes) == (other.at, other.bytes)
    }
}

impl Eq for Member {}

/// The position of a member in its archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Uncompressed bytes of the file from this offset.
    Offset(u64),
    Zip(zip::Place),
    /// The index of the picture in stored order.
    Number(u64),
}

impl Member {
    /// Hash of the metadata that change with the member; 0 if the archive was changed just now. See
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

    /// Opens it, if it has at most `most` bytes and its archive has not changed since it was listed.
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

/// A file or row found in an archive.
#[derive(Clone, Debug)]
pub struct Met {
    /// Its path below the archive: clean, with `/`, unique; bytes that are not UTF-8 are written `\xNN`. Empty if it
    /// stands for the archive itself.
    pub path: String,
    /// The member, or the reason why it cannot be a picture.
    pub content: Result<Member, Reason>,
    /// The class that the archive has for it, in a column or in members beside it.
    pub label: Option<Arc<str>>,
}

/// The reason why a file or row is not among the pictures.
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
    /// The user interrupts the command.
    Interrupted(Interrupted),
    /// The file is not such an archive, or not an intact one.
    Archive(Reason),
    /// A configured column is missing; the key of `input.parquet`, and the text.
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

/// Called at intervals with the number of members found so far; an error ends the listing.
pub type Tick<'a> = &'a mut dyn FnMut(usize) -> Result<(), Interrupted>;

/// Lists everything in an archive in its stored order. Members that only contain a class are left out.
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

/// The most members that an archive of this size may have.
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
