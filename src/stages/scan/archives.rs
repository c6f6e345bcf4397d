//! Pictures in archives and tables: finds the archives that `input.root` names, and lists their pictures. A path inside
//! an archive is treated like a path in a folder.

use std::path::{Path, PathBuf};

use featurize_remote::Address;
use globset::GlobBuilder;
use walkdir::WalkDir;

use super::list::{Candidate, Found, NamedFile, folder_left_out, left_out};
use super::names::relative;
use super::{Aside, Kind, Role, Split};
use crate::config::{self, Input, PictureColumns};
use crate::pictures::source::Failure;
use crate::pictures::source::archive::{self, Form, ListError, Met};
use crate::progress::{Interrupted, StageLine, Ui};

/// The kind of source that `input.root` names.
#[derive(Debug, PartialEq, Eq)]
pub enum Root {
    /// Files in a folder.
    Folder,
    /// Objects in a bucket.
    Bucket,
    /// Archives or tables.
    Archives(Vec<File>),
}

/// An archive or a table.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// The prefix of its pictures' keys: its path below the root's folder.
    key: String,
    path: PathBuf,
    form: Form,
}

impl File {
    /// The path of its file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Archives cannot be listed.
#[derive(Debug)]
pub enum ArchiveError {
    Interrupted(Interrupted),
    /// The key that contradicts the files, and why.
    Wrong(&'static str, String),
}

impl From<Interrupted> for ArchiveError {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}

/// The extensions, for error texts.
const ENDINGS: &str = "`.tar`, `.tar.gz`, `.tar.zst`, `.zip`, `.parquet` or `.arrow`";

/// Determines the kind of the root. Other files beside the archives go into `found`; the run's own folder is skipped.
pub fn root(input: &Input, run_dir: Option<&Path>, found: &mut Found) -> Result<Root, ArchiveError> {
    let wrong = |text: String| Err(ArchiveError::Wrong("input.root", text));
    let shown = input.root.display();
    if let Some(address) = Address::of(&input.root) {
        return match address {
            Address::Object { key, .. } if Form::of(Path::new(key)).is_some() || key.contains(['*', '?', '[']) => {
                wrong(format!("{shown}: archives and tables are not read inside of a bucket; copy them to a disk"))
            }
            Address::Object { .. } if input.parquet.is_some() => {
                wrong(format!("{shown}: `input.parquet` reads tables, which are not read inside of a bucket"))
            }
            Address::Object { .. } => Ok(Root::Bucket),
            Address::Url(_) => wrong(format!("{shown} is a URL; write a table of URLs, `split: {{csv: FILE}}`")),
        };
    }
    if input.root.is_dir() {
        if input.parquet.is_none() {
            return Ok(Root::Folder);
        }
        let files = below(&input.root, None, input, run_dir, found)?;
        let files: Vec<File> = files.into_iter().filter(|file| file.form.is_table()).collect();
        if files.is_empty() {
            return wrong(format!("no file in {shown} ends in `.parquet` or `.arrow`, and `input.parquet` is written"));
        }
        return Ok(Root::Archives(files));
    }
    if input.root.exists() {
        let Some(form) = Form::of(&input.root) else {
            return wrong(format!("{shown} is no folder, and its name does not end in {ENDINGS}"));
        };
        let key = relative(&input.root, &base(&input.root)).0;
        return Ok(Root::Archives(vec![File { key, path: input.root.clone(), form }]));
    }
    let folder = base(&input.root);
    if folder == input.root {
        return wrong(format!("there is no folder {shown}"));
    }
    let rest: PathBuf = input.root.iter().skip(folder.iter().count()).collect();
    let files = below(&folder, Some(&rest), input, run_dir, found)?;
    if files.is_empty() {
        return wrong(format!("no file whose name ends in {ENDINGS} matches {shown}"));
    }
    Ok(Root::Archives(files))
}

/// Returns the folder to which the keys of a root's pictures are relative: the root itself, the folder of an archive,
/// or the part of a glob before its first wildcard.
pub fn base(root: &Path) -> PathBuf {
    if root.is_dir() {
        return root.to_path_buf();
    }
    if root.exists() {
        return root.parent().unwrap_or(Path::new("")).to_path_buf();
    }
    let literal = |part: &std::ffi::OsStr| !part.to_string_lossy().contains(['*', '?', '[', '{']);
    root.iter().take_while(|part| literal(part)).collect()
}

/// Finds the archives and tables below a folder that match the glob, if there is one, in the order of their pictures.
fn below(
    folder: &Path,
    pattern: Option<&Path>,
    input: &Input,
    run_dir: Option<&Path>,
    found: &mut Found,
) -> Result<Vec<File>, ArchiveError> {
    let text = pattern.map(|pattern| pattern.to_string_lossy().replace('\\', "/"));
    let glob = text.as_ref().map(|text| GlobBuilder::new(text).literal_separator(true).build());
    let glob = glob.transpose().map_err(|error| {
        ArchiveError::Wrong("input.root", format!("{} is not a pattern: {}", input.root.display(), error.kind()))
    })?;
    let matcher = glob.map(|glob| glob.compile_matcher());
    let own = run_dir.and_then(|dir| std::fs::canonicalize(dir).ok());
    let depth = match &text {
        Some(text) if !text.contains("**") => text.split('/').count(),
        _ => usize::MAX,
    };
    let mut files = Vec::new();
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut entries = WalkDir::new(folder).follow_links(input.follow_links).min_depth(1).max_depth(depth).into_iter();
    while let Some(entry) = entries.next() {
        let Ok(entry) = entry else { continue };
        let name = entry.file_name().to_string_lossy();
        if entry.file_type().is_dir() {
            let is_own = || own.is_some() && std::fs::canonicalize(entry.path()).ok() == own;
            if folder_left_out(&name).is_some() || is_own() {
                entries.skip_current_dir();
            }
            continue;
        }
        let (key, _) = relative(entry.path(), folder);
        let matches = matcher
            .as_ref()
            .is_none_or(|matcher| matcher.is_match(entry.path().strip_prefix(folder).unwrap_or(entry.path())));
        match Form::of(entry.path()) {
            _ if !matches => {}
            Some(form) if !name.starts_with('.') && entry.path().is_file() => {
                files.push(File { key, path: entry.path().to_path_buf(), form });
            }
            _ => {
                let (kind, text) = left_out(&name)
                    .unwrap_or((Kind::Extension, "neither an archive nor a table of pictures by its name".into()));
                found.leave(key, kind, text);
            }
        }
    }
    // in the order of their pictures' keys
    files.sort_by_cached_key(|file| format!("{}/", file.key));
    Ok(files)
}

/// Lists the pictures in the archives. Pictures of archives with random access are sorted by path, others keep their
/// stored order.
pub fn walk(files: &[File], input: &Input, line: &StageLine, found: &mut Found) -> Result<(), ArchiveError> {
    if input.parquet.is_some() && !files.iter().any(|file| file.form.is_table()) {
        let text = "it names columns of Parquet and Arrow files, and `input.root` has none".to_string();
        return Err(ArchiveError::Wrong("input.parquet", text));
    }
    let columns = input.parquet.clone().unwrap_or_default();
    let splits = match input.split {
        config::Split::None => splits(files),
        _ => vec![Ok(None); files.len()],
    };
    for (file, split) in files.iter().zip(splits) {
        let before = found.candidates.len();
        let mut tick = |members: usize| {
            line.message(format!("{} files", before + members));
            line.ui().check()
        };
        let met = match archive::list(&file.path, file.form, &columns, &mut tick) {
            Ok(met) => met,
            Err(ListError::Interrupted(interrupted)) => return Err(interrupted.into()),
            Err(ListError::Archive(reason)) => {
                found.leave(file.key.clone(), reason.kind, reason.text);
                continue;
            }
            Err(ListError::Column(key, text)) => {
                return Err(ArchiveError::Wrong(key, format!("{}: {text}", file.path.display())));
            }
        };
        take(file, met, split, found);
    }
    Ok(())
}

fn take(file: &File, met: Vec<Met>, split: Result<Option<Split>, &'static str>, found: &mut Found) {
    let before = found.candidates.len();
    let mut is_ordered = false;
    for Met { path, content, label } in met {
        let key = if path.is_empty() { file.key.clone() } else { format!("{}/{path}", file.key) };
        match (content, split) {
            (Err(reason), _) => found.leave(key, reason.kind, reason.text),
            (Ok(member), Err(text)) => {
                let (bytes, reason) = (Some(member.bytes), text.to_string());
                found.aside.push(Aside { path: key, bytes, kind: Kind::Split, reason });
            }
            (Ok(member), Ok(split)) => {
                is_ordered |= member.archive.is_ordered();
                found.candidates.push(Candidate {
                    path: key,
                    raw: None,
                    inside: file.key.len() + 1,
                    bytes: member.bytes,
                    modified: member.archive.modified(),
                    stamp: member.stamp(),
                    member: Some(Box::new(member)),
                    label,
                    split,
                });
            }
        }
    }
    if !is_ordered {
        found.candidates[before..].sort_unstable_by(|a, b| a.path.cmp(&b.path));
    }
}

/// Lists the pictures in an archive or a table that was an argument of a command; `shown` is its name for the user.
pub fn named(path: &Path, form: Form, shown: &str, columns: &PictureColumns) -> Result<Vec<NamedFile>, Interrupted> {
    let ui = Ui::silent();
    let met = match archive::list(path, form, columns, &mut |_| ui.check()) {
        Ok(met) => met,
        Err(ListError::Interrupted(interrupted)) => return Err(interrupted),
        Err(ListError::Archive(reason)) => return Ok(vec![NamedFile::new(shown.to_string(), Err(reason.into()))]),
        Err(ListError::Column(_, text)) => {
            return Ok(vec![NamedFile::new(shown.to_string(), Err(Failure::unreadable(text)))]);
        }
    };
    let is_ordered = met.iter().any(|met| met.content.as_ref().is_ok_and(|member| member.archive.is_ordered()));
    let of = |Met { path: inside, content, .. }: Met| {
        let name = if inside.is_empty() { shown.to_string() } else { format!("{shown}/{inside}") };
        match content {
            Ok(member) => {
                Some(NamedFile { member: Some(Box::new(member)), ..NamedFile::new(name, Ok(path.join(inside))) })
            }
            Err(reason) => reason.kind.is_failed().then(|| NamedFile::new(name, Err(reason.into()))),
        }
    };
    let mut all: Vec<NamedFile> = met.into_iter().filter_map(of).collect();
    if !is_ordered {
        all.sort_by(|a, b| a.path.cmp(&b.path));
    }
    Ok(all)
}

/// The words by which Hugging Face recognises splits, which differ a little from those for folders. After
/// `SPLIT_KEYWORDS` of `datasets/data_files.py` (Apache-2.0).
const SPLITS: [(Role, &[&str]); 3] = [
    (Role::Train, &["train", "training"]),
    (Role::Validation, &["validation", "valid", "dev", "val"]),
    (Role::Test, &["test", "testing", "eval", "evaluation"]),
];

/// The split in the name of a folder or a file: `data/train-00000-of-00003.parquet`, `test/data-00000-of-00001.arrow`.
fn split_word(key: &str) -> Option<Role> {
    let (folders, name) = key.rsplit_once('/').unwrap_or(("", key));
    let word = |text: &str| {
        let mut parts = text.split(|c: char| "-._ /".contains(c) || c.is_ascii_digit());
        parts.find_map(|part| SPLITS.iter().find(|(_, words)| words.contains(&part)).map(|(split, _)| *split))
    };
    word(folders).or_else(|| word(name))
}

/// Returns the split of each file, or the reason why a table is left out. Tables have the splits of their names if one
/// of them is train and another is not.
fn splits(files: &[File]) -> Vec<Result<Option<Split>, &'static str>> {
    let roles: Vec<Option<Role>> =
        files.iter().map(|file| split_word(&file.key).filter(|_| file.form.is_table())).collect();
    let has = |role| roles.contains(&Some(role));
    if !(has(Role::Train) && (has(Role::Test) || has(Role::Validation))) {
        return vec![Ok(None); files.len()];
    }
    let split = |role: &Option<Role>| role.unwrap_or(Role::Train).split(has(Role::Test)).map(Some);
    roles.iter().map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str) -> File {
        File { key: key.into(), path: key.into(), form: Form::of(Path::new(key)).expect("a form") }
    }

