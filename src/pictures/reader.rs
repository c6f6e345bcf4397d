//! Reads the bytes of a picture, within limits and within the memory that all pictures share.
//!
//! This is the only reader of pictures. It does not wait for FIFOs or devices, and reads no more bytes than a picture
//! may have.

use std::borrow::Cow;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::source::{Bytes, Failure, Opened, Source, most_bytes};
use crate::image::{self, DecodeErrorKind, DecodeOptions, Recipe, RgbImage};
use crate::memory::{self, Budget, Share};
use crate::progress;

/// The number of first bytes that are read to find the format of a file and, for nearly all files, the picture's size.
const HEAD: u64 = 1 << 20;

/// The bytes of a picture with the permit to decode them: their share of the memory for pictures, until they are
/// dropped.
#[derive(Debug)]
pub struct PictureBytes<'a> {
    bytes: Cow<'a, [u8]>,
    _share: Share,
}

impl Deref for PictureBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A decoded picture with its share of the memory for pictures.
#[derive(Debug)]
pub struct Shown {
    image: RgbImage,
    _share: Share,
}

impl Deref for Shown {
    type Target = RgbImage;

    fn deref(&self) -> &RgbImage {
        &self.image
    }
}

/// The memory that pictures share while they are decoded. A picture that needs more than all of it is decoded alone.
#[derive(Clone, Debug)]
pub struct DecodeMemory {
    budget: Arc<Budget>,
}

impl DecodeMemory {
    /// `bytes` for all pictures together.
    pub fn new(bytes: u64) -> Self {
        Self { budget: Budget::new(bytes) }
    }

    /// Waits until there is memory for the bytes of a picture and its decoding by `recipe`, and reads it; once `stop`
    /// is raised, returns a failure, which is not shown. To avoid deadlocks, a thread must drop the bytes of one
    /// picture before it reads the next one.
    pub fn read<'a>(
        &self,
        mut opened: Opened<'a>,
        recipe: &Recipe,
        options: &DecodeOptions,
        stop: &AtomicBool,
    ) -> Result<PictureBytes<'a>, Failure> {
        let length = opened.length;
        let start = match &mut opened.bytes {
            Bytes::Held(bytes) => std::mem::take(bytes),
            Bytes::File(file) => beginning(file, length)?.into(),
            Bytes::Reader(reader) => beginning(reader, length)?.into(),
        };
        let is_part = (start.len() as u64) < length;
        let decoding = match &opened.bytes {
            Bytes::File(file) => image::footprint(&start, is_part.then_some(file), recipe, options),
            _ => match image::footprint(&start, None, recipe, options) {
                // the first bytes do not tell the size, and reading more needs memory, so the largest allowed size is
                // assumed
                0 if is_part => options.max_pixels.saturating_mul(6),
                bytes => bytes,
            },
        };
        let needed = length.saturating_add(decoding);
        if let Some(limit) = memory::limit().filter(|limit| needed > limit.bytes) {
            let reason = format!("to decode it takes {}, and there are {limit}", progress::bytes(needed));
            return Err(Failure::new(DecodeErrorKind::TooLarge.as_str(), reason));
        }
        let share = self.budget.take(needed, stop);
        let share = share.ok_or_else(|| Failure::new("interrupted", "the work was stopped"))?;
        let bytes = match opened.bytes {
            Bytes::Held(_) => start,
            Bytes::File(mut file) => {
                file.seek(SeekFrom::Start(start.len() as u64))?;
                completed(start.into_owned(), file, length)?.into()
            }
            Bytes::Reader(reader) => completed(start.into_owned(), reader, length)?.into(),
        };
        Ok(PictureBytes { bytes, _share: share })
    }

    /// Decodes the whole picture in its EXIF orientation, for display.
    pub fn show(&self, opened: Opened, recipe: &Recipe, options: &DecodeOptions) -> Result<Shown, Failure> {
        let PictureBytes { bytes, _share } = self.read(opened, recipe, options, &AtomicBool::new(false))?;
        Ok(Shown { image: image::decode(&bytes, options)?, _share })
    }
}

