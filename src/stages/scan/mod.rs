//! `scan`: lists the pictures with their classes and splits. The split is fixed here for every later stage.
//!
//! Every file met ends in the listing: as a picture, or aside with the reason. The listing is sorted by path, so that
//! the same folder gives the same tables whatever the order of the file system; pictures in an archive that cannot be
//! read at random keep their order in it.

mod archives;
mod contents;
mod elsewhere;
mod kind;
mod labels;
mod list;
mod listing;
mod members;
mod names;
mod remote;
mod stored;
mod storing;
mod table;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use archives::base;
use archives::{ArchiveError, Root};
pub use contents::{Contents, first_eight, modified, stamp};
pub use kind::Kind;
pub use labels::{Lot, draw};
pub use list::{Found, NamedFile, met, named, shared};
pub(crate) use list::{folder_left_out, is_table, left_out};
pub use listing::Listing;
pub use members::Members;
pub use names::{escape, relative, unescape};
use remote::RemoteError;
use serde::{Deserialize, Serialize};
pub use stored::{Stored, input};
pub(crate) use storing::Storing;
pub use table::{TableError, from_csv, header};
use thiserror::Error;

use crate::config::{self, ConfigError, Input, Pipeline};
use crate::pictures::source::archive::Member;
use crate::pictures::source::remote::is_url;
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui, plural};
use crate::stages::StageId;
pub use crate::terminal::printable;

/// The pictures that models are fitted on, or those that they are only measured with.
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
    /// The name on the disk, where `path` had to be escaped.
    pub raw: Option<PathBuf>,
    /// Where in an archive it lies; none for a file by itself.
    pub member: Option<Box<Member>>,
    /// Shared by the pictures of a class.
    pub label: Option<Arc<str>>,
    pub split: Split,
    pub bytes: u64,
    /// Time of the last change, nanoseconds since 1970.
    pub modified: u64,
    /// Hash of everything by which the system tells that a file was changed; see `contents`.
    pub stamp: u64,
    pub contents: Contents,
}

impl Picture {
    /// Where a file by itself lies; a URL is its own place.
    pub fn location(&self, root: &Path) -> PathBuf {
        match is_url(&self.path) {
            true => PathBuf::from(&self.path),
            false => root.join(self.raw.as_deref().unwrap_or(Path::new(&self.path))),
        }
    }

    /// Bytes of it, where its server has told them.
    pub fn known_bytes(&self) -> Option<u64> {
        (self.bytes > 0 || !is_url(&self.path)).then_some(self.bytes)
    }

    /// Adds the version of the file to a hash: its contents, or its time while these are unknown.
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
    /// The service that pictures come from.
    #[error("{0}\nthe same command goes on when the service is back")]
    Down(String),
}

/// Lists the pictures of the plan, or takes the listing of the store where it need not be made again; `anew` asks for
/// that in any case.
pub fn run(plan: &Plan, anew: bool, ui: &Ui) -> Result<Listing, ScanError> {
    listed(&plan.pipeline, plan.dir.root(), Some((plan, anew)), ui)
}

/// Lists the pictures of a pipeline without a run; the folder `run_dir` is not looked into.
pub fn list(pipeline: &Pipeline, run_dir: &Path, ui: &Ui) -> Result<Listing, ScanError> {
    listed(pipeline, run_dir, None, ui)
}

