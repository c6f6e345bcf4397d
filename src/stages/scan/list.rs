//! Lists files below a folder, or files named by the user.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use featurize_remote::Address;
use walkdir::{DirEntry, WalkDir};

use super::contents::{modified, stamp};
use super::members::Members;
use super::names::{escape, relative};
use super::remote::{self, RemoteError};
use super::table::all_of_csv;
use super::{Aside, Kind, Split};
use crate::pictures::source::archive::Member;
use crate::pictures::source::remote::is_url;
use crate::pictures::source::{Failure, LOOP, is_loop};
use crate::progress::{Interrupted, Ui};
use crate::store::{self, RunDir};

/// The extensions of files that are listed as pictures before they are read. Files without extension are listed, too.
const EXTENSIONS: [&str; 33] = [
    "jpg", "jpeg", "jpe", "jfif", "jfi", "jif", "pjp", "pjpeg", "mpo", "png", "apng", "gif", "bmp", "dib", "tif",
    "tiff", "webp", "pnm", "pbm", "pgm", "ppm", "pam", "ico", "qoi", "avif", "avifs", "heic", "heif", "hif", "jxl",
    "jp2", "tga", "psd",
];
/// Files that operating systems leave in folders of pictures.
const LITTER: [&str; 3] = ["thumbs.db", "desktop.ini", "ehthumbs.db"];

/// Folders that file managers, network storage, archives and file systems leave among pictures: trash, thumbnails,
/// recovered files.
const LITTER_FOLDERS: [&str; 15] = [
    "@eadir",
    "#recycle",
    "@recycle",
    "@recently-snapshot",
    "#snapshot",
    "@tmp",
    "@sharebin",
    "@__thumb",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "lost.dir",
    "__macosx",
    "network trash folder",
    "temporary items",
];

/// A file that may be a picture, before it has a class and a split.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub path: String,
    pub raw: Option<PathBuf>,
    /// Its position in an archive; none for a plain file.
    pub member: Option<Box<Member>>,
    /// The index in `path` at which the path inside the archive begins.
    pub inside: usize,
    pub bytes: u64,
    pub modified: u64,
    pub stamp: u64,
    pub label: Option<Arc<str>>,
    pub split: Option<Split>,
}

/// Candidates and all other files.
#[derive(Debug, Default)]
pub struct Found {
    pub candidates: Vec<Candidate>,
    pub aside: Vec<Aside>,
}

impl Found {
    /// The number of files.
    pub(super) fn len(&self) -> usize {
        self.candidates.len() + self.aside.len()
    }

    /// Sorts both lists by path.
    pub(super) fn sort(&mut self) {
        self.candidates.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        self.aside.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    }

    pub(super) fn leave(&mut self, path: String, kind: Kind, reason: impl Into<String>) {
        self.aside.push(Aside { path, bytes: None, kind, reason: reason.into() });
    }
}

/// Lists everything below `root` except the run's own folder. A run in `root` itself leaves out the names that it may
/// write, whether or not they exist yet, so that the first run and the next one list the same files. `tick` gets the
/// files found so far after each file, and may take them.
pub fn walk<E>(
    root: &Path,
    follow_links: bool,
    run_dir: Option<&Path>,
    mut tick: impl FnMut(&mut Found) -> Result<(), E>,
) -> Result<Found, E> {
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
                let (path, kind, reason) = unreadable(&error, root);
                found.leave(path, kind, reason);
                continue;
            }
        };
        let (path, raw) = relative(entry.path(), root);
        let name = entry.file_name().to_string_lossy();
        if entry.file_type().is_dir() {
            let rule = folder_left_out(&name);
            if let Some((kind, reason)) = rule.or_else(|| is_own(&entry).then_some((Kind::RunFolder, OWN))) {
                entries.skip_current_dir();
                found.leave(path + "/", kind, reason);
            }
            continue;
        }
        if runs_here && store::is_own(&path) {
            continue;
        }
        match left_out(&name) {
            Some((kind, rule)) => found.leave(path, kind, rule),
            None => add(&mut found, entry.path(), path, raw),
        }
        tick(&mut found)?;
    }
    found.sort();
    Ok(found)
}

