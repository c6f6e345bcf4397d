//! Sources from which the bytes of pictures are read.

pub mod archive;
pub mod remote;

use std::borrow::Cow;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use featurize_remote::{Address, Problem};

use crate::config::{Pipeline, Runtime};
use crate::image::{DecodeError, DecodeErrorKind, DecodeOptions};
use crate::stages::scan::{NamedFile, Picture};

/// The kind of failure of a file that cannot be opened or read.
pub const UNREADABLE: &str = "unreadable";

/// The reason why a picture has no features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind in `manifest.parquet`: `truncated`, `not_an_image`, `unreadable`, …
    pub kind: &'static str,
    pub reason: String,
}

impl Failure {
    pub(crate) fn new(kind: &'static str, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    /// A file that cannot be opened or read.
    pub fn unreadable(reason: impl fmt::Display) -> Self {
        Self::new(UNREADABLE, reason.to_string())
    }

    /// A picture that was changed after it was listed.
    pub(crate) fn changed() -> Self {
        Self::new("changed", "its size changed while the run was at work; run again")
    }

    /// Whether the service that provides the pictures is down, and not this picture the cause.
    pub fn is_down(&self) -> bool {
        self.kind == remote::DOWN
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.reason)
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::new(error.kind.as_str(), error.detail)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if let Some(problem) = error.get_ref().and_then(|error| error.downcast_ref::<Problem>()) {
            return problem.clone().into();
        }
        if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) {
            // an error of an archive; reading a plain file gives no such errors
            return Self::new(archive::DAMAGED, format!("its archive is damaged: {error}"));
        }
        let advice = match error.kind() {
            ErrorKind::PermissionDenied => "",
            // other errors of a disk or a network may be temporary
            _ => "; `featurize run --retry-failed` tries again",
        };
        Self::unreadable(format_args!("cannot be read: {error}{advice}"))
    }
}

/// A list of pictures, numbered from 0 on, whose bytes can be read.
///
/// A [`Stream`](super::Stream) opens pictures from many threads at once, each picture once, and nearly in the requested
/// order: a thread is never further ahead of the consumer than the stream's window. A new source has to keep these
/// rules:
///
/// * **A part of a file** (a tar, a stored member of a zip): open the archive again or read at an offset, so that
///   threads do not wait for each other; return a [`Bytes::Reader`] that ends after the part. Compare the archive's
///   stamp with the listed one.
/// * **A member of a compressed stream** (tar.gz, tar.zst, a page of Parquet): list the pictures in their stored order,
///   so that they are requested nearly in that order. One reader behind a lock reads up to the requested number, keeps
///   the bytes of skipped pictures for other threads, and returns [`Bytes::Held`]. The stream's window bounds the bytes
///   that it keeps.
/// * **An object of a bucket, a URL**: a thread waits for the response in `open`, and the stream opens as many pictures
///   ahead as [`requests`](Source::requests) returns.
/// * **Bytes in the memory of the program**: see [`Held`].
///
/// No error ends the stream: a picture that cannot be opened is a [`Failure`] with a kind, one row in the manifest.
/// Only if the service itself is down ([`Failure::is_down`]), the stream ends and the remaining pictures are left for a
/// later run. Every read is bounded by `most`, whatever lengths a file claims, and every wait is bounded.
pub trait Source: Sync + fmt::Debug {
    /// The metadata of a picture that are known before it is opened.
    fn entry(&self, number: usize) -> Entry<'_>;

    /// Opens a picture of at most `most` bytes; a longer one fails as [`too_large`] before its bytes are read. A
    /// picture whose size has changed since it was listed fails, too.
    fn open(&self, number: usize, most: u64) -> Result<Opened<'_>, Failure> {
        self.open_until(number, most, &Arc::default())
    }

    /// Opens a picture like [`open`](Self::open); once `stop` is raised, waits end with a failure, which is not shown.
    fn open_until(&self, number: usize, most: u64, stop: &Arc<AtomicBool>) -> Result<Opened<'_>, Failure>;

    /// The number of pictures to open concurrently; 0 if each thread should open its own.
    fn requests(&self) -> usize {
        0
    }
}

/// The metadata of a picture that are known before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name of the picture in tables and messages.
    pub key: &'a str,
    /// Its size in bytes when it was listed; none if it was not looked up.
    pub size: Option<u64>,
    /// Hash of the metadata that change with the picture (see `scan::contents::stamp`); 0 if they are not known.
    pub version: u64,
}

/// An open picture.
#[derive(Debug)]
pub struct Opened<'a> {
    /// The expected number of bytes; the reader notices a different one.
    pub length: u64,
    pub bytes: Bytes<'a>,
}

/// The access to the bytes.
#[derive(Debug)]
pub enum Bytes<'a> {
    /// A plain file, in which decoders may seek.
    File(File),
    /// A part of something larger.
    Reader(Box<dyn Part + 'a>),
    /// Bytes in memory.
    Held(Cow<'a, [u8]>),
}

/// A reader of a part of something larger.
pub trait Part: Read + Send + fmt::Debug {}

impl<T: Read + Send + fmt::Debug> Part for T {}

/// The most bytes of a picture within the limit of pixels: four uncompressed samples of 16 bits per pixel, and 64 MiB
/// for everything else.
pub fn most_bytes(options: &DecodeOptions) -> u64 {
    options.max_pixels.saturating_mul(8).saturating_add(64 << 20)
}

/// Returns an error if a picture is longer than `most`.
pub fn too_large(length: u64, most: u64) -> Result<(), Failure> {
    if length <= most {
        return Ok(());
    }
    let reason = format!("{length} bytes are more than the {most} that `image.max_pixels` pixels can take");
    Err(Failure::new(DecodeErrorKind::TooLarge.as_str(), reason))
}

/// Opens a plain file or a remote picture; `stop` ends the wait for a server.
pub fn open_place(place: &Path, most: u64, stop: &Arc<AtomicBool>) -> Result<Opened<'static>, Failure> {
    match Address::of(place) {
        Some(address) => remote::open(address, 0, most, stop),
        None => open_file(place, None, most),
    }
}

