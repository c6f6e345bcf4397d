//! `scan`: lists the pictures with their classes and splits. The split is the same in all later stages.
//!
//! Every file found is in the listing: as a picture, or aside with the reason. The listing is sorted by path, so that
//! the tables do not depend on the order of the file system; pictures in an archive without random access keep their
//! stored order.

mod archives;
mod choice;
mod contents;
mod elsewhere;
mod gather;
mod kind;
mod labels;
mod list;
mod listing;
mod members;
mod names;
mod remote;
mod roles;
mod stored;
mod storing;
mod table;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use archives::base;
use archives::{ArchiveError, Root};
pub use choice::{Lot, draw};
pub use contents::{Contents, first_eight, modified, stamp};
use gather::{Files, Gather, Gathered};
pub use kind::Kind;
use labels::{Rules, Wrong};
pub use list::{Found, NamedFile, met, named, shared};
pub(crate) use list::{folder_left_out, is_table, left_out};
pub use listing::Listing;
pub use members::Members;
pub use names::{escape, relative, unescape};
use remote::RemoteError;
pub(crate) use roles::{Role, is_one, role};
use serde::{Deserialize, Serialize};
pub use stored::{Stored, input};
pub(crate) use storing::Storing;
pub use table::{TableError, from_csv, header};
use thiserror::Error;

use crate::config::{self, ConfigError, Input, Pipeline};
use crate::io::IoError;
use crate::pictures::source::archive::Member;
use crate::pictures::source::remote::is_url;
use crate::plan::Plan;
use crate::progress::{Interrupted, StageLine, Ui, plural};
use crate::stages::StageId;
pub use crate::terminal::printable;

/// The split of a picture: models are fitted on train pictures and only measured on test pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    Train,
    Test,
}

impl Split {
    /// The words of the column `split`, in the order of the variants.
    pub const WORDS: [&str; 2] = ["train", "test"];

    /// The word in tables.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

/// A picture to extract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Relative to the root, with `/`; bytes that are not UTF-8 are written `\xNN`, see `names`.
    pub path: String,
    /// The name on disk, where `path` had to be escaped.
    pub raw: Option<PathBuf>,
    /// Its position in an archive; none for a plain file.
    pub member: Option<Box<Member>>,
    /// Shared by the pictures of a class.
    pub label: Option<Arc<str>>,
    pub split: Split,
    pub bytes: u64,
    /// Modification time, in nanoseconds since 1970.
    pub modified: u64,
    /// Hash of the file's metadata, which changes with the file; see `contents`.
    pub stamp: u64,
    pub contents: Contents,
}

impl Picture {
    /// The path of a plain file; a URL stays as it is.
    pub fn location(&self, root: &Path) -> PathBuf {
        match is_url(&self.path) {
            true => PathBuf::from(&self.path),
            false => root.join(self.raw.as_deref().unwrap_or(Path::new(&self.path))),
        }
    }

    /// The size in bytes; none for a URL whose server did not send it.
    pub fn known_bytes(&self) -> Option<u64> {
        (self.bytes > 0 || !is_url(&self.path)).then_some(self.bytes)
    }

    /// Adds the version of the file to a hash: its contents, or its modification time if these are unknown.
    pub fn hash_version(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&self.bytes.to_le_bytes());
        match self.contents {
            Contents::Unknown => hasher.update(&self.modified.to_le_bytes()),
            known => hasher.update(b"contents").update(&known.to_bytes()),
        };
    }
}

/// A file that is not among the pictures, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    pub path: String,
    pub bytes: Option<u64>,
    pub kind: Kind,
    pub reason: String,
}

/// Returns `3 hidden, 1 extension`: the most frequent first.
pub fn counted<'a>(kinds: impl Iterator<Item = (&'a str, usize)>) -> String {
    let mut kinds: Vec<(&str, usize)> = kinds.collect();
    kinds.sort_by_key(|&(kind, n)| (std::cmp::Reverse(n), kind));
    kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect::<Vec<_>>().join(", ")
}