impl DecodeMemory {
    /// A small JPEG of a picture of `source`, its longer side at most `longest` pixels; none if the picture is missing
    /// or cannot be read.
    pub fn thumbnail(
        &self,
        (source, number): (&impl Source, usize),
        recipe: &Recipe,
        options: &DecodeOptions,
        longest: usize,
    ) -> Option<Vec<u8>> {
        let opened = source.open(number, most_bytes(options)).ok()?;
        image::thumbnail(&*self.show(opened, recipe, options).ok()?, longest).ok()
    }
}

/// Calls `take` with the bytes of a picture in pieces, so that they are never in memory together.
pub fn in_pieces(opened: Opened, take: impl FnMut(&[u8])) -> Result<(), Failure> {
    let length = opened.length;
    match opened.bytes {
        Bytes::File(file) => pieces(file, length, take),
        Bytes::Reader(reader) => pieces(reader, length, take),
        Bytes::Held(bytes) => pieces(Cursor::new(bytes), length, take),
    }
}

/// Reads all `length` bytes; reading stops if a large file does not begin like a picture.
fn pieces(mut file: impl Read, length: u64, mut take: impl FnMut(&[u8])) -> Result<(), Failure> {
    let mut piece = beginning(&mut file, length)?;
    let mut read = 0;
    while !piece.is_empty() {
        take(&piece);
        read += piece.len() as u64;
        piece.clear();
        // one byte more than expected, so that a growing file is noticed but not read on
        let most = (length + 1).saturating_sub(read).min(HEAD);
        file.by_ref().take(most).read_to_end(&mut piece)?;
    }
    if read == length { Ok(()) } else { Err(Failure::changed()) }
}

/// The first bytes, or all bytes of a small file; a large file must begin like a picture.
fn beginning(file: &mut impl Read, length: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(length.min(HEAD) as usize + 1);
    file.take(length.min(HEAD)).read_to_end(&mut bytes)?;
    if length > HEAD {
        image::sniff(&bytes)?;
    }
    Ok(bytes)
}

