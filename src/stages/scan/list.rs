//! The files themselves: below a folder, or named by a table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use walkdir::{DirEntry, WalkDir};

use super::Aside;
use crate::progress::{Interrupted, StageLine, Ui};
use crate::stages::StageId;

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
    pub label: Option<String>,
    /// The word of the table's column `split`.
    pub split: Option<String>,
}

/// Candidates and the rest.
#[derive(Debug, Default)]
pub struct Found {
    pub candidates: Vec<Candidate>,
    pub aside: Vec<Aside>,
}

impl Found {
    fn leave(&mut self, path: String, bytes: Option<u64>, failed: bool, reason: impl Into<String>) {
        self.aside.push(Aside { path, bytes, failed, reason: reason.into() });
    }
}

/// Everything below `root`, the run's own folder left out.
pub fn walk(root: &Path, follow_links: bool, run_dir: Option<&Path>, line: &StageLine) -> Result<Found, Interrupted> {
    let mut found = Found::default();
    let own = run_dir.and_then(|dir| std::fs::canonicalize(dir).ok());
    let is_own = |entry: &DirEntry| {
        own.is_some() && entry.file_type().is_dir() && std::fs::canonicalize(entry.path()).ok() == own
    };
    let mut entries = WalkDir::new(root).follow_links(follow_links).min_depth(1).into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let (path, _) = relative(error.path().unwrap_or(root), root);
                found.leave(path, None, true, unreadable(&error));
                continue;
            }
        };
        let (path, raw) = relative(entry.path(), root);
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if entry.file_type().is_dir() {
            if hidden || is_own(&entry) {
                entries.skip_current_dir();
                let reason = if hidden { "hidden folder" } else { "the folder of this run" };
                found.leave(path + "/", None, false, reason);
            }
            continue;
        }
        if let Some(rule) = left_out(&entry.file_name().to_string_lossy()) {
            found.leave(path, None, false, rule);
            continue;
        }
        add(&mut found, entry.path(), path, raw);
        if found.candidates.len().is_multiple_of(1000) {
            line.message(format!("{} files", found.candidates.len()));
            line.ui().check()?;
        }
    }
    found.candidates.sort_by(|a, b| a.path.cmp(&b.path));
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
    let shown = escape(path.as_os_str().as_encoded_bytes());
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
    let failed = found.aside.iter().filter(|aside| aside.failed);
    let failed = failed.map(|aside| NamedFile { path: below(&aside.path), location: Err(aside.reason.clone()) });
    let mut all: Vec<NamedFile> = pictures.chain(failed).collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(all)
}

/// The rule by which a name is no picture.
fn left_out(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    if lower.starts_with("._") {
        return Some("macOS resource fork".into());
    }
    if lower.starts_with('.') {
        return Some("hidden file".into());
    }
    if LITTER.contains(&lower.as_str()) {
        return Some("left by the file manager".into());
    }
    let extension = Path::new(&lower).extension()?.to_string_lossy().into_owned();
    if EXTENSIONS.contains(&extension.as_str()) {
        return None;
    }
    Some(format!("not a picture by its extension .{extension}"))
}

/// Looks at what the name leads to; links to files are followed always.
fn add(found: &mut Found, location: &Path, path: String, raw: Option<PathBuf>) {
    let metadata = match std::fs::metadata(location) {
        Ok(metadata) => metadata,
        Err(error) => return found.leave(path, None, true, format!("cannot be read: {error}")),
    };
    if metadata.is_dir() {
        return found.leave(path, None, false, "link to a folder; `input.follow_links: true` follows it");
    }
    if !metadata.is_file() {
        return found.leave(path, None, false, "neither a file nor a folder");
    }
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = since.map_or(0, |time| time.as_nanos() as u64);
    found.candidates.push(Candidate { path, raw, bytes: metadata.len(), modified, label: None, split: None });
}

fn unreadable(error: &walkdir::Error) -> String {
    if let Some(ancestor) = error.loop_ancestor() {
        return format!("link back to {}", ancestor.display());
    }
    match error.io_error() {
        Some(io) => format!("cannot be read: {io}"),
        None => error.to_string(),
    }
}

/// The path below the root with `/`, and the true one where it is not UTF-8.
fn relative(path: &Path, root: &Path) -> (String, Option<PathBuf>) {
    let path = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = path.components().map(|part| part.as_os_str()).collect();
    let clean: Option<Vec<&str>> = parts.iter().map(|part| part.to_str()).collect();
    match clean {
        Some(parts) => (parts.join("/"), None),
        None => {
            let parts: Vec<String> = parts.iter().map(|part| escape(part.as_encoded_bytes())).collect();
            (parts.join("/"), Some(path.to_path_buf()))
        }
    }
}

fn escape(bytes: &[u8]) -> String {
    let chunks = bytes.utf8_chunks();
    chunks
        .flat_map(|chunk| {
            let invalid = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
            [chunk.valid().to_string(), invalid]
        })
        .collect()
}

/// The files named by a table with a header and the columns `path` (below `root`), and, if they are there, `label` and `split`.
pub fn from_csv(root: &Path, table: &Path) -> Result<Found, String> {
    let place = table.display();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(table);
    let reader = reader.as_mut().map_err(|error| format!("cannot read the table {place}: {error}"))?;
    let headers = reader.headers().map_err(|error| format!("cannot read the table {place}: {error}"))?.clone();
    let column =
        |name: &str| headers.iter().position(|header| header.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
    let Some(path_column) = column("path") else {
        let have: Vec<&str> = headers.iter().collect();
        return Err(format!("the table {place} has no column `path`; its header is `{}`", have.join(",")));
    };
    let (label_column, split_column) = (column("label"), column("split"));
    let mut found = Found::default();
    let mut seen = BTreeSet::new();
    for record in reader.records() {
        let record = record.map_err(|error| format!("{place}: {error}"))?;
        let number = record.position().map_or(0, csv::Position::line);
        let field = |column: Option<usize>| column.and_then(|i| record.get(i)).filter(|text| !text.is_empty());
        let Some(path) = field(Some(path_column)) else {
            return Err(format!("{place}, line {number}: the path is empty"));
        };
        let (path, _) = relative(Path::new(path), root);
        if !seen.insert(path.clone()) {
            return Err(format!("{place}, line {number}: {path} is named a second time"));
        }
        let (label, split) = (field(label_column), field(split_column));
        if split_column.is_some() && !split.is_some_and(|word| super::Split::WORDS.contains(&word)) {
            let word = split.unwrap_or("");
            return Err(format!("{place}, line {number}: the split is `{word}`; it is `train` or `test`"));
        }
        let before = found.candidates.len();
        add(&mut found, &root.join(&path), path, None);
        if let Some(candidate) = found.candidates.get_mut(before) {
            (candidate.label, candidate.split) = (label.map(str::to_string), split.map(str::to_string));
        }
    }
    found.candidates.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
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

    #[test]
    fn bytes_that_are_not_text_are_escaped() {
        assert_eq!(escape(b"caf\xe9 \xc3\xa9.jpg"), "caf\\xe9 é.jpg");
    }
}
