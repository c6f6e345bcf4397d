//! Finds the pictures that a table names.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::elsewhere::Elsewhere;
use super::list::{Candidate, Found, add, shared};
use super::names::{below, escape, relative, unescape};
use super::remote::candidate;
use super::text::Text;
use super::{Aside, Kind, Role, Split};
use crate::config::{Columns, suggest};
use crate::pictures::source::remote::{Facts, is_url};

/// The longest path or label, in bytes.
const FIELD: usize = 4096;

/// A table does not give a list of pictures.
#[derive(Debug, Error)]
pub enum TableError {
    /// It has no column of this name.
    #[error("{message}")]
    NoColumn {
        /// The YAML key that names the column, if one does.
        key: &'static str,
        message: String,
    },
    /// The error, with its line.
    #[error("{0}")]
    Wrong(String),
}

impl TableError {
    /// The key of the YAML that the error belongs to.
    pub fn key(&self) -> &'static str {
        match self {
            Self::NoColumn { key, .. } => key,
            Self::Wrong(_) => "input.split.csv",
        }
    }
}

/// The indices of the columns.
struct Head {
    path: usize,
    label: Option<usize>,
    split: Option<usize>,
}

impl Head {
    /// Finds the columns by the configured names, else by `path`, `label` and `split`, of which the last two may be
    /// missing.
    fn of(names: &[String], columns: &Columns, table: &Path) -> Result<Self, TableError> {
        let column = |wanted: &str| {
            let exact = names.iter().position(|name| name == wanted);
            exact.or_else(|| names.iter().position(|name| name.eq_ignore_ascii_case(wanted)))
        };
        let header = names.join(",");
        let absent = |key: &'static str, wanted: &str| {
            let meant = suggest(wanted, names.iter().map(String::as_str));
            let meant = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
            let message =
                format!("the table {} has no column `{wanted}`; its header is `{header}`{meant}", table.display());
            TableError::NoColumn { key, message }
        };
        let named = |key: &'static str, wanted: &Option<String>, default: &str| match wanted {
            Some(wanted) => column(wanted).map(Some).ok_or_else(|| absent(key, wanted)),
            None => Ok(column(default)),
        };
        let path = named("input.split.path", &columns.path, "path")?.or_else(|| column("url")).ok_or_else(|| {
            let message = format!(
                "the table {} has no column `path` or `url`; its header is `{header}`; name the columns, `{{csv: …, \
                 path: id, label: breed}}`, or rename them",
                table.display()
            );
            TableError::NoColumn { key: "input.split.csv", message }
        })?;
        let label = named("input.split.label", &columns.label, "label")?;
        let split = named("input.split.split", &columns.split, "split")?;
        Ok(Self { path, label, split })
    }
}

/// A line of the table.
struct Row {
    start: csv::Position,
    /// The path below the root.
    inside: PathBuf,
    label: Option<Arc<str>>,
    split: Part,
}

/// The names of the table's columns.
pub fn header(table: &Path) -> Result<Vec<String>, TableError> {
    opened(table).map(|(_, names)| names)
}

/// Opens a table and reads the names of its columns.
fn opened(table: &Path) -> Result<(Text<'_>, Vec<String>), TableError> {
    let place = table.display();
    let unreadable = |error: std::io::Error| TableError::Wrong(format!("cannot read the table {place}: {error}"));
    let mut text = Text::open(table).map_err(unreadable)?;
    let start = text.position();
    let names = text.header().map_err(|reason| at_line(table, &text, &start, &reason))?;
    Ok((text, names))
}

/// Finds the files in a table with a header. Paths are relative to `root`; a name without extension stands for the
/// picture of that name. If no path of the table leads to a file, the files are searched below the table's own folder,
/// and names without folder in all folders of the root.
pub fn from_csv(root: &Path, table: &Path, columns: &Columns) -> Result<Found, TableError> {
    let (text, names) = opened(table)?;
    let head = Head::of(&names, columns, table)?;
    found_by(root, table, (text, head))
}

