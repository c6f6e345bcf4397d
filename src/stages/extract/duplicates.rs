//! Pictures with the same contents, byte by byte, by their SHA-256.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest;

use super::ExtractError;
use super::shard::{self, Outcome, Shard};
use crate::pictures::reader::in_pieces;
use crate::pictures::source::most_bytes;
use crate::pictures::{Listed, Order, Source, Stream, StreamError};
use crate::plan::Plan;
use crate::progress::{Ui, plural};
use crate::stages::scan::{Contents, Listing, Picture, Split, printable};

/// Groups that are listed one by one.
const LISTED: usize = 20;
/// Groups that are shown while the run is at work.
const SHOWN: usize = 5;
/// Pictures of a group that are listed for each split.
const MEMBERS: usize = 4;

/// SHA-256 of a file's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let byte = |i: usize| text.get(2 * i..2 * i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
        let bytes = bytes.filter(|_| text.len() == 64).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| de::Error::custom("not the 64 digits of a SHA-256"))
    }
}

/// Pictures that are copies of others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Duplicates {
    /// Pictures with the contents of another picture that comes before them in the order of paths.
    pub copies: usize,
    /// Contents that several pictures have, each counted once.
    pub groups: usize,
    /// Those of these contents that are both in train and in test.
    pub in_both_splits: usize,
    /// Those of these contents whose pictures have more than one label.
    pub with_several_labels: usize,
    /// The first groups, those in both splits before the others.
    pub listed: Vec<Vec<Member>>,
}

/// A picture of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub path: String,
    pub label: Option<String>,
    pub split: Split,
}

/// Returns for each picture the first one with the same contents; none for that first one itself and for pictures
/// without features.
pub fn first_of_each(outcomes: &[Outcome]) -> Vec<Option<u32>> {
    let mut first: HashMap<Sha256, u32> = HashMap::new();
    let of = |(i, outcome): (usize, &Outcome)| match first.entry(outcome.sha256().filter(|_| !outcome.is_failed())?) {
        Entry::Occupied(entry) => Some(*entry.get()),
        Entry::Vacant(entry) => {
            entry.insert(i as u32);
            None
        }
    };
    outcomes.iter().enumerate().map(of).collect()
}

impl Duplicates {
    /// Finds the copies among `pictures`.
    pub fn among(pictures: &[Picture], outcomes: &[Outcome]) -> Self {
        let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (i, first) in first_of_each(outcomes).into_iter().enumerate() {
            if let Some(first) = first {
                groups.entry(first).or_insert_with(|| vec![first]).push(i as u32);
            }
        }
        let mut found = Self { groups: groups.len(), ..Self::default() };
        let mut others = Vec::new();
        for group in groups.values() {
            let group: Vec<&Picture> = group.iter().map(|&i| &pictures[i as usize]).collect();
            found.copies += group.len() - 1;
            found.with_several_labels += usize::from(group.iter().any(|picture| picture.label != group[0].label));
            let both = group.iter().any(|picture| picture.split != group[0].split);
            found.in_both_splits += usize::from(both);
            let list = if both { &mut found.listed } else { &mut others };
            if list.len() < LISTED {
                list.push(members(&group));
            }
        }
        others.truncate(LISTED - found.listed.len());
        found.listed.append(&mut others);
        found
    }

    /// Warns the user of the copies.
    pub fn tell(&self, ui: &Ui) {
        if self.groups == 0 {
            return;
        }
        let both = self.in_both_splits.min(self.listed.len());
        let (leaks, others) = self.listed.split_at(both);
        let column = "the column `duplicate_of` of manifest.parquet has all of them";
        if self.in_both_splits > 0 {
            let (shared, list) = (plural(self.in_both_splits, "picture"), list(leaks));
            ui.warn(&format!(
                "train and test share {shared}, byte by byte: what is measured on test is too good by them; \
                 {column}{list}"
            ));
        }
        if self.with_several_labels > 0 {
            let several = are(self.with_several_labels, "there under more than one label");
            ui.warn(&format!("{several}; {column}"));
        }
        let have = if self.groups == 1 { "1 has copies".into() } else { format!("{} have copies", self.groups) };
        let text = match self.copies {
            1 => "1 picture is a copy of another".to_string(),
            n => format!("{} are copies of another ({have})", plural(n, "picture")),
        };
        ui.note(&format!("extract   {text}; {column}{}", list(others)));
    }
}

/// `1 picture is …`, `2 pictures are …`.
fn are(n: usize, what: &str) -> String {
    format!("{} {} {what}", plural(n, "picture"), if n == 1 { "is" } else { "are" })
}

