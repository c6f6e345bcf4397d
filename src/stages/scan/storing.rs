//! Writes a listing into the store, part by part: a row group for each shard, and others for files that are not
//! pictures and are before the first picture or after the last one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::iter::Peekable;
use std::ops::Range;
use std::path::Path;
use std::slice::Iter;

use super::listing::{Hashes, Summary};
use super::stored::{HEAD, Head, Stored, input};
use super::{Aside, Listing, Picture, Split};
use crate::io::IoError;
use crate::io::atomic::{Sink, Synced};
use crate::io::table::Table;
use crate::io::writer::Writer;
use crate::pictures::source::archive::{Archive, Facts, Member};
use crate::plan::Plan;

/// The settings for writing a listing into the store.
pub(crate) struct Storing<'a> {
    pub plan: &'a Plan,
    /// The hash of the settings for features and shards.
    pub settings: String,
    /// Cuts pictures into shards. A border depends only on the pictures of the shard and the next one, so that cutting
    /// a listing part by part gives the same shards.
    pub cut: &'a dyn Fn(&[Picture]) -> Vec<Range<usize>>,
}

impl Storing<'_> {
    /// Writes the listing, unless it is there; `notes` fills in the known contents of a part. Returns true if it
    /// replaces another listing.
    pub fn store(
        &self,
        listing: &Listing,
        notes: &mut dyn FnMut(&mut Listing) -> Result<(), IoError>,
    ) -> Result<bool, IoError> {
        let mut head = self.head(listing)?;
        let there = Stored::open(self.plan).ok().flatten().map(|stored| stored.head);
        match &listing.stored {
            Some(stored) => head.archives.clone_from(&stored.head.archives),
            None => {
                head.archives = archives(listing);
                head.summary = listing.summary().into_owned();
                (head.fingerprint, head.paths) = (listing.fingerprint(), listing.paths());
                if there.as_ref() == Some(&head) {
                    return Ok(false);
                }
            }
        }
        let parts = listing.parts();
        let parts = parts.iter().map(|part| {
            let mut part = listing.part(part)?.0;
            if listing.stored.is_some() {
                notes(part.to_mut())?;
            }
            Ok::<_, IoError>(part)
        });
        let (synced, head) = self.write(head, listing.len(), parts)?;
        synced.rename()?;
        Ok(there != Some(head))
    }

    /// Writes a listing of `count` pictures that is made part by part, and opens it. It replaces the listing in the
    /// store when it is [kept](Stored::keep).
    pub fn draft<E: From<IoError>>(
        &self,
        whole: &Listing,
        count: usize,
        parts: impl Iterator<Item = Result<Listing, E>>,
    ) -> Result<Listing, E> {
        let (synced, _) = self.write(self.head(whole)?, count, parts.map(|part| part.map(Cow::Owned)))?;
        Ok(Stored::draft(self.plan, synced)?.into_listing())
    }

    /// Makes the head of the stored listing, without the facts that depend on its pictures.
    fn head(&self, listing: &Listing) -> Result<Head, IoError> {
        Ok(Head {
            version: env!("CARGO_PKG_VERSION").to_string(),
            key: listing.key.clone(),
            input: input(self.plan).map_err(IoError::json(&self.plan.dir.listing()))?,
            settings: self.settings.clone(),
            classes: listing.classes.clone(),
            ..Head::default()
        })
    }

    /// Writes the parts of a listing of `count` pictures. Returns the head, completed by these.
    fn write<'l, E: From<IoError>>(
        &self,
        mut head: Head,
        count: usize,
        parts: impl Iterator<Item = Result<Cow<'l, Listing>, E>>,
    ) -> Result<(Synced, Head), E> {
        let path = self.plan.dir.listing();
        let archives = head.archives.clone();
        let numbers: Numbers = archives.iter().map(Facts::path).zip(0..).collect();
        let mut file = Sink::create(&path).map_err(IoError::from)?;
        let writer = Writer::new(&mut file, &path, &table(&[], &head.classes, &numbers), None, &[])?;
        let mut hashes = Hashes::default();
        head.summary = Summary::default();
        let mut left = Listing { classes: head.classes.clone(), ..Listing::default() };
        let (mut to_come, mut groups) = (count, Groups { writer, numbers: &numbers, have_pictures: Vec::new() });
        for part in parts {
            let part = part?;
            hashes.add(&part);
            head.summary.add(&part);
            to_come = to_come.saturating_sub(part.pictures.len());
            left = self.append(&mut groups, left, &part, to_come == 0)?;
        }
        let Groups { mut writer, have_pictures, .. } = groups;
        head.others = (0..have_pictures.len()).filter(|&group| !have_pictures[group]).collect();
        [head.fingerprint, head.paths] = hashes.finish(&head.classes);
        writer.note(HEAD, serde_json::to_string(&head).map_err(IoError::json(&path))?);
        writer.finish()?;
        Ok((file.sync().map_err(IoError::from)?, head))
    }

    /// Appends the shards of a part except the last, which may continue in the next part unless this one has the
    /// `last_pictures`, and returns the rest.
    fn append<W: Write>(
        &self,
        groups: &mut Groups<W>,
        mut left: Listing,
        part: &Listing,
        last_pictures: bool,
    ) -> Result<Listing, IoError> {
        // a listing in memory is not copied
        let is_alone = left.pictures.is_empty() && left.aside.is_empty();
        if !is_alone {
            left.pictures.extend_from_slice(&part.pictures);
            left.aside.extend_from_slice(&part.aside);
        }
        let all = if is_alone { part } else { &left };
        let (mut shards, end) = ((self.cut)(&all.pictures), all.pictures.len());
        let open = if last_pictures { end..end } else { shards.pop().unwrap_or_default() };
        let mut aside = all.aside.iter().peekable();
        for rows in shards {
            let is_last = last_pictures && rows.end == end;
            let mut rows = group(&all.pictures[rows], &mut aside);
            if is_last {
                rows.extend(aside.by_ref().map(Row::Aside));
            }
            groups.append(&rows, &all.classes)?;
        }
        if last_pictures || end == 0 {
            // these files belong to no shard
            groups.append(&aside.by_ref().map(Row::Aside).collect::<Vec<_>>(), &all.classes)?;
        }
        let written = all.aside.len() - aside.len();
        if is_alone {
            return Ok(Listing {
                pictures: part.pictures[open].to_vec(),
                aside: part.aside[written..].to_vec(),
                ..left
            });
        }
        left.pictures.drain(..open.start);
        left.aside.drain(..written);
        Ok(left)
    }
}