/// Finds all files in a table with a header, whatever their splits.
pub fn all_of_csv(root: &Path, table: &Path) -> Result<Found, TableError> {
    let (text, names) = opened(table)?;
    let head = Head { split: None, ..Head::of(&names, &Columns::default(), table)? };
    found_by(root, table, (text, head))
}

fn found_by<'a>(root: &Path, table: &'a Path, read: (Text<'a>, Head)) -> Result<Found, TableError> {
    let mut rows = Rows::new(root, table);
    let text = each_line(table, read, |start, field, words| rows.take(start, field, words))?;
    rows.finish().map_err(|(start, reason)| at_line(table, &text, &start, &reason))
}

/// Calls `take` with every line of a table: its position, its path, its label and its split. Returns the table, for the
/// line numbers of later errors.
fn each_line<'a>(
    table: &'a Path,
    (mut text, head): (Text<'a>, Head),
    mut take: impl FnMut(csv::Position, &[u8], Result<Words, String>) -> Result<(), String>,
) -> Result<Text<'a>, TableError> {
    let has_test = head.split.is_some_and(|column| names_a_test(table, column));
    let mut record = csv::ByteRecord::new();
    loop {
        let start = text.position();
        let taken = match text.read(&mut record) {
            Ok(true) => take(start.clone(), record.get(head.path).unwrap_or_default(), words(&head, &record, has_test)),
            Ok(false) => return Ok(text),
            Err(reason) => Err(reason),
        };
        taken.map_err(|reason| at_line(table, &text, &start, &reason))?;
    }
}

/// Whether a line has a word for the test split in that column. Errors in the table are reported later, when its lines
/// are read.
fn names_a_test(table: &Path, column: usize) -> bool {
    let Ok((mut text, _)) = opened(table) else { return false };
    let mut record = csv::ByteRecord::new();
    while let Ok(true) = text.read(&mut record) {
        if record.get(column).and_then(|word| Role::of(std::str::from_utf8(word).ok()?)) == Some(Role::Test) {
            return true;
        }
    }
    false
}

/// Keeps those members of archives that a table names, by their keys, or by their paths inside an archive if only one
/// archive has such a path.
pub fn among(found: Found, table: &Path, columns: &Columns) -> Result<Found, TableError> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, candidate) in found.candidates.iter().enumerate() {
        places.entry(&candidate.path).or_default().push(i);
        if candidate.inside > 0 {
            places.entry(&candidate.path[candidate.inside..]).or_default().push(i);
        }
    }
    let (mut labels, mut named, mut missing) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
    let (text, names) = opened(table)?;
    let head = Head::of(&names, columns, table)?;
    each_line(table, (text, head), |_, field, words| {
        let (label, split) = words?;
        let field = std::str::from_utf8(field.trim_ascii()).map_err(|_| "the path is not UTF-8")?;
        let path = field.strip_prefix("./").unwrap_or(field);
        match places.get(path).map_or(&[][..], Vec::as_slice) {
            [] => missing.push(path.to_string()),
            [one] => {
                let words = (label.map(|label| shared(&mut labels, label)), split);
                if named.insert(*one, words).is_some() {
                    return Err(format!("{path} is named a second time"));
                }
            }
            [..] => return Err(format!("{path} is in several archives; write `archive/{path}`")),
        }
        Ok(())
    })?;
    let mut found = found;
    let (mut number, mut left) = (0, Vec::new());
    // pictures that are not in the table are left out, as in a folder
    found.candidates.retain_mut(|candidate| {
        number += 1;
        let Some((label, split)) = named.remove(&(number - 1)) else { return false };
        match split {
            Ok(split) => (candidate.label, candidate.split) = (label, split),
            Err(reason) => left.push(left_out(candidate, reason)),
        }
        split.is_ok()
    });
    found.aside.extend(left);
    missing.into_iter().for_each(|path| found.leave(path, Kind::Missing, "there is no such member"));
    Ok(found)
}

