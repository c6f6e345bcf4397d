//! `compare`: wrong labels, copies and outliers, found by comparing the features of every picture with those of every
//! other.
//!
//! This is a stage of its own, switched on by `report.quality`, so that a change of the title, the split, the
//! components or the classifier does not repeat the comparison.
//!
//! Features are centred (the mean picture is subtracted) and compared by cosine, exactly. Where that would take too
//! long, only a sample of the pictures is searched for neighbours, the test pictures first; the page and
//! `quality.parquet` say so. See `learn::neighbours` and `learn::quality` for the arithmetic.

mod findings;
mod relabel;
mod together;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use thiserror::Error;

use crate::io::features::Key;
use crate::io::table::Table;
use crate::io::{Digest, IoError};
use crate::learn::neighbours::{Directions, Near, Neighbours};
use crate::learn::quality::{self as judge, Vote};
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui};
use crate::stages::StageId;
use crate::stages::extract::Extracted;
use crate::stages::rows::Shards;
use crate::stages::scan::{Listing, Split};
use crate::store::OutputFile;
use crate::table::{FeatureMatrix, ShapeError};
pub use together::{Together, together};

pub use findings::{Compared, GROUPS, Group, Outlier, Picture, SHOWN, Summary, Suspect};

/// Similarity from which the network cannot tell two pictures apart: 1 minus rounding errors.
pub const SAME: f32 = 1.0 - 2e-6;
/// Similarity from which one picture is a near copy of another; measured, see docs/outputs.md.
pub const NEAR: f32 = 0.9;
/// Neighbours that vote on a label.
const VOTERS: usize = 10;
/// Share of the votes for another class from which a label is suspicious.
const MAJORITY: f64 = 0.7;
/// Nearest neighbours whose distance measures how isolated a picture is.
const ISOLATION: usize = 5;
/// Robust standard deviations from which a picture is an outlier.
const OUTLIER: f64 = 3.5;
/// Neighbours kept of each picture: the voters, and as many again for copies, which do not vote.
const KEPT: usize = 2 * VOTERS;
/// Bytes of features that are compared at most; of more features only a sample is compared.
const BYTES: usize = 1 << 30;
/// Multiply-accumulates that the comparison may take: about a minute on two cores.
const WORK: usize = 2_000_000_000_000;

/// The pictures cannot be compared.
#[derive(Debug, Error)]
pub enum CompareError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("compare: {0}")]
    Shape(#[from] ShapeError),
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
    #[error(
        "`--keep-together` compares all pictures with each other: {of} are too many, it holds the features of {compared}; \
         leave the flag out, or divide fewer pictures (`input.limit_per_class`)"
    )]
    TooMany { compared: usize, of: usize },
}

/// The settings of the comparison. Together with the features they determine its result.
pub fn settings() -> Value {
    json!({"near": NEAR, "voters": VOTERS, "majority": MAJORITY, "outlier": OUTLIER, "relabel": true})
}

/// The rows that are compared, with labels and splits.
struct Rows {
    keys: Vec<Key>,
    labels: Vec<Option<usize>>,
    /// For each row, 1 for a test picture and else 0.
    groups: Vec<u8>,
    directions: Directions,
    /// The rows whose neighbours are searched.
    queries: Vec<usize>,
}

/// The findings about a picture.
struct Verdict {
    row: usize,
    nearest: Option<Near>,
    /// The first picture that has the same features, where there is one.
    copy_of: Option<usize>,
    near_copy_of: Option<usize>,
    /// The copy or near copy in train of a test picture.
    leak: Option<Near>,
    vote: Option<Vote>,
    suspected: bool,
    score: f64,
}