/// The number of pictures at these places to open concurrently, by default.
pub fn requests<'a>(mut places: impl Iterator<Item = &'a Path>) -> usize {
    if places.any(|place| Address::of(place).is_some()) { Runtime::default().requests } else { 0 }
}

/// Opens a plain file, if it may be a picture; `seen` is its length when it was listed.
pub fn open_file(path: &Path, seen: Option<u64>, most: u64) -> Result<Opened<'static>, Failure> {
    let file = open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => absent(path, seen),
        _ if is_loop(&error) => Failure::new("link_loop", LOOP),
        _ => error.into(),
    })?;
    // the metadata of the open file, since the path may lead to another file by now
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Failure::new("not_a_file", "a folder, a FIFO, a socket or a device"));
    }
    let length = metadata.len();
    if seen.is_some_and(|seen| seen != length) {
        return Err(Failure::changed());
    }
    too_large(length, most)?;
    Ok(Opened { length, bytes: Bytes::File(file) })
}

/// The failure of a missing file: a listed file is gone, a named one may never have existed.
fn absent(path: &Path, seen: Option<u64>) -> Failure {
    match seen {
        Some(_) => Failure::new("vanished", "it is not there any more"),
        None if path.is_symlink() => Failure::new("dangling_link", "a link to nothing"),
        None => Failure::new("missing", "there is no such file"),
    }
}

/// The reason for a link that leads to itself.
pub(crate) const LOOP: &str = "a link that leads back to itself";

/// Whether a link leads to itself.
#[cfg(unix)]
pub(crate) fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

#[cfg(not(unix))]
pub(crate) fn is_loop(_: &io::Error) -> bool {
    false
}

/// Opens a file without waiting for a writer of a FIFO.
#[cfg(unix)]
pub(crate) fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

#[cfg(not(unix))]
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

/// The pictures of a listing: files below a folder, files in a table, members of archives, objects of a bucket.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    root: &'a Path,
    pictures: &'a [Picture],
    requests: usize,
}

impl<'a> Listed<'a> {
    /// The pictures of a pipeline.
    pub fn new(pipeline: &'a Pipeline, pictures: &'a [Picture]) -> Self {
        let root = pipeline.input.root.as_path();
        let is_remote = Address::of(root).is_some() || pictures.iter().any(|picture| remote::is_url(&picture.path));
        Self { root, pictures, requests: if is_remote { pipeline.runtime.requests } else { 0 } }
    }
}

impl Source for Listed<'_> {
    fn entry(&self, number: usize) -> Entry<'_> {
        let picture = &self.pictures[number];
        Entry { key: &picture.path, size: picture.known_bytes(), version: picture.stamp }
    }

    fn open_until(&self, number: usize, most: u64, stop: &Arc<AtomicBool>) -> Result<Opened<'_>, Failure> {
        let picture = &self.pictures[number];
        if let Some(member) = &picture.member {
            return member.open(most);
        }
        let location = picture.location(self.root);
        match Address::of(&location) {
            // a server may send other versions of a picture than it announced
            Some(address @ Address::Url(_)) => remote::open(address, 0, most, stop),
            Some(address) => remote::open(address, picture.stamp, most, stop),
            None => open_file(&location, Some(picture.bytes), most),
        }
    }

    fn requests(&self) -> usize {
        self.requests
    }
}

/// Opens a file that was an argument of a command, or a picture in an archive.
pub fn open_named(picture: &NamedFile, most: u64, stop: &Arc<AtomicBool>) -> Result<Opened<'static>, Failure> {
    match &picture.member {
        Some(member) => member.open(most),
        None => open_place(picture.location.as_ref().map_err(Failure::clone)?, most, stop),
    }
}

/// The files that were arguments of a command.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a>(pub &'a [NamedFile]);

impl Source for Named<'_> {
    fn entry(&self, number: usize) -> Entry<'_> {
        Entry { key: &self.0[number].path, size: None, version: 0 }
    }

    fn open_until(&self, number: usize, most: u64, stop: &Arc<AtomicBool>) -> Result<Opened<'_>, Failure> {
        open_named(&self.0[number], most, stop)
    }

    fn requests(&self) -> usize {
        requests(self.0.iter().filter_map(|file| file.location.as_deref().ok()))
    }
}

/// Pictures in memory, with their keys.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a>(pub &'a [(&'a str, &'a [u8])]);

impl Source for Held<'_> {
    fn entry(&self, number: usize) -> Entry<'_> {
        let (key, bytes) = self.0[number];
        Entry { key, size: Some(bytes.len() as u64), version: 0 }
    }

    fn open_until(&self, number: usize, most: u64, _: &Arc<AtomicBool>) -> Result<Opened<'_>, Failure> {
        let (_, bytes) = self.0[number];
        let length = bytes.len() as u64;
        too_large(length, most)?;
        Ok(Opened { length, bytes: Bytes::Held(bytes.into()) })
    }
}