/// The pictures cannot be listed.
#[derive(Debug, Error)]
pub enum ScanError {
    #[error(transparent)]
    Config(#[from] Box<ConfigError>),
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Io(#[from] IoError),
    /// The service that provides the pictures does not respond.
    #[error("{0}\nthe same command goes on when the service is back")]
    Down(String),
}

/// A listing that is too large for the memory and is made part by part.
pub(crate) struct Large<'a> {
    /// The listing without its pictures and other files.
    pub whole: Listing,
    /// The number of pictures.
    pub count: usize,
    pub parts: &'a mut dyn Iterator<Item = Result<Listing, IoError>>,
}

/// Stores a listing that is too large for the memory.
pub(crate) type Keep<'a, E> = &'a mut dyn FnMut(Large) -> Result<Listing, E>;

/// Lists the pictures of the plan, or opens the listing in the store if it is up to date; `anew` lists them in any
/// case. A listing that is too large for the memory is passed to `keep`, if there is one.
pub(crate) fn run<E: From<ScanError>>(plan: &Plan, anew: bool, keep: Option<Keep<E>>, ui: &Ui) -> Result<Listing, E> {
    listed(&plan.pipeline, plan.dir.root(), Some((plan, anew)), keep, ui)
}

/// Lists the pictures of a pipeline without a run; the folder `run_dir` is skipped.
pub fn list(pipeline: &Pipeline, run_dir: &Path, ui: &Ui) -> Result<Listing, ScanError> {
    listed(pipeline, run_dir, None, None, ui)
}

fn listed<E: From<ScanError>>(
    pipeline: &Pipeline,
    run_dir: &Path,
    stored: Option<(&Plan, bool)>,
    keep: Option<Keep<E>>,
    ui: &Ui,
) -> Result<Listing, E> {
    let line = ui.stage(StageId::Scan, None, "files");
    let mut found = Found::default();
    let root =
        archives::root(&pipeline.input, Some(run_dir), &mut found).map_err(|error| of_archives(pipeline, error))?;
    let (mut key, mut most, mut folder) = (String::new(), usize::MAX, PathBuf::new());
    if let Some((plan, anew)) = stored {
        key = stored::key(plan, &root, &found).map_err(ScanError::from)?;
        if let Some(listing) = Some(anew).filter(|anew| !anew).and_then(|_| stored::current(plan, &key, &root)) {
            line.finish(&format!("{} (as listed before; `--rescan` lists again)", describe(&listing)));
            return Ok(listing);
        }
        if keep.is_some() {
            (most, folder) = (plan.held, plan.dir.store());
        }
    }
    let wrong = |Wrong { key, message }| at(pipeline, key, message);
    let mut gather = Gather::new(Rules::of(&pipeline.input).map_err(wrong)?, most, &folder);
    let found = find(pipeline, (root, found), &mut gather, run_dir, &line)?;
    let Gathered { choice, files } = gather.finish(found).map_err(ScanError::from)?;
    let mut choice = choice.map_err(wrong)?;
    let listing = match files {
        Files::Held(found) => Listing { key, ..choice.take(found) },
        Files::Parts(parts) => {
            let whole = Listing { key, classes: choice.classes.clone(), ..Listing::default() };
            let count = choice.count();
            let large = Large { whole, count, parts: &mut parts.map(|part| Ok(choice.take(part?))) };
            keep.map_or_else(|| Ok(Listing::default()), |keep| keep(large))?
        }
    };
    check(pipeline, &listing, ui)?;
    // without a run there are no splits to describe
    line.finish(&match stored {
        Some(_) => describe(&listing),
        None => plural(listing.len(), "image") + &contents(&listing),
    });
    Ok(listing)
}

/// The error about a key, with its place in the YAML file.
fn at(pipeline: &Pipeline, key: &str, message: String) -> ScanError {
    ScanError::Config(Box::new(pipeline.error_at(key, message)))
}

fn of_archives(pipeline: &Pipeline, error: ArchiveError) -> ScanError {
    match error {
        ArchiveError::Interrupted(interrupted) => ScanError::Interrupted(interrupted),
        ArchiveError::Wrong(key, message) => at(pipeline, key, message),
    }
}

/// Finds all files. The files `found` beside the root are added to those of a folder or a bucket.
fn find(
    pipeline: &Pipeline,
    (root, mut found): (Root, Found),
    gather: &mut Gather,
    run_dir: &Path,
    line: &StageLine,
) -> Result<Found, ScanError> {
    let input = &pipeline.input;
    let of_remote = |error| match error {
        RemoteError::Interrupted(interrupted) => ScanError::Interrupted(interrupted),
        RemoteError::Down(reason) => ScanError::Down(reason),
        RemoteError::Wrong(message) => at(pipeline, "input.root", message),
        RemoteError::Io(error) => ScanError::Io(error),
    };
    let of_table = |error: TableError| at(pipeline, error.key(), error.to_string());
    let table = if let config::Split::Csv { path, columns, .. } = &input.split { Some((path, columns)) } else { None };
    match (root, table) {
        (Root::Folder, None) => {
            return list::walk(&input.root, input.follow_links, Some(run_dir), |found| gather.tick(found, line));
        }
        (Root::Folder, Some((path, columns))) => found = from_csv(&input.root, path, columns).map_err(of_table)?,
        (Root::Bucket, None) => {
            let tick = |found: &mut Found| gather.tick(found, line);
            return remote::bucket(&input.root, &line.ui().stop(), tick).map_err(of_remote);
        }
        (Root::Bucket, Some((path, columns))) => {
            found = remote::bucket(&input.root, &line.ui().stop(), |_| Ok(())).map_err(of_remote)?;
            found = table::among(found, path, columns).map_err(of_table)?;
        }
        (Root::Archives(files), table) => {
            archives::walk(&files, input, line, &mut found).map_err(|error| of_archives(pipeline, error))?;
            if let Some((path, columns)) = table {
                found = table::among(found, path, columns).map_err(of_table)?;
            }
        }
    }
    remote::look(&mut found, pipeline.runtime.requests, line).map_err(of_remote)?;
    Ok(found)
}

/// Returns an error if there are no pictures, and warns of folders that cannot be read.
fn check(pipeline: &Pipeline, listing: &Listing, ui: &Ui) -> Result<(), ScanError> {
    if listing.is_empty() {
        return Err(at(pipeline, "input.root", nothing(&pipeline.input, listing)?));
    }
    let Some(warning) = locked(listing)? else { return Ok(()) };
    if listing.classes.len() == 1 && pipeline.input.classes.is_none() {
        let text = format!("{warning}; only the class `{}` is left", printable(&listing.classes[0]));
        let way = format!("{text}: make it readable, or write `classes` to go on with that one");
        return Err(at(pipeline, "input.root", way));
    }
    ui.warn(&format!("{warning}; its pictures take no part"));
    Ok(())
}

/// Returns an error if there are no train pictures, since everything is fitted on them.
pub fn check_train(pipeline: &Pipeline, listing: &Listing) -> Result<(), ScanError> {
    if listing.len_of(Split::Train) > 0 {
        return Ok(());
    }
    let text = "no picture is in the train split, and `select`, `reduce` and `train` learn from it; change the split, \
                or leave these sections out";
    Err(ScanError::Config(Box::new(pipeline.error_at("input.split", text))))
}

fn nothing(input: &Input, listing: &Listing) -> Result<String, IoError> {
    let mut text = format!("no picture is left of {}", input.root.display());
    // the number of files for each reason, and the first missing file
    let mut reasons: BTreeMap<String, (usize, Option<String>)> = BTreeMap::new();
    listing.for_each(|part| {
        for aside in &part.aside {
            let (count, first) = reasons.entry(aside.reason.clone()).or_default();
            *count += 1;
            if first.is_none() && aside.kind == Kind::Missing {
                *first = Some(aside.path.clone());
            }
        }
        Ok::<_, IoError>(())
    })?;
    if reasons.is_empty() {
        text += &match &input.split {
            config::Split::Csv { path, .. } => format!(": the table {} has no line below its header", path.display()),
            _ if input.root.is_dir() => ": the folder is empty".to_string(),
            _ => ": nothing is in it".to_string(),
        };
    }
    for (reason, (count, first)) in reasons {
        text += &format!("\n  {count} × {reason}");
        if let Some(first) = first {
            text += &format!("; the first is {}", printable(&input.root.join(first).display().to_string()));
        }
    }
    Ok(text)
}

/// Names the first folder that cannot be read, and counts the others.
fn locked(listing: &Listing) -> Result<Option<String>, IoError> {
    let mut folders: Vec<[String; 2]> = Vec::new();
    if listing.kinds(true).contains_key(Kind::Unreadable.word()) {
        listing.for_each(|part| {
            let unreadable = part.aside.iter().filter(|one| one.kind == Kind::Unreadable && one.path.ends_with('/'));
            folders.extend(unreadable.map(|one| [printable(&one.path).to_string(), one.reason.clone()]));
            Ok::<_, IoError>(())
        })?;
    }
    let Some([path, reason]) = folders.first() else { return Ok(None) };
    let more = if folders.len() > 1 { format!(" (and {} more)", folders.len() - 1) } else { String::new() };
    Ok(Some(format!("{path}{more}: {reason}")))
}

fn describe(listing: &Listing) -> String {
    format!("{}: {}", plural(listing.len(), "image"), counts(listing))
}

/// Describes a listing: pictures by split, classes, other files.
pub fn counts(listing: &Listing) -> String {
    let (train, test) = (listing.len_of(Split::Train), listing.len_of(Split::Test));
    format!("{train} train, {test} test{}", contents(listing))
}

/// Describes the classes and the other files of a listing, as the end of a sentence.
fn contents(listing: &Listing) -> String {
    let classes = match listing.classes.len() {
        0 => "no labels".to_string(),
        1 => "1 class".to_string(),
        n => format!("{n} classes"),
    };
    let aside = match listing.len_aside() {
        0 => String::new(),
        n => {
            let kinds = listing.kinds(true).into_iter().chain(listing.kinds(false));
            format!(", {} ({})", plural(n, "other file"), counted(kinds))
        }
    };
    format!(", {classes}{aside}")
}
