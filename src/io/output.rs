//! Files that the user names on the command line, as opposed to those of a run's folder.
//!
//! Such a name may be a link to another disk, a pipe, a device, standard output, or a picture that was given by mistake. An [`Output`] is looked at
//! before anything is computed: a file that the command reads, or one of another kind than the one to write, is refused unless the user asks for it.
//! It is then written through its links, whole or not at all, where it is a regular file; what is no regular file is written to as it is.

mod kind;

use std::cell::OnceCell;
use std::collections::HashSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{BufWriter, ErrorKind, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use kind::{Kind, SIGNATURE};

use super::{IoError, atomic};

/// How messages call standard output.
pub const STDOUT: &str = "standard output";
/// Names of standard output: the one of this program and those of systems.
const STDOUT_NAMES: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
/// Most links that lead from a name to its file, as on Linux.
const LINKS: usize = 40;
/// As much of a file as tells its kind.
const HEAD: u64 = 1024;

/// An output cannot be written, or should not.
#[derive(Debug, Error)]
pub enum OutputError {
    #[error(
        "{path} is read by this command, and the output would replace it: name another file, or give `--overwrite`"
    )]
    Input { path: PathBuf },
    #[error(
        "{path} is there already and is no {wanted}: it is {found}; name another file, or give `--overwrite` to replace it"
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
    /// Pictures that are looked at.
    pub pictures: Vec<PathBuf>,
    /// Other files.
    pub files: Vec<PathBuf>,
    /// Folders of which every file may be read: those of runs.
    pub folders: Vec<PathBuf>,
    known: OnceCell<Known>,
}

/// The inputs as the system knows them, whatever they are called.
#[derive(Debug)]
struct Known {
    files: HashSet<Identity>,
    beside: HashSet<PathBuf>,
}

/// How strict an output is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub inputs: &'a Inputs,
    /// The user wants the file replaced whatever it is.
    pub overwrite: bool,
    /// A picture that was not drawn here is kept wherever it lies, not only beside those that are read.
    pub keeps_pictures: bool,
}

impl<'a> Rules<'a> {
    /// Those of most outputs.
    pub fn new(inputs: &'a Inputs, overwrite: bool) -> Self {
        Self { inputs, overwrite, keeps_pictures: false }
    }
}

/// A file that will be written.
#[derive(Debug)]
pub struct Output {
    /// As the user wrote it.
    path: PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Stdout,
    /// A pipe or a device: it is written to where it is.
    Stream,
    /// A regular file, or none yet, behind all links.
    File(PathBuf),
}

impl Output {
    /// The output called `path`, which will hold a file of this `kind`. `-` is standard output.
    pub fn new(path: &Path, kind: Kind, rules: Rules) -> Result<Self, OutputError> {
        let place = place(path, rules.overwrite)?;
        match &place {
            Place::Stdout if kind.is_binary() && std::io::stdout().is_terminal() => {
                return Err(OutputError::Terminal { wanted: kind.word() });
            }
            Place::File(target) if !rules.overwrite => check(path, target, kind, rules)?,
            _ => {}
        }
        Ok(Self { path: path.to_path_buf(), place })
    }

    /// True where it is standard output.
    pub fn is_stdout(&self) -> bool {
        matches!(self.place, Place::Stdout)
    }

    /// True where a file is there that will be replaced.
    pub fn replaces(&self) -> bool {
        matches!(&self.place, Place::File(target) if target.exists())
    }

    /// Its name for messages.
    pub fn path(&self) -> &Path {
        if self.is_stdout() { Path::new(STDOUT) } else { &self.path }
    }

    /// Writes it by `fill`. A regular file is there whole or stays as it was; of a pipe whose reader has left the rest is not wanted.
    pub fn write<E: From<IoError>>(
        &self,
        fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.place {
            Place::File(target) => atomic::replace(target, |file| fill(file)),
            Place::Stdout => stream(self.path(), std::io::stdout(), fill),
            Place::Stream => {
                let file = OpenOptions::new().write(true).open(&self.path).map_err(IoError::write(&self.path))?;
                stream(&self.path, file, fill)
            }
        }
    }

    /// Writes bytes.
    pub fn write_bytes(&self, bytes: &[u8]) -> Result<(), IoError> {
        self.write(|to| to.write_all(bytes).map_err(IoError::write(self.path())))
    }
}

