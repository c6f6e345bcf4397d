//! Notes of the contents that the pictures of a run had when they were extracted. They tell which pictures have
//! changed.
//!
//! The record of each shard notes, for each picture, the stamp of its file and the hash of its contents. If the stamp
//! is the same, the contents are taken to be the same. If it is not, the file is read and hashed: a touched or copied
//! file costs one read, and features are computed again only if the contents are different.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::shard::Kept;
use super::{ExtractError, beside, journal};
use crate::io::sealed;
use crate::pictures::reader::in_pieces;
use crate::pictures::source::most_bytes;
use crate::pictures::{Listed, Order, Source, Stream, StreamError};
use crate::plan::Plan;
use crate::progress::{StageLine, Ui, plural};
use crate::stage::StageId;
use crate::stages::scan::{Contents, Listing, Picture, first_eight};
use crate::store::RunDir;

/// Pictures that are read to learn whether another run with pictures of the same names has pictures of the same
/// contents.
const TRIED: usize = 16;

/// A picture's file when it was extracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Hash of its path.
    pub path: u64,
    pub stamp: u64,
    pub contents: Contents,
}

impl Note {
    /// The note of `picture` with the contents that were extracted.
    pub fn of(picture: &Picture, contents: Contents) -> Self {
        Self { path: path(picture), stamp: picture.stamp, contents }
    }
}

fn path(picture: &Picture) -> u64 {
    first_eight(&blake3::hash(picture.path.as_bytes()))
}

/// A note is written as 64 digits: path, stamp and contents.
impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let contents = u128::from_be_bytes(self.contents.to_bytes());
        serializer.collect_str(&format_args!("{:016x}{:016x}{contents:032x}", self.path, self.stamp))
    }
}

impl<'de> Deserialize<'de> for Note {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = |range| text.get(range).and_then(|digits| u128::from_str_radix(digits, 16).ok());
        let parts = || Some((number(0..16)? as u64, number(16..32)? as u64, number(32..64)?));
        let (path, stamp, contents) =
            parts().filter(|_| text.len() == 64).ok_or_else(|| de::Error::custom("not the 64 digits of a note"))?;
        Ok(Self { path, stamp, contents: Contents::from_bytes(contents.to_be_bytes()) })
    }
}

/// All notes of the store.
#[derive(Debug, Default)]
pub struct Notes {
    /// Sorted by path.
    notes: Vec<Known>,
    files: Vec<PathBuf>,
    /// New stamps of files whose contents are unchanged: by the file that has the note, and by the hash of the path.
    touched: BTreeMap<PathBuf, BTreeMap<u64, u64>>,
}

/// A note in 40 bytes: a large run has millions of them.
#[derive(Clone, Copy, Debug)]
struct Known {
    path: u64,
    stamp: u64,
    /// [`Contents`] in the encoding of the store.
    contents: [u8; 16],
    /// The index of the file that the note was read from, or [`OTHER_RUN`].
    file: u32,
}

/// The file of a note of another run.
const OTHER_RUN: u32 = u32::MAX;

impl Known {
    fn new(Note { path, stamp, contents }: Note, file: u32) -> Self {
        Self { path, stamp, contents: contents.to_bytes(), file }
    }

    fn contents(&self) -> Contents {
        Contents::from_bytes(self.contents)
    }
}

/// Fills in the contents of all pictures for which the store has a note.
pub fn resolve(plan: &Plan, listing: &mut Listing, ui: &Ui) -> Result<Notes, ExtractError> {
    let is_unknown = |picture: &Picture| picture.contents == Contents::Unknown;
    let mut notes = if listing.pictures.iter().any(is_unknown) { Notes::read(&plan.dir) } else { Notes::default() };
    let is_new = |picture: &Picture| is_unknown(picture) && notes.of(path(picture)).next().is_none();
    if listing.pictures.iter().any(is_new) {
        notes.add_others(plan)?;
    }
    notes.resolve(plan, listing, ui)?;
    Ok(notes)
}

