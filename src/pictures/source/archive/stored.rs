//! Archives and their members as a stored listing keeps them, so that no archive is read through a second time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::tar::Span;
use super::window::{Ordered, Window};
use super::{Archive, At, Member, Reading, parquet, tar, zip};

/// An archive as it was when it was listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    path: PathBuf,
    bytes: u64,
    modified: u64,
    stamp: u64,
    order: Order,
}

/// How its members are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Each where it lies.
    Random,
    /// The stream of a compressed tar.
    Stream(tar::Compression),
    /// The rows of a Parquet file.
    Rows(parquet::Table),
}

/// The place of a member, as numbers: of a part of a file its offset, of a member of a zip its header, packed size,
/// checksum and method, of a picture that is read in order its number and its offset.
pub type Place = [u64; 3];

impl Archive {
    /// The archive for a stored listing.
    pub fn facts(&self) -> Facts {
        let Self { path, bytes, modified, stamp, reading } = self;
        let order = match reading {
            Reading::Random => Order::Random,
            Reading::Ordered(window) => window.source().order(),
        };
        Facts { path: path.clone(), bytes: *bytes, modified: *modified, stamp: *stamp, order }
    }
}

impl Member {
    /// Its place for a stored listing.
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
    /// The members with these sizes and places, in their order.
    pub fn members(&self, places: &[(u64, Place)]) -> Vec<Member> {
        let Self { path, bytes, modified, stamp, order } = self;
        let ordered: Option<Box<dyn Ordered>> = match *order {
            Order::Random => None,
            Order::Rows(table) => Some(Box::new(table)),
            Order::Stream(compression) => {
                let span = |&(bytes, [number, offset, _]): &(u64, Place)| (number, Span { offset, bytes });
                let spans = OnceLock::from(places.iter().map(span).collect::<BTreeMap<u64, Span>>());
                Some(Box::new(tar::Stream { compression, spans: Arc::new(spans) }))
            }
        };
        let reading = ordered.map_or(Reading::Random, |source| Reading::Ordered(Window::new(source)));
        let (bytes, modified, stamp) = (*bytes, *modified, *stamp);
        let archive = Arc::new(Archive { path: path.clone(), bytes, modified, stamp, reading });
        let is_zip = super::Form::of(path) == Some(super::Form::Zip);
        let at = |place: Place| match order {
            Order::Random if is_zip => At::Zip(zip::Place::from_numbers(place)),
            Order::Random => At::Offset(place[0]),
            Order::Stream(_) | Order::Rows(_) => At::Number(place[0]),
        };
        places.iter().map(|&(bytes, place)| Member { archive: archive.clone(), at: at(place), bytes }).collect()
    }
}