/// The row groups that were written.
struct Groups<'a, W: Write> {
    writer: Writer<'a, W>,
    numbers: &'a Numbers<'a>,
    /// Whether there are pictures in each.
    have_pictures: Vec<bool>,
}

impl<W: Write> Groups<'_, W> {
    /// Appends a row group, unless it is empty.
    fn append(&mut self, rows: &[Row], classes: &[String]) -> Result<(), IoError> {
        if !rows.is_empty() {
            self.have_pictures.push(rows.iter().any(|row| row.picture().is_some()));
            self.writer.append(table(rows, classes, self.numbers), &[])?;
        }
        Ok(())
    }
}

/// The rows of a shard: its pictures, and the other files before and between them.
fn group<'a>(pictures: &'a [Picture], aside: &mut Peekable<Iter<'a, Aside>>) -> Vec<Row<'a>> {
    let mut rows = Vec::with_capacity(pictures.len());
    for picture in pictures {
        while let Some(before) = aside.next_if(|aside| aside.path < picture.path) {
            rows.push(Row::Aside(before));
        }
        rows.push(Row::Picture(picture));
    }
    rows
}

/// The numbers of archives by their paths.
type Numbers<'a> = BTreeMap<&'a Path, u64>;

/// Every archive that has pictures of a listing in memory, once.
fn archives(listing: &Listing) -> Vec<Facts> {
    let mut all: Vec<&Archive> = Vec::new();
    // members of one archive are consecutive
    for archive in listing.pictures.iter().filter_map(|picture| Some(&picture.member.as_ref()?.archive)) {
        if all.last().is_none_or(|last| last.path() != archive.path()) {
            all.push(archive);
        }
    }
    all.into_iter().map(Archive::facts).collect()
}

/// A row of the listing.
#[derive(Clone, Copy)]
enum Row<'a> {
    Picture(&'a Picture),
    Aside(&'a Aside),
}

impl<'a> Row<'a> {
    fn picture(self) -> Option<&'a Picture> {
        if let Row::Picture(picture) = self { Some(picture) } else { None }
    }

    fn aside(self) -> Option<&'a Aside> {
        if let Row::Aside(aside) = self { Some(aside) } else { None }
    }

    fn member(self) -> Option<&'a Member> {
        self.picture()?.member.as_deref()
    }

    fn path(self) -> &'a str {
        match self {
            Row::Picture(picture) => &picture.path,
            Row::Aside(aside) => &aside.path,
        }
    }

    fn bytes(self) -> Option<u64> {
        match self {
            Row::Picture(picture) => Some(picture.bytes),
            Row::Aside(aside) => aside.bytes,
        }
    }

    /// Half of the hash of the contents: the first for 0, the second for 1.
    fn contents(self, half: usize) -> Option<u64> {
        let bytes = self.picture()?.contents.to_bytes();
        bytes.as_chunks().0.get(half).map(|&bytes| u64::from_le_bytes(bytes))
    }
}

fn table(rows: &[Row], classes: &[String], archives: &Numbers) -> Table {
    let rows = || rows.iter().copied();
    let splits = Split::WORDS.map(String::from);
    let escaped = rows().map(|row| row.picture().is_some_and(|picture| picture.raw.is_some())).collect();
    let at = |i: usize| rows().map(move |row: Row| Some(row.member()?.place()[i]));
    Table::new(rows().len())
        .text("path", rows().map(|row| Some(row.path())))
        .flags("escaped", escaped)
        .text("kind", rows().map(|row| Some(row.aside()?.kind.word())))
        .text("reason", rows().map(|row| Some(row.aside()?.reason.as_str())))
        .category("label", classes, rows().map(|row| row.picture()?.label.as_deref()))
        .category("split", &splits, rows().map(|row| Some(row.picture()?.split.word())))
        .counts("bytes", rows().map(Row::bytes))
        .counts("modified", rows().map(|row| Some(row.picture()?.modified)))
        .counts("stamp", rows().map(|row| Some(row.picture()?.stamp)))
        .counts("contents_0", rows().map(|row| row.contents(0)))
        .counts("contents_1", rows().map(|row| row.contents(1)))
        .counts("archive", rows().map(|row| archives.get(row.member()?.archive.path()).copied()))
        .counts("at_0", at(0))
        .counts("at_1", at(1))
        .counts("at_2", at(2))
}
