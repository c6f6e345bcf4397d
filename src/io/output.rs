//! Writes the files that the user names on the command line, other than those in a run folder.
//!
//! Such a name may be a link to another disk, a pipe, a device, standard output, or a picture that was given by
//! mistake. [`Output::new`] checks it before anything is computed, and refuses a file that the command reads or that is
//! of another kind than the one to write, unless the user asks to overwrite it. A regular file is then replaced as a
//! whole behind its links, or not at all. Pipes and devices are written to directly.

mod kind;

use std::cell::OnceCell;
use std::collections::HashSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{BufWriter, ErrorKind, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use kind::{FileKind, SIGNATURE};

use super::{IoError, atomic};

/// The name of standard output in messages.
pub const STDOUT: &str = "standard output";
/// The names of standard output: `-`, and the system's own.
const STDOUT_NAMES: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
/// The most links that may lead from a name to its file, as on Linux.
const LINKS: usize = 40;
/// The number of first bytes that show the kind of a file.
const HEAD: u64 = 1024;

/// An output cannot be written, or must not be.
#[derive(Debug, Error)]
pub enum OutputError {
    #[error(
        "{path} is read by this command, and the output would replace it: name another file, or give `--overwrite`"
    )]
    Input { path: PathBuf },
    #[error(
        "{path} is there already and is no {wanted}: it is {found}; name another file, or give `--overwrite` to \
         replace it"
    )]
    OtherKind { path: PathBuf, wanted: &'static str, found: String },
    #[error("{path} is a picture that featurize did not draw; name another file, or give `--overwrite` to replace it")]
    Picture { path: PathBuf },
    #[error("{path} is there already and is read-only; name another file, or give `--overwrite` to replace it")]
    ReadOnly { path: PathBuf },
    #[error("{path} is a folder; name a file in it")]
    Folder { path: PathBuf },
    #[error("{path} is a disk, and the output would destroy what is on it; name a file, or give `--overwrite`")]
    Disk { path: PathBuf },
    #[error("standard output is a terminal, which cannot show a {wanted}; name a file, or pipe it into a program")]
    Terminal { wanted: &'static str },
    #[error("standard output is named twice; name a file for one of the outputs")]
    Twice,
    #[error(transparent)]
    Io(#[from] IoError),
}

/// The files that a command reads; its outputs replace none of them.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The pictures that the command decodes.
    pub pictures: Vec<PathBuf>,
    /// Other files.
    pub files: Vec<PathBuf>,
    /// Folders in which every file counts as an input, which are those of runs.
    pub folders: Vec<PathBuf>,
    ids: OnceCell<InputIds>,
}

/// The inputs as the system identifies them, so that another name for one of them is recognised.
#[derive(Debug)]
struct InputIds {
    files: HashSet<Identity>,
    beside: HashSet<PathBuf>,
}

/// The rules by which an output is checked.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub inputs: &'a Inputs,
    /// Whether the user wants the file replaced whatever it is.
    pub overwrite: bool,
    /// Whether a picture that featurize did not draw is kept in every folder, and not only in those of the pictures
    /// that are read.
    pub keeps_pictures: bool,
}

impl<'a> Rules<'a> {
    /// The rules of most outputs.
    pub fn new(inputs: &'a Inputs, overwrite: bool) -> Self {
        Self { inputs, overwrite, keeps_pictures: false }
    }
}

/// A file that will be written.
#[derive(Debug)]
pub struct Output {
    /// The path as the user wrote it.
    path: PathBuf,
    destination: Destination,
}

#[derive(Debug)]
enum Destination {
    Stdout,
    /// A pipe or a device, which is written to directly.
    Stream,
    /// A regular file behind all links, which need not exist.
    File(PathBuf),
}

