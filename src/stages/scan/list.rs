//! The files themselves: below a folder, or named by a table.

use std::collections::{BTreeSet, HashSet};
use std::fs::{File, Metadata};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use thiserror::Error;
use walkdir::{DirEntry, WalkDir};

use super::names::{below, escape, relative, unescape};
use super::{Aside, Kind, Split};
use crate::progress::{Interrupted, StageLine, Ui};
use crate::stages::StageId;
use crate::store::{self, RunDir};

/// What is taken for a picture by its name; what it is, its content decides. A name without extension is looked at, too.
const EXTENSIONS: [&str; 26] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "gif", "bmp", "dib", "tif", "tiff", "webp", "pnm", "pbm", "pgm",
    "ppm", "pam", "ico", "qoi", "avif", "heic", "heif", "jxl", "jp2", "tga", "psd",
];
/// Files that systems leave in folders of pictures.
const LITTER: [&str; 3] = ["thumbs.db", "desktop.ini", "ehthumbs.db"];

/// A file that may be a picture, before it has a class and a split.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub path: String,
    pub raw: Option<PathBuf>,
    pub bytes: u64,
    pub modified: u64,
    pub label: Option<Arc<str>>,
    pub split: Option<Split>,
}

/// Candidates and the rest.
#[derive(Debug, Default)]
pub struct Found {
    pub candidates: Vec<Candidate>,
    pub aside: Vec<Aside>,
}

impl Found {
    fn leave(&mut self, path: String, kind: Kind, reason: impl Into<String>) {
        self.aside.push(Aside { path, bytes: None, kind, reason: reason.into() });
    }
}

/// Everything below `root`, the run's own folder left out. A run in `root` itself leaves out the names that it may write, which are in the listing
/// whether they are there or not: the first run and the next one are to list the same.
pub fn walk(root: &Path, follow_links: bool, run_dir: Option<&Path>, line: &StageLine) -> Result<Found, Interrupted> {
    let mut found = Found::default();
    let own = run_dir.and_then(|dir| std::fs::canonicalize(dir).ok());
    let is_own = |entry: &DirEntry| {
        own.is_some() && entry.file_type().is_dir() && std::fs::canonicalize(entry.path()).ok() == own
    };
    let runs_here = own.is_some() && std::fs::canonicalize(root).ok() == own;
    if runs_here {
        RunDir::top().into_iter().for_each(|name| found.leave(name, Kind::RunFolder, "written by this run"));
    }
    let mut entries = WalkDir::new(root).follow_links(follow_links).min_depth(1).into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let (path, _) = relative(error.path().unwrap_or(root), root);
                let (kind, reason) = unreadable(&error);
                found.leave(path, kind, reason);
                continue;
            }
        };
        let (path, raw) = relative(entry.path(), root);
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if entry.file_type().is_dir() {
            if hidden || is_own(&entry) {
                entries.skip_current_dir();
                let (kind, reason) = match hidden {
                    true => (Kind::Hidden, "hidden folder"),
                    false => (Kind::RunFolder, "the folder of this run"),
                };
                found.leave(path + "/", kind, reason);
            }
            continue;
        }
        if runs_here && store::is_own(&path) {
            continue;
        }
        if let Some((kind, rule)) = left_out(&entry.file_name().to_string_lossy()) {
            found.leave(path, kind, rule);
            continue;
        }
        add(&mut found, entry.path(), path, raw);
        if found.candidates.len().is_multiple_of(1000) {
            line.message(format!("{} files", found.candidates.len()));
            line.ui().check()?;
        }
    }
    found.candidates.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// A file that a command was given to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// As the user would write it; bytes that are not UTF-8 are written `\xNN`.
    pub path: String,
    /// Where it lies, or why it cannot be read.
    pub location: Result<PathBuf, String>,
}

/// The pictures that `path` stands for: a folder for those below it by the rules of `scan`, sorted; anything else for itself.
pub fn named(path: &Path) -> Result<Vec<NamedFile>, Interrupted> {
    let shown = escape(path.as_os_str().as_encoded_bytes()).into_owned();
    if !path.is_dir() {
        return Ok(vec![NamedFile { path: shown, location: Ok(path.to_path_buf()) }]);
    }
    let line = Ui::silent().stage(StageId::Scan, None, "files");
    let found = walk(path, false, None, &line)?;
    let below = |relative: &str| match relative {
        "" => shown.clone(),
        relative => format!("{}/{relative}", shown.trim_end_matches('/')),
    };
    let pictures = found.candidates.iter().map(|one| {
        let location = path.join(one.raw.as_deref().unwrap_or(Path::new(&one.path)));
        NamedFile { path: below(&one.path), location: Ok(location) }
    });
    let failed = found.aside.iter().filter(|aside| aside.kind.is_failed());
    let failed = failed.map(|aside| NamedFile { path: below(&aside.path), location: Err(aside.reason.clone()) });
    let mut all: Vec<NamedFile> = pictures.chain(failed).collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(all)
}