/// Whether no more than one of `outputs` is standard output.
pub fn check_stdout<'a>(outputs: impl Iterator<Item = &'a Output>) -> Result<(), OutputError> {
    if outputs.filter(|output| output.is_stdout()).count() > 1 { Err(OutputError::Twice) } else { Ok(()) }
}

/// True for a name of standard output.
pub fn is_stdout(path: &Path) -> bool {
    STDOUT_NAMES.iter().any(|name| path.as_os_str() == *name)
}

/// True where the name leads to a pipe or a device, or is standard output: such a name need not tell a kind.
pub fn is_stream(path: &Path) -> bool {
    is_stdout(path) || std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// Where the name leads.
fn place(path: &Path, overwrite: bool) -> Result<Place, OutputError> {
    if is_stdout(path) {
        return Ok(Place::Stdout);
    }
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(OutputError::Folder { path: path.to_path_buf() }),
        Ok(metadata) if is_disk(&metadata) && !overwrite => Err(OutputError::Disk { path: path.to_path_buf() }),
        Ok(metadata) if !metadata.is_file() => Ok(Place::Stream),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(IoError::write(path)(error).into()),
        // a link to nothing is written through, too
        _ => Ok(behind_links(path)?),
    }
}

/// The file that the name leads to, which need not be there.
fn behind_links(path: &Path) -> Result<Place, IoError> {
    let mut target = path.to_path_buf();
    for _ in 0..LINKS {
        // the links of /proc lead to open files, whatever their text says
        if target.starts_with("/proc") {
            return Ok(Place::Stream);
        }
        if !std::fs::symlink_metadata(&target).is_ok_and(|metadata| metadata.is_symlink()) {
            return Ok(Place::File(target));
        }
        let link = std::fs::read_link(&target).map_err(IoError::write(path))?;
        target = target.parent().unwrap_or(Path::new("")).join(link);
    }
    Err(IoError::write(path)(std::io::Error::other("too many links, or links in a circle")))
}

/// Refuses what the user would miss.
fn check(path: &Path, target: &Path, kind: Kind, rules: Rules) -> Result<(), OutputError> {
    let metadata = match std::fs::metadata(target) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(IoError::write(path)(error).into()),
    };
    let path = path.to_path_buf();
    if rules.inputs.has(target, &metadata) {
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
    // a picture beside the pictures that are read is one of them, as in `--plot *.png`, unless it was drawn here
    let foreign = kind.is_picture() && !kind::is_signed(&head) && !head.is_empty();
    if foreign && (rules.keeps_pictures || rules.inputs.are_beside(target)) {
        return Err(OutputError::Picture { path });
    }
    Ok(())
}

impl Inputs {
    /// Pictures that a command looks at.
    pub fn of_pictures(pictures: impl Iterator<Item = PathBuf>) -> Self {
        Self { pictures: pictures.collect(), ..Self::default() }
    }

    fn known(&self) -> &Known {
        self.known.get_or_init(|| {
            let all = self.pictures.iter().chain(&self.files);
            let files = all.filter_map(|path| identity(path, &std::fs::metadata(path).ok()?));
            let folders = self.pictures.iter().filter_map(|path| path.parent());
            let folders: HashSet<&Path> = folders.collect();
            Known { files: files.collect(), beside: folders.into_iter().filter_map(real).collect() }
        })
    }

    fn has(&self, target: &Path, metadata: &Metadata) -> bool {
        let inside = |folder: &PathBuf| {
            let folder = std::fs::canonicalize(folder).ok();
            let target = std::fs::canonicalize(target).ok();
            folder.zip(target).is_some_and(|(folder, target)| target.starts_with(folder))
        };
        self.folders.iter().any(inside)
            || identity(target, metadata).is_some_and(|identity| self.known().files.contains(&identity))
    }

    fn are_beside(&self, target: &Path) -> bool {
        target.parent().and_then(real).is_some_and(|folder| self.known().beside.contains(&folder))
    }
}

/// A folder without links; the current one for no name.
fn real(folder: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).ok()
}

/// Device and number of a file: it may have several names.
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

/// Writes to what is no file by `fill`, in large pieces.
fn stream<E: From<IoError>>(
    path: &Path,
    to: impl Write + Send,
    fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = BufWriter::with_capacity(1 << 20, Pipe { to, closed: false });
    let filled = fill(&mut buffer).and_then(|()| Ok(buffer.flush().map_err(IoError::write(path))?));
    // what an error has left in the buffer is not sent
    let (pipe, _) = buffer.into_parts();
    if pipe.closed { Ok(()) } else { filled }
}

/// Notes whether its reader has left.
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
