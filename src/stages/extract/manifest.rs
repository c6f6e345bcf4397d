//! `manifest.parquet`: a row for every file met.

use super::duplicates::first_of_each;
use super::shard::Outcome;
use crate::io::table::Table;
use crate::io::writer::Writer;
use crate::io::{Digest, IoError, atomic};
use crate::stages::scan::{Aside, Listing, Picture, Split};
use crate::store::RunDir;
use std::collections::BTreeSet;

/// A file from which a row is made; the rows themselves are never held in memory.
#[derive(Clone, Copy)]
enum Row<'a> {
    Picture(&'a Picture, Option<&'a Outcome>, Option<u32>),
    Aside(&'a Aside),
}

/// Returns the outcomes of a part of the listing, by the number of the part.
pub type Outcomes<'a> = &'a mut dyn FnMut(usize) -> Result<Vec<Outcome>, IoError>;

/// Writes the table with a row for every file, sorted by path; pictures in compressed archives keep the order of the
/// archive. Each part of the listing is a row group. Without outcomes the pictures have the status `listed`; `kinds`
/// are those of failed outcomes, and `hashed` adds the columns about copies.
pub fn write(
    dir: &RunDir,
    listing: &Listing,
    kinds: impl Iterator<Item = String>,
    mut outcomes: Option<Outcomes>,
    hashed: bool,
) -> Result<Digest, IoError> {
    let of_scan = [true, false].into_iter().flat_map(|failed| listing.kinds(failed).into_keys().map(String::from));
    let words: BTreeSet<String> = kinds.chain(of_scan).collect();
    let words: Vec<String> = words.into_iter().collect();
    let path = dir.manifest();
    let metadata = [("featurize.version".to_string(), env!("CARGO_PKG_VERSION").to_string())];
    let fill = |file: &mut atomic::Sink| {
        let none = Listing { classes: listing.classes.clone(), ..Listing::default() };
        let mut writer = Writer::new(file, &path, &table(&none, None, &words, hashed), None, &metadata)?;
        for (number, part) in listing.parts().iter().enumerate() {
            let outcomes = outcomes.as_mut().map(|outcomes| outcomes(number)).transpose()?;
            writer.append(table(&listing.part(part)?.0, outcomes.as_deref(), &words, hashed), &[])?;
        }
        writer.finish()
    };
    atomic::write(&path, fill)
}

fn table(listing: &Listing, outcomes: Option<&[Outcome]>, words: &[String], hashed: bool) -> Table {
    let firsts = match (hashed, outcomes) {
        (true, Some(outcomes)) => first_of_each(outcomes),
        _ => Vec::new(),
    };
    let rows = rows(listing, outcomes, &firsts);
    let each = || rows.clone();
    let splits = Split::WORDS.map(String::from);
    let statuses = ["ok", "skipped", "failed", "listed"].map(String::from);
    // of a million rows hardly any has an error
    let errors: Vec<String> = each().filter_map(Row::error).collect();
    let mut next_error = errors.iter();
    let table = Table::new(listing.pictures.len() + listing.aside.len())
        .text("path", each().map(|row| Some(row.path())))
        .category(
            "label",
            &listing.classes,
            each().map(|row| row.picture().and_then(|picture| picture.label.as_deref())),
        )
        .category("split", &splits, each().map(|row| row.picture().map(|picture| picture.split.word())))
        .counts("bytes", each().map(Row::bytes))
        .counts("width", each().map(|row| row.size().map(|size| size[0])))
        .counts("height", each().map(|row| row.size().map(|size| size[1])))
        .category("status", &statuses, each().map(|row| Some(row.status())))
        .category("kind", words, each().map(Row::kind))
        .text("error", each().map(|row| row.kind().and_then(|_| next_error.next()).map(String::as_str)));
    if !hashed {
        return table;
    }
    let sums: Vec<Option<String>> = each().map(|row| row.outcome()?.sha256().map(|sum| sum.to_string())).collect();
    let originals = each().map(|row| match row {
        Row::Picture(_, _, Some(first)) => Some(listing.pictures[first as usize].path.as_str()),
        _ => None,
    });
    table.text("sha256", sums.iter().map(Option::as_deref)).text("duplicate_of", originals)
}

/// Merges the two lists, which are sorted by path except for pictures in compressed archives. The rows are made again
/// for each column, since a million rows would take most of the memory.
fn rows<'a>(
    listing: &'a Listing,
    outcomes: Option<&'a [Outcome]>,
    firsts: &'a [Option<u32>],
) -> impl Iterator<Item = Row<'a>> + Clone {
    let mut pictures = listing.pictures.iter().enumerate().peekable();
    let mut aside = listing.aside.iter().peekable();
    std::iter::from_fn(move || match (pictures.peek(), aside.peek()) {
        (Some((_, picture)), Some(before)) if before.path < picture.path => aside.next().map(Row::Aside),
        (Some(_), _) => pictures.next().map(|(i, picture)| {
            let outcome = outcomes.and_then(|outcomes| outcomes.get(i));
            Row::Picture(picture, outcome, firsts.get(i).copied().flatten())
        }),
        (None, _) => aside.next().map(Row::Aside),
    })
}

impl<'a> Row<'a> {
    fn path(self) -> &'a str {
        match self {
            Row::Picture(picture, ..) => &picture.path,
            Row::Aside(aside) => &aside.path,
        }
    }

    fn picture(self) -> Option<&'a Picture> {
        match self {
            Row::Picture(picture, ..) => Some(picture),
            Row::Aside(_) => None,
        }
    }

    fn outcome(self) -> Option<&'a Outcome> {
        match self {
            Row::Picture(_, outcome, _) => outcome,
            Row::Aside(_) => None,
        }
    }

    fn bytes(self) -> Option<u64> {
        match self {
            Row::Picture(picture, ..) => picture.known_bytes(),
            Row::Aside(aside) => aside.bytes,
        }
    }

    fn size(self) -> Option<[u64; 2]> {
        match self.outcome()? {
            Outcome::Ok { width, height, .. } => Some([*width, *height]),
            Outcome::Failed { .. } => None,
        }
    }

    fn status(self) -> &'static str {
        match self {
            Row::Picture(_, None, _) => "listed",
            Row::Picture(_, Some(outcome), _) if outcome.is_failed() => "failed",
            Row::Picture(..) => "ok",
            Row::Aside(aside) if aside.kind.is_failed() => "failed",
            Row::Aside(_) => "skipped",
        }
    }

    fn kind(self) -> Option<&'a str> {
        match self {
            Row::Picture(_, Some(Outcome::Failed { kind, .. }), _) => Some(kind),
            Row::Picture(..) => None,
            Row::Aside(aside) => Some(aside.kind.word()),
        }
    }

    /// The error of a row that has a kind.
    fn error(self) -> Option<String> {
        match self {
            Row::Picture(_, Some(Outcome::Failed { kind, error, .. }), _) => Some(format!("{kind}: {error}")),
            Row::Picture(..) => None,
            Row::Aside(aside) if aside.kind.is_failed() => Some(format!("{}: {}", aside.kind.word(), aside.reason)),
            Row::Aside(aside) => Some(aside.reason.clone()),
        }
    }
}