fn listed(pipeline: &Pipeline, run_dir: &Path, stored: Option<(&Plan, bool)>, ui: &Ui) -> Result<Listing, ScanError> {
    let line = ui.stage(StageId::Scan, None, "files");
    let input = &pipeline.input;
    let at = |key: &str, message: String| ScanError::Config(Box::new(pipeline.error_at(key, message)));
    let of_archives = |error| match error {
        ArchiveError::Interrupted(interrupted) => ScanError::Interrupted(interrupted),
        ArchiveError::Wrong(key, message) => at(key, message),
    };
    let mut found = Found::default();
    let root = archives::root(input, Some(run_dir), &mut found).map_err(of_archives)?;
    let mut key = String::new();
    if let Some((plan, anew)) = stored {
        key = stored::key(plan, &root, &found)?;
        if let Some(listing) = Some(anew).filter(|anew| !anew).and_then(|_| stored::current(plan, &key, &root)) {
            line.finish(&format!("{} (as listed before; `--rescan` lists again)", describe(&listing)));
            return Ok(listing);
        }
    }
    if let Root::Archives(files) = &root {
        archives::walk(files, input, &line, &mut found).map_err(of_archives)?;
    }
    let of_remote = |error| match error {
        RemoteError::Interrupted(interrupted) => ScanError::Interrupted(interrupted),
        RemoteError::Down(reason) => ScanError::Down(reason),
        RemoteError::Wrong(message) => at("input.root", message),
    };
    if root == Root::Bucket {
        found = remote::bucket(&input.root, &line).map_err(of_remote)?;
    }
    let of_table = |error: TableError| at(error.key(), error.to_string());
    let mut found = match (&input.split, root) {
        (config::Split::Csv { path, columns, .. }, Root::Folder) => {
            from_csv(&input.root, path, columns).map_err(of_table)?
        }
        (config::Split::Csv { path, columns, .. }, Root::Archives(_) | Root::Bucket) => {
            table::among(found, path, columns).map_err(of_table)?
        }
        (_, Root::Folder) => list::walk(&input.root, input.follow_links, Some(run_dir), &line)?,
        (_, Root::Archives(_) | Root::Bucket) => found,
    };
    remote::look(&mut found, pipeline.runtime.requests, &line).map_err(of_remote)?;
    labels::assign(input, &mut found).map_err(|wrong| at(wrong.key, wrong.message))?;
    let listing = labels::choose(input, found).map_err(|wrong| at(wrong.key, wrong.message))?;
    let listing = Listing { key, ..listing };
    if listing.pictures.is_empty() {
        return Err(at("input.root", nothing(input, &listing)));
    }
    if let Some(warning) = locked(&listing) {
        if listing.classes.len() == 1 && input.classes.is_none() {
            let text = format!("{warning}; only the class `{}` is left", printable(&listing.classes[0]));
            let way = format!("{text}: make it readable, or write `classes` to go on with that one");
            return Err(at("input.root", way));
        }
        ui.warn(&format!("{warning}; its pictures take no part"));
    }
    line.finish(&describe(&listing));
    Ok(listing)
}

/// Returns an error if there is no train picture, since everything that is fitted is fitted on them.
pub fn check_train(pipeline: &Pipeline, listing: &Listing) -> Result<(), ScanError> {
    if listing.len_of(Split::Train) > 0 {
        return Ok(());
    }
    let text = "no picture is in the train split, and `select`, `reduce` and `train` learn from it; change the split, \
                or leave these sections out";
    Err(ScanError::Config(Box::new(pipeline.error_at("input.split", text))))
}

fn nothing(input: &Input, listing: &Listing) -> String {
    let mut text = format!("no picture is left of {}", input.root.display());
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    listing.aside.iter().for_each(|aside| *reasons.entry(&aside.reason).or_default() += 1);
    if reasons.is_empty() {
        text += &match &input.split {
            config::Split::Csv { path, .. } => format!(": the table {} has no line below its header", path.display()),
            _ if input.root.is_dir() => ": the folder is empty".to_string(),
            _ => ": nothing is in it".to_string(),
        };
    }
    for (reason, count) in reasons {
        text += &format!("\n  {count} × {reason}");
        let first = listing.aside.iter().find(|aside| aside.kind == Kind::Missing && aside.reason == reason);
        if let Some(first) = first {
            text += &format!("; the first is {}", printable(&input.root.join(&first.path).display().to_string()));
        }
    }
    text
}

/// Names the first folder that cannot be read, and counts the others.
fn locked(listing: &Listing) -> Option<String> {
    let mut folders = listing.aside.iter().filter(|aside| aside.kind == Kind::Unreadable && aside.path.ends_with('/'));
    let first = folders.next()?;
    let more = match folders.count() {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    Some(format!("{}{more}: {}", printable(&first.path), first.reason))
}

fn describe(listing: &Listing) -> String {
    format!("{}: {}", plural(listing.len(), "image"), counts(listing))
}

/// Describes a listing: pictures by split, classes, other files.
pub fn counts(listing: &Listing) -> String {
    let (train, test) = (listing.len_of(Split::Train), listing.len_of(Split::Test));
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
    format!("{train} train, {test} test, {classes}{aside}")
}
