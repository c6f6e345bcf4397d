//! The listing in the store: the pictures that a run has found, in a row group for each shard, so that a worker reads
//! only its own shards and a large source is not listed again at every start.
//!
//! Rows are in the order of the manifest: pictures, with other files between them. Where very many other files are
//! before the first picture or after the last one, they have row groups of their own, which are not shards. `key` tells
//! whether the listing still belongs to the pipeline: it covers `input` and the stamps of the archives or tables that
//! list the pictures. A new file in a folder changes no stamp, so a folder is listed again at every start, unless its
//! listing is too large for the memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::archives::Root;
use super::list::Found;
use super::listing::Summary;
use super::{Aside, Contents, Kind, Listing, Picture, Split, modified, stamp, unescape};
use crate::config;
use crate::io::IoError;
use crate::io::atomic::Synced;
use crate::io::columns::{Columns, TableFile};
use crate::pictures::source::archive::{Facts, Place};
use crate::plan::Plan;
use crate::store::{RunDir, fingerprint};

/// Key of the metadata with the [`Head`].
pub(super) const HEAD: &str = "featurize.listing";
const COLUMNS: [&str; 15] = [
    "path",
    "escaped",
    "kind",
    "reason",
    "label",
    "split",
    "bytes",
    "modified",
    "stamp",
    "contents_0",
    "contents_1",
    "archive",
    "at_0",
    "at_1",
    "at_2",
];

/// The metadata of a listing, which is read before its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of featurize that wrote it.
    pub version: String,
    /// The hash of all inputs of the listing, and that of the settings among them.
    pub key: String,
    pub input: String,
    /// The hash of the settings for features and shards.
    pub settings: String,
    pub(super) fingerprint: String,
    pub(super) paths: String,
    pub(super) classes: Vec<String>,
    pub(super) summary: Summary,
    pub(super) archives: Vec<Facts>,
    /// The row groups without pictures, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) others: Vec<usize>,
}

/// A listing in the store.
#[derive(Debug)]
pub struct Stored {
    file: TableFile,
    pub(super) head: Head,
    /// The most files in memory at a time.
    together: usize,
    /// The temporary file of the listing, until it is renamed to its place in the store.
    draft: Mutex<Option<Synced>>,
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        self.head == other.head
    }
}

/// The hash of the settings that the listing depends on.
pub fn input(plan: &Plan) -> Result<String, serde_json::Error> {
    let input = &plan.pipeline.input;
    let settings = (&input.root, &input.parquet, &input.split, &input.label, &input.classes, &input.limit_per_class);
    fingerprint("input", &(settings, input.follow_links), &[])
}

/// The hash of everything that the listing depends on, except the files of a folder.
pub(super) fn key(plan: &Plan, root: &Root, found: &Found) -> Result<String, serde_json::Error> {
    let mut files: Vec<&Path> = match root {
        Root::Folder | Root::Bucket => Vec::new(),
        Root::Archives(files) => files.iter().map(|file| file.path()).collect(),
    };
    if let config::Split::Csv { path, .. } = &plan.pipeline.input.split {
        files.push(path);
    }
    let facts = |path: &&Path| {
        let metadata = std::fs::metadata(path).ok()?;
        // a file that was changed just now may change again unnoticed, so its listing is never reused
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let stamp = Some(stamp(&metadata)).filter(|&stamp| stamp != 0).unwrap_or_else(now);
        Some((metadata.len(), modified(&metadata), stamp))
    };
    let files: Vec<_> = files.iter().map(|path| (path, facts(path))).collect();
    let aside: Vec<&str> = found.aside.iter().map(|aside| aside.path.as_str()).collect();
    fingerprint("listing", &(files, aside), &[&input(plan)?])
}

/// The listing in the store, if it belongs to `key` and need not be made again.
pub(super) fn current(plan: &Plan, key: &str, root: &Root) -> Option<Listing> {
    let stored = Stored::open(plan).ok().flatten().filter(|stored| stored.is_of_this_version())?;
    let is_large = stored.head.summary.files() > plan.held;
    if stored.head.key != key || !(is_large || matches!(root, Root::Archives(_))) {
        return None;
    }
    if !is_large || plan.pipeline.input.hash {
        return Some(stored.read(0..stored.groups()).ok()?.0);
    }
    // other settings may cut it into other shards
    let settings = plan.table_settings().ok()?;
    Some(stored).filter(|stored| stored.head.settings == settings).map(Stored::into_listing)
}