const OWN: &str = "the folder of this run";

/// Returns the rule by which a folder is skipped.
pub(crate) fn folder_left_out(name: &str) -> Option<(Kind, &'static str)> {
    if name.starts_with('.') {
        return Some((Kind::Hidden, "hidden folder"));
    }
    let litter = LITTER_FOLDERS.contains(&name.to_lowercase().as_str());
    litter.then_some((Kind::FileManager, "folder left by a file manager or a system"))
}

/// A file that was an argument of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The path as the user would write it; bytes that are not UTF-8 are written `\xNN`.
    pub path: String,
    /// Its path on disk, or the reason why it cannot be read. The path of a member begins with that of its archive, as
    /// if the archive were a folder.
    pub location: Result<PathBuf, Failure>,
    /// Its position in an archive; none for a plain file.
    pub member: Option<Box<Member>>,
}

impl NamedFile {
    /// A plain file, or the reason why it cannot be read.
    pub fn new(path: String, location: Result<PathBuf, Failure>) -> Self {
        Self { path, location, member: None }
    }
}

/// Lists everything below a folder by the rules of `scan`.
pub fn met(folder: &Path) -> Result<Found, Interrupted> {
    walk(folder, false, None, |_| Ok(()))
}

/// Lists the pictures of an argument `path`: for a folder, also of a bucket, those below it by the rules of `scan`,
/// sorted; for an archive, a table or a folder in one, those in it; for anything else, itself.
pub fn named(path: &Path, members: &mut Members) -> Result<Vec<NamedFile>, Interrupted> {
    let shown = escape(path.as_os_str().as_encoded_bytes()).into_owned();
    let itself = || vec![NamedFile::new(shown.clone(), Ok(path.to_path_buf()))];
    let found = match Address::of(path) {
        Some(Address::Object { key, .. }) if !has_ending(key.as_ref()) => {
            remote::bucket(path, &Ui::silent().stop(), |_| Ok(()))
        }
        Some(_) => return Ok(itself()),
        None if path.is_dir() => met(path).map_err(RemoteError::from),
        None if is_table(path) && path.is_file() => {
            let folder = path.parent().unwrap_or(Path::new(""));
            return Ok(match all_of_csv(folder, path) {
                Ok(found) => below(folder, found),
                Err(error) => vec![NamedFile::new(shown, Err(Failure::unreadable(error)))],
            });
        }
        None => return Ok(members.at(path)?.unwrap_or_else(itself)),
    };
    match found {
        Ok(found) => Ok(below(path, found)),
        Err(RemoteError::Interrupted(interrupted)) => Err(interrupted),
        Err(error) => Ok(vec![NamedFile::new(shown, Err(Failure::unreadable(error)))]),
    }
}

/// Whether a name is that of a table of pictures.
pub(crate) fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv") || ending.eq_ignore_ascii_case("tsv"))
}

/// The files found below a folder, sorted; the location of a URL is the URL.
fn below(folder: &Path, found: Found) -> Vec<NamedFile> {
    let shown = escape(folder.as_os_str().as_encoded_bytes()).into_owned();
    let name = |path: &str| match path {
        url if is_url(url) => url.to_string(),
        path if shown.is_empty() => path.to_string(),
        "" => shown.clone(),
        path => format!("{}/{path}", shown.trim_end_matches('/')),
    };
    let pictures = found.candidates.iter().map(|one| {
        let location = match is_url(&one.path) {
            true => PathBuf::from(&one.path),
            false => folder.join(one.raw.as_deref().unwrap_or(Path::new(&one.path))),
        };
        NamedFile::new(name(&one.path), Ok(location))
    });
    let failed = found.aside.iter().filter(|aside| aside.kind.is_failed());
    let why = |aside: &Aside| Failure::new(aside.kind.word(), aside.reason.clone());
    let failed = failed.map(|aside| NamedFile::new(name(&aside.path), Err(why(aside))));
    let mut all: Vec<NamedFile> = pictures.chain(failed).collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

/// Returns the rule by which a file with this name is left out.
pub(crate) fn left_out(name: &str) -> Option<(Kind, String)> {
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
    if has_ending(lower.as_ref()) {
        return None;
    }
    Some((Kind::Extension, format!("not a picture by its extension .{extension}")))
}

/// Whether a name has the extension of a picture.
pub(super) fn has_ending(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().map(OsStr::to_ascii_lowercase);
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|one| extension == *one))
}

