//! Writes a listing into the store, part by part: a row group for each shard.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
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
        let path = self.plan.dir.listing();
        let archives = archives(listing)?;
        let mut head = Head {
            version: env!("CARGO_PKG_VERSION").to_string(),
            key: listing.key.clone(),
            input: input(self.plan).map_err(IoError::json(&path))?,
            settings: self.settings.clone(),
            classes: listing.classes.clone(),
            archives: archives.iter().map(|archive| archive.facts()).collect(),
            ..Head::default()
        };
        if listing.stored.is_none() {
            (head.summary, head.fingerprint, head.paths) =
                (listing.summary().into_owned(), listing.fingerprint(), listing.paths());
            if Stored::open(&self.plan.dir).ok().flatten().is_some_and(|stored| stored.head == head) {
                return Ok(false);
            }
        }
        let numbers: Numbers = archives.iter().zip(0..).map(|(archive, number)| (archive.path(), number)).collect();
        let (mut all, mut paths) = (blake3::Hasher::new(), blake3::Hasher::new());
        head.summary = Summary::default();
        let fill = |file: &mut atomic::Sink| {
            let empty = table(&[], &head.classes, &numbers);
            let mut writer = Writer::new(file, &path, &empty, None, &[])?;
            let parts = listing.parts();
            let mut left = Listing { classes: listing.classes.clone(), ..Listing::default() };
            for (i, part) in parts.iter().enumerate() {
                let mut part = listing.part(part)?.0;
                if listing.stored.is_some() {
                    notes(part.to_mut())?;
                }
                hash_pictures(&part, &mut all, &mut paths);
                head.summary.add(&part);
                let is_last = i + 1 == parts.len();
                left = self.append(&mut writer, &numbers, left, &part, is_last)?;
            }
            listing.for_each(|part| {
                hash_aside(part, &mut all);
                Ok::<_, IoError>(())
            })?;
            head.fingerprint = finish(all.clone(), &head.classes);
            head.paths = paths.finalize().to_hex().to_string();
            writer.note(HEAD, serde_json::to_string(&head).map_err(IoError::json(&path))?);
            writer.finish()
        };
        atomic::write(&path, fill).map(|_: Digest| true)
    }

    /// Appends the shards of a part; gives the pictures of the last one, which may go on in the next part.
    fn append<W: Write>(
        &self,
        writer: &mut Writer<W>,
        numbers: &Numbers,
        left: Listing,
        part: &Listing,
        is_last: bool,
    ) -> Result<Listing, IoError> {
        let joined = Listing {
            pictures: left.pictures.iter().chain(&part.pictures).cloned().collect(),
            aside: left.aside.iter().chain(&part.aside).cloned().collect(),
            ..Listing::default()
        };
        // one that is held is not copied
        let all = if left.pictures.is_empty() && left.aside.is_empty() { part } else { &joined };
        let mut shards = (self.cut)(&all.pictures);
        let open = if is_last { None } else { shards.pop() };
        let mut aside = all.aside.iter().peekable();
        for (i, rows) in shards.iter().enumerate() {
            let mut group: Vec<Row> = Vec::with_capacity(rows.len());
            for picture in &all.pictures[rows.clone()] {
                while let Some(before) = aside.next_if(|aside| aside.path < picture.path) {
                    group.push(Row::Aside(before));
                }
                group.push(Row::Picture(picture));
            }
            if is_last && i + 1 == shards.len() {
                group.extend(aside.by_ref().map(Row::Aside));
            }
            writer.append(table(&group, &left.classes, numbers), &[])?;
        }
        let pictures = open.map_or_else(Vec::new, |rows| all.pictures[rows].to_vec());
        Ok(Listing { pictures, aside: aside.cloned().collect(), ..left })
    }
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