impl Output {
    /// Checks the output `path`, which will hold a file of this `kind`. `-` is standard output.
    pub fn new(path: &Path, kind: FileKind, rules: Rules) -> Result<Self, OutputError> {
        let destination = destination(path, rules.overwrite)?;
        match &destination {
            Destination::Stdout if kind.is_binary() && std::io::stdout().is_terminal() => {
                return Err(OutputError::Terminal { wanted: kind.word() });
            }
            Destination::File(target) if !rules.overwrite => check(path, target, kind, rules)?,
            _ => {}
        }
        Ok(Self { path: path.to_path_buf(), destination })
    }

    /// Whether the output is standard output.
    pub fn is_stdout(&self) -> bool {
        matches!(self.destination, Destination::Stdout)
    }

    /// Whether the output replaces a file that exists.
    pub fn replaces(&self) -> bool {
        matches!(&self.destination, Destination::File(target) if target.exists())
    }

    /// The name for messages.
    pub fn path(&self) -> &Path {
        if self.is_stdout() { Path::new(STDOUT) } else { &self.path }
    }

    /// Writes the output by `fill`. A regular file is replaced as a whole or stays as it was. A pipe whose reader has
    /// closed it is no error.
    pub fn write<E: From<IoError>>(
        &self,
        fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.destination {
            Destination::File(target) => atomic::replace(target, |file| fill(file)),
            Destination::Stdout => stream(self.path(), std::io::stdout(), fill),
            Destination::Stream => {
                let file = OpenOptions::new().write(true).open(&self.path).map_err(IoError::write(&self.path))?;
                stream(&self.path, file, fill)
            }
        }
    }

    /// Writes the output from bytes.
    pub fn write_bytes(&self, bytes: &[u8]) -> Result<(), IoError> {
        self.write(|to| to.write_all(bytes).map_err(IoError::write(self.path())))
    }
}

/// Returns an error if more than one of `outputs` is standard output.
pub fn check_stdout<'a>(outputs: impl Iterator<Item = &'a Output>) -> Result<(), OutputError> {
    if outputs.filter(|output| output.is_stdout()).count() > 1 { Err(OutputError::Twice) } else { Ok(()) }
}

/// Whether `path` is a name of standard output.
pub fn is_stdout(path: &Path) -> bool {
    STDOUT_NAMES.iter().any(|name| path.as_os_str() == *name)
}

/// Whether the name leads to a pipe, a device or standard output; the ending of such a name need not show the kind of
/// the file.
pub fn is_stream(path: &Path) -> bool {
    is_stdout(path) || std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// Finds the destination of a path.
fn destination(path: &Path, overwrite: bool) -> Result<Destination, OutputError> {
    if is_stdout(path) {
        return Ok(Destination::Stdout);
    }
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(OutputError::Folder { path: path.to_path_buf() }),
        Ok(metadata) if is_disk(&metadata) && !overwrite => Err(OutputError::Disk { path: path.to_path_buf() }),
        Ok(metadata) if !metadata.is_file() => Ok(Destination::Stream),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(IoError::write(path)(error).into()),
        // A link may lead to a file that does not exist yet.
        _ => Ok(resolve_links(path)?),
    }
}

/// Follows the links of a path to its file, which need not exist.
fn resolve_links(path: &Path) -> Result<Destination, IoError> {
    let mut target = path.to_path_buf();
    for _ in 0..LINKS {
        // The links of /proc lead to open files, and their text need not be a path.
        if target.starts_with("/proc") {
            return Ok(Destination::Stream);
        }
        if !std::fs::symlink_metadata(&target).is_ok_and(|metadata| metadata.is_symlink()) {
            return Ok(Destination::File(target));
        }
        let link = std::fs::read_link(&target).map_err(IoError::write(path))?;
        target = target.parent().unwrap_or(Path::new("")).join(link);
    }
    Err(IoError::write(path)(std::io::Error::other("too many links, or links in a circle")))
}