fn members(group: &[&Picture]) -> Vec<Member> {
    let of = |split: Split| group.iter().filter(move |picture| picture.split == split).take(MEMBERS);
    let member = |picture: &&Picture| Member {
        path: picture.path.clone(),
        label: picture.label.as_deref().map(str::to_string),
        split: picture.split,
    };
    of(Split::Train).chain(of(Split::Test)).map(member).collect()
}

fn list(groups: &[Vec<Member>]) -> String {
    let line = |group: &Vec<Member>| {
        let paths: Vec<_> = group.iter().map(|member| printable(&member.path)).collect();
        format!("\n  {}", paths.join(" = "))
    };
    let more = if groups.len() > SHOWN { "\n  …" } else { "" };
    groups.iter().take(SHOWN).map(line).collect::<String>() + more
}

/// Hashes the pictures that were extracted before `input.hash` was set: they are read again, but neither decoded nor
/// sent through the network.
pub fn complete(plan: &Plan, listing: &Listing, shards: &[Shard], threads: usize, ui: &Ui) -> Result<(), ExtractError> {
    let source = &Listed::new(&plan.pipeline, &listing.pictures);
    let most = most_bytes(&plan.backbone.decoding);
    for shard in shards {
        ui.check()?;
        let mut kept = shard::kept(&plan.dir, &shard.id).unwrap_or_default();
        let outcomes = kept.outcomes.iter().enumerate();
        let unknown = outcomes.filter(|(_, outcome)| !outcome.is_failed() && outcome.sha256().is_none());
        let unknown: Vec<usize> = unknown.map(|(row, _)| shard.rows.start + row).collect();
        if unknown.is_empty() {
            continue;
        }
        let hash = |number: usize| {
            let (mut sha256, mut blake3) = (sha2::Sha256::new(), blake3::Hasher::new());
            let opened = source.open(number, most).ok()?;
            in_pieces(opened, |piece| {
                sha256.update(piece);
                blake3.update(piece);
            })
            .ok()?;
            // if the file has changed since the extraction, its hash does not belong to the features
            let is_known =
                [Contents::Unknown, Contents::hashed(&blake3.finalize())].contains(&listing.pictures[number].contents);
            is_known.then(|| Sha256(sha256.finalize().into()))
        };
        let threads = threads.max(source.requests());
        let stream = Stream { source, wanted: &unknown, threads, order: Order::Any, ui };
        stream.each(hash, |number, sha256| {
            kept.outcomes[number - shard.rows.start].set_sha256(sha256);
            Ok::<_, StreamError>(())
        })?;
        kept.write(&plan.dir, &shard.id)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_goes_through_json() {
        let empty = Sha256::of(b"");
        let text = serde_json::to_string(&empty).expect("JSON");
        assert_eq!(text, "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"");
        assert_eq!(serde_json::from_str::<Sha256>(&text).expect("read"), empty);
        for wrong in ["\"e3b0\"", "\"zz\"", &text.replace("e3", "é")] {
            assert!(serde_json::from_str::<Sha256>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn copies_are_grouped_and_those_in_both_splits_come_first() {
        let picture = |path: &str, label: &str, split| Picture {
            path: path.into(),
            raw: None,
            member: None,
            label: Some(label.into()),
            split,
            bytes: 1,
            modified: 0,
            stamp: 1,
            contents: Contents::Unknown,
        };
        let ok = |bytes: &[u8]| Outcome::Ok { width: 1, height: 1, sha256: Some(Sha256::of(bytes)) };
        let failed = Outcome::Failed { kind: "empty".into(), error: String::new(), sha256: Some(Sha256::of(b"")) };
        let pictures = [
            picture("a", "x", Split::Train),
            picture("b", "x", Split::Train),
            picture("c", "x", Split::Train),
            picture("d", "y", Split::Test),
            picture("e", "y", Split::Test),
            picture("f", "y", Split::Test),
            picture("g", "y", Split::Test),
        ];
        let outcomes = [ok(b"1"), ok(b"1"), ok(b"2"), ok(b"2"), ok(b"3"), failed.clone(), failed];
        let first = [None, Some(0), None, Some(2), None, None, None];
        assert_eq!(first_of_each(&outcomes), first);
        let found = Duplicates::among(&pictures, &outcomes);
        assert_eq!((found.copies, found.groups, found.in_both_splits, found.with_several_labels), (2, 2, 1, 1));
        let paths = |group: &[Member]| group.iter().map(|member| member.path.clone()).collect::<Vec<_>>();
        assert_eq!(found.listed.iter().map(|group| paths(group)).collect::<Vec<_>>(), [["c", "d"], ["a", "b"]]);
    }
}
