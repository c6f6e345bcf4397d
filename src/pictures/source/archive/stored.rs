//! Archives and their members in a stored listing, so that no archive has to be listed a second time.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::tar::Span;
use super::window::{Ordered, Window};
use super::{Archive, At, Member, Reading, parquet, tar, zip};
use crate::stages::scan::{modified, stamp};

/// The metadata of an archive when it was listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) modified: u64,
    pub(super) stamp: u64,
    pub(super) order: Order,
}

/// How its members are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Each at its offset.
    Random,
    /// The stream of a compressed tar.
    Stream(tar::Compression),
    /// The rows of a Parquet file.
    Rows(parquet::Table),
}

/// The position of a member as numbers: of a part of a file, its offset; of a member of a zip, its header, compressed
/// size, checksum and method; of a picture that is read in order, its number and its offset.
pub type Place = [u64; 3];

impl Archive {
    /// The metadata of the archive for a stored listing.
    pub fn facts(&self) -> Facts {
        self.facts.clone()
    }
}

impl Member {
    /// Its position for a stored listing.
    pub fn place(&self) -> Place {
        match (self.at, &self.archive.reading) {
            (At::Offset(offset), _) => [offset, 0, 0],
            (At::Zip(place), _) => place.to_numbers(),
            (At::Number(number), Reading::Ordered(window)) => [number, window.source().offset(number), 0],
            (At::Number(number), Reading::Random) => [number, 0, 0],
        }
    }
}

impl Facts {
    pub(super) fn new(path: &Path, metadata: &Metadata, reading: &Reading) -> Self {
        let order = match reading {
            Reading::Random => Order::Random,
            Reading::Ordered(window) => window.source().order(),
        };
        let (path, bytes) = (path.to_path_buf(), metadata.len());
        Self { path, bytes, modified: modified(metadata), stamp: stamp(metadata), order }
    }

    /// The path of the archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The members with these sizes and positions, in the same order.
    pub fn members(&self, places: &[(u64, Place)]) -> Vec<Member> {
        let ordered: Option<Box<dyn Ordered>> = match self.order {
            Order::Random => None,
            Order::Rows(table) => Some(Box::new(table)),
            Order::Stream(compression) => {
                let span = |&(bytes, [number, offset, _]): &(u64, Place)| (number, Span { offset, bytes });
                let spans = OnceLock::from(places.iter().map(span).collect::<BTreeMap<u64, Span>>());
                Some(Box::new(tar::Stream { compression, spans: Arc::new(spans) }))
            }
        };
        let reading = ordered.map_or(Reading::Random, |source| Reading::Ordered(Window::new(source)));
        let archive = Arc::new(Archive { facts: self.clone(), reading });
        let is_zip = super::Form::of(&self.path) == Some(super::Form::Zip);
        let at = |place: Place| match self.order {
            Order::Random if is_zip => At::Zip(zip::Place::from_numbers(place)),
            Order::Random => At::Offset(place[0]),
            Order::Stream(_) | Order::Rows(_) => At::Number(place[0]),
        };
        places.iter().map(|&(bytes, place)| Member { archive: archive.clone(), at: at(place), bytes }).collect()
    }
}
