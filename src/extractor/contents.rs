//! The bytes of a file that should be a picture: nothing that is no file is waited for, and no more is read than a picture can be.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Failure, UNREADABLE};
use crate::image::{self, DecodeOptions, Recipe};
use crate::memory::{self, Budget, Share};
use crate::pictures::source::archive::{DAMAGED, Location, Member};
use crate::progress;

/// As much as tells what a file is, and of nearly all how large its picture is.
const HEAD: u64 = 1 << 20;

/// The bytes of a file, and the right to decode them: their share of the memory for pictures, until it is dropped.
#[derive(Debug)]
pub struct Contents {
    bytes: Vec<u8>,
    _share: Share,
}

impl Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The memory that pictures share while they are decoded.
#[derive(Clone, Debug)]
pub struct Room {
    budget: Arc<Budget>,
}

impl Room {
    /// `bytes` for all of them together.
    pub fn new(bytes: u64) -> Self {
        Self { budget: Budget::new(bytes) }
    }

    /// Waits until there is room for the file `path` and its picture, prepared by `recipe`, and reads it; ends early with a failure that nobody
    /// is to see once `stop` is raised.
    pub fn read(
        &self,
        location: &Location,
        seen: Option<u64>,
        (recipe, options): (&Recipe, &DecodeOptions),
        stop: &AtomicBool,
    ) -> Result<Contents, Failure> {
        let path = match location {
            Location::File(path) => path,
            Location::Member(member) => return self.read_member(member, (recipe, options), stop),
        };
        let (mut file, length) = checked(path, seen, options)?;
        let bytes = beginning(&mut file, length)?;
        let rest = bytes.len() as u64;
        let decoding = image::footprint(&bytes, (rest < length).then_some(&file), recipe, options);
        let share = self.share(length.saturating_add(decoding), stop)?;
        file.seek(SeekFrom::Start(rest)).map_err(failure)?;
        Ok(Contents { bytes: completed(bytes, file, length)?, _share: share })
    }

    /// The same of a member of an archive, which may not be able to go back.
    fn read_member(
        &self,
        member: &Member,
        (recipe, options): (&Recipe, &DecodeOptions),
        stop: &AtomicBool,
    ) -> Result<Contents, Failure> {
        let mut opened = member.open(most_bytes(options))?;
        let length = opened.bytes;
        let bytes = beginning(&mut opened, length)?;
        let decoding = match image::footprint(&bytes, None, recipe, options) {
            // its size does not stand at its beginning, where it has more than that
            0 if length > HEAD => options.max_pixels.saturating_mul(6),
            decoding => decoding,
        };
        let share = self.share(length.saturating_add(decoding), stop)?;
        Ok(Contents { bytes: completed(bytes, opened, length)?, _share: share })
    }

    /// Waits until there is room for so many bytes.
    fn share(&self, needed: u64, stop: &AtomicBool) -> Result<Share, Failure> {
        if let Some(limit) = memory::limit().filter(|limit| needed > limit.bytes) {
            let reason = format!("to decode it takes {}, and there are {limit}", progress::bytes(needed));
            return Err(Failure { kind: image::DecodeErrorKind::TooLarge.as_str(), reason });
        }
        let share = self.budget.take(needed, stop);
        share.ok_or_else(|| Failure { kind: "interrupted", reason: "the work was stopped".to_string() })
    }
}

/// Hands the bytes of the file `path` over in pieces, for what need not hold a picture; `seen` is its length when it was listed.
pub fn in_pieces(
    location: &Location,
    seen: Option<u64>,
    options: &DecodeOptions,
    take: impl FnMut(&[u8]),
) -> Result<(), Failure> {
    match location {
        Location::File(path) => {
            let (file, length) = checked(path, seen, options)?;
            pieces(file, length, take)
        }
        Location::Member(member) => {
            let opened = member.open(most_bytes(options))?;
            let length = opened.bytes;
            pieces(opened, length, take)
        }
    }
}

/// Opens the file `path` and tells its length, if it may be a picture.
fn checked(path: &Path, seen: Option<u64>, options: &DecodeOptions) -> Result<(File, u64), Failure> {
    let file = open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => absent(path, seen),
        _ => failure(error),
    })?;
    // asked of what is open: the name may lead somewhere else by now
    let metadata = file.metadata().map_err(failure)?;
    if !metadata.is_file() {
        return Err(Failure { kind: "not_a_file", reason: "a folder, a FIFO, a socket or a device".to_string() });
    }
    let length = metadata.len();
    if seen.is_some_and(|seen| seen != length) {
        return Err(changed());
    }
    let most = most_bytes(options);
    if length > most {
        let reason = format!("{length} bytes are more than the {most} that `image.max_pixels` pixels can take");
        return Err(Failure { kind: image::DecodeErrorKind::TooLarge.as_str(), reason });
    }
    Ok((file, length))
}

