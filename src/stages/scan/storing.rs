//! Writes a listing into the store, part by part: a row group for each shard.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::iter::Peekable;
use std::ops::Range;
use std::path::Path;
use std::slice::Iter;
use std::sync::Arc;

use super::listing::{Summary, finish, hash_aside, hash_pictures};
use super::stored::{HEAD, Head, Stored, input};
use super::{Aside, Listing, Picture, Split};
use crate::io::table::Table;
use crate::io::writer::Writer;
use crate::io::{Digest, IoError, atomic};
use crate::pictures::source::archive::{Archive, Member};
use crate::plan::Plan;

/// How a listing is written into the store.
pub(crate) struct Storing<'a> {
    pub plan: &'a Plan,
    /// The hash of the settings by which features are computed and tables are cut.
    pub settings: String,
    /// Cuts pictures into shards. It decides by the pictures of a shard and the one behind, so that parts of a listing
    /// are cut as the whole.
    pub cut: &'a dyn Fn(&[Picture]) -> Vec<Range<usize>>,
}

impl Storing<'_> {
    /// Writes the listing, unless it is there; `notes` notes what is known of the contents of a part by now. True when
    /// it was written.
    pub fn store(
        &self,
        listing: &Listing,
        notes: &mut dyn FnMut(&mut Listing) -> Result<(), IoError>,
    ) -> Result<bool, IoError> {
        let archives = archives(listing)?;
        let mut head = self.head(listing)?;
        head.archives = archives.iter().map(|archive| archive.facts()).collect();
        if listing.stored.is_none() {
            (head.summary, head.fingerprint, head.paths) =
                (listing.summary().into_owned(), listing.fingerprint(), listing.paths());
            if Stored::open(self.plan).ok().flatten().is_some_and(|stored| stored.head == head) {
                return Ok(false);
            }
        }
        let numbers: Numbers = archives.iter().zip(0..).map(|(archive, number)| (archive.path(), number)).collect();
        let parts = listing.parts();
        let mut parts = parts.iter().map(|part| {
            let mut part = listing.part(part)?.0;
            if listing.stored.is_some() {
                notes(part.to_mut())?;
            }
            Ok::<_, IoError>(part)
        });
        self.write(head, &numbers, &mut parts, listing).map(|()| true)
    }

    /// Makes the head of the stored listing, but for its summary and hashes.
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

    /// Writes the pictures and other files of `parts`; `whole` has the other files of all parts.
    fn write<'l>(
        &self,
        mut head: Head,
        numbers: &Numbers,
        parts: &mut dyn Iterator<Item = Result<Cow<'l, Listing>, IoError>>,
        whole: &Listing,
    ) -> Result<(), IoError> {
        let path = self.plan.dir.listing();
        let (mut all, mut paths) = (blake3::Hasher::new(), blake3::Hasher::new());
        head.summary = Summary::default();
        let fill = |file: &mut atomic::Sink| {
            let mut writer = Writer::new(file, &path, &table(&[], &head.classes, numbers), None, &[])?;
            let mut left = Listing { classes: head.classes.clone(), ..Listing::default() };
            for part in parts {
                let part = part?;
                hash_pictures(&part, &mut all, &mut paths);
                head.summary.add(&part);
                left = self.append(&mut writer, numbers, left, &part)?;
            }
            let mut aside = left.aside.iter().peekable();
            let mut last = group(&left.pictures, &mut aside);
            last.extend(aside.map(Row::Aside));
            writer.append(table(&last, &head.classes, numbers), &[])?;
            whole.for_each(|part| {
                hash_aside(part, &mut all);
                Ok::<_, IoError>(())
            })?;
            head.fingerprint = finish(all, &head.classes);
            head.paths = paths.finalize().to_hex().to_string();
            writer.note(HEAD, serde_json::to_string(&head).map_err(IoError::json(&path))?);
            writer.finish()
        };
        atomic::write(&path, fill).map(|_: Digest| ())
    }

    /// Appends the shards of a part but the last, which may go on in the next part, and gives the rest.
    fn append<W: Write>(
        &self,
        writer: &mut Writer<W>,
        numbers: &Numbers,
        left: Listing,
        part: &Listing,
    ) -> Result<Listing, IoError> {
        let joined;
        let all = match left.pictures.is_empty() && left.aside.is_empty() {
            // one that is held is not copied
            true => part,
            false => {
                joined = Listing {
                    pictures: left.pictures.iter().chain(&part.pictures).cloned().collect(),
                    aside: left.aside.iter().chain(&part.aside).cloned().collect(),
                    ..Listing::default()
                };
                &joined
            }
        };
        let mut shards = (self.cut)(&all.pictures);
        let open = shards.pop().unwrap_or_default();
        let mut aside = all.aside.iter().peekable();
        for rows in shards {
            let rows = group(&all.pictures[rows], &mut aside);
            writer.append(table(&rows, &left.classes, numbers), &[])?;
        }
        Ok(Listing { pictures: all.pictures[open].to_vec(), aside: aside.cloned().collect(), ..left })
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

/// Every archive that pictures lie in, once.
fn archives(listing: &Listing) -> Result<Vec<Arc<Archive>>, IoError> {
    let mut all: Vec<Arc<Archive>> = Vec::new();
    listing.for_each(|part| {
        let members = part.pictures.iter().filter_map(|picture| picture.member.as_ref());
        // members of one archive stand together
        for archive in members.map(|member| &member.archive) {
            if all.last().is_none_or(|last| last.path() != archive.path()) {
                all.push(archive.clone());
            }
        }
        Ok::<_, IoError>(())
    })?;
    Ok(all)
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

    /// Half of the hash of the contents.
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

#[cfg(test)]
impl Storing<'_> {
    /// Writes a listing of so many pictures that are not there, a part at a time.
    pub(crate) fn make(&self, count: usize) -> Result<(), IoError> {
        use super::{Contents, archives::Root, list::Found, stored::key};
        const PART: usize = 100_000;
        let key = key(self.plan, &Root::Folder, &Found::default());
        let whole = Listing { key: key.map_err(IoError::json(&self.plan.dir.listing()))?, ..Listing::default() };
        let picture = |i: usize| Picture {
            path: format!("photographs/{:05}/{i:012}.jpg", i / 1000),
            raw: None,
            member: None,
            label: None,
            split: Split::Train,
            bytes: 100_000 + i as u64 % 400_000,
            modified: 1_700_000_000_000_000_000 + i as u64,
            stamp: i as u64 + 1,
            contents: Contents::Unknown,
        };
        let mut parts = (0..count).step_by(PART).map(|first| {
            let pictures = (first..count.min(first + PART)).map(picture).collect();
            Ok(Cow::Owned(Listing { pictures, ..Listing::default() }))
        });
        self.write(self.head(&whole)?, &Numbers::new(), &mut parts, &whole)
    }
}