impl Stored {
    /// Opens the listing of a run and reads its head; none if the run has no listing.
    pub fn open(plan: &Plan) -> Result<Option<Self>, IoError> {
        Self::of(&plan.dir, plan.held)
    }

    /// Opens the listing of any run.
    pub fn of(dir: &RunDir, held: usize) -> Result<Option<Self>, IoError> {
        let path = dir.listing();
        if path.is_file() { Self::at(&path, held).map(Some) } else { Ok(None) }
    }

    fn at(path: &Path, held: usize) -> Result<Self, IoError> {
        let file = TableFile::open(path)?;
        let head = file.metadata().remove(HEAD).and_then(|text| serde_json::from_str(&text).ok());
        let reason = || "it has no head".to_string();
        let head = head.ok_or_else(|| IoError::Table { path: path.to_path_buf(), reason: reason() })?;
        Ok(Self { file, head, together: held / 4, draft: Mutex::default() })
    }

    /// Opens a listing that is still a temporary file.
    pub(super) fn draft(plan: &Plan, draft: Synced) -> Result<Self, IoError> {
        let stored = Self::at(draft.draft(), plan.held)?;
        Ok(Self { draft: Mutex::new(Some(draft)), ..stored })
    }

    /// Renames a temporary file to its place. None if it is there already, else whether it replaces another listing.
    pub fn keep(&self, plan: &Plan) -> Result<Option<bool>, IoError> {
        let draft = self.draft.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(draft) = draft else { return Ok(None) };
        let there = Self::open(plan).ok().flatten();
        draft.rename()?;
        Ok(Some(there.is_none_or(|there| there.head != self.head)))
    }

    /// Returns the metadata of the listing.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// A listing whose rows stay in the store.
    pub fn into_listing(self) -> Listing {
        let Head { classes, key, .. } = self.head.clone();
        Listing { classes, key, stored: Some(Arc::new(self)), ..Listing::default() }
    }

    /// The hash of everything that later stages depend on, and that of the paths.
    pub(super) fn hashes(&self) -> [String; 2] {
        [self.head.fingerprint.clone(), self.head.paths.clone()]
    }

    /// Whether this version of featurize wrote it, and hence by the same rules.
    pub fn is_of_this_version(&self) -> bool {
        self.head.version == env!("CARGO_PKG_VERSION")
    }

    /// The number of row groups.
    pub(super) fn groups(&self) -> usize {
        self.file.groups()
    }

    /// The number of shards.
    pub fn shards(&self) -> usize {
        self.groups() - self.head.others.len()
    }

    /// The row groups of these shards, and those of other files between them.
    pub fn groups_of(&self, shards: Range<usize>) -> Range<usize> {
        let group = |shard| self.head.others.iter().fold(shard, |group, &other| group + usize::from(other <= group));
        if shards.is_empty() { 0..0 } else { group(shards.start)..group(shards.end - 1) + 1 }
    }

    /// The shards in these row groups.
    pub fn shards_in(&self, groups: &Range<usize>) -> Range<usize> {
        let shard = |group: usize| group - self.head.others.partition_point(|&other| other < group);
        shard(groups.start)..shard(groups.end)
    }

    /// The row group that contains the picture at `path`, if all pictures are sorted by path.
    pub(super) fn group_of(&self, path: &str) -> Option<usize> {
        if !self.head.archives.is_empty() {
            return None;
        }
        let (mut from, mut to) = (0, self.groups());
        while to - from > 1 {
            let middle = from.midpoint(to);
            let first = self.file.read(middle..middle + 1, &["path"]).ok()?.texts("path").ok()?;
            match first.first()?.as_deref() <= Some(path) {
                true => from = middle,
                false => to = middle,
            }
        }
        Some(from)
    }

    /// Cuts these row groups into parts that fit into memory.
    pub fn parts(&self, groups: Range<usize>) -> Vec<Range<usize>> {
        let (mut parts, mut rows): (Vec<Range<usize>>, usize) = (Vec::new(), 0);
        for group in groups {
            rows += self.file.rows(group);
            match parts.last_mut().filter(|_| rows <= self.together) {
                Some(part) => part.end = group + 1,
                None => {
                    parts.push(group..group + 1);
                    rows = self.file.rows(group);
                }
            }
        }
        parts
    }

