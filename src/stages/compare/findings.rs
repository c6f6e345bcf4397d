//! The findings of the comparison: their counts, and the worst of them, which the report shows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{NEAR, OUTLIER, Rows, SAME, Verdict};
use crate::learn::neighbours::Neighbours;
use crate::learn::quality as judge;
use crate::progress::plural;

/// The most labels in doubt and the most outliers that the report shows; the table has all.
pub const SHOWN: usize = 12;
/// The most groups of copies that the report shows, and the most pictures of each.
pub const GROUPS: usize = 8;
const MEMBERS: usize = 6;

/// The numbers of findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Pictures whose neighbours were searched.
    pub asked: usize,
    /// Pictures with features.
    pub of: usize,
    /// Test pictures among these.
    pub tests: usize,
    /// Labels that the neighbours contradict.
    pub suspects: usize,
    /// Pictures with the same features as an earlier picture.
    pub copies: usize,
    /// Pictures that are nearly the same as another one.
    pub near_copies: usize,
    /// Test pictures that have a copy or a near copy in train.
    pub leaks: usize,
    /// The leaks whose copy is exact.
    pub exact_leaks: usize,
    pub outliers: usize,
    /// Groups of pictures connected by a chain of copies or near copies.
    #[serde(default)]
    pub groups: usize,
}

impl Summary {
    /// One line for the terminal.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        for (count, unit, rest) in [
            (self.suspects, "label", " in doubt"),
            (self.copies, "copy", ""),
            (self.near_copies, "near copy", ""),
            (self.leaks, "test image", " with a copy in train"),
            (self.outliers, "outlier", ""),
        ] {
            if count > 0 {
                parts.push(plural(count, unit) + rest);
            }
        }
        if parts.is_empty() { "nothing found".into() } else { parts.join(", ") }
    }
}

/// The result that `compare` commits: the numbers, and the worst findings; `quality.parquet` has all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    pub summary: Summary,
    /// The most certain first, [`SHOWN`] at most.
    pub suspects: Vec<Suspect>,
    /// Those across train and test first, then those with several labels, then the largest; [`GROUPS`] at most.
    pub groups: Vec<Group>,
    /// The farthest first, [`SHOWN`] at most.
    pub outliers: Vec<Outlier>,
}

/// A picture of a run, as the page shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    pub path: String,
    pub label: Option<String>,
    pub test: bool,
}

/// A label that the neighbours contradict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    pub picture: Picture,
    pub suggested: String,
    pub votes: usize,
    pub of: usize,
    /// The nearest picture of the suggested class.
    pub witness: Picture,
}

/// Pictures connected by a chain of copies or near copies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The number of its pictures, and how many of them are in test.
    pub size: usize,
    pub tests: usize,
    /// The labels of its pictures, sorted.
    pub labels: Vec<String>,
    /// `MEMBERS` of them at most, each with its similarity to the most similar other picture of the group.
    pub members: Vec<(Picture, f32)>,
}

/// A picture unlike all others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outlier {
    pub picture: Picture,
    /// Robust standard deviations above the median distance.
    pub score: f64,
    /// Similarity to the nearest picture.
    pub similarity: f32,
}

impl Rows {
    fn picture(&self, row: usize) -> Picture {
        let key = &self.keys[row];
        Picture { path: key.path.clone(), label: key.label.clone(), test: self.groups[row] == 1 }
    }