/// The rule by which a name is no picture.
fn left_out(name: &str) -> Option<(Kind, String)> {
    let lower = name.to_lowercase();
    if lower.starts_with("._") {
        return Some((Kind::ResourceFork, "macOS resource fork".into()));
    }
    if lower.starts_with('.') {
        return Some((Kind::Hidden, "hidden file".into()));
    }
    if LITTER.contains(&lower.as_str()) {
        return Some((Kind::FileManager, "left by the file manager".into()));
    }
    let extension = Path::new(&lower).extension()?.to_str().unwrap_or_default();
    if EXTENSIONS.contains(&extension) {
        return None;
    }
    Some((Kind::Extension, format!("not a picture by its extension .{extension}")))
}

/// Looks at what the name leads to; links to files are followed always.
fn add(found: &mut Found, location: &Path, path: String, raw: Option<PathBuf>) {
    let (kind, reason) = match std::fs::metadata(location) {
        Ok(metadata) if metadata.is_file() => {
            let (bytes, modified) = (metadata.len(), modified(&metadata));
            return found.candidates.push(Candidate { path, raw, bytes, modified, label: None, split: None });
        }
        Ok(metadata) if metadata.is_dir() => {
            (Kind::FolderLink, "link to a folder; `input.follow_links: true` follows it".to_string())
        }
        Ok(_) => (Kind::NotAFile, "neither a file nor a folder".to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => match location.symlink_metadata() {
            Ok(_) => (Kind::DanglingLink, "a link to nothing".to_string()),
            Err(_) => (Kind::Missing, "there is no such file".to_string()),
        },
        Err(error) => (Kind::Unreadable, format!("cannot be read: {error}")),
    };
    found.leave(path, kind, reason);
}

fn modified(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |time| time.as_nanos() as u64)
}

fn unreadable(error: &walkdir::Error) -> (Kind, String) {
    if let Some(ancestor) = error.loop_ancestor() {
        return (Kind::LinkLoop, format!("link back to {}", ancestor.display()));
    }
    match error.io_error() {
        // what was listed a moment ago is a link whose end is not there
        Some(io) if io.kind() == ErrorKind::NotFound => (Kind::DanglingLink, "a link to nothing".to_string()),
        Some(io) => (Kind::Unreadable, format!("cannot be read: {io}")),
        None => (Kind::Unreadable, error.to_string()),
    }
}

/// Columns of a table of pictures, by their place.
struct Head {
    path: usize,
    label: Option<usize>,
    split: Option<usize>,
}

impl Head {
    fn of(headers: &csv::ByteRecord, place: &str) -> Result<Self, TableError> {
        let names: Vec<String> = headers
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().into())
            .collect();
        let column = |wanted: &str| names.iter().position(|name: &String| name.eq_ignore_ascii_case(wanted));
        let path = column("path")
            .ok_or_else(|| format!("the table {place} has no column `path`; its header is `{}`", names.join(",")))
            .map_err(TableError::NoPath)?;
        Ok(Self { path, label: column("label"), split: column("split") })
    }
}

/// A table does not name pictures.
#[derive(Debug, Error)]
pub enum TableError {
    /// It is a table of something else.
    #[error("{0}")]
    NoPath(String),
    /// What is wrong, and in which line.
    #[error("{0}")]
    Wrong(String),
}

/// The files named by a table with a header and the columns `path` (below `root`), and, if they are there, `label` and `split`.
pub fn from_csv(root: &Path, table: &Path) -> Result<Found, TableError> {
    let place = table.display().to_string();
    let unreadable = |error: csv::Error| TableError::Wrong(format!("cannot read the table {place}: {error}"));
    let mut reader = csv::ReaderBuilder::new().from_path(table).map_err(unreadable)?;
    let head = Head::of(reader.byte_headers().map_err(unreadable)?, &place)?;
    let mut found = Found::default();
    let (mut seen, mut labels) = (HashSet::new(), BTreeSet::new());
    let mut record = csv::ByteRecord::new();
    loop {
        let start = reader.position().clone();
        let wrong = |text: String| TableError::Wrong(format!("{place}, line {}: {text}", line_at(table, &start)));
        if !reader.read_byte_record(&mut record).map_err(|error| wrong(unequal(&error)))? {
            break;
        }
        let (path, location) = place_of(root, record.get(head.path).unwrap_or_default()).map_err(wrong)?;
        let (label, split) = words(&head, &record).map_err(wrong)?;
        if !seen.insert(path.clone()) {
            return Err(wrong(format!("{path} is named a second time")));
        }
        let raw = (location.as_os_str() != path.as_str()).then(|| location.clone());
        let before = found.candidates.len();
        add(&mut found, &root.join(&location), path, raw);
        if let Some(candidate) = found.candidates.get_mut(before) {
            (candidate.label, candidate.split) = (label.map(|label| shared(&mut labels, label)), split);
        }
    }
    found.candidates.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The line of a record that begins at `start`: the reader has not yet read the `\n` of the `\r\n` before it, nor the empty lines.
fn line_at(table: &Path, start: &csv::Position) -> u64 {
    let ends = || -> std::io::Result<u64> {
        let mut file = File::open(table)?;
        file.seek(SeekFrom::Start(start.byte()))?;
        let mut ends = 0;
        for byte in BufReader::new(file).bytes() {
            match byte? {
                b'\n' => ends += 1,
                b'\r' => {}
                _ => break,
            }
        }
        Ok(ends)
    };
    start.line() + ends().unwrap_or(0)
}

fn unequal(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} fields, the header has {expected_len}")
        }
        _ => error.to_string(),
    }
}