    #[test]
    fn names_of_tables_tell_splits_as_hugging_face_does() {
        for (key, role) in [
            ("train-00000-of-00003.parquet", Some(Role::Train)),
            ("data/test-00000-of-00001-3cc2a56602cbbc75.parquet", Some(Role::Test)),
            ("validation/0000.parquet", Some(Role::Validation)),
            ("my_eval.parquet", Some(Role::Test)),
            ("contest.parquet", None),
            ("trainer/a.parquet", None),
            ("test/train-0.parquet", Some(Role::Test)),
        ] {
            assert_eq!(split_word(key), role, "{key}");
        }
        let of = |keys: &[&str]| splits(&keys.iter().map(|key| file(key)).collect::<Vec<_>>());
        assert_eq!(of(&["test-0.parquet"]), [Ok(None)]);
        assert_eq!(of(&["dev-0.parquet", "train-0.parquet"]), [Ok(Some(Split::Test)), Ok(Some(Split::Train))]);
        let three = of(&["test-0.parquet", "train-0.parquet", "validation-0.parquet"]);
        assert_eq!(three[..2], [Ok(Some(Split::Test)), Ok(Some(Split::Train))]);
        assert!(three[2].is_err());
        assert_eq!(of(&["test.tar", "train.tar"]), [Ok(None), Ok(None)]);
    }
}
