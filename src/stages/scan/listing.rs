//! The listing: all files below the root, in memory or, if they are too many, in the store.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Aside, Kind, Picture, Split, Stored};
use crate::io::IoError;

/// A part of a listing as a listing of its own, and the pictures of each of its shards where these are known.
pub type Part<'a> = (Cow<'a, Listing>, Option<Vec<Range<usize>>>);

/// All files found below the root.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Sorted by path, except for pictures in archives that keep their stored order.
    pub pictures: Vec<Picture>,
    /// Sorted by path.
    pub aside: Vec<Aside>,
    /// The classes: in the order of the configuration, else sorted.
    pub classes: Vec<String>,
    /// The hash of the inputs of the listing; see `stored`.
    pub key: String,
    /// The listing in the store, if it is not in memory: `pictures` and `aside` are empty then.
    pub stored: Option<Arc<Stored>>,
}

/// The counts of a whole listing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Pictures of each split, and of each class in each split.
    splits: [usize; 2],
    classes: [Vec<usize>; 2],
    /// Files that are not among the pictures, by their kind.
    aside: BTreeMap<Kind, usize>,
}

impl Summary {
    pub(super) fn add(&mut self, part: &Listing) {
        let numbers: BTreeMap<&str, usize> =
            part.classes.iter().enumerate().map(|(i, class)| (class.as_str(), i)).collect();
        self.classes.iter_mut().for_each(|counts| counts.resize(part.classes.len(), 0));
        for picture in &part.pictures {
            self.splits[picture.split as usize] += 1;
            if let Some(&class) = picture.label.as_deref().and_then(|label| numbers.get(label)) {
                self.classes[picture.split as usize][class] += 1;
            }
        }
        for aside in &part.aside {
            *self.aside.entry(aside.kind).or_default() += 1;
        }
    }

    /// The number of pictures and other files.
    pub(super) fn files(&self) -> usize {
        self.splits.iter().chain(self.aside.values()).sum()
    }
}

/// The hashes of a listing, computed part by part.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    pictures: blake3::Hasher,
    paths: blake3::Hasher,
    aside: blake3::Hasher,
}

impl Hashes {
    pub(super) fn add(&mut self, part: &Listing) {
        for picture in &part.pictures {
            let label = picture.label.as_deref().unwrap_or("");
            for text in [picture.path.as_str(), label, picture.split.word()] {
                self.pictures.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
            }
            picture.hash_version(&mut self.pictures);
            self.paths.update(&(picture.path.len() as u64).to_le_bytes()).update(picture.path.as_bytes());
        }
        for aside in &part.aside {
            self.aside.update(aside.path.as_bytes()).update(aside.reason.as_bytes());
        }
    }

    /// The hash of everything that later stages depend on, and that of the paths of all pictures.
    pub(super) fn finish(mut self, classes: &[String]) -> [String; 2] {
        self.pictures.update(self.aside.finalize().as_bytes());
        for class in classes {
            self.pictures.update(class.as_bytes()).update(&[0]);
        }
        [self.pictures.finalize().to_hex()[..32].to_string(), self.paths.finalize().to_hex().to_string()]
    }
}

impl Listing {
    /// The hashes of a listing in memory: of everything that later stages depend on, and of the paths.
    fn hashes(&self) -> [String; 2] {
        let mut hashes = Hashes::default();
        hashes.add(self);
        hashes.finish(&self.classes)
    }

    /// Hash of everything that later stages depend on.
    pub fn fingerprint(&self) -> String {
        let [fingerprint, _] = self.stored.as_ref().map_or_else(|| self.hashes(), |stored| stored.hashes());
        fingerprint
    }

    /// Hash of the paths of all pictures.
    pub fn paths(&self) -> String {
        let [_, paths] = self.stored.as_ref().map_or_else(|| self.hashes(), |stored| stored.hashes());
        paths
    }

    /// Returns the counts of the whole listing.
    pub(super) fn summary(&self) -> Cow<'_, Summary> {
        match &self.stored {
            Some(stored) => Cow::Borrowed(&stored.head().summary),
            None => {
                let mut summary = Summary::default();
                summary.add(self);
                Cow::Owned(summary)
            }
        }
    }

    /// Number of pictures of each class in a split, in the order of the classes.
    pub fn counts(&self, split: Split) -> Vec<usize> {
        self.summary().classes[split as usize].clone()
    }

    /// Counts of files that are not among the pictures, by kind: the failed ones or the skipped ones.
    pub fn kinds(&self, failed: bool) -> BTreeMap<&'static str, usize> {
        let summary = self.summary();
        let kinds = summary.aside.iter().filter(|(kind, _)| kind.is_failed() == failed);
        kinds.map(|(kind, count)| (kind.word(), *count)).collect()
    }

    /// The number of pictures in a split.
    pub fn len_of(&self, split: Split) -> usize {
        self.summary().splits[split as usize]
    }

    /// The number of pictures.
    pub fn len(&self) -> usize {
        self.stored.as_ref().map_or(self.pictures.len(), |stored| stored.head().summary.splits.iter().sum())
    }

    /// Whether there are no pictures.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of files that are not among the pictures.
    pub fn len_aside(&self) -> usize {
        self.stored.as_ref().map_or(self.aside.len(), |stored| stored.head().summary.aside.values().sum())
    }

    /// The parts that fit into memory, as ranges of row groups; a single part if the listing is in memory.
    pub fn parts(&self) -> Vec<Range<usize>> {
        match &self.stored {
            Some(stored) => stored.parts(0..stored.groups()),
            None => iter::once(0..usize::MAX).collect(),
        }
    }

    /// The numbers of the shards in a part, of `count` shards in all.
    pub fn shards_in(&self, part: &Range<usize>, count: usize) -> Range<usize> {
        self.stored.as_ref().map_or(0..count, |stored| stored.shards_in(part))
    }

    /// A part as a listing of its own, and the pictures of each of its shards where these are known.
    pub fn part(&self, part: &Range<usize>) -> Result<Part<'_>, IoError> {
        match &self.stored {
            None => Ok((Cow::Borrowed(self), None)),
            Some(stored) => {
                let (listing, shards) = stored.read(part.clone())?;
                Ok((Cow::Owned(listing), Some(shards)))
            }
        }
    }

    /// The picture at `path`.
    pub fn find(&self, path: &str) -> Option<Cow<'_, Picture>> {
        let at = |part: &Listing| part.pictures.iter().position(|picture| picture.path == path);
        let Some(stored) = &self.stored else { return Some(Cow::Borrowed(&self.pictures[at(self)?])) };
        // pictures in archives may be unsorted, hence anywhere
        let groups = match stored.group_of(path) {
            Some(group) => iter::once(group..group + 1).collect(),
            None => self.parts(),
        };
        groups.into_iter().find_map(|groups| {
            let mut part = stored.read(groups).ok()?.0;
            Some(Cow::Owned(part.pictures.swap_remove(at(&part)?)))
        })
    }

    /// Calls `take` with one part after the other.
    pub fn for_each<E: From<IoError>>(&self, mut take: impl FnMut(&Listing) -> Result<(), E>) -> Result<(), E> {
        self.parts().iter().try_for_each(|part| take(&self.part(part)?.0))
    }
}