/// One copy of each label.
pub fn shared(labels: &mut BTreeSet<Arc<str>>, label: &str) -> Arc<str> {
    match labels.get(label) {
        Some(known) => known.clone(),
        None => {
            let label: Arc<str> = label.into();
            labels.insert(label.clone());
            label
        }
    }
}

/// The path of a table's line as it stands in tables, and as it lies on the disk. It may be written as it lies there, or as the manifest writes
/// it; blanks around it are part of it where there is such a file.
fn place_of(root: &Path, field: &[u8]) -> Result<(String, PathBuf), String> {
    if field.trim_ascii().is_empty() {
        return Err("the path is empty".into());
    }
    let literal = unescape(&escape(field));
    let trimmed = unescape(&escape(field.trim_ascii()));
    let written = std::str::from_utf8(field.trim_ascii()).map(unescape).unwrap_or_else(|_| trimmed.clone());
    let there = |name: &&std::ffi::OsString| root.join(name).symlink_metadata().is_ok();
    let name = match literal == written {
        true => &literal,
        false => [&literal, &trimmed, &written].into_iter().find(there).unwrap_or(&trimmed),
    };
    let inside = below(Path::new(name), root).filter(|inside| !inside.as_os_str().is_empty());
    let inside = inside.ok_or_else(|| {
        format!(
            "{} lies outside of {}; let `input.root` be a folder that holds every picture of the table",
            escape(field.trim_ascii()),
            root.display()
        )
    })?;
    Ok((relative(&inside, Path::new("")).0, inside))
}

/// Label and split of a table's line.
fn words<'a>(head: &Head, record: &'a csv::ByteRecord) -> Result<(Option<&'a str>, Option<Split>), String> {
    let text = |column: Option<usize>, name: &str| -> Result<Option<&'a str>, String> {
        let field = column.and_then(|column| record.get(column)).map(|field| field.trim_ascii());
        let text = field.map(std::str::from_utf8).transpose();
        let text = text.map_err(|_| format!("the {name} is not UTF-8; save the table as UTF-8"))?;
        Ok(text.filter(|text| !text.is_empty()))
    };
    let label = text(head.label, "label")?;
    let split = match (head.split, text(head.split, "split")?) {
        (None, _) => None,
        (_, Some("train")) => Some(Split::Train),
        (_, Some("test")) => Some(Split::Test),
        (_, word) => return Err(format!("the split is `{}`; it is `train` or `test`", word.unwrap_or(""))),
    };
    Ok((label, split))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_what_is_looked_at() {
        for name in ["a.JPG", "a.jpe", "b", "x.Tiff", "c.heic"] {
            assert_eq!(left_out(name), None, "{name}");
        }
        for name in ["._a.jpg", ".hidden.png", "Thumbs.db", "notes.txt", "a.jpg.part"] {
            assert!(left_out(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_folder_stands_for_its_pictures_and_a_file_for_itself() {
        let dir = tempfile::tempdir().expect("folder");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("b/.hidden")).expect("folders");
        for name in ["z.jpg", "b/a.png", "b/.hidden/c.jpg", "b/notes.txt", "a.jpg"] {
            std::fs::write(at(name), b"x").expect("written");
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("nowhere", at("m.jpg")).expect("link");
        let root = format!("{}/", dir.path().display());
        let found = named(Path::new(&root)).expect("not interrupted");
        let names: Vec<&str> = found.iter().filter_map(|one| one.path.strip_prefix(&root)).collect();
        let expected = ["a.jpg", "b/a.png", "m.jpg", "z.jpg"];
        assert_eq!(names, if cfg!(unix) { &expected[..] } else { &["a.jpg", "b/a.png", "z.jpg"] });
        assert!(found.iter().all(|one| one.location.is_err() == one.path.ends_with("m.jpg")), "{found:?}");
        let notes = NamedFile { path: "b/notes.txt".into(), location: Ok("b/notes.txt".into()) };
        assert_eq!(named(Path::new("b/notes.txt")).expect("not interrupted"), [notes]);
    }
}