/// Compares the pictures and writes `quality.parquet`; fewer than two pictures are not compared.
pub fn run(
    plan: &Plan,
    listing: &Listing,
    extracted: &Extracted,
    shards: &Shards,
    ui: &Ui,
) -> Result<(Compared, Vec<OutputFile>), CompareError> {
    if extracted.ok < 2 {
        return Ok((Compared::default(), Vec::new()));
    }
    let line = ui.stage(StageId::Compare, None, "images");
    let rows = Rows::read(plan, &listing.classes, extracted, shards, ui)?;
    let found = rows.search(ui)?;
    let verdicts = rows.judge(&found);
    let path = plan.dir.quality();
    let digest = rows.write(&verdicts, &listing.classes, &path, &plan.metadata())?;
    let mut files = vec![OutputFile::hashed(&plan.dir, &path, digest)?];
    let suspects = rows.suspects(&found, &verdicts, &listing.classes);
    if !listing.classes.is_empty() {
        let doubts = rows.doubts(&suspects, &found, &verdicts, &listing.classes);
        let path = plan.dir.relabel();
        let digest = relabel::write(&path, listing, &doubts)?;
        files.push(OutputFile::hashed(&plan.dir, &path, digest)?);
    }
    let compared = rows.tell(&found, &verdicts, suspects, extracted.ok);
    line.finish(&compared.summary.describe());
    Ok((compared, files))
}

/// Returns the first eight bytes of the hash of a path, by which pictures are ordered: the same in every run, and
/// independent of the folders.
fn hash(path: &str) -> u64 {
    let hash = blake3::hash(path.as_bytes());
    u64::from_le_bytes(std::array::from_fn(|i| hash.as_bytes()[i]))
}

impl Rows {
    fn read(
        plan: &Plan,
        classes: &[String],
        extracted: &Extracted,
        shards: &Shards,
        ui: &Ui,
    ) -> Result<Self, CompareError> {
        let (width, ok) = (plan.width(), extracted.ok);
        let room = (BYTES / (4 * width.max(1))).max(2);
        let share = (room as f64 / ok as f64).min(1.0);
        let taken = |key: &Key| share >= 1.0 || (hash(&key.path) as f64) < share * u64::MAX as f64;
        let (mut keys, mut data) = (Vec::new(), Vec::with_capacity(width * ok.min(room + room / 16)));
        shards.for_each::<CompareError>(None, ui, |some, matrix| {
            for (key, row) in some.iter().zip(matrix.iter_rows()).filter(|(key, _)| taken(key)) {
                keys.push(key.clone());
                data.extend_from_slice(row);
            }
            Ok(())
        })?;
        centre(&mut data, width);
        let numbers: BTreeMap<&str, usize> = classes.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let labels = keys.iter().map(|key| numbers.get(key.label.as_deref()?).copied()).collect();
        let groups: Vec<u8> =
            keys.iter().map(|key| u8::from(key.split.as_deref() == Some(Split::Test.word()))).collect();
        let most = (WORK / (keys.len() * width).max(1)).max(1);
        let mut queries: Vec<usize> = (0..keys.len()).collect();
        if queries.len() > most {
            queries.sort_by_cached_key(|&row| (groups[row] == 0, hash(&keys[row].path)));
            queries.truncate(most);
            queries.sort_unstable();
        }
        let matrix = FeatureMatrix::from_vec(keys.len(), width, data)?;
        Ok(Self { keys, labels, groups, directions: Directions::of(matrix), queries })
    }

    /// The neighbours of each query.
    fn search(&self, ui: &Ui) -> Result<Vec<Neighbours>, Interrupted> {
        self.directions.search(&self.queries, KEPT, &self.groups, |_| ui.check())
    }