/// The first bytes, followed by the rest of `length` from `file`.
fn completed(mut bytes: Vec<u8>, file: impl Read, length: u64) -> Result<Vec<u8>, Failure> {
    let left = length.saturating_sub(bytes.len() as u64);
    bytes.reserve_exact(left as usize + 1);
    // one byte more than expected, so that a growing file is noticed but not read on
    file.take(left + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(Failure::changed());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::source::{Held, Named, Source, UNREADABLE, most_bytes, open_file};
    use crate::stages::scan::NamedFile;
    use std::fs::File;
    use std::io;
    use std::path::Path;

    fn kind<T>(result: Result<T, Failure>) -> &'static str {
        result.map(drop).expect_err("a failure").kind
    }

    fn contents(file: impl Read, length: u64) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        pieces(file, length, |piece| all.extend(piece)).map(|()| all)
    }

    fn read(path: &Path, seen: Option<u64>, options: &DecodeOptions) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        in_pieces(open_file(path, seen, most_bytes(options))?, |piece| all.extend(piece)).map(|()| all)
    }

    /// Returns some bytes and then an I/O error.
    struct Broken(usize);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::from_raw_os_error(5));
            }
            let n = self.0.min(buffer.len());
            buffer[..n].fill(0);
            self.0 -= n;
            Ok(n)
        }
    }

    #[test]
    fn an_error_of_the_device_is_told_with_what_to_do() {
        let failed = contents(Broken(10), 100).expect_err("broken");
        assert_eq!(failed.kind, UNREADABLE);
        assert!(failed.reason.contains("--retry-failed"), "{failed}");
    }

    #[test]
    fn a_file_that_grows_or_shrinks_is_not_taken() {
        assert_eq!(contents(Cursor::new(b"abc"), 3).as_deref(), Ok(&b"abc"[..]));
        assert_eq!(kind(contents(Cursor::new(b"ab"), 3)), "changed");
        assert_eq!(kind(contents(io::repeat(0), 3)), "changed");
    }

    #[test]
    fn a_large_file_of_something_else_is_left_after_its_beginning() {
        let mut zeros = io::repeat(0).take(1 << 40);
        assert_eq!(kind(contents(&mut zeros, 1 << 30)), "not_an_image");
        assert_eq!((1 << 40) - zeros.limit(), HEAD);
    }

    #[test]
    fn what_is_no_file_or_too_long_is_refused_unread() {
        let dir = tempfile::tempdir().expect("folder");
        let options = DecodeOptions { max_pixels: 100, ..DecodeOptions::default() };
        let path = dir.path().join("sparse.jpg");
        File::create(&path).and_then(|file| file.set_len(5 << 30)).expect("a sparse file");
        assert_eq!(kind(read(&path, None, &options)), "too_large");
        assert_eq!(kind(read(&path, None, &DecodeOptions::default())), "too_large");
        assert_eq!(kind(read(&path, Some(7), &options)), "changed");
        assert_eq!(kind(read(&dir.path().join("none.jpg"), Some(7), &options)), "vanished");
        assert_eq!(kind(read(&dir.path().join("none.jpg"), None, &options)), "missing");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("nowhere", dir.path().join("link.jpg")).expect("link");
            assert_eq!(kind(read(&dir.path().join("link.jpg"), None, &options)), "dangling_link");
            std::os::unix::fs::symlink("loop.jpg", dir.path().join("loop.jpg")).expect("link");
            assert_eq!(kind(read(&dir.path().join("loop.jpg"), None, &options)), "link_loop");
            assert_eq!(kind(read(dir.path(), None, &options)), "not_a_file");
            assert_eq!(kind(read(Path::new("/dev/zero"), None, &options)), "not_a_file");
        }
    }

    #[test]
    fn there_is_room_for_one_at_a_time_and_waiting_can_be_stopped() {
        let dir = tempfile::tempdir().expect("folder");
        // a file longer than `HEAD`
        let mut state = 1u32;
        let noise = RgbImage {
            width: 1000,
            height: 1000,
            data: std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .take(3_000_000)
            .collect(),
        };
        let path = dir.path().join("noise.png");
        let bytes = image::png(&noise).expect("a PNG");
        assert!(bytes.len() as u64 > HEAD);
        std::fs::write(&path, &bytes).expect("written");
        let model = crate::models::find("resnet18").expect("registered");
        let (recipe, options) = (&model.weights[0].recipe, DecodeOptions::default());
        assert!(read(&path, None, &options) == Ok(bytes.clone()), "several pieces are the whole");
        let memory = DecodeMemory::new(1);
        let (never, stop) = (AtomicBool::new(false), AtomicBool::new(true));
        let most = most_bytes(&options);
        let file = || open_file(&path, Some(bytes.len() as u64), most).expect("opened");
        let first = memory.read(file(), recipe, &options, &never).expect("alone");
        assert!(*first == *bytes);
        assert_eq!(kind(memory.read(file(), recipe, &options, &stop)), "interrupted");
        drop(first);
        assert!(memory.read(file(), recipe, &options, &never).is_ok());
        // the same bytes from every kind of source
        let named = [NamedFile::new("noise".into(), Ok(path.clone()))];
        let held: [(&str, &[u8]); 1] = [("noise", &bytes)];
        let length = bytes.len() as u64;
        let part = Opened { length, bytes: Bytes::Reader(Box::new(&bytes[..])) };
        for opened in [Named(&named).open(0, most), Held(&held).open(0, most), Ok(part)] {
            let read = memory.read(opened.expect("opened"), recipe, &options, &never).expect("read");
            assert!(*read == *bytes);
        }
        let mut pieces: Vec<u8> = Vec::new();
        in_pieces(Held(&held).open(0, most).expect("opened"), |piece| pieces.extend(piece)).expect("read");
        assert!(pieces == bytes);
        assert_eq!(kind(Held(&held).open(0, 7)), "too_large");
        let short = Opened { length: length + 1, bytes: Bytes::Reader(Box::new(&bytes[..])) };
        assert_eq!(kind(memory.read(short, recipe, &options, &never)), "changed");
    }
}