fn at_line(table: &Path, text: &Text, start: &csv::Position, reason: &str) -> TableError {
    TableError::Wrong(format!("{}, line {}: {reason}", table.display(), text.line_at(start)))
}

/// The split of a line, if the table has one, or the reason why its picture is left out.
type Part = Result<Option<Split>, &'static str>;

/// The label and the split of a line.
type Words<'a> = (Option<&'a str>, Part);

fn left_out(candidate: &Candidate, reason: &str) -> Aside {
    let bytes = (!is_url(&candidate.path)).then_some(candidate.bytes);
    Aside { path: candidate.path.clone(), bytes, kind: Kind::Split, reason: reason.to_string() }
}

/// The lines of a table while their files are searched.
struct Rows<'a> {
    root: &'a Path,
    /// The table's folder.
    folder: PathBuf,
    found: Found,
    missed: Vec<Row>,
    seen: HashSet<String>,
    labels: BTreeSet<Arc<str>>,
    elsewhere: Elsewhere,
}

impl<'a> Rows<'a> {
    fn new(root: &'a Path, table: &Path) -> Self {
        let folder = table.parent().unwrap_or(Path::new("")).to_path_buf();
        let elsewhere = Elsewhere::new(root);
        let (found, missed, seen, labels) = Default::default();
        Self { root, folder, found, missed, seen, labels, elsewhere }
    }

    fn take(&mut self, start: csv::Position, field: &[u8], words: Result<Words, String>) -> Result<(), String> {
        if let Some(url) = std::str::from_utf8(field.trim_ascii()).ok().filter(|text| is_url(text)) {
            let (label, split) = words?;
            let label = label.map(|label| shared(&mut self.labels, label));
            self.found.candidates.push(candidate(url, Facts::default()));
            self.tell(label, split);
            return self.once(url.to_string());
        }
        let inside = self.place_of(field)?;
        let (label, split) = words?;
        let label = label.map(|label| shared(&mut self.labels, label));
        let row = Row { start, inside, label, split };
        let Some(mut row) = self.add(row)? else { return Ok(()) };
        match self.elsewhere.beside(&row.inside)? {
            Some(inside) => {
                row.inside = inside;
                self.add(row).map(drop)
            }
            None => {
                self.missed.push(row);
                Ok(())
            }
        }
    }

    /// Adds the file of a line; returns the line where there is no such file.
    fn add(&mut self, row: Row) -> Result<Option<Row>, String> {
        let (path, raw) = relative(&row.inside, Path::new(""));
        let before = self.found.candidates.len();
        add(&mut self.found, &self.root.join(&row.inside), path.clone(), raw);
        if self.found.candidates.len() == before
            && self.found.aside.pop_if(|aside| aside.kind == Kind::Missing).is_some()
        {
            return Ok(Some(row));
        }
        if self.found.candidates.len() > before {
            self.tell(row.label, row.split);
        }
        self.once(path).map(|()| None)
    }

    /// Gives the picture that was added last its label and split, or leaves it out.
    fn tell(&mut self, label: Option<Arc<str>>, split: Part) {
        let Some(mut candidate) = self.found.candidates.pop() else { return };
        match split {
            Ok(split) => {
                (candidate.label, candidate.split) = (label, split);
                self.found.candidates.push(candidate);
            }
            Err(reason) => self.found.aside.push(left_out(&candidate, reason)),
        }
    }

    fn once(&mut self, path: String) -> Result<(), String> {
        let text = format!("{path} is named a second time");
        if self.seen.insert(path) { Ok(()) } else { Err(text) }
    }

    /// Searches the files that are not at their paths; an error names the line that begins at the position.
    fn finish(mut self) -> Result<Found, (csv::Position, String)> {
        // a picture that is left out by its split exists, too
        let there = |aside: &Aside| aside.kind == Kind::Split;
        let none_there = self.found.candidates.is_empty() && !self.found.aside.iter().any(there);
        for mut row in std::mem::take(&mut self.missed) {
            let start = row.start.clone();
            let wrong = |reason| (start.clone(), reason);
            if none_there && let Some(inside) = self.another_way(&row.inside).map_err(wrong)? {
                row.inside = inside;
                self.add(row).map_err(wrong)?;
                continue;
            }
            let path = relative(&row.inside, Path::new("")).0;
            let reason = self.elsewhere.nearly(&row.inside).unwrap_or("there is no such file");
            self.once(path.clone()).map_err(wrong)?;
            self.found.leave(path, Kind::Missing, reason);
        }
        self.found.candidates.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(self.found)
    }