    fn judge(&self, found: &[Neighbours]) -> Vec<Verdict> {
        let n = self.keys.len();
        let asked = || self.queries.iter().copied().zip(found);
        let pairs = |least: f32| {
            asked().flat_map(move |(row, found)| {
                found.nearest.iter().filter(move |near| near.similarity >= least).map(move |near| (row, near.row))
            })
        };
        let firsts = judge::components(n, pairs(SAME));
        let scores =
            judge::robust_scores(&found.iter().map(|one| judge::isolation(one, ISOLATION)).collect::<Vec<_>>());
        let mut members = BTreeMap::new();
        self.labels.iter().flatten().for_each(|&class| *members.entry(class).or_insert(0usize) += 1);
        let verdict = |((row, found), score): ((usize, &Neighbours), f64)| {
            let vote = self.labels[row].and_then(|class| {
                let members = members.get(&class).copied().unwrap_or(0);
                judge::vote(&found.nearest, &self.labels, (class, members), VOTERS, SAME)
            });
            let nearly = |near: &&Near| (NEAR..SAME).contains(&near.similarity);
            Verdict {
                row,
                nearest: found.nearest.first().copied(),
                copy_of: (firsts[row] != row).then_some(firsts[row]),
                near_copy_of: found.nearest.iter().find(nearly).map(|near| near.row),
                leak: found.across.filter(|near| self.groups[row] == 1 && near.similarity >= NEAR),
                suspected: vote.is_some_and(|vote| {
                    Some(vote.class) != self.labels[row] && vote.votes as f64 >= MAJORITY * vote.of as f64
                }),
                vote,
                score,
            }
        };
        asked().zip(scores).map(verdict).collect()
    }

    fn write(
        &self,
        verdicts: &[Verdict],
        classes: &[String],
        path: &std::path::Path,
        metadata: &[(String, String)],
    ) -> Result<Digest, IoError> {
        let key = |row: usize| &self.keys[row];
        let own = || verdicts.iter().map(|one| key(one.row));
        let nearest = || verdicts.iter().map(|one| one.nearest.map(|near| key(near.row)));
        let paths = |of: fn(&Verdict) -> Option<usize>| {
            verdicts.iter().map(move |one| of(one).map(|row| self.keys[row].path.as_str()))
        };
        let vote = |one: &Verdict| one.vote.filter(|_| one.suspected);
        let splits = Split::WORDS.map(String::from);
        Table::new(verdicts.len())
            .text("path", own().map(|key| Some(key.path.as_str())))
            .category("label", classes, own().map(|key| key.label.as_deref()))
            .category("split", &splits, own().map(|key| key.split.as_deref()))
            .text("nearest_path", nearest().map(|key| Some(key?.path.as_str())))
            .category("nearest_label", classes, nearest().map(|key| key?.label.as_deref()))
            .category("nearest_split", &splits, nearest().map(|key| key?.split.as_deref()))
            .floats(
                "similarity",
                verdicts.iter().map(|one| one.nearest.map_or(f32::NAN, |near| near.similarity)).collect(),
            )
            .text("duplicate_of", paths(|one| one.copy_of))
            .text("near_duplicate_of", paths(|one| one.near_copy_of))
            .text("duplicate_in_train", paths(|one| one.leak.map(|near| near.row)))
            .category(
                "suspected_label",
                classes,
                verdicts.iter().map(|one| classes.get(vote(one)?.class).map(String::as_str)),
            )
            .counts("votes", verdicts.iter().map(|one| Some(vote(one)?.votes as u64)))
            .counts("voters", verdicts.iter().map(|one| Some(one.vote?.of as u64)))
            .counts("votes_for_label", verdicts.iter().map(|one| Some(one.vote?.own as u64)))
            .floats("outlier_score", verdicts.iter().map(|one| one.score as f32).collect())
            .flags("outlier", verdicts.iter().map(|one| one.score > OUTLIER).collect())
            .write(path, metadata)
    }
}

/// Subtracts the mean of each column.
fn centre(data: &mut [f32], width: usize) {
    let rows = (data.len() / width.max(1)).max(1) as f64;
    let mut mean = vec![0f64; width];
    for row in data.chunks_exact(width.max(1)) {
        mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let mean: Vec<f32> = mean.into_iter().map(|sum| (sum / rows) as f32).collect();
    for row in data.chunks_exact_mut(width.max(1)) {
        row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
    }
}
