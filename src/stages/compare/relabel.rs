//! `relabel.csv`: the labels of all pictures, doubtful ones first, in the form that `input.split: {csv: …}` reads. The
//! user corrects the column `label` in a copy of the file, or uses the column `suggested` as the labels.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use super::{Rows, SAME, Suspect, Verdict};
use crate::io::csv_text::field;
use crate::io::{Digest, IoError, atomic};
use crate::learn::neighbours::Neighbours;
use crate::progress::plural;
use crate::stages::scan::{Listing, Split};

/// A label in doubt.
pub(super) struct Doubt<'a> {
    path: &'a str,
    label: &'a str,
    test: bool,
    suggested: &'a str,
    why: String,
}

impl Rows {
    /// The `suspects`, and the pictures that have a copy with another label. For such a copy its own label is
    /// suggested, unless its neighbours have more votes for another one.
    pub(super) fn doubts<'a>(
        &'a self,
        suspects: &'a [Suspect],
        found: &[Neighbours],
        verdicts: &[Verdict],
        classes: &'a [String],
    ) -> Vec<Doubt<'a>> {
        let mut doubts = Vec::new();
        for Suspect { picture, suggested, votes, of, .. } in suspects {
            let why = format!("{votes} of {} {} {suggested}", plural(*of, "neighbour"), verb(*votes));
            let label = picture.label.as_deref().unwrap_or_default();
            doubts.push(Doubt { path: &picture.path, label, test: picture.test, suggested, why });
        }
        for (one, found) in verdicts.iter().zip(found).filter(|(one, _)| !one.suspected) {
            let differs = |row: usize| self.labels[row].is_some_and(|class| Some(class) != self.labels[one.row]);
            let copy = found.nearest.iter().find(|near| near.similarity >= SAME && differs(near.row));
            let (Some(copy), Some(class)) = (copy, self.labels[one.row]) else { continue };
            let suggested = one.vote.map_or(class, |vote| if vote.own < vote.votes { vote.class } else { class });
            let other = self.labels[copy.row].map_or("", |class| classes[class].as_str());
            let why = format!("the same picture as {} with the label {other}", self.keys[copy.row].path);
            let test = self.groups[one.row] == 1;
            let [label, suggested] = [class, suggested].map(|class| classes[class].as_str());
            doubts.push(Doubt { path: &self.keys[one.row].path, label, test, suggested, why });
        }
        doubts
    }
}

fn verb(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// Writes the `doubts`, then all other pictures of the listing with their labels unchanged. The column `split` is
/// written only where there is a test split.
pub(super) fn write(path: &Path, listing: &Listing, doubts: &[Doubt]) -> Result<Digest, IoError> {
    let splits = listing.len_of(Split::Test) > 0;
    let doubted: HashSet<&str> = doubts.iter().map(|doubt| doubt.path).collect();
    atomic::write(path, |file| {
        let failed = IoError::write(path);
        let split = if splits { "split," } else { "" };
        writeln!(file, "path,label,{split}suggested,why").map_err(&failed)?;
        let mut line = |path: &str, label: &str, split: Split, [suggested, why]: [&str; 2]| {
            let split = if splits { format!("{},", split.word()) } else { String::new() };
            let [path, label, suggested, why] = [path, label, suggested, why].map(field);
            writeln!(file, "{path},{label},{split}{suggested},{why}").map_err(&failed)
        };
        for Doubt { path, label, test, suggested, why } in doubts {
            let split = if *test { Split::Test } else { Split::Train };
            line(path, label, split, [suggested, why])?;
        }
        for part in listing.parts() {
            for picture in listing.part(&part)?.0.pictures.iter().filter(|one| !doubted.contains(one.path.as_str())) {
                let label = picture.label.as_deref().unwrap_or_default();
                line(&picture.path, label, picture.split, [label, ""])?;
            }
        }
        Ok(())
    })
}
