//! Pictures that belong on one side of a split: near copies of one another.

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
    /// The first picture of the group of each.
    pub firsts: Vec<usize>,
    /// Each picture with its near copies, of a group or not.
    near: Vec<(usize, Vec<usize>)>,
}

impl Together {
    /// How many of the pictures for which `is_test` is true have a near copy for which it is not.
    pub fn leaks(&self, is_test: impl Fn(usize) -> bool) -> usize {
        let tests = self.near.iter().filter(|(row, _)| is_test(*row));
        tests.filter(|(_, near)| near.iter().any(|&other| !is_test(other))).count()
    }
}

/// Groups the pictures that are mutual nearest neighbours at a similarity of [`NEAR`] and above, the most similar
/// first. A group has `most` pictures at most and not more than `share` of a class, so that a fruit that turns before
/// the camera becomes several groups; copies that are the same to the network stay together, however many there are.
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
    // a pair is mutual only where the neighbours of both are known
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
