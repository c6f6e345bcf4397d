//! Sources of pictures, from which their bytes are read.

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

/// The kind of a file that cannot be opened.
pub const UNREADABLE: &str = "unreadable";

/// Why a picture has no features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The word that `manifest.parquet` has for it: `truncated`, `not_an_image`, `unreadable`, …
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

    /// A picture that is not the one that was listed.
    pub(crate) fn changed() -> Self {
        Self::new("changed", "its size changed while the run was at work; run again")
    }

    /// Whether it is not this picture that failed, but the service that pictures come from.
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
            // of an archive; a file by itself has no such errors
            return Self::new(archive::DAMAGED, format!("its archive is damaged: {error}"));
        }
        let advice = match error.kind() {
            ErrorKind::PermissionDenied => "",
            // a disk or a network may think better of it
            _ => "; `featurize run --retry-failed` tries again",
        };
        Self::unreadable(format_args!("cannot be read: {error}{advice}"))
    }
}

/// A list of pictures, numbered from 0 on, whose bytes can be read.
///
/// A [`Stream`](super::Stream) opens pictures from many threads at once, each picture once, and nearly in the order in
/// which they are wanted: a thread is never further ahead of the consumer than the stream's window. A source that is to
/// be added keeps these rules:
///
/// * **A part of a file** (a tar, a stored member of a zip): open the archive anew, or read at an offset, so that
///   threads do not wait for each other; give a [`Bytes::Reader`] that ends after the part. Compare the archive's stamp
///   with the one that was listed.
/// * **A member of a compressed stream** (tar.gz, tar.zst, a page of Parquet): list the pictures in their stored order,
///   so that they are asked for nearly in that order. One reader behind a lock reads on to the number that is asked
///   for, keeps the bytes that it passes for the threads that will ask for them, and gives [`Bytes::Held`]. What it
///   keeps is bounded by the stream's window.
/// * **An object of a bucket, a URL**: a thread waits for its answer in `open`, and the stream opens as many ahead as
///   [`requests`](Source::requests) says.
/// * **Bytes of another program** are there already: see [`Held`].
///
/// No error ends the stream: a picture that cannot be opened is a [`Failure`] with a kind, one row in the manifest.
/// Only where the service itself is down ([`Failure::is_down`]) the pictures that are left can wait for a better time.
/// Whatever a source reads is bounded by `most`, whatever the lengths that a file claims, and no wait is without end.
pub trait Source: Sync + fmt::Debug {
    /// The facts of a picture that are known before it is opened.
    fn entry(&self, number: usize) -> Entry<'_>;

    /// Opens a picture, which may have `most` bytes; a longer one fails as [`too_large`] before its bytes are read or
    /// held. A picture that has another size than when it was listed fails, too.
    fn open(&self, number: usize, most: u64) -> Result<Opened<'_>, Failure> {
        self.open_until(number, most, &Arc::default())
    }

    /// The same; waits end early, with a failure that nobody is to see, once `stop` is raised.
    fn open_until(&self, number: usize, most: u64, stop: &Arc<AtomicBool>) -> Result<Opened<'_>, Failure>;

    /// How many pictures are best opened at once; 0 where a thread may as well open its own.
    fn requests(&self) -> usize {
        0
    }
}

/// The facts of a picture that are known before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name that tables and messages have for it.
    pub key: &'a str,
    /// Bytes that it had when it was listed; none where nobody looked.
    pub size: Option<u64>,
    /// Hash of everything by which its place tells that it was changed (see `scan::contents::stamp`); 0 where that is
    /// not known.
    pub version: u64,
}

/// A picture that is open.
#[derive(Debug)]
pub struct Opened<'a> {
    /// The expected number of bytes; the reader notices another one.
    pub length: u64,
    pub bytes: Bytes<'a>,
}

/// The way in which the bytes are read.
#[derive(Debug)]
pub enum Bytes<'a> {
    /// A file by itself, which decoders may look at out of order.
    File(File),
    /// A part of something larger.
    Reader(Box<dyn Part + 'a>),
    /// They are in memory already.
    Held(Cow<'a, [u8]>),
}

/// A reader of a part of something larger.
pub trait Part: Read + Send + fmt::Debug {}

impl<T: Read + Send + fmt::Debug> Part for T {}

/// Most bytes of a picture within the limit of pixels: four samples of 16 bits each, stored as they are, and room for
/// everything else.
pub fn most_bytes(options: &DecodeOptions) -> u64 {
    options.max_pixels.saturating_mul(8).saturating_add(64 << 20)
}

/// Refuses a picture that is longer than any picture can be.
pub fn too_large(length: u64, most: u64) -> Result<(), Failure> {
    if length <= most {
        return Ok(());
    }
    let reason = format!("{length} bytes are more than the {most} that `image.max_pixels` pixels can take");
    Err(Failure::new(DecodeErrorKind::TooLarge.as_str(), reason))
}

/// Opens a file by itself or what lies behind an address; `stop` ends the wait for a server.
pub fn open_place(place: &Path, most: u64, stop: &Arc<AtomicBool>) -> Result<Opened<'static>, Failure> {
    match Address::of(place) {
        Some(address) => remote::open(address, 0, most, stop),
        None => open_file(place, None, most),
    }
}

/// How many pictures that lie there are best opened at once, where nobody says otherwise.
pub fn requests<'a>(mut places: impl Iterator<Item = &'a Path>) -> usize {
    if places.any(|place| Address::of(place).is_some()) { Runtime::default().requests } else { 0 }
}

/// Opens a file by itself, if it may be a picture; `seen` is the length that it had when it was listed.
pub fn open_file(path: &Path, seen: Option<u64>, most: u64) -> Result<Opened<'static>, Failure> {
    let file = open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => absent(path, seen),
        _ if is_loop(&error) => Failure::new("link_loop", LOOP),
        _ => error.into(),
    })?;
    // asked of the open file: the name may lead to another file by now
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

/// The failure of a file that does not exist: a listed file is gone, a named one may never have existed.
fn absent(path: &Path, seen: Option<u64>) -> Failure {
    match seen {
        Some(_) => Failure::new("vanished", "it is not there any more"),
        None if path.is_symlink() => Failure::new("dangling_link", "a link to nothing"),
        None => Failure::new("missing", "there is no such file"),
    }
}

/// The reason of a link that cannot be followed to an end.
pub(crate) const LOOP: &str = "a link that leads back to itself";

/// Whether a link leads back to itself.
#[cfg(unix)]
pub(crate) fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

#[cfg(not(unix))]
pub(crate) fn is_loop(_: &io::Error) -> bool {
    false
}

/// Opening a FIFO that nobody writes to would wait for ever.
#[cfg(unix)]
pub(crate) fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

#[cfg(not(unix))]
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

/// The pictures of a listing: files below a folder, those that a table names, members of archives, objects of a bucket.
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
            // a server may have more versions of a picture than the one that it told of
            Some(address @ Address::Url(_)) => remote::open(address, 0, most, stop),
            Some(address) => remote::open(address, picture.stamp, most, stop),
            None => open_file(&location, Some(picture.bytes), most),
        }
    }

    fn requests(&self) -> usize {
        self.requests
    }
}

/// Opens a file that a command was given, or a picture in an archive.
pub fn open_named(picture: &NamedFile, most: u64, stop: &Arc<AtomicBool>) -> Result<Opened<'static>, Failure> {
    match &picture.member {
        Some(member) => member.open(most),
        None => open_place(picture.location.as_ref().map_err(Failure::clone)?, most, stop),
    }
}

/// The files that a command was given.
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

/// Pictures in memory, by their keys.
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