/// Adds the file at `location`; links to files are always followed.
pub(super) fn add(found: &mut Found, location: &Path, path: String, raw: Option<PathBuf>) {
    let (kind, reason) = match std::fs::metadata(location) {
        Ok(metadata) if metadata.is_file() => {
            let (bytes, modified, stamp) = (metadata.len(), modified(&metadata), stamp(&metadata));
            let (member, inside, label, split) = Default::default();
            return found.candidates.push(Candidate {
                path,
                raw,
                member,
                inside,
                bytes,
                modified,
                stamp,
                label,
                split,
            });
        }
        Ok(metadata) if metadata.is_dir() => {
            (Kind::FolderLink, "link to a folder; `input.follow_links: true` follows it".to_string())
        }
        Ok(_) => (Kind::NotAFile, "a FIFO, a socket or a device".to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => match location.symlink_metadata() {
            Ok(_) => (Kind::DanglingLink, "a link to nothing".to_string()),
            Err(_) => (Kind::Missing, "there is no such file".to_string()),
        },
        Err(error) if is_loop(&error) => (Kind::LinkLoop, LOOP.to_string()),
        Err(error) => (Kind::Unreadable, format!("cannot be read: {error}")),
    };
    found.leave(path, kind, reason);
}

/// Describes an entry that cannot be read; the path of a folder ends with `/`.
fn unreadable(error: &walkdir::Error, root: &Path) -> (String, Kind, String) {
    let whole = error.path().unwrap_or(root);
    let (path, _) = relative(whole, root);
    if let Some(ancestor) = error.loop_ancestor() {
        return (path, Kind::LinkLoop, format!("link back to {}", ancestor.display()));
    }
    match error.io_error() {
        // an entry that was listed but does not exist is a link without a target
        Some(io) if io.kind() == ErrorKind::NotFound => (path, Kind::DanglingLink, "a link to nothing".to_string()),
        Some(io) if is_loop(io) => (path, Kind::LinkLoop, LOOP.to_string()),
        // an entry that is not a link is a folder that cannot be listed
        Some(io) if whole.is_dir() || !whole.is_symlink() => {
            (path + "/", Kind::Unreadable, format!("the folder cannot be read: {io}"))
        }
        Some(io) => (path, Kind::Unreadable, format!("cannot be read: {io}")),
        None => (path, Kind::Unreadable, error.to_string()),
    }
}

/// Returns the shared copy of a label, which all pictures of the class use.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_what_is_looked_at() {
        for name in ["a.JPG", "a.jpe", "a.pjp", "a.PJPEG", "a.jif", "b", "x.Tiff", "c.heic"] {
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
        let found = named(Path::new(&root), &mut Members::default()).expect("not interrupted");
        let names: Vec<&str> = found.iter().filter_map(|one| one.path.strip_prefix(&root)).collect();
        let expected = ["a.jpg", "b/a.png", "m.jpg", "z.jpg"];
        assert_eq!(names, if cfg!(unix) { &expected[..] } else { &["a.jpg", "b/a.png", "z.jpg"] });
        let kind = |one: &NamedFile| one.location.as_ref().err().map(|failure| failure.kind);
        let expected = |one: &NamedFile| one.path.ends_with("m.jpg").then_some("dangling_link");
        assert!(found.iter().all(|one| kind(one) == expected(one)), "{found:?}");
        let notes = NamedFile::new("b/notes.txt".into(), Ok("b/notes.txt".into()));
        assert_eq!(named(Path::new("b/notes.txt"), &mut Members::default()).expect("not interrupted"), [notes]);
    }
}
