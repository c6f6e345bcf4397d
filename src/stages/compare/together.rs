//! Groups of near copies, which have to be on the same side of a train/test split.

use std::collections::BTreeMap;

use super::{CompareError, NEAR, Rows, SAME};
use crate::learn::neighbours::Neighbours;
use crate::learn::quality::{self as judge, Pair};
use crate::plan::Plan;
use crate::progress::Ui;
use crate::stages::extract::Extracted;
use crate::stages::rows::Shards;
use crate::stages::scan::Listing;

/// The groups of the pictures that were compared.
#[derive(Debug)]
pub struct Together {
    /// The paths of the pictures.
    pub paths: Vec<String>,
    /// The index of the first picture of each picture's group.
    pub firsts: Vec<usize>,
    /// Each picture that has near copies, with these, whether or not they are in its group.
    near: Vec<(usize, Vec<usize>)>,
}

impl Together {
    /// The number of pictures with `is_test` that have a near copy without it.
    pub fn leaks(&self, is_test: impl Fn(usize) -> bool) -> usize {
        let tests = self.near.iter().filter(|(row, _)| is_test(*row));
        tests.filter(|(_, near)| near.iter().any(|&other| !is_test(other))).count()
    }
}

/// Groups pictures that are mutual nearest neighbours with a similarity of at least [`NEAR`], the most similar pairs
/// first. A group has at most `most` pictures and at most a `share` of a class, so that a video of a turning fruit
/// becomes several groups; pictures with the same features stay together, however many they are.
pub fn together(
    plan: &Plan,
    listing: &Listing,
    extracted: &Extracted,
    shards: &Shards,
    (most, share): (usize, f64),
    ui: &Ui,
) -> Result<Together, CompareError> {
    let mut rows = Rows::read(plan, &listing.classes, extracted, shards, ui)?;
    if rows.keys.len() < extracted.ok {
        return Err(CompareError::TooMany { compared: rows.keys.len(), of: extracted.ok });
    }
    // a pair is mutual only if the neighbours of both pictures are known
    rows.queries = (0..rows.keys.len()).collect();
    let found = rows.search(ui)?;
    let mut members: BTreeMap<Option<usize>, usize> = BTreeMap::new();
    rows.labels.iter().for_each(|class| *members.entry(*class).or_default() += 1);
    let limit = |row: usize| most.min((members[&rows.labels[row]] as f64 * share) as usize);
    let fits = |pair: &Pair, size: usize| pair.similarity >= SAME || pair.rows.iter().all(|&row| size <= limit(row));
    let firsts = judge::groups(rows.keys.len(), &judge::mutual(&rows.queries, &found, NEAR), fits);
    let copies = |found: &Neighbours| -> Vec<usize> {
        found.nearest.iter().filter(|near| near.similarity >= NEAR).map(|near| near.row).collect()
    };
    let near = rows.queries.iter().zip(&found).map(|(&row, found)| (row, copies(found))).collect();
    Ok(Together { paths: rows.keys.into_iter().map(|key| key.path).collect(), firsts, near })
}
