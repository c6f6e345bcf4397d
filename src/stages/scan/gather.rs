//! Gathers the files below a root, which may be too many for the memory.
//!
//! Up to `most` files stay in memory. Of more files, each `most` are sorted and written to disk as a run, and the runs
//! are merged at the end (external merge sort). A run is an unnamed temporary file, which the system deletes when the
//! process ends, even if it is killed.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Error, Lines, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::choice::{Census, Choice};
use super::labels::{Rules, Wrong};
use super::list::{Candidate, Found, shared};
use super::{Aside, Kind, Split, unescape};
use crate::io::IoError;
use crate::progress::{Interrupted, StageLine};

/// The files found so far.
pub struct Gather<'a> {
    rules: Rules<'a>,
    census: Census,
    /// The most files in memory.
    most: usize,
    /// The folder on whose disk the runs are written.
    folder: PathBuf,
    runs: Vec<Run>,
    /// Files in the runs.
    spilled: usize,
    /// The first error.
    wrong: Option<Wrong>,
}

/// A sorted part of the files on disk, with a line of JSON for each.
type Run = Lines<BufReader<File>>;

/// All files, and the choice among them.
pub struct Gathered<'a> {
    pub choice: Result<Choice<'a>, Wrong>,
    pub files: Files,
}

/// All files in order: in memory, or part by part.
pub enum Files {
    Held(Found),
    Parts(Parts),
}

impl<'a> Gather<'a> {
    /// Gathers files by these rules. Of more than `most` files, some are written to the disk of `folder`.
    pub fn new(rules: Rules<'a>, most: usize, folder: &Path) -> Self {
        let (census, runs, spilled, wrong) = Default::default();
        Self { rules, census, most, folder: folder.to_path_buf(), runs, spilled, wrong }
    }

    /// Writes the files in `found` to disk if they are too many, and shows the count to the user.
    pub fn tick<E>(&mut self, found: &mut Found, line: &StageLine) -> Result<(), E>
    where
        E: From<IoError> + From<Interrupted>,
    {
        let met = self.spilled + found.len();
        if met.is_multiple_of(1000) {
            line.message(format!("{met} files"));
            line.ui().check()?;
        }
        if found.len() >= self.most {
            self.spill(std::mem::take(found))?;
        }
        Ok(())
    }

    /// Ends the gathering with the files that are not on disk. If all are in memory, they keep their order.
    pub fn finish(mut self, mut found: Found) -> Result<Gathered<'a>, IoError> {
        let files = if self.runs.is_empty() {
            self.count(&mut found);
            Files::Held(found)
        } else {
            self.spill(found)?;
            Files::Parts(Parts::new(self.runs, self.folder, self.most / 4)?)
        };
        let choice = self.wrong.map_or_else(|| Choice::of(&self.rules, self.census), Err);
        Ok(Gathered { choice, files })
    }

    /// Assigns classes and counts.
    fn count(&mut self, found: &mut Found) {
        let assigned = self.rules.assign(found);
        self.census.add(&self.rules, found);
        self.wrong = self.wrong.take().or(assigned.err());
    }

    fn spill(&mut self, mut found: Found) -> Result<(), IoError> {
        self.count(&mut found);
        found.sort();
        self.spilled += found.len();
        let Found { candidates, aside } = found;
        // two runs, to avoid a third list of the files
        self.write(candidates.into_iter().map(Line::from))?;
        self.write(aside.into_iter().map(Line::from))
    }

    fn write(&mut self, lines: impl Iterator<Item = Line>) -> Result<(), IoError> {
        let run = || {
            let mut to = BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(&self.folder)?);
            for line in lines {
                serde_json::to_writer(&mut to, &line)?;
                to.write_all(b"\n")?;
            }
            let mut file = to.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            file.rewind()?;
            Ok::<_, Error>(BufReader::new(file).lines())
        };
        self.runs.push(run().map_err(IoError::write(&self.folder))?);
        Ok(())
    }
}

/// A file in a run. The order is by path, since it is the first field.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Line {
    path: String,
    met: Met,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Met {
    Candidate { escaped: bool, bytes: u64, modified: u64, stamp: u64, label: Option<String>, split: Option<Split> },
    Aside { bytes: Option<u64>, kind: Kind, reason: String },
}

impl From<Candidate> for Line {
    fn from(candidate: Candidate) -> Self {
        // so many files never come from an archive
        let Candidate { path, raw, bytes, modified, stamp, label, split, member: _, inside: _ } = candidate;
        let (escaped, label) = (raw.is_some(), label.map(|label| label.to_string()));
        Self { path, met: Met::Candidate { escaped, bytes, modified, stamp, label, split } }
    }
}

impl From<Aside> for Line {
    fn from(Aside { path, bytes, kind, reason }: Aside) -> Self {
        Self { path, met: Met::Aside { bytes, kind, reason } }
    }
}

/// The files of all runs, in order, part by part.
pub struct Parts {
    runs: Vec<Run>,
    /// The next line of each run, with the number of the run.
    next: BinaryHeap<Reverse<(Line, usize)>>,
    folder: PathBuf,
    /// The most files of a part.
    most: usize,
    labels: BTreeSet<Arc<str>>,
}

impl Parts {
    fn new(runs: Vec<Run>, folder: PathBuf, most: usize) -> Result<Self, IoError> {
        let (next, labels) = Default::default();
        let mut parts = Self { runs, next, folder, most, labels };
        (0..parts.runs.len()).try_for_each(|run| parts.read(run))?;
        Ok(parts)
    }

    /// Reads the next line of a run.
    fn read(&mut self, run: usize) -> Result<(), IoError> {
        let line = self.runs[run].next().transpose().and_then(|text| {
            let line = text.map(|text| serde_json::from_str::<Line>(&text));
            line.transpose().map_err(Error::from)
        });
        self.next.extend(line.map_err(IoError::read(&self.folder))?.map(|line| Reverse((line, run))));
        Ok(())
    }

    fn part(&mut self) -> Result<Found, IoError> {
        let mut found = Found::default();
        while found.len() < self.most
            && let Some(Reverse((Line { path, met }, run))) = self.next.pop()
        {
            self.read(run)?;
            match met {
                Met::Aside { bytes, kind, reason } => found.aside.push(Aside { path, bytes, kind, reason }),
                Met::Candidate { escaped, bytes, modified, stamp, label, split } => found.candidates.push(Candidate {
                    raw: escaped.then(|| unescape(&path).into()),
                    path,
                    member: None,
                    inside: 0,
                    bytes,
                    modified,
                    stamp,
                    label: label.map(|label| shared(&mut self.labels, &label)),
                    split,
                }),
            }
        }
        Ok(found)
    }
}

impl Iterator for Parts {
    type Item = Result<Found, IoError>;

    fn next(&mut self) -> Option<Self::Item> {
        let part = self.part();
        part.as_ref().map_or(true, |found| found.len() > 0).then_some(part)
    }
}