    /// Finds the file of a path relative to the table's folder, or of a name in any folder.
    fn another_way(&mut self, inside: &Path) -> Result<Option<PathBuf>, String> {
        if let Some(inside) = from_folder(self.root, &self.folder.join(inside)) {
            if self.root.join(&inside).symlink_metadata().is_ok() {
                return Ok(Some(inside));
            }
            if let Some(found) = self.elsewhere.beside(&inside)? {
                return Ok(Some(found));
            }
        }
        self.elsewhere.anywhere(inside)
    }

    /// Returns the path of a line below the root. It may be written as on disk, as in the manifest, or with backslashes
    /// for slashes; surrounding spaces belong to the path if such a file exists.
    fn place_of(&self, field: &[u8]) -> Result<PathBuf, String> {
        let trimmed = field.trim_ascii();
        if trimmed.is_empty() {
            return Err("the path is empty".into());
        }
        if trimmed.len() > FIELD {
            return Err(format!("the path has {} bytes; it may have {FIELD}", trimmed.len()));
        }
        let name = |bytes: &[u8]| unescape(&escape(bytes));
        let (literal, plain) = (name(field), name(trimmed));
        let written = std::str::from_utf8(trimmed).map(unescape).unwrap_or_else(|_| plain.clone());
        let slashed: Vec<u8> = trimmed.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect();
        let slashed = name(&slashed);
        let there = |name: &&OsString| self.root.join(name).symlink_metadata().is_ok();
        let name = match literal == written && literal == slashed {
            true => &literal,
            false => {
                let otherwise = if written == plain { &slashed } else { &plain };
                [&literal, &plain, &written, &slashed].into_iter().find(there).unwrap_or(otherwise)
            }
        };
        let inside = below(Path::new(name), self.root).or_else(|| from_folder(self.root, &self.folder.join(name)));
        inside.filter(|inside| !inside.as_os_str().is_empty()).ok_or_else(|| {
            format!(
                "{} lies outside of {}; let `input.root` be a folder that holds every picture of the table",
                escape(trimmed),
                self.root.display()
            )
        })
    }
}

/// Makes a path relative to the root; none where it leads out of it.
fn from_folder(root: &Path, path: &Path) -> Option<PathBuf> {
    let folded = |path: &Path| below(&std::path::absolute(path).ok()?, Path::new("/"));
    folded(path)?.strip_prefix(folded(root)?).ok().map(Path::to_path_buf)
}

/// Reads the label and the split of a line.
fn words<'a>(head: &Head, record: &'a csv::ByteRecord, has_test: bool) -> Result<Words<'a>, String> {
    let text = |column: Option<usize>, name: &str| -> Result<Option<&'a str>, String> {
        let field = column.and_then(|column| record.get(column)).map(|field| field.trim_ascii());
        let text = field.map(std::str::from_utf8).transpose();
        let text = text.map_err(|_| format!("the {name} is not UTF-8; save the table as UTF-8"))?;
        match text.map_or(0, str::len) {
            0 => Ok(None),
            1..=FIELD => Ok(text),
            bytes => Err(format!("the {name} has {bytes} bytes; it may have {FIELD}")),
        }
    };
    let label = text(head.label, "label")?;
    let word = text(head.split, "split")?.unwrap_or_default();
    let split = match (head.split, Role::of(word)) {
        (None, _) => Ok(None),
        (_, Some(role)) => role.split(has_test).map(Some),
        (_, None) => return Err(format!("the split is `{word}`; it is `train`, `validation` or `test`")),
    };
    Ok((label, split))
}