/// Most bytes of a picture within the limit of pixels: four samples of 16 bits each, stored as they are, and room for everything else.
pub fn most_bytes(options: &DecodeOptions) -> u64 {
    options.max_pixels.saturating_mul(8).saturating_add(64 << 20)
}

/// All `length` bytes; a large file that does not begin like a picture is not read to its end.
fn pieces(mut file: impl Read, length: u64, mut take: impl FnMut(&[u8])) -> Result<(), Failure> {
    let mut piece = beginning(&mut file, length)?;
    let mut read = 0;
    while !piece.is_empty() {
        take(&piece);
        read += piece.len() as u64;
        piece.clear();
        // one byte more than there should be: a file that grows without end is not followed
        let most = (length + 1).saturating_sub(read).min(HEAD);
        file.by_ref().take(most).read_to_end(&mut piece).map_err(failure)?;
    }
    if read == length { Ok(()) } else { Err(changed()) }
}

/// The first bytes, all of a small file; a large file must begin like a picture.
fn beginning(file: &mut impl Read, length: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(length.min(HEAD) as usize + 1);
    file.take(length.min(HEAD)).read_to_end(&mut bytes).map_err(failure)?;
    if length > HEAD {
        image::sniff(&bytes).map_err(|error| Failure { kind: error.kind.as_str(), reason: error.detail })?;
    }
    Ok(bytes)
}

/// The first bytes and, after them, what is left of `length` in `file`.
fn completed(mut bytes: Vec<u8>, file: impl Read, length: u64) -> Result<Vec<u8>, Failure> {
    let left = length.saturating_sub(bytes.len() as u64);
    bytes.reserve_exact(left as usize + 1);
    // one byte more than there should be: a file that grows without end is not followed
    file.take(left + 1).read_to_end(&mut bytes).map_err(failure)?;
    if bytes.len() as u64 != length {
        return Err(changed());
    }
    Ok(bytes)
}

/// A file that is not there: what was listed is gone, what was only named may never have been.
fn absent(path: &Path, seen: Option<u64>) -> Failure {
    let (kind, reason) = match seen {
        Some(_) => ("vanished", "it is not there any more"),
        None if path.is_symlink() => ("dangling_link", "a link to nothing"),
        None => ("missing", "there is no such file"),
    };
    Failure { kind, reason: reason.to_string() }
}

fn changed() -> Failure {
    Failure { kind: "changed", reason: "its size changed while the run was at work; run again".to_string() }
}

pub(crate) fn failure(error: std::io::Error) -> Failure {
    match error.kind() {
        // of an archive; a file by itself has no such errors
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData => {
            Failure { kind: DAMAGED, reason: format!("its archive is damaged: {error}") }
        }
        ErrorKind::PermissionDenied => Failure { kind: UNREADABLE, reason: format!("cannot be read: {error}") },
        // a disk or a network may think better of it
        _ => Failure {
            kind: UNREADABLE,
            reason: format!("cannot be read: {error}; `featurize run --retry-failed` tries again"),
        },
    }
}

/// Opening a FIFO that nobody writes to would wait for ever.
#[cfg(unix)]
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

#[cfg(not(unix))]
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::RgbImage;
    use std::io::{self, Cursor};

    fn kind(result: Result<Vec<u8>, Failure>) -> &'static str {
        result.expect_err("a failure").kind
    }

    fn contents(file: impl Read, length: u64) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        pieces(file, length, |piece| all.extend(piece)).map(|()| all)
    }

    fn read(path: &Path, seen: Option<u64>, options: &DecodeOptions) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        in_pieces(&path.to_path_buf().into(), seen, options, |piece| all.extend(piece)).map(|()| all)
    }

    /// Gives some bytes and then an error of the device.
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
            assert_eq!(kind(read(dir.path(), None, &options)), "not_a_file");
            assert_eq!(kind(read(Path::new("/dev/zero"), None, &options)), "not_a_file");
        }
    }

    #[test]
    fn there_is_room_for_one_at_a_time_and_waiting_can_be_stopped() {
        let dir = tempfile::tempdir().expect("folder");
        // longer than its beginning
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
        let room = Room::new(1);
        let never = AtomicBool::new(false);
        let first =
            room.read(&path.clone().into(), Some(bytes.len() as u64), (recipe, &options), &never).expect("alone");
        assert!(*first == *bytes);
        let stop = AtomicBool::new(true);
        let second = room.read(&path.clone().into(), None, (recipe, &options), &stop).map(|contents| contents.to_vec());
        assert_eq!(kind(second), "interrupted");
        drop(first);
        assert!(room.read(&path.clone().into(), None, (recipe, &options), &never).is_ok());
    }
}