/// Returns an error for an existing file that the user would miss.
fn check(path: &Path, target: &Path, kind: FileKind, rules: Rules) -> Result<(), OutputError> {
    let metadata = match std::fs::metadata(target) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(IoError::write(path)(error).into()),
    };
    let path = path.to_path_buf();
    if rules.inputs.contain(target, &metadata) {
        return Err(OutputError::Input { path });
    }
    if metadata.permissions().readonly() {
        return Err(OutputError::ReadOnly { path });
    }
    let mut head = Vec::new();
    let read = File::open(target).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    read.map_err(IoError::read(&path))?;
    if let Some(found) = kind.foreign(&path, &head) {
        return Err(OutputError::OtherKind { path, wanted: kind.word(), found });
    }
    // A picture beside the inputs is probably one of them, as in `--plot *.png`, unless featurize drew it.
    let foreign = kind.is_picture() && !kind::is_signed(&head) && !head.is_empty();
    if foreign && (rules.keeps_pictures || rules.inputs.are_beside(target)) {
        return Err(OutputError::Picture { path });
    }
    Ok(())
}

impl Inputs {
    /// The inputs of a command that decodes pictures.
    pub fn of_pictures(pictures: impl Iterator<Item = PathBuf>) -> Self {
        Self { pictures: pictures.collect(), ..Self::default() }
    }

    fn ids(&self) -> &InputIds {
        self.ids.get_or_init(|| {
            let all = self.pictures.iter().chain(&self.files);
            let files = all.filter_map(|path| identity(path, &std::fs::metadata(path).ok()?));
            let folders = self.pictures.iter().filter_map(|path| path.parent());
            let folders: HashSet<&Path> = folders.collect();
            InputIds { files: files.collect(), beside: folders.into_iter().filter_map(real).collect() }
        })
    }

    fn contain(&self, target: &Path, metadata: &Metadata) -> bool {
        let inside = |folder: &PathBuf| {
            let folder = std::fs::canonicalize(folder).ok();
            let target = std::fs::canonicalize(target).ok();
            folder.zip(target).is_some_and(|(folder, target)| target.starts_with(folder))
        };
        self.folders.iter().any(inside)
            || identity(target, metadata).is_some_and(|identity| self.ids().files.contains(&identity))
    }

    fn are_beside(&self, target: &Path) -> bool {
        target.parent().and_then(real).is_some_and(|folder| self.ids().beside.contains(&folder))
    }
}

/// Returns a folder's path without links; an empty path is the current folder.
fn real(folder: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).ok()
}

/// Device and number of a file, which are the same under all its names.
#[cfg(unix)]
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(_: &Path, metadata: &Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
type Identity = PathBuf;

#[cfg(not(unix))]
fn identity(path: &Path, _: &Metadata) -> Option<Identity> {
    std::fs::canonicalize(path).ok()
}

#[cfg(unix)]
fn is_disk(metadata: &Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_block_device(&metadata.file_type())
}

#[cfg(not(unix))]
fn is_disk(_: &Metadata) -> bool {
    false
}

/// Writes to a pipe or a device by `fill`, in large pieces.
fn stream<E: From<IoError>>(
    path: &Path,
    to: impl Write + Send,
    fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = BufWriter::with_capacity(1 << 20, Pipe { to, closed: false });
    let filled = fill(&mut buffer).and_then(|()| Ok(buffer.flush().map_err(IoError::write(path))?));
    // After an error the rest of the buffer is not written.
    let (pipe, _) = buffer.into_parts();
    if pipe.closed { Ok(()) } else { filled }
}

/// A writer that notes whether its reader has closed it.
struct Pipe<W> {
    to: W,
    closed: bool,
}

impl<W: Write> Pipe<W> {
    fn note<T>(&mut self, result: std::io::Result<T>) -> std::io::Result<T> {
        self.closed |= result.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
        result
    }
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let result = self.to.write(bytes);
        self.note(result)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let result = self.to.flush();
        self.note(result)
    }
}

#[cfg(test)]
mod tests;