impl Notes {
    /// Reads every note of a store.
    pub fn read(dir: &RunDir) -> Self {
        #[derive(Deserialize)]
        struct Noted {
            notes: Vec<Note>,
        }
        let files = dir.own_files(&dir.shards());
        let mut notes = Vec::new();
        for (path, file) in files.iter().zip(0..) {
            let noted = match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => sealed::read::<Noted>(path).map_or_else(|_| Vec::new(), |read| read.notes),
                Some(journal::EXTENSION) => journal::notes(path),
                _ => Vec::new(),
            };
            notes.extend(noted.into_iter().map(|note| Known::new(note, file)));
        }
        notes.sort_unstable_by_key(|known| (known.path, known.file));
        Self { notes, files, touched: BTreeMap::new() }
    }

    /// Adds the notes of runs with the same extraction. These are not updated, since they belong to the other runs.
    pub fn add_others(&mut self, plan: &Plan) -> Result<(), ExtractError> {
        for other in beside::others(plan)? {
            // a file that was unreadable in that run may be readable now
            let notes = Self::read(&other).notes.into_iter().filter(|known| known.contents() != Contents::Unread);
            self.notes.extend(notes.map(|known| Known { file: OTHER_RUN, ..known }));
        }
        self.notes.sort_by_key(|known| known.path);
        Ok(())
    }

    fn of(&self, path: u64) -> impl Iterator<Item = &Known> {
        let first = self.notes.partition_point(|known| known.path < path);
        self.notes[first..].iter().take_while(move |known| known.path == path)
    }

    /// Fills in the contents of the pictures of a part. Files that may have changed are read, in parallel. Of pictures
    /// known only by notes of other runs, a few are read first, and the rest only if one of these has the contents of
    /// its note: otherwise different pictures with the same names would be read twice.
    pub fn resolve(&mut self, plan: &Plan, part: &mut Listing, ui: &Ui) -> Result<(), ExtractError> {
        ui.check()?;
        let mut doubtful = Vec::new();
        let pictures = part.pictures.iter_mut().enumerate();
        for (i, picture) in pictures.filter(|(_, picture)| picture.contents == Contents::Unknown) {
            let mut known = self.of(path(picture)).peekable();
            if known.peek().is_none() {
                continue;
            }
            match known.find(|known| known.stamp == picture.stamp && picture.stamp != 0) {
                Some(known) => picture.contents = known.contents(),
                None => doubtful.push(i),
            }
        }
        let is_own = |i: &usize| self.of(path(&part.pictures[*i])).any(|known| known.file != OTHER_RUN);
        let (own, others): (Vec<usize>, Vec<usize>) = doubtful.into_iter().partition(is_own);
        self.read_again(plan, part, &own, ui)?;
        let step = others.len().div_ceil(TRIED).max(1);
        let (tried, rest): (Vec<usize>, Vec<usize>) = (0..others.len()).partition(|i| i.is_multiple_of(step));
        let [tried, rest] = [tried, rest].map(|some| some.into_iter().map(|i| others[i]).collect::<Vec<usize>>());
        if self.read_again(plan, part, &tried, ui)? < tried.len() {
            self.read_again(plan, part, &rest, ui)?;
        }
        Ok(())
    }

    /// Reads the `doubtful` pictures of a part and fills in their contents. Returns how many of them do not have the
    /// noted contents.
    fn read_again(
        &mut self,
        plan: &Plan,
        part: &mut Listing,
        doubtful: &[usize],
        ui: &Ui,
    ) -> Result<usize, ExtractError> {
        if doubtful.is_empty() {
            return Ok(0);
        }
        let line = ui.stage(StageId::Scan, Some(doubtful.len() as u64), "files");
        let hashes = hash(plan, part, doubtful, &line)?;
        let mut changed = 0;
        for (&i, contents) in doubtful.iter().zip(hashes) {
            let picture = &mut part.pictures[i];
            picture.contents = contents;
            let same: Vec<u32> =
                self.of(path(picture)).filter(|known| known.contents() == contents).map(|known| known.file).collect();
            changed += usize::from(same.is_empty());
            for file in same.into_iter().filter(|&file| file != OTHER_RUN) {
                let stamps = self.touched.entry(self.files[file as usize].clone()).or_default();
                stamps.insert(path(picture), picture.stamp);
            }
        }
        line.finish(&format!("{} read again in case of changes: {changed} changed", plural(doubtful.len(), "file")));
        Ok(changed)
    }

    /// Writes the new stamps, so that the files need not be read again. Where the store is read-only, the files are
    /// read again at the next start.
    pub fn remember(&self) {
        for (path, stamps) in &self.touched {
            // a journal is not a sealed file; its pictures are read again
            let Ok(mut kept) = sealed::read::<Kept>(path) else { continue };
            for note in &mut kept.notes {
                note.stamp = stamps.get(&note.path).copied().unwrap_or(note.stamp);
            }
            sealed::write_compact(path, &kept).ok();
        }
    }
}

/// Reads the pictures `wanted` with all threads and returns their contents in order.
fn hash(plan: &Plan, listing: &Listing, wanted: &[usize], line: &StageLine) -> Result<Vec<Contents>, ExtractError> {
    let source = &Listed::new(&plan.pipeline, &listing.pictures);
    let most = most_bytes(&plan.backbone.decoding);
    let one = |number: usize| {
        let mut hasher = blake3::Hasher::new();
        let opened = source.open(number, most);
        match opened.and_then(|opened| in_pieces(opened, |piece| _ = hasher.update(piece))) {
            Ok(()) => Ok(Contents::hashed(&hasher.finalize())),
            Err(failure) if failure.is_down() => Err(StreamError::Down(failure.reason)),
            Err(_) => Ok(Contents::Unread),
        }
    };
    let mut all = Vec::with_capacity(wanted.len());
    let threads = plan.pipeline.threads().max(source.requests());
    let stream = Stream { source, wanted, threads, order: Order::Asked, ui: line.ui() };
    stream.each(one, |_, contents| {
        all.push(contents?);
        line.inc(1);
        Ok::<_, StreamError>(())
    })?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_goes_through_its_64_digits() {
        for contents in [Contents::Unknown, Contents::Unread, Contents::of(b"x")] {
            let note = Note { path: 1, stamp: u64::MAX, contents };
            let text = serde_json::to_string(&note).expect("JSON");
            assert_eq!(text.len(), 66);
            assert_eq!(serde_json::from_str::<Note>(&text).expect("read"), note);
        }
        for wrong in ["\"\"", &format!("\"{}\"", "g".repeat(64)), &format!("\"{}\"", "0".repeat(65))] {
            assert!(serde_json::from_str::<Note>(wrong).is_err(), "{wrong}");
        }
    }
}