    /// The labels in doubt, the most certain first.
    pub(super) fn suspects(&self, found: &[Neighbours], verdicts: &[Verdict], classes: &[String]) -> Vec<Suspect> {
        let mut suspects: Vec<(f64, f32, Suspect)> =
            verdicts.iter().zip(found).filter_map(|(one, found)| self.suspect(one, found, classes)).collect();
        suspects.sort_by(|a, b| {
            b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.picture.path.cmp(&b.2.picture.path))
        });
        suspects.into_iter().map(|(.., suspect)| suspect).collect()
    }

    pub(super) fn tell(
        &self,
        found: &[Neighbours],
        verdicts: &[Verdict],
        suspects: Vec<Suspect>,
        of: usize,
    ) -> Compared {
        let count = |holds: &dyn Fn(&Verdict) -> bool| verdicts.iter().filter(|one| holds(one)).count();
        let groups = self.groups_of(verdicts, found);
        let summary = Summary {
            asked: verdicts.len(),
            of,
            tests: count(&|one| self.groups[one.row] == 1),
            suspects: count(&|one| one.suspected),
            copies: count(&|one| one.copy_of.is_some()),
            near_copies: count(&|one| one.near_copy_of.is_some()),
            leaks: count(&|one| one.leak.is_some()),
            exact_leaks: count(&|one| one.leak.is_some_and(|near| near.similarity >= SAME)),
            outliers: count(&|one| one.score > OUTLIER),
            groups: groups.len(),
        };
        let mut far: Vec<&Verdict> = verdicts.iter().filter(|one| one.score > OUTLIER).collect();
        far.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        far.truncate(SHOWN);
        let outlier = |one: &&Verdict| Outlier {
            picture: self.picture(one.row),
            score: one.score,
            similarity: one.nearest.map_or(0.0, |near| near.similarity),
        };
        Compared {
            summary,
            suspects: suspects.into_iter().take(SHOWN).collect(),
            groups: groups.iter().take(GROUPS).map(|(rows, best)| self.group(rows, best)).collect(),
            outliers: far.iter().map(outlier).collect(),
        }
    }

    /// Returns a suspect with the lead of the votes and the similarity of the witness, by which suspects are sorted.
    fn suspect(&self, one: &Verdict, found: &Neighbours, classes: &[String]) -> Option<(f64, f32, Suspect)> {
        let vote = one.vote.filter(|_| one.suspected)?;
        let witness = found.nearest.iter().find(|near| self.labels[near.row] == Some(vote.class))?;
        let suspect = Suspect {
            picture: self.picture(one.row),
            suggested: classes.get(vote.class)?.clone(),
            votes: vote.votes,
            of: vote.of,
            witness: self.picture(witness.row),
        };
        Some(((vote.votes as f64 - vote.own as f64) / vote.of as f64, witness.similarity, suspect))
    }

    /// Returns the rows of each group, and the similarity of each to the most similar other one; the worst group first.
    fn groups_of(&self, verdicts: &[Verdict], found: &[Neighbours]) -> Vec<(Vec<usize>, Vec<f32>)> {
        let asked = || verdicts.iter().zip(found);
        let pairs = asked().flat_map(|(one, found)| {
            // the copy in train may be farther away than all of the neighbours that were kept
            let near = found.nearest.iter().chain(&one.leak).filter(|near| near.similarity >= NEAR);
            near.map(|near| (one.row, near.row))
        });
        let firsts = judge::components(self.keys.len(), pairs);
        let mut best = vec![0f32; self.keys.len()];
        for (one, found) in asked() {
            for near in found.nearest.iter().chain(&one.leak) {
                for row in [one.row, near.row] {
                    best[row] = best[row].max(near.similarity);
                }
            }
        }
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        (0..self.keys.len()).for_each(|row| groups.entry(firsts[row]).or_default().push(row));
        let mut groups: Vec<Vec<usize>> = groups.into_values().filter(|rows| rows.len() > 1).collect();
        groups.sort_by_key(|rows| {
            let mixed = |differ: &dyn Fn(usize) -> bool| !rows.iter().any(|&row| differ(row));
            let one_split = mixed(&|row| self.groups[row] != self.groups[rows[0]]);
            let one_label = mixed(&|row| self.labels[row] != self.labels[rows[0]]);
            (one_split, one_label, std::cmp::Reverse(rows.len()), rows[0])
        });
        let similar = |rows: &[usize]| rows.iter().map(|&row| best[row]).collect();
        groups.into_iter().map(|rows| (rows.clone(), similar(&rows))).collect()
    }

    fn group(&self, rows: &[usize], similarities: &[f32]) -> Group {
        let labels: BTreeSet<&str> = rows.iter().filter_map(|&row| self.keys[row].label.as_deref()).collect();
        let members = rows.iter().zip(similarities).take(MEMBERS);
        Group {
            size: rows.len(),
            tests: rows.iter().filter(|&&row| self.groups[row] == 1).count(),
            labels: labels.into_iter().map(String::from).collect(),
            members: members.map(|(&row, &similarity)| (self.picture(row), similarity)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_finding_is_told_in_the_singular() {
        let summary =
            |n| Summary { suspects: n, copies: n, near_copies: n, leaks: n, outliers: n, ..Summary::default() };
        let [none, one, many] = [0, 1, 2].map(|n| summary(n).describe());
        assert_eq!(none, "nothing found");
        assert_eq!(one, "1 label in doubt, 1 copy, 1 near copy, 1 test image with a copy in train, 1 outlier");
        assert_eq!(many, "2 labels in doubt, 2 copies, 2 near copies, 2 test images with a copy in train, 2 outliers");
    }
}