    /// Reads the pictures of these row groups and the other files between them; also returns the pictures of each
    /// shard.
    pub fn read(&self, groups: Range<usize>) -> Result<(Listing, Vec<Range<usize>>), IoError> {
        let columns = self.file.read(groups.clone(), &COLUMNS)?;
        let mut rows_of = groups.map(|group| self.file.rows(group));
        let (mut left, mut ranges, mut start) = (rows_of.next().unwrap_or(0), Vec::new(), 0);
        let head = &self.head;
        let classes: BTreeMap<&str, Arc<str>> =
            head.classes.iter().map(|class| (class.as_str(), class.as_str().into())).collect();
        let mut listing = Listing { classes: head.classes.clone(), key: head.key.clone(), ..Listing::default() };
        let texts = |name: &str| columns.texts(name).map(Vec::into_iter);
        let counts = |name: &str| columns.counts(name).map(Vec::into_iter);
        let (mut kinds, mut reasons) = (texts("kind")?, texts("reason")?);
        let (mut labels, mut splits) = (texts("label")?, texts("split")?);
        let mut escaped = columns.flags("escaped")?.into_iter();
        let (mut bytes, mut modified, mut stamps) = (counts("bytes")?, counts("modified")?, counts("stamp")?);
        let mut halves = [counts("contents_0")?, counts("contents_1")?];
        for path in texts("path")? {
            let path = path.unwrap_or_default();
            let (kind, reason) = (next(&mut kinds), next(&mut reasons).unwrap_or_default());
            let (label, split, bytes) = (next(&mut labels), next(&mut splits), next(&mut bytes));
            let (modified, stamp) = (next(&mut modified).unwrap_or(0), next(&mut stamps).unwrap_or(0));
            let contents = halves.each_mut().map(|half| next(half).unwrap_or(u64::MAX).to_le_bytes());
            let is_escaped = escaped.next().unwrap_or(false);
            match kind.as_deref().and_then(Kind::from_word) {
                Some(kind) => listing.aside.push(Aside { path, bytes, kind, reason }),
                None => listing.pictures.push(Picture {
                    raw: is_escaped.then(|| PathBuf::from(unescape(&path))),
                    path,
                    member: None,
                    label: label.and_then(|label| classes.get(label.as_str()).cloned()),
                    split: if split.as_deref() == Some(Split::Test.word()) { Split::Test } else { Split::Train },
                    bytes: bytes.unwrap_or(0),
                    modified,
                    stamp,
                    contents: Contents::from_bytes(std::array::from_fn(|i| contents[i / 8][i % 8])),
                }),
            }
            left -= 1;
            if left == 0 {
                ranges.extend(Some(start..listing.pictures.len()).filter(|shard| !shard.is_empty()));
                (start, left) = (listing.pictures.len(), rows_of.next().unwrap_or(0));
            }
        }
        self.take_members(&columns, &mut listing)?;
        Ok((listing, ranges))
    }

    /// Gives pictures in archives their positions in these.
    fn take_members(&self, columns: &Columns, listing: &mut Listing) -> Result<(), IoError> {
        if self.head.archives.is_empty() {
            return Ok(());
        }
        let kinds = columns.texts("kind")?;
        let [archives, at_0, at_1, at_2] = ["archive", "at_0", "at_1", "at_2"].map(|name| columns.counts(name));
        let (archives, at) = (archives?, [at_0?, at_1?, at_2?]);
        let rows = (0..kinds.len()).filter(|&row| kinds[row].is_none());
        let mut of_archive: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let mut places = Vec::with_capacity(listing.pictures.len());
        for (i, row) in rows.enumerate() {
            if let Some(archive) = archives[row] {
                of_archive.entry(archive).or_default().push(i);
            }
            places.push((listing.pictures[i].bytes, at.each_ref().map(|at| at[row].unwrap_or(0))));
        }
        for (archive, pictures) in of_archive {
            let facts = usize::try_from(archive).ok().and_then(|archive| self.head.archives.get(archive));
            let places: Vec<(u64, Place)> = pictures.iter().map(|&i| places[i]).collect();
            let members = facts.map_or_else(Vec::new, |facts| facts.members(&places));
            for (i, member) in pictures.into_iter().zip(members) {
                listing.pictures[i].member = Some(Box::new(member));
            }
        }
        Ok(())
    }
}

fn next<T>(values: &mut impl Iterator<Item = Option<T>>) -> Option<T> {
    values.next().flatten()
}
