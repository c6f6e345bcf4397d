//! The bytes of a file that should be a picture: nothing that is no file is waited for, and no more is read than a picture can be.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::{Failure, UNREADABLE};
use crate::image::{self, DecodeOptions};

/// As much as tells what a file is.
const HEAD: u64 = 1 << 16;

/// Reads the file `path`; `seen` is its length when it was listed.
pub fn read(path: &Path, seen: Option<u64>, options: &DecodeOptions) -> Result<Vec<u8>, Failure> {
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
    contents(file, length)
}

/// Most bytes of a picture within the limit of pixels: four samples of 16 bits each, stored as they are, and room for everything else.
pub fn most_bytes(options: &DecodeOptions) -> u64 {
    options.max_pixels.saturating_mul(8).saturating_add(64 << 20)
}

/// All `length` bytes; a large file that does not begin like a picture is not read to its end.
fn contents(file: impl Read, length: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(length.min(HEAD) as usize + 1);
    // one byte more than there should be: a file that grows without end is not followed
    let mut file = file.take(length.saturating_add(1));
    file.by_ref().take(HEAD).read_to_end(&mut bytes).map_err(failure)?;
    if length > HEAD {
        image::sniff(&bytes).map_err(|error| Failure { kind: error.kind.as_str(), reason: error.detail })?;
        bytes.reserve_exact((length - bytes.len() as u64) as usize + 1);
    }
    file.read_to_end(&mut bytes).map_err(failure)?;
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

fn failure(error: std::io::Error) -> Failure {
    match error.kind() {
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
    use std::io::{self, Cursor};

    fn kind(result: Result<Vec<u8>, Failure>) -> &'static str {
        result.expect_err("a failure").kind
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
}
